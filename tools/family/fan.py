# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""FAN-hybrid, the encoder of NVIDIA's Cityscapes SegFormer.

Zhou et al., Understanding The Robustness in Vision Transformers, 2022: a ConvNeXt stem of two
stages, then fully attentional blocks at 1/16 of the image (token attention, then channel
attention). The class token of the published classifier is left out: nothing of it reaches the
feature maps.
"""

from __future__ import annotations

import math
from typing import List, NamedTuple, Tuple

import numpy as np

from tools.family.attention import attention, join_heads, split_heads
from tools.family.graph import NetworkGraph, Value


class FanSize(NamedTuple):
    """Channels and number of the attentional blocks, and the decoder's width."""

    channels: int
    depth: int
    decoder: int


STEM_CHANNELS = (128, 256)
STEM_DEPTH = 3
HEADS = 8
EXPANSION = 4
CLASS_BLOCKS = 2
FREQUENCIES = 32

FAN = {
    'fan-tiny': FanSize(192, 8, 768),
    'fan-small': FanSize(384, 10, 768),
    'fan-base': FanSize(448, 16, 768),
}


def fan_features(graph: NetworkGraph, size: FanSize) -> List[Value]:
    """Feature maps at 1/4, 1/8, 1/16 and again 1/16 of the image."""
    quarter, eighth = _stem(graph)
    patches = graph.conv(eighth, size.channels, 2, 2)
    area = (patches.shape[1], patches.shape[2])
    x = graph.add_constant(graph.tokens(patches), _positions(area, size.channels))
    for _ in range(size.depth):
        x = _block(graph, x, area)
    sixteenth = graph.feature_map(x, area)
    for _ in range(CLASS_BLOCKS):
        x = _class_block_tokens(graph, x)
    return [quarter, eighth, sixteenth, graph.feature_map(x, area)]


def _stem(graph: NetworkGraph) -> Tuple[Value, Value]:
    """Two ConvNeXt stages: feature maps at 1/4 and 1/8."""
    x = graph.layer_norm_2d(graph.conv(graph.input, STEM_CHANNELS[0], 4, 4))
    quarter = _convnext_blocks(graph, x)
    x = graph.conv(graph.layer_norm_2d(quarter), STEM_CHANNELS[1], 2, 2)
    return quarter, _convnext_blocks(graph, x)


def _convnext_blocks(graph: NetworkGraph, x: Value) -> Value:
    channels, area = x.shape[0], (x.shape[1], x.shape[2])
    for _ in range(STEM_DEPTH):
        tokens = graph.layer_norm(graph.tokens(graph.conv(x, channels, 7, groups=channels)))
        hidden = graph.gelu(graph.linear(tokens, EXPANSION * channels))
        change = graph.scale_shift(graph.linear(hidden, channels))
        x = graph.add(x, graph.feature_map(change, area))
    return x


def _positions(area: Tuple[int, int], channels: int) -> np.ndarray:
    """Fourier encoding of the places, projected at random: (H W, C) float32.

    A constant for a network of fixed size, where an engine folds it as well.
    """
    height, width = area
    exponents = 2 * (np.arange(FREQUENCIES) // 2) / FREQUENCIES
    rates = 2 * math.pi / 10000**exponents
    rows = (np.arange(height) + 1)[:, None] / height * rates
    columns = (np.arange(width) + 1)[:, None] / width * rates
    even = np.arange(FREQUENCIES) % 2 == 0
    rows, columns = (np.where(even, np.sin(angle), np.cos(angle)) for angle in (rows, columns))
    grid = np.concatenate(
        [
            np.broadcast_to(rows[:, None], (height, width, FREQUENCIES)),
            np.broadcast_to(columns[None], (height, width, FREQUENCIES)),
        ],
        axis=-1,
    )
    projection = np.random.default_rng(1).normal(0, 0.1, (2 * FREQUENCIES, channels))
    return (grid.reshape(-1, 2 * FREQUENCIES) @ projection).astype(np.float32)


def _block(graph: NetworkGraph, x: Value, area: Tuple[int, int]) -> Value:
    normal = graph.layer_norm(x)
    x = graph.add(x, graph.scale_shift(attention(graph, normal, normal, HEADS)))
    change = _channel_attention(graph, graph.layer_norm(x), area)
    return graph.add(x, graph.scale_shift(change))


def _channel_attention(graph: NetworkGraph, x: Value, area: Tuple[int, int]) -> Value:
    """Each channel of the feed-forward output weighed by how it agrees with its head's mean."""
    query = split_heads(graph, graph.linear(x, x.shape[1]), HEADS)
    key = split_heads(graph, x, HEADS)
    # Softmax over the tokens: (heads, C / heads, L) times (heads, L, 1).
    query = graph.softmax(graph.transpose(query, (0, 2, 1)))
    key = graph.transpose(graph.softmax(graph.transpose(key, (0, 2, 1))), (0, 2, 1))
    weights = graph.sigmoid(graph.matmul(query, graph.mean_last(key)))
    value = graph.layer_norm(_feed_forward(graph, x, area))
    value = split_heads(graph, value, HEADS)
    return join_heads(graph, graph.multiply(value, graph.transpose(weights, (0, 2, 1))))


def _feed_forward(graph: NetworkGraph, x: Value, area: Tuple[int, int]) -> Value:
    hidden = graph.linear(x, EXPANSION * x.shape[1])
    channels = hidden.shape[1]
    grid = graph.conv(graph.feature_map(hidden, area), channels, 3, groups=channels)
    grid = graph.conv(graph.gelu(grid), channels, 3, groups=channels)
    mixed = graph.add(graph.scale_shift(graph.tokens(grid)), hidden)
    return graph.linear(mixed, x.shape[1])


def _class_block_tokens(graph: NetworkGraph, x: Value) -> Value:
    """What a class-attention block does to the tokens that are not the class token."""
    x = graph.add(x, graph.scale_shift(graph.layer_norm(x)))
    x = graph.layer_norm(x)
    return graph.add(x, x)
