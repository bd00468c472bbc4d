# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""From logits to the label map and the confidence of a frame, on the CPU."""

from __future__ import annotations

from typing import Iterator, NamedTuple, Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID

_CELLS_AT_ONCE = 1024
"""Contested cells that are interpolated together: their scores stay in the CPU's cache."""


def exact_labels(logits: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Label of each pixel: (H, W) uint8 for `size` from (C, h, w) float32 logits.

    The argmax over bilinearly upsampled logits (`verification.kernel_checks.resize_bilinear`); the
    lower class wins a tie. Where logits are not numbers (NaN) there is no class (255).

    A cell is the area between four neighbouring logits. An interpolated score lies between the
    least and the greatest of the four, so in most cells one class alone can win, and the cell's
    pixels take it; only the other, contested cells are interpolated.
    """
    rows, columns = _Axis.of(logits.shape[1], size[0]), _Axis.of(logits.shape[2], size[1])
    corners = _with_border(logits)  # (C, h + 2, w + 2)
    possible = _possible_classes(corners)  # (C, h + 1, w + 1) bool
    owners = np.full(possible.shape[1:], IGNORE_ID, np.uint8)  # (h + 1, w + 1); of NaN no class
    for index, cells in enumerate(possible):
        np.copyto(owners, index, where=cells)
    labels = owners.take(columns.cells, axis=1).take(rows.cells, axis=0)  # (H, W)
    rivals = np.count_nonzero(possible, axis=0)  # (h + 1, w + 1)
    rivals[~rows.seen] = 0
    rivals[:, ~columns.seen] = 0
    for y, x in _contested_cells(rivals):
        # (pixels down, pixels across, n) of the n cells: where they are in the flat labels
        place = rows.pixels.T[:, None, y] * size[1] + columns.pixels.T[:, x]
        shares = rows.shares.T[:, None, y], columns.shares.T[:, x]
        labels.ravel()[place] = _contested_labels(corners, possible[:, y, x], (y, x), shares)
    return labels


class _Axis(NamedTuple):
    """Where the pixels of one axis lie among its cells.

    Cell 0 is before the first logit and the last one behind the last; both have equal corners.

    cells: (pixels,) the cell of each pixel.
    pixels: (cells, most pixels of a cell) the pixels of each cell, its last one repeated.
    shares: of the same shape, float32: how far each lies from the cell's first corner to its next.
    seen: (cells,) False where pixels are so few that a cell has none.
    """

    cells: np.ndarray
    pixels: np.ndarray
    shares: np.ndarray
    seen: np.ndarray

    @classmethod
    def of(cls, logits: int, pixels: int) -> _Axis:
        # Samples lie at pixel centres, as in OpenCV's INTER_LINEAR.
        position = (np.arange(pixels) + 0.5) * (logits / pixels) - 0.5  # (pixels,)
        cells = np.floor(position).astype(np.intp) + 1  # (pixels,), rising
        starts = np.searchsorted(cells, np.arange(logits + 2))  # first pixel of each cell
        counts = np.diff(starts)  # (cells,) its pixels
        step = np.minimum(np.arange(counts.max()), np.maximum(counts - 1, 0)[:, None])
        members = np.minimum(starts[:-1, None] + step, pixels - 1)  # (cells, most pixels)
        shares = (position - np.floor(position)).astype(np.float32)  # (pixels,)
        return cls(cells, members, shares[members], counts > 0)


def _with_border(logits: np.ndarray) -> np.ndarray:
    """(C, h + 2, w + 2): the outermost logits repeated."""
    classes, height, width = logits.shape
    corners = np.empty((classes, height + 2, width + 2), np.float32)
    for plane, place in zip(logits, corners):
        cv2.copyMakeBorder(plane, 1, 1, 1, 1, cv2.BORDER_REPLICATE, dst=place)
    return corners


def _possible_classes(corners: np.ndarray) -> np.ndarray:
    """Where each class can win: (C, h + 1, w + 1) bool from corners (C, h + 2, w + 2).

    In a cell, a class can win if its greatest corner reaches the best of all classes' least ones.
    """
    bound = np.full((corners.shape[1] - 1, corners.shape[2] - 1), -np.inf, np.float32)
    greatest = np.empty((len(corners), *bound.shape), np.float32)
    for plane, high in zip(corners, greatest):
        low = np.minimum(plane[:-1], plane[1:])
        np.maximum(bound, np.minimum(low[:, :-1], low[:, 1:]), out=bound)
        tall = np.maximum(plane[:-1], plane[1:])
        np.maximum(tall[:, :-1], tall[:, 1:], out=high)
    possible: np.ndarray = greatest >= bound
    return possible


def _contested_cells(rivals: np.ndarray) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
    """Rows and columns of the cells with several rivals, most rivals first, some at a time."""
    y, x = np.nonzero(rivals > 1)
    order = np.argsort(-rivals[y, x], kind='stable')
    for start in range(0, len(order), _CELLS_AT_ONCE):
        portion = order[start : start + _CELLS_AT_ONCE]
        yield y[portion], x[portion]


def _contested_labels(
    corners: np.ndarray,
    possible: np.ndarray,
    cells: Tuple[np.ndarray, np.ndarray],
    shares: Tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """Labels of all pixels of n cells: (pixels down, pixels across, n) uint8.

    corners: (C, h, w). possible: (C, n) which classes can win, those cells first that have most of
    them. cells: rows and columns of the cells' first corners, (n,) each. shares: of the pixels,
    (down, 1, n) and (across, n).
    """
    (y, x), (down, across) = cells, shares
    best = np.full((len(down), *across.shape), -np.inf, np.float32)
    labels = np.zeros(best.shape, np.uint8)
    for classes in _rounds(possible):
        n = len(classes)
        above = corners[classes, y[:n], x[:n]], corners[classes, y[:n], x[:n] + 1]
        below = corners[classes, y[:n] + 1, x[:n]], corners[classes, y[:n] + 1, x[:n] + 1]
        top, bottom = (left + (right - left) * across[:, :n] for left, right in (above, below))
        scores = (bottom - top) * down[..., :n]
        scores += top
        # Classes come in order, so the one that leads is the greatest number so far.
        leads = (scores > best[..., :n]).view(np.uint8) * classes
        np.maximum(labels[..., :n], leads, out=labels[..., :n])
        np.maximum(best[..., :n], scores, out=best[..., :n])
    return labels


def _rounds(possible: np.ndarray) -> Iterator[np.ndarray]:
    """The first class of every cell, the second of those that have two, and so on: uint8 each."""
    counts = np.count_nonzero(possible, axis=0)
    classes = np.nonzero(possible.T)[1].astype(np.uint8)
    firsts = np.cumsum(counts) - counts
    for rank in range(counts[0]):
        yield classes[firsts[: np.count_nonzero(counts > rank)] + rank]


def label_map(logits: np.ndarray, size: Tuple[int, int], upsampling: str) -> np.ndarray:
    """Label of each pixel: (H, W) uint8 from (C, h, w) float32 logits.

    'exact' equals the argmax over bilinearly upsampled logits; the lower class wins a tie.
    'fast' takes the argmax first and repeats it to the size. Where logits are not numbers (NaN, as
    from damaged weights or too low a precision) there is no class (255), never the first one.
    """
    if upsampling == 'fast':
        best = np.argmax(logits, axis=0)  # (h, w); of NaN the first NaN
        unknown = np.isnan(np.take_along_axis(logits, best[None], axis=0)[0])  # (h, w) bool
        return resize_labels(np.where(unknown, IGNORE_ID, best).astype(np.uint8), size)
    return exact_labels(logits, size)


def as_labels(values: np.ndarray) -> np.ndarray:
    """Labels (h, w) uint8 of a network's integers; 255 for those beyond uint8."""
    if values.dtype == np.uint8:
        return values.copy()
    beyond = (values < 0) | (values > IGNORE_ID)
    # Typed, since NumPy 2.5 refuses a plain 255 among int8.
    return np.where(beyond, np.uint8(IGNORE_ID), values).astype(np.uint8)


def resize_labels(labels: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Labels (h, w) at another (height, width): each pixel takes the label nearest to it."""
    if labels.shape == size:
        return labels
    # INTER_NEAREST_EXACT has its sample points at pixel centres, as the bilinear resize has.
    return np.asarray(cv2.resize(labels, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT))


def confidence_map(logits: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
    """Probability of the best class: (H, W) uint8, 0..255 for 0..1, from (C, h, w) logits.

    The softmax is taken at the logits' size and its maximum upsampled: a 1080p frame would need
    40 million exponentials otherwise. That maximum is 1 / sum(exp(logit - greatest)).
    """
    with np.errstate(invalid='ignore', over='ignore'):
        best = np.nan_to_num(1.0 / np.exp(logits - logits.max(axis=0)).sum(axis=0), copy=False)
    upsampled = cv2.resize(best, size[::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.convertScaleAbs(upsampled, alpha=255.0))
