"""Overlay: colours and their mixture."""

import numpy as np
import pytest

from segformer_ros.classes import load_class_map
from segformer_ros.drawing.overlay import blend, colorize

PALETTE = load_class_map('cityscapes').palette_bgr
LABELS = np.random.default_rng(3).choice([0, 5, 18, 255], (31, 47)).astype(np.uint8)


def test_colours_are_those_of_the_palette() -> None:
    np.testing.assert_array_equal(colorize(LABELS, PALETTE), PALETTE[LABELS])


@pytest.mark.parametrize('opacity', [0.0, 0.35, 1.0])
def test_opacity_mixes_image_and_colours(opacity: float) -> None:
    image = np.random.default_rng(4).integers(0, 256, (31, 47, 3), np.uint8)
    wanted = opacity * PALETTE[LABELS].astype(float) + (1 - opacity) * image
    assert np.abs(blend(image, LABELS, PALETTE, opacity) - wanted).max() <= 0.51


def test_result_is_written_where_asked() -> None:
    image = np.zeros((31, 47, 3), np.uint8)
    out = np.empty_like(image)
    assert blend(image, LABELS, PALETTE, 1.0, out) is out
    np.testing.assert_array_equal(out, PALETTE[LABELS])
