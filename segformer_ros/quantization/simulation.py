# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A network run exactly as its graph says, on the CPU, to measure what rounding costs."""

from __future__ import annotations

from time import perf_counter
from typing import Any, Collection, Dict, List, Sequence, Set, Tuple

import numpy as np

from segformer_ros.engines import EngineOptions
from segformer_ros.engines.cpu import CpuEngine
from segformer_ros.model import ModelSpec
from segformer_ros.model.normalization import ROUNDING, squaring_nodes
from segformer_ros.model.onnx_network import read_network

LARGEST = 65504.0
"""The greatest number in FP16 (IEEE 754 binary16); anything beyond becomes infinite."""


def round_to_half(model: Any, single: Collection[str] = ()) -> Any:
    """A copy of an FP32 ModelProto whose weights and layer outputs are rounded to FP16.

    Sums within a layer are FP32, as in tensor cores. Parameters of Resize and INT8 scales are FP32
    in every graph, and are left alone. single: tensors whose nodes compute in FP32, as those of
    normalisations' squares always do: a tensor between two such nodes is not rounded, one that
    goes to any other node is. What QuantizeLinear gives may be among them, too.
    """
    from onnx import ModelProto, TensorProto, helper, numpy_helper

    model = ModelProto.FromString(model.SerializeToString())
    floats = float_outputs(model)
    kept = {name for node in squaring_nodes(model.graph) for name in node.output}.union(single)
    exact = floats & kept
    spared = _resize_parameters(model.graph)
    read = {name for node in model.graph.node if not _within(node, kept) for name in node.input}
    for tensor in model.graph.initializer:
        wanted = tensor.name in read and tensor.name not in spared
        if tensor.data_type == TensorProto.FLOAT and wanted:
            with np.errstate(over='ignore'):
                half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half.astype(np.float32), tensor.name))
    nodes: List[Any] = []
    for node in model.graph.node:
        nodes.append(node)
        if _within(node, kept):
            for place, name in enumerate(node.input):
                node.input[place] = f'{name}/exact' if name in exact else name
        for place, name in enumerate(node.output):
            if name in floats:
                unrounded, half_name = f'{name}/exact', f'{name}/half'
                node.output[place] = unrounded
                nodes += [
                    helper.make_node('Cast', [unrounded], [half_name], to=TensorProto.FLOAT16),
                    helper.make_node('Cast', [half_name], [name], to=TensorProto.FLOAT),
                ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _within(node: Any, kept: Set[str]) -> bool:
    """Whether a node computes in FP32."""
    return not kept.isdisjoint(node.output)


def with_peaks(model: Any) -> Tuple[Any, Dict[str, str]]:
    """A copy whose outputs are the greatest magnitudes in the layers' outputs.

    Returns it with the layer's name by output.
    """
    from onnx import ModelProto, TensorProto, helper

    model = ModelProto.FromString(model.SerializeToString())
    squares = {name for node in squaring_nodes(model.graph) for name in node.output}
    outputs = float_outputs(model) - squares
    layers: Dict[str, str] = {}
    nodes: List[Any] = []
    for node in model.graph.node:
        for name in outputs.intersection(node.output):
            peak = f'{name}/peak'
            nodes += [
                helper.make_node('Abs', [name], [f'{name}/size']),
                helper.make_node('ReduceMax', [f'{name}/size'], [peak], keepdims=0),
            ]
            layers[peak] = node.name or name
    model.graph.node.extend(nodes)
    del model.graph.output[:]
    model.graph.output.extend(
        helper.make_tensor_value_info(peak, TensorProto.FLOAT, []) for peak in layers
    )
    return model, layers


def float_outputs(model: Any) -> Set[str]:
    """Names of the floating-point outputs of a ModelProto's nodes, except scales."""
    from onnx import TensorProto, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    floats = {
        value.name
        for value in (*graph.value_info, *graph.output)
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }
    outputs = {name for node in graph.node for name in node.output}
    return (floats & outputs) - _resize_parameters(graph)


def _resize_parameters(graph: Any) -> Set[str]:
    """Inputs of each Resize and Q/DQ node except the first: sizes, scales and zero points."""
    kinds = ('Resize', *ROUNDING)
    return {
        name for node in graph.node if node.op_type in kinds for name in node.input[1:] if name
    }


class SimulatedEngine(CpuEngine):
    """Runs an ONNX in ONNX Runtime without fusing Q/DQ.

    Each value is rounded where the graph says so, to its INT8 level or to FP16, and the
    arithmetic between is FP32, as in TensorRT's INT8 layers, whose sums are exact. model: a
    ModelProto of the spec's contract; None for the spec's file.
    """

    name = 'simulated'
    precisions = ('auto',)

    def __init__(self, spec: ModelSpec, model: Any = None, threads: int = 0) -> None:
        super().__init__(spec, EngineOptions(threads=threads))
        self._model = model
        self._session: Any = None

    def activate(self) -> None:
        """Load the network."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry('session.disable_quant_qdq', '1')
        options.intra_op_num_threads = self.options.threads
        options.log_severity_level = 3
        model = self._model if self._model is not None else read_network(self.spec)
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider']
        )
        self.active = True

    def deactivate(self) -> None:
        """Free the network."""
        super().deactivate()
        self._session = None

    def facts(self) -> Dict[str, str]:
        """Name, device and precision."""
        return {'engine': self.name, 'device': 'CPU', 'precision': 'as in the graph'}

    def network_input(self, pixels: np.ndarray) -> np.ndarray:
        """The network's own input for (1, h, w, 3) uint8 BGR pixels."""
        spec = self.spec
        if spec.input_dtype == 'uint8' and spec.color == 'rgb':
            pixels = pixels[..., ::-1]
        elif spec.input_dtype != 'uint8':
            ordered = pixels[..., ::-1] if spec.color == 'rgb' else pixels
            mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
            pixels = ((ordered.astype(np.float32) - mean) / std).astype(spec.input_dtype)
        if spec.input_layout == 'NCHW':
            pixels = pixels.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pixels)

    def bare(self, network_input: np.ndarray) -> np.ndarray:
        """The network's output for a `network_input`."""
        return self.outputs(network_input, [self.spec.output_name])[0]

    def outputs(self, network_input: np.ndarray, names: Sequence[str]) -> List[np.ndarray]:
        """Outputs of the graph by name, for a `network_input`."""
        feed = {self.spec.input_name: network_input}
        arrays: List[np.ndarray] = self._session.run(names, feed)
        return arrays

    def _begin(self, slot: int) -> None:
        """Do nothing: the network runs in `_end`."""

    def _end(self, slot: int) -> Tuple[np.ndarray, float]:
        output = self.bare(self.network_input(self._inputs[slot]))[0]
        return self._arranged(output), perf_counter()
