# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Weights to begin with, read from a deployed graph: the inverse of `tools.training.export`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor

from tools.training.model import SegFormer
from tools.training.recipe import RecipeError

_FIRST = 'encoder.embeddings.0.projection.weight'
_FOLDED = ('decoder.fusions', 'decoder.norm', 'decoder.projections')
# What the constant inputs of a node are in its module; a linear layer is a MatMul and an Add.
_PARAMETERS = {
    'Conv': ('weight', 'bias'),
    'LayerNormalization': ('weight', 'bias'),
    'MatMul': ('weight',),
    'Add': ('bias',),
}


def read_weights(path: Path, model: SegFormer) -> dict[str, Tensor]:
    """Parameters of a graph that `export` wrote, by their names in `model`, which is left alone.

    Each node is named after the module that it comes from. Raises RecipeError for a file that is
    no such graph, or whose network has another size than `model`.
    """
    graph = _load(path)
    tensors = {entry.name: numpy_helper.to_array(entry) for entry in graph.initializer}
    expected = model.state_dict()
    weights = {}
    for node in graph.node:
        if node.op_type == 'Identity' and node.input[0] in tensors:  # parameters that are equal
            tensors[node.output[0]] = tensors[node.input[0]]
        module = _module(node.name)
        given = [tensors[name] for name in node.input if name in tensors]
        for name, value in zip(_PARAMETERS.get(node.op_type, ()), given, strict=False):
            if f'{module}.{name}' in expected:
                turned = value.T if node.op_type == 'MatMul' else value
                weights[f'{module}.{name}'] = torch.from_numpy(np.array(turned, order='C'))
    for name, value in expected.items():
        found = weights.get(name)
        if found is None and name.startswith(_FOLDED):
            continue
        if found is None or found.shape != value.shape:
            has = 'none' if found is None else list(found.shape)
            raise RecipeError(
                f'{path}: {name} is {has} in it and {list(value.shape)} in the network to be '
                'trained: begin with a model that tools.training.export made of the same size'
            )
    weights[_FIRST] = weights[_FIRST].flip(1)  # BGR -> RGB
    return weights


def _module(node: str) -> str:
    """Name of the module that a node was exported from, '/a/b.0/b.0.1/c/Conv' -> 'a.b.0.1.c'.

    What a container holds is named after the container too.
    """
    parts: list[str] = []
    for part in node.split('/')[1:-1]:
        if parts and part.startswith(f'{parts[-1]}.'):
            parts.pop()
        parts.append(part)
    return '.'.join(parts)


def _load(path: Path) -> onnx.GraphProto:
    try:
        return onnx.load(str(path)).graph
    except FileNotFoundError:
        raise RecipeError(f'no model at {path} to begin with: check the path') from None
    except (DecodeError, OSError) as error:
        raise RecipeError(f'{path} is no ONNX model to begin with: name another') from error


@torch.no_grad()
def warm_start(model: SegFormer, weights: dict[str, Tensor], images: Tensor) -> None:
    """Gives `model` the function of the graph that `weights` were read from.

    The graph's decoder is folded. It is unfolded so that fusing does nothing at first, and the
    batch norm undoes with its scale and shift what it normalises: by the statistics of `images`,
    because training normalises by each batch's own.

    Args:
        model: the network that `read_weights` was given.
        weights: what it returned.
        images: (B, 3, H, W) float32, normalised, as training shows them.
    """
    width = model.config.decoder
    unfolded = {}
    for i in range(len(model.decoder.fusions)):
        unfolded[f'decoder.fusions.{i}.weight'] = torch.eye(width)[:, :, None, None]
        unfolded[f'decoder.projections.{i}.bias'] = torch.zeros(width)
    model.load_state_dict(model.state_dict() | unfolded | weights)
    norm = model.decoder.norm
    totals: list[Tensor] = []
    hook = norm.register_forward_pre_hook(lambda _, inputs: totals.append(inputs[0]))
    model.eval()(images)
    hook.remove()
    variance, mean = torch.var_mean(totals[0], dim=(0, 2, 3), correction=0)
    norm.running_mean, norm.running_var = mean, variance
    norm.bias.copy_(mean)
    norm.weight.copy_(torch.sqrt(variance + norm.eps))
