# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

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
