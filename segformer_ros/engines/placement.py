# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Placement: where a frame lies in the network's input, whole or window by window."""

from __future__ import annotations

from dataclasses import replace
from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.engines.engine import EngineError
from segformer_ros.model import STRIDE, ModelSpec
from segformer_ros.model.shape import cell_stride


class Fit(NamedTuple):
    """Where a frame lies in the network's input: in its upper left corner, sizes in pixels."""

    content: Tuple[int, int]
    """(height, width) of the frame's part of the input."""
    network: Tuple[int, int]
    """(height, width) of the input."""

    def crop(self, plane: np.ndarray) -> np.ndarray:
        """View of the frame's part of an output plane or volume (..., h, w) of any scale."""
        rows, columns = self.cells(plane.shape[-2:])
        return plane[..., :rows, :columns]

    def cells(self, size: Sequence[int]) -> Tuple[int, int]:
        """(rows, columns) of the frame's part of an output of this (height, width)."""
        rows, columns = (
            round(side * part / whole)
            for side, part, whole in zip(size, self.content, self.network)
        )
        return rows, columns


def fit_frame(
    frame: Tuple[int, int], network: Tuple[int, int], mode: str, stride: int = STRIDE
) -> Fit:
    """Fit a frame into a network's input; sizes are (height, width).

    mode, stride: as ModelSpec.fit and ModelSpec.stride; a letterboxed frame ends with a cell.
    """
    if mode == 'stretch':
        return Fit(network, network)
    scale = min(network[0] / frame[0], network[1] / frame[1])
    step = STRIDE if not stride or STRIDE % stride == 0 else stride
    height, width = (
        min(limit, max(step, step * round(side * scale / step)))
        for side, limit in zip(frame, network)
    )
    return Fit((height, width), network)


def cell_rows(spec: ModelSpec, inference: str, frame: Tuple[int, int], mask_rows: int) -> float:
    """Rows of a mask that one cell of the logits spans: what limits how fine it is.

    Where the graph upsamples them itself, they are taken to be SegFormer's inside of it.
    inference: as EngineOptions.inference. frame: (height, width) that is segmented. mask_rows:
    of the mask, which may be of another size.
    """
    cell = max(spec.stride, STRIDE)
    if inference == 'slide':  # windows see the frame at its own scale
        return mask_rows / (frame[0] / cell)
    return mask_rows / (fit_frame(frame, spec.size, spec.fit, cell).content[0] / cell)


def place(pixels: np.ndarray, fit: Fit, target: np.ndarray) -> None:
    """Resize a frame bilinearly into its part of the input and clear the rest.

    pixels: (H, W, C) or (H, W) uint8, rows any step apart. target: (h, w, C) or (h, w) uint8 of
    the network's size, written in place.
    """
    height, width = fit.content
    part = target[:height, :width]
    if pixels.shape[:2] == fit.content:
        np.copyto(part, pixels)
    else:
        cv2.resize(pixels, (width, height), dst=part, interpolation=cv2.INTER_LINEAR)
    target[height:] = 0
    target[:height, width:] = 0


class Window(NamedTuple):
    """One piece of a frame: its upper left pixel, on whole cells of the logits."""

    row: int
    column: int


def windows(
    frame: Tuple[int, int], crop: Tuple[int, int], step: int, stride: int = STRIDE
) -> List[Window]:
    """Windows of size `crop` that cover a frame; sizes are (height, width) in pixels.

    Starts lie `step` pixels apart (0: three quarters of the crop's shorter side), on whole cells
    of `stride` pixels, and the last window ends with the frame, as in the evaluation that the
    published numbers use (crop 1024, step 768). A frame smaller than the crop gets one window,
    which it fills in part.
    """
    step = step or min(crop) * 3 // 4
    step = max(step // stride * stride, stride)
    sides = zip(covered(frame, stride), crop)
    rows, columns = ([*range(0, max(s - c, 0), step), max(s - c, 0)] for s, c in sides)
    return [Window(row, column) for row in rows for column in columns]


def check_stride(spec: ModelSpec, cells: Sequence[int]) -> ModelSpec:
    """The spec with the stride of an output of (height, width) cells, to slide windows by.

    Raises EngineError where a cell does not span whole pixels: windows could not be merged.
    """
    stride = cell_stride(spec.size, cells)
    if not stride:
        raise EngineError(
            f'the network gives {cells[1]}x{cells[0]} logits for {spec.size[1]}x{spec.size[0]} '
            'pixels; windows are merged where a cell spans a whole number of pixels, the same '
            'along both sides: use inference: whole'
        )
    return replace(spec, stride=stride)


def covered(frame: Tuple[int, int], stride: int = STRIDE) -> Tuple[int, int]:
    """Size of a frame rounded up to whole cells of the logits."""
    height, width = (-(-side // stride) * stride for side in frame)
    return height, width


class LogitMosaic:
    """Logits of a frame, merged from its windows: in each cell the mean of those that cover it."""

    def __init__(self, classes: int, frame: Tuple[int, int], stride: int = STRIDE) -> None:
        height, width = covered(frame, stride)
        self._stride = stride
        self._sum = np.zeros((classes, height // stride, width // stride), np.float32)
        self._count = np.zeros(self._sum.shape[1:], np.float32)

    def add(self, window: Window, logits: np.ndarray) -> None:
        """Add a window's logits (C, h, w), cropped to the frame."""
        row, column = window.row // self._stride, window.column // self._stride
        rows = min(logits.shape[1], self._sum.shape[1] - row)
        columns = min(logits.shape[2], self._sum.shape[2] - column)
        place = slice(row, row + rows), slice(column, column + columns)
        self._sum[(slice(None), *place)] += logits[:, :rows, :columns]
        self._count[place] += 1.0

    def mean(self) -> np.ndarray:
        """(C, H/stride, W/stride) float32 of the frame rounded up to whole cells."""
        return self._sum / self._count
