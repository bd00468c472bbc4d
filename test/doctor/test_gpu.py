"""What the doctor says of the GPU."""

from __future__ import annotations

import importlib.util

import pytest

from segformer_ros.doctor import Verdict, gpu
from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda.driver import Gpu

ORIN = Gpu(0, 'Orin', 87, 8 * 2**30, integrated=True, driver='CUDA 12.6')


def no_driver() -> list[Gpu]:
    """A machine without a GPU."""
    raise EngineError('no NVIDIA driver on this machine')


def test_without_a_gpu_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, 'find_gpus', no_driver)
    findings = list(gpu.examine_gpu())
    assert findings[0].detail == 'the CPU engine is used: no NVIDIA driver on this machine'
    assert not any(finding.cure for finding in findings)
    assert {finding.verdict for finding in findings} <= {Verdict.ABSENT, Verdict.OK}


def test_with_a_gpu_tensorrt_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, 'find_gpus', lambda: [ORIN])
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    found = {finding.name: finding for finding in gpu.examine_gpu()}
    assert found['GPU 0'].detail == 'Orin (sm_87), 8.0 GiB, CUDA 12.6'
    assert found['TensorRT'].verdict is Verdict.WARNING
    assert 'JetPack' in found['TensorRT'].cure
    assert 'pip install pycuda' in found['PyCUDA'].cure
