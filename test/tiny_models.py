# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Tiny ONNX networks with known answers: the nearest class colour, as a convolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from segformer_ros.classes import load_class_map
from tools.benchmarks.exports import (
    HUGGINGFACE,
    OWN,
    TAO5,
    TAO6,
    TYPES,
    Export,
    input_sides,
    output_info,
    output_nodes,
)

__all__ = [
    'HUGGINGFACE',
    'OWN',
    'PALETTE_BGR',
    'TAO5',
    'TAO6',
    'Export',
    'drivable_labels',
    'export_network',
    'painting',
    'save_drivable_network',
    'save_external_network',
    'save_network',
    'save_paintings',
]

PALETTE_BGR = load_class_map('cityscapes').palette_bgr[:19]


def painting(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) BGR painted from labels (H, W) in large patches, with noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 19, (3, 5))
    rows = np.arange(height) * 3 // height
    columns = np.arange(width) * 5 // width
    labels = coarse[rows][:, columns].astype(np.uint8)
    noise = rng.integers(-8, 9, (height, width, 3))
    return np.clip(PALETTE_BGR[labels] + noise, 0, 255).astype(np.uint8), labels


def save_paintings(folder: Path) -> Path:
    """Fill `images` and `labels` in a folder with twelve paintings of 128x64; the folder."""
    for kind in ('images', 'labels'):
        (folder / kind).mkdir()
    for seed in range(12):
        image, labels = painting(64, 128, seed)
        cv2.imwrite(str(folder / 'images' / f'{seed:02}.png'), image)
        cv2.imwrite(str(folder / 'labels' / f'{seed:02}.png'), labels)
    return folder


def export_network(size: tuple[int, int], export: Export = OWN) -> onnx.ModelProto:
    """The palette network for images of `size` (height, width), exported in one of many ways.

    The logit of class k is (2 p_k.x - |p_k|^2) / 1000 of a cell's mean colour x: minus the
    squared distance to the class's colour but for a term that all classes share.
    """
    height, width = size
    colors = PALETTE_BGR.astype(np.float32)
    if export.color == 'rgb':
        colors = colors[:, ::-1]
    std = np.asarray(export.std, np.float32)
    mean = np.asarray(export.mean, np.float32)
    # The normalisation is undone in the weights: pixel = std * input + mean.
    cell = (export.stride, export.stride)
    share = 2 * colors * std / export.stride**2 / 1000  # (classes, colours)
    kernel = np.broadcast_to(share[..., None, None], (*share.shape, *cell))
    offset = (2 * colors @ mean - (colors**2).sum(axis=1)) / 1000
    nodes, last = _input_nodes(export)
    nodes.append(helper.make_node('Conv', [last, 'kernel', 'offset'], ['scores'], strides=cell))
    tail, initializers = output_nodes(export)
    source = input_sides(export, size)
    graph = helper.make_graph(
        nodes + tail,
        'palette',
        [helper.make_tensor_value_info(export.input_name, TYPES[export.dtype], source)],
        [output_info(export, size)],
        [
            numpy_helper.from_array(np.ascontiguousarray(kernel, np.float32), 'kernel'),
            numpy_helper.from_array(offset.astype(np.float32), 'offset'),
            *initializers,
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    if export.own:
        metadata = {
            'segformer_ros.contract': 'uint8_bgr_nhwc',
            'segformer_ros.classes': 'cityscapes',
            'segformer_ros.fit': 'stretch',
            'segformer_ros.input_size': f'{height}x{width}',
        }
        helper.set_model_props(model, metadata)
    return model


def save_network(path: Path, size: tuple[int, int] = (64, 128), export: Export = OWN) -> Path:
    """Write the palette network to a file."""
    onnx.save(export_network(size, export), str(path))
    return path


def save_drivable_network(
    path: Path,
    size: tuple[int, int] = (64, 128),
    names: tuple[str, ...] = ('da', 'll'),
    last: str = '',
    layout: str = 'NCHW',
    kind: int = TensorProto.FLOAT,
) -> Path:
    """Write a network of two heads at full size, for RGB pixels over 255, as TwinLiteNet is.

    Drivable are pixels with more blue than red, lane lines those with more green than blue.

    names: of the outputs, the drivable area's first; a third gives boxes. last: operator that
    ends both. kind: type of input and outputs.
    """
    height, width = size
    scores = [[0, 0, 0], [-1, 0, 1]], [[0, 0, 0], [0, 1, -1]]  # (classes, colours) of each head
    half = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    nodes, weights, outputs = [], [], []
    for name, head in zip(names[:2], scores, strict=True):
        kernel = np.array(head, half)[..., None, None] * 8
        weights.append(numpy_helper.from_array(kernel, f'w{name}'))
        steps: list[tuple[str, list[str], dict[str, Any]]] = [('Conv', ['images', f'w{name}'], {})]
        if layout == 'NHWC':
            steps.append(('Transpose', [], {'perm': [0, 2, 3, 1]}))
        if last:
            steps.append((last, [], {'axis': layout.index('C')} if last == 'Softmax' else {}))
        value = ''
        for place, (operator, inputs, attributes) in enumerate(steps):
            made = name if place == len(steps) - 1 else f'{name}/{place}'
            nodes.append(helper.make_node(operator, inputs or [value], [made], **attributes))
            value = made
        sides = {'N': 1, 'C': 2, 'H': height, 'W': width}
        outputs.append(helper.make_tensor_value_info(name, kind, [sides[a] for a in layout]))
    for name in names[2:]:
        nodes.append(helper.make_node('Identity', ['images'], [name]))
        outputs.append(helper.make_tensor_value_info(name, kind, [1, 3, height, width]))
    image = helper.make_tensor_value_info('images', kind, [1, 3, height, width])
    graph = helper.make_graph(nodes, 'heads', [image], outputs, weights)
    opsets = [helper.make_opsetid('', 13)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), str(path))
    path.with_name(f'{path.name}.yaml').write_text(
        'color: rgb\nmean: [0, 0, 0]\nstd: [255, 255, 255]\n'
    )
    return path


def drivable_labels(image: np.ndarray) -> np.ndarray:
    """What `save_drivable_network` gives for (H, W, 3) uint8 BGR pixels of its own size."""
    blue, green, red = (image[..., axis].astype(int) for axis in range(3))
    return np.where(green > blue, 2, np.where(blue > red, 1, 0)).astype(np.uint8)


def save_external_network(path: Path) -> None:
    """Write the network with its weights in `weights.bin` beside it."""
    onnx.save(
        export_network((64, 128)),
        str(path),
        save_as_external_data=True,
        location='weights.bin',
        size_threshold=0,
    )


def _input_nodes(export: Export) -> tuple[list[NodeProto], str]:
    """From the graph's input to float planes, and the name of these."""
    nodes, last = [], export.input_name
    if export.dtype != 'float32':
        nodes.append(helper.make_node('Cast', [last], ['pixels'], to=TensorProto.FLOAT))
        last = 'pixels'
    if export.layout == 'NHWC':
        nodes.append(helper.make_node('Transpose', [last], ['planes'], perm=[0, 3, 1, 2]))
        last = 'planes'
    return nodes, last


def normalization_in_steps(opset: int = 17) -> bytes:
    """A normalisation as older exporters write it: Sub, Pow, ReduceMean, Add, Sqrt, Div."""
    nodes = [
        helper.make_node('ReduceMean', ['x'], ['mean'], axes=[-1]),
        helper.make_node('Sub', ['x', 'mean'], ['centred']),
        helper.make_node('Pow', ['centred', 'two'], ['square']),
        helper.make_node('ReduceMean', ['square'], ['variance'], axes=[-1]),
        helper.make_node('Add', ['variance', 'epsilon'], ['enlarged']),
        helper.make_node('Sqrt', ['enlarged'], ['deviation']),
        helper.make_node('Div', ['centred', 'deviation'], ['y']),
    ]
    constants = {'two': 2.0, 'epsilon': 1e-5}
    graph = helper.make_graph(
        nodes,
        'steps',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [2, 5, 8])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [2, 5, 8])],
        [numpy_helper.from_array(np.float32(value), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid('', opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()
