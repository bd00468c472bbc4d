# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The checks around the engine: kernels, the CPU engine, and builds for a GPU that is not here."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path
from typing import Callable, Dict, List, Optional, TypeVar

import numpy as np

from segformer_ros.classes import IGNORE_ID
from segformer_ros.engines import EngineError, EngineOptions, Progress, create_engine
from segformer_ros.engines.cuda.compile import (
    NEWER,
    RELEASED,
    CompilerMissing,
    UnknownGpu,
    compile_with_nvrtc,
    load_kernels,
    nvrtc_versions,
    should_know,
)
from segformer_ros.engines.cuda.device import CudaDevice
from segformer_ros.engines.cuda.driver import Gpu, pip_command
from segformer_ros.engines.cuda.launches import BYTE_ORDER
from segformer_ros.engines.precision import choose_precision
from segformer_ros.engines.timing import BenchmarkResult, benchmark
from segformer_ros.engines.trt.adapter import load_tensorrt
from segformer_ros.engines.trt.builder import MIB
from segformer_ros.engines.trt.engine_loading import build_apart
from segformer_ros.verification.checklist import CheckFigure, NotApplicable, Plan, Step
from segformer_ros.verification.engine_trial import EngineTrial, lacks, speed_figure
from segformer_ros.verification.kernel_checks import (
    DeviceKernels,
    KernelResult,
    bandwidth,
    compare_encoding,
    compare_mosaic,
    kernel_times,
)

KERNELS = 'kernels'
"""The part of the list with the kernels' checks."""

PRECISIONS = ('fp32', 'fp16', 'int8')

OTHER_SM = 89
"""The GPU that TensorRT-RTX builds for on a machine without one: Ada (GeForce RTX 4090)."""

CORRECT = 0.9
"""Least share of the shipped drive's pixels that the CPU engine must label right."""

T = TypeVar('T')


def all_steps(
    plan: Plan,
    gpu: Optional[Gpu],
    lack: str,
    speeds: Dict[str, BenchmarkResult],
    told: Optional[Progress] = None,
    loses: bool = False,
) -> List[Step]:
    """All checks except the machine's; without a GPU, its checks are not applicable.

    lack: why there is no GPU. speeds: receives the measured speeds. told: callback for a build's
    progress. loses: also destroy a context and recover.
    """
    steps = [*kernel_steps(plan, gpu, lack), *cpu_steps(plan, speeds)]
    wanted = [name for name in PRECISIONS if name in plan.precisions]
    reasons = {name: lacks(name, gpu) if gpu else lack for name in wanted}
    made = [name for name in wanted if not reasons[name]] or wanted
    for precision in wanted:
        trial = EngineTrial(plan, precision, speeds, told)
        damages, last = precision == made[0], loses and precision == made[-1]
        steps += trial.steps(damages, last, reasons[precision])
    return steps + ([] if gpu else [_elsewhere(plan, precision) for precision in wanted])


def kernel_steps(plan: Plan, gpu: Optional[Gpu], lack: str) -> List[Step]:
    """That the kernels compile, are right, and are fast."""
    checks: List[Step] = [Step(KERNELS, 'compiled for every GPU', _compiled)]
    on_gpu: Dict[str, Callable[[DeviceKernels], CheckFigure]] = {
        f'{encoding} against the golden reference': partial(_golden, encoding)
        for encoding in BYTE_ORDER
    }
    on_gpu['windows against the golden reference'] = lambda kernels: _verdict(
        list(compare_mosaic(kernels))
    )
    for kind in ('float16', 'float32'):
        on_gpu[f'time in {kind}'] = partial(_times, np.dtype(kind))
    for name, work in on_gpu.items():
        checks.append(Step(KERNELS, name, partial(_on_gpu, gpu, lack, plan.cache, work)))
    return checks


def _on_gpu(gpu: Optional[Gpu], lack: str, cache: Path, work: Callable[[DeviceKernels], T]) -> T:
    """Run `work` in a new context."""
    if gpu is None:
        raise NotApplicable(lack)
    device = CudaDevice(gpu)
    try:
        with device.current():
            load_kernels(gpu.sm, cache, device.load_kernels)
            return work(DeviceKernels(device))
    finally:
        device.close()


def _golden(encoding: str, kernels: DeviceKernels) -> CheckFigure:
    return _verdict(list(compare_encoding(kernels, encoding)))


def _verdict(results: List[KernelResult]) -> CheckFigure:
    wrong = [str(result) for result in results if result.wrong]
    kernels = ', '.join(sorted({result.kernel for result in results}))
    figure = f'{len(wrong)} of {len(results)} comparisons differ ({kernels})'
    return CheckFigure('; '.join([figure, *wrong[:3]]), not wrong, len(wrong))


def _times(kind: np.dtype, kernels: DeviceKernels) -> CheckFigure:
    """1080p frames and a network of 1024x1024; x: multiple of the time to move the bytes."""
    moved = bandwidth(kernels)
    times = kernel_times(kernels, moved, kind)
    figure = f'copies at {moved / 1e6:.2f} TB/s; {"; ".join(map(str, times))}'
    return CheckFigure(figure, all(time.within for time in times), times[0].microseconds, 'us')


def _compiled() -> CheckFigure:
    """Compile the kernels with NVRTC, which needs no GPU."""
    versions = nvrtc_versions()
    known: List[int] = []
    unknown: List[int] = []
    missing: List[int] = []
    for sm in sorted((*RELEASED, *NEWER)):
        try:
            compile_with_nvrtc(sm)
            known.append(sm)
        except CompilerMissing as error:
            raise NotApplicable(str(error)) from error
        except UnknownGpu:
            expected = any(should_know(version, sm) for version in versions)
            (missing if expected else unknown).append(sm)
    figure = 'NVRTC ' + ' and '.join(f'{major}.{minor}' for major, minor in versions)
    for words, found in (
        ('', known),
        ('not known, though of this version: ', missing),
        ('not of this version: ', unknown),
    ):
        if found:
            figure += f'; {words}sm_{", ".join(map(str, found))}'
    return CheckFigure(figure, bool(known) and not missing, len(known), 'GPUs')


def cpu_steps(plan: Plan, speeds: Dict[str, BenchmarkResult]) -> List[Step]:
    """Checks of the CPU engine, which the GPU's masks are compared with."""

    def masks() -> CheckFigure:
        right = known = 0
        for result, truth in zip(plan.on_cpu().results, plan.labels):
            if truth is not None:
                right += int((result.labels == truth)[truth != IGNORE_ID].sum())
                known += int((truth != IGNORE_ID).sum())
        if not known:
            raise NotApplicable('the frames have no labels')
        share = right / known
        figure = f'{share:.1%} of {known} pixels, {CORRECT:.0%} asked'
        return CheckFigure(figure, share >= CORRECT, share)

    def speed() -> CheckFigure:
        try:
            with create_engine(plan.spec, 'openvino') as engine:
                result = benchmark(engine, plan.timed, (1,), plan.seconds)
        except EngineError as error:
            raise NotApplicable(str(error)) from error
        speeds['CPU'] = result
        return speed_figure(result)

    return [
        Step('CPU engine', "masks against the drive's own labels", masks),
        Step('CPU engine', 'speed', speed),
    ]


def _elsewhere(plan: Plan, precision: str) -> Step:
    """A build for a GPU that is not in this machine."""

    def build() -> CheckFigure:
        if importlib.util.find_spec('tensorrt_rtx') is None:
            raise NotApplicable(
                'TensorRT-RTX, which builds without a GPU on x86-64, is not installed: '
                f'{pip_command()}'
            )
        spec = plan.quantized() if precision == 'int8' else plan.spec
        candidate = choose_precision(precision, spec, OTHER_SM)[0]
        options = EngineOptions(precision, cache_dir=plan.cache)
        library = load_tensorrt(('tensorrt_rtx',))
        built, _ = build_apart(library, spec, options, candidate, OTHER_SM)
        size = f'{len(built.plan) / MIB:.1f} MiB, {built.seconds:.0f} s, {library.version}'
        return CheckFigure(f'{built.layers.summary()}; {size}', True, built.seconds, 's')

    return Step(precision, f'built by TensorRT-RTX for sm_{OTHER_SM}', build)
