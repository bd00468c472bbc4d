"""Ranges of activations: histograms over frames, and where they are cut."""

from __future__ import annotations

import numpy as np
import pytest

from segformer_ros.quantization.ranges import BINS, Histogram, choose_limits


def histogram(*parts: np.ndarray) -> Histogram:
    result = Histogram()
    for part in parts:
        result.add(part)
    return result


@pytest.fixture
def normal() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, 200_000).astype(np.float32)


def test_every_value_is_counted_though_the_limit_grows(normal: np.ndarray) -> None:
    parts = [normal * scale for scale in (1, 100, 0.01, 3)]
    merged = histogram(*parts)
    assert merged.counts.sum() == sum(map(len, parts))
    greatest = max(float(np.abs(part).max()) for part in parts)
    assert greatest <= merged.limit <= 2 * greatest
    assert merged.greatest() == pytest.approx(greatest, abs=merged.limit / BINS)


@pytest.mark.parametrize('percent', [50.0, 99.0, 99.9])
def test_percentiles_are_those_of_the_values(normal: np.ndarray, percent: float) -> None:
    exact = np.percentile(np.abs(normal), percent)
    assert histogram(normal).percentile(percent) == pytest.approx(exact, abs=0.01)


def test_an_outlier_moves_the_greatest_and_not_the_percentile(normal: np.ndarray) -> None:
    spoilt = histogram(np.append(normal, np.float32(1000.0)))
    assert spoilt.greatest() == pytest.approx(1000, rel=0.01)
    assert spoilt.percentile(99.9) < 5
    assert spoilt.entropy() < 200


def test_entropy_clips_a_long_tail_and_keeps_a_flat_distribution(normal: np.ndarray) -> None:
    tail = np.random.default_rng(1).standard_t(3, 200_000).astype(np.float32)
    assert 5 < histogram(tail).entropy() < 0.3 * np.abs(tail).max()
    flat = np.random.default_rng(1).uniform(-1, 1, 200_000).astype(np.float32)
    assert histogram(flat).entropy() > 0.95


def test_zeros_do_not_narrow_what_entropy_keeps(normal: np.ndarray) -> None:
    positive = np.abs(normal)
    with_zeros = np.append(positive, np.zeros(10 * len(normal), np.float32))
    assert histogram(with_zeros).entropy() == pytest.approx(histogram(positive).entropy(), rel=0.1)


def test_zeros_have_no_range() -> None:
    zeros = histogram(np.zeros(100, np.float32))
    assert choose_limits({'x': zeros}, 'max', 99.9) == {'x': 0.0}
    assert zeros.entropy() == 0.0
    zeros.add(np.array([2.0], np.float32))
    assert zeros.counts.sum() == 101 and zeros.greatest() == 2.0


def test_values_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match='infinite or undefined'):
        histogram(np.array([1.0, np.inf], np.float32))


def test_values_next_to_nothing_are_nothing() -> None:
    histogram = Histogram()
    histogram.add(np.full(10, 1e-40, np.float32))
    assert histogram.greatest() == 0.0
    histogram.add(np.full(10, 2.0, np.float32))
    assert histogram.greatest() == pytest.approx(2.0, rel=0.01)
