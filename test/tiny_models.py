"""Tiny ONNX networks with known answers: the nearest class colour, as a convolution."""

from __future__ import annotations

from pathlib import Path

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
    'export_network',
    'painting',
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

    The logit of class k is (2 p_k.x - |p_k|^2) / 1000 of the mean colour x of a 4x4 block: minus
    the squared distance to the class's colour but for a term that all classes share.
    """
    height, width = size
    colors = PALETTE_BGR.astype(np.float32)
    if export.color == 'rgb':
        colors = colors[:, ::-1]
    std = np.asarray(export.std, np.float32)
    mean = np.asarray(export.mean, np.float32)
    # The normalisation is undone in the weights: pixel = std * input + mean.
    kernel = np.repeat(2 * colors * std / 16 / 1000, 16).reshape(19, 3, 4, 4)
    offset = (2 * colors @ mean - (colors**2).sum(axis=1)) / 1000
    nodes, last = _input_nodes(export)
    nodes.append(helper.make_node('Conv', [last, 'kernel', 'offset'], ['scores'], strides=[4, 4]))
    tail, initializers = output_nodes(export)
    source = input_sides(export, size)
    graph = helper.make_graph(
        nodes + tail,
        'palette',
        [helper.make_tensor_value_info(export.input_name, TYPES[export.dtype], source)],
        [output_info(export, size)],
        [
            numpy_helper.from_array(kernel.astype(np.float32), 'kernel'),
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
