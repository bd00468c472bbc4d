"""What the settings of the drivable area buy and cost, on labelled real frames.

    ./run python -m tools.benchmarks.drivable_settings ../shared/camvid/val

The model's boundary against the one of the labels, under one guessed camera for both: rates of
columns called free, or blocked, by 2 m and more too much, up to 40 m.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from segformer_ros.camera import Calibration, CameraPose
from segformer_ros.classes import IGNORE_ID, ClassMap
from segformer_ros.cli.arguments import number
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableAreaEstimator,
    DrivableConfig,
    GroundConfig,
)
from segformer_ros.engines import Wanted, create_engine
from segformer_ros.engines.placement import cell_rows
from segformer_ros.frame import Frame
from segformer_ros.model import bundled_model, load_model
from segformer_ros.text_table import markdown_table

REACH, MARGIN = 40.0, 2.0
PLAIN = BoundaryConfig(speckle_size=0.0)
SETTINGS = {
    'defaults': DrivableConfig(),
    'speckle_size 0': DrivableConfig(boundary=PLAIN),
    'speckle_size 0.2': DrivableConfig(boundary=BoundaryConfig(speckle_size=0.2)),
    'min_gap 0.5': DrivableConfig(ground=GroundConfig(min_gap=0.5)),
    'min_gap 1.0': DrivableConfig(ground=GroundConfig(min_gap=1.0)),
    'min_confidence 0.5': DrivableConfig(boundary=BoundaryConfig(min_confidence=0.5)),
    'min_confidence 0.7': DrivableConfig(boundary=BoundaryConfig(min_confidence=0.7)),
    'min_confidence 0.9': DrivableConfig(boundary=BoundaryConfig(min_confidence=0.9)),
}


@dataclass
class Errors:
    """Measured minus labelled distance, and the reported sigma, of all compared columns, m."""

    error: list[np.ndarray] = field(default_factory=list)
    sigma: list[np.ndarray] = field(default_factory=list)

    def row(self, name: str) -> list[str]:
        """Cells of one line of the table."""
        error, sigma = np.concatenate(self.error), np.concatenate(self.sigma)
        size = np.abs(error)
        return [
            name,
            f'{np.mean(error >= MARGIN):.2%}',
            f'{np.mean(error <= -MARGIN):.2%}',
            f'{np.median(size):.2f}',
            f'{np.percentile(size, 95):.2f}',
            f'{np.mean(size <= sigma):.0%}',
        ]


class Comparison:
    """All settings, over all frames of one camera."""

    def __init__(
        self, calibration: Calibration, pose: CameraPose, class_map: ClassMap, cell: float
    ) -> None:
        self._camera = (calibration, pose)
        self._cell = cell
        self._truth = DrivableAreaEstimator(DrivableConfig(boundary=PLAIN), class_map)
        self._measured = {
            name: DrivableAreaEstimator(config, class_map) for name, config in SETTINGS.items()
        }
        self.errors = {name: Errors() for name in SETTINGS}

    def add(self, truth: np.ndarray, labels: np.ndarray, confidence: np.ndarray | None) -> None:
        """Compare one frame; columns whose labelled boundary has no class are left out."""
        true = self._truth.update(truth, None, *self._camera)
        known = (
            (true.blocking_class != IGNORE_ID)
            & (true.free_distance > 0)
            & (true.free_distance < REACH)
        )
        for name, estimator in self._measured.items():
            area = estimator.update(labels, confidence, *self._camera, cell=self._cell)
            error = area.free_distance - true.free_distance
            self.errors[name].error.append(error[known])
            self.errors[name].sigma.append(area.distance_sigma[known])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('folder', type=Path, help='with images/ and labels/ (train ids)')
    parser.add_argument('--model', type=Path)
    parser.add_argument('--fov', type=number(1, 179), default=55.0, help='horizontal, degrees')
    parser.add_argument(
        '--height', type=number(0, above=True), default=1.5, help='of the camera, m'
    )
    parser.add_argument(
        '--pitch', type=number(-90, 90), default=2.0, help='degrees, positive looks down'
    )
    options = parser.parse_args()
    spec = load_model(options.model or bundled_model())
    files = sorted((options.folder / 'images').iterdir())
    height, width = np.asarray(cv2.imread(str(files[0]))).shape[:2]
    comparison = Comparison(
        Calibration.pinhole(width, height, options.fov),
        CameraPose(options.height, math.radians(options.pitch)),
        spec.class_map,
        cell_rows(spec, 'whole', (height, width), height),
    )
    with create_engine(spec, 'openvino') as engine:
        for path in tqdm(files, unit='frame'):
            truth = cv2.imread(str(options.folder / 'labels' / f'{path.stem}.png'), 0)
            frame = Frame.from_array(np.asarray(cv2.imread(str(path))))
            result = engine.segment([frame], Wanted(confidence=True))[0]
            comparison.add(np.asarray(truth), result.labels, result.confidence)
    free = f'false free (>= {MARGIN:g} m)'
    header = ('setting', free, 'false blocked', 'error p50 m', 'p95 m', 'within 1 sigma')
    print(markdown_table(header, [e.row(name) for name, e in comparison.errors.items()]))


if __name__ == '__main__':
    main()
