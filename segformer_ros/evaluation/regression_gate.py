# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Gates: limits that a run's scores must meet, for CI."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

from segformer_ros.documents import DocumentError, read_json
from segformer_ros.errors import reason
from segformer_ros.evaluation.shards import EvaluationError
from segformer_ros.metrics.document import SCHEMA, checked_document

LOWER_IS_BETTER = frozenset(
    (
        *('false_free', 'false_blocked', 'ece', 'flicker', 'class_flicker'),
        *('map_false_free', 'false_on_things'),
        *('bias', 'mean_error', 'p50', 'p95', 'noted'),
    )
)
"""Parts of the names of scores where lower is better; for a bias, its magnitude."""

_COUNTS = frozenset(
    ('schema', 'frames', 'pixels', 'rare', 'instances', 'columns', 'cells', 'maps')
)
"""Parts of the names of counts, which have no upper bound."""
_METRES = tuple(
    f'drivable.metres.{name}' for name in ('margin', 'reach', 'bias', 'mean_error', 'p50', 'p95')
)

_FREE_SPACE = ('false_free', 'false_blocked')


@dataclass(frozen=True)
class Limit:
    """A score's name, as in metrics.json with dots ('iou.road'), and its limit."""

    name: str
    value: float


def parse_limits(text: str) -> Tuple[Limit, ...]:
    """Parse limits such as 'miou=0.6,iou.road=0.95', '' for none; raises EvaluationError."""
    limits = []
    for part in text.split(',') if text else ():
        name, equals, value = part.partition('=')
        try:
            limits.append(Limit(name.strip(), float(value)))
        except ValueError:
            equals = ''
        if not equals or not name.strip() or not math.isfinite(limits[-1].value):
            raise EvaluationError(
                f'gate {part.strip()!r} is not NAME=NUMBER, as in miou=0.6 or iou.road=0.95'
            )
    return tuple(limits)


def read_metrics(path: Path) -> Dict[str, Any]:
    """metrics.json of a finished run, given as the file or its folder; raises EvaluationError."""
    file = path / 'metrics.json' if path.is_dir() else path
    try:
        metrics = read_json(file)
        version = metrics.get('schema') if isinstance(metrics, dict) else None
        if version != SCHEMA:
            raise EvaluationError(
                f'{file} has the schema {reprlib.repr(version)}, this version reads {SCHEMA}; '
                'evaluate again'
            )
        return checked_document(metrics)
    except (OSError, DocumentError) as error:
        wrong = 'cannot be read' if isinstance(error, OSError) else 'is not a metrics.json'
        raise EvaluationError(
            f'{file} {wrong}: {reason(error)}; give the metrics.json of '
            'a finished `segformer evaluate`, or its folder'
        ) from error


def find_score(metrics: Mapping[str, Any], name: str) -> Optional[float]:
    """A score by its dotted name; None where the run does not have it. Raises EvaluationError.

    A distance band is named by its ends, as in 'drivable.metres.bands.5-10.false_free'.
    """
    value: Any = metrics
    left = name
    while left:
        entries = _entries(value)
        fits = [key for key in entries if left == key or left.startswith(f'{key}.')]
        if not fits:
            raise EvaluationError(
                f'no score {name!r} to hold a gate against{_suggestion(metrics, name)}; '
                f'there are {", ".join(_score_names(metrics))}'
            )
        part = max(fits, key=len)  # names of bands have dots of their own
        value, left = entries[part], left[len(part) + 1 :]
        if value is None:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise EvaluationError(f'{name!r} is not a number in metrics.json; a gate needs one')
    return float(value)


def lower_is_better(name: str) -> bool:
    """Whether a smaller value of this score is the better one."""
    return not LOWER_IS_BETTER.isdisjoint(name.split('.'))


def check_gates(
    blank: Mapping[str, Any],
    limits: Tuple[Limit, ...],
    drops: Tuple[Limit, ...] = (),
    baseline: Optional[Mapping[str, Any]] = None,
) -> None:
    """Raise EvaluationError for gates that make no sense: to be called before the work.

    blank: metrics.json of no frame (EvaluationRun.blank). A limit for a share is refused if no run
    can meet it, or none can break it: 1 was meant as 1 %.
    """
    for limit in (*limits, *drops):
        find_score(blank, limit.name)
    for limit in limits:
        _check_share(limit, never=limit.value >= 1 if lower_is_better(limit.name) else False)
    for drop in drops:
        _check_share(drop, never=drop.value >= 1)
        if baseline is not None:
            try:
                find_score(baseline, drop.name)
            except EvaluationError as error:
                raise EvaluationError(f'the baseline has {error}') from error


def baseline_notes(metrics: Mapping[str, Any], baseline: Mapping[str, Any]) -> List[str]:
    """Why a baseline's scores are not comparable with the run's: one line each.

    metrics: of the run; those of no frame (EvaluationRun.blank) suffice.
    """
    return [*_class_notes(metrics, baseline), *_input_notes(metrics, baseline)]


def _class_notes(metrics: Mapping[str, Any], baseline: Mapping[str, Any]) -> List[str]:
    own, others = metrics['classes'], baseline.get('classes') or []
    if own == others:
        return []
    different = sorted(set(own) ^ set(others))
    return [
        f'the baseline scores other classes ({len(others)}, here {len(own)}; '
        + (f'only in one of them: {", ".join(different[:6])}' if different else 'in another order')
        + '): differences of the means are not those of the model'
    ]


def _input_notes(metrics: Mapping[str, Any], baseline: Mapping[str, Any]) -> List[str]:
    own, others = (
        sorted({str(item['name']) for item in each.get('inputs') or []})
        for each in (metrics, baseline)
    )
    if own == others or not others:
        return []
    return [
        f'the baseline is of other recordings ({", ".join(others[:3])}; here {", ".join(own[:3])})'
        ': differences are not those of the model alone'
    ]


def broken_limits(metrics: Mapping[str, Any], limits: Tuple[Limit, ...]) -> List[str]:
    """One line for each limit that the scores do not meet.

    A limit is the lowest value allowed, or the highest one for scores where lower is better. A
    score that the run does not have breaks its gate.
    """
    return [line for line in (_broken_limit(metrics, limit) for limit in limits) if line]


def broken_drops(
    metrics: Mapping[str, Any], baseline: Mapping[str, Any], drops: Tuple[Limit, ...]
) -> List[str]:
    """One line for each score that is worse than the baseline's by more than its limit."""
    return [line for line in (_broken_drop(metrics, baseline, drop) for drop in drops) if line]


def _broken_limit(metrics: Mapping[str, Any], limit: Limit) -> str:
    score = find_score(metrics, limit.name)
    if score is None:
        return f'{limit.name} was not measured; the gate asks for {limit.value:g}'
    if _cost(limit.name, score) <= _cost(limit.name, limit.value):
        return ''
    side = 'above' if lower_is_better(limit.name) else 'below'
    return f'{limit.name} is {score:.4f}, {side} the gate of {limit.value:g}'


def _broken_drop(metrics: Mapping[str, Any], baseline: Mapping[str, Any], drop: Limit) -> str:
    score, before = find_score(metrics, drop.name), find_score(baseline, drop.name)
    if score is None or before is None:
        return f'{drop.name} was not measured in both runs; it may drop by {drop.value:g}'
    units = _free_space_unit(metrics), _free_space_unit(baseline)
    if drop.name in _FREE_SPACE and units[0] != units[1]:
        return (
            f'{drop.name} is measured in {units[0]}, and in {units[1]} in the baseline: give both '
            'runs the same camera (--height, --pitch, --hfov), or neither'
        )
    lost = _cost(drop.name, score) - _cost(drop.name, before)
    if lost <= drop.value:
        return ''
    return (
        f'{drop.name} went from {before:.4f} to {score:.4f}, worse by {lost:.4f}; '
        f'at most {drop.value:g} is allowed'
    )


def _free_space_unit(metrics: Mapping[str, Any]) -> str:
    """The unit of the top-level free-space scores."""
    drivable = metrics.get('drivable') or {}
    return 'metres' if drivable.get('metres') else "shares of the image's height"


def _check_share(limit: Limit, never: bool) -> None:
    """Refuse a limit for a share that is above 1, or that nothing can break (never)."""
    if not _COUNTS.isdisjoint(limit.name.split('.')) or limit.name in _METRES:
        return
    if limit.value > 1 or never:
        percent = f'{limit.value / 100:g} for {limit.value:g} %'
        wrong = 'no run can break' if never else 'no run can keep'
        raise EvaluationError(
            f'{wrong} the gate {limit.name}={limit.value:g}: scores are shares, from 0 to 1; '
            f'give {percent}'
        )


def _entries(value: Any) -> Mapping[str, Any]:
    """The named entries of a part of metrics.json; of a list, its distance bands."""
    if isinstance(value, dict):
        return value
    rows = value if isinstance(value, (list, tuple)) else []
    return {row['band']: row for row in rows if isinstance(row, dict) and 'band' in row}


def _suggestion(metrics: Mapping[str, Any], name: str) -> str:
    """' (did you mean ...?)' where a name of the run is close, else ''."""
    close = get_close_matches(name, _all_names(metrics), n=1, cutoff=0.8)
    return f' (did you mean {close[0]}?)' if close else ''


def _all_names(value: Any, before: str = '') -> List[str]:
    """Names of all scores, including nested ones."""
    names = []
    for name, entry in _entries(value).items():
        if isinstance(entry, (dict, list, tuple)):
            names += _all_names(entry, f'{before}{name}.')
        else:
            names.append(f'{before}{name}')
    return names


def _cost(name: str, value: float) -> float:
    """A score as a number where lower is better."""
    if not lower_is_better(name):
        return -value
    return abs(value) if name.endswith('bias') else value


def _score_names(metrics: Mapping[str, Any]) -> List[str]:
    names = []
    for name, value in metrics.items():
        if isinstance(value, float) or value is None:
            names.append(name)
        elif isinstance(value, dict) and name in ('iou', 'class_boundary_f'):
            names.extend(f'{name}.{entry}' for entry in value)
    return names
