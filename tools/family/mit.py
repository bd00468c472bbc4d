# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""MiT, SegFormer's own encoder.

Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers,
2021, section 3.1 and table 6.
"""

from __future__ import annotations

from typing import List, NamedTuple, Tuple

from tools.family.attention import attention
from tools.family.graph import NetworkGraph, Value


class MitSize(NamedTuple):
    """Channels and blocks of the four stages, and the decoder's width."""

    channels: Tuple[int, int, int, int]
    depths: Tuple[int, int, int, int]
    decoder: int


SMALL = (32, 64, 160, 256)
LARGE = (64, 128, 320, 512)
HEADS = (1, 2, 5, 8)
REDUCTIONS = (8, 4, 2, 1)
EXPANSION = 4

MIT = {
    'mit-b0': MitSize(SMALL, (2, 2, 2, 2), 256),
    'mit-b1': MitSize(LARGE, (2, 2, 2, 2), 256),
    'mit-b2': MitSize(LARGE, (3, 4, 6, 3), 768),
    'mit-b3': MitSize(LARGE, (3, 4, 18, 3), 768),
    'mit-b4': MitSize(LARGE, (3, 8, 27, 3), 768),
    'mit-b5': MitSize(LARGE, (3, 6, 40, 3), 768),
}


def mit_features(graph: NetworkGraph, size: MitSize) -> List[Value]:
    """Feature maps at 1/4, 1/8, 1/16 and 1/32 of the image."""
    features: List[Value] = []
    x = graph.input
    stages = zip(size.channels, size.depths, HEADS, REDUCTIONS, strict=False)
    for index, (channels, depth, heads, reduction) in enumerate(stages):
        kernel, stride = (7, 4) if index == 0 else (3, 2)
        patches = graph.conv(x, channels, kernel, stride)
        area = (patches.shape[1], patches.shape[2])
        tokens = graph.layer_norm(graph.tokens(patches))
        for _ in range(depth):
            tokens = _block(graph, tokens, area, heads, reduction)
        x = graph.feature_map(graph.layer_norm(tokens), area)
        features.append(x)
    return features


def _block(
    graph: NetworkGraph, x: Value, area: Tuple[int, int], heads: int, reduction: int
) -> Value:
    normal = graph.layer_norm(x)
    context = normal
    if reduction > 1:
        grid = graph.feature_map(normal, area)
        smaller = graph.conv(grid, x.shape[1], reduction, reduction)
        context = graph.layer_norm(graph.tokens(smaller))
    x = graph.add(x, attention(graph, normal, context, heads))
    return graph.add(x, _mix_ffn(graph, graph.layer_norm(x), area))


def _mix_ffn(graph: NetworkGraph, x: Value, area: Tuple[int, int]) -> Value:
    channels = x.shape[1]
    hidden = graph.linear(x, EXPANSION * channels)
    grid = graph.feature_map(hidden, area)
    mixed = graph.conv(grid, EXPANSION * channels, 3, groups=EXPANSION * channels)
    return graph.linear(graph.gelu(graph.tokens(mixed)), channels)
