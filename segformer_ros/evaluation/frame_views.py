# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The worst frames of a run, and pictures of a scored frame: truth, prediction, errors."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.camera import Camera
from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.drawing.birdseye import BirdsEye
from segformer_ros.drawing.overlay import blend, colorize, draw_boundary
from segformer_ros.drivable import BoundaryConfig, DrivableAreaEstimator, DrivableConfig
from segformer_ros.metrics.metric import MetricError, ScoredClasses

_WRONG = (40, 40, 235)
_WRONG_OPACITY = 0.65
_DIM = 0.35
"""Brightness of pixels that are not scored."""


def overlay_view(image: np.ndarray, labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """The class colours over the image: (H, W, 3) uint8 BGR; pixels without a class unchanged."""
    view = blend(image, labels, class_map.palette_bgr, 0.6)
    np.copyto(view, image, where=(labels == IGNORE_ID)[..., None])
    return view


def truth_view(labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """The class colours alone: (H, W, 3) uint8 BGR; unlabelled pixels are black."""
    return colorize(labels, class_map.palette_bgr)


def error_view(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The errors: (H, W, 3) uint8 BGR.

    Grey where the classes agree, red where they differ, dark where the truth is not scored.
    image: (H, W, 3) uint8 BGR. truth, predicted: (H, W) uint8 ids of the same kind.
    """
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    ignored = truth == IGNORE_ID
    wrong = (truth != predicted) & ~ignored
    view = np.asarray(grey)
    red = view[wrong] * (1 - _WRONG_OPACITY) + np.array(_WRONG) * _WRONG_OPACITY
    view[wrong] = red.astype(np.uint8)
    view[ignored] = (view[ignored] * _DIM).astype(np.uint8)
    return view


_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)
_PANEL_WIDTH = 360


class View(NamedTuple):
    """One picture: its title, and its data URL."""

    title: str
    address: str


class FramePictures(NamedTuple):
    """A frame and its pictures."""

    input: str
    frame: str
    wrong: float
    views: Sequence[View]


def frame_pictures(
    worst: WorstFrame, classes: ScoredClasses, drivable: str, camera: Camera
) -> FramePictures:
    """Draw a frame: image, truth, prediction with boundary, errors, from above.

    drivable: group of the boundary, '' for none. camera: a calibrated one adds the ground.
    """
    picture = worst.picture
    image = np.asarray(cv2.imdecode(picture.image, cv2.IMREAD_COLOR))
    truth, predicted = (
        np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED))
        for data in (picture.truth, picture.predicted)
    )
    scored = classes.prepare(truth, predicted)
    mask = overlay_view(image, predicted, classes.class_map)
    views = [
        ('image', image),
        ('truth', truth_view(truth, classes.class_map)),
        ('prediction', mask),
        ('errors', error_view(image, scored.truth, scored.predicted)),
    ]
    if drivable:
        views += _from_above(mask, truth, predicted, classes, drivable, camera)
    if len(picture.map):
        views.append(('map', np.asarray(cv2.imdecode(picture.map, cv2.IMREAD_COLOR))))
    return FramePictures(
        worst.input,
        worst.frame,
        picture.wrong,
        [View(title, _address(pixels)) for title, pixels in views],
    )


def _from_above(
    mask: np.ndarray,
    truth: np.ndarray,
    predicted: np.ndarray,
    classes: ScoredClasses,
    drivable: str,
    camera: Camera,
) -> List[Tuple[str, np.ndarray]]:
    """Draw the boundary into `mask`; bird's-eye views if the camera is calibrated."""
    config = DrivableConfig(boundary=BoundaryConfig(drivable=drivable))
    estimator = DrivableAreaEstimator(config, classes.class_map)
    area = estimator.update(predicted, None, camera.calibration, camera.pose)
    draw_boundary(mask, area, classes.class_map)
    if not area.calibrated:
        return []
    panel = BirdsEye(mask.shape[0], _PANEL_WIDTH, classes.class_map)
    true_area = estimator.update(truth, None, camera.calibration, camera.pose)
    return [
        ('truth from above', panel.draw(true_area, estimator.grid(true_area))),
        ('prediction from above', panel.draw(area, estimator.grid(area))),
    ]


def _address(pixels: np.ndarray) -> str:
    _, data = cv2.imencode('.jpg', pixels, _JPEG)
    return 'data:image/jpeg;base64,' + base64.b64encode(data.tobytes()).decode('ascii')


MAP_HEIGHT = 480
"""Height of a drawn map in pixels."""
PICTURE_WIDTH = 960
"""Greatest width of a picture in the report; larger frames are scaled down."""
WINDOW = 16
"""Consecutive frames of which at most one is shown; shards are a multiple of it long."""
_NO_MAP = np.zeros(0, np.uint8)
_CANDIDATE_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 88)


@dataclass(frozen=True)
class Picture:
    """One frame for the report.

    index: its place in the recording. wrong: share of wrong pixels, 0..1.
    image: JPEG file. truth, predicted: PNG files of train ids. map: PNG file of the ground map
    with this frame in it, as it is drawn; empty where there is none. Each (N,) uint8.
    """

    index: int
    wrong: float
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    map: np.ndarray


class WorstFrame(NamedTuple):
    """A frame for the report: its recording and name, and its pictures."""

    input: str
    frame: str
    picture: Picture


class _Candidate(NamedTuple):
    rank: Tuple[float, int]
    """(share of wrong pixels, -index): among equals, the first frame ranks worst."""
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    map: Optional[np.ndarray]


class WorstFrames:
    """Keeps the `limit` frames with the largest share of wrong pixels; among equals, the first.

    Neighbouring frames look alike, so there is at most one from each WINDOW of them.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: Dict[int, _Candidate] = {}  # by window

    def offer(
        self,
        index: int,
        wrong: float,
        image: np.ndarray,
        truth: np.ndarray,
        predicted: np.ndarray,
        ground_map: Callable[[], Optional[np.ndarray]] = lambda: None,
    ) -> None:
        """Consider a frame: (H, W, 3) uint8 BGR, (H, W) uint8 labels; it is copied if kept.

        ground_map: called if the frame is kept; draws its map, (h, w, 3).
        """
        if self._limit == 0:
            return
        # The frame competes with its window's frame, else, if there are enough, with the best one.
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
            ground_map(),
        )

    def take(self) -> List[Picture]:
        """The pictures, worst first; forgets them."""
        kept = sorted(self._kept.values(), key=lambda candidate: candidate.rank, reverse=True)
        self._kept = {}
        return [
            Picture(
                -candidate.rank[1],
                candidate.rank[0],
                _encode('.jpg', candidate.image, _CANDIDATE_JPEG),
                _encode('.png', candidate.truth),
                _encode('.png', candidate.predicted),
                _NO_MAP if candidate.map is None else _encode('.png', candidate.map),
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
