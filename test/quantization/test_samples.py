"""Frames to calibrate with, and others to judge by."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.quantization import QuantizationError, Samples, collect_samples
from segformer_ros.quantization.samples import FEW, too_few
from segformer_ros.sources import SourceOptions, open_source


def keys(samples: Samples) -> tuple[set[int], set[int]]:
    calibration, held_out = ({sample.frame.stamp.ns for sample in part} for part in samples)
    return calibration, held_out


def test_no_frame_is_in_both(pictures: Path) -> None:
    options = SourceOptions(labels=pictures / 'labels')
    samples = collect_samples([open_source(pictures / 'images', options)], 8, 4)
    calibration, held_out = keys(samples)
    assert (len(calibration), len(held_out)) == (8, 4)
    assert not calibration & held_out
    assert all(sample.labels is not None for sample in samples.held_out)


def test_few_frames_are_shared_out(pictures: Path) -> None:
    samples = collect_samples([open_source(pictures / 'images')], 64, 32)
    assert (len(samples.calibration), len(samples.held_out)) == (8, 4)
    calibration, held_out = keys(samples)
    assert min(calibration) < min(held_out) and max(calibration) > max(held_out)


def test_too_few_frames_are_said(samples: Samples) -> None:
    sample = samples.calibration[0]
    assert not too_few(Samples([sample] * FEW, [sample] * FEW))
    for calibration, held_out in ((FEW - 1, FEW), (FEW, FEW - 1)):
        words = too_few(Samples([sample] * calibration, [sample] * held_out))
        assert f'only {calibration} frames to calibrate with and {held_out} to judge by' in words
        assert '--frames' in words


def test_frames_are_spread_over_all_sources(pictures: Path) -> None:
    source = open_source(pictures / 'images')
    samples = collect_samples([source, source], 4, 2)
    assert len(samples.calibration) == 4 and len(samples.held_out) == 2


def test_other_frames_can_judge(pictures: Path) -> None:
    source = open_source(pictures / 'images')
    judged = open_source(pictures / 'images', SourceOptions(labels=pictures / 'labels'))
    samples = collect_samples([source], 64, 5, [judged])
    assert (len(samples.calibration), len(samples.held_out)) == (12, 5)
    assert samples.calibration[0].labels is None
    assert all(sample.labels is not None for sample in samples.held_out)


def test_a_source_without_images_is_refused(pictures: Path) -> None:
    for file in sorted((pictures / 'images').iterdir())[1:]:
        file.unlink()
    with pytest.raises(QuantizationError, match='source images has 1 images; give one with at'):
        collect_samples([open_source(pictures / 'images')], 8, 4)


def test_images_that_cannot_be_read_are_said(pictures: Path) -> None:
    for file in (pictures / 'images').iterdir():
        file.write_bytes(b'no image')
    with pytest.raises(QuantizationError, match='too few of the calibration source'):
        collect_samples([open_source(pictures / 'images')], 8, 4)
