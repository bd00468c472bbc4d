# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Tables of a run with one row for each frame: frames.csv, timings.csv and confusion.npy."""

from __future__ import annotations

import csv
import io
import math
import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Callable, Iterator, List, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros import documents
from segformer_ros.destination import WholeFile
from segformer_ros.documents import (
    LONGEST_PATH,
    DocumentError,
    FieldError,
    number,
    one_of,
    open_file,
    text,
    whole,
)
from segformer_ros.errors import reason
from segformer_ros.evaluation.shards import FrameRecord, ShardResult
from segformer_ros.metrics.metric import ratio
from segformer_ros.metrics.pixel_metrics import confusion_scores

FRAMES_CSV = 'frames.csv'
TIMINGS_CSV = 'timings.csv'
CONFUSION_NPY = 'confusion.npy'

LONGEST_LINE = 1 << 16
"""Most characters in a line of frames.csv."""

LATENCY = ('preprocess', 'inference', 'postprocess')
"""Stages from frame to mask."""
STAGES = (*LATENCY, 'score')
"""Stages that are timed; 'score' runs beside the others."""

MOST_FRAMES = 1_000_000
"""Most rows of frames.csv: nine hours at 30 Hz."""

_FRAME_COLUMNS = (
    'input', 'index', 'frame', 'stamp_ns', 'scored', 'miou', 'pixel_accuracy', 'pixels', 'flicker',
    'false_free', 'false_blocked', 'note',
)  # fmt: skip


class _Text(NamedTuple):
    """A file for csv.writer."""

    write: Callable[[str], object]


class FrameTables:
    """Writes the tables in the order of the frames; a context manager.

    The files appear once all are complete. frames.csv is reproducible: times, which are not, have
    a file of their own.
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
            # Not memory-mapped: on a full disk that kills the process by SIGBUS.
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
    """Read frames.csv of a finished run; raises OSError and DocumentError."""
    rows: List[FrameRow] = []
    try:
        with io.TextIOWrapper(open_file(out / FRAMES_CSV), 'utf-8', newline='') as file:
            for row in csv.DictReader(_lines(file)):
                rows.append(FrameRow(**_FRAME_ROW(row)))
                if len(rows) > MOST_FRAMES:
                    raise DocumentError(f'{FRAMES_CSV} has more than {MOST_FRAMES} rows')
    except (csv.Error, UnicodeDecodeError) as error:
        raise DocumentError(f'{FRAMES_CSV} is not a table ({reason(error)})') from error
    except FieldError as error:
        raise DocumentError(f'{FRAMES_CSV}, frame {len(rows) + 1}: {error}') from error
    return rows


def _lines(file: IO[str]) -> Iterator[str]:
    """Lines of a table; raises DocumentError for one that is too long."""
    while True:
        line = file.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise DocumentError(f'{FRAMES_CSV} has a line of {LONGEST_LINE} characters or more')
        if not line:
            return
        yield line


def read_matrices(out: Path) -> np.ndarray:
    """confusion.npy of a finished run: (N, K, K + 1) uint32, memory-mapped.

    Raises OSError and DocumentError.
    """
    path = out / CONFUSION_NPY
    with open_file(path) as file:
        try:
            np.lib.format.read_magic(file)
            shape, _, kind = np.lib.format.read_array_header_1_0(file)
        except Exception as error:  # NumPy parses the header as Python source, with its errors
            raise DocumentError(f'{CONFUSION_NPY} is damaged ({reason(error)})') from error
        start, size = file.tell(), os.fstat(file.fileno()).st_size
    fits = kind == np.uint32 and len(shape) == 3 and shape[2] == shape[1] + 1 and min(shape) >= 0
    if not fits or size - start != 4 * math.prod(shape):
        raise DocumentError(
            f'{CONFUSION_NPY} is damaged: {size - start} bytes of shape {shape} and type {kind}'
        )
    if not shape[0]:
        return np.zeros(shape, np.uint32)
    return np.memmap(path, np.uint32, 'r', start, shape)


def read_latency(out: Path) -> np.ndarray:
    """Milliseconds from frame to mask by timings.csv, (N,); NaN for frames not segmented."""
    with (out / TIMINGS_CSV).open(newline='', encoding='utf-8') as file:
        times = [sum(float(row[stage]) for stage in LATENCY) for row in csv.DictReader(file)]
    return np.array([time or np.nan for time in times], float)


def _number_or_nan(value: Any) -> float:
    return _number(value) if value else math.nan


_number = number()
_FRAME_ROW = documents.record(
    {
        'input': text(LONGEST_PATH, least=0),
        'index': whole(0, 1 << 40),
        'frame': text(LONGEST_PATH, least=0),
        'stamp_ns': whole(-(1 << 63), 1 << 63),
        'scored': lambda value: one_of('01')(value) == '1',
        'miou': _number_or_nan,
        'pixel_accuracy': _number_or_nan,
        'pixels': lambda value: whole(0, 1 << 62)(value or 0),
        'flicker': _number_or_nan,
        'false_free': _number_or_nan,
        'false_blocked': _number_or_nan,
        'note': str,
    },
    needed=frozenset(_FRAME_COLUMNS),
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
