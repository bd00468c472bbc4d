"""Charts as inline SVG that stretches with the page, their labels as text that does not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros.evaluation.report.html import element, text

_SIDE = 1000.0
"""The drawing's own width and height; the page scales it."""

POINTS = 240
"""A line has at most so many points; more values are gathered."""


class Tick(NamedTuple):
    """A label at a share (0..1) of an axis."""

    place: float
    label: str


class Gathered(NamedTuple):
    """Values in at most POINTS groups: mean, least and greatest, (P,) each; NaN is left out."""

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Line:
    """A line of a chart: its name, the CSS class of its colour, its values (N,)."""

    name: str
    color: str
    values: np.ndarray


def gather(values: np.ndarray, points: int = POINTS) -> Gathered:
    """Gather (N,) values in groups of neighbours."""
    groups = np.array_split(np.asarray(values, float), min(points, max(len(values), 1)))
    rows: List[Tuple[float, float, float]] = []
    for group in groups:
        valid = group[~np.isnan(group)]
        spread = (valid.mean(), valid.min(), valid.max()) if len(valid) else (np.nan,) * 3
        rows.append((float(spread[0]), float(spread[1]), float(spread[2])))
    return Gathered(*np.array(rows).T)


def line_chart(
    lines: Sequence[Line], top: float, y_ticks: Sequence[Tick], x_ticks: Sequence[Tick], title: str
) -> str:
    """Lines over the frames of a run, from 0 to `top`; a band spans what is gathered."""
    shapes = [_grid(y_ticks)]
    for line in lines:
        gathered = gather(line.values)
        if len(line.values) > POINTS:
            band = [*_places(gathered.high, top), *reversed(_places(gathered.low, top))]
            shapes.append(f'<polygon class="band {line.color}" points="{_joined(band)}"/>')
        shapes.extend(
            f'<polyline class="line {line.color}" points="{_joined(run)}"/>'
            for run in _runs(gathered.mean, top)
        )
    legend = ''.join(
        element('span', element('i', class_=f'key {line.color}'), text(line.name))
        for line in lines
    )
    return _figure(shapes, y_ticks, x_ticks, title) + element('p', legend, class_='legend')


def reliability_chart(confidence: Sequence[float], accuracy: Sequence[float]) -> str:
    """Accuracy of each confidence bin (0..1) as bars, with the diagonal that they should meet."""
    ticks = [Tick(share, f'{100 * share:g}') for share in (0, 0.25, 0.5, 0.75, 1)]
    width = _SIDE / max(len(accuracy), 1)
    shapes = [_grid(ticks)]
    for place, value in enumerate(accuracy):
        if not np.isnan(value):
            shapes.append(
                f'<rect class="bar" x="{place * width + 0.1 * width:.1f}" '
                f'y="{_SIDE * (1 - value):.1f}" width="{0.8 * width:.1f}" '
                f'height="{_SIDE * value:.1f}"><title>confidence '
                f'{100 * confidence[place]:.0f} %: right in {100 * value:.1f} %</title></rect>'
            )
    shapes.append(f'<line class="diagonal" x1="0" y1="{_SIDE}" x2="{_SIDE}" y2="0"/>')
    return _figure(shapes, ticks, ticks, 'Accuracy by confidence, in percent', 'square')


def nice_ticks(top: float) -> List[Tick]:
    """Four or five round labels from 0 up to `top`, which is the axis' end."""
    step = 10.0 ** np.floor(np.log10(max(top, 1e-9)))
    for part in (0.2, 0.25, 0.5, 1.0, 2.0, 2.5):
        if top / (part * step) <= 5:
            step *= part
            break
    values = np.arange(0, top * 1.001, step)
    return [Tick(float(value / top), f'{value:g}') for value in values]


def _figure(
    shapes: Sequence[str],
    y_ticks: Sequence[Tick],
    x_ticks: Sequence[Tick],
    title: str,
    shape: str = '',
) -> str:
    drawing = (
        f'<svg viewBox="0 0 {_SIDE:g} {_SIDE:g}" preserveAspectRatio="none" role="img" '
        f'aria-label="{text(title)}">{"".join(shapes)}</svg>'
    )
    labels = [
        element('span', text(tick.label), class_='y', style=f'bottom:{100 * tick.place:.2f}%')
        for tick in y_ticks
    ] + [
        element('span', text(tick.label), class_='x', style=f'left:{100 * tick.place:.2f}%')
        for tick in x_ticks
    ]
    return element('div', drawing, *labels, class_=f'chart {shape}'.strip())


def _grid(ticks: Sequence[Tick]) -> str:
    return ''.join(
        f'<line class="grid" x1="0" x2="{_SIDE:g}" y1="{y:.1f}" y2="{y:.1f}"/>'
        for y in (_SIDE * (1 - tick.place) for tick in ticks)
    )


def _places(values: np.ndarray, top: float) -> List[Tuple[float, float]]:
    """Points of the values that are known, in the drawing's units."""
    across = np.linspace(0, _SIDE, len(values)) if len(values) > 1 else np.array([_SIDE / 2])
    up = _SIDE * (1 - np.clip(values / top, 0, 1))
    return [(float(x), float(y)) for x, y in zip(across, up) if not np.isnan(y)]


def _runs(values: np.ndarray, top: float) -> List[List[Tuple[float, float]]]:
    """Points in runs that no unknown value interrupts."""
    runs: List[List[Tuple[float, float]]] = [[]]
    across = np.linspace(0, _SIDE, len(values)) if len(values) > 1 else np.array([_SIDE / 2])
    for x, value in zip(across, values):
        if np.isnan(value):
            runs.append([])
        else:
            runs[-1].append((float(x), float(_SIDE * (1 - min(max(value / top, 0), 1)))))
    return [run for run in runs if run]


def _joined(points: Sequence[Tuple[float, float]]) -> str:
    return ' '.join(f'{x:.1f},{y:.1f}' for x, y in points)
