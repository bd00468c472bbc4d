# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""FP16 simulated: what is rounded, what is not, and what overflows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tiny_segformer import save_tiny

from segformer_ros.quantization.half_precision import beyond_half
from segformer_ros.quantization.simulation import round_to_half, with_peaks


def scaled(factor: float) -> onnx.ModelProto:
    """A network that multiplies by a factor and divides by it again."""
    nodes = [
        helper.make_node('Mul', ['x', 'factor'], ['large'], 'enlarge'),
        helper.make_node('Div', ['large', 'factor'], ['y'], 'reduce'),
    ]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [3]) for name in ('x', 'y')]
    weights = [numpy_helper.from_array(np.float32(factor), 'factor')]
    graph = helper.make_graph(nodes, 'scaled', values[:1], values[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)


def run(model: onnx.ModelProto, x: np.ndarray) -> list[np.ndarray]:
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, {'x': x.astype(np.float32)})


def test_each_value_is_rounded_to_the_nearest_half() -> None:
    x = np.array([1.0001, 3.14159, -0.0004567])
    product = (x.astype(np.float32) * np.float32(np.float16(1.1))).astype(np.float16)
    expected = (product.astype(np.float32) / np.float32(np.float16(1.1))).astype(np.float16)
    (y,) = run(round_to_half(scaled(1.1)), x)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, expected.astype(np.float32))
    (exact,) = run(scaled(1.1), x)
    assert not np.array_equal(exact, y)


def test_what_is_too_large_becomes_infinite_and_is_named() -> None:
    x = np.array([1.0, 2.0, -700.0])
    (y,) = run(round_to_half(scaled(100.0)), x)
    np.testing.assert_array_equal(y, [1.0, 2.0, -np.inf])
    model, layers = with_peaks(scaled(100.0))
    assert list(layers.values()) == ['enlarge', 'reduce']
    peaks = {
        name: [float(peak)] for name, peak in zip(layers.values(), run(model, x), strict=True)
    }
    assert peaks == {'enlarge': [70000.0], 'reduce': [700.0]}
    assert beyond_half(peaks) == ('enlarge',)
    assert beyond_half({'undefined': [1.0, float('nan')]}) == ('undefined',)


def test_the_scales_of_a_resize_stay(tmp_path: Path) -> None:
    model = onnx.load(save_tiny(tmp_path / 'tiny.onnx'))
    scale = np.array([1, 1, 2.0001, 2.0001], np.float32)
    resize = next(node for node in model.graph.node if node.op_type == 'Resize')
    resize.input[2:] = ['scale']
    model.graph.node.insert(
        0, helper.make_node('Constant', [], ['scale'], value=numpy_helper.from_array(scale))
    )
    rounded = round_to_half(model)
    kept = next(node for node in rounded.graph.node if 'scale' in node.output)
    assert kept.op_type == 'Constant'
    onnx.checker.check_model(rounded)
    del model.graph.node[0]
    model.graph.initializer.append(numpy_helper.from_array(scale, 'scale'))
    kept = next(one for one in round_to_half(model).graph.initializer if one.name == 'scale')
    np.testing.assert_array_equal(numpy_helper.to_array(kept), scale)
