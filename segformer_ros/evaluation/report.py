# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The report of a run: one self-contained HTML file, for desktops and phones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import jinja2
import numpy as np

from segformer_ros.destination import write_file
from segformer_ros.evaluation.frame_views import frame_pictures
from segformer_ros.evaluation.regression_gate import baseline_notes, lower_is_better
from segformer_ros.evaluation.runner import Evaluation, EvaluationRun
from segformer_ros.evaluation.tables import FrameRow, read_frames, read_latency
from segformer_ros.metrics.document import SCORES

SIDE = 1000.0
"""Width and height of a chart's SVG; the page stretches it."""

POINTS = 240
"""Most points of a line; more values are grouped."""


class Tick(NamedTuple):
    """A label at a position (0..1) on an axis."""

    place: float
    label: str


class Gathered(NamedTuple):
    """Mean, least and greatest value of at most POINTS groups, (P,) each; NaN is ignored."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


class Line(NamedTuple):
    """A line to be drawn: its name, the CSS class of its colour, its values (N,)."""

    name: str
    color: str
    values: np.ndarray


class DrawnLine(NamedTuple):
    """A line as SVG points.

    runs: segments between unknown values. band: outline of the groups' ranges, '' for none.
    """

    name: str
    color: str
    runs: Sequence[str]
    band: str


class Bar(NamedTuple):
    """A bar by its upper left corner and size, with its tooltip."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Chart:
    """A chart: lines with a legend, or bars with the diagonal that they should reach."""

    title: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[DrawnLine] = ()
    bars: Sequence[Bar] = ()


def gather(values: np.ndarray) -> Gathered:
    """Group (N,) values by neighbours."""
    groups = np.array_split(np.asarray(values, float), min(POINTS, max(len(values), 1)))
    rows: List[Tuple[float, float, float]] = []
    for group in groups:
        valid = group[~np.isnan(group)]
        spread = (valid.mean(), valid.min(), valid.max()) if len(valid) else (np.nan,) * 3
        rows.append((float(spread[0]), float(spread[1]), float(spread[2])))
    return Gathered(*np.array(rows).T)  # (3, P)


def line_chart(
    lines: Sequence[Line], top: float, y_ticks: Sequence[Tick], x_ticks: Sequence[Tick], title: str
) -> Chart:
    """Lines over the frames of a run, from 0 to `top`; a band shows the groups' ranges."""
    return Chart(title, x_ticks, y_ticks, [_drawn(line, top) for line in lines])


def reliability_chart(confidence: Sequence[float], accuracy: Sequence[float]) -> Chart:
    """Accuracy of each confidence bin (0..1) as bars."""
    ticks = [Tick(share, f'{100 * share:g}') for share in (0, 0.25, 0.5, 0.75, 1)]
    width = SIDE / max(len(accuracy), 1)
    bars = [
        Bar(
            place * width + 0.1 * width,
            SIDE * (1 - value),
            0.8 * width,
            SIDE * value,
            f'confidence {100 * confidence[place]:.0f} %: right in {100 * value:.1f} %',
        )
        for place, value in enumerate(accuracy)
        if not np.isnan(value)
    ]
    return Chart('Accuracy by confidence, in percent', ticks, ticks, bars=bars)


def nice_ticks(top: float) -> List[Tick]:
    """Four or five round labels from 0 up to `top`, the end of the axis."""
    step = 10.0 ** np.floor(np.log10(max(top, 1e-9)))
    for part in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5):
        if top / (part * step) <= 5:
            step *= part
            break
    values = np.arange(0, top * 1.001, step)
    return [Tick(float(value / top), f'{value:g}') for value in values]


def _drawn(line: Line, top: float) -> DrawnLine:
    gathered = gather(line.values)
    band = ''
    if len(line.values) > POINTS:
        upper, lower = (chain(*_runs(edge, top)) for edge in (gathered.high, gathered.low))
        band = ' '.join([*upper, *reversed(list(lower))])
    runs = [' '.join(run) for run in _runs(gathered.mean, top)]
    return DrawnLine(line.name, line.color, runs, band)


def _runs(values: np.ndarray, top: float) -> List[List[str]]:
    """SVG points of (P,) values, in segments between unknown values."""
    runs: List[List[str]] = [[]]
    across = np.linspace(0, SIDE, len(values)) if len(values) > 1 else np.array([SIDE / 2])
    up = SIDE * (1 - np.clip(values / top, 0, 1))
    for x, y in zip(across, up):
        if np.isnan(y):
            runs.append([])
        else:
            runs[-1].append(f'{x:.1f},{y:.1f}')
    return [run for run in runs if run]


REPORT_HTML = 'report.html'

Metrics = Mapping[str, Any]

_TEMPLATE = 'report_template.html'
_X_TICKS = 5


class Difference(NamedTuple):
    """Difference of two shares in percentage points. kind, a CSS class: better, worse or same."""

    kind: str
    words: str


def report_run(
    run: EvaluationRun,
    evaluation: Evaluation,
    baseline: Optional[Metrics] = None,
    broken: Sequence[str] = (),
) -> Path:
    """Write report.html of a finished run and return its path.

    baseline: metrics of the run to compare with. broken: broken gates, one line each.
    """
    metrics, speed, scorer = evaluation.metrics, evaluation.speed, run.job.scorer()
    cameras = {name: run.job.camera(source) for name, source in zip(run.names, run.sources)}
    class_map = scorer.classes.class_map
    page = _template().render(
        metrics=metrics,
        speed=speed,
        baseline=baseline,
        broken=broken,
        remarks=baseline_notes(metrics, baseline) if baseline else (),
        scores=[(name, title, lower_is_better(name)) for name, title in SCORES],
        colors={
            name: 'rgb({}, {}, {})'.format(*class_map.classes[ids[0]].color)
            for name, ids in zip(scorer.classes.names, scorer.classes.members)
        },
        worst_frames=[
            frame_pictures(frame, scorer.classes, scorer.drivable, cameras[frame.input])
            for frame in evaluation.pictures
        ],
        confusion=_confusion(metrics),
        over_time=_over_time(read_frames(run.out)),
        calibration=_calibration(metrics),
        latency=_latency(read_latency(run.out)),
        facts=_facts(metrics, speed),
    )
    path = run.out / REPORT_HTML
    write_file(path, page.encode())
    return path


def percent(value: Optional[float], digits: int = 1) -> str:
    """A share as a percentage, an en dash where there is none."""
    return f'{100 * value:.{digits}f}' if value is not None and not math.isnan(value) else '–'


def difference(
    after: Optional[float], before: Optional[float], lower_is_better: bool = False
) -> Optional[Difference]:
    """Difference of two shares; None where one is not known."""
    if after is None or before is None or math.isnan(after) or math.isnan(before):
        return None
    points = 100 * (after - before)
    if abs(points) < 0.05:
        return Difference('same', '±0.0')
    better = (points < 0) == lower_is_better
    sign = '▲ +' if points > 0 else '▼ −'
    return Difference('better' if better else 'worse', f'{sign}{abs(points):.1f}')


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(Path(__file__).parent)),
        undefined=jinja2.StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(percent=percent, band=_band)
    environment.globals.update(difference=difference, SIDE=SIDE)
    return environment.get_template(_TEMPLATE)


def _confusion(metrics: Metrics) -> Dict[str, Dict[str, Optional[float]]]:
    """Row-normalised confusion of the classes that occur, by true and then predicted class."""
    matrix = np.array(metrics['confusion'], float)  # (K, K)
    true = matrix.sum(axis=1) + np.array(metrics['no_class'], float)  # (K,)
    shown = np.flatnonzero((true > 0) | (matrix.sum(axis=0) > 0))
    names = metrics['classes']
    return {
        names[row]: {
            names[column]: matrix[row, column] / true[row] if true[row] else None
            for column in shown
        }
        for row in shown
    }


def _calibration(metrics: Metrics) -> Optional[Chart]:
    """Reliability curve of the confidence."""
    curve = metrics['calibration']
    if curve is None:
        return None
    confidence, accuracy = (
        [float('nan') if point[name] is None else point[name] for point in curve]
        for name in ('confidence', 'accuracy')
    )
    return reliability_chart(confidence, accuracy)


def _over_time(rows: Sequence[FrameRow]) -> Optional[Chart]:
    """Scores of the frames in their order."""
    if sum(row.scored for row in rows) < 2:
        return None
    lines = [
        Line('mean IoU of the frame', 'one', np.array([row.miou for row in rows])),
        Line('pixel accuracy', 'two', np.array([row.pixel_accuracy for row in rows])),
    ]
    ticks = [Tick(share, f'{100 * share:g} %') for share in (0, 0.25, 0.5, 0.75, 1)]
    return line_chart(lines, 1.0, ticks, _frame_ticks(rows), 'Scores of each frame')


def _latency(milliseconds: np.ndarray) -> Optional[Chart]:
    """Time of each frame, (N,) with NaN for broken ones."""
    if len(milliseconds) < 2:
        return None
    top = max(float(np.nanmax(milliseconds)) * 1.05, 1.0)
    line = Line('preprocess + inference + postprocess, ms', 'one', milliseconds)
    x_ticks = _even_ticks(len(milliseconds))
    return line_chart([line], top, nice_ticks(top), x_ticks, 'Milliseconds of each frame')


def _facts(metrics: Metrics, speed: Metrics) -> List[Tuple[str, Any]]:
    """What was run, and where: names and values."""
    pairs = list(metrics['model'].items())
    pairs += [(f'reference {key}', value) for key, value in (metrics['reference'] or {}).items()]
    pairs += [('input', f'{i["name"]}, {i["frames"]} frames') for i in metrics['inputs']]
    pairs += [(f'engine {key}', value) for key, value in speed['engine'].items()]
    pairs += list(speed['environment'].items())
    return pairs + [(f'session {key}', value) for key, value in speed['session'].items()]


def _band(band: str, unit: str) -> str:
    """A distance band '5-10' or '40-' in words; unit: 'm', or '' for shares of the height."""
    start, _, end = band.partition('-')
    if unit:
        return f'{start}–{end} {unit}' if end else f'{start} {unit} and more'
    low = percent(float(start), 0)
    return f'{low}–{percent(float(end), 0)} % of the height' if end else f'{low} % and more'


def _frame_ticks(rows: Sequence[FrameRow]) -> List[Tick]:
    """The beginnings of recordings, if there are several; else some frame numbers."""
    starts = [i for i, row in enumerate(rows) if i == 0 or row.input != rows[i - 1].input]
    if 1 < len(starts) <= _X_TICKS + 1:
        return [Tick(start / (len(rows) - 1), rows[start].input) for start in starts]
    return _even_ticks(len(rows))


def _even_ticks(frames: int) -> List[Tick]:
    last = frames - 1
    places = [round(i * last / (_X_TICKS - 1)) for i in range(_X_TICKS)]
    return [Tick(place / last, str(place)) for place in places]
