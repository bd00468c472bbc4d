"""Which layers cost accuracy in INT8: measured, one at a time, and left out as few as will do."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros.quantization.accuracy_gate import Gate, GateResult
from segformer_ros.quantization.layer_selection import Selection
from segformer_ros.quantization.qdq import quantize_nodes

Infer = Callable[[Any], List[np.ndarray]]
"""Logits of a model (a ModelProto) on the frames that sensitivity is measured with."""


class LayerCost(NamedTuple):
    """What quantising one layer alone does. error: noise over signal of the logits' power."""

    name: str
    error: float


class Attempt(NamedTuple):
    """One try: the layers left in floating point, the model, and how it compares."""

    excluded: Tuple[str, ...]
    model: Any
    verdict: GateResult


def layer_costs(
    model: Any,
    nodes: Sequence[str],
    limits: Dict[str, float],
    infer: Infer,
    told: Callable[[], object] = lambda: None,
) -> List[LayerCost]:
    """Each layer's cost when it alone is INT8, the dearest first; `told` is called for each."""
    exact = infer(model)
    power = sum(float(np.square(logits).sum()) for logits in exact)
    costs = []
    for name in nodes:
        noisy = infer(quantize_nodes(model, [name], limits))
        noise = sum(float(np.square(a - b).sum()) for a, b in zip(noisy, exact))
        costs.append(LayerCost(name, noise / max(power, 1e-12)))
        told()
    return sorted(costs, key=lambda cost: -cost.error)


def exclude_until_passed(
    selection: Selection,
    costs: Sequence[LayerCost],
    attempt: Callable[[Tuple[str, ...]], Attempt],
    gate: Gate,
) -> Attempt:
    """The try with the fewest of the dearest layers left out that passes the gate.

    Doubles the number left out until it passes, then halves the step back. Never leaves out more
    than half: the best try is returned then, and it does not pass.
    """
    most = max(1, len(selection.layers) // 2)
    names = [cost.name for cost in costs]
    failed, count = 0, 1
    tries: List[Attempt] = []
    while True:
        tries.append(attempt(tuple(names[:count])))
        if tries[-1].verdict.shortfall(gate) <= 0:
            break
        if count >= most:
            return min(tries, key=lambda one: one.verdict.shortfall(gate))
        failed, count = count, min(2 * count, most)
    passed = tries[-1]
    while len(passed.excluded) - failed > 1:
        count = (failed + len(passed.excluded)) // 2
        tried = attempt(tuple(names[:count]))
        if tried.verdict.shortfall(gate) <= 0:
            passed = tried
        else:
            failed = count
    return passed
