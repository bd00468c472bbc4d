# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Which layers to leave as they are, so that a rounded model passes its gate: as few as can be."""

from __future__ import annotations

from typing import Any, Callable, List, NamedTuple, Sequence, Tuple

import numpy as np

from segformer_ros.quantization.accuracy_gate import Gate, GateResult


class LayerCost(NamedTuple):
    """What rounding one layer alone does. error: noise over signal of the logits' power."""

    name: str
    error: float


class Attempt(NamedTuple):
    """One try: the layers that are not rounded, the model, and how it compares."""

    excluded: Tuple[str, ...]
    model: Any
    verdict: GateResult


def layer_costs(
    names: Sequence[str],
    exact: Sequence[np.ndarray],
    noisy: Callable[[str], Sequence[np.ndarray]],
    told: Callable[[], object] = lambda: None,
) -> List[LayerCost]:
    """Each layer's cost when it alone is rounded, the dearest first.

    exact, noisy: logits of some frames without rounding and with that of the layer. told: called
    for each layer.
    """
    power = sum(float(np.square(logits).sum()) for logits in exact)
    costs = []
    for name in names:
        with np.errstate(invalid='ignore'):  # what overflowed may have become infinite
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
    """The try with the fewest of the dearest layers left out that passes the gate.

    Doubles the number left out until it passes, then halves the step back. Never leaves out more
    than `most`: the best try is returned then, and it does not pass.
    """
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
