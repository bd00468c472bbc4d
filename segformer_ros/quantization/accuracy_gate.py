# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The accuracy gate: how much a rounded model differs from its FP32 model, and how much may be."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.engines import Engine
from segformer_ros.metrics.metric import mean_of
from segformer_ros.metrics.pixel_metrics import ConfusionMatrix, ConfusionScores
from segformer_ros.quantization.samples import Sample

LEAST_SHARE = 1e-4
"""Share of the FP32 labels from which on a class counts in the agreement: the IoU of a rarer one,
which is the edge of an object or two, is chance."""

_NAMED = 3
"""Classes that a failure names."""


@dataclass(frozen=True)
class Gate:
    """What a model in INT8 or FP16 must reach.

    agreement: mean IoU of its labels with the FP32 model's, asked for where no truth is known.
    loss: mean IoU that it may lose against the truth, where that is known (0.005 is half a point).
    """

    agreement: float = 0.99
    loss: float = 0.005


@dataclass(frozen=True)
class GateResult:
    """How a rounded model compares with its FP32 one, on frames that it was not calibrated with.

    agreement, pixel_agreement: mean IoU, of the classes that count, and share of pixels with the
    FP32 labels as truth. class_agreement: IoU by class name, of those that occur; rare: pixels of
    those among them that do not count. miou_fp32, miou: against the truth; class_iou: (FP32,
    rounded) IoU by class name; None and empty where there is no truth.
    """

    frames: int
    agreement: float
    pixel_agreement: float
    class_agreement: Dict[str, float]
    miou_fp32: Optional[float] = None
    miou: Optional[float] = None
    class_iou: Optional[Dict[str, Tuple[float, float]]] = None
    rare: Dict[str, int] = field(default_factory=dict)

    @property
    def loss(self) -> Optional[float]:
        """Mean IoU lost against the truth; None where there is none."""
        if self.miou is None or self.miou_fp32 is None:
            return None
        return self.miou_fp32 - self.miou

    def failures(self, gate: Gate) -> List[str]:
        """Why the gate is not passed, in words; empty where it is."""
        if self.loss is not None:
            if self.loss <= gate.loss:
                return []
            return [
                f'mean IoU falls by {100 * self.loss:.2f} points ({100 * gate.loss:g} may be '
                f'lost){self._most_lost()}'
            ]
        if self.agreement >= gate.agreement:
            return []
        return [
            f'agreement with FP32 is {self.agreement:.4f} (at least {gate.agreement:g} '
            f'asked){self._least_agreed()}'
        ]

    def shortfall(self, gate: Gate) -> float:
        """How far from passing; 0 or less where the gate is passed."""
        if self.loss is not None:
            return self.loss - gate.loss
        return gate.agreement - self.agreement

    def _most_lost(self) -> str:
        lost = {name: before - after for name, (before, after) in (self.class_iou or {}).items()}
        dearest = sorted(lost, key=lost.__getitem__, reverse=True)[:_NAMED]
        return _listed('most of it in', [f'{name} ({100 * lost[name]:.1f})' for name in dearest])

    def _least_agreed(self) -> str:
        counted = {n: iou for n, iou in self.class_agreement.items() if n not in self.rare}
        least = sorted(counted, key=counted.__getitem__)[:_NAMED]
        return _listed('least for', [f'{name} ({counted[name]:.3f})' for name in least])


def _listed(words: str, items: Sequence[str]) -> str:
    return f', {words} {", ".join(items)}' if items else ''


class Judge:
    """Compares models with the FP32 one on the same frames; its labels are made once."""

    def __init__(self, reference: Engine, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._names = reference.spec.class_map.names
        self._labels = [reference.segment([sample.frame])[0].labels for sample in samples]

    def judge(self, engine: Engine, told: Callable[[], object] = lambda: None) -> GateResult:
        """Compare an engine that is active. told: called after each frame."""
        agreement = ConfusionMatrix(len(self._names))
        truth_fp32 = ConfusionMatrix(len(self._names))
        truth = ConfusionMatrix(len(self._names))
        for sample, reference in zip(self._samples, self._labels):
            labels = engine.segment([sample.frame])[0].labels
            agreement.update(reference, labels)
            if sample.labels is not None:
                truth_fp32.update(sample.labels, reference)
                truth.update(sample.labels, labels)
            told()
        scores = agreement.compute()
        counts = scores.pixels >= LEAST_SHARE * scores.pixels.sum()
        rare = zip(self._names, scores.pixels, counts)
        verdict = GateResult(
            frames=len(self._samples),
            agreement=mean_of(scores.iou[counts]),
            pixel_agreement=scores.pixel_accuracy,
            class_agreement=dict(self._present(scores)),
            rare={name: int(pixels) for name, pixels, counted in rare if pixels and not counted},
        )
        if not truth.counts.any():
            return verdict
        before, after = truth_fp32.compute(), truth.compute()
        quantized = dict(self._present(after))
        return replace(
            verdict,
            miou_fp32=before.miou,
            miou=after.miou,
            class_iou={name: (iou, quantized[name]) for name, iou in self._present(before)},
        )

    def _present(self, scores: ConfusionScores) -> Iterable[Tuple[str, float]]:
        """Names and IoU of the classes that the truth has."""
        return [
            (name, float(iou))
            for name, iou, pixels in zip(self._names, scores.iou, scores.pixels)
            if pixels and not np.isnan(iou)
        ]
