from __future__ import annotations

import cv2
import numpy as np
import pytest

from segformer_ros.drawing.lettering import text_size, write


@pytest.mark.parametrize('size', [0.35, 0.5, 0.8])
def test_letters_have_a_thin_outline_all_around(size: float) -> None:
    image = np.full((60, 400, 3), 128, np.uint8)
    write(image, 'corridor: 8.7 m, motorcycle', (10, 40), size, (255, 255, 255), (0, 0, 0))
    grey = image[..., 0]
    light, dark = grey > 170, grey < 90
    assert light.any()
    columns, outline = np.flatnonzero(light.any(axis=0)), np.flatnonzero(dark.any(axis=0))
    assert 0 < columns[0] - outline[0] <= 3
    assert 0 < outline[-1] - columns[-1] <= 3
    near = cv2.dilate(light.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    assert (dark & ~near).mean() < 0.002


def test_size_is_that_of_what_is_written() -> None:
    image = np.zeros((60, 400, 3), np.uint8)
    write(image, '24 m', (10, 40), 0.5, (255, 255, 255), (0, 0, 0))
    columns = np.flatnonzero((image > 128).any(axis=(0, 2)))
    assert columns[-1] - columns[0] == pytest.approx(text_size('24 m', 0.5)[0], abs=6)
