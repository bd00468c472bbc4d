"""Result folder: the overlays of a run as a video, and some frames as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple, Optional, Set

import numpy as np

from segformer_ros.classes import ClassMap
from segformer_ros.destination import output_folder, write_image
from segformer_ros.drawing.birdseye import BirdsEye
from segformer_ros.drawing.overlay import blend, colorize, draw_boundary, draw_legend
from segformer_ros.drawing.panels import Panel, side_by_side
from segformer_ros.drivable import DrivableArea, GridNumbers
from segformer_ros.engines.upsampling import resize_labels
from segformer_ros.recordings import VideoWriter

PICTURES = 6
"""Number of frames that are drawn as pictures, evenly spread over the run."""

_PANEL_HEIGHT = 360


def empty_folder(folder: Path) -> Path:
    """Make a folder for PNG files, and remove those of an earlier run."""
    for old in output_folder(folder).glob('*.png'):
        old.unlink()
    return folder


class SegmentedView(NamedTuple):
    """One segmented frame, as it is drawn.

    image: (H, W, 3) uint8 BGR. labels: (H, W) uint8 train ids, of any size. overlay: None
    to have it drawn. truth: (H, W) uint8 train ids. area, grid: the drivable area, where known.
    """

    key: str
    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray
    overlay: Optional[np.ndarray] = None
    truth: Optional[np.ndarray] = None
    area: Optional[DrivableArea] = None
    grid: Optional[GridNumbers] = None


def draw_overlay(view: SegmentedView, class_map: ClassMap) -> np.ndarray:
    """The classes' colours over a view's image, with the boundary of its area: (H, W, 3) BGR."""
    labels = resize_labels(view.labels, view.image.shape[:2])
    overlay = blend(view.image, labels, class_map.palette_bgr)
    if view.area is not None:
        draw_boundary(overlay, view.area, class_map)
    return overlay


class ResultFolder:
    """Writes `overlay.mp4` and `frames/KEY.png` of a run; a context manager.

    frames: number of views to expect, over which the pictures are spread.
    """

    def __init__(self, folder: Path, class_map: ClassMap, frames: int) -> None:
        self.folder = folder
        self._class_map = class_map
        self._palette = class_map.palette_bgr
        self._birds_eye = BirdsEye(_PANEL_HEIGHT, _PANEL_HEIGHT, class_map)
        self._video = VideoWriter(folder / 'overlay.mp4')
        last = max(frames - 1, 0)
        self._chosen: Set[int] = {
            round(last * place / max(PICTURES - 1, 1)) for place in range(PICTURES)
        }
        self._pictures = empty_folder(folder / 'frames')
        self._count = 0

    def __enter__(self) -> ResultFolder:
        return self

    def __exit__(self, *error: Any) -> None:
        self._video.__exit__(*error)

    def add(self, view: SegmentedView) -> None:
        """Write one view."""
        overlay = view.overlay
        if overlay is None:
            overlay = draw_overlay(view, self._class_map)
        self._video.write(overlay, view.stamp_ns)
        if self._count in self._chosen:
            self._write_picture(view, overlay)
        self._count += 1

    def _write_picture(self, view: SegmentedView, overlay: np.ndarray) -> None:
        panels = [Panel('camera', view.image), Panel('segmentation', overlay)]
        if view.truth is not None:
            panels.append(Panel('labels', colorize(view.truth, self._palette)))
        if view.area is not None and view.area.calibrated and view.grid is not None:
            panels.append(Panel('from above', self._birds_eye.draw(view.area, view.grid)))
        picture = side_by_side(panels, _PANEL_HEIGHT)
        shown = np.flatnonzero(np.bincount(view.labels.ravel()))
        legend = draw_legend(self._class_map, shown.tolist(), picture.shape[1])
        write_image(self._pictures / f'{view.key}.png', np.vstack([picture, legend]))
