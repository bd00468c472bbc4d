"""Pictures of a scored frame: truth and prediction as colours, what is wrong, from above."""

from __future__ import annotations

import base64
from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.drawing.birdseye import BirdsEye
from segformer_ros.drawing.overlay import blend, colorize, draw_boundary
from segformer_ros.drivable import BoundaryConfig, DrivableAreaEstimator, DrivableConfig
from segformer_ros.evaluation.worst_frames import WorstFrame
from segformer_ros.metrics import Camera, ScoredClasses

_WRONG = (40, 40, 235)
_WRONG_OPACITY = 0.65
_DIM = 0.35
"""Brightness of what is not scored."""


def overlay_view(image: np.ndarray, labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """The classes' colours over the image: (H, W, 3) uint8 BGR; pixels without a class as is."""
    view = blend(image, labels, class_map.palette_bgr, 0.6)
    np.copyto(view, image, where=(labels == IGNORE_ID)[..., None])
    return view


def truth_view(labels: np.ndarray, class_map: ClassMap) -> np.ndarray:
    """The classes' colours alone: (H, W, 3) uint8 BGR; what is not labelled is black."""
    return colorize(labels, class_map.palette_bgr)


def error_view(image: np.ndarray, truth: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """What is wrong: (H, W, 3) uint8 BGR.

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
    """One picture: its title and its address, which holds the picture itself."""

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
    """Draw the boundary into `mask`; the ground from above where the camera is calibrated."""
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
