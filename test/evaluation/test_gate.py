"""Gates: what breaks them and how it is said."""

import json
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.evaluation import EvaluationError
from segformer_ros.evaluation.gate import (
    Limit,
    broken_drops,
    broken_limits,
    parse_limits,
    read_metrics,
)

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
