# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""kernels.cu before the network: frames to its input, against the golden reference."""

from __future__ import annotations

from dataclasses import replace

import host_kernels
import numpy as np
import pytest
from kernel_rig import ENCODINGS, NETWORK, address, frame_of, image_of

from segformer_ros.engines.cuda import launches
from segformer_ros.engines.fake import fake_spec
from segformer_ros.engines.placement import fit_frame
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from segformer_ros.model.spec import HALF_MEAN, HALF_STD, IMAGENET_MEAN, IMAGENET_STD
from segformer_ros.verification.kernel_checks import resize_bilinear

FRAME_SIZES = [(64, 96), (48, 80), (1, 1), (37, 53), (241, 135), (128, 192), (7, 300)]


def preprocess(frames: list[Frame], spec: ModelSpec, layout: str, dtype: type) -> np.ndarray:
    """What the kernel makes of the frames, as (N, h, w, 3) float32 in the spec's colour order."""
    sides = dict(zip('NCHW', (len(frames), 3, *spec.size), strict=True))
    target: np.ndarray = np.full([sides[axis] for axis in layout], np.nan, dtype)
    tensor = launches.Tensor(address(target), target.shape, layout, target.dtype)
    fits = [fit_frame((frame.height, frame.width), spec.size, spec.fit) for frame in frames]
    host_kernels.run(
        launches.preprocess_job([image_of(frame) for frame in frames], fits, tensor, spec)
    )
    planes = target.astype(np.float32)
    return planes.transpose(0, 2, 3, 1) if layout == 'NCHW' else planes


def golden_input(frame: Frame, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """The reference's network input (h, w, 3) before rounding, and which pixels are content."""
    fit = fit_frame((frame.height, frame.width), spec.size, spec.fit)
    planes = np.moveaxis(frame.bgr().astype(np.float64), -1, 0)
    if spec.color == 'rgb':
        planes = planes[::-1]
    pixels = np.zeros((*spec.size, 3))
    content = pixels[: fit.content[0], : fit.content[1]]
    content[:] = np.moveaxis(resize_bilinear(planes, fit.content), 0, -1)
    return pixels, content


def assert_golden_input(result: np.ndarray, frame: Frame, spec: ModelSpec, error: float) -> None:
    pixels, _ = golden_input(frame, spec)
    levels = result * np.asarray(spec.std) + np.asarray(spec.mean)
    rounded = np.floor(pixels + 0.5)
    unclear = np.abs(pixels + 0.5 - np.round(pixels + 0.5)) < 1e-4  # half a level, but for FP32
    assert np.abs(levels - rounded)[~unclear].max() <= error
    assert np.abs(levels - rounded).max() <= 1 + error


@pytest.mark.parametrize('encoding', ENCODINGS)
@pytest.mark.parametrize('size', FRAME_SIZES)
@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize(('dtype', 'error'), [(np.float32, 1e-4), (np.float16, 0.2)])
def test_network_input_is_the_golden_one(
    encoding: str, size: tuple[int, int], padding: int, dtype: type, error: float
) -> None:
    frame = frame_of(encoding, size, padding)
    spec = replace(fake_spec(NETWORK), color='rgb', mean=IMAGENET_MEAN, std=IMAGENET_STD)
    assert_golden_input(preprocess([frame], spec, 'NCHW', dtype)[0], frame, spec, error)


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
@pytest.mark.parametrize(('dtype', 'error'), [(np.float32, 1e-4), (np.float16, 0.2)])
@pytest.mark.parametrize('color', ['rgb', 'bgr'])
@pytest.mark.parametrize('fit', ['stretch', 'letterbox'])
def test_every_layout_type_and_color_order(
    layout: str, dtype: type, error: float, color: str, fit: str
) -> None:
    frame = frame_of('bgra8', (90, 61), padding=7)
    spec = replace(fake_spec(NETWORK), color=color, fit=fit, mean=HALF_MEAN, std=HALF_STD)
    assert_golden_input(preprocess([frame], spec, layout, dtype)[0], frame, spec, error)


@pytest.mark.parametrize('count', [1, 2, 3, 4])
def test_a_batch_of_frames_of_several_kinds(count: int) -> None:
    kinds = list(zip(ENCODINGS, FRAME_SIZES[2:], strict=False))[:count]
    frames = [frame_of(kind, size, padding=3, seed=i) for i, (kind, size) in enumerate(kinds)]
    spec = replace(fake_spec(NETWORK), color='rgb', fit='letterbox')
    for result, frame in zip(preprocess(frames, spec, 'NCHW', np.float32), frames, strict=True):
        assert_golden_input(result, frame, spec, 1e-4)
