# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A made-up street of a few frames, small enough to train on in seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.training.recipe import Recipe, load_recipe

ROAD, BUILDING, POLE, SKY = 0, 2, 5, 10
COLORS = {ROAD: (90, 90, 90), BUILDING: (40, 60, 150), POLE: (20, 200, 20), SKY: (230, 200, 170)}


def painted(labels: np.ndarray) -> np.ndarray:
    """(H, W) labels -> (H, W, 3) uint8 image in which each class has one colour."""
    image = np.zeros((*labels.shape, 3), np.uint8)
    for label, color in COLORS.items():
        image[labels == label] = color
    return image


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folder pair of four frames: sky over buildings over road, one pole."""
    root = tmp_path / 'frames'
    (root / 'images').mkdir(parents=True)
    (root / 'labels').mkdir()
    for i in range(4):
        labels = np.full((96, 128), ROAD, np.uint8)
        labels[:60] = BUILDING
        labels[: 20 + 4 * i] = SKY
        labels[30:70, 20 * i + 20 : 20 * i + 26] = POLE
        cv2.imwrite(str(root / 'images' / f'{i}.png'), painted(labels))
        cv2.imwrite(str(root / 'labels' / f'{i}.png'), labels)
    return root


@pytest.fixture
def recipe(folder: Path, tmp_path: Path) -> Recipe:
    """Ten steps of the nano network on `folder`, in two stages."""
    path = tmp_path / 'recipe.yaml'
    path.write_text(f"""
size: nano
workers: 1
rates: [[0, 1.0e-3], [6, 1.0e-3], [10, 0]]
drop_path: 0.2
folders:
  frames: {{path: {folder}, taxonomy: camvid, rare: [5]}}
stages:
  - {{steps: 6, crop: [64, 64], batch: {{frames: 2}}}}
  - {{steps: 4, crop: [64, 96], batch: {{frames: 2}}}}
""")
    return load_recipe(path)
