# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A network with the joints of SegFormer's: layers, a residual, two scales that meet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tiny_models import export_network


def save_tiny(path: Path, size: tuple[int, int] = (32, 64), spoil: float = 1.0) -> Path:
    """Write it, with the bundled model's contract.

    Its labels are those of the nearest class colour, as `tiny_models` has them; `spoil` scales one
    channel up before a layer and down behind it, so that INT8 loses all other channels there.
    """
    height, width = size
    base = export_network(size)
    weights = {tensor.name: tensor for tensor in base.graph.initializer}
    rng = np.random.default_rng(0)
    identity = np.eye(19, dtype=np.float32).reshape(19, 19, 1, 1)
    scale = np.ones((1, 19, 1, 1), np.float32)
    scale[0, 3] = spoil
    constants = {
        'identity': identity,
        'half': 0.5 * identity,
        'shift': rng.normal(0, 0.01, 19).astype(np.float32),
        'up': scale,
        'down': 1 / scale,
        'sizes': np.array([1, 19, height // 4, width // 4], np.int64),
    }
    nodes = [
        *base.graph.node[:2],
        helper.make_node('Conv', ['planes', 'kernel', 'offset'], ['stem'], 'stem', strides=[4, 4]),
        helper.make_node('Mul', ['stem', 'up'], ['spoilt'], 'spoil'),
        helper.make_node('Conv', ['spoilt', 'identity'], ['through'], 'fragile'),
        helper.make_node('Mul', ['through', 'down'], ['mended'], 'mend'),
        helper.make_node('Conv', ['mended', 'half', 'shift'], ['fine'], 'fine'),
        helper.make_node('Conv', ['mended', 'half'], ['coarse'], 'coarse', strides=[2, 2]),
        helper.make_node(
            'Resize', ['coarse', '', '', 'sizes'], ['resized'], 'resize', mode='linear'
        ),
        helper.make_node('Add', ['fine', 'resized'], ['joined'], 'join'),
        helper.make_node('Conv', ['joined', 'identity'], ['logits'], 'classify'),
    ]
    nodes[0].name, nodes[1].name = 'cast', 'transpose'
    graph = helper.make_graph(
        nodes,
        'tiny',
        list(base.graph.input),
        [
            helper.make_tensor_value_info(
                'logits', TensorProto.FLOAT, [1, 19, height // 4, width // 4]
            )
        ],
        [
            weights['kernel'],
            weights['offset'],
            *(numpy_helper.from_array(value, name) for name, value in constants.items()),
        ],
    )
    graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=8)
    model.metadata_props.extend(base.metadata_props)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
