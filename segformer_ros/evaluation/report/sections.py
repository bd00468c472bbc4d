"""Sections of the report."""

from __future__ import annotations

from typing import Any, List, Mapping, Optional, Sequence

import numpy as np

from segformer_ros.evaluation.gate import lower_is_better
from segformer_ros.evaluation.report.charts import (
    Line,
    Tick,
    line_chart,
    nice_ticks,
    reliability_chart,
)
from segformer_ros.evaluation.report.html import (
    change,
    element,
    facts,
    known,
    percent,
    section,
    table,
    text,
)
from segformer_ros.evaluation.report.pictures import FramePictures
from segformer_ros.evaluation.tables import FrameRow
from segformer_ros.metrics.document import SCORES

Metrics = Mapping[str, Any]

_X_TICKS = 5


def summary(metrics: Metrics, speed: Metrics, baseline: Optional[Metrics]) -> str:
    """The scores of the whole run, against the baseline where there is one."""
    tiles = [
        _tile(
            f'{percent(metrics[name])} %',
            title,
            change(metrics[name], baseline.get(name), lower_is_better(name)) if baseline else '',
        )
        for name, title in SCORES
        if metrics[name] is not None
    ]
    frames, latency = metrics['frames'], speed['latency_ms']
    if latency:
        tiles.append(_tile(f'{latency["p50"]:.0f} ms', f'per frame, p99 {latency["p99"]:.0f} ms'))
    said = (
        f'{frames["scored"]} of {frames["total"]} frames scored'
        + (f', {frames["noted"]} with a note' if frames['noted'] else '')
        + ('; changes are against the baseline, in points' if baseline else '')
        + '.'
    )
    return section('Summary', element('div', *tiles, class_='tiles'), note=said)


def gates(broken: Sequence[str]) -> str:
    """Broken gates."""
    lines = (element('li', text(line)) for line in broken)
    return section('Broken gates', element('ul', *lines, class_='alarm')) if broken else ''


def notes(metrics: Metrics, remarks: Sequence[str] = ()) -> str:
    """What is odd about the comparison, recordings and frames."""
    lines = [element('li', text(remark)) for remark in remarks]
    lines += [
        element('li', element('b', text(item['name'])), ': ', text(note))
        for item in metrics['inputs']
        for note in item['notes']
    ] + [
        element('li', element('b', text(f'{note["input"]}/{note["frame"]}')), ': ',
                text(note['note']))
        for note in metrics['notes']
    ]  # fmt: skip
    more = metrics['frames']['noted'] - len(metrics['notes'])
    if more > 0:
        lines.append(element('li', text(f'{more} more in frames.csv')))
    return section('Notes', element('ul', *lines, class_='notes')) if lines else ''


def classes(metrics: Metrics, baseline: Optional[Metrics], colors: Mapping[str, str]) -> str:
    """One row for each class that the truth or the prediction has."""
    header = ['class', 'IoU', 'change', 'accuracy', 'precision', 'boundary F', 'flicker', 'pixels']
    if metrics['class_iiou']:
        header.insert(6, 'iIoU')
    rows: List[List[str]] = []
    for name in metrics['classes']:
        iou = metrics['iou'][name]
        if iou is None:
            continue
        before = (baseline.get('iou') or {}).get(name) if baseline else None
        row = [
            _swatch(name, colors) + _class_flag(metrics, name),
            _bar(iou),
            change(iou, before),
            percent(metrics['accuracy'][name]),
            percent(metrics['precision'][name]),
            percent(metrics['class_boundary_f'][name]),
            percent(metrics['class_flicker'][name]) if metrics['class_flicker'] else '–',
            f'{metrics["pixels"][name]:,}'.replace(',', ' '),
        ]
        if metrics['class_iiou']:
            row.insert(6, percent(metrics['class_iiou'][name]))
        rows.append(row)
    if not baseline:
        for row in (header, *rows):
            del row[2]
    said = 'In percent. A class is rare below 0.3 % of the scored pixels: few objects decide it.'
    return section('Classes', table(header, rows, 'classes'), note=said)


def confusion(metrics: Metrics) -> str:
    """Confusion matrix, each row in percent of its true class."""
    matrix = np.array(metrics['confusion'], float)
    none = np.array(metrics['no_class'], float)
    true = matrix.sum(axis=1) + none
    shown = np.flatnonzero((true > 0) | (matrix.sum(axis=0) > 0))
    names = metrics['classes']
    rows = []
    for row in shown:
        cells = [text(names[row])]
        for column in shown:
            share = matrix[row, column] / true[row] if true[row] else float('nan')
            cells.append(_heat(share, f'{names[row]} taken for {names[column]}'))
        rows.append(cells)
    header = ['true \\ predicted', *(names[column] for column in shown)]
    said = 'Each row: what became of the pixels of one true class, in percent.'
    return section('Confusion', table(header, rows, 'heat'), note=said)


def drivable(metrics: Metrics) -> str:
    """Rates of the free space by band."""
    scores = metrics['drivable']
    if scores is None:
        return ''
    blocks = []
    for key, unit in (('metres', 'm'), ('rows', '')):
        free = scores[key]
        if free is None:
            continue
        header = ('true free distance', 'columns', 'false free', 'false blocked')
        rows = [
            (
                _band(band['band'], unit),
                str(band['columns']),
                percent(band['false_free']),
                percent(band['false_blocked']),
            )
            for band in free['bands']
        ]
        blocks.append(table(header, rows))
        blocks.append(element('p', text(_free_space_words(free, key == 'metres')), class_='note'))
    said = (
        f'Drivable: {scores["group"]}. False free: the mask claims free ground where the truth '
        'is blocked; false blocked: the other way round. In percent of the columns.'
    )
    return section('Drivable area', *blocks, note=said)


def calibration(metrics: Metrics) -> str:
    """Reliability curve of the confidence."""
    curve = metrics['calibration']
    if curve is None:
        return ''
    values = [
        [float('nan') if point[name] is None else point[name] for point in curve]
        for name in ('confidence', 'accuracy')
    ]
    said = (
        'Bars: share of right pixels by confidence. On the diagonal a confidence of 80 % is right '
        f'in 80 % of the pixels; expected calibration error {percent(metrics["ece"])} %.'
    )
    return section('Calibration', reliability_chart(*values), note=said)


def over_time(rows: Sequence[FrameRow]) -> str:
    """Scores of the frames in their order."""
    scored = [row for row in rows if row.scored]
    if len(scored) < 2:
        return ''
    lines = [
        Line('mean IoU of the frame', 'one', np.array([row.miou for row in rows])),
        Line('pixel accuracy', 'two', np.array([row.pixel_accuracy for row in rows])),
    ]
    ticks = [Tick(share, f'{100 * share:g} %') for share in (0, 0.25, 0.5, 0.75, 1)]
    return section(
        'Over time', line_chart(lines, 1.0, ticks, _frame_ticks(rows), 'Scores of each frame')
    )


def latency(milliseconds: np.ndarray, speed: Metrics) -> str:
    """Time of each frame, and percentiles of the stages."""
    if len(milliseconds) < 2:
        return ''
    top = max(float(np.nanmax(milliseconds)) * 1.05, 1.0)
    places = [round(i * (len(milliseconds) - 1) / (_X_TICKS - 1)) for i in range(_X_TICKS)]
    x_ticks = [Tick(place / (len(milliseconds) - 1), str(place)) for place in places]
    chart = line_chart(
        [Line('preprocess + inference + postprocess, ms', 'one', milliseconds)],
        top, nice_ticks(top), x_ticks, 'Milliseconds of each frame',
    )  # fmt: skip
    rows = [
        (text(name), *(f'{stage[part]:.1f}' for part in ('p50', 'p99', 'mean')))
        for name, stage in speed['stages_ms'].items()
    ]
    said = "Scoring runs beside the inference and is not part of a frame's latency."
    stages = table(('stage, ms', 'p50', 'p99', 'mean'), rows)
    return section('Latency', chart, stages, note=said)


def worst_frames(pictures: Sequence[FramePictures]) -> str:
    """The frames with the most wrong pixels; each picture opens larger."""
    cards = []
    for frame in pictures:
        views = ''.join(
            element(
                'figure',
                element(
                    'button',
                    f'<img src="{view.address}" alt="{text(view.title)}" loading="lazy">',
                    type='button',
                    data_caption=f'{frame.input}/{frame.frame}: {view.title}',
                ),
                element('figcaption', text(view.title)),
            )
            for view in frame.views
        )
        kind = 'views' if len(frame.views) <= 4 else 'views three'
        title = f'{frame.input}/{frame.frame}: {percent(frame.wrong)} % of the pixels wrong'
        cards.append(
            element('article', element('h3', text(title)), element('div', views, class_=kind))
        )
    said = 'In the errors, red is wrong, dark is not scored. A picture opens larger.'
    return section('Worst frames', *cards, note=said)


def environment(metrics: Metrics, speed: Metrics) -> str:
    """What was run, and on what."""
    pairs = [(key, value) for key, value in metrics['model'].items()]
    pairs += [(f'reference {key}', value) for key, value in (metrics['reference'] or {}).items()]
    pairs += [('input', f'{i["name"]}, {i["frames"]} frames') for i in metrics['inputs']]
    pairs += [(f'engine {key}', value) for key, value in speed['engine'].items()]
    pairs += list(speed['environment'].items())
    pairs += [(f'session {key}', value) for key, value in speed['session'].items()]
    return section('Environment', facts(pairs))


def _tile(value: str, title: str, difference: str = '') -> str:
    return element(
        'div', element('strong', text(value)), difference, element('span', text(title)),
        class_='tile',
    )  # fmt: skip


def _swatch(name: str, colors: Mapping[str, str]) -> str:
    color = colors.get(name, 'transparent')
    return element('i', class_='swatch', style=f'background:{color}') + text(name)


def _class_flag(metrics: Metrics, name: str) -> str:
    word = 'rare' if name in metrics['rare'] else '' if metrics['pixels'][name] else 'not in truth'
    return ' ' + element('span', word, class_='flag') if word else ''


def _bar(share: float) -> str:
    width = f'--share:{100 * share:.1f}%'
    return element('span', percent(share), class_='bar', style=width)


def _heat(share: float, words: str) -> str:
    if not known(share):
        return ''
    shown = f'{100 * share:.0f}' if share >= 0.005 else ''
    strong = ' strong' if share > 0.7 else ''
    return element(
        'span', shown, class_=f'cell{strong}', style=f'--heat:{share:.3f}',
        title=f'{words}: {100 * share:.2f} %',
    )  # fmt: skip


def _band(band: str, unit: str) -> str:
    start, _, end = band.partition('-')
    if unit:
        return text(f'{start}–{end} {unit}' if end else f'{start} {unit} and more')
    low = percent(float(start), 0)
    return text(f'{low}–{percent(float(end), 0)} % of the height' if end else f'{low} % and more')


def _free_space_words(free: Metrics, metric: bool) -> str:
    if free['mean_error'] is None:
        return 'No free distance to measure.'
    if metric:
        return (
            f'Wrong by {free["margin"]:g} m or more, up to {free["reach"]:g} m. Error of the free '
            f'distance: median {free["p50"]:.2f} m, p95 {free["p95"]:.2f} m, mean '
            f'{free["mean_error"]:.2f} m, bias {free["bias"]:+.2f} m.'
        )
    return (
        f'In the image, for any camera: wrong by {percent(free["margin"], 0)} % of its height or '
        f'more. Error of the boundary: median {percent(free["p50"])} %, p95 '
        f'{percent(free["p95"])} % of the height.'
    )


def _frame_ticks(rows: Sequence[FrameRow]) -> List[Tick]:
    """Where recordings begin, where there are several; else some frame numbers."""
    last = len(rows) - 1
    starts = [i for i, row in enumerate(rows) if i == 0 or row.input != rows[i - 1].input]
    if 1 < len(starts) <= _X_TICKS + 1:
        return [Tick(start / last, rows[start].input) for start in starts]
    places = [round(i * last / (_X_TICKS - 1)) for i in range(_X_TICKS)]
    return [Tick(place / last, str(place)) for place in places]
