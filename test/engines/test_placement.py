# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How frames lie in the network's input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from fake_gpu import MakeMachine

from segformer_ros.engines import EngineError, EngineOptions, Wanted, create_engine, fake_spec
from segformer_ros.engines.fake import color_logits
from segformer_ros.engines.placement import (
    LogitMosaic,
    Window,
    cell_rows,
    fit_frame,
    place,
    windows,
)
from segformer_ros.engines.upsampling import label_map
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, load_model
from tiny_models import (
    HUGGINGFACE,
    PALETTE_BGR,
    TAO5,
    TAO6,
    drivable_labels,
    painting,
    save_drivable_network,
    save_network,
)


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


SLIDE = EngineOptions(inference='slide')
SLIDES: list[tuple[tuple[int, int], int, tuple[int, int] | None]] = [
    ((200, 300), 0, None),
    ((131, 401), 20, None),
    ((50, 30), 0, None),
    ((130, 270), 0, (60, 100)),
    ((61, 131), 0, (240, 400)),
]
"""Sizes of frames, strides of windows and sizes of masks."""


@pytest.mark.parametrize(
    ('side', 'stride', 'starts'),
    [
        (2048, 768, [0, 768, 1024]),
        (1024, 768, [0]),
        (500, 768, [0]),
        (1025, 768, [0, 4]),
        (2560, 768, [0, 768, 1536]),
        (1030, 3, [0, 4, 8]),
    ],
)
def test_windows_cover_the_frame_and_end_with_it(
    side: int, stride: int, starts: list[int]
) -> None:
    found = windows((side, 100), (1024, 1024), stride)
    assert found == [Window(start, 0) for start in starts]


def test_overlapping_logits_are_averaged() -> None:
    mosaic = LogitMosaic(1, (8, 24))
    mosaic.add(Window(0, 0), np.full((1, 2, 4), 1.0, np.float32))
    mosaic.add(Window(0, 8), np.full((1, 2, 4), 3.0, np.float32))
    np.testing.assert_array_equal(mosaic.mean()[0, 0], [1, 1, 2, 2, 3, 3])


@pytest.mark.parametrize('size', [(200, 300), (128, 256), (50, 301), (131, 90)])
def test_slid_labels_are_those_of_the_whole_frame(size: tuple[int, int]) -> None:
    """The fake network sees 4x4 blocks alone, so windows must not show in its masks."""
    image, _ = painting(*size)
    height, width = (-(-side // 4) * 4 for side in size)
    padded = np.zeros((height, width, 3), np.uint8)
    padded[: size[0], : size[1]] = image
    wanted = label_map(color_logits(padded, PALETTE_BGR), (height, width), 'exact')
    with create_engine(fake_spec((128, 256)), 'fake', SLIDE) as engine:
        result = engine.segment([Frame.from_array(image)], Wanted(confidence=True))[0]
    assert result.confidence is not None
    assert result.labels.shape == result.confidence.shape == size
    assert (result.labels == wanted[: size[0], : size[1]]).mean() > 0.999


def test_a_smaller_mask_of_slid_windows() -> None:
    image, labels = painting(300, 500)
    with create_engine(fake_spec((128, 256)), 'fake', SLIDE) as engine:
        result = engine.segment([Frame.from_array(image)], Wanted(size=(60, 100)))[0]
    assert result.labels.shape == (60, 100)
    assert (result.labels == labels[2::5, 2::5]).mean() > 0.9


@pytest.mark.parametrize(
    ('output', 'cell', 'size', 'stride', 'mask'),
    [
        *((output, 4, *rest) for output in ('logits', 'softmax') for rest in SLIDES),
        *(('logits', cell, *SLIDES[1]) for cell in (1, 2, 8)),
        ('logits', 2, *SLIDES[3]),
    ],
)
def test_the_gpu_slides_as_the_cpu_does(
    make_machine: MakeMachine,
    tmp_path: Path,
    output: str,
    cell: int,
    size: tuple[int, int],
    stride: int,
    mask: tuple[int, int] | None,
) -> None:
    make_machine(sm=50)  # FP32
    export = replace(TAO6, output=output, stride=cell)
    path = save_network(tmp_path / 'model.onnx', (64, 128), export)
    spec = load_model(path, parameters=Declared(mean=export.mean, std=export.std, color='rgb'))
    options = EngineOptions(inference='slide', slide_stride=stride)
    frames = [Frame.from_array(painting(*size, seed)[0]) for seed in range(2)]
    for upsampling in ('exact', 'fast'):
        wanted = Wanted(confidence=True, upsampling=upsampling, size=mask)
        with create_engine(spec, 'openvino', options) as engine:
            on_cpu = engine.segment(frames, wanted)
        with create_engine(spec, 'tensorrt', options) as engine:
            on_gpu = engine.segment(frames, wanted)
        for cpu, gpu in zip(on_cpu, on_gpu, strict=True):
            assert gpu.labels.shape == (mask or size)
            assert (gpu.labels == cpu.labels).mean() > 0.9995
            assert gpu.confidence is not None and cpu.confidence is not None
            assert np.abs(gpu.confidence.astype(int) - cpu.confidence).max() <= 1


@pytest.mark.parametrize('cell', [1, 2, 8, 16])
@pytest.mark.parametrize('open_size', [False, True])
def test_slid_windows_of_any_stride_are_the_whole_frame(
    tmp_path: Path, cell: int, open_size: bool
) -> None:
    """The network sees single cells alone, so windows must not show in its masks."""
    export = replace(HUGGINGFACE, stride=cell, dynamic_size=open_size)
    path = save_network(tmp_path / 'm.onnx', (64, 128), export)
    declared = Declared(mean=export.mean, std=export.std, color='rgb', size=(64, 128))
    image, _ = painting(208, 304)
    frame = Frame.from_array(image)
    with create_engine(load_model(path, parameters=declared), 'openvino', SLIDE) as engine:
        slid = engine.segment([frame])[0].labels
        assert engine.spec.stride == cell
    save_network(path, (208, 304), replace(export, dynamic_size=False))
    whole = load_model(path, parameters=replace(declared, size=None))
    with create_engine(whole, 'openvino') as engine:
        np.testing.assert_array_equal(slid, engine.segment([frame])[0].labels)


@pytest.mark.parametrize('inference', ['whole', 'slide'])
@pytest.mark.parametrize('fit', ['stretch', 'letterbox'])
def test_two_heads_on_cpu_and_gpu(
    make_machine: MakeMachine, tmp_path: Path, inference: str, fit: str
) -> None:
    make_machine(sm=50)  # FP32
    path = save_drivable_network(tmp_path / 'heads.onnx', (64, 128))
    spec = load_model(path, parameters=Declared(fit=fit))
    options = EngineOptions(inference=inference)
    frames = [Frame.from_array(painting(100, 300, seed)[0]) for seed in range(2)]
    with create_engine(spec, 'openvino', options) as engine:
        on_cpu = engine.segment(frames)
    with create_engine(spec, 'tensorrt', options) as engine:
        on_gpu = engine.segment(frames)
    for frame, cpu, gpu in zip(frames, on_cpu, on_gpu, strict=True):
        # Scaled pixels may differ by a grey level, and some patches are grey but for noise.
        assert (gpu.labels == cpu.labels).mean() > (0.98 if inference == 'whole' else 0.9995)
        if inference == 'slide':  # at the frame's own scale
            np.testing.assert_array_equal(cpu.labels, drivable_labels(frame.bgr()))


@pytest.mark.parametrize('name', ['openvino', 'tensorrt', 'auto', 'fake'])
def test_a_stride_that_leaves_gaps_is_refused(name: str) -> None:
    """Cells between the windows would be 0 / 0."""
    create_engine(fake_spec((64, 128)), name, replace(SLIDE, slide_stride=64))
    with pytest.raises(EngineError, match=r'65 pixels leaves gaps .* 128x64; give 64 or less'):
        create_engine(fake_spec((64, 128)), name, replace(SLIDE, slide_stride=65))
    create_engine(fake_spec((64, 128)), name, EngineOptions(slide_stride=65))


@pytest.mark.parametrize('name', ['openvino', 'tensorrt', 'auto'])
def test_labels_cannot_be_merged(tmp_path: Path, name: str) -> None:
    spec = load_model(save_network(tmp_path / 'm.onnx', export=TAO5))
    with pytest.raises(EngineError, match='gives labels, whose windows cannot be merged'):
        create_engine(spec, name, SLIDE)


@pytest.mark.parametrize('name', ['openvino', 'tensorrt'])
def test_logits_of_another_scale_cannot_be_merged(
    make_machine: MakeMachine, tmp_path: Path, name: str
) -> None:
    make_machine()
    model = onnx.load(str(save_network(tmp_path / 'm.onnx', (64, 128))))
    (convolution,) = (node for node in model.graph.node if node.op_type == 'Conv')
    convolution.attribute[0].ints[:] = [4, 8]  # its strides
    rows, columns = model.graph.output[0].type.tensor_type.shape.dim[2:]
    rows.dim_value, columns.dim_value = 16, 16
    onnx.save(model, str(tmp_path / 'm.onnx'))
    engine = create_engine(load_model(tmp_path / 'm.onnx'), name, SLIDE)
    refused = pytest.raises(EngineError, match='gives 16x16 logits for 128x64 pixels; windows are')
    with refused, engine:
        engine.segment([Frame.from_array(painting(200, 300)[0])])


def test_unknown_inference_is_refused() -> None:
    with pytest.raises(EngineError, match="no inference 'tiles'; use one of whole, slide"):
        create_engine(fake_spec(), 'fake', EngineOptions(inference='tiles'))
