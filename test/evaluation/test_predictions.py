"""Predictions as label images."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from segformer_ros.classes import ClassMap, SegClass, load_class_map
from segformer_ros.evaluation import EvaluationError
from segformer_ros.evaluation.predictions import Predictions

TWO = ClassMap('two', (SegClass(0, 'ground', (0, 0, 0)), SegClass(1, 'rest', (9, 9, 9))))


def test_label_ids_of_the_data_set(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path, load_class_map('cityscapes'))
    labels = np.array([[0, 13, 18, 255]], np.uint8)
    predictions.write('aachen', 'aachen_000000_000019', labels)
    written = cv2.imread(str(tmp_path / 'aachen/aachen_000000_000019.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, [[7, 26, 33, 0]])
    np.testing.assert_array_equal(predictions.read('aachen', 'aachen_000000_000019'), labels)


def test_train_ids_where_a_class_map_has_no_others(tmp_path: Path) -> None:
    predictions = Predictions(tmp_path, TWO)
    labels = np.array([[0, 1, 255]], np.uint8)
    predictions.write('room', '000001', labels)
    written = cv2.imread(str(tmp_path / 'room/000001.png'), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(written, labels)
    np.testing.assert_array_equal(predictions.read('room', '000001'), labels)


def test_a_missing_one(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r'7\.png is not there or no image'):
        Predictions(tmp_path, TWO).read('room', '7')
