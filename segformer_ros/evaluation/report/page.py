"""The report's page: its sections in order, filled into the template."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Mapping, Optional, Sequence

import numpy as np

from segformer_ros.destination import write_file
from segformer_ros.evaluation.report import sections
from segformer_ros.evaluation.report.html import text
from segformer_ros.evaluation.report.pictures import FramePictures
from segformer_ros.evaluation.tables import FrameRow

REPORT_HTML = 'report.html'


@dataclass(frozen=True)
class ReportContent:
    """What a report shows.

    metrics, speed: what metrics.json and speed.json hold. rows: frames.csv. latency: (N,) float64
    milliseconds of each frame. baseline: metrics of the run to compare with, None for none.
    colors: CSS colours by class name. broken: broken gates, one line each. remarks: what else is
    to be known of the comparison, one line each.
    """

    metrics: Mapping[str, Any]
    speed: Mapping[str, Any]
    rows: Sequence[FrameRow]
    latency: np.ndarray
    pictures: Sequence[FramePictures]
    colors: Mapping[str, str]
    baseline: Optional[Mapping[str, Any]] = None
    broken: Sequence[str] = field(default_factory=tuple)
    remarks: Sequence[str] = field(default_factory=tuple)


def write_report(folder: Path, content: ReportContent) -> Path:
    """Write report.html into a folder and return its path."""
    metrics = content.metrics
    body = ''.join(
        (
            sections.summary(metrics, content.speed, content.baseline),
            sections.gates(content.broken),
            sections.notes(metrics, content.remarks),
            sections.classes(metrics, content.baseline, content.colors),
            sections.worst_frames(content.pictures),
            sections.over_time(content.rows),
            sections.confusion(metrics),
            sections.drivable(metrics),
            sections.calibration(metrics),
            sections.latency(content.latency, content.speed),
            sections.environment(metrics, content.speed),
        )
    )
    template = Template(Path(__file__).with_name('template.html').read_text(encoding='utf-8'))
    names = ', '.join(str(item['name']) for item in metrics['inputs'][:3])
    more = len(metrics['inputs']) - 3
    page = template.substitute(
        title=text(f'{metrics["model"]["model"]} on {names}' + (f' and {more} more' * (more > 0))),
        body=body,
    )
    path = folder / REPORT_HTML
    write_file(path, page.encode())
    return path
