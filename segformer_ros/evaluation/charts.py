"""Charts of the report: from values to what its template draws, in a square of SIDE units."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import List, NamedTuple, Sequence, Tuple

import numpy as np

SIDE = 1000.0
"""The drawing's own width and height; the page stretches it."""

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


class Line(NamedTuple):
    """A line to be drawn: its name, the CSS class of its colour, its values (N,)."""

    name: str
    color: str
    values: np.ndarray


class DrawnLine(NamedTuple):
    """A line as SVG points.

    runs: parts that no unknown value interrupts. band: outline of what is gathered, '' for none.
    """

    name: str
    color: str
    runs: Sequence[str]
    band: str


class Bar(NamedTuple):
    """A bar from its upper left corner on, and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    words: str


@dataclass(frozen=True)
class Chart:
    """A chart: lines with a legend, or bars with the diagonal that they should meet."""

    title: str
    x_ticks: Sequence[Tick]
    y_ticks: Sequence[Tick]
    lines: Sequence[DrawnLine] = ()
    bars: Sequence[Bar] = ()


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
) -> Chart:
    """Lines over the frames of a run, from 0 to `top`; a band spans what is gathered."""
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
    """Four or five round labels from 0 up to `top`, which is the axis' end."""
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
    """SVG points of (P,) values in runs that no unknown value interrupts."""
    runs: List[List[str]] = [[]]
    across = np.linspace(0, SIDE, len(values)) if len(values) > 1 else np.array([SIDE / 2])
    up = SIDE * (1 - np.clip(values / top, 0, 1))
    for x, y in zip(across, up):
        if np.isnan(y):
            runs.append([])
        else:
            runs[-1].append(f'{x:.1f},{y:.1f}')
    return [run for run in runs if run]
