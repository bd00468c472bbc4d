# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Data-parallel training in processes of one thread each.

On a CPU that other programs use too, a process per core beats a thread per core: threads meet
after every operation and wait for whichever was descheduled, processes meet once per step.
"""

from __future__ import annotations

import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class Group:
    """This process's place among those that train together.

    Attributes:
        rank: 0 for the process that writes checkpoints and shows progress.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    def average_gradients(self, model: nn.Module) -> None:
        """Replaces each gradient by its mean over the processes."""
        if self.size == 1:
            return
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        flat = torch.cat([g.reshape(-1) for g in gradients])
        dist.all_reduce(flat)
        flat /= self.size
        for gradient, part in zip(
            gradients, flat.split([g.numel() for g in gradients]), strict=True
        ):
            gradient.copy_(part.view(gradient.shape))

    def average_buffers(self, model: nn.Module) -> None:
        """Replaces each floating-point buffer (batch statistics) by its mean."""
        if self.size == 1:
            return
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= self.size


ALONE = Group()


def launch(size: int, work: Callable[[Group], None]) -> None:
    """Runs `work` in `size` processes that can average tensors; in this one where size is 1."""
    if size == 1:
        work(ALONE)
        return
    # Ended from outside, leave as an interrupted program does: the processes go with this one.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    with tempfile.TemporaryDirectory() as folder:
        arguments = (size, Path(folder) / 'store', work)
        processes = torch.multiprocessing.spawn(_enter, arguments, nprocs=size, join=False)
        assert processes is not None
        try:
            while not processes.join():
                pass
        finally:
            for process in processes.processes:
                process.terminate()  # or else this one waits for them at its end


def _enter(rank: int, size: int, store: Path, work: Callable[[Group], None]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{store}', rank=rank, world_size=size)
    try:
        work(Group(rank, size))
    finally:
        dist.destroy_process_group()
