# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which nodes of a network are quantised, and which are excluded so that the gate is passed.

Nodes that multiply by weights are quantised, and nodes between two such ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Collection, Dict, List, NamedTuple, Sequence, Set, Tuple

import numpy as np

from segformer_ros.model.normalization import ROUNDING
from segformer_ros.quantization.accuracy_gate import Gate, GateResult

WEIGHTED = ('Conv', 'Gemm', 'MatMul')
"""Operators with an INT8 kernel worth having, where one factor is a constant.

The two products of attention have none: TensorRT runs attention as one fused FP16 kernel, which
quantisation would break up.
"""

CHAINING = ('Add', 'Concat', 'Resize')
"""Operators that can work on INT8, so that a chain of layers stays in it."""

TRANSPARENT = ('Relu',)
"""Operators that are fused into the layer before them."""


@dataclass(frozen=True)
class Selection:
    """Names of the nodes to quantise. layers: those with weights; chained: those between them."""

    layers: Tuple[str, ...]
    chained: Tuple[str, ...]

    @property
    def all(self) -> Tuple[str, ...]:
        """Names of both."""
        return self.layers + self.chained


def select_nodes(model: Any) -> Selection:
    """Nodes of an ONNX ModelProto to quantise."""
    graph = model.graph
    constants = constant_names(graph)
    layers = [
        node
        for node in graph.node
        if node.op_type in WEIGHTED and any(name in constants for name in node.input[:2])
    ]
    chained = _chained(graph, constants, layers)
    return Selection(
        tuple(node.name for node in layers),
        tuple(node.name for node in chained if node.op_type in CHAINING),
    )


def quantized_nodes(model: Any) -> Selection:
    """Nodes of a Q/DQ graph, whichever tool made it, with an input rounded to INT8.

    The layers are those whose weights are rounded, too.
    """
    makers = {name: node for node in model.graph.node for name in node.output}
    constants = constant_names(model.graph)
    layers: List[str] = []
    others: List[str] = []
    for node in model.graph.node:
        sources = [_before_rounding(name, makers) for name in node.input]
        rounded = [source for source, name in zip(sources, node.input) if source != name]
        if rounded and node.op_type not in (*ROUNDING, 'Shape'):
            weighted = node.op_type in WEIGHTED and not constants.isdisjoint(rounded)
            (layers if weighted else others).append(node.name)
    return Selection(tuple(layers), tuple(others))


def roundings_of(model: Any, nodes: Collection[str]) -> List[str]:
    """Outputs of the Q/DQ nodes that round for these nodes, or round their outputs.

    A tensor between is QuantizeLinear's with the node before it, DequantizeLinear's with that
    behind it; both are a weight's.
    """
    inside = [node for node in model.graph.node if node.name in nodes]
    read = {name for node in inside for name in node.input}
    made = {name for node in inside for name in node.output}
    given = {name for node in model.graph.node for name in node.output}
    found: List[str] = []
    for node in reversed(model.graph.node):  # sorted topologically
        if node.op_type not in ROUNDING:
            continue
        (output,) = node.output
        alone = output in read and node.input[0] not in given
        if output in read and node.op_type == 'DequantizeLinear':
            read.add(node.input[0])
            found.append(output)
        elif node.op_type == 'QuantizeLinear' and (alone or node.input[0] in made):
            found.append(output)
    return found


def keep_quantized(model: Any, nodes: Collection[str]) -> Any:
    """A copy of a Q/DQ graph in which only these nodes have inputs rounded to INT8.

    The graph must hold the FP32 weights, followed by Q/DQ.
    """
    copy = type(model).FromString(model.SerializeToString())
    graph = copy.graph
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type not in ROUNDING and node.name not in nodes:
            for place, name in enumerate(node.input):
                node.input[place] = _before_rounding(name, makers)
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if node.op_type not in ROUNDING or not read.isdisjoint(node.output):
            kept.append(node)
            read.update(node.input)
    del graph.node[:]
    graph.node.extend(reversed(kept))
    weights = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(weights)
    return copy


def _before_rounding(name: str, makers: Dict[str, Any]) -> str:
    """The tensor before its Q/DQ pairs; the tensor itself if it has none."""
    step = makers.get(name)
    while step is not None and step.op_type == 'DequantizeLinear':
        source = makers.get(step.input[0])
        if source is None or source.op_type != 'QuantizeLinear':
            break
        name = source.input[0]
        step = makers.get(name)
    return name


def constant_names(graph: Any) -> Set[str]:
    """Names of tensors with a constant value."""
    names = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == 'Constant' or (node.op_type == 'Identity' and node.input[0] in names):
            names.add(node.output[0])
    return names


def _chained(graph: Any, constants: Set[str], layers: List[Any]) -> List[Any]:
    """Nodes whose inputs all come from INT8 layers and whose outputs all go to such layers.

    Starts with every candidate, and drops those with a neighbour outside until there are no more
    of them. A bias added after a MatMul belongs to the layer.
    """
    producers = {name: node for node in graph.node for name in node.output}
    users: Dict[str, List[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    outputs = {value.name for value in graph.output}
    inside = {id(node) for node in layers}
    for node in graph.node:
        if node.op_type == 'Add' and any(name in constants for name in node.input):
            source = [producers.get(name) for name in node.input if name not in constants]
            if source and id(source[0]) in inside:
                inside.add(id(node))
    members = {
        id(node): node
        for node in graph.node
        if id(node) not in inside and node.op_type in CHAINING + TRANSPARENT
    }

    def belongs(node: Any) -> bool:
        sources = [name for name in node.input[: _data_inputs(node)] if name not in constants]
        before = [producers.get(name) for name in sources]
        after = [user for name in node.output for user in users.get(name, [])]
        if not after or any(name in outputs for name in node.output):
            return False
        return all(
            one is not None and (id(one) in inside or id(one) in members) for one in before + after
        )

    while True:
        dropped = [key for key, node in members.items() if not belongs(node)]
        if not dropped:
            return list(members.values())
        for key in dropped:
            del members[key]


def _data_inputs(node: Any) -> int:
    """How many inputs carry activations; a Resize has its sizes among the others."""
    return 1 if node.op_type == 'Resize' else len(node.input)


class LayerCost(NamedTuple):
    """The cost of rounding only one layer. error: noise-to-signal power ratio of the logits."""

    name: str
    error: float


class Attempt(NamedTuple):
    """One attempt: the layers that are not rounded, the model, and how it compares."""

    excluded: Tuple[str, ...]
    model: Any
    verdict: GateResult


def layer_costs(
    names: Sequence[str],
    exact: Sequence[np.ndarray],
    noisy: Callable[[str], Sequence[np.ndarray]],
    told: Callable[[], object] = lambda: None,
) -> List[LayerCost]:
    """The cost of each layer if only it is rounded, the most expensive first.

    exact: logits of some frames without rounding. noisy: gives them with a layer rounded. told:
    called after each layer.
    """
    power = sum(float(np.square(logits).sum()) for logits in exact)
    costs = []
    for name in names:
        with np.errstate(invalid='ignore'):  # overflowed values may be infinite
            noise = sum(float(np.square(a - b).sum()) for a, b in zip(noisy(name), exact))
        error = noise / max(power, 1e-12)
        costs.append(LayerCost(name, error if np.isfinite(error) else float('inf')))
        told()
    return sorted(costs, key=lambda cost: -cost.error)


def exclude_until_passed(
    costs: Sequence[LayerCost],
    most: int,
    attempt: Callable[[Tuple[str, ...]], Attempt],
    gate: Gate,
) -> Attempt:
    """The passing attempt with the fewest layers excluded, the most expensive ones first.

    Doubles the number of excluded layers until the gate is passed, then bisects. Never excludes
    more than `most`: if that does not pass, the best attempt is returned.
    """
    names = [cost.name for cost in costs]
    failed, count = 0, 1
    attempts: List[Attempt] = []
    while True:
        attempts.append(attempt(tuple(names[:count])))
        if attempts[-1].verdict.shortfall(gate) <= 0:
            break
        if count >= most:
            return min(attempts, key=lambda one: one.verdict.shortfall(gate))
        failed, count = count, min(2 * count, most)
    passed = attempts[-1]
    while len(passed.excluded) - failed > 1:
        count = (failed + len(passed.excluded)) // 2
        tried = attempt(tuple(names[:count]))
        if tried.verdict.shortfall(gate) <= 0:
            passed = tried
        else:
            failed = count
    return passed
