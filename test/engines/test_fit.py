"""How frames lie in the network's input."""

from dataclasses import replace

import numpy as np
import pytest

from segformer_ros.engines import fake_spec
from segformer_ros.engines.fit import cell_rows, fit_frame, place


@pytest.mark.parametrize('frame', [(1080, 1920), (480, 360), (5, 2000)])
def test_stretch_fills_the_input(frame: tuple[int, int]) -> None:
    assert fit_frame(frame, (512, 1024), 'stretch').content == (512, 1024)


@pytest.mark.parametrize(
    ('frame', 'content'),
    [
        ((1080, 1920), (512, 912)),
        ((512, 1024), (512, 1024)),
        ((1000, 4000), (256, 1024)),
        ((1024, 512), (512, 256)),
        ((1, 5000), (4, 1024)),
    ],
)
def test_letterbox_keeps_the_aspect_on_whole_logit_cells(
    frame: tuple[int, int], content: tuple[int, int]
) -> None:
    assert fit_frame(frame, (512, 1024), 'letterbox').content == content


def test_crop_takes_the_frames_part_of_the_logits() -> None:
    fit = fit_frame((1080, 1920), (512, 1024), 'letterbox')
    assert fit.crop(np.zeros((19, 128, 256))).shape == (19, 128, 228)
    assert fit.crop(np.zeros((512, 1024))).shape == (512, 912)


@pytest.mark.parametrize('channels', [(), (3,), (4,)])
def test_the_rest_of_the_input_is_cleared(channels: tuple[int, ...]) -> None:
    fit = fit_frame((100, 100), (64, 128), 'letterbox')
    target = np.full((64, 128, *channels), 9, np.uint8)
    place(np.full((100, 100, *channels), 77, np.uint8), fit, target)
    assert (target[:, :64] == 77).all()
    assert not target[:, 64:].any()


def test_rows_of_a_mask_that_a_cell_spans() -> None:
    spec = replace(fake_spec((384, 512)), fit='letterbox')
    assert cell_rows(spec, 'whole', (1080, 1920), 1080) == pytest.approx(1080 / (288 / 4))
    assert cell_rows(spec, 'whole', (1080, 1920), 540) == pytest.approx(540 / (288 / 4))
    # Windows see the frame as it is.
    assert cell_rows(spec, 'slide', (1080, 1920), 1080) == 4
    assert cell_rows(spec, 'slide', (1080, 1920), 540) == 2
