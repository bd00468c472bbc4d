# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The catalogue: every published SegFormer by name, written as an ONNX of random weights."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, Tuple

from segformer_ros.errors import SegformerError
from tools.family.decoder import decode
from tools.family.fan import FAN, fan_features
from tools.family.graph import NetworkGraph, Value
from tools.family.mit import MIT, mit_features

CLASSES = 19
FAMILY = (*FAN, *MIT)
"""Names of all members; fan-* have TAO 6's graph shapes, mit-* those of Hugging Face."""


class FamilyError(SegformerError, ValueError):
    """A member or size that does not exist."""


class FamilyModel(NamedTuple):
    """One member for images of one size (height, width): what an image costs, and its graph."""

    name: str
    size: Tuple[int, int]
    parameters: int
    macs: int
    graph: NetworkGraph
    logits: Value
    output_name: str

    def write(self, path: Path) -> Path:
        """Write it as an ONNX file of random weights that takes any batch.

        With a sidecar: TAO 6's names of input and output are those of others too.
        """
        self.graph.save(path, self.logits, self.output_name, {'weights': 'random'})
        contract = 'tao6' if self.name in FAN else 'huggingface'
        path.with_name(f'{path.name}.yaml').write_text(f'contract: {contract}\n')
        return path


def family_model(name: str, size: Tuple[int, int]) -> FamilyModel:
    """One member for images of `size` (height, width), multiples of 32."""
    if name not in FAMILY:
        raise FamilyError(f'no member {name!r} in the family; it has {", ".join(FAMILY)}')
    if size[0] % 32 or size[1] % 32 or min(size) < 32:
        raise FamilyError(
            f'size {size[1]}x{size[0]} (width x height): both sides must be multiples of 32 pixels'
        )
    if name in FAN:
        graph = NetworkGraph('input', size)
        features, width, output = fan_features(graph, FAN[name]), FAN[name].decoder, 'output'
    else:
        graph = NetworkGraph('pixel_values', size)
        features, width, output = mit_features(graph, MIT[name]), MIT[name].decoder, 'logits'
    logits = decode(graph, features, width, CLASSES)
    return FamilyModel(name, size, graph.parameters, graph.macs, graph, logits, output)
