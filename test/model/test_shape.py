# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Inputs and outputs of any network: strides, layouts, types, several heads; or words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import Declared, ModelError, ModelSpec, load_model
from segformer_ros.model.shape import cell_stride
from tiny_models import (
    HUGGINGFACE,
    OWN,
    PALETTE_BGR,
    TAO5,
    drivable_labels,
    painting,
    save_drivable_network,
    save_network,
)
from tools.benchmarks.reference import reference_scores

SIZE = (64, 128)
STATISTICS = Declared('test', color='rgb', mean=HUGGINGFACE.mean, std=HUGGINGFACE.std)


def mask(spec: ModelSpec, image: np.ndarray) -> np.ndarray:
    with create_engine(spec, 'openvino') as engine:
        return engine.segment([Frame.from_array(image)])[0].labels


def own_mask(folder: Path, image: np.ndarray) -> np.ndarray:
    return mask(load_model(save_network(folder / 'own.onnx', SIZE, OWN)), image)


def color_scores(pixels: np.ndarray, stride: int) -> np.ndarray:
    """What `save_network` gives for (H, W, 3) pixels: (19, H / stride, W / stride)."""
    size = pixels.shape[1] // stride, pixels.shape[0] // stride
    blocks = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    palette = PALETTE_BGR.astype(np.float32)
    return np.asarray(-((blocks[None] - palette[:, None, None]) ** 2).sum(axis=-1) / 1000)


def test_stride_of_cells() -> None:
    assert cell_stride((64, 128), (8, 16)) == 8
    assert cell_stride((64, 128), (64, 128)) == 1
    assert cell_stride((64, 128), (16, 16)) == 0
    assert cell_stride((513, 1025), (65, 129)) == 0


@pytest.mark.parametrize('stride', [1, 2, 8, 16])
@pytest.mark.parametrize('fit', ['stretch', 'letterbox'])
def test_logits_of_any_stride(tmp_path: Path, stride: int, fit: str) -> None:
    path = save_network(tmp_path / 'm.onnx', SIZE, replace(HUGGINGFACE, stride=stride))
    with pytest.raises(ModelError, match='do not tell which colours'):
        load_model(path)
    spec = load_model(path, parameters=replace(STATISTICS, fit=fit))
    assert spec.stride == stride
    frame = Frame.from_array(painting(120, 160)[0])
    golden = reference_scores(frame, spec, lambda pixels: color_scores(pixels[0], stride))
    assert (mask(spec, frame.bgr()) == golden.argmax(axis=0)).mean() > 0.99


def test_a_letterboxed_mask_of_coarse_cells_is_not_shifted(tmp_path: Path) -> None:
    export = replace(HUGGINGFACE, stride=16)
    path = save_network(tmp_path / 'm.onnx', (96, 128), export)
    spec = load_model(path, parameters=replace(STATISTICS, fit='letterbox'))
    image, _ = painting(100, 200)  # 64 x 128 of the input
    image[:, 100:] = image[0, 0]
    found = mask(spec, image)
    edge = np.argmax(found[50] == found[50, -1])
    assert abs(int(edge) - 100) <= 100 / 16


LABELS = {
    kind: replace(TAO5, output=kind)
    for kind in ('uint8', 'int8', 'uint16', 'int32', 'int64', 'float32', 'float16')
}


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC', 'NHW'])
@pytest.mark.parametrize('kind', LABELS)
def test_labels_of_any_type(tmp_path: Path, kind: str, layout: str) -> None:
    image, _ = painting(*SIZE)
    export = replace(LABELS[kind], output_layout=layout)
    spec = load_model(save_network(tmp_path / 'm.onnx', SIZE, export))
    assert (spec.output_kind, spec.output_layout) == ('labels', layout)
    assert (mask(spec, image) == own_mask(tmp_path, image)).mean() > 0.998


@pytest.mark.parametrize('layout', ['NCHW', 'NHWC'])
@pytest.mark.parametrize('output', ['softmax', 'logits', 'int64'])
def test_open_sides_are_known_by_the_last_layer(tmp_path: Path, output: str, layout: str) -> None:
    export = replace(HUGGINGFACE, output=output, output_layout=layout)
    path = save_network(tmp_path / 'm.onnx', SIZE, export)
    model = onnx.load(str(path))
    for side in model.graph.output[0].type.tensor_type.shape.dim:
        side.dim_param = 'open'
    onnx.save(model, str(path))
    spec = load_model(path, parameters=STATISTICS)
    kind = {'softmax': 'probabilities', 'int64': 'labels'}.get(output, output)
    assert (spec.output_kind, spec.output_layout) == (kind, layout)
    assert len(spec.class_map) == 19
    image, _ = painting(*SIZE)
    assert (mask(spec, image) == own_mask(tmp_path, image)).mean() > 0.998


def test_a_network_in_half_precision(tmp_path: Path) -> None:
    image, _ = painting(*SIZE)
    path = save_drivable_network(tmp_path / 'm.onnx', SIZE, kind=TensorProto.FLOAT16)
    spec = load_model(path)
    assert spec.input_dtype == 'float16'
    assert (mask(spec, image) == drivable_labels(image)).mean() > 0.99


Change = Callable[[onnx.ModelProto], object]


def add_output(
    model: onnx.ModelProto, name: str, sides: Sequence[int], source: str = 'scores'
) -> None:
    model.graph.node.append(helper.make_node('Identity', [source], [name]))
    value = helper.make_tensor_value_info(name, TensorProto.FLOAT, sides)
    model.graph.output.insert(0, value)


@pytest.mark.parametrize(
    ('change', 'note'),
    [
        (lambda model: add_output(model, 'logits_aux2', [1, 19, 16, 32]), 'logits_aux2'),
        (lambda model: add_output(model, 'aux', [1, 19, 8, 16]), 'aux'),
        (lambda model: add_output(model, 'boundary', [1, 1, 16, 32]), 'boundary'),
        (lambda model: add_output(model, 'boxes', [1, 100, 4]), 'boxes'),
        (lambda model: add_output(model, 'hidden', [1, 32, 16, 32]), 'hidden'),
    ],
)
def test_the_segmentation_among_several_outputs(tmp_path: Path, change: Change, note: str) -> None:
    path = save_network(tmp_path / 'm.onnx', SIZE, HUGGINGFACE)
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    spec = load_model(path)
    assert spec.output_name == 'logits'
    assert f'logits was taken for the segmentation; not read: {note}' in spec.notes
    image, _ = painting(*SIZE)
    assert (mask(spec, image) == own_mask(tmp_path, image)).mean() > 0.998


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        (('one', 'two'), 'has 2 outputs .* of which several may be one; say which'),
        (('class_queries_logits', 'masks_queries_logits'), 'none of which is a segmentation'),
        (('da', 'drivable'), 'of which several may be one'),
    ],
)
def test_of_several_outputs_none_is_guessed(
    tmp_path: Path, names: tuple[str, str], words: str
) -> None:
    path = save_drivable_network(tmp_path / 'm.onnx', SIZE, names)
    with pytest.raises(ModelError, match=words):
        load_model(path)


@pytest.mark.parametrize(
    ('names', 'last', 'layout'),
    [
        (('da', 'll'), '', 'NCHW'),
        (('lane_line_seg', 'drive_area_seg', 'det_out'), 'Sigmoid', 'NCHW'),
        (('out_drivable', 'out_lane'), 'Softmax', 'NHWC'),
    ],
)
def test_two_heads_of_a_drivable_network_are_one_map(
    tmp_path: Path, names: tuple[str, ...], last: str, layout: str
) -> None:
    swapped = names[0].startswith('lane')
    order = (names[1], names[0], *names[2:]) if swapped else names
    path = save_drivable_network(tmp_path / 'm.onnx', SIZE, order, last, layout)
    spec = load_model(path)
    assert spec.heads == order[:2] and spec.stride == 1
    assert spec.class_map.names == ('background', 'drivable area', 'lane line')
    assert spec.class_map.drivable_ids('road') == (1, 2)
    image, _ = painting(*SIZE)
    assert set(np.unique(drivable_labels(image))) == {0, 1, 2}
    np.testing.assert_array_equal(mask(spec, image), drivable_labels(image))


def test_heads_of_other_names_are_named_in_a_sidecar(tmp_path: Path) -> None:
    path = save_drivable_network(tmp_path / 'm.onnx', SIZE, ('520', '541'))
    with pytest.raises(ModelError, match='as DRIVABLE;LANES'):
        load_model(path)
    sidecar = path.with_name('m.onnx.yaml')
    told = sidecar.read_text()
    sidecar.write_text(f'{told}output_name: 520;541\n')
    image, _ = painting(*SIZE)
    np.testing.assert_array_equal(mask(load_model(path), image), drivable_labels(image))
    sidecar.write_text(f'{told}output_name: 520;gone\n')
    with pytest.raises(ModelError, match="has no output '520;gone'; it has 520, 541"):
        load_model(path)


def test_one_head_alone_can_be_asked_for(tmp_path: Path) -> None:
    path = save_drivable_network(tmp_path / 'm.onnx', SIZE)
    spec = load_model(path, parameters=Declared(output_name='da'))
    assert (len(spec.class_map), spec.heads) == (2, ())
    image, _ = painting(*SIZE)
    np.testing.assert_array_equal(mask(spec, image), image[..., 0] > image[..., 2])
