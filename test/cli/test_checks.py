# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What the doctor reads from the processor's description."""

from __future__ import annotations

import importlib.util
import platform
import sys
from pathlib import Path

import pytest

from segformer_ros.cli import checks
from segformer_ros.cli.checks import Finding, Health, examine_machine, examine_software
from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda import driver
from segformer_ros.engines.cuda.driver import Gpu

XEON = 'model name\t: Intel Xeon 6\nflags\t\t: fpu avx2 avx512f avx512_vnni amx_int8 amx_bf16\n'
OLD = 'model name\t: Old CPU\nflags\t\t: fpu sse4_2\n'
ORIN = 'Features\t: fp asimd asimddp\nModel\t\t: Jetson Orin\n'


def examine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, machine: str
) -> dict[str, Finding]:
    """Findings about a processor, by name."""
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    (tmp_path / 'cpuinfo').write_text(text)
    return {finding.name: finding for finding in examine_machine(tmp_path / 'cpuinfo')}


def test_instruction_sets_and_their_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch, XEON, 'x86_64')
    assert found['CPU'].detail.startswith('Intel Xeon 6, ')
    detail = found['instruction sets'].detail
    assert 'VNNI (int8 pays)' in detail
    assert 'AMX' in detail


def test_an_arm_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch, ORIN, 'aarch64')
    assert found['CPU'].detail.startswith('Jetson Orin')
    assert found['instruction sets'].detail == 'NEON (fast fp32), dot product (int8 pays)'


def test_an_old_processor_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = examine(tmp_path, monkeypatch, OLD, 'x86_64')['instruction sets']
    assert found.verdict is Health.WARNING
    assert 'a few frames per second' in found.cure


def test_a_library_that_is_missing_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name: None if name == 'mcap' else find(name)
    )
    found = next(finding for finding in examine_software() if finding.name == 'mcap')
    assert found.verdict is Health.WARNING
    assert found.cure == 'pip install mcap'


@pytest.mark.parametrize(
    ('found', 'verdict', 'cure'),
    [
        ('10.0.0', Health.WARNING, "pip install 'av>=12.1'"),
        ('12.0.5', Health.WARNING, "pip install 'av>=12.1'"),
        ('12.1.0', Health.OK, ''),
        ('13.0rc1', Health.OK, ''),
    ],
)
def test_a_library_that_is_too_old_is_told_of(
    monkeypatch: pytest.MonkeyPatch, found: str, verdict: Health, cure: str
) -> None:
    """One of the system's packages, say, which pip takes for good enough."""
    monkeypatch.setattr(checks, 'installed_version', lambda *names: found)
    finding = next(each for each in examine_software() if each.name == 'av')
    assert (finding.verdict, finding.cure) == (verdict, cure)
    assert finding.detail.startswith(found)


def test_an_openvino_that_gets_masks_wrong_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('openvino.__version__', '2024.1.0-15008-f4afc983258')
    finding = next(each for each in examine_software() if each.name.startswith('OpenVINO'))
    assert finding.verdict is Health.WARNING
    assert finding.detail == 'OpenVINO 2024.1 gets masks wrong, use 2024.4 or later'
    assert finding.cure == 'pip install -U openvino'


ORIN_GPU = Gpu(0, 'Orin', 87, 8 * 2**30, integrated=True, driver='CUDA 12.6')


def no_driver() -> list[Gpu]:
    """A machine without a GPU."""
    raise EngineError('no NVIDIA driver on this machine')


def test_without_a_gpu_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, 'find_gpus', no_driver)
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    findings = list(checks.examine_gpu())
    (tensorrt,) = (finding for finding in findings if finding.name == 'TensorRT')
    assert tensorrt.detail.startswith("not installed (pip install 'segformer_ros[tensorrt]', or [")
    assert findings[0].detail == 'the CPU engine is used: no NVIDIA driver on this machine'
    assert not any(finding.cure for finding in findings)
    assert {finding.verdict for finding in findings} <= {Health.ABSENT, Health.OK}


def test_with_a_gpu_tensorrt_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, 'find_gpus', lambda: [ORIN_GPU])
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    found = {finding.name: finding for finding in checks.examine_gpu()}
    assert found['GPU 0'].detail == 'Orin (sm_87), 8.0 GiB, CUDA 12.6'
    assert found['TensorRT'].verdict is Health.WARNING
    assert 'JetPack' in found['TensorRT'].cure
    assert found['TensorRT'].cure.endswith("elsewhere pip install 'segformer_ros[tensorrt-cu12]'")
    assert found['CUDA binding'].cure == "pip install 'segformer_ros[tensorrt-cu12]'"


@pytest.mark.parametrize(
    ('cuda', 'python', 'extra'),
    [
        ('CUDA 13.0', (3, 12), 'tensorrt'),
        ('CUDA 12.6', (3, 10), 'tensorrt-cu12'),
        ('CUDA 11.4', (3, 8), 'tensorrt'),
        ('CUDA 12.2', (3, 8), 'tensorrt'),  # PyCUDA, which is in that one alone
    ],
)
def test_the_driver_chooses_what_is_installed(
    monkeypatch: pytest.MonkeyPatch, repo: Path, cuda: str, python: tuple[int, int], extra: str
) -> None:
    monkeypatch.setattr(sys, 'version_info', python)
    command = f"pip install 'segformer_ros[{extra}]'"
    assert driver.pip_command(cuda) == command
    assert driver.pip_command().startswith("pip install 'segformer_ros[tensorrt]', or ")
    assert f'\n{extra} =\n' in (repo / 'setup.cfg').read_text()


@pytest.mark.parametrize(
    ('there', 'detail'), [('pycuda', 'pycuda 9.1'), ('cuda.bindings', 'cuda-bindings 9.1')]
)
def test_what_calls_the_driver_is_named(
    there: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, 'find_gpus', lambda: [ORIN_GPU])
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: name if name == there else None)
    monkeypatch.setattr(checks, 'version', lambda distribution: '9.1')
    found = {finding.name: finding for finding in checks.examine_gpu()}
    assert found['CUDA binding'].detail == detail


def test_the_driver_s_version_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / 'version'
    file.write_text('NVRM version: NVIDIA UNIX Open Kernel Module for aarch64  540.4.0  Release\n')
    monkeypatch.setattr(checks, 'DRIVER_VERSION', file)
    monkeypatch.setattr(checks, 'find_gpus', lambda: [ORIN_GPU])
    found = {finding.name: finding for finding in checks.examine_gpu()}
    assert found['driver'].detail == '540.4.0'
