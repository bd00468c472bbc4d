"""Pictures of the worst frames, side by side."""

from __future__ import annotations

import base64
from typing import List, NamedTuple, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.drawing.birdseye import BirdsEye
from segformer_ros.drawing.overlay import draw_boundary
from segformer_ros.drivable import BoundaryConfig, DrivableAreaEstimator, DrivableConfig
from segformer_ros.evaluation.summary import WorstFrame
from segformer_ros.evaluation.views import error_view, overlay_view, truth_view
from segformer_ros.metrics import Camera, ScoredClasses

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
