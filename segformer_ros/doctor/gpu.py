"""The GPU, and TensorRT on it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Iterator

from segformer_ros.doctor.finding import Finding, Verdict
from segformer_ros.doctor.software import installed_version
from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda.driver import find_gpus

_PART = 'GPU'

JETSON_RELEASE = Path('/etc/nv_tegra_release')

_TENSORRT = (
    ('tensorrt', ('tensorrt', 'tensorrt_cu12', 'tensorrt_cu13'), 'TensorRT'),
    ('tensorrt_rtx', ('tensorrt_rtx',), 'TensorRT-RTX'),
)


def examine_gpu() -> Iterator[Finding]:
    """GPUs, TensorRT and PyCUDA; without a GPU their absence is no fault."""
    if JETSON_RELEASE.exists():
        release = JETSON_RELEASE.read_text(encoding='utf-8', errors='replace').splitlines()[0]
        yield Finding(_PART, 'Jetson', Verdict.OK, release.strip('# '))
    try:
        gpus = find_gpus()
    except EngineError as error:
        yield Finding(_PART, 'GPU', Verdict.ABSENT, f'the CPU engine is used: {error}')
        gpus = []
    for gpu in gpus:
        detail = f'{gpu.label}, {gpu.memory / 2**30:.1f} GiB, {gpu.driver}'
        yield Finding(_PART, f'GPU {gpu.number}', Verdict.OK, detail)
    yield from _tensorrt(bool(gpus))


def _tensorrt(wanted: bool) -> Iterator[Finding]:
    """Looked for without importing: some versions crash where no GPU can be used."""
    lacking = Verdict.WARNING if wanted else Verdict.ABSENT
    found = [entry for entry in _TENSORRT if importlib.util.find_spec(entry[0]) is not None]
    for _, distributions, name in found:
        yield Finding(_PART, name, Verdict.OK, installed_version(*distributions) or 'installed')
    if not found:
        yield Finding(
            _PART, 'TensorRT', lacking, 'not installed',
            'JetPack brings it (python3-libnvinfer); elsewhere pip install tensorrt'
            if wanted else '',
        )  # fmt: skip
    if importlib.util.find_spec('pycuda') is None:
        yield Finding(
            _PART, 'PyCUDA', lacking, 'not installed',
            "pip install pycuda, with the CUDA toolkit's bin folder in PATH" if wanted else '',
        )  # fmt: skip
    else:
        yield Finding(_PART, 'PyCUDA', Verdict.OK, installed_version('pycuda') or 'installed')
