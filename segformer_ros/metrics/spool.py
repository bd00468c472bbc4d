"""Spool: label maps put aside on disk while there is no time to score them."""

from __future__ import annotations

import errno
import os
import tempfile
from typing import IO, Iterator, List, NamedTuple, Tuple

import cv2
import numpy as np

from segformer_ros.metrics.live import Pair

# Label maps are long runs of equal bytes: this takes a fifth of the usual time and as few bytes.
_PNG = (
    cv2.IMWRITE_PNG_COMPRESSION,
    1,
    cv2.IMWRITE_PNG_STRATEGY,
    cv2.IMWRITE_PNG_STRATEGY_RLE,
)


class _Entry(NamedTuple):
    stamp_ns: int
    follows: bool
    offset: int
    lengths: Tuple[int, int]


class PairSpool:
    """Pairs of label maps in a temporary file, losslessly compressed; a context manager."""

    def __init__(self) -> None:
        # Unbuffered, so that what cannot be written is known at once.
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - see __exit__
        self._entries: List[_Entry] = []

    def __enter__(self) -> PairSpool:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, pair: Pair) -> None:
        """Put a pair aside; raises OSError where the disk is full, and keeps those before it."""
        files = [cv2.imencode('.png', part, _PNG)[1].tobytes() for part in (pair.truth, pair.mask)]
        offset = self._file.seek(0, os.SEEK_END)
        data = files[0] + files[1]
        if self._file.write(data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), tempfile.gettempdir())
        lengths = (len(files[0]), len(files[1]))
        self._entries.append(_Entry(pair.stamp_ns, pair.follows, offset, lengths))

    def __iter__(self) -> Iterator[Pair]:
        for entry in self._entries:
            self._file.seek(entry.offset)
            truth, mask = (self._read(length) for length in entry.lengths)
            yield Pair(entry.stamp_ns, truth, mask, entry.follows)

    def _read(self, length: int) -> np.ndarray:
        data = np.frombuffer(self._file.read(length), np.uint8)
        return np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
