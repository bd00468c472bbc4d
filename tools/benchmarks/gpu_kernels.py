"""The CUDA kernels on a real GPU: equal to the golden reference, and how near to the bytes' floor.

    python -m tools.benchmarks.gpu_kernels --out doc/measurements/gpu.md

does it all in a minute: checks every kernel, checks again under compute-sanitizer where the CUDA
toolkit has it, times the kernels, and writes what it printed to the file.

Needs the driver, numpy, OpenCV and PyYAML, and the kernels: prebuilt (scripts/prebuild_kernels.py,
made on any machine), else NVRTC or nvcc. Neither TensorRT nor PyCUDA: the driver is called through
ctypes. The engine as a whole is timed by `segformer benchmark --engine tensorrt`.
"""

from __future__ import annotations

import argparse
import ctypes
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from segformer_ros.cli.arguments import whole
from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda import launches
from segformer_ros.engines.cuda.compile import load_kernels
from segformer_ros.engines.cuda.driver import check, load_driver, select_gpu
from segformer_ros.engines.cuda.launches import KERNEL_NAMES
from segformer_ros.engines.fake import fake_spec
from segformer_ros.engines.placement import Fit
from segformer_ros.model.spec import IMAGENET_MEAN, IMAGENET_STD
from tools.benchmarks.gpu_checks import check_all
from tools.benchmarks.reference import resize_bilinear

NETWORK = (1024, 1024)
FRAME = (1080, 1920)
CLASSES = 19
DRIVABLE = (0, 1, 9)

MOST = {'pre': 1.5, 'post': 2.0}
"""Times the floor that preparing a frame, and making its mask, may take."""


class Gpu:
    """One GPU by the driver's own calls, with a context of its own."""

    def __init__(self, number: int) -> None:
        self.facts = select_gpu(number)
        self._driver = load_driver()
        device, self._context = ctypes.c_int(), ctypes.c_void_p()
        self._call('cuDeviceGet', ctypes.byref(device), number)
        self._call('cuCtxCreate_v2', ctypes.byref(self._context), 0, device)
        module = load_kernels(self.facts.sm, None, self._load)
        self._functions: dict[str, ctypes.c_void_p] = {}
        for name in KERNEL_NAMES:
            function = ctypes.c_void_p()
            self._call('cuModuleGetFunction', ctypes.byref(function), module, name.encode())
            self._functions[name] = function

    def _load(self, code: bytes) -> ctypes.c_void_p:
        module = ctypes.c_void_p()
        self._call('cuModuleLoadData', ctypes.byref(module), code)
        return module

    def allocate(self, size: int) -> int:
        """Device memory, kept to the end of the process."""
        address = ctypes.c_uint64()
        self._call('cuMemAlloc_v2', ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def put(self, array: np.ndarray) -> int:
        array = np.ascontiguousarray(array)
        address = self.allocate(array.nbytes)
        self._call(
            'cuMemcpyHtoD_v2', ctypes.c_uint64(address), ctypes.c_void_p(array.ctypes.data),
            ctypes.c_size_t(array.nbytes),
        )  # fmt: skip
        return address

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        result = np.empty_like(like)
        self._call(
            'cuMemcpyDtoH_v2', ctypes.c_void_p(result.ctypes.data), ctypes.c_uint64(address),
            ctypes.c_size_t(result.nbytes),
        )  # fmt: skip
        return result

    def copy(self, target: int, source: int, size: int) -> None:
        """Start copying within the device."""
        self._call(
            'cuMemcpyDtoDAsync_v2', ctypes.c_uint64(target), ctypes.c_uint64(source),
            ctypes.c_size_t(size), None,
        )  # fmt: skip

    def launch(self, job: launches.Launch) -> None:
        argument = np.array(job.argument)
        parameters = (ctypes.c_void_p * 1)(argument.ctypes.data)
        self._call(
            'cuLaunchKernel', self._functions[job.kernel], *job.grid, launches.BLOCK, 1, 1, 0,
            None, parameters, None,
        )  # fmt: skip

    def launch_all(self, several: Sequence[launches.Launch]) -> None:
        for job in several:
            self.launch(job)

    def time(self, work: Callable[[], None], runs: int = 200) -> float:
        """Microseconds of a piece of work, the mean of `runs` that follow each other."""
        begin, end = ctypes.c_void_p(), ctypes.c_void_p()
        for event in (begin, end):
            self._call('cuEventCreate', ctypes.byref(event), 0)
        for _ in range(20):
            work()
        self._call('cuEventRecord', begin, None)
        for _ in range(runs):
            work()
        self._call('cuEventRecord', end, None)
        self._call('cuEventSynchronize', end)
        elapsed = ctypes.c_float()
        self._call('cuEventElapsedTime', ctypes.byref(elapsed), begin, end)
        return 1e3 * elapsed.value / runs

    def _call(self, name: str, *arguments: Any) -> None:
        check(getattr(self._driver, name)(*arguments), name)


class Timing(NamedTuple):
    """Microseconds of one kernel, and the bytes that it has to move at least."""

    name: str
    microseconds: float
    moved: int


def timings(gpu: Gpu) -> str:
    """A Markdown table of the kernels' times beside what moving the bytes alone would take."""
    size = 256 << 20
    source, target = gpu.allocate(size), gpu.allocate(size)
    bandwidth = 2 * size / gpu.time(lambda: gpu.copy(target, source, size), 20)  # B/us
    rows = [
        _row(timing, timing.moved / bandwidth)
        for kind in (np.float16, np.float32)
        for timing in _timings_in(gpu, np.dtype(kind))
    ]
    table = [('kernel', 'us', 'MB', 'floor us', 'times floor', 'asked'), ('---',) * 6, *rows]
    lines = [f'| {" | ".join(row)} |' for row in table]
    return '\n'.join([f'Copy within the device: {bandwidth / 1e6:.2f} TB/s.', '', *lines])


def _row(timing: Timing, floor: float) -> tuple[str, ...]:
    most = MOST.get(timing.name.split(',')[0])
    return (
        timing.name,
        f'{timing.microseconds:.1f}',
        f'{timing.moved / 1e6:.1f}',
        f'{floor:.1f}',
        f'{timing.microseconds / floor:.2f}',
        f'{most:g}' if most else '',
    )


def _timings_in(gpu: Gpu, kind: np.dtype) -> Iterator[Timing]:
    """1080p in, the network's input, and from its logits everything that comes of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (*FRAME, 3), np.uint8)
    image = launches.Image(gpu.put(pixels), pixels.strides[0], *FRAME, 'bgr8')
    spec = replace(fake_spec(NETWORK), color='rgb', mean=IMAGENET_MEAN, std=IMAGENET_STD)
    fit = Fit(NETWORK, NETWORK)
    values = 3 * NETWORK[0] * NETWORK[1] * kind.itemsize
    tensor = launches.Tensor(gpu.allocate(values), (1, 3, *NETWORK), 'NCHW', kind)
    job = launches.preprocess_job([image], [fit], tensor, spec)
    yield Timing(f'pre, {kind}', gpu.time(partial(gpu.launch, job)), pixels.nbytes + values)

    cells = (NETWORK[0] // 4, NETWORK[1] // 4)
    # As a street has them: large areas of one class.
    coarse = np.random.default_rng(1).normal(0, 3, (CLASSES, 8, 8))
    scores = resize_bilinear(coarse, cells)[None].astype(kind)
    logits = launches.Tensor(gpu.put(scores), scores.shape, 'NCHW', kind)
    mask = FRAME[0] * FRAME[1]
    labels, confidence, overlay = (gpu.allocate(size) for size in (mask, mask, 3 * mask))
    count = cells[0] * cells[1]
    best, rivals = gpu.allocate(4 * count), gpu.allocate(4 * count)
    blocked = gpu.put(np.full(FRAME[1], -1, np.int32))
    before = launches.cells_job(logits, 1, rivals=rivals)
    yield Timing(
        f'cells, {kind}', gpu.time(partial(gpu.launch, before)), scores.nbytes + 4 * count
    )

    coloring = launches.Coloring(gpu.put(spec.class_map.palette_bgr), 0.5, DRIVABLE)
    plain = launches.FrameOutput(*FRAME, fit, labels)
    sure = launches.cells_job(logits, 1, best=best, rivals=rivals)
    for name, output, moved in (
        ('post', plain, mask),
        ('post with confidence', plain._replace(confidence=confidence), 2 * mask + 4 * count),
        ('post with overlay', plain._replace(overlay=overlay, image=image), 7 * mask),
        ('post with blocked rows', plain._replace(blocked=blocked), mask),
    ):
        first = sure if output.confidence else before
        job = launches.postprocess_job([output], logits, None, rivals, best, 0.0, coloring)
        time = gpu.time(partial(gpu.launch_all, (first, job)))
        yield Timing(f'{name}, {kind}', time, scores.nbytes + moved)


def sanitized(device: int) -> str:
    """What compute-sanitizer says of the checks, in one line."""
    tool = shutil.which('compute-sanitizer') or shutil.which(
        'compute-sanitizer', path='/usr/local/cuda/bin'
    )
    if tool is None:
        return 'compute-sanitizer is not on this machine.'
    asked = [
        sys.executable,
        '-m',
        'tools.benchmarks.gpu_kernels',
        '--check-only',
        f'--device={device}',
    ]
    done = subprocess.run(
        [tool, '--error-exitcode', '3', *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('=========')]
    return f'compute-sanitizer: {lines[-1].strip("= ") if lines else done.stdout[-200:]}'


def main() -> int:
    """Check, time, print; exit code 1 where a kernel is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--device', type=whole(0), default=0, help='index of the GPU')
    parser.add_argument('--check-only', action='store_true', help='no timings, no sanitizer')
    parser.add_argument('--out', type=Path, metavar='FILE', help='write what is printed here too')
    arguments = parser.parse_args()
    try:
        gpu = Gpu(arguments.device)
    except EngineError as error:
        parser.error(str(error))
    wrong = check_all(gpu)
    report = [
        f'{date.today()}, {gpu.facts.label}, {gpu.facts.driver}, numpy {np.__version__}',
        '\n'.join(wrong) or 'Every kernel equals the golden reference.',
    ]
    if not arguments.check_only:
        report += [sanitized(arguments.device), timings(gpu)]
    text = '\n\n'.join(report)
    print(text)
    if arguments.out:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(f'{text}\n', encoding='utf-8')
    return 1 if wrong else 0


if __name__ == '__main__':
    sys.exit(main())
