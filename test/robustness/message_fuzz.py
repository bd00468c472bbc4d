"""Fuzz of messages: hostile ones among whole ones through a real node, in lockstep.

Four faults, then a whole image; once that is answered the faults have been dealt with, and the
node's memory, time, log and outputs are judged. Where a rule was broken that no single image can
be blamed for, the faults are tried again one by one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
from benchmarks.node_process import NodeProcess, Usage

from robustness.all_faults import FAULTS, Leg, faults_of
from robustness.camera_process import Sent, SentFault, Task
from robustness.log import Log
from robustness.report import Findings
from robustness.scenes import CAMERA_HEIGHT, Scene
from robustness.watch import Violation, Watcher, judge_outcome, judge_whole
from segformer_ros.node.inbox import Tally

TOGETHER = 4
"""Faults before each whole image."""

PEAK_MIB = 600.0
"""Memory that a message may take for a moment, above that of the idle node."""

CPU_SECONDS = 5.0
"""CPU time that a message may take."""

ADDRESS_SPACE = 10 * 1024
"""MiB; where the memory of the node ends, for the sake of the machine."""

_GROWTH = 8  # threads or descriptors that may be left behind
_FOREIGN = 0.1  # lines of libraries for each message
_PATIENCE = 60.0  # seconds for an answer
_RESEND = 5.0  # seconds after which a whole image is taken for lost, and sent again

PARAMETERS: dict[str, Any] = {
    'engine': 'fake',
    'fake_delay': 0.002,
    'diagnostics_period': 0.2,
    'overlay_boundary': True,
    'drivable.use_tf': False,
    'drivable.max_age': 60.0,
    'mount.height': CAMERA_HEIGHT,
}


class CameraProcess:
    """The camera, told what to send."""

    def __init__(self, leg: Leg) -> None:
        command = [sys.executable, '-m', 'robustness.camera_process']
        if leg is Leg.COMPRESSED:
            command.append('--compressed')
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def carry_out(self, task: Task) -> Sent:
        """Have a task done; what was sent for it."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(task) + '\n')
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f'the camera ended with exit code {self._process.wait()}')
        faults, *rest = json.loads(line)
        return Sent([SentFault(*fault) for fault in faults], *rest)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)


class Node:
    """One life of the node, from its start to its end."""

    def __init__(self, leg: Leg, folder: Path, number: int) -> None:
        parameters = {**PARAMETERS, 'compressed': leg is Leg.COMPRESSED}
        self.log = Log(folder / f'{leg.value}{number}.log')
        self.process = NodeProcess(parameters, self.log.file, ADDRESS_SPACE)
        self.idle: Usage | None = None
        self.before: Tally | None = None
        """Counts when the first fault was sent, and masks that the watcher had then."""
        self.masks = 0
        self.images = 0
        """Images sent since then."""

    def close(self) -> None:
        """End it."""
        self.process.end()
        self.log.close()


class MessageFuzz:
    """Fuzz of one leg; a context manager. Needs rclpy to be initialised."""

    def __init__(
        self,
        leg: Leg,
        seed: int,
        folder: Path,
        findings: Findings,
        only: Sequence[str] = (),
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.peak, self.peak_of = 0.0, ''
        """MiB above idle, and the faults that it came with."""
        self._leg, self._seed, self._folder, self._findings = leg, seed, folder, findings
        self._names = [f.name for f in faults_of(leg) if not only or f.name in only]
        self._stack = ExitStack()
        self._node: Node | None = None

    def __enter__(self) -> MessageFuzz:
        self._watcher = self._stack.enter_context(Watcher())
        self._camera = CameraProcess(self._leg)
        self._stack.callback(self._camera.close)
        self._stack.callback(lambda: self._node and self._node.close())
        self._start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether there are faults to try."""
        return bool(self._names)

    def run(self, group: int) -> None:
        """Send a group of faults and a whole image, and judge what comes of them."""
        names = self._chosen(group)
        faults = [(name, [self._seed, group, place]) for place, name in enumerate(names)]
        broken = self.try_task(Task(faults, [self._seed, group]))
        for violation in broken:
            self._blame(violation, faults, group)

    def try_task(self, task: Task) -> list[Violation]:
        """Carry out a task; gives the broken rules that no single image can be blamed for.

        Those of an image are entered in the findings.
        """
        node = self._running()
        node.process.forget_peak()
        cpu = node.process.usage().cpu
        sent = self._camera.carry_out(task)
        self._count(sent, node)
        broken = list(self._answered(sent, node, task))
        if node.process.code is None:
            broken += self._judge_usage(node, node.process.usage(), cpu, task)
        broken += self._watcher.judge_texts() + list(node.log.judge())
        self._judge_images(sent)
        if node.process.code is not None:
            broken = [Violation('ended', f'exit code {node.process.code}: {node.log.tail}')]
        if any(violation.rule in ('ended', 'unanswered') for violation in broken):
            self._restart()
        self._watcher.forget()
        return broken

    def finish(self) -> None:
        """Judge the counts of this life of the node, and what it left behind."""
        node = self._running()
        for violation in self._judge_counts(node):
            self._findings.add(violation, 'all together', '')

    # --- Judging ------------------------------------------------------------------------------

    def _answered(self, sent: Sent, node: Node, task: Task) -> Iterator[Violation]:
        """Wait for the whole image's answer, sending it again where it was lost."""
        end, resent = monotonic() + _PATIENCE, False
        answered = self._watcher.wait_for(sent.stamp, _RESEND)
        while not answered and node.process.code is None and monotonic() < end:
            if not resent and node.process.usage().cpu > 0:
                self.counts['whole images sent again'] += 1
                resent = True
                sent = self._camera.carry_out(Task([], task.scene))
                node.images += 1
                self.counts['whole images'] += 1
            answered = self._watcher.wait_for(sent.stamp, _RESEND)
        if answered:
            self.counts['whole images answered'] += 1
            yield from judge_whole(self._watcher, Scene(sent.foot), sent.stamp)
        elif node.process.code is None:
            yield Violation('unanswered', f'no answer in {_PATIENCE:g} s')

    def _judge_images(self, sent: Sent) -> None:
        for fault in sent.faults:
            outcome = FAULTS[fault.name].outcome
            for stamp in dict.fromkeys(fault.stamps):
                if self._watcher.came(stamp, 'segmentation/mask'):
                    self.counts['hostile images answered'] += 1
                for violation in judge_outcome(self._watcher, outcome, stamp):
                    self._findings.add(violation, fault.name, self._leg.value)
            if not all(fault.answers):
                self._findings.add(
                    Violation('request unanswered', ''), fault.name, self._leg.value
                )

    def _judge_usage(
        self, node: Node, usage: Usage, cpu: float, task: Task
    ) -> Iterator[Violation]:
        assert node.idle
        above = usage.peak - node.idle.memory
        if above > self.peak:
            self.peak, self.peak_of = above, ', '.join(name for name, _ in task.faults)
        if above > PEAK_MIB:
            yield Violation('memory', f'{above:.0f} MiB above idle')
        if usage.cpu - cpu > CPU_SECONDS:
            yield Violation('time', f'{usage.cpu - cpu:.1f} s of CPU')

    def _judge_counts(self, node: Node) -> Iterator[Violation]:
        tally, before = self._watcher.tally(), node.before
        if tally is None or before is None:
            yield Violation('no /diagnostics', '')
            return
        of = {name: getattr(tally, name) - getattr(before, name) for name in Tally._fields}
        received = of.pop('received')
        for name, count in of.items():
            self.counts[name] += count
        lost = node.images - received
        self.counts['lost'] += lost
        if sum(of.values()) != received or lost < 0:
            yield Violation('accounts', f'{of} are not {received} of {node.images}')
        masks = self._watcher.masks - node.masks
        if masks != of['segmented']:
            yield Violation('accounts', f'{masks} masks for {of["segmented"]} segmented')
        claimed = int(self._watcher.status().get('lost', 0))
        if claimed > max(lost, 0):
            yield Violation('loss', f'{claimed} claimed, {lost} of {node.images} lost')
        if node.log.foreign > _FOREIGN * self.counts['messages'] + 10:
            yield Violation(
                'flood: log', f'{node.log.foreign} lines of libraries; the last: {node.log.tail}'
            )
        usage, idle = node.process.usage(), node.idle
        assert idle
        for name in ('threads', 'descriptors'):
            grown = getattr(usage, name) - getattr(idle, name)
            if grown > _GROWTH:
                yield Violation(name, f'{grown} more than at the start')
        self.counts['MiB more than at the start'] = round(usage.memory - idle.memory)

    def _blame(
        self, violation: Violation, faults: list[tuple[str, list[int]]], group: int
    ) -> None:
        """Enter a broken rule under the fault that breaks it alone, or under all of the group."""
        known = [n for n, _ in faults if self._findings.has(violation.rule, n, self._leg.value)]
        if known:
            self._findings.add(violation, known[0], self._leg.value)
            return
        for name, seed in faults if len(faults) > 1 else ():
            again = self.try_task(Task([(name, seed)], [self._seed, group]))
            for found in again:
                if found.rule == violation.rule:
                    self._findings.add(found, name, self._leg.value)
                    return
        names = ' | '.join(name for name, _ in faults)
        self._findings.add(violation, names, self._leg.value)

    # --- Counting and living ------------------------------------------------------------------

    def _chosen(self, group: int) -> list[str]:
        """Names for a group: all faults in turn, in another order each time round."""
        first, chosen = group * TOGETHER, []
        for place in range(first, first + TOGETHER):
            turn, at = divmod(place, len(self._names))
            order = np.random.default_rng([self._seed, turn]).permutation(len(self._names))
            chosen.append(self._names[order[at]])
        return chosen

    def _count(self, sent: Sent, node: Node) -> None:
        images = sum(len(fault.stamps) for fault in sent.faults)
        self.counts['messages'] += sum(fault.messages for fault in sent.faults)
        self.counts['hostile images'] += images
        self.counts['whole images'] += 1
        node.images += images + 1

    def _running(self) -> Node:
        if self._node is None:
            raise RuntimeError('the node does not run; enter the context first')
        if self._node.process.code is not None:
            self._findings.add(
                Violation('ended', f'by itself: {self._node.log.tail}'), 'after a group', ''
            )
            self._restart()
        return self._node

    def _restart(self) -> None:
        assert self._node
        self.counts['starts after an end'] += 1
        self._node.close()
        self._start()

    def _start(self) -> None:
        """Start the node and wait until it answers."""
        self.counts['starts'] += 1
        node = self._node = Node(self._leg, self._folder, self.counts['starts'])
        end = monotonic() + _PATIENCE
        while not self._watcher.wait_for(self._camera.carry_out(Task([], [0])).stamp, 1.0):
            if node.process.code is not None or monotonic() > end:
                raise RuntimeError(f'the node does not start: {node.log.tail}')
        node.before = self._watcher.tally()
        node.masks, node.images = self._watcher.masks, 0
        node.idle = node.process.usage()
        list(node.log.judge())
        self._watcher.judge_texts()
        self._watcher.forget()
