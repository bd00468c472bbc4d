"""The legend: each class once, within the picture's width."""

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.classes import load_class_map
from segformer_ros.drawing.legend import draw_legend

CITYSCAPES = load_class_map('cityscapes')


def colors(picture: np.ndarray) -> set[tuple[int, ...]]:
    """All colours of a picture."""
    return {tuple(color) for color in np.unique(picture.reshape(-1, 3), axis=0).tolist()}


def of_class(train_id: int) -> tuple[int, ...]:
    return tuple(CITYSCAPES.palette_bgr[train_id].tolist())


def test_the_classes_shown_have_their_colours() -> None:
    legend = draw_legend(CITYSCAPES, [0, 13], 640)
    assert {of_class(0), of_class(13)} <= colors(legend)
    assert of_class(1) not in colors(legend)


@pytest.mark.parametrize('width', [150, 320, 1300])
def test_all_classes_fit_in_lines(width: int) -> None:
    legend = draw_legend(CITYSCAPES, range(19), width)
    assert legend.shape[1] == width
    assert {of_class(train_id) for train_id in range(19)} <= colors(legend)
    assert (legend[:, -4:] == legend[0, 0]).all(), 'a name that is cut off'


def test_pixels_without_a_class_have_no_entry() -> None:
    np.testing.assert_array_equal(
        draw_legend(CITYSCAPES, [0, 255], 320), draw_legend(CITYSCAPES, [0], 320)
    )
