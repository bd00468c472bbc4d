# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Every check over a GPU that is not there: a right engine passes, a wrong one is found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from engine_rig import SIZE
from fake_gpu import MAGIC, MakeMachine

from segformer_ros.engines import EngineError, Traffic, cache, tensorrt
from segformer_ros.engines.cache import Entry
from segformer_ros.engines.cuda.compile import CompilerMissing, UnknownGpu
from segformer_ros.engines.cuda.device_frame import frame_on_device
from segformer_ros.engines.cuda.driver import select_gpu
from segformer_ros.engines.tensorrt import TensorRtEngine
from segformer_ros.frame import Frame, Segmentation, StageTimes
from segformer_ros.verification import engine_trial, kernel_checks, steps
from segformer_ros.verification.checklist import Check, Checklist, NotApplicable, Plan, Verdict
from segformer_ros.verification.engine_trial import EngineTrial
from segformer_ros.verification.steps import _compiled, all_steps
from tiny_models import painting, save_network

Verify = Callable[..., dict[str, Check]]


@pytest.fixture
def verify(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Verify:
    """Make the checks on a small network: verify('fp16'), by 'part: name'."""
    monkeypatch.setattr(kernel_checks, 'FRAME', (54, 96))
    monkeypatch.setattr(kernel_checks, 'NETWORK', (64, 64))
    monkeypatch.setattr(kernel_checks, 'COPIED', 1 << 20)
    monkeypatch.setattr(engine_trial, '_REPEATED', 6)
    monkeypatch.setattr(engine_trial, '_OVERLAPPED', 4)
    monkeypatch.setattr(engine_trial, '_ROUNDS', 2)
    (tmp_path / 'frames').mkdir()
    for number in range(4):
        image = painting(90, 160, seed=number)[0]
        cv2.imwrite(str(tmp_path / 'frames' / f'{number}.png'), image)

    def make(
        *precisions: str,
        kernels: bool = False,
        loses: bool = False,
        gpu: bool = True,
        batches: Sequence[int] = (1, 2),
    ) -> dict[str, Check]:
        checklist = Checklist()
        plan = Plan(
            save_network(tmp_path / 'palette.onnx', SIZE),
            tmp_path / 'built',
            str(tmp_path / 'frames'),
            (90, 160),
            precisions,
            batches=batches,
            seconds=0.01,
        )
        found = select_gpu(0) if gpu else None
        every = all_steps(plan, found, '' if gpu else 'no GPU', checklist.speeds, None, loses)
        parts = {*precisions, 'CPU engine', *(['kernels'] if kernels else [])}
        # What is compiled has tests of its own, and takes seconds.
        asked = [step for step in every if step.part in parts and step.run is not _compiled]
        checklist.make(asked, tmp_path, lambda step: None)
        return {f'{check.part}: {check.name}': check for check in checklist.checks}

    return make


def failed(checks: dict[str, Check]) -> set[str]:
    # A GPU that is not there does nothing meanwhile, and its clock only counts.
    timed = ('frames overlap', 'time in float16', 'time in float32')
    return {
        name
        for name, check in checks.items()
        if check.verdict is Verdict.FAIL and check.name not in timed
    }


@pytest.mark.parametrize('integrated', [False, True])
def test_a_right_engine_passes(
    make_machine: MakeMachine, verify: Verify, integrated: bool
) -> None:
    make_machine(integrated=integrated)
    checks = verify('fp32', 'fp16', 'int8', kernels=not integrated, loses=True)
    assert failed(checks) == set()
    if not integrated:
        golden = checks['kernels: mono8 against the golden reference']
        assert golden.figure.startswith('0 of 50 ')
    assert checks['fp16: precision read back'].figure == '1 fp16'
    assert checks['fp16: CUDA graph'].figure.startswith('yes; 0 masks differ')
    pixels = 3 * 90 * 160
    copied = (pixels, 0, 0) if integrated else (pixels, 43264, 14592)  # in steps of 256 bytes
    moved = 'copied by the CPU, {} up, {} down'.format(*copied[1:])
    assert checks['fp16: bytes moved per frame'].figure.startswith(f'{pixels} {moved}')
    on_gpu = checks['fp16: frames and results on the GPU'].figure
    assert on_gpu.count(': 0 pixels differ, 0 bytes copied') == 3
    assert 'from the cache' in checks['fp16: second start loads'].figure
    assert 'built now' in checks['fp32: a damaged file is not loaded'].figure
    assert 'fp16: a damaged file is not loaded' not in checks
    assert checks['int8: a lost context is made anew'].verdict is Verdict.PASS
    assert 'FPS at batch 1' in checks['int8: speed'].figure
    assert not [name for name in checks if 'sm_89' in name]


def test_a_precision_that_the_gpu_lacks_does_not_apply(
    make_machine: MakeMachine, verify: Verify
) -> None:
    make_machine(sm=53)
    checks = verify('fp16', 'int8', loses=True)
    assert failed(checks) == set()
    # What is made once is made with a precision that applies.
    for once in ('a damaged file is not loaded', 'a lost context is made anew'):
        assert checks[f'fp16: {once}'].verdict is Verdict.PASS
        assert f'int8: {once}' not in checks
    assert checks['fp16: build and start'].verdict is Verdict.PASS
    speed = checks['int8: speed']
    assert speed.verdict is Verdict.NOT_APPLICABLE and speed.figure == 'sm_53 has no fast INT8'


def test_an_engine_of_another_precision_is_found(
    make_machine: MakeMachine, verify: Verify
) -> None:
    make_machine().tensorrt.silent = True
    checks = verify('fp16')
    assert failed(checks) == {'fp16: build and start'}
    assert 'fp16 was asked for, but the engine' in checks['fp16: build and start'].figure
    rest = checks['fp16: speed']
    assert (rest.verdict, rest.figure) == (Verdict.NOT_APPLICABLE, 'its engine did not start')


@pytest.mark.parametrize(
    ('error', 'want'),
    [
        ('the build ran out of memory even with a workspace of 64 MiB', True),
        ('cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY', True),
        ('no execution context: out of GPU memory', True),
        ('a layer needs more scratch memory than 1024 MiB, or cannot be built', True),
        ('int8 was asked for, but the engine built has no such layer', False),
        ('TensorRT 10.3.0 made no Builder (x); check that memory is left on the GPU', False),
        ('GPU error: an illegal memory access was encountered', False),
    ],
)
@pytest.mark.parametrize('fits', [3, 1])
def test_batches_that_do_not_fit_do_not_apply(
    make_machine: MakeMachine,
    verify: Verify,
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    want: bool,
    fits: int,
) -> None:
    """What is refused for another reason is a failure, though it starts for smaller batches."""
    make_machine()
    tried = [12, 6, 3] if fits == 3 else [12, 6, 3, 1]
    asked: list[int] = []
    activate = TensorRtEngine.activate

    def limited(self: TensorRtEngine) -> None:
        asked.append(self.options.max_batch)
        if self.options.max_batch > fits:
            raise EngineError(error)
        activate(self)

    monkeypatch.setattr(TensorRtEngine, 'activate', limited)
    checks = verify('fp32', batches=(1, 3, 12))
    assert failed(checks) == (set() if want else {'fp32: build and start'})
    assert asked[: len(tried)] == tried and set(asked[len(tried) :]) == {tried[-1]}
    figure = checks['fp32: build and start'].figure
    refused = ', '.join(map(str, tried[:-1]))
    assert f'; batch {fits} at most; not for batch {refused} ({error})' in figure
    left = '12' if fits == 3 else '3, 12'
    lack = f'; batch {left}: not applicable, the engine takes {fits} at most'
    assert checks['fp32: speed'].figure.endswith(lack)


def test_a_batch_that_is_all_that_was_asked_for_may_not_apply(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    activate = TensorRtEngine.activate

    def limited(self: TensorRtEngine) -> None:
        if self.options.max_batch > 1:
            raise EngineError('out of memory')
        activate(self)

    monkeypatch.setattr(TensorRtEngine, 'activate', limited)
    checks = verify('fp32', batches=(4,))
    assert failed(checks) == set()
    assert checks['fp32: speed'].verdict is Verdict.NOT_APPLICABLE


def test_masks_that_are_others_are_found(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    finish = TensorRtEngine._finish

    def flipped(self: TensorRtEngine, run: Any) -> Any:
        results = finish(self, run)
        return [replace(result, labels=result.labels[::-1]) for result in results]

    monkeypatch.setattr(TensorRtEngine, '_finish', flipped)
    checks = verify('fp32')
    assert {
        "fp32: masks against the CPU's",
        "fp32: masks of windows against the CPU's",
        'fp32: overlay and drivable rows against the mask',
    } <= failed(checks)


def test_a_byte_too_many_is_found(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine(integrated=True)
    monkeypatch.setattr(TensorRtEngine, 'traffic', Traffic(upload=1))
    assert failed(verify('fp32')) == {
        'fp32: bytes moved per frame', 'fp32: frames and results on the GPU'
    }  # fmt: skip


def test_a_frame_on_the_gpu_that_is_copied_is_found(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()

    def copied(image: Any, encoding: str) -> Frame:
        return Frame.from_array(frame_on_device(image, encoding).pixels, encoding)

    monkeypatch.setattr(engine_trial, 'frame_on_device', copied)
    checks = verify('fp32')
    assert failed(checks) == {'fp32: frames and results on the GPU'}
    figure = checks['fp32: frames and results on the GPU'].figure
    assert figure.startswith('__cuda_array_interface__: 0 pixels differ, 86464 bytes copied')


@pytest.mark.parametrize('integrated', [False, True])
def test_frames_on_the_gpu_outlive_their_engine(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch, integrated: bool
) -> None:
    """They are memory that its results are leased, which is there as long as somebody has it."""
    make_machine(integrated=integrated)
    seen: list[Any] = []

    def noted(image: Any, encoding: str) -> Frame:
        seen.append(image)
        return frame_on_device(image, encoding)

    monkeypatch.setattr(engine_trial, 'frame_on_device', noted)
    assert failed(verify('fp32')) == set()
    shown, array = seen
    assert array.host().shape == (90, 160, 3)
    assert shown.__cuda_array_interface__['data'][0] == array.address


def test_a_cache_that_believes_everything_is_found(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()

    def believed(data: bytes, key: Any) -> tuple[str, Entry]:
        return '', Entry(data[data.index(MAGIC) :], {}, built=False)

    monkeypatch.setattr(cache, '_unpack', believed)
    assert 'fp32: a damaged file is not loaded' in failed(verify('fp32'))


@pytest.mark.parametrize(
    ('overlapping', 'disturbed', 'passed', 'words'),
    [
        (
            10.0,
            0.0,
            True,
            '10.00 ms a frame one by one, 10.00 overlapping (1.00x, 0.95 asked; 8.00',
        ),
        (10.3, 0.0, True, '(0.97x'),
        (12.0, 0.0, False, '(0.83x'),
        (8.0, 9e4, True, '(1.25x, 0.95 asked; 8.00 in the network alone, which would be 1.25x)'),
    ],
)
def test_overlapping_is_judged_by_medians_and_a_margin(
    monkeypatch: pytest.MonkeyPatch,
    overlapping: float,
    disturbed: float,
    passed: bool,
    words: str,
) -> None:
    """disturbed: milliseconds that a frame of the first overlapping round takes besides."""
    clock, labels, frame = [0.0], np.zeros((4, 4), np.uint8), object()
    monkeypatch.setattr(engine_trial, 'perf_counter', lambda: clock[0])
    result = Segmentation(labels, StageTimes(1.0, 8.0, 1.0))
    under_way: list[object] = []
    finished = count()

    def start(frames: list[object]) -> Callable[[], list[Segmentation]]:
        assert frames == [frame]
        under_way.append(frame)

        def finish() -> list[Segmentation]:
            spent = overlapping if len(under_way) > 1 else 10.0
            clock[0] += (spent + disturbed * (next(finished) == 1500)) / 1e3
            under_way.pop()
            return [result]

        return finish

    engine: Any = SimpleNamespace(start=start, segment=lambda frames: [result] * len(frames))
    monkeypatch.setattr(engine_trial, '_OVERLAPPED', 1000)
    plan: Any = SimpleNamespace(timed=[frame], batches=(1,))
    trial = EngineTrial(plan, 'fp32', {})
    trial._engine, trial._seconds = engine, 1.0  # as its first step leaves them
    (step,) = (one for one in trial.steps(False, False, '') if one.name == 'frames overlap')
    found = step.run()
    assert found.passed == passed and words in found.figure
    assert found.figure.endswith('; 0 masks differ')


def test_a_context_that_stays_lost_is_a_failure(
    make_machine: MakeMachine, verify: Verify, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    lose = TensorRtEngine.lose_context

    def lose_all(self: TensorRtEngine) -> None:
        def none(index: int) -> None:
            raise EngineError('cuInit failed with CUDA error 100')

        monkeypatch.setattr(tensorrt, 'select_gpu', none)
        lose(self)

    monkeypatch.setattr(TensorRtEngine, 'lose_context', lose_all)
    checks = verify('fp32', loses=True)
    assert failed(checks) == {'fp32: a lost context is made anew'}
    assert 'start the program again' in checks['fp32: a lost context is made anew'].figure


def test_without_a_gpu_what_is_left_is_checked(verify: Verify) -> None:
    checks = verify('fp32', gpu=False)
    assert failed(checks) == set()
    assert checks['CPU engine: speed'].verdict is Verdict.PASS
    rest = [name for name in checks if name.startswith('fp32') and 'sm_89' not in name]
    assert len(rest) > 9 and {checks[name].figure for name in rest} == {'no GPU'}
    assert checks["CPU engine: masks against the drive's own labels"].figure == (
        'the frames have no labels'
    )


@pytest.mark.parametrize(
    ('versions', 'without', 'passed', 'words'),
    [
        ([(12, 9)], (110,), True, '; not of this version: sm_110'),
        ([(12, 9), (13, 5)], (), True, '90, 100, 103, 110, 120, 121'),
        ([(10, 2)], (80, 86, 87, 89, 90, 100, 120, 103, 110, 121), True, '; sm_53, 62, 72, 75; '),
        ([(13, 0)], (53, 62, 72), True, '; not of this version: sm_53, 62, 72'),
        ([(12, 9)], (87, 110), False, '; not known, though of this version: sm_87; not of'),
    ],
)
def test_gpus_that_nvrtc_should_know_and_does_not_are_a_failure(
    monkeypatch: pytest.MonkeyPatch,
    versions: list[tuple[int, int]],
    without: tuple[int, ...],
    passed: bool,
    words: str,
) -> None:
    def compiled(sm: int) -> bytes:
        if sm in without:
            raise UnknownGpu('invalid value for --gpu-architecture')
        return b'cubin'

    monkeypatch.setattr(steps, 'compile_with_nvrtc', compiled)
    monkeypatch.setattr(steps, 'nvrtc_versions', lambda: versions)
    found = _compiled()
    assert found.passed == passed and found.value == 14 - len(without)
    major, minor = versions[0]
    assert found.figure.startswith(f'NVRTC {major}.{minor}') and words in found.figure


def test_without_nvrtc_nothing_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(sm: int) -> bytes:
        raise CompilerMissing('no NVRTC library found')

    monkeypatch.setattr(steps, 'compile_with_nvrtc', missing)
    with pytest.raises(NotApplicable, match='no NVRTC library found'):
        _compiled()
