"""Fixtures: a small network and frames that it labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from segformer_ros.frame import Frame
from segformer_ros.quantization import Sample, Samples
from tiny_models import painting


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder `images` of painted frames, and `labels` beside it."""
    for kind in ('images', 'labels'):
        (tmp_path / kind).mkdir()
    for seed in range(12):
        image, labels = painting(64, 128, seed)
        cv2.imwrite(str(tmp_path / 'images' / f'{seed:02}.png'), image)
        cv2.imwrite(str(tmp_path / 'labels' / f'{seed:02}.png'), labels)
    return tmp_path


@pytest.fixture
def samples() -> Samples:
    frames = [painting(64, 128, seed) for seed in range(10)]
    made = [Sample(Frame.from_array(image), labels) for image, labels in frames]
    return Samples(made[:6], made[6:])
