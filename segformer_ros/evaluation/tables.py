"""Tables of a run with one row for each frame: frames.csv, timings.csv and confusion.npy."""

from __future__ import annotations

import csv
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros.destination import WholeFile
from segformer_ros.evaluation.shards import FrameRecord, ShardResult
from segformer_ros.metrics import confusion_scores
from segformer_ros.metrics.metric import ratio

FRAMES_CSV = 'frames.csv'
TIMINGS_CSV = 'timings.csv'
CONFUSION_NPY = 'confusion.npy'

LATENCY = ('preprocess', 'inference', 'postprocess')
"""Stages from frame to mask."""
STAGES = (*LATENCY, 'score')
"""Stages that are timed; 'score' runs beside the others."""

_FRAME_COLUMNS = (
    'input', 'index', 'frame', 'stamp_ns', 'scored', 'miou', 'pixel_accuracy', 'pixels', 'flicker',
    'false_free', 'false_blocked', 'note',
)  # fmt: skip


class _Text(NamedTuple):
    """What csv.writer writes to."""

    write: Callable[[str], object]


class FrameTables:
    """Writes the tables in the order of the frames; a context manager.

    Each is there when all are whole. frames.csv holds nothing that two runs could differ in; times
    have a file of their own.
    confusion.npy: (N, K, K + 1) uint32, the scored frames of frames.csv in their order.
    """

    def __init__(self, out: Path, inputs: Sequence[str], scored: int, classes: int) -> None:
        self._inputs = inputs
        with ExitStack() as opened:
            frames, timings, matrices = (
                opened.enter_context(WholeFile(out / name))
                for name in (FRAMES_CSV, TIMINGS_CSV, CONFUSION_NPY)
            )
            self._frames, self._timings = (
                csv.writer(_Text(file.write_text)) for file in (frames, timings)
            )
            self._frames.writerow(_FRAME_COLUMNS)
            self._timings.writerow(('input', 'index', *STAGES))
            # Not mapped into memory: on a full disk that ends the process by SIGBUS.
            self._matrices = matrices
            shape = (scored, classes, classes + 1)
            header = {'descr': '<u4', 'fortran_order': False, 'shape': shape}
            np.lib.format.write_array_header_1_0(matrices, header)
            self._open = opened.pop_all()

    def __enter__(self) -> FrameTables:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def add(self, result: ShardResult) -> None:
        """Write the rows of the next shard."""
        matrices = iter(result.matrices)
        for record in result.frames:
            scores: Tuple[Any, ...] = ('',) * 6
            if record.scored:
                matrix = next(matrices)
                self._matrices.write(matrix.astype('<u4').tobytes())
                scores = _frame_scores(matrix.astype(np.int64), record)
            name = self._inputs[record.source]
            self._frames.writerow(
                (name, record.index, record.key, record.stamp_ns, int(record.scored))
                + (*scores, record.note)
            )
            times = (f'{getattr(record, stage):.3f}' for stage in STAGES)
            self._timings.writerow((name, record.index, *times))


@dataclass(frozen=True)
class FrameRow:
    """A row of frames.csv as it is read back; NaN where a cell is empty."""

    input: str
    index: int
    frame: str
    stamp_ns: int
    scored: bool
    miou: float
    pixel_accuracy: float
    pixels: int
    flicker: float
    false_free: float
    false_blocked: float
    note: str


def read_frames(out: Path) -> List[FrameRow]:
    """Read frames.csv of a finished run."""
    with (out / FRAMES_CSV).open(newline='', encoding='utf-8') as file:
        return [_frame_row(row) for row in csv.DictReader(file)]


def read_latency(out: Path) -> np.ndarray:
    """Milliseconds from frame to mask of each frame in timings.csv, (N,); NaN for broken ones."""
    with (out / TIMINGS_CSV).open(newline='', encoding='utf-8') as file:
        times = [sum(float(row[stage]) for stage in LATENCY) for row in csv.DictReader(file)]
    return np.array([time or np.nan for time in times], float)


def _frame_row(row: Dict[str, str]) -> FrameRow:
    def number(name: str) -> float:
        return float(row[name]) if row[name] else float('nan')

    return FrameRow(
        input=row['input'],
        index=int(row['index']),
        frame=row['frame'],
        stamp_ns=int(row['stamp_ns']),
        scored=row['scored'] == '1',
        miou=number('miou'),
        pixel_accuracy=number('pixel_accuracy'),
        pixels=int(row['pixels'] or 0),
        flicker=number('flicker'),
        false_free=number('false_free'),
        false_blocked=number('false_blocked'),
        note=row['note'],
    )


def _frame_scores(matrix: np.ndarray, record: FrameRecord) -> Tuple[Any, ...]:
    scores = confusion_scores(matrix)
    return (
        _cell(scores.miou),
        _cell(scores.pixel_accuracy),
        int(scores.pixels.sum()),
        _cell(ratio(record.changed, record.stays)),
        _cell(ratio(record.false_free, record.columns)),
        _cell(ratio(record.false_blocked, record.columns)),
    )


def _cell(value: float) -> str:
    return '' if np.isnan(value) else f'{value:.6f}'
