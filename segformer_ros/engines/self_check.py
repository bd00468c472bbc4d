# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Self-check: does a model's mask look as if its colours and statistics were the right ones?

A mask changes least in a darker exposure under the contract that the network was trained with. So
real frames are segmented as declared and again under each rival contract, and the changes
compared. Confidence does not choose between contracts: a network trained with much augmentation
is as sure of a picture of half the contrast.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple

import cv2
import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.engines import Engine, Wanted, create_engine
from segformer_ros.frame import Frame
from segformer_ros.model.recognition import OWN
from segformer_ros.model.spec import (
    HALF_MEAN,
    HALF_STD,
    IMAGENET_MEAN,
    IMAGENET_STD,
    ModelSpec,
)

STEADIER = 0.25
"""A rival is reported when the masks as declared change more than the rival's, by this share on
one frame and by this share / sqrt(n) on n frames. Measured with the bundled model on real frames
(doc/measurements/models.md): a wrong contract makes masks change more by 40 to 100 %."""

EXPOSURE = 0.7
"""What the frames are multiplied by to see what changes: half a stop darker."""

FARTHEST = 10.0
"""Inputs beyond this, of either sign, are pixels that nobody scaled. The darker frame does not
show it: without a mean to subtract it differs by a scale, which SegFormer's first layers undo."""

ONE_CLASS = 0.98
"""Share of one class above which a mask says nothing."""

UNSURE = 0.3
"""Mean confidence that every trained model exceeds; the bundled one has 0.9 on real frames."""

MakeEngine = Callable[[ModelSpec], Engine]


class Evidence(NamedTuple):
    """What the masks of some frames look like under one contract.

    changes: share of the pixels that change their class when the frame is darker, 0..1, by frame.
    entropy: of the classes' shares of the pixels, bits.
    largest: name and share of the commonest class.
    confidence: mean probability of the labels, 0..1; None where the model gives labels alone.
    beyond: greatest value in the masks without a class in the class map; None where all have one.
    """

    name: str
    changes: Tuple[float, ...]
    entropy: float
    largest: Tuple[str, float]
    confidence: Optional[float] = None
    beyond: Optional[int] = None

    @property
    def change(self) -> float:
        """Mean share of the pixels that change their class."""
        return float(np.mean(self.changes))


def self_check(
    spec: ModelSpec, frames: Sequence[Frame], make_engine: MakeEngine = create_engine
) -> Tuple[List[Evidence], List[str]]:
    """Evidence under the model's own and each rival contract, and what looks wrong, in words."""
    specs = {'as declared': spec, **rival_specs(spec)}
    evidence = [examine(name, entry, frames, make_engine) for name, entry in specs.items()]
    return evidence, [*contradictions(spec, frames), *findings(evidence)]


def rival_specs(spec: ModelSpec) -> Dict[str, ModelSpec]:
    """The same file under each of the common mistakes in its contract."""
    other = 'bgr' if spec.color == 'rgb' else 'rgb'
    turned = replace(spec, color=other, mean=spec.mean[::-1], std=spec.std[::-1])
    rivals = {f'colours as {other}': turned}
    if spec.contract == OWN:
        return rivals
    order = 1 if spec.color == 'rgb' else -1
    others = {
        f'colours alone as {other}': replace(spec, color=other),
        'statistics of ImageNet': replace(
            spec, mean=IMAGENET_MEAN[::order], std=IMAGENET_STD[::order]
        ),
        'statistics of -1..1': replace(spec, mean=HALF_MEAN, std=HALF_STD),
    }
    for name, rival in others.items():
        if not any(_same_input(rival, known) for known in (spec, *rivals.values())):
            rivals[name] = rival
    return rivals


def _same_input(one: ModelSpec, other: ModelSpec) -> bool:
    """Whether two give a network much the same input."""
    return one.color == other.color and np.allclose(
        (one.mean, one.std), (other.mean, other.std), rtol=0.05
    )


def examine(
    name: str, spec: ModelSpec, frames: Sequence[Frame], make_engine: MakeEngine = create_engine
) -> Evidence:
    """What the masks of the frames look like under one specification."""
    counts = np.zeros(256, np.int64)
    changes: List[float] = []
    confidences: List[float] = []
    with make_engine(spec) as engine:
        for frame in frames:
            result = engine.segment([frame], Wanted(confidence=True))[0]
            counts += np.bincount(result.labels.ravel(), minlength=256)
            darker = Frame.from_array(cv2.convertScaleAbs(frame.bgr(), alpha=EXPOSURE))
            again = engine.segment([darker])[0].labels
            changes.append(float(np.mean(again != result.labels)))
            if result.confidence is not None:
                confidences.append(cv2.mean(result.confidence)[0] / 255.0)
    shares = counts[counts > 0] / counts.sum()
    best = int(counts.argmax())
    names = spec.class_map.names
    nameless = np.flatnonzero(counts[len(names) : IGNORE_ID])
    return Evidence(
        name=name,
        changes=tuple(changes),
        entropy=float(-(shares * np.log2(shares)).sum()),
        largest=(
            names[best] if best < len(names) else f'value {best}',
            counts[best] / counts.sum(),
        ),
        confidence=float(np.mean(confidences)) if confidences else None,
        beyond=len(names) + int(nameless[-1]) if len(nameless) else None,
    )


def contradictions(spec: ModelSpec, frames: Sequence[Frame]) -> List[str]:
    """What looks wrong without running anything."""
    found = []
    height, width = spec.size
    if all((frame.width - frame.height) * (width - height) < 0 for frame in frames):
        found.append(
            f'the input is {width}x{height}, but frames are {frames[0].width}x{frames[0].height} '
            '(width x height): are the sides of its size swapped?'
        )
    ends = [(value - mean) / std for mean, std in zip(spec.mean, spec.std) for value in (0, 255)]
    if spec.input_dtype != 'uint8' and max(map(abs, ends)) > FARTHEST:
        found.append(
            f'the network is fed {min(ends):.0f}..{max(ends):.0f}, where networks take about '
            '-2..2: is std (net-scale-factor) missing?'
        )
    return found


def steadiest(evidence: Sequence[Evidence]) -> Optional[str]:
    """Name of the contract whose masks are steadier than all others', by `STEADIER`; else None."""
    least = 0.5 * max(entry.entropy for entry in evidence)
    full = [entry for entry in evidence if entry.entropy > least]  # an empty mask is steady, too
    best = min(full, key=lambda one: one.change)
    others = [entry for entry in full if entry is not best]
    clear = all(entry.change > _margin(best) * best.change for entry in others)
    return best.name if clear else None


def _margin(evidence: Evidence) -> float:
    return 1.0 + STEADIER / math.sqrt(len(evidence.changes))


def findings(evidence: Sequence[Evidence]) -> List[str]:
    """What looks wrong: the first evidence is the declared contract's, the others its rivals'."""
    own = evidence[0]
    found = []
    if own.beyond is not None:
        found.append(
            f'the masks hold the value {own.beyond}, for which the class map has no name; give '
            'the labels file that belongs to the model'
        )
    if own.largest[1] > ONE_CLASS:
        found.append(
            f'the mask is {own.largest[1]:.0%} {own.largest[0]}: the model does not recognise '
            'anything; are its colours, statistics and size right?'
        )
    if own.confidence is not None and own.confidence < UNSURE:
        found.append(
            f'the model is sure of nothing (mean confidence {own.confidence:.2f}): is it trained, '
            'and are its statistics right?'
        )
    for rival in evidence[1:]:
        says_something = rival.entropy > 0.5 * own.entropy  # an empty mask is steady, too
        if says_something and own.change > _margin(own) * rival.change:
            found.append(
                f'masks are steadier with {rival.name} (in a darker frame {rival.change:.2%} of '
                f'the pixels change their class, {own.change:.2%} as declared): is the contract '
                'right?'
            )
    return found


def as_rows(evidence: Sequence[Evidence]) -> List[Tuple[str, ...]]:
    """Evidence as rows of text: contract, confidence, entropy, change, commonest class."""
    return [
        (
            entry.name,
            '-' if entry.confidence is None else f'{entry.confidence:.3f}',
            f'{entry.entropy:.2f} bit',
            f'{entry.change:.2%}',
            f'{entry.largest[0]} {math.floor(entry.largest[1] * 100)} %',
        )
        for entry in evidence
    ]
