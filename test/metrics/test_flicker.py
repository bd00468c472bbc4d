"""Flicker by hand."""

import numpy as np

from segformer_ros.metrics.flicker import Flicker


def row(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def test_only_pixels_whose_truth_stays_count() -> None:
    metric = Flicker(3)
    metric.update(row(0, 0, 1, 1, 255), row(0, 0, 1, 1, 1))
    metric.update(row(0, 0, 1, 2, 255), row(0, 2, 0, 2, 2))
    np.testing.assert_array_equal(metric.counts, [[2, 1], [1, 1], [0, 0]])
    scores = metric.compute()
    assert scores.overall == 2 / 3
    np.testing.assert_array_equal(scores.by_class, [0.5, 1.0, np.nan])


def test_a_restart_begins_a_new_sequence() -> None:
    metric = Flicker(2)
    metric.update(row(0, 0), row(0, 0))
    metric.restart()
    metric.update(row(0, 0), row(1, 1))
    assert metric.counts.sum() == 0


def test_frames_of_another_size_are_not_compared() -> None:
    metric = Flicker(2)
    metric.update(row(0, 0), row(0, 0))
    metric.update(row(0, 0, 0), row(1, 1, 1))
    assert metric.counts.sum() == 0


def test_a_remembered_frame_is_compared_with_but_not_counted() -> None:
    whole, part = Flicker(2), Flicker(2)
    frames = [row(0, 0), row(0, 1), row(1, 1)]
    for frame in frames:
        whole.update(row(0, 0), frame)
    part.remember(row(0, 0), frames[1])
    part.update(row(0, 0), frames[2])
    first = Flicker(2)
    for frame in frames[:2]:
        first.update(row(0, 0), frame)
    part.merge(first.counts)
    np.testing.assert_array_equal(part.counts, whole.counts)
