# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""From a model and frames to an INT8 model that passes its gate, or to the reasons why not.

FP16 needs no calibration, but is judged by the same gate on the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Sequence,
    Tuple,
)

import numpy as np

from segformer_ros.engines.placement import fit_frame, place
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec
from segformer_ros.model.model_files import model_hash
from segformer_ros.model.onnx_network import read_network
from segformer_ros.model.sidecar import QuantizationRecord
from segformer_ros.quantization.accuracy_gate import (
    Gate,
    GateResult,
    Judge,
    QuantizationError,
    Sample,
    Samples,
)
from segformer_ros.quantization.half_precision import HalfPrecision, judge_half
from segformer_ros.quantization.layer_selection import (
    Attempt,
    LayerCost,
    Selection,
    exclude_until_passed,
    keep_quantized,
    layer_costs,
    quantized_nodes,
    select_nodes,
)
from segformer_ros.quantization.qdq import (
    activation_names,
    choose_limits,
    measure_ranges,
    prepare,
    quantize_by_modelopt,
    quantize_nodes,
)
from segformer_ros.quantization.simulation import SimulatedEngine

BACKENDS: Dict[str, Tuple[str, ...]] = {
    'own': ('percentile', 'entropy', 'max'),
    'modelopt': ('entropy', 'max'),
}
"""What inserts Q/DQ, this package or nvidia-modelopt, with its rules for ranges, the default
first."""

SENSITIVITY_FRAMES = 4
"""Frames on which the cost of each layer is measured; a ranking needs no more."""


@dataclass(frozen=True)
class QuantizationSettings:
    """How to quantise.

    ranges: one of the backend's. percent: share of a tensor's values that 'percentile' keeps.
    sensitivity: measure each layer's cost even if the gate is passed. backend: one of BACKENDS.
    """

    ranges: str = 'percentile'
    percent: float = 99.99
    gate: Gate = field(default_factory=Gate)
    sensitivity: bool = False
    threads: int = 0
    backend: str = 'own'


@dataclass(frozen=True)
class Quantized:
    """An INT8 model and how it was judged.

    record: which gates are passed. model: the ModelProto. costs: each layer's own cost, the most
    expensive first, if it was measured. excluded: layers left in floating point. failures: why the
    gate is not passed; empty if it is. half: the result of the model in FP16. pair: that of INT8
    with the other layers in FP16, as engines have it; None if one of them fails alone.
    """

    record: QuantizationRecord
    model: Any
    selection: Selection
    excluded: Tuple[str, ...]
    costs: Tuple[LayerCost, ...]
    verdict: GateResult
    first_verdict: GateResult
    failures: Tuple[str, ...]
    half: HalfPrecision
    pair: Optional[HalfPrecision]


class Told(Protocol):
    """Callback for progress."""

    def __call__(self, stage: str, steps: int) -> Callable[[], object]:
        """A stage of this many steps begins; the returned callable is called after each step."""


def quantize(
    spec: ModelSpec, samples: Samples, settings: QuantizationSettings, told: Optional[Told] = None
) -> Quantized:
    """Make the INT8 model of a model; raises QuantizationError where that cannot be done.

    Whether it passed the gate is in the result; refusing it is up to the caller.
    """
    tell = told or _silent
    calibrated = _calibrate(spec, samples.calibration, settings, tell)
    return _Search(spec, calibrated, samples, settings, tell).run()


def quantize_unjudged(spec: ModelSpec, frames: Sequence[Frame]) -> Any:
    """The ModelProto with all possible layers in INT8, calibrated on some frames.

    It is not judged by a gate. Raises QuantizationError.
    """
    samples = [Sample(frame, None) for frame in frames]
    calibrated = _calibrate(spec, samples, QuantizationSettings(), _silent)
    return calibrated.quantized(calibrated.selection.all)


class _Calibrated(NamedTuple):
    """The FP32 ModelProto, its nodes for INT8, and a function that quantises some of them."""

    model: Any
    selection: Selection
    quantized: Callable[[Collection[str]], Any]


def _calibrate(
    spec: ModelSpec, samples: Sequence[Sample], settings: QuantizationSettings, tell: Told
) -> _Calibrated:
    """Measure the ranges of the layers for INT8 on samples."""
    source = read_network(spec)
    if any(node.op_type == 'QuantizeLinear' for node in source.graph.node):
        raise QuantizationError(
            f'{spec.path} is quantised already; give the FP32 model that it was made from'
        )
    try:
        prepared = prepare(source)
    except QuantizationError as error:
        raise QuantizationError(f'{spec.path}: {error}') from error
    selection = select_nodes(prepared)
    if not selection.layers:
        raise QuantizationError(
            f'{spec.path} has no layer with weights that can run in INT8; give the exported FP32 '
            'model'
        )
    if settings.backend == 'modelopt':
        told = tell('ranges and Q/DQ by nvidia-modelopt', 1)
        whole = quantize_by_modelopt(prepared, lambda: _Inputs(spec).of(samples), settings.ranges)
        told()
        return _Calibrated(prepared, quantized_nodes(whole), partial(keep_quantized, whole))
    inputs = _Inputs(spec, tell('ranges', len(samples)))
    histograms = measure_ranges(
        prepared, activation_names(prepared, selection.all), inputs.of(samples)
    )
    limits = choose_limits(histograms, settings.ranges, settings.percent)
    return _Calibrated(prepared, selection, lambda nodes: quantize_nodes(prepared, nodes, limits))


class _Inputs:
    """Frames as the bare network takes them."""

    def __init__(self, spec: ModelSpec, told: Callable[[], object] = lambda: None) -> None:
        self._engine = SimulatedEngine(spec)
        self._spec = spec
        self._told = told

    def of(self, samples: Sequence[Sample]) -> Iterator[np.ndarray]:
        """Network inputs of samples, one by one."""
        for sample in samples:
            pixels = np.zeros((1, *self._spec.size, 3), np.uint8)
            frame = sample.frame
            spec = self._spec
            fit = fit_frame((frame.height, frame.width), spec.size, spec.fit, spec.stride)
            place(frame.bgr(), fit, pixels[0])
            yield self._engine.network_input(pixels)
            self._told()


class _Search:
    """The search for the layers that can be INT8, beginning with all."""

    def __init__(
        self,
        spec: ModelSpec,
        calibrated: _Calibrated,
        samples: Samples,
        settings: QuantizationSettings,
        tell: Told,
    ) -> None:
        self._spec, self._samples, self._settings = spec, samples, settings
        self._model, self._selection, self._quantized = calibrated
        self._tell = tell
        # The reference is the file itself, so that errors of the preparation count, too.
        with SimulatedEngine(spec, None, settings.threads) as reference:
            self._judge = Judge(reference, samples.held_out)

    def run(self) -> Quantized:
        """Quantise all layers; if that does not pass, exclude the most expensive ones."""
        gate = self._settings.gate
        first = best = self._attempt(())
        costs: List[LayerCost] = []
        failing = first.verdict.shortfall(gate) > 0
        if failing or self._settings.sensitivity:
            costs = self._costs()
        if failing:
            most = max(1, len(self._selection.layers) // 2)
            best = exclude_until_passed(costs, most, self._attempt, gate)
        failures = tuple(best.verdict.failures(gate))
        half, pair = self._half(), None
        if not (failures or half.failures):
            pair = self._half(best.model, half.chosen.single)
        record = QuantizationRecord(
            model_hash(self._spec.path),
            not failures,
            not half.failures,
            half.single,
            pair is None or not pair.failures,
            pair.single if pair else (),
        )
        _mark(best.model, record)
        return Quantized(
            record,
            best.model,
            self._selection,
            best.excluded,
            tuple(costs),
            best.verdict,
            first.verdict,
            failures,
            half,
            pair,
        )

    def _half(self, quantized: Any = None, start: Tuple[str, ...] = ()) -> HalfPrecision:
        """Judge the model in FP16; if it does not pass, find the layers that have to be FP32.

        quantized: an INT8 model to judge with FP16 beside it; start: its layers that are FP32 from
        the first attempt on.
        """

        def outputs(model: Any, names: Sequence[str]) -> List[List[np.ndarray]]:
            engine = SimulatedEngine(self._spec, model, self._settings.threads)
            with engine:
                return [engine.outputs(pixels, names) for pixels in self._few_inputs()]

        return judge_half(
            self._model,
            self._spec.output_name,
            self._settings.gate,
            self._judged,
            outputs,
            self._tell,
            quantized,
            start,
        )

    def _few_inputs(self) -> List[np.ndarray]:
        samples = self._samples.calibration[:: max(1, len(self._samples.calibration) // 4)]
        return list(_Inputs(self._spec).of(samples[:SENSITIVITY_FRAMES]))

    def _attempt(self, excluded: Tuple[str, ...]) -> Attempt:
        nodes = [name for name in self._selection.all if name not in excluded]
        model = self._quantized(nodes)
        verdict = self._judged(f'accuracy, {len(excluded)} layers left out', model)
        return Attempt(excluded, model, verdict)

    def _judged(self, stage: str, model: Any) -> GateResult:
        told = self._tell(stage, len(self._samples.held_out))
        with SimulatedEngine(self._spec, model, self._settings.threads) as engine:
            return self._judge.judge(engine, told)

    def _costs(self) -> List[LayerCost]:
        inputs = self._few_inputs()
        return layer_costs(
            self._selection.all,
            self._logits(self._model, inputs),
            lambda name: self._logits(self._quantized([name]), inputs),
            self._tell('cost of each layer', len(self._selection.all)),
        )

    def _logits(self, model: Any, inputs: Sequence[np.ndarray]) -> List[np.ndarray]:
        engine = SimulatedEngine(self._spec, model, self._settings.threads)
        with engine:
            return [engine.bare(pixels) for pixels in inputs]


def _mark(model: Any, record: QuantizationRecord) -> None:
    """Write the record into an INT8 model."""
    entries = {entry.key: entry.value for entry in model.metadata_props}
    entries.update(record.as_metadata())
    del model.metadata_props[:]
    for key, value in entries.items():
        model.metadata_props.add(key=key, value=value)


def _silent(stage: str, steps: int) -> Callable[[], object]:
    return lambda: None
