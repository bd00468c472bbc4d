# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which nodes are quantised, and that what comes of it is what every TensorRT reads."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper
from tiny_segformer import save_tiny

from segformer_ros.quantization import qdq
from segformer_ros.quantization.accuracy_gate import QuantizationError
from segformer_ros.quantization.layer_selection import (
    keep_quantized,
    quantized_nodes,
    roundings_of,
    select_nodes,
)
from segformer_ros.quantization.qdq import (
    BINS,
    Histogram,
    activation_names,
    choose_limits,
    measure_ranges,
    prepare,
    quantize_by_modelopt,
    quantize_nodes,
)
from tiny_models import painting

SIZE = (32, 64)


@pytest.fixture
def model(tmp_path: Path) -> Any:
    return prepare(onnx.load(str(save_tiny(tmp_path / 'tiny.onnx', SIZE))))


def images(count: int = 3) -> list[np.ndarray]:
    return [painting(*SIZE, seed)[0][None] for seed in range(count)]


def limits_of(model: Any) -> dict[str, float]:
    names = activation_names(model, select_nodes(model).all)
    return choose_limits(measure_ranges(model, names, iter(images())), 'max', 100.0)


def run(model: Any, pixels: np.ndarray) -> np.ndarray:
    # As it is written: INT8 kernels of CPUs without VNNI saturate on sums of such large pixels.
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    output: np.ndarray = session.run(None, {'image': pixels})[0]
    return output


def test_layers_with_weights_and_what_lies_between_are_chosen(model: Any) -> None:
    selection = select_nodes(model)
    assert set(selection.layers) == {'stem', 'fragile', 'fine', 'coarse', 'classify'}
    # The join lies between INT8 layers on all sides; spoil and mend are products, not chains.
    assert set(selection.chained) == {'resize', 'join'}


def test_a_concat_between_layers_is_chosen(model: Any) -> None:
    """As SegFormer's own decoder joins its four scales."""
    named = {node.name: node for node in model.graph.node}
    join, classify = named['join'], named['classify']
    join.op_type = 'Concat'
    join.attribute.append(onnx.helper.make_attribute('axis', 1))
    halves = np.concatenate([np.eye(19, dtype=np.float32)] * 2, axis=1).reshape(19, 38, 1, 1)
    model.graph.initializer.append(numpy_helper.from_array(halves, 'halves'))
    classify.input[1] = 'halves'
    onnx.checker.check_model(model)
    assert set(select_nodes(model).chained) == {'resize', 'join'}
    quantized = quantize_nodes(model, select_nodes(model).all, limits_of(model))
    makers = {name: node.op_type for node in quantized.graph.node for name in node.output}
    (join,) = (node for node in quantized.graph.node if node.op_type == 'Concat')
    assert [makers[name] for name in join.input] == ['DequantizeLinear'] * 2
    for pixels in images():
        plain, rounded = run(model, pixels), run(quantized, pixels)
        assert np.mean(plain.argmax(1) == rounded.argmax(1)) > 0.9


def test_a_chain_that_leaves_int8_is_not_chosen(model: Any) -> None:
    (join,) = (node for node in model.graph.node if node.name == 'join')
    value = onnx.helper.make_tensor_value_info(join.output[0], TensorProto.FLOAT, None)
    model.graph.output.append(value)
    assert select_nodes(model).chained == ()


def test_the_quantised_network_gives_nearly_the_same(model: Any) -> None:
    quantized = quantize_nodes(model, select_nodes(model).all, limits_of(model))
    for pixels in images():
        exact, result = run(model, pixels), run(quantized, pixels)
        assert np.corrcoef(exact.ravel(), result.ravel())[0, 1] > 0.998
        assert not np.array_equal(exact, result)


def test_quantisation_is_explicit_symmetric_and_per_channel(model: Any) -> None:
    quantized = quantize_nodes(model, select_nodes(model).all, limits_of(model))
    onnx.checker.check_model(quantized)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in quantized.graph.initializer}
    producers = {name: node for node in quantized.graph.node for name in node.output}
    nodes = [node for node in quantized.graph.node if node.op_type == 'QuantizeLinear']
    assert len(nodes) == 4 + 7  # distinct weights, and the tensors that enter
    for node in nodes:
        assert values[node.input[2]].dtype == np.int8 and not values[node.input[2]].any()
    for node in quantized.graph.node:
        if node.op_type == 'Conv':
            data, weights = (producers[name] for name in node.input[:2])
            assert data.op_type == weights.op_type == 'DequantizeLinear'
            assert values[weights.input[1]].shape == (19,)
            assert values[data.input[1]].shape == ()


def test_what_a_graph_has_quantised_is_read_from_it(model: Any) -> None:
    """Of whoever's making it is: here of ours, whose choice is known."""
    selection = select_nodes(model)
    quantized = quantize_nodes(model, selection.all, limits_of(model))
    found = quantized_nodes(quantized)
    assert set(found.layers) == set(selection.layers)
    assert set(found.chained) == set(selection.chained)
    assert quantized_nodes(model).all == ()


def test_constants_among_the_nodes_round_nothing(model: Any) -> None:
    quantized = quantize_nodes(model, select_nodes(model).all, limits_of(model))
    wanted = roundings_of(quantized, ['resize'])  # with inputs left out
    quantized.graph.node.insert(0, onnx.helper.make_node('Constant', [], ['one'], value_int=1))
    assert roundings_of(quantized, ['resize']) == wanted != []


@pytest.mark.parametrize('kept', [(), ('fine', 'coarse'), ('stem', 'join', 'classify')])
def test_quantised_nodes_are_left_out_of_a_graph(model: Any, kept: tuple[str, ...]) -> None:
    """As if they had never been chosen: to the bit, and nothing of their Q/DQ is left."""
    limits = limits_of(model)
    whole = quantize_nodes(model, select_nodes(model).all, limits)
    before = whole.SerializeToString()
    found = keep_quantized(whole, kept)
    assert whole.SerializeToString() == before
    onnx.checker.check_model(found)
    wanted = quantize_nodes(model, kept, limits) if kept else model
    kinds = [[node.op_type for node in one.graph.node] for one in (found, wanted)]
    for kind in ('QuantizeLinear', 'DequantizeLinear'):
        assert kinds[0].count(kind) == kinds[1].count(kind)
    assert len(found.graph.initializer) == len(wanted.graph.initializer)
    for pixels in images():
        np.testing.assert_array_equal(run(found, pixels), run(wanted, pixels))


class ModelOpt:
    """What is asked of nvidia-modelopt; it quantises the nodes that it is made for, as we do."""

    def __init__(self, nodes: tuple[str, ...]) -> None:
        self.nodes = nodes
        self.asked: dict[str, Any] = {}
        self.seen: list[np.ndarray] = []

    def quantize(self, path: str, **asked: Any) -> None:
        reader = asked['calibration_data_reader']
        assert set(reader.get_first()) == {'image'}
        self.seen = [one['image'] for one in iter(reader.get_next, None)]
        print('much')
        model = onnx.load(path)
        onnx.save(quantize_nodes(model, self.nodes, limits_of(model)), asked['output_path'])
        Path(path).write_bytes(b'')  # it overwrites what it is given
        self.asked = asked


def test_another_tool_quantises(
    model: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    tool = ModelOpt(('stem', 'classify'))
    monkeypatch.setattr(qdq, 'require_modelopt', lambda: tool)
    found = quantize_by_modelopt(model, lambda: iter(images()), 'entropy')
    assert quantized_nodes(found).layers == ('stem', 'classify')
    np.testing.assert_array_equal(tool.seen, images())
    assert tool.asked['calibration_method'] == 'entropy'
    assert tool.asked['calibration_shapes'] == 'image:1x32x64x3'
    assert tool.asked['high_precision_dtype'] == 'fp32'
    assert {entry.key for entry in found.metadata_props} == {
        entry.key for entry in model.metadata_props
    }
    assert capfd.readouterr().out == ''


def test_what_another_tool_cannot_is_said(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(qdq, 'require_modelopt', lambda: SimpleNamespace())
    words = r"cannot quantise the model \(AttributeError: .*'quantize'\); use --backend own"
    with pytest.raises(QuantizationError, match=words):
        quantize_by_modelopt(model, lambda: iter(images()), 'max')


@pytest.mark.slow  # its import takes ten seconds, the rest a tenth of one
def test_nvidia_s_own_tool_quantises(model: Any) -> None:
    pytest.importorskip(
        'modelopt.onnx.quantization', reason="pip install 'segformer_ros[modelopt]'"
    )
    found = quantize_by_modelopt(model, lambda: iter(images(1)), 'max')
    onnx.checker.check_model(found)
    # It leaves out the layer that reads the image's three channels.
    assert set(quantized_nodes(found).layers) == {'fragile', 'fine', 'coarse', 'classify'}
    for pixels in images(2):
        exact, result = run(model, pixels), run(found, pixels)
        assert np.corrcoef(exact.ravel(), result.ravel())[0, 1] > 0.99
        assert not np.array_equal(exact, result)
        np.testing.assert_array_equal(run(keep_quantized(found, ()), pixels), exact)


def test_metadata_comes_along(model: Any) -> None:
    quantized = quantize_nodes(model, ['stem'], limits_of(model))
    assert {entry.key: entry.value for entry in quantized.metadata_props} == {
        entry.key: entry.value for entry in model.metadata_props
    }
    assert [node.op_type for node in quantized.graph.node].count('QuantizeLinear') == 2


def test_no_image_is_no_range(model: Any) -> None:
    with pytest.raises(QuantizationError, match='calibration source gave no image'):
        measure_ranges(model, activation_names(model, ['stem']), iter([]))


def at_opset(model: Any, opset: int) -> Any:
    """The same network as an older exporter wrote it: Softmax over one axis and all behind it."""
    del model.opset_import[:]
    model.opset_import.append(onnx.helper.make_opsetid('', opset))
    (resize,) = (node for node in model.graph.node if node.op_type == 'Resize')
    resize.input[1], resize.input[2] = 'roi', 'scales'  # which could not be left out
    nothing = np.zeros(0, np.float32)
    model.graph.initializer.extend(
        numpy_helper.from_array(nothing, name) for name in ('roi', 'scales')
    )
    (last,) = (node for node in model.graph.node if 'logits' in node.output)
    last.output[0] = 'scores'
    nodes = [
        onnx.helper.make_node('Transpose', ['scores'], ['behind'], perm=[0, 2, 3, 1]),
        onnx.helper.make_node('Softmax', ['behind'], ['chances'], axis=3),
        onnx.helper.make_node('Unsqueeze', ['chances'], ['wide'], axes=[0]),
        onnx.helper.make_node('Squeeze', ['wide'], ['narrow'], axes=[0]),
        onnx.helper.make_node('Transpose', ['narrow'], ['logits'], perm=[0, 3, 1, 2]),
    ]
    model.graph.node.extend(nodes)
    return model


@pytest.mark.parametrize('opset', [11, 12])
def test_an_older_opset_is_raised(tmp_path: Path, opset: int) -> None:
    old = at_opset(onnx.load(str(save_tiny(tmp_path / 'tiny.onnx', SIZE))), opset)
    (pixels,) = images(1)
    model = prepare(old)
    assert model.opset_import[0].version == 13
    np.testing.assert_allclose(run(model, pixels), run(old, pixels), atol=1e-6)
    quantized = quantize_nodes(model, select_nodes(model).all, limits_of(model))
    onnx.checker.check_model(quantized)
    assert np.corrcoef(run(quantized, pixels).ravel(), run(old, pixels).ravel())[0, 1] > 0.99
    assert {entry.key for entry in model.metadata_props} == {
        entry.key for entry in old.metadata_props
    }


def test_an_opset_that_cannot_be_raised_is_named(tmp_path: Path) -> None:
    old = at_opset(onnx.load(str(save_tiny(tmp_path / 'tiny.onnx', SIZE))), 9)
    with pytest.raises(QuantizationError, match=r'opset 9, INT8 needs 13.*No Adapter.*export it'):
        prepare(old)


def test_a_layer_without_finite_values_is_named(tmp_path: Path) -> None:
    model = onnx.load(str(save_tiny(tmp_path / 'tiny.onnx', SIZE)))
    (gain,) = (one for one in model.graph.initializer if one.name == 'up')
    gain.CopyFrom(numpy_helper.from_array(np.full((1, 19, 1, 1), np.inf, np.float32), 'up'))
    with pytest.raises(QuantizationError, match=r"layer 'stem' \(Conv\): infinite or.*1 of those"):
        limits_of(prepare(model))


def test_an_operator_that_nobody_knows_is_named(model: Any) -> None:
    (join,) = (node for node in model.graph.node if node.name == 'join')
    join.op_type = 'Frobnicate'
    with pytest.raises(QuantizationError, match='cannot run the model: .*Frobnicate.*; export it'):
        prepare(model)


def test_an_opset_that_is_too_new_is_named_with_the_newest(model: Any) -> None:
    model.opset_import[0].version = 99
    with pytest.raises(QuantizationError, match=r'its opset is newer than \d+; export it with'):
        prepare(model)


def test_the_standard_domain_may_be_named(model: Any) -> None:
    model.opset_import[0].domain = 'ai.onnx'
    assert prepare(model).opset_import[0].version >= 13


def histogram(*parts: np.ndarray) -> Histogram:
    result = Histogram()
    for part in parts:
        result.add(part)
    return result


@pytest.fixture
def normal() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)


def test_every_value_is_counted_though_the_limit_grows(normal: np.ndarray) -> None:
    parts = [normal * scale for scale in (1, 100, 0.01, 3)]
    merged = histogram(*parts)
    assert merged.counts.sum() == sum(map(len, parts))
    greatest = max(float(np.abs(part).max()) for part in parts)
    assert greatest <= merged.limit <= 2 * greatest
    assert merged.greatest() == pytest.approx(greatest, abs=merged.limit / BINS)


@pytest.mark.parametrize('percent', [50.0, 99.0, 99.9])
def test_percentiles_are_those_of_the_values(normal: np.ndarray, percent: float) -> None:
    exact = np.percentile(np.abs(normal), percent)
    assert histogram(normal).percentile(percent) == pytest.approx(exact, abs=0.01)


def test_an_outlier_moves_the_greatest_and_not_the_percentile(normal: np.ndarray) -> None:
    spoilt = histogram(np.append(normal, np.float32(1000.0)))
    assert spoilt.greatest() == pytest.approx(1000, rel=0.01)
    assert spoilt.percentile(99.9) < 5
    assert spoilt.entropy() < 200


def test_entropy_clips_a_long_tail_and_keeps_a_flat_distribution(normal: np.ndarray) -> None:
    tail = np.random.default_rng(1).standard_t(3, 200_000).astype(np.float32)
    assert 5 < histogram(tail).entropy() < 0.3 * np.abs(tail).max()
    flat = np.random.default_rng(1).uniform(-1, 1, 200_000).astype(np.float32)
    assert histogram(flat).entropy() > 0.95


def test_zeros_do_not_narrow_what_entropy_keeps(normal: np.ndarray) -> None:
    positive = np.abs(normal)
    with_zeros = np.append(positive, np.zeros(10 * len(normal), np.float32))
    assert histogram(with_zeros).entropy() == pytest.approx(histogram(positive).entropy(), rel=0.1)


def test_zeros_have_no_range() -> None:
    zeros = histogram(np.zeros(100, np.float32))
    assert choose_limits({'x': zeros}, 'max', 99.9) == {'x': 0.0}
    assert zeros.entropy() == 0.0
    zeros.add(np.array([2.0], np.float32))
    assert zeros.counts.sum() == 101 and zeros.greatest() == 2.0


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match='infinite or undefined'):
        histogram(np.array([1.0, np.inf], np.float32))


def test_values_next_to_nothing_are_nothing() -> None:
    histogram = Histogram()
    histogram.add(np.full(10, 1e-40, np.float32))
    assert histogram.greatest() == 0.0
    histogram.add(np.full(10, 2.0, np.float32))
    assert histogram.greatest() == pytest.approx(2.0, rel=0.01)
