# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Files that are no usable model: each gets one clear line."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from segformer_ros.model import ModelError, load_model
from tiny_models import (
    HUGGINGFACE,
    OWN,
    TAO5,
    TAO6,
    export_network,
    save_external_network,
    save_network,
)


def truncated(path: Path) -> None:
    data = export_network((64, 128)).SerializeToString()
    path.write_bytes(data[: len(data) // 2])


def text(path: Path) -> None:
    path.write_text('this is no network\n' * 20)


def empty(path: Path) -> None:
    path.touch()


def picture(path: Path) -> None:
    path.write_bytes(b'\xff\xd8\xff\xe0' + bytes(range(256)) * 4)


def without_network(path: Path) -> None:
    path.write_bytes(helper.make_model(helper.make_graph([], 'none', [], [])).SerializeToString())


def external_data_missing(path: Path) -> None:
    save_external_network(path)
    (path.parent / 'weights.bin').unlink()


def graph(
    path: Path,
    inputs: list[tuple[str, int, list[int | str]]],
    outputs: list[tuple[str, int, list[int | str]]],
) -> None:
    nodes = [helper.make_node('Identity', [inputs[0][0]], [name]) for name, _, _ in outputs]
    model = helper.make_graph(
        nodes,
        'g',
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
    )
    onnx.save(helper.make_model(model), str(path))


IMAGE: tuple[str, int, list[int | str]] = ('pixel_values', TensorProto.FLOAT, ['N', 3, 64, 128])
LOGITS: tuple[str, int, list[int | str]] = ('output', TensorProto.FLOAT, ['N', 19, 16, 32])


def one_class(path: Path) -> None:
    graph(path, [IMAGE], [('output', TensorProto.FLOAT, ['N', 1, 16, 32])])


def detector(path: Path) -> None:
    graph(path, [IMAGE], [('boxes', TensorProto.FLOAT, ['N', 8400, 84])])


def classifier(path: Path) -> None:
    graph(path, [IMAGE], [('output', TensorProto.FLOAT, ['N', 1000])])


def two_outputs(path: Path) -> None:
    graph(path, [IMAGE], [LOGITS, ('second', *LOGITS[1:])])


def two_inputs(path: Path) -> None:
    graph(path, [IMAGE, ('mask', TensorProto.FLOAT, ['N', 1, 64, 128])], [LOGITS])


def grey_input(path: Path) -> None:
    graph(path, [('input', TensorProto.FLOAT, ['N', 1, 64, 128])], [LOGITS])


def video_input(path: Path) -> None:
    graph(path, [('input', TensorProto.FLOAT, ['N', 8, 3, 64, 128])], [LOGITS])


def double_input(path: Path) -> None:
    graph(path, [('pixel_values', TensorProto.DOUBLE, ['N', 3, 64, 128])], [LOGITS])


def double_output(path: Path) -> None:
    graph(path, [IMAGE], [('output', TensorProto.DOUBLE, ['N', 19, 16, 32])])


def wrong_metadata(path: Path) -> None:
    model = export_network((64, 128))
    helper.set_model_props(
        model,
        {'segformer_ros.contract': 'uint8_bgr_nhwc', 'segformer_ros.input_size': 'large'},
    )
    onnx.save(model, str(path))


def with_labels(path: Path, *names: str) -> None:
    (path.parent / 'labels.txt').write_text('\n'.join(names))
    path.with_suffix('.yaml').write_text('classes: labels.txt\n')


def shorter_labels(path: Path) -> None:
    save_network(path, export=HUGGINGFACE)
    with_labels(path, 'road', 'sky')


def shorter_labels_of_labels(path: Path) -> None:
    save_network(path, export=TAO5)
    with_labels(path, 'road', 'sky')


def contract_of_other_outputs(path: Path) -> None:
    save_network(path, export=TAO6)
    path.with_suffix('.yaml').write_text('contract: tao5\n')


def lfs_pointer(path: Path) -> None:
    path.write_text(
        'version https://git-lfs.github.com/spec/v1\n'
        'oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n'
        'size 14886541\n'
    )


def external_data_cut_short(path: Path) -> None:
    save_external_network(path)
    weights = path.parent / 'weights.bin'
    weights.write_bytes(weights.read_bytes()[:-100])


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (truncated, 'is not an ONNX file, or cut short'),
    (text, 'is not an ONNX file'),
    (empty, 'it holds no network'),
    (picture, 'is not an ONNX file'),
    (without_network, 'it holds no network'),
    (external_data_missing, "keeps its weights in 'weights.bin', which is not beside it"),
    (external_data_cut_short, "'weights.bin', which is cut short: it has .* copy it again"),
    (lfs_pointer, 'is a Git LFS pointer, not the file itself; fetch it with `git lfs pull`'),
    (double_input, r'float64 \[\?, 3, 64, 128\] must be uint8, float32 or float16'),
    (one_class, 'has 1 class; it needs at least 2'),
    (detector, r"output 'boxes' float32 \[\?, 8400, 84\] is not a segmentation"),
    (classifier, r"output 'output' float32 \[\?, 1000\] is not a segmentation"),
    (two_outputs, 'has 2 outputs .*say which .*output_name'),
    (two_inputs, 'has 2 inputs .*a segmenter of images has one'),
    (grey_input, 'is not a batch of 3-channel images'),
    (video_input, 'is not a batch of 3-channel images'),
    (double_output, r"output 'output' float64 \[\?, 19, 16, 32\] is not a segmentation"),
    (wrong_metadata, "metadata input_size 'large' is not HEIGHTxWIDTH"),
    (shorter_labels, "has 19 classes, but class map 'labels' has 2"),
    (shorter_labels_of_labels, "has 19 classes, but class map 'labels' has 2"),
    (contract_of_other_outputs, 'holds logits, as no model of contract tao5 does'),
]


@pytest.mark.parametrize(('make', 'words'), BROKEN, ids=[make.__name__ for make, _ in BROKEN])
def test_each_broken_file_gets_one_clear_line(
    make: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / 'model.onnx'
    make(path)
    with pytest.raises(ModelError, match=words) as caught:
        load_model(path)
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value).strip()


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('gone.onnx', 'no model file .*gone.onnx'),
        ('model.etlt', 'is encrypted and cannot be read; export the model as ONNX'),
        ('model.engine', r'is a built engine .* say contract and size in .* model\.engine\.yaml'),
        ('model.plan', 'is a built engine'),
        ('model.safetensors', 'holds weights without their network; export the model as ONNX'),
        ('model.pth', 'holds weights without their network'),
    ],
)
def test_other_files_are_refused_with_the_way_out(tmp_path: Path, name: str, words: str) -> None:
    path = tmp_path / name
    if name != 'gone.onnx':
        path.write_bytes(np.arange(64, dtype=np.uint8).tobytes())
    with pytest.raises(ModelError, match=words):
        load_model(path)


def test_labels_of_a_model_that_does_not_tell_its_classes_are_believed(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    # A padded class: the last layer with weights does not show how many there are.
    save_network(path, export=replace(TAO5, background=True))
    assert load_model(path).notes[1:] == (
        'the file does not say how many classes it has; Cityscapes was taken',
    )
    with_labels(path, 'road', 'sky', 'other')
    assert load_model(path).class_map.names == ('road', 'sky', 'other')


def test_other_class_counts_get_numbered_classes(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    graph(path, [IMAGE], [('output', TensorProto.FLOAT, ['N', 20, 16, 32])])
    spec = load_model(path)
    assert spec.class_map.names[19] == 'class 19'
    assert spec.notes[1:] == ('no names are known for its 20 classes; give a class map',)


def test_labels_as_floats_can_be_declared(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    graph(path, [IMAGE], [('output', TensorProto.FLOAT, ['N', 1, 64, 128])])
    path.with_suffix('.yaml').write_text('contract: tao5\noutput_kind: labels\n')
    assert load_model(path).output_kind == 'labels'


def test_the_one_output_meant_can_be_named(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    two_outputs(path)
    path.with_suffix('.yaml').write_text('output_name: output\n')
    assert load_model(path).output_name == 'output'


def test_own_model_of_any_size_says_its_own(tmp_path: Path) -> None:
    path = save_network(tmp_path / 'm.onnx', export=replace(OWN, dynamic_size=True))
    spec = load_model(path)
    assert spec.dynamic_size and spec.size == (64, 128) and spec.notes == ()


def test_without_onnx_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """rosdep does not bring it."""
    path = save_network(tmp_path / 'm.onnx')
    monkeypatch.setitem(sys.modules, 'onnx', None)
    with pytest.raises(ModelError, match=r'm\.onnx needs the package onnx .*: pip install onnx'):
        load_model(path)


@pytest.mark.parametrize(
    ('kind', 'attribute'),
    [('Transpose', {'perm': 3}), ('Transpose', {'perm': 'x'}), ('Conv', {'group': [1, 2]})],
)
def test_attributes_of_other_types_are_passed_over(
    tmp_path: Path, kind: str, attribute: dict[str, object]
) -> None:
    path = save_network(tmp_path / 'm.onnx', (64, 128), OWN)
    model = onnx.load(path)
    image = model.graph.input[0].name
    weights = [model.graph.initializer[0].name] if kind == 'Conv' else []
    model.graph.node.insert(0, helper.make_node(kind, [image, *weights], ['aside'], **attribute))
    path.write_bytes(model.SerializeToString())
    assert load_model(path).size == (64, 128)
