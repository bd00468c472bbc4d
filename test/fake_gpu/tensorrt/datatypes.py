"""DataType, and its likes in numpy and ONNX."""

from __future__ import annotations

from enum import Enum

import numpy as np


class DataType(Enum):
    """Element types of all versions."""

    FLOAT, HALF, INT8, INT32, BOOL, UINT8, INT64 = range(7)


NUMPY = {
    DataType.FLOAT: np.float32,
    DataType.HALF: np.float16,
    DataType.INT32: np.int32,
    DataType.INT64: np.int64,
}
ONNX = {1: DataType.FLOAT, 10: DataType.HALF, 6: DataType.INT32, 7: DataType.INT64}
