"""Truth in the classes of the model: brought there by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from segformer_ros.classes import ClassMap, SegClass, load_class_map
from segformer_ros.metrics.truth import truth_table

CITYSCAPES = load_class_map('cityscapes')


@pytest.fixture
def backwards(tmp_path: Path) -> Path:
    """A class map with the names of Cityscapes from last to first."""
    path = tmp_path / 'backwards.txt'
    path.write_text('\n'.join(reversed(CITYSCAPES.names)))
    return path


def test_classes_are_matched_by_name(backwards: Path) -> None:
    assert truth_table(CITYSCAPES, CITYSCAPES, 'the truth') is None
    table = truth_table(CITYSCAPES, load_class_map(backwards), 'the truth')
    assert table is not None
    np.testing.assert_array_equal(table[:19], np.arange(18, -1, -1))
    np.testing.assert_array_equal(table[19:], np.arange(19, 256))


def test_a_reference_without_names_is_taken_as_of_the_models(backwards: Path) -> None:
    entries = tuple(SegClass(index, f'class {index}', (0, 0, 0)) for index in range(19))
    nameless = ClassMap('19 classes', entries)
    assert truth_table(nameless, load_class_map(backwards), 'the reference') is None
