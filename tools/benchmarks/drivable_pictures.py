"""A sheet of real frames with boundary, distances and bird's-eye panel, to be looked at.

    ./run python -m tools.benchmarks.drivable_pictures ../shared/camvid/val/images --out sheet.jpg

The camera is not known: its field of view, height and pitch are given by guess, and stand on the
sheet, whose metres are as good as these.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import cv2
import numpy as np

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.cli.arguments import number, whole
from segformer_ros.drawing.birdseye import BirdsEye
from segformer_ros.drawing.overlay import blend, draw_boundary
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableAreaEstimator,
    DrivableConfig,
    GridConfig,
)
from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import bundled_model, load_model

PANEL_WIDTH = 270
COLUMNS = 2
HEADER = 30  # rows


def header(width: int, assumption: str) -> np.ndarray:
    """Line (HEADER, width, 3) on top of the sheet."""
    line = np.full((HEADER, width, 3), 255, np.uint8)
    place = (10, HEADER - 10)
    cv2.putText(line, assumption, place, cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    return line


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('images', type=Path)
    parser.add_argument('--out', type=Path, required=True)
    parser.add_argument('--count', type=whole(1), default=12)
    parser.add_argument('--model', type=Path)
    parser.add_argument('--fov', type=number(1, 179), default=55.0, help='horizontal, degrees')
    parser.add_argument(
        '--height', type=number(0, above=True), default=1.5, help='of the camera, m'
    )
    parser.add_argument(
        '--pitch', type=number(-90, 90), default=2.0, help='degrees, positive looks down'
    )
    parser.add_argument(
        '--hood', type=number(0, 1), default=0.0, help="share of the image's height"
    )
    options = parser.parse_args()
    files = sorted(path for path in options.images.iterdir() if path.suffix in ('.jpg', '.png'))
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, options.count).round().astype(int)]
    spec = load_model(options.model or bundled_model())
    pose = CameraPose(options.height, math.radians(options.pitch))
    config = DrivableConfig(
        boundary=BoundaryConfig(hood=options.hood),
        grid=GridConfig(x_max=30.0, y_min=-12.0, y_max=12.0),
    )
    estimator = DrivableAreaEstimator(config, spec.class_map)
    tiles = []
    with create_engine(spec, 'openvino') as engine:
        for path in chosen:
            image = np.asarray(cv2.imread(str(path)))
            labels = engine.segment([Frame.from_array(image)])[0].labels
            height, width = labels.shape
            calibration = Calibration.pinhole(width, height, options.fov)
            area = estimator.update(labels, None, calibration, pose)
            picture = blend(image, labels, spec.class_map.palette_bgr, 0.35)
            draw_boundary(picture, area, spec.class_map)
            panel = BirdsEye(height, PANEL_WIDTH, spec.class_map).draw(area, estimator.grid(area))
            tiles.append(np.hstack([picture, panel]))
    rows = [np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    assumption = (
        f'Assumed camera: {options.fov:g} degrees wide, {options.height:g} m high, looks '
        f'{options.pitch:g} degrees down. Model: {spec.path.name}.'
    )
    sheet = np.vstack([header(rows[0].shape[1], assumption), *rows])
    cv2.imwrite(str(options.out), sheet, [cv2.IMWRITE_JPEG_QUALITY, 80])


if __name__ == '__main__':
    main()
