# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Checks of `segformer doctor` that need no ROS: the machine, the software, the GPU."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from contextlib import suppress
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import AbstractSet, Iterator, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.engines import EngineError, create_engine
from segformer_ros.engines.cuda.driver import find_gpus, pip_command
from segformer_ros.engines.openvino import (
    AMX,
    CPU_INFO,
    VNNI,
    cpu_flags,
    import_openvino,
    openvino_core,
)
from segformer_ros.frame import Frame
from segformer_ros.model import BUNDLED_MODELS, ModelError, ModelSpec, load_model


class Health(Enum):
    """Result of a check."""

    OK = 'ok'
    ABSENT = '-'
    """Not installed, and not needed."""
    WARNING = 'warning'
    """Works, but not as well as it could."""
    BROKEN = 'broken'
    """Something cannot run because of it."""


class Finding(NamedTuple):
    """Result of one check, with what to do about it where something is wrong."""

    part: str
    name: str
    verdict: Health
    detail: str
    cure: str = ''


_MACHINE = 'machine'

MEMORY_INFO = Path('/proc/meminfo')


class _Feature(NamedTuple):
    """An instruction set: the kernel's names for it (any of them), and what it is good for."""

    name: str
    flags: AbstractSet[str]
    use: str


_FEATURES = {
    'x86_64': (
        _Feature('AVX2', {'avx2'}, 'fast fp32'),
        _Feature('AVX-512', {'avx512f'}, 'faster fp32'),
        _Feature('VNNI', VNNI, 'int8 pays'),
        _Feature('AMX', AMX, 'int8 and bf16 pay most'),
    ),
    'aarch64': (
        _Feature('NEON', {'asimd'}, 'fast fp32'),
        _Feature('dot product', {'asimddp'}, 'int8 pays'),
        _Feature('bf16', {'bf16'}, 'bf16 pays'),
    ),
}


def examine_machine(cpu_info: Path = CPU_INFO) -> Iterator[Finding]:
    """The processor, its instruction sets and the memory."""
    text = _read(cpu_info)
    model = re.search(r'^(?:model name|Model)\s*:\s*(.+)$', text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0))
    name = model.group(1).strip() if model else 'unknown processor'
    yield Finding(
        _MACHINE, 'CPU', Health.OK, f'{name}, {cores} usable cores, {platform.machine()}'
    )
    yield _instruction_sets(cpu_flags(cpu_info))
    memory = re.search(r'^MemAvailable:\s*(\d+) kB', _read(MEMORY_INFO), re.MULTILINE)
    if memory:
        yield Finding(
            _MACHINE, 'memory', Health.OK, f'{int(memory.group(1)) / 2**20:.1f} GiB available'
        )


def _instruction_sets(flags: AbstractSet[str]) -> Finding:
    features = _FEATURES.get(platform.machine(), ())
    here = [f'{feature.name} ({feature.use})' for feature in features if feature.flags & flags]
    if not here:
        return Finding(
            _MACHINE,
            'instruction sets',
            Health.WARNING,
            'none that speeds up inference',
            'expect a few frames per second at most on this CPU',
        )
    return Finding(_MACHINE, 'instruction sets', Health.OK, ', '.join(here))


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


_SOFTWARE = 'software'

_ROSBAGS = '0.11.5' if sys.version_info >= (3, 10) else '0.9.20'


class Library(NamedTuple):
    """A library that is needed: its module, the distributions that may provide it, the first of
    which pip installs, its oldest version that will do, and what is lost without it; '' for all.
    """

    module: str
    distributions: Tuple[str, ...]
    oldest: str
    loss: str = ''


LIBRARIES = (
    Library('cv2', ('opencv-python-headless', 'opencv-python', 'opencv'), '4.5.4'),
    Library('onnx', ('onnx',), '1.16'),
    Library('rosbags', ('rosbags',), _ROSBAGS, 'bags cannot be read'),
    Library('mcap', ('mcap',), '1.1', 'bags in mcap files cannot be read or written'),
    Library('av', ('av',), '12.1', 'videos cannot be read or written'),
)
"""As setup.cfg has them. A system package may be older, and pip leaves it as it is."""

_TRIALS = 5
"""Masks that are timed; the fastest counts, as the first ones warm up."""


def examine_software() -> Iterator[Finding]:
    """Python, libraries, the CPU engine and the bundled models."""
    yield Finding(_SOFTWARE, 'Python', Health.OK, platform.python_version())
    for library in LIBRARIES:
        yield _library(library)
    yield _openvino()
    for name in BUNDLED_MODELS:
        yield _bundled_model(name)


def installed_version(*distributions: str) -> Optional[str]:
    """Version of the first of these distributions that is installed."""
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _library(library: Library) -> Finding:
    module, distributions, oldest, loss = library
    verdict, package = Health.WARNING if loss else Health.BROKEN, distributions[0]
    if importlib.util.find_spec(module) is None:
        return Finding(_SOFTWARE, module, verdict, loss or 'missing', f'pip install {package}')
    found = installed_version(*distributions)
    if found is None:  # a system package may have no metadata
        return Finding(_SOFTWARE, module, Health.OK, 'installed')
    if _numbers(found) < _numbers(oldest):
        text = f'{found} is too old, {oldest} is the oldest that will do'
        return Finding(_SOFTWARE, module, verdict, text, f"pip install '{package}>={oldest}'")
    return Finding(_SOFTWARE, module, Health.OK, found)


def _numbers(text: str) -> Tuple[int, ...]:
    """The numbers that a version begins with: (12, 1) for '12.1rc1'."""
    return tuple(int(number) for number in re.findall(r'\d+', re.split(r'[a-z+-]', text)[0]))


def _openvino() -> Finding:
    name = 'OpenVINO (CPU engine)'
    try:
        openvino = import_openvino()
        devices = ', '.join(openvino_core().available_devices)
    except ImportError as error:
        absent = isinstance(error, ModuleNotFoundError)
        return Finding(
            _SOFTWARE,
            name,
            Health.WARNING,
            'missing: no engine for the CPU' if absent else str(error),
            'pip install -U openvino',
        )
    except Exception as error:  # its plugins raise their own kinds
        return Finding(_SOFTWARE, name, Health.BROKEN, str(error), 'pip install -U openvino')
    return Finding(
        _SOFTWARE, name, Health.OK, f'{openvino.__version__.split("-")[0]} on {devices}'
    )


def _bundled_model(name: str) -> Finding:
    title = f'bundled model, {name}' if name else 'bundled model'
    try:
        spec = load_model(name)
    except (ModelError, OSError) as error:
        return Finding(
            _SOFTWARE,
            title,
            Health.BROKEN,
            str(error),
            'reinstall the package, or name another with the parameter `model`',
        )
    size = spec.path.stat().st_size / 2**20
    facts = [
        spec.path.name,
        f'{size:.1f} MiB',
        spec.size_in_words,
        f'{len(spec.class_map)} classes',
        *_cost(spec),
    ]
    return Finding(_SOFTWARE, title, Health.OK, ', '.join(facts))


def _cost(spec: ModelSpec) -> Iterator[str]:
    """The time for a mask on this machine's CPU, in words; nothing where that fails."""
    frame = Frame.from_array(np.zeros((720, 1280, 3), np.uint8))
    seconds = []
    try:
        with create_engine(spec, 'openvino') as engine:
            for _ in range(_TRIALS):
                started = perf_counter()
                engine.segment([frame])
                seconds.append(perf_counter() - started)
    except Exception:  # OpenVINO's faults have a finding of their own
        return
    yield f'{min(seconds) * 1000:.0f} ms a mask of 1280x720 on this CPU'


GPU = 'GPU'

JETSON_RELEASE = Path('/etc/nv_tegra_release')
DRIVER_VERSION = Path('/proc/driver/nvidia/version')

_BINDING = 'CUDA binding'

_TENSORRT = (
    ('tensorrt', ('tensorrt', 'tensorrt_cu12', 'tensorrt_cu13'), 'TensorRT'),
    (
        'tensorrt_rtx',
        ('tensorrt_rtx', 'tensorrt_rtx_cu12', 'tensorrt_rtx_cu13'),
        'TensorRT-RTX',
    ),
)


def examine_gpu() -> Iterator[Finding]:
    """GPUs, TensorRT and the CUDA binding, which are only needed with a GPU."""
    if JETSON_RELEASE.exists():
        release = JETSON_RELEASE.read_text(encoding='utf-8', errors='replace').splitlines()[0]
        yield Finding(GPU, 'Jetson', Health.OK, release.strip('# '))
    version = re.search(r'Kernel Module\s+(?:for \S+\s+)?([\d.]+)', _read(DRIVER_VERSION))
    if version:
        yield Finding(GPU, 'driver', Health.OK, version.group(1))
    try:
        gpus = find_gpus()
    except EngineError as error:
        yield Finding(GPU, 'GPU', Health.ABSENT, f'the CPU engine is used: {error}')
        gpus = []
    for gpu in gpus:
        detail = f'{gpu.label}, {gpu.memory / 2**30:.1f} GiB, {gpu.driver}'
        yield Finding(GPU, f'GPU {gpu.number}', Health.OK, detail)
    yield from _tensorrt(gpus[0].driver if gpus else '')


def _tensorrt(driver: str) -> Iterator[Finding]:
    """TensorRT and the binding, without importing them: some versions crash without a GPU.

    driver: that of the GPU; '' where there is none, so that nothing is missed.
    """
    found = [entry for entry in _TENSORRT if importlib.util.find_spec(entry[0]) is not None]
    for _, distributions, name in found:
        yield Finding(GPU, name, Health.OK, installed_version(*distributions) or 'installed')
    if not found:
        lacking, detail, cure = Health.ABSENT, f'not installed ({pip_command()})', ''
        if driver:
            lacking, detail = Health.WARNING, 'not installed'
            cure = f'JetPack brings it (python3-libnvinfer); elsewhere {pip_command(driver)}'
        yield Finding(GPU, 'TensorRT', lacking, detail, cure)
    yield _binding(driver)


def _binding(driver: str) -> Finding:
    """The CUDA binding: the first of those that `engines.cuda.device` looks for."""
    for module in ('pycuda', 'cuda.bindings'):
        with suppress(ModuleNotFoundError):  # of the parent package `cuda`
            if importlib.util.find_spec(module) is not None:
                name = module.replace('.', '-')
                return Finding(
                    GPU, _BINDING, Health.OK, f'{name} {installed_version(name) or "installed"}'
                )
    lacking, cure = (Health.WARNING, pip_command(driver)) if driver else (Health.ABSENT, '')
    return Finding(GPU, _BINDING, lacking, 'neither PyCUDA nor cuda-bindings', cure)
