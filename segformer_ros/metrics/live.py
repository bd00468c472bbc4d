# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Metrics of a running node: lost frames, age of masks, jitter, and masks paired with labels."""

from __future__ import annotations

import errno
import os
import tempfile
from collections import OrderedDict
from dataclasses import dataclass
from typing import IO, Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.measurement import Percentiles, percentiles

DEPTH = 100
"""Stamps, masks and labels that are kept for matching; the oldest are dropped first."""


class Pair(NamedTuple):
    """A mask and its truth, (H, W) uint8 train ids each.

    follows: whether the frame before this one has a mask, too.
    """

    stamp_ns: int
    truth: np.ndarray
    mask: np.ndarray
    follows: bool


class _Mask(NamedTuple):
    labels: np.ndarray
    image: int
    """Number of its image, -1 if that was not seen."""


@dataclass(frozen=True)
class LiveFigures:
    """Figures of a running node.

    images, masks: how many were received; dropped: images without a mask; unasked: masks whose
    image was not received. pairs: masks that were matched with labels.
    latency_ms: from the arrival of an image to that of its mask, both here. age_ms: from the stamp
    to the mask's arrival, on the clock of the stamps; None if that differs from the clock here.
    interval_ms: between masks. jitter_ms: mean change of the latency from mask to mask, the
    interarrival jitter of RFC 3550 (6.4.1) without its smoothing.
    """

    images: int
    masks: int
    dropped: int
    unasked: int
    pairs: int
    latency_ms: Percentiles
    age_ms: Optional[Percentiles]
    interval_ms: Percentiles
    jitter_ms: float

    def as_json(self) -> Dict[str, Any]:
        """Plain data; NaN is None."""
        return {
            name: _plain(value._asdict() if isinstance(value, Percentiles) else value)
            for name, value in vars(self).items()
        }


PLAUSIBLE_AGE = 60.0
"""Seconds; a mask that is older, or as far in the future, is stamped by another clock."""


class LivePath:
    """Matches images, masks and labels by their stamps, in whatever order they come.

    tolerance_ns: by which the stamps of labels and mask may differ; the nearest labels are taken.
    A mask without labels of exactly its stamp waits until labels beyond the tolerance, or `end`,
    show that no nearer ones will come. Times of arrival are seconds of one monotonic clock.
    """

    def __init__(self, tolerance_ns: int = 0) -> None:
        self._tolerance = tolerance_ns
        self._images: OrderedDict[int, float] = OrderedDict()
        self._numbers: OrderedDict[int, int] = OrderedDict()
        self._labels: OrderedDict[int, np.ndarray] = OrderedDict()
        self._waiting: OrderedDict[int, _Mask] = OrderedDict()
        self._early: OrderedDict[int, None] = OrderedDict()  # masks without an image so far
        self._seen = self._masks = self._answered = self._unasked = self._pairs = 0
        self._last_paired = -1  # number of the image
        self._latency: List[float] = []
        self._ages: List[float] = []
        self._arrivals: List[float] = []

    def image(self, stamp_ns: int, arrival: float) -> None:
        """Count an image, once if it is sent repeatedly."""
        if stamp_ns not in self._numbers:
            self._numbers[stamp_ns] = self._seen
            self._seen += 1
            if stamp_ns in self._early:  # its latency is not known
                del self._early[stamp_ns]
                self._unasked -= 1
                self._answered += 1
            else:
                self._images[stamp_ns] = arrival
            _trim(self._numbers)
            _trim(self._images)

    def labels(self, stamp_ns: int, labels: np.ndarray) -> List[Pair]:
        """Take labels; returns the pairs that are certain now."""
        self._labels[stamp_ns] = labels
        # In the order of the stamps, before labels that a mask waits for are dropped.
        certain = [stamp for stamp in sorted(self._waiting) if self._is_certain(stamp)]
        pairs = self._take(certain)
        while len(self._labels) > DEPTH:
            oldest = next(iter(self._labels))
            waiting = (s for s in self._waiting if abs(s - oldest) <= self._tolerance)
            pairs += self._take([s for s in sorted(waiting) if self._nearest(s) == oldest])
            del self._labels[oldest]
        return pairs

    def end(self) -> List[Pair]:
        """Pair the masks still waiting for nearer labels with the nearest that came."""
        return self._take(sorted(self._waiting))

    def mask(
        self, stamp_ns: int, labels: np.ndarray, arrival: float, age: float = float('nan')
    ) -> List[Pair]:
        """Take a mask that came `age` seconds after its stamp; returns pairs that are certain now.

        Beyond DEPTH waiting masks, the oldest is paired with the nearest labels so far, if any.
        """
        self._masks += 1
        self._arrivals.append(arrival)
        self._ages.append(age)
        image_arrival = self._images.pop(stamp_ns, None)
        if image_arrival is None:
            self._unasked += 1
            self._early[stamp_ns] = None
            _trim(self._early)
        else:
            self._answered += 1
            self._latency.append(arrival - image_arrival)
        mask = _Mask(labels, self._numbers.get(stamp_ns, -1))
        self._waiting[stamp_ns] = mask
        pairs = self._take([stamp_ns]) if self._is_certain(stamp_ns) else []
        while len(self._waiting) > DEPTH:
            oldest = next(iter(self._waiting))
            pairs += self._take([oldest])
            self._waiting.pop(oldest, None)
        return pairs

    def figures(self) -> LiveFigures:
        """Figures of everything received so far."""
        ages = np.array(self._ages)
        plausible = len(ages) > 0 and bool(np.all(np.abs(ages) < PLAUSIBLE_AGE))
        latency = np.array(self._latency)
        return LiveFigures(
            images=self._seen,
            masks=self._masks,
            dropped=self._seen - self._answered,
            unasked=self._unasked,
            pairs=self._pairs,
            latency_ms=percentiles(latency * 1e3),
            age_ms=percentiles(ages * 1e3) if plausible else None,
            interval_ms=percentiles(np.diff(self._arrivals) * 1e3),
            jitter_ms=float(np.abs(np.diff(latency)).mean() * 1e3)
            if len(latency) > 1
            else float('nan'),
        )

    def _nearest(self, stamp_ns: int) -> Optional[int]:
        """Stamp of the nearest labels within the tolerance; the earlier of two as near."""
        nearest = min(self._labels, key=lambda stamp: (abs(stamp - stamp_ns), stamp), default=None)
        near = nearest is not None and abs(nearest - stamp_ns) <= self._tolerance
        return nearest if near else None

    def _is_certain(self, stamp_ns: int) -> bool:
        """Whether no nearer labels can come: labels come in the order of their stamps."""
        newest = max(self._labels, default=stamp_ns)
        return stamp_ns in self._labels or newest - stamp_ns > self._tolerance

    def _take(self, stamps: Sequence[int]) -> List[Pair]:
        """Pair those of the waiting masks that have labels; the others keep waiting."""
        nearest = [(stamp, self._nearest(stamp)) for stamp in stamps]
        return [
            self._pair(stamp, self._waiting.pop(stamp), self._labels[near])
            for stamp, near in nearest
            if near is not None
        ]

    def _pair(self, stamp_ns: int, mask: _Mask, truth: np.ndarray) -> Pair:
        self._pairs += 1
        follows = mask.image >= 0 and mask.image == self._last_paired + 1
        self._last_paired = mask.image
        return Pair(stamp_ns, truth, mask.labels, follows)


def _trim(kept: OrderedDict[int, Any]) -> None:
    while len(kept) > DEPTH:
        kept.popitem(last=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(entry) for name, entry in value.items()}
    return None if isinstance(value, float) and np.isnan(value) else value


# Label maps are long runs of equal bytes: run-length coding takes a fifth of the usual time, and
# the files are no larger.
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


class PairBacklog:
    """Pairs of label maps in a temporary file, losslessly compressed; a context manager."""

    def __init__(self) -> None:
        # Unbuffered, so that a failed write is noticed at once.
        self._file: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - see __exit__
        self._entries: List[_Entry] = []

    def __enter__(self) -> PairBacklog:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._entries)

    def append(self, pair: Pair) -> None:
        """Store a pair; raises OSError if the disk is full, and keeps the earlier ones."""
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
