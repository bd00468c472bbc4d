# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Multi-head attention over tokens, as both encoders of the family have it."""

from __future__ import annotations

from tools.family.graph import NetworkGraph, Value


def attention(graph: NetworkGraph, x: Value, context: Value, heads: int) -> Value:
    """Tokens x (L, C) attend to the context (M, C): (L, C) behind the output projection."""
    channels = x.shape[1]
    query = split_heads(graph, graph.linear(x, channels), heads)
    key = split_heads(graph, graph.linear(context, channels), heads)
    value = split_heads(graph, graph.linear(context, channels), heads)
    scores = graph.matmul(
        graph.times(query, (channels // heads) ** -0.5), graph.transpose(key, (0, 2, 1))
    )
    mixed = graph.matmul(graph.softmax(scores), value)
    return graph.linear(join_heads(graph, mixed), channels)


def split_heads(graph: NetworkGraph, x: Value, heads: int) -> Value:
    """(L, C) to (heads, L, C / heads)."""
    length, channels = x.shape
    return graph.transpose(graph.reshape(x, length, heads, channels // heads), (1, 0, 2))


def join_heads(graph: NetworkGraph, x: Value) -> Value:
    """(heads, L, C / heads) to (L, C)."""
    heads, length, part = x.shape
    return graph.reshape(graph.transpose(x, (1, 0, 2)), length, heads * part)
