# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Samples: frames of a recording to calibrate with, and others to judge the result by."""

from __future__ import annotations

from pathlib import Path
from typing import List, NamedTuple, Optional, Sequence

import numpy as np

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.frame import Frame
from segformer_ros.metrics.scored_classes import truth_table
from segformer_ros.quantization.qdq import QuantizationError
from segformer_ros.recordings import Source

FEW = 16
"""Frames below which ranges and verdict rest on chance: light and rare classes of a drive change
from place to place, and each of so few frames would stand for more than a sixteenth of it."""


class Sample(NamedTuple):
    """A frame, and its labels (H, W) uint8 train ids where they are known; else why not."""

    frame: Frame
    labels: Optional[np.ndarray]
    error: str = ''


class Samples(NamedTuple):
    """Frames to calibrate with, and frames held out to judge by; none is in both."""

    calibration: List[Sample]
    held_out: List[Sample]


def collect_samples(
    sources: Sequence[Source],
    calibration: int,
    held_out: int,
    judged: Sequence[Source] = (),
    classes: Optional[ClassMap] = None,
) -> Samples:
    """Take frames evenly spread over the sources; raises QuantizationError where they lack.

    The frames to judge by are held out from the sources, unless others are given for it, which
    none of the sources may be. With fewer frames than asked for, they are shared out in the same
    proportion. classes: those of the model, where the labels are to be its train ids.
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
        # Every so many-th is held out, so that both sets see the whole recording.
        apart = [taken[place] for place in _spread(len(taken), kept + 2)[1:-1]] or taken[-1:]
        chosen = [number for number in taken if number not in set(apart)]
    return Samples(
        _read(sources, chosen, 'to calibrate with'),
        _read(judged or sources, apart, 'to judge by', classes),
    )


def too_few(samples: Samples) -> str:
    """What rests on too few frames, and what to do about it; '' where there are enough."""
    calibration, held_out = map(len, samples)
    if min(calibration, held_out) >= FEW:
        return ''
    return (
        f'only {calibration} frames to calibrate with and {held_out} to judge by, so ranges and '
        f'verdict say little; give {FEW} or more of each (--frames, --held-out, and a source with '
        'enough images)'
    )


def too_few_labels(samples: Sequence[Sample], classes: int) -> str:
    """What frames to judge by lack labels of the network's classes; '' where all have them.

    Raises QuantizationError where none has: the verdict would not be what was asked for.
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
                f'{source.name} is to calibrate with and to judge by: the verdict would flatter; '
                'judge by another one, or by frames of it that are held out (without --judge)'
            )


def _place(source: Source) -> Path:
    return source.path.resolve() if source.path else Path(source.name)


def _names(sources: Sequence[Source]) -> str:
    return ', '.join(source.name for source in sources)


def _length(sources: Sequence[Source]) -> int:
    return sum(len(source) for source in sources)


def _spread(total: int, count: int) -> List[int]:
    """At most `count` numbers below `total`, evenly spread, both ends among them."""
    places = np.linspace(0, total - 1, min(total, max(count, 1)))
    return [int(place) for place in np.unique(places.astype(int))]


def _read(
    sources: Sequence[Source],
    numbers: Sequence[int],
    purpose: str,
    classes: Optional[ClassMap] = None,
) -> List[Sample]:
    """The samples of these numbers, counted over all sources, that can be read; one at least."""
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
