# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""FP16 that passes the gate: if need be with the decode head or other layers in FP32."""

from __future__ import annotations

import re
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence, Set, Tuple

import numpy as np

from segformer_ros.quantization.accuracy_gate import Gate, GateResult
from segformer_ros.quantization.layer_selection import (
    Attempt,
    LayerCost,
    exclude_until_passed,
    layer_costs,
    roundings_of,
    select_nodes,
)
from segformer_ros.quantization.simulation import (
    LARGEST,
    float_outputs,
    round_to_half,
    with_peaks,
)

_HEAD = re.compile(r'(^|[/.])(decode_head|decoder|sem_seg_head|seg_head|final_layer)([/.]|$)')
"""Names of a decode head's nodes: exporters prefix them with the module that they come from."""


class HalfStep(NamedTuple):
    """One attempt. single: its layers in FP32, out of `layers`; head: how many are the head's."""

    single: Tuple[str, ...]
    head: int
    layers: int
    verdict: GateResult


class HalfPrecision(NamedTuple):
    """The result of judging a model in FP16.

    steps: the attempts, the one with the fewest FP32 layers first. chosen: the passing step with
    the fewest of them, else the first. failures: why no step passes the gate; empty if one does.
    single: the tensors whose layers compute in FP32 in the chosen step. overflowing: layers whose
    values overflowed FP16 on some frames, if the first step fails.
    """

    steps: Tuple[HalfStep, ...]
    chosen: HalfStep
    failures: Tuple[str, ...]
    single: Tuple[str, ...]
    overflowing: Tuple[str, ...]


Judged = Callable[[str, Any], GateResult]
"""Judges a model (a ModelProto) on the frames to judge by; the text names the stage."""

Outputs = Callable[[Any, Sequence[str]], List[List[np.ndarray]]]
"""Outputs by name of a model on a few frames."""


def judge_half(
    model: Any,
    output: str,
    gate: Gate,
    judged: Judged,
    outputs: Outputs,
    tell: Callable[[str, int], Callable[[], object]],
    quantized: Any = None,
    start: Tuple[str, ...] = (),
) -> HalfPrecision:
    """Judge a prepared model in FP16; if it fails, with as few layers in FP32 as possible.

    At most half of the layers are FP32: with more, FP32 throughout is the better engine. output:
    the logits' name. quantized: the Q/DQ graph of it, which is judged in its place; what layers
    round to INT8 stays INT8. start: layers in FP32 from the first attempt on.
    """
    layers = split_layers(model)
    head = tuple(name for name, nodes in layers.items() if not nodes.isdisjoint(_head(model)))
    base, what = start, 'FP16'
    if quantized is not None:
        model, what = quantized, 'INT8 and FP16'
    floats = float_outputs(model)
    steps: List[HalfStep] = []

    def tensors(names: Sequence[str]) -> Tuple[str, ...]:
        inside = {node for name in names for node in layers[name]}
        made = (name for node in model.graph.node if node.name in inside for name in node.output)
        return (*(name for name in made if name in floats), *roundings_of(model, inside))

    def attempt(names: Tuple[str, ...]) -> Attempt:
        beside = base + names
        rounded = round_to_half(model, tensors(beside))
        verdict = judged(f'accuracy in {what}, {len(beside)} layers in FP32', rounded)
        whole_head = len(head) if set(head) <= set(beside) else 0
        steps.append(HalfStep(beside, whole_head, len(layers), verdict))
        return Attempt(names, rounded, verdict)

    failing = attempt(()).verdict.shortfall(gate) > 0
    overflowing: Tuple[str, ...] = ()
    if failing:
        overflowing = _overflowing(model, outputs)
        with_head = start + tuple(name for name in head if name not in start)
        if start != with_head and len(with_head) <= len(layers) // 2:
            base = with_head
            failing = attempt(()).verdict.shortfall(gate) > 0
        room = len(layers) // 2 - len(base)
        if failing and room > 0:
            costs = _costs(layers, base, model, output, outputs, tensors, tell)
            exclude_until_passed(costs, room, attempt, gate)
    passed = [step for step in steps if step.verdict.shortfall(gate) <= 0]
    chosen = min(passed, key=lambda step: len(step.single)) if passed else steps[0]
    failures = () if passed else tuple(chosen.verdict.failures(gate))
    single = () if failures else tensors(chosen.single)
    return HalfPrecision(tuple(steps), chosen, failures, single, overflowing)


def split_layers(model: Any) -> Dict[str, Set[str]]:
    """Nodes of each layer of a prepared model: a node with weights, and all up to the next one.

    Nodes before the first belong to it.
    """
    names = select_nodes(model).layers
    layers: Dict[str, Set[str]] = {name: set() for name in names}
    current = names[0]
    for node in model.graph.node:
        current = node.name if node.name in layers else current
        layers[current].add(node.name)
    return layers


def beyond_half(peaks: Mapping[str, Sequence[float]]) -> Tuple[str, ...]:
    """The layers, in the order given, one of whose peaks FP16 cannot hold."""
    return tuple(
        name
        for name, values in peaks.items()
        if not all(value <= LARGEST for value in values)  # so written, NaN overflows too
    )


def _head(model: Any) -> Set[str]:
    """Nodes of the decode head: those named so, else all from the first upsampling on."""
    named = {node.name for node in model.graph.node if _HEAD.search(node.name)}
    if named:
        return named
    upsampled: Set[str] = set()  # tensors
    head: Set[str] = set()
    for node in model.graph.node:  # sorted topologically
        if node.op_type in ('Resize', 'ConvTranspose') or not upsampled.isdisjoint(node.input):
            upsampled.update(node.output)
            head.add(node.name)
    return head


def _overflowing(model: Any, outputs: Outputs) -> Tuple[str, ...]:
    watched, layers = with_peaks(model)
    by_frame = outputs(watched, list(layers))
    by_layer = zip(*by_frame)
    return beyond_half(
        {name: [float(peak) for peak in peaks] for name, peaks in zip(layers.values(), by_layer)}
    )


def _costs(
    layers: Mapping[str, Set[str]],
    base: Sequence[str],
    model: Any,
    output: str,
    outputs: Outputs,
    tensors: Callable[[Sequence[str]], Tuple[str, ...]],
    tell: Callable[[str, int], Callable[[], object]],
) -> List[LayerCost]:
    """The cost of each layer that is not FP32 anyway, if only it is FP16."""
    names = [name for name in layers if name not in base]

    def logits(proto: Any) -> List[np.ndarray]:
        return [values[0] for values in outputs(proto, [output])]

    def alone(name: str) -> List[np.ndarray]:
        others = [other for other in layers if other != name]
        return logits(round_to_half(model, tensors(others)))

    return layer_costs(names, logits(model), alone, tell('cost of each layer', len(names)))
