"""The worst frames: kept as small pictures while a shard is scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Dict, List, NamedTuple, Tuple

import cv2
import numpy as np

from segformer_ros.metrics import MetricError

PICTURE_WIDTH = 960
"""Pixels; larger frames are made smaller for the report."""
WINDOW = 16
"""Frames of which at most one is shown; shards are a multiple of it long."""
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)


@dataclass(frozen=True)
class Picture:
    """One frame for the report.

    index: its place in the recording. wrong: share of wrong pixels, 0..1.
    image: JPEG file. truth, predicted: PNG files of train ids. Each (N,) uint8.
    """

    index: int
    wrong: float
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


class WorstFrame(NamedTuple):
    """A frame for the report: its recording and name, and its pictures."""

    input: str
    frame: str
    picture: Picture


class _Candidate(NamedTuple):
    rank: Tuple[float, int]
    """Share of wrong pixels, then minus the index: of two equals the first is worse."""
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray


class WorstFrames:
    """Keeps the `limit` frames with the largest share of wrong pixels; of equals, the first.

    Neighbouring frames look alike, so one frame stands for each WINDOW of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: Dict[int, _Candidate] = {}  # by window

    def offer(
        self, index: int, wrong: float, image: np.ndarray, truth: np.ndarray, predicted: np.ndarray
    ) -> None:
        """Consider a frame: (H, W, 3) uint8 BGR, (H, W) uint8 labels; what is kept is copied."""
        if self._limit == 0:
            return
        window = rival = index // WINDOW
        if window not in self._kept and len(self._kept) >= self._limit:
            rival = min(self._kept, key=lambda kept: self._kept[kept].rank)
        if rival in self._kept:
            if (wrong, -index) <= self._kept[rival].rank:
                return
            del self._kept[rival]
        self._kept[window] = _Candidate(
            (wrong, -index),
            _smaller(image, cv2.INTER_AREA),
            _smaller(truth, cv2.INTER_NEAREST),
            _smaller(predicted, cv2.INTER_NEAREST),
        )

    def take(self) -> List[Picture]:
        """The pictures, worst first; forgets them."""
        kept = sorted(self._kept.values(), key=lambda candidate: candidate.rank, reverse=True)
        self._kept = {}
        return [
            Picture(
                -candidate.rank[1],
                candidate.rank[0],
                _encode('.jpg', candidate.image, _JPEG),
                _encode('.png', candidate.truth),
                _encode('.png', candidate.predicted),
            )
            for candidate in kept
        ]


def _smaller(pixels: np.ndarray, interpolation: int) -> np.ndarray:
    height, width = pixels.shape[:2]
    if width <= PICTURE_WIDTH:
        return pixels.copy()
    size = (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width)))
    return np.asarray(cv2.resize(pixels, size, interpolation=interpolation))


def _encode(kind: str, pixels: np.ndarray, settings: Tuple[int, ...] = ()) -> np.ndarray:
    encoded, data = cv2.imencode(kind, pixels, list(settings))
    if not encoded:
        raise MetricError(f'cannot encode a picture of {pixels.shape} as {kind}')
    return np.asarray(data).ravel()
