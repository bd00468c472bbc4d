# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Gates: what breaks them and how it is said."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.evaluation.regression_gate import (
    Limit,
    baseline_notes,
    broken_drops,
    broken_limits,
    check_gates,
    find_score,
    parse_limits,
    read_metrics,
)
from segformer_ros.evaluation.shards import EvaluationError

METRICS = {
    'schema': 1,
    'miou': 0.5,
    'false_free': 0.02,
    'iiou': None,
    'iou': {'road': 0.95, 'rider': None},
    'classes': ['road', 'rider'],
}


def test_parsing() -> None:
    assert parse_limits('miou=0.6, iou.traffic sign=.5') == (
        Limit('miou', 0.6),
        Limit('iou.traffic sign', 0.5),
    )
    assert parse_limits('') == ()


@pytest.mark.parametrize('text', ['miou', 'miou=high', '=0.5', 'miou=0.5,', 'miou=nan'])
def test_what_is_no_gate(text: str) -> None:
    with pytest.raises(EvaluationError, match=r'is not NAME=NUMBER, as in miou=0\.6'):
        parse_limits(text)


def test_kept_limits_say_nothing() -> None:
    assert broken_limits(METRICS, parse_limits('miou=0.5,iou.road=0.95,false_free=0.02')) == []


def test_each_broken_limit_is_a_line() -> None:
    assert broken_limits(METRICS, parse_limits('miou=0.6,iou.road=0.96,false_free=0.01')) == [
        'miou is 0.5000, below the gate of 0.6',
        'iou.road is 0.9500, below the gate of 0.96',
        'false_free is 0.0200, above the gate of 0.01',
    ]


@pytest.mark.parametrize(
    'name', ['drivable.metres.p50', 'class_flicker.road', 'class_flicker.traffic sign']
)
def test_what_is_better_when_lower(name: str) -> None:
    """Wherever in the name it stands."""
    metrics: Any = 0.4
    for part in reversed(name.split('.')):
        metrics = {part: metrics}
    assert broken_limits(metrics, (Limit(name, 0.5),)) == []
    assert broken_limits(metrics, (Limit(name, 0.3),)) == [
        f'{name} is 0.4000, above the gate of 0.3'
    ]


def test_a_bias_counts_to_either_side() -> None:
    metrics, baseline = ({'drivable': {'metres': {'bias': bias}}} for bias in (-0.4, 0.1))
    name = 'drivable.metres.bias'
    assert broken_limits(metrics, (Limit(name, 0.5),)) == []
    assert broken_limits(metrics, (Limit(name, 0.3),)) == [
        f'{name} is -0.4000, above the gate of 0.3'
    ]
    assert broken_drops(metrics, baseline, (Limit(name, 0.2),)) == [
        f'{name} went from 0.1000 to -0.4000, worse by 0.3000; at most 0.2 is allowed'
    ]


def test_what_was_not_measured_breaks_its_gate() -> None:
    assert broken_limits(METRICS, parse_limits('iou.rider=0.1,iiou=0.1')) == [
        'iou.rider was not measured; the gate asks for 0.1',
        'iiou was not measured; the gate asks for 0.1',
    ]


@pytest.mark.parametrize('name', ['miuo', 'iou.tram', 'miou.road'])
def test_an_unknown_score_is_an_error(name: str) -> None:
    with pytest.raises(EvaluationError, match=rf"no score '{name}' .* there are miou, false_free"):
        broken_limits(METRICS, (Limit(name, 0.5),))


def test_a_list_is_no_score() -> None:
    with pytest.raises(EvaluationError, match="'classes' is not a number"):
        broken_limits(METRICS, (Limit('classes', 0.5),))


def band_metrics(false_free: float) -> dict[str, Any]:
    rows = [{'band': name, 'columns': 9, 'false_free': false_free} for name in ('0-0.1', '0.1-')]
    return {'drivable': {'rows': {'bands': rows}}}


@pytest.mark.parametrize('band', ['0-0.1', '0.1-'])
def test_a_gate_for_a_distance_band(band: str) -> None:
    name = f'drivable.rows.bands.{band}.false_free'
    assert broken_limits(band_metrics(0.2), (Limit(name, 0.2),)) == []
    assert broken_limits(band_metrics(0.2), (Limit(name, 0.1),)) == [
        f'{name} is 0.2000, above the gate of 0.1'
    ]
    with pytest.raises(EvaluationError, match=r"no score 'drivable\.rows\.bands\.0\.2-"):
        broken_limits(band_metrics(0.2), (Limit('drivable.rows.bands.0.2-.false_free', 0.1),))


def test_a_name_that_is_close_is_suggested() -> None:
    with pytest.raises(EvaluationError, match=r"'iou\.raod' .* \(did you mean iou\.road\?\)"):
        find_score(METRICS, 'iou.raod')


@pytest.mark.parametrize(
    ('gate', 'words'),
    [
        ('false_free=1', r'no run can break the gate false_free=1: .* give 0\.01 for 1 %'),
        ('false_free=5', r'no run can break the gate false_free=5: .* give 0\.05 for 5 %'),
        ('miou=70', r'no run can keep the gate miou=70: .* give 0\.7 for 70 %'),
        ('iou.road=95', r'no run can keep .* give 0\.95 for 95 %'),
    ],
)
def test_percent_for_shares_is_refused(gate: str, words: str) -> None:
    with pytest.raises(EvaluationError, match=words):
        check_gates(METRICS, parse_limits(gate))


def test_limits_above_one_of_counts_and_metres() -> None:
    metrics = {'miou': 0.5, 'frames': {'noted': 2}, 'drivable': {'metres': {'p95': 3.0}}}
    check_gates(metrics, parse_limits('miou=1,frames.noted=3,drivable.metres.p95=4'))
    with pytest.raises(EvaluationError, match='no run can break the gate miou=1'):
        check_gates(metrics, (), parse_limits('miou=1'))


def test_drops_need_their_names_in_the_baseline() -> None:
    baseline = {**METRICS, 'iou': {'road': 0.9}, 'classes': ['road']}
    check_gates(METRICS, (), parse_limits('iou.road=0.1'), baseline)
    with pytest.raises(EvaluationError, match=r"the baseline has no score 'iou\.rider'"):
        check_gates(METRICS, (), parse_limits('iou.rider=0.1'), baseline)


def test_a_baseline_of_other_classes_is_noted() -> None:
    assert baseline_notes(METRICS, METRICS) == []
    (note,) = baseline_notes(METRICS, {**METRICS, 'classes': ['road', 'tram']})
    assert 'other classes (2, here 2; only in one of them: rider, tram)' in note
    (note,) = baseline_notes(METRICS, {**METRICS, 'classes': ['rider', 'road']})
    assert 'in another order' in note


def test_a_baseline_of_other_recordings_is_noted() -> None:
    own = {**METRICS, 'inputs': [{'name': 'drive', 'frames': 3}]}
    assert baseline_notes(own, own) == []
    (note,) = baseline_notes(own, {**METRICS, 'inputs': [{'name': 'street_3', 'frames': 3}]})
    assert 'of other recordings (street_3; here drive)' in note


def test_metres_are_not_compared_with_shares_of_the_height() -> None:
    metres = {**METRICS, 'drivable': {'metres': {'false_free': 0.02}, 'rows': {}}}
    rows = {**METRICS, 'drivable': {'metres': None, 'rows': {'false_free': 0.02}}}
    drops = parse_limits('false_free=0.5')
    (line,) = broken_drops(metres, rows, drops)
    assert line.startswith("false_free is measured in metres, and in shares of the image's height")
    assert broken_drops(rows, metres, drops)
    assert broken_drops(metres, metres, drops) == broken_drops(rows, rows, drops) == []


def test_drops_against_a_baseline() -> None:
    baseline = {**METRICS, 'miou': 0.52, 'false_free': 0.01}
    drops = parse_limits('miou=0.03,false_free=0.005,iou.road=0')
    assert broken_drops(METRICS, baseline, drops) == [
        'false_free went from 0.0100 to 0.0200, worse by 0.0100; at most 0.005 is allowed'
    ]
    assert broken_drops(METRICS, baseline, parse_limits('miou=0.01')) == [
        'miou went from 0.5200 to 0.5000, worse by 0.0200; at most 0.01 is allowed'
    ]
    assert broken_drops(baseline, METRICS, drops) == []


def test_reading(tmp_path: Path) -> None:
    file = tmp_path / 'metrics.json'
    with pytest.raises(EvaluationError, match=r'metrics\.json cannot be read: no such file'):
        read_metrics(tmp_path)
    file.write_text('{"schema": 99}')
    with pytest.raises(EvaluationError, match='has the schema 99, this version reads 1'):
        read_metrics(file)
    file.write_text(json.dumps(METRICS))
    assert read_metrics(tmp_path) == read_metrics(file) == METRICS


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'miou': [0.5]}, r'miou: \[0.5\] is not a number'),
        ({'miou': 'high'}, "miou: 'high' is not a number"),
        ({'iou': 3}, 'iou: 3 is not a mapping'),
        ({'iou': {'road': {}}}, r'iou\.road: {} is not a number'),
        ({'classes': 'road'}, "classes: 'road' is not a list"),
        (
            {'classes': ['a', 'b'], 'confusion': [[1, 2]]},
            'confusion: .* is not of 2 classes|not a list',
        ),
        ({'classes': ['a', 'b'], 'confusion': [[1, -2], [3, 4]]}, r'confusion\[0\]\[1\]: -2'),
        ({'classes': ['a', 'b'], 'no_class': [1, 2, 3]}, 'no_class: .* is not of 2 classes'),
        ({'inputs': [{}]}, r'inputs\[0\]: .* lacks name'),
        ({'drivable': {'metres': {'bands': [{'columns': 1}]}}}, r'bands\[0\]: .* lacks band'),
        ({'frames': -1}, 'frames: -1 is not a mapping'),
    ],
)
def test_every_value_is_looked_at(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    file = tmp_path / 'metrics.json'
    file.write_text(json.dumps({**METRICS, **changes}))
    with pytest.raises(EvaluationError, match=words):
        read_metrics(file)


@pytest.mark.parametrize('text', ['[' * 100_000, '{"schema": 1, "miou": 1e999}', '[]', '\xff'])
def test_what_is_no_metrics_json_is_said(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'metrics.json'
    file.write_bytes(text.encode('latin-1'))
    with pytest.raises(EvaluationError, match=r'metrics\.json (is not a|has the schema)'):
        read_metrics(file)


@pytest.mark.timeout(20)
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / 'metrics.json')
    with pytest.raises(EvaluationError, match='it is a device or a pipe'):
        read_metrics(tmp_path)
