# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A session of the TensorRT engine through the real PyCUDA; run with the host's driver preloaded.

Frames of several sizes, results that other threads forget, and a context that is lost amid it.
Prints what came of it as JSON.
"""

from __future__ import annotations

import argparse
import gc
import json
import queue
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from engine_rig import SIZE, agreement, frame
from fake_gpu import SURFACES, FakeTensorRt
from fake_gpu.cuda import ILLEGAL_ADDRESS

from host_cuda.library import HostCuda
from segformer_ros.engines import Engine, EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines import tensorrt as engine_module
from segformer_ros.engines.cuda import device
from segformer_ros.engines.cuda.device import BINDINGS, CudaDevice, GpuFault
from segformer_ros.engines.cuda.driver import select_gpu
from segformer_ros.engines.tensorrt import _read_nowhere
from segformer_ros.engines.trt import adapter
from segformer_ros.frame import Frame, Segmentation
from segformer_ros.model import ModelSpec, load_model
from tiny_models import save_network

SIZES = [(90, 160), (64, 128), (37, 53), (240, 320)]
CALLS = 60
COUNTED = ('cuCtxCreate', 'cuCtxDetach', 'cuGraphLaunch', 'cuMemcpyHtoDAsync')
EVERYTHING = Wanted(confidence=True, overlay=0.5, drivable=(0, 1))


def main() -> None:
    """Run the session."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--inference', default='whole')
    parser.add_argument('--binding', default=BINDINGS[0])
    asked = parser.parse_args()
    only: Any = device
    only.BINDINGS = (asked.binding,)
    cuda = HostCuda()
    tensorrt: Any = FakeTensorRt(SURFACES['10.3.0'], cuda)  # type: ignore[arg-type]
    sys.modules['tensorrt'] = tensorrt.module
    loader: Any = adapter
    loader.MODULES = ('tensorrt',)
    module: Any = engine_module
    module.load_kernels = lambda sm, cache, load: load(b'those of the host')
    options = EngineOptions(max_batch=3, inference=asked.inference)
    with tempfile.TemporaryDirectory() as folder:
        spec = load_model(save_network(Path(folder, 'palette.onnx'), SIZE))
        engine = create_engine(spec, 'tensorrt', options)
        with engine:
            agreed = agreement(engine, [frame(0, size) for size in SIZES])
            lost = _segment_and_lose(engine, cuda)
    engine.deactivate()
    stays = _stays_lost(spec)
    gc.collect()
    outcome = {
        'agreement': agreed,
        'lost': lost,
        'stays lost': stays,
        'blocks': cuda.blocks,
        'calls': {name: cuda.count(name) for name in COUNTED},
    }
    print(json.dumps(outcome))


def _segment_and_lose(engine: Engine, cuda: HostCuda) -> int:
    """Segment many frames, one context lost amid them; the number of calls that failed."""
    results: queue.Queue[Segmentation | None] = queue.Queue()
    keeper = threading.Thread(target=_keep_some, args=(results,))
    keeper.start()
    lost = 0
    for number in range(CALLS):
        if number == CALLS // 2:
            cuda.fail(ILLEGAL_ADDRESS)
        try:
            for result in engine.segment(list(_frames(number)), EVERYTHING):
                results.put(result)
                del result
        except EngineError:
            lost += 1
            engine.deactivate()
            engine.activate()
    results.put(None)
    keeper.join()
    return lost


def _stays_lost(spec: ModelSpec) -> bool:
    """Have a kernel read an invalid address; whether each later call fails in that context."""
    lost = CudaDevice(select_gpu(0))
    with lost.current():
        lost.load_kernels(b'those of the host')
    calls: list[Callable[[], object]]
    calls = [partial(_read_nowhere, lost, spec), lost.memory, lost.memory]
    found = []
    for call in calls:
        try:
            with lost.current():
                call()
        except GpuFault as fault:
            found.append(fault.lost)
    lost.close()
    return found == [True] * len(calls)


def _frames(number: int) -> Iterator[Frame]:
    """Two frames of one size, and the size of ten calls at a time: a graph is made of these."""
    for seed in (number, number + 1):
        yield frame(seed, SIZES[number // 10 % len(SIZES)])


def _keep_some(results: queue.Queue[Segmentation | None]) -> None:
    """Hold results for a while, as a slow reader does, and forget them in this thread."""
    kept: list[Segmentation] = []
    while True:
        result = results.get()
        if result is None:
            return
        kept.append(result)
        if len(kept) > 20:
            del kept[::2]


if __name__ == '__main__':
    main()
