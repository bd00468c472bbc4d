"""SegFormer's all-MLP decoder: every feature map to one width and size, fused, classified."""

from __future__ import annotations

from typing import Sequence

from tools.family.graph import NetworkGraph, Value


def decode(graph: NetworkGraph, features: Sequence[Value], width: int, classes: int) -> Value:
    """Logits (classes, H/4, W/4) of four feature maps, the first at a quarter of the image."""
    size = (features[0].shape[1], features[0].shape[2])
    even = []
    for feature in reversed(features):
        tokens = graph.linear(graph.tokens(feature), width)
        grid = graph.feature_map(tokens, (feature.shape[1], feature.shape[2]))
        even.append(grid if grid.shape[1:] == size else graph.resize(grid, size))
    fused = graph.relu(graph.conv(graph.concat(even), width))
    return graph.conv(fused, classes)
