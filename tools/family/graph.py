# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""NetworkGraph: builds an ONNX network layer by layer and counts what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np


class Value(NamedTuple):
    """A tensor of the network: its name, and its shape without the batch."""

    name: str
    shape: Tuple[int, ...]


class NetworkGraph:
    """An ONNX network under construction: float32, opset 17, any batch, sizes fixed.

    Feature maps are (C, H, W) and token lists (L, C), each behind the batch. Weights are random
    from one seed, drawn when the network is saved. `macs` counts the multiplications of
    convolutions, linear layers and attention for one image, `parameters` the weights.
    """

    opset = 17

    def __init__(self, input_name: str, size: Tuple[int, int], seed: int = 0) -> None:
        self.macs = 0
        self.parameters = 0
        self._seed = seed
        self._nodes: List[Any] = []
        self._constants: List[Callable[[np.random.Generator], Any]] = []
        self._shapes: Dict[Tuple[int, ...], str] = {}
        self._input = Value(input_name, (3, *size))

    @property
    def input(self) -> Value:
        """The image, (3, H, W)."""
        return self._input

    def conv(
        self, x: Value, channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> Value:
        """Convolution with bias; padded by half its kernel unless it cuts whole patches.

        A batch normalisation behind it is part of its weights, as in every exported network.
        """
        pad = 0 if kernel == stride else kernel // 2
        height, width = ((side + 2 * pad - kernel) // stride + 1 for side in x.shape[1:])
        weight = (channels, x.shape[0] // groups, kernel, kernel)
        self.macs += height * width * int(np.prod(weight))
        return self._node(
            'Conv',
            [x.name, self._weight(weight), self._weight((channels,))],
            (channels, height, width),
            strides=[stride] * 2,
            pads=[pad] * 4,
            group=groups,
        )

    def linear(self, x: Value, channels: int) -> Value:
        """Linear layer with bias on tokens (L, C)."""
        length, inner = x.shape
        self.macs += length * inner * channels
        product = self._node(
            'MatMul', [x.name, self._weight((inner, channels))], (length, channels)
        )
        return self.scale_shift(product, scale=False)

    def matmul(self, x: Value, y: Value) -> Value:
        """Batched product of activations (..., M, K) and (..., K, N)."""
        shape = (*x.shape[:-1], y.shape[-1])
        self.macs += int(np.prod(shape)) * x.shape[-1]
        return self._node('MatMul', [x.name, y.name], shape)

    def layer_norm(self, x: Value) -> Value:
        """Layer normalisation over the last axis."""
        inner = (x.shape[-1],)
        return self._node(
            'LayerNormalization',
            [x.name, self._weight(inner, 1.0), self._weight(inner)],
            x.shape,
            axis=-1,
            epsilon=1e-6,
        )

    def layer_norm_2d(self, x: Value) -> Value:
        """Layer normalisation of a feature map over its channels."""
        last = self.transpose(x, (1, 2, 0))
        return self.transpose(self.layer_norm(last), (2, 0, 1))

    def scale_shift(self, x: Value, scale: bool = True) -> Value:
        """Learned factor (scale) or offset for each entry of the last axis."""
        weight = self._weight((x.shape[-1],), 1.0 if scale else 0.0)
        return self._node('Mul' if scale else 'Add', [x.name, weight], x.shape)

    def add(self, x: Value, y: Value) -> Value:
        """Sum of two tensors of one shape."""
        return self._node('Add', [x.name, y.name], x.shape)

    def multiply(self, x: Value, y: Value) -> Value:
        """Product entry by entry; y may have sides of 1."""
        return self._node('Mul', [x.name, y.name], x.shape)

    def add_constant(self, x: Value, values: np.ndarray) -> Value:
        """Sum with a constant of x's shape."""
        return self._node('Add', [x.name, self._constant(values[None])], x.shape)

    def times(self, x: Value, factor: float) -> Value:
        """Product with a number."""
        return self._node('Mul', [x.name, self._constant(np.float32(factor))], x.shape)

    def relu(self, x: Value) -> Value:
        """Rectified linear unit."""
        return self._node('Relu', [x.name], x.shape)

    def sigmoid(self, x: Value) -> Value:
        """Logistic function."""
        return self._node('Sigmoid', [x.name], x.shape)

    def gelu(self, x: Value) -> Value:
        """x Phi(x) by the error function, as PyTorch exports it before opset 20."""
        inner = self._node('Erf', [self.times(x, 0.5**0.5).name], x.shape)
        one = self._node('Add', [inner.name, self._constant(np.float32(1.0))], x.shape)
        return self.times(self.multiply(x, one), 0.5)

    def softmax(self, x: Value) -> Value:
        """Softmax over the last axis."""
        return self._node('Softmax', [x.name], x.shape, axis=-1)

    def mean_last(self, x: Value) -> Value:
        """Mean over the last axis, which stays with a side of 1."""
        return self._node('ReduceMean', [x.name], (*x.shape[:-1], 1), axes=[-1], keepdims=1)

    def transpose(self, x: Value, order: Sequence[int]) -> Value:
        """Axes in another order (without the batch)."""
        shape = tuple(x.shape[axis] for axis in order)
        return self._node('Transpose', [x.name], shape, perm=[0, *(axis + 1 for axis in order)])

    def reshape(self, x: Value, *shape: int) -> Value:
        """The same entries in another shape (without the batch)."""
        if shape not in self._shapes:
            self._shapes[shape] = self._constant(np.array([0, *shape], np.int64))
        return self._node('Reshape', [x.name, self._shapes[shape]], shape)

    def tokens(self, x: Value) -> Value:
        """Feature map (C, H, W) to tokens (H W, C)."""
        channels, height, width = x.shape
        return self.transpose(self.reshape(x, channels, height * width), (1, 0))

    def feature_map(self, x: Value, size: Tuple[int, int]) -> Value:
        """Tokens (H W, C) to a feature map (C, H, W)."""
        return self.reshape(self.transpose(x, (1, 0)), x.shape[1], *size)

    def resize(self, x: Value, size: Tuple[int, int]) -> Value:
        """Bilinear resize of a feature map, sample points at pixel centres."""
        scales = np.array([1, 1, size[0] / x.shape[1], size[1] / x.shape[2]], np.float32)
        return self._node(
            'Resize',
            [x.name, '', self._constant(scales)],
            (x.shape[0], *size),
            mode='linear',
            coordinate_transformation_mode='half_pixel',
        )

    def concat(self, values: Sequence[Value]) -> Value:
        """Feature maps behind one another along their channels."""
        channels = sum(value.shape[0] for value in values)
        names = [value.name for value in values]
        return self._node('Concat', names, (channels, *values[0].shape[1:]), axis=1)

    def save(self, path: Path, output: Value, name: str, metadata: Dict[str, str]) -> None:
        """Write the network whose output is `output`, called `name`, as an ONNX file."""
        import onnx

        def info(value: Value) -> Any:
            return onnx.helper.make_tensor_value_info(
                value.name, onnx.TensorProto.FLOAT, ['batch', *value.shape]
            )

        rng = np.random.default_rng(self._seed)
        graph = onnx.helper.make_graph(
            [*self._nodes, onnx.helper.make_node('Identity', [output.name], [name])],
            path.stem,
            [info(self._input)],
            [info(Value(name, output.shape))],
            [
                onnx.numpy_helper.from_array(np.asarray(draw(rng)), _constant_name(index))
                for index, draw in enumerate(self._constants)
            ],
        )
        opset = onnx.helper.make_opsetid('', self.opset)
        model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
        onnx.helper.set_model_props(model, metadata)
        onnx.save(model, str(path))

    def _node(
        self, kind: str, inputs: Sequence[str], shape: Tuple[int, ...], **attributes: Any
    ) -> Value:
        import onnx

        name = f'{kind}_{len(self._nodes)}'
        self._nodes.append(
            onnx.helper.make_node(kind, list(inputs), [name], name=name, **attributes)
        )
        return Value(name, shape)

    def _weight(self, shape: Tuple[int, ...], mean: Optional[float] = None) -> str:
        """A random weight: small about `mean`, or so that a layer keeps its input's scale."""
        self.parameters += int(np.prod(shape))
        spread = 0.02 if mean is not None or len(shape) == 1 else _fan_in(shape) ** -0.5

        def draw(rng: np.random.Generator) -> Any:
            values = rng.standard_normal(shape, np.float32) * np.float32(spread)
            return values + np.float32(mean or 0.0)

        return self._later(draw)

    def _constant(self, values: Any) -> str:
        return self._later(lambda rng: values)

    def _later(self, draw: Callable[[np.random.Generator], Any]) -> str:
        self._constants.append(draw)
        return _constant_name(len(self._constants) - 1)


def _constant_name(index: int) -> str:
    return f'weight_{index}'


def _fan_in(shape: Tuple[int, ...]) -> int:
    return int(np.prod(shape[1:])) if len(shape) == 4 else shape[0]
