"""Scores as text for the terminal."""

from __future__ import annotations

from typing import Any, Mapping

from segformer_ros.metrics.document import SCORES
from segformer_ros.text_table import format_table

SHOWN_NOTES = 10
"""Notes on frames that are shown."""


def scores_text(metrics: Mapping[str, Any]) -> str:
    """What metrics.json holds, as tables."""
    frames = metrics['frames']
    totals = [
        (title, f'{metrics[name]:.4f}') for name, title in SCORES if metrics[name] is not None
    ]
    totals.append(('frames scored', f'{frames["scored"]} of {frames["total"]}'))
    classes = [
        (name, metrics['iou'][name], pixels, 'rare' if name in metrics['rare'] else '')
        for name, pixels in metrics['pixels'].items()
        if pixels
    ]
    lines = [format_table(('class', 'IoU', 'pixels', ''), classes), '']
    lines.append(format_table(('', ''), totals))
    lines += [f'{item["name"]}: {note}' for item in metrics['inputs'] for note in item['notes']]
    lines += [f'{n["input"]}/{n["frame"]}: {n["note"]}' for n in metrics['notes'][:SHOWN_NOTES]]
    hidden = frames['noted'] - SHOWN_NOTES
    if hidden > 0:
        lines.append(f'{hidden} more frames with a note: see frames.csv')
    return '\n'.join(lines)
