# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The accuracy gate: how much an INT8 or FP16 model may differ from its FP32 model.

It is judged on samples, which are frames of recordings: some are the calibration set, others are
held out for the judgement.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Callable, Dict, Iterable, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.engines import Engine
from segformer_ros.errors import SegformerError
from segformer_ros.frame import Frame
from segformer_ros.metrics.metric import mean_of, truth_table
from segformer_ros.metrics.pixel_metrics import ConfusionMatrix, ConfusionScores
from segformer_ros.recordings import Source

FEW = 16
"""Frames below which ranges and verdict are a matter of chance: light and rare classes vary along
a drive, and each of so few frames would represent more than a sixteenth of it."""


class QuantizationError(SegformerError, RuntimeError):
    """A model that cannot be quantised, or not well enough: says why and what to do."""


class Sample(NamedTuple):
    """A frame, and its labels, (H, W) uint8 train ids; without any, error says why."""

    frame: Frame
    labels: Optional[np.ndarray]
    error: str = ''


class Samples(NamedTuple):
    """The calibration set, and the frames to judge by; no frame is in both."""

    calibration: List[Sample]
    held_out: List[Sample]


def collect_samples(
    sources: Sequence[Source],
    calibration: int,
    held_out: int,
    judged: Sequence[Source] = (),
    classes: Optional[ClassMap] = None,
) -> Samples:
    """Take frames evenly spread over the sources; raises QuantizationError if there are too few.

    The frames to judge by are held out from the sources, unless `judged` are given, which must be
    other recordings. Fewer frames than asked for are divided in the same proportion. classes: the
    model's, if the labels are to be mapped to its train ids.
    """
    needed = 1 if judged else 2
    _check_count(sources, 'calibration source', needed)
    if judged:
        _check_count(judged, 'source to judge by', 1)
        _check_apart(sources, judged)
        chosen, apart = _spread(_length(sources), calibration), _spread(_length(judged), held_out)
    else:
        taken = _spread(_length(sources), calibration + held_out)
        kept = max(1, round(len(taken) * held_out / (calibration + held_out)))
        # Held out at regular intervals, so that both sets cover the whole recording.
        apart = [taken[place] for place in _spread(len(taken), kept + 2)[1:-1]] or taken[-1:]
        chosen = [number for number in taken if number not in set(apart)]
    return Samples(
        _read(sources, chosen, 'to calibrate with'),
        _read(judged or sources, apart, 'to judge by', classes),
    )


def too_few(samples: Samples) -> str:
    """A warning if there are too few frames, with what to do; else ''."""
    calibration, held_out = map(len, samples)
    if min(calibration, held_out) >= FEW:
        return ''
    return (
        f'only {calibration} frames to calibrate with and {held_out} to judge by, so ranges and '
        f'verdict say little; give {FEW} or more of each (--frames, --held-out, and a source with '
        'enough images)'
    )


def too_few_labels(samples: Sequence[Sample], classes: int) -> str:
    """A warning on frames to judge by without labels of the network's classes; '' for none.

    Raises QuantizationError where no frame has any: the gate that was asked for cannot be judged.
    """
    lacking = [sample for sample in samples if not _is_labelled(sample, classes)]
    if not lacking:
        return ''
    reason = lacking[0].error or f'its labels are none of the {classes} train ids'
    if len(lacking) == len(samples):
        raise QuantizationError(
            f'none of the {len(samples)} frames to judge by has labels; the first: {reason}; '
            'without --labels masks are compared with those of FP32'
        )
    return f'{len(lacking)} of {len(samples)} frames to judge by have no labels: {reason}'


def _is_labelled(sample: Sample, classes: int) -> bool:
    return sample.labels is not None and bool((sample.labels < classes).any())


def _check_count(sources: Sequence[Source], purpose: str, needed: int) -> None:
    if _length(sources) < needed:
        raise QuantizationError(
            f'the {purpose} {_names(sources)} has {_length(sources)} images; give one with at '
            f'least {needed}, and better some hundred from where the robot drives'
        )


def _check_apart(sources: Sequence[Source], judged: Sequence[Source]) -> None:
    calibrating = [_place(source) for source in sources]
    for source in judged:
        if _place(source) in calibrating:
            raise QuantizationError(
                f'{source.name} is both to calibrate with and to judge by, which would flatter '
                'the result; judge by another one, or by held-out frames of it (without --judge)'
            )


def _place(source: Source) -> Path:
    return source.path.resolve() if source.path else Path(source.name)


def _names(sources: Sequence[Source]) -> str:
    return ', '.join(source.name for source in sources)


def _length(sources: Sequence[Source]) -> int:
    return sum(len(source) for source in sources)


def _spread(total: int, count: int) -> List[int]:
    """At most `count` indices below `total`, evenly spread, including both ends."""
    places = np.linspace(0, total - 1, min(total, max(count, 1)))
    return [int(place) for place in np.unique(places.astype(int))]


def _read(
    sources: Sequence[Source],
    numbers: Sequence[int],
    purpose: str,
    classes: Optional[ClassMap] = None,
) -> List[Sample]:
    """The readable ones of these samples, numbered over all sources; raises if there are none."""
    samples: List[Sample] = []
    faults: List[str] = []
    first = 0
    for source in sources:
        table = None
        if classes is not None and source.class_map:
            truth, whose = load_class_map(source.class_map), f'the truth of {source.name}'
            table = truth_table(truth, classes, whose, source.class_map_given)
        for number in numbers:
            if first <= number < first + len(source):
                for entry in source.frames(number - first, number - first + 1):
                    if entry.frame is None:
                        faults.append(f'{entry.key}: {entry.error}')
                    else:
                        labels = entry.labels
                        if table is not None and labels is not None:
                            labels = table[labels]
                        samples.append(Sample(entry.frame, labels, entry.error or ''))
        first += len(source)
    if not samples:
        raise QuantizationError(
            f'none of the {len(numbers)} images of {_names(sources)} {purpose} can be read; the '
            f'first: {"; ".join(faults[:1])}'
        )
    return samples


LEAST_SHARE = 1e-4
"""Share of the FP32 labels above which a class counts in the agreement: the IoU of a rarer one,
such as the edges of an object or two, is a matter of chance."""

_NAMED = 3
"""Most classes that a failure lists."""


@dataclass(frozen=True)
class Gate:
    """The accuracy that a model in INT8 or FP16 must reach.

    agreement: least mean IoU of its labels with the FP32 model's, if no truth is known.
    loss: most mean IoU that it may lose against the truth, if that is known (0.005 is half a
    point).
    """

    agreement: float = 0.99
    loss: float = 0.005


@dataclass(frozen=True)
class GateResult:
    """How an INT8 or FP16 model compares with its FP32 one, on frames outside the calibration set.

    agreement, pixel_agreement: mean IoU (without rare classes) and pixel accuracy, with the FP32
    labels as truth. class_agreement: IoU by name of the classes that occur; rare: pixels of those
    that are too rare to count. miou_fp32, miou: against the truth; class_iou: (FP32, own) IoU by
    class name; None where there is no truth.
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
    """Compares models with the FP32 one on the same frames; the reference labels are made once."""

    def __init__(self, reference: Engine, samples: Sequence[Sample]) -> None:
        self._samples = samples
        self._names = reference.spec.class_map.names
        self._labels = [reference.segment([sample.frame])[0].labels for sample in samples]

    def judge(self, engine: Engine, told: Callable[[], object] = lambda: None) -> GateResult:
        """Compare an active engine. told: called after each frame."""
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
        """Names and IoU of the classes that occur in the truth."""
        return [
            (name, float(iou))
            for name, iou, pixels in zip(self._names, scores.iou, scores.pixels)
            if pixels and not np.isnan(iou)
        ]
