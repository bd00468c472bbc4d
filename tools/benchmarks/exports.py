# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exports: one network in every form that the field exports, and the bundled model in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, compose, helper, numpy_helper

from segformer_ros.model import bundled_model
from segformer_ros.model.recognition import INPUT_SIZE
from segformer_ros.model.spec import HALF_MEAN, HALF_STD, IMAGENET_MEAN, IMAGENET_STD

CLASSES = 19
NOTHING = -1000.0
"""Logit of a class that no pixel has."""

TYPES = {
    'uint8': TensorProto.UINT8,
    'int8': TensorProto.INT8,
    'int32': TensorProto.INT32,
    'int64': TensorProto.INT64,
    'float32': TensorProto.FLOAT,
    'float16': TensorProto.FLOAT16,
    'uint16': TensorProto.UINT16,
    'bool': TensorProto.BOOL,
}


@dataclass(frozen=True)
class Export:
    """One way to export a network.

    output: 'logits', 'softmax', or the type of labels that leave the graph at the input's size.
    stride: pixels for each cell of the scores. batch: None where it is open. dynamic_size: height
    and width are open. background: the first of 20 classes is one that no pixel has, as some TAO
    models put it.
    """

    input_name: str = 'image'
    output_name: str = 'logits'
    dtype: str = 'uint8'
    layout: str = 'NHWC'
    color: str = 'bgr'
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    output: str = 'logits'
    output_layout: str = 'NCHW'
    stride: int = 4
    batch: int | None = None
    dynamic_size: bool = False
    own: bool = False
    background: bool = False

    @property
    def scores(self) -> bool:
        """Whether scores of the classes leave the graph, not labels."""
        return self.output in ('logits', 'softmax')


OWN = Export(own=True)
TAO5 = Export(
    'input', 'output', 'float32', 'NCHW', 'rgb', IMAGENET_MEAN, IMAGENET_STD, output='int64'
)
TAO6 = Export('input', 'output', 'float32', 'NCHW', 'rgb', HALF_MEAN, HALF_STD)
HUGGINGFACE = Export(
    'pixel_values', 'logits', 'float32', 'NCHW', 'rgb', IMAGENET_MEAN, IMAGENET_STD
)


def save_reexport(
    path: Path, size: tuple[int, int], export: Export, whole_pixels: bool = False
) -> Path:
    """Write the bundled model for images of `size` (height, width) in another contract.

    whole_pixels: the wrapper rounds to whole pixel values before the network sees them, so that
    its arithmetic is that of the bundled file to the last bit. Otherwise nothing is rounded, as
    in a network that was trained with the contract.
    """
    if export.own:
        return _save_own(path, size, export)
    core = compose.add_prefix(_core(whole_pixels), 'core/')
    inner = core.graph.input[0]
    kind = TYPES['uint8'] if whole_pixels else TYPES['float32']
    inner.type.tensor_type.elem_type = kind
    head = helper.make_model(
        _head(size, export, whole_pixels),
        opset_imports=core.opset_import,
        ir_version=core.ir_version,
    )
    merged = compose.merge_models(head, core, io_map=[('pixels', inner.name)])
    nodes, weights = output_nodes(export, scores='core/logits')
    graph = merged.graph
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    del graph.output[:]
    graph.output.append(output_info(export, size))
    del merged.metadata_props[:]
    del merged.opset_import[1:]  # merging leaves the same one twice
    onnx.save(merged, str(path))
    return path


def save_told(
    folder: Path,
    size: tuple[int, int],
    export: Export,
    names: Sequence[str],
    *,
    sidecar: str = '',
    config: str = '',
    whole_pixels: bool = False,
) -> Path:
    """Write the bundled model and what is told of it; the path that a user would give.

    names: of the classes, for `labels.txt`. sidecar, config: contents of `model.onnx.yaml` and of
    the nvinfer configuration; none is written where they are empty. The rest: see `save_reexport`.
    """
    model = save_reexport(folder / 'model.onnx', size, export, whole_pixels)
    (folder / 'labels.txt').write_text('\n'.join(names))
    if export.input_name == TAO6.input_name and export.scores and not config:
        sidecar = sidecar if 'contract' in sidecar else f'contract: tao6\n{sidecar}'
    if sidecar:
        (folder / 'model.onnx.yaml').write_text(sidecar)
    if not config:
        return model
    path = folder / 'nvinfer_config.txt'
    path.write_text(config)
    return path


def _save_own(path: Path, size: tuple[int, int], export: Export) -> Path:
    model = onnx.load(str(bundled_model()))
    if export.batch:
        sides = model.graph.input[0].type.tensor_type.shape.dim
        for side, length in zip(sides, (export.batch, *size, 3), strict=True):
            side.dim_value = length
    own = {entry.key: entry.value for entry in model.metadata_props}
    helper.set_model_props(model, {**own, INPUT_SIZE: f'{size[0]}x{size[1]}'})
    onnx.save(model, str(path))
    return path


def _core(whole_pixels: bool) -> ModelProto:
    """The bundled network, from uint8 pixels, or from float ones without its first cast."""
    core = onnx.load(str(bundled_model()))
    if not whole_pixels:
        cast = core.graph.node[0]
        assert cast.op_type == 'Cast'
        cast.op_type = 'Identity'
        del cast.attribute[:]
    return core


def _head(size: tuple[int, int], export: Export, whole_pixels: bool) -> GraphProto:
    """From the contract's input to NHWC BGR pixels of 0..255, uint8 or float32."""
    planar = export.layout == 'NCHW'
    shape = (1, 3, 1, 1) if planar else (1, 1, 1, 3)
    steps = [
        helper.make_node('Mul', [export.input_name, 'std'], ['scaled']),
        helper.make_node('Add', ['scaled', 'mean'], ['exact']),
    ]
    last = 'exact'
    if whole_pixels:
        steps += [
            helper.make_node('Round', ['exact'], ['rounded']),
            helper.make_node('Clip', ['rounded', 'low', 'high'], ['clipped']),
            helper.make_node('Cast', ['clipped'], ['whole'], to=TensorProto.UINT8),
        ]
        last = 'whole'
    order = [0, 2, 3, 1] if planar else [0, 1, 2, 3]
    steps += [
        helper.make_node('Transpose', [last], ['last'], perm=order),
        helper.make_node('Gather', ['last', 'order'], ['pixels'], axis=3),
    ]
    weights = {
        'std': np.reshape(np.array(export.std, np.float32), shape),
        'mean': np.reshape(np.array(export.mean, np.float32), shape),
        'low': np.float32(0),
        'high': np.float32(255),
        'order': np.array([2, 1, 0] if export.color == 'rgb' else [0, 1, 2], np.int64),
    }
    kind = TensorProto.UINT8 if whole_pixels else TensorProto.FLOAT
    sides = input_sides(export, size)
    pixels = [sides[0], *(sides[2:] if planar else sides[1:3]), 3]
    return helper.make_graph(
        steps,
        'head',
        [helper.make_tensor_value_info(export.input_name, TensorProto.FLOAT, sides)],
        [helper.make_tensor_value_info('pixels', kind, pixels)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )


def input_sides(export: Export, size: tuple[int, int]) -> list[int | str]:
    """Shape of the graph's input, names for what is open."""
    sides: list[int | str] = ['H', 'W'] if export.dynamic_size else [*size]
    batch = export.batch or 'N'
    return [batch, 3, *sides] if export.layout == 'NCHW' else [batch, *sides, 3]


def output_nodes(
    export: Export, scores: str = 'scores'
) -> tuple[list[NodeProto], list[TensorProto]]:
    """From the logits [N, C, h, w], called `scores`, to the graph's output; nodes and weights."""
    nodes: list[NodeProto] = []
    weights: dict[str, np.ndarray] = {}
    last, channel = scores, 1

    def then(kind: str, *inputs: str, **attributes: object) -> None:
        nonlocal last
        output = f'output/{len(nodes)}'
        nodes.append(helper.make_node(kind, [last, *inputs], [output], **attributes))
        last = output

    if export.background:
        weights['before'] = np.array([0, 1, 0, 0, 0, 0, 0, 0], np.int64)
        weights['nothing'] = np.array(NOTHING, np.float32)
        then('Pad', 'before', 'nothing')
    if not export.scores:
        weights['scales'] = np.array([1, 1, export.stride, export.stride], np.float32)
        then('Resize', '', 'scales', mode='linear', coordinate_transformation_mode='half_pixel')
    if export.output_layout == 'NHWC':
        then('Transpose', perm=[0, 2, 3, 1])
        channel = 3
    if export.output == 'softmax':
        then('Softmax', axis=channel)
    if not export.scores:
        then('ArgMax', axis=channel, keepdims=int(export.output_layout != 'NHW'))
        then('Cast', to=TYPES[export.output])
    if not nodes:
        then('Identity')
    nodes[-1].output[0] = export.output_name
    return nodes, [numpy_helper.from_array(value, name) for name, value in weights.items()]


def output_info(export: Export, size: tuple[int, int]) -> onnx.ValueInfoProto:
    """Type and shape of the graph's output."""
    sides: list[int | str] = [side // export.stride if export.scores else side for side in size]
    if export.dynamic_size:
        sides = ['h', 'w']
    batch = export.batch or 'N'
    channels = [CLASSES + export.background if export.scores else 1]
    shapes = {
        'NCHW': [batch, *channels, *sides],
        'NHWC': [batch, *sides, *channels],
        'NHW': [batch, *sides],
    }
    kind = TensorProto.FLOAT if export.scores else TYPES[export.output]
    return helper.make_tensor_value_info(export.output_name, kind, shapes[export.output_layout])
