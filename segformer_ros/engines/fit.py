"""Fit: how a frame of any size lies in the network's input, and where its logits lie."""

from __future__ import annotations

from typing import NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.model import STRIDE, ModelSpec


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


def fit_frame(frame: Tuple[int, int], network: Tuple[int, int], mode: str) -> Fit:
    """Fit a frame into a network's input; sizes are (height, width), mode as ModelSpec.fit."""
    if mode == 'stretch':
        return Fit(network, network)
    scale = min(network[0] / frame[0], network[1] / frame[1])
    height, width = (
        min(limit, max(STRIDE, STRIDE * round(side * scale / STRIDE)))
        for side, limit in zip(frame, network)
    )
    return Fit((height, width), network)


def cell_rows(spec: ModelSpec, inference: str, frame: Tuple[int, int], mask_rows: int) -> float:
    """Rows of a mask that one cell of the logits spans: what limits how fine it is.

    inference: as EngineOptions.inference. frame: (height, width) that is segmented. mask_rows:
    of the mask, which may be of another size.
    """
    if inference == 'slide':  # windows see the frame at its own scale
        return mask_rows / (frame[0] / STRIDE)
    return mask_rows / (fit_frame(frame, spec.size, spec.fit).content[0] / STRIDE)


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
