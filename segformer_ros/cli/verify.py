# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer verify: checks what is promised about the GPU, on this machine's."""

from __future__ import annotations

import argparse
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Iterable, Iterator, Optional, Tuple

from tqdm import tqdm

from segformer_ros.cli.arguments import number, size, whole, wholes
from segformer_ros.cli.checks import (
    GPU,
    Finding,
    Health,
    examine_gpu,
    examine_machine,
    examine_software,
)
from segformer_ros.destination import output_folder
from segformer_ros.engines import EngineError
from segformer_ros.engines.cuda.driver import Gpu, select_gpu
from segformer_ros.engines.cuda.launches import MAX_BATCH
from segformer_ros.errors import errors_alone
from segformer_ros.text_table import format_table
from segformer_ros.verification.checklist import (
    COLUMNS,
    NAMES,
    Check,
    Checklist,
    Plan,
    Step,
    Verdict,
)
from segformer_ros.verification.steps import KERNELS, PRECISIONS, all_steps

SUMMARY = 'check on this machine what is promised of the GPU, and write verify.md to attach'

NO_GPU = 'Without a GPU: what is left was checked. Run it again on the machine with the GPU.'

_VERDICTS = {
    Health.OK: Verdict.PASS,
    Health.WARNING: Verdict.PASS,
    Health.ABSENT: Verdict.NOT_APPLICABLE,
    Health.BROKEN: Verdict.FAIL,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        '--out', type=Path, default=Path('.'), metavar='FOLDER',
        help=f'folder for {" and ".join(NAMES)} (default: this one)',
    )  # fmt: skip
    parser.add_argument('--device', type=whole(0, 63), default=0, help='index of the GPU')
    parser.add_argument(
        '--precisions', type=_precisions, default=PRECISIONS, metavar='LIST',
        help=f'of the engines, as in fp16,int8 (default: {",".join(PRECISIONS)})',
    )  # fmt: skip
    parser.add_argument(
        '--batch', type=wholes(MAX_BATCH), default='1,2,4,8,16', metavar='LIST',
        help='batch sizes that are timed (default: 1,2,4,8,16)',
    )  # fmt: skip
    parser.add_argument(
        '--seconds', type=number(0, 600), default=3.0,
        help='seconds per batch size and precision (default: 3)',
    )  # fmt: skip
    parser.add_argument(
        '--frame-size', type=size, default='1920x1080', metavar='WxH',
        help='size of the frames that are timed (default: 1920x1080)',
    )  # fmt: skip
    parser.add_argument(
        '--kernels', action='store_true',
        help='the kernels alone, as for compute-sanitizer segformer verify --kernels; of '
        'libraries, NumPy, OpenCV, PyYAML, tqdm and a CUDA binding are enough',
    )  # fmt: skip
    parser.add_argument(
        '--lose-context', action='store_true',
        help='also break the GPU context and see it made anew; the last check, since with some '
        'drivers it takes the process with it',
    )  # fmt: skip


def _precisions(text: str) -> Tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(','))
    if not set(names) <= set(PRECISIONS):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a list of {", ".join(PRECISIONS)}, as in fp16,int8'
        )
    return names


def run(arguments: argparse.Namespace) -> int:
    """Run all checks, and print them; exit code 1 if one failed."""
    folder = output_folder(arguments.out)
    gpu, lack = _gpu(arguments.device)
    checklist = Checklist(notes=[] if gpu else [f'{NO_GPU} Reason: {lack}'])
    # Warnings are hidden: what matters is in the figures.
    with TemporaryDirectory(prefix='segformer-verify-') as cache, errors_alone('segformer_ros'):
        plan = Plan(
            '',
            Path(cache),
            size=arguments.frame_size,
            precisions=arguments.precisions,
            batches=arguments.batch,
            seconds=arguments.seconds,
            device=arguments.device,
        )
        with _Bar() as bar:
            checklist.checks += _machine(arguments.kernels)
            steps = all_steps(
                plan, gpu, lack and 'no GPU', checklist.speeds, bar.build, arguments.lose_context
            )
            if arguments.kernels:
                steps = [step for step in steps if step.part == KERNELS]
            bar.expect(len(checklist.checks), len(steps))
            checklist.make(steps, folder, bar.begin)
    rows = [(c.part, c.name, c.verdict.value, c.figure) for c in checklist.checks]
    print(format_table(COLUMNS, rows))
    counts = checklist.counts
    summary = ', '.join(f'{counts[verdict]} {verdict.value}' for verdict in Verdict)
    print(f'\n{summary}, in {checklist.seconds:.0f} s')
    for note in checklist.notes:
        print(note)
    print('written: ' + ', '.join(str(folder / name) for name in NAMES))
    return int(counts[Verdict.FAIL] > 0)


def _gpu(index: int) -> Tuple[Optional[Gpu], str]:
    """The GPU; where there is none at all, why. Raises EngineError for an index that is wrong."""
    try:
        return select_gpu(index), ''
    except EngineError as error:
        if index:
            raise
        return None, str(error)


def _machine(kernels: bool) -> Iterator[Check]:
    """What `segformer doctor` finds; `kernels`: without the software that these do not need."""
    begun = perf_counter()
    software: Iterable[Finding] = () if kernels else examine_software()
    for found in chain(examine_machine(), software, examine_gpu()):
        figure = f'{found.detail}; {found.cure}' if found.cure else found.detail
        verdict = _VERDICTS[found.verdict]
        if found.verdict is Health.WARNING and kernels and found.name == 'TensorRT':
            verdict = Verdict.NOT_APPLICABLE
        elif found.verdict is Health.WARNING and found.part == GPU:
            verdict = Verdict.FAIL  # there is a GPU, but not what is needed to use it
        elif found.verdict is Health.WARNING:
            figure = f'warning: {figure}'
        seconds = round(perf_counter() - begun, 3)
        yield Check(found.part, found.name, verdict, figure, seconds=seconds)
        begun = perf_counter()


class _Bar:
    """A progress bar of the checks, with the running one and its build's progress."""

    def __enter__(self) -> _Bar:
        self._bar = tqdm(desc='verify', unit='check', miniters=0)
        self._begun = -1
        self._name = ''
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._bar.update((self._bar.total or 0) - self._bar.n)
        self._bar.close()

    def expect(self, finished: int, steps: int) -> None:
        """Set the number of checks: those finished, and those to come."""
        self._bar.reset(finished + steps)
        self._begun = finished - 1

    def begin(self, step: Step) -> None:
        """The next check begins."""
        self._begun += 1
        self._name = f'{step.part}: {step.name}'
        self._bar.set_postfix_str(self._name, refresh=False)
        self._bar.update(self._begun - self._bar.n)

    def build(self, phase: str, step: int, steps: int) -> None:
        """A build has finished this many steps of a phase."""
        self._bar.set_postfix_str(f'{self._name}, {phase[:30]} {step}/{steps}', refresh=False)
        self._bar.update(0)
