# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Summaries of the drivable area's scores, as records and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import load_class_map
from segformer_ros.text_table import markdown_table
from tools.benchmarks.drivable_score import ColumnScores, FrameScores

BANDS = (0.0, 5.0, 10.0, 20.0, 40.0, math.inf)  # metres of true free distance
MARGIN = 2.0  # metres beyond the true blocker: false free
REACH = 40.0  # metres that blockers are told apart for
FEW = 50  # columns; classes that block fewer are left out


class ScoredDrive(NamedTuple):
    """Scores of one drive, and the camera that it was seen with."""

    calibration: Calibration
    pose: CameraPose
    scores: FrameScores


@dataclass(frozen=True)
class Part:
    """A part of the columns; errors are absolute, in metres."""

    name: str
    columns: int
    false_free: float
    false_blocked: float
    error_p50: float
    error_p95: float
    within_one_sigma: float


@dataclass(frozen=True)
class Summary:
    """Scores of one kind of masks.

    pixels_*: distance error in footprints of the pixel at the true contact. no_ratio: contacts
    without one, because that pixel looks past the horizon or nothing finite was measured.
    """

    frames: int
    columns: int
    contacts: int
    pixels_p50: float
    pixels_p99: float
    no_ratio: int
    class_right: float
    class_nearest: float
    class_nearest_to_a_pixel: float
    class_right_anywhere: float
    false_far: int
    free_cells: int
    occupied_cells: int
    false_cells: int
    false_cells_beyond_border: int
    false_free: float
    bands: tuple[Part, ...]
    blockers: tuple[Part, ...]


Condition = Callable[[Calibration, CameraPose], bool]


def _lens(*models: str) -> Condition:
    return lambda calibration, pose: calibration.model in models


def _between(
    value: Callable[[Calibration, CameraPose], float], low: float, high: float
) -> Condition:
    return lambda calibration, pose: low <= value(calibration, pose) < high


def _focal(calibration: Calibration, pose: CameraPose) -> float:
    return calibration.fx / calibration.width


def _height(calibration: Calibration, pose: CameraPose) -> float:
    return pose.height


def _pitch(calibration: Calibration, pose: CameraPose) -> float:
    return math.degrees(pose.pitch)


def _tilt(calibration: Calibration, pose: CameraPose) -> float:
    return abs(math.degrees(pose.roll))


CONDITIONS: dict[str, Condition] = {
    'no distortion': _lens('none'),
    'plumb_bob': _lens('plumb_bob'),
    'rational_polynomial': _lens('rational_polynomial'),
    'equidistant': _lens('equidistant'),
    'focal length 0.5 widths': _between(_focal, 0.0, 0.6),
    'focal length 0.75 widths': _between(_focal, 0.6, 1.0),
    'focal length 1.1 widths': _between(_focal, 1.0, 2.0),
    '0.3 to 0.6 m high': _between(_height, 0.0, 0.6),
    '0.6 to 1.2 m high': _between(_height, 0.6, 1.2),
    '1.2 to 2.5 m high': _between(_height, 1.2, 3.0),
    'looks up by more than 5 degrees': _between(_pitch, -90, -5),
    'within 5 degrees of level': _between(_pitch, -5, 5),
    'looks down by more than 5 degrees': _between(_pitch, 5, 90),
    'rolled by less than 2.5 degrees': _between(_tilt, 0, 2.5),
    'rolled by 2.5 to 5 degrees': _between(_tilt, 2.5, 90),
}


def summarise(drives: Sequence[ScoredDrive]) -> Summary:
    """Rates and percentiles over all frames of some drives."""
    scores = FrameScores.merged([drive.scores for drive in drives])
    columns = scores.columns
    error = np.subtract(columns.measured, columns.true)
    footprint = np.array(columns.footprint)
    resolved = np.isfinite(footprint) & np.isfinite(error) & (np.array(columns.measured) > 0)
    pixels = np.abs(error[resolved]) / footprint[resolved]
    strict = np.array(columns.nearest_right)
    return Summary(
        scores.frames,
        scores.seen,
        len(error),
        float(np.median(pixels)),
        float(np.percentile(pixels, 99)),
        int(np.count_nonzero(~resolved)),
        float(np.mean(columns.right)),
        float(strict.mean()),
        float((strict | np.array(columns.ambiguous)).mean()),
        scores.right_anywhere / scores.seen,
        scores.false_far,
        scores.free_cells,
        scores.occupied_cells,
        scores.false_cells,
        scores.beyond_border,
        float((error >= MARGIN).mean()),
        _by_distance(columns),
        _by_blocker(columns),
    )


def _by_distance(columns: ColumnScores) -> tuple[Part, ...]:
    """Parts by true free distance."""
    true = np.array(columns.true)
    parts = []
    for low, high in pairwise(BANDS):
        name = f'{low:g} m on' if math.isinf(high) else f'{low:g}-{high:g} m'
        parts.append(_part(name, columns, (true >= low) & (true < high)))
    return tuple(part for part in parts if part is not None)


def _by_blocker(columns: ColumnScores) -> tuple[Part, ...]:
    """Parts by the class of the true blocker, within the reach of a planner; the largest first."""
    blocker, near = np.array(columns.blocker), np.array(columns.true) < REACH
    names = {entry.train_id: entry.name for entry in load_class_map('cityscapes').classes}
    parts = [
        _part(names.get(class_id, 'unknown'), columns, near & (blocker == class_id))
        for class_id in np.unique(blocker).tolist()
    ]
    found = [part for part in parts if part is not None and part.columns >= FEW]
    return tuple(sorted(found, key=lambda part: -part.columns))


def _part(name: str, columns: ColumnScores, inside: np.ndarray) -> Part | None:
    """Rates and errors of the columns `inside` (bool), if anything finite was measured there."""
    true, measured, sigma = (
        np.array(each)[inside] for each in (columns.true, columns.measured, columns.sigma)
    )
    wrong = measured - true
    finite = np.abs(wrong[np.isfinite(wrong) & (measured > 0)])
    if len(finite) == 0:
        return None
    return Part(
        name,
        len(wrong),
        float((wrong >= MARGIN).mean()),
        float((wrong <= -MARGIN).mean()),
        float(np.median(finite)),
        float(np.percentile(finite, 95)),
        float((np.abs(wrong) <= sigma).mean()),
    )


def by_condition(drives: Sequence[ScoredDrive]) -> dict[str, Summary]:
    """Summaries of those drives whose cameras meet each condition, where there are any."""
    chosen = {
        name: [drive for drive in drives if meets(drive.calibration, drive.pose)]
        for name, meets in CONDITIONS.items()
    }
    return {name: summarise(some) for name, some in chosen.items() if some}


def markdown(title: str, summary: Summary) -> str:
    """The summary as a section of Markdown."""
    s = summary
    cells = f'{s.false_cells} ({s.false_cells_beyond_border} beyond one cell at the border)'
    rows = [
        ('frames, columns, with a contact in view', f'{s.frames}, {s.columns}, {s.contacts}'),
        (
            "distance error / the pixel's footprint",
            f'median {s.pixels_p50:.2f}, p99 {s.pixels_p99:.2f} '
            f'({s.no_ratio} contacts have no such ratio)',
        ),
        ('class right: at the measured column', f'{s.class_right:.2%}'),
        (
            "class right: the span's nearest, to within a pixel",
            f'{s.class_nearest_to_a_pixel:.2%} (exactly: {s.class_nearest:.2%})',
        ),
        ('class right: all columns that see ground', f'{s.class_right_anywhere:.2%}'),
        (f'called free at least {MARGIN:g} m beyond the blocker', f'{s.false_free:.2%}'),
        ('without a contact in view, called freer than true', f'{s.false_far}'),
        ('grid: free, occupied cells', f'{s.free_cells}, {s.occupied_cells}'),
        ('grid: free, but not in the world', cells),
    ]
    tables = [
        markdown_table(('', ''), rows),
        _parts('true distance', s.bands),
        _parts(f'true blocker, up to {REACH:g} m', s.blockers),
    ]
    return '\n\n'.join([f'### {title}', *tables]) + '\n'


def _parts(title: str, parts: tuple[Part, ...]) -> str:
    free = f'false free (>= {MARGIN:g} m)'
    header = (title, 'columns', free, 'false blocked', 'error p50', 'p95', 'within 1 sigma')
    rows = [
        (
            part.name,
            part.columns,
            f'{part.false_free:.2%}',
            f'{part.false_blocked:.2%}',
            f'{part.error_p50:.2f} m',
            f'{part.error_p95:.2f} m',
            f'{part.within_one_sigma:.0%}',
        )
        for part in parts
    ]
    return markdown_table(header, rows)


def conditions_markdown(summaries: dict[str, Summary]) -> str:
    """One line for each kind of camera."""
    header = (
        'cameras', 'frames', 'contacts', 'error / footprint: median', 'p99', 'class right',
        'free cells', 'falsely, beyond the border',
    )  # fmt: skip
    rows = [
        (
            name,
            s.frames,
            s.contacts,
            f'{s.pixels_p50:.2f}',
            f'{s.pixels_p99:.2f}',
            f'{s.class_right:.2%}',
            s.free_cells,
            s.false_cells_beyond_border,
        )
        for name, s in summaries.items()
    ]
    return markdown_table(header, rows) + '\n'
