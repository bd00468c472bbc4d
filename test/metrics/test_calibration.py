"""Calibration by hand."""

import numpy as np
import pytest

from segformer_ros.metrics.calibration import BINS, Calibration


def test_a_calibrated_model_has_no_error() -> None:
    truth = np.zeros((1, 100), np.uint8)
    predicted = (np.arange(100) >= 60).astype(np.uint8)[None]  # 60 % right
    confidence = np.full((1, 100), 153, np.uint8)  # 153 / 255 = 0.6
    metric = Calibration()
    metric.update(truth, predicted, confidence)
    scores = metric.compute()
    assert scores.ece == 0.0
    filled = np.flatnonzero(scores.pixels)
    assert len(filled) == 1
    assert scores.accuracy[filled[0]] == pytest.approx(0.6)
    assert scores.confidence[filled[0]] == pytest.approx(0.6)


def test_error_is_weighted_by_pixels() -> None:
    truth = np.zeros((1, 4), np.uint8)
    predicted = np.array([[0, 1, 1, 1]], np.uint8)
    confidence = np.array([[255, 255, 255, 0]], np.uint8)
    metric = Calibration()
    metric.update(truth, predicted, confidence)
    # Top bin: 3 pixels, sure, a third right. Lowest bin: 1 pixel, 0 and wrong.
    assert metric.compute().ece == pytest.approx(3 / 4 * 2 / 3)


def test_ignored_pixels_do_not_count() -> None:
    metric = Calibration()
    ignored = np.full((2, 2), 255, np.uint8)
    metric.update(ignored, np.full((2, 2), 255, np.uint8), np.full((2, 2), 9, np.uint8))
    assert metric.counts.sum() == 0
    assert np.isnan(metric.compute().ece)


def test_every_level_has_a_bin() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    metric = Calibration()
    metric.update(np.zeros_like(levels), np.zeros_like(levels), levels)
    pixels = metric.compute().pixels
    assert len(pixels) == BINS
    assert pixels.sum() == 256
    assert pixels.min() >= 256 // BINS
