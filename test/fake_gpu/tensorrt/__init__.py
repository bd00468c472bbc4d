"""tensorrt of several versions: the members that each has, on networks that ONNX Runtime runs."""

from __future__ import annotations

from fake_gpu.tensorrt.library import FakeTensorRt
from fake_gpu.tensorrt.plans import MAGIC
from fake_gpu.tensorrt.surfaces import SURFACES

__all__ = ['MAGIC', 'SURFACES', 'FakeTensorRt']
