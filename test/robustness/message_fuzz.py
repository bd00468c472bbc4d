# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Fuzz of messages: hostile ones among whole ones through a real node, in lockstep.

Four faults, then a whole image; once that is answered the faults have been dealt with, and the
node's memory, time, log and outputs are judged. Where a rule was broken that no single image can
be blamed for, the faults are tried again one by one.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np
from robustness.all_faults import FAULTS, Leg, Outcome, faults_of
from robustness.camera_process import GAP, Sent, Task
from robustness.log import Log
from robustness.node_process import NodeProcess, Usage, with_tests
from robustness.report import Findings
from robustness.scenes import CAMERA_HEIGHT, Scene
from robustness.watch import ANY, Violation, Watcher, judge_outcome, judge_whole

from segformer_ros import topics
from segformer_ros.node.segmentation.frame_task import FrameCounts

TOGETHER = 4
"""Faults before each whole image."""

PEAK_MIB = 600.0
"""Memory that a message may take for a moment, above that of the idle node."""

CPU_SECONDS = 5.0
"""CPU time that a message may take."""

ADDRESS_SPACE = 8 * 1024
"""MiB; where the memory of the node ends, for the sake of the machine."""

_GROWTH = 8  # threads or descriptors that may be left behind
_FOREIGN = 0.1  # lines of libraries for each message
_POLL = 0.1  # seconds between two looks whether the node runs
_PATIENCE = 60.0  # seconds for an answer
_RESEND = 10.0  # seconds after which a whole image is taken for lost, and sent again
_MOST_RESENT = 100  # whole images in all
_HOSTILE_PATIENCE = 2.0  # seconds for an answer to a hostile image, which may be overtaken
_FIRST = 8  # whole images before the first fault
_ANSWERED = (Outcome.ANSWERED, Outcome.NO_METRES, Outcome.NOT_VALID)

WHOLE = 'a whole image'
""""By whom" a rule is broken, where it takes no fault."""

PARAMETERS: dict[str, Any] = {
    'engine': 'fake',
    'fake_delay': 0.002,
    'diagnostics_period': 0.2,
    'overlay_boundary': True,
    'drivable.use_tf': False,
    'drivable.max_age': 60.0,
    'mount.height': CAMERA_HEIGHT,
}


class NodeEndedError(RuntimeError):
    """The node ended while the camera spoke to it."""


class CameraProcess:
    """The camera, told what to send.

    alive: whether the node runs; where it does not, nothing of a task is waited for.
    """

    def __init__(self, leg: Leg, alive: Callable[[], bool]) -> None:
        self._alive = alive
        command = [sys.executable, '-m', 'robustness.camera_process']
        if leg is Leg.COMPRESSED:
            command.append('--compressed')
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=with_tests()
        )

    def carry_out(self, task: Task) -> Iterator[Sent]:
        """Have a task done; gives what was sent for it, part by part.

        Raises NodeEndedError; this camera can be used no more then.
        """
        assert self._process.stdin and self._process.stdout
        request = json.dumps(task)
        while True:
            self._process.stdin.write(request + '\n')
            self._process.stdin.flush()
            while not select.select([self._process.stdout], [], [], _POLL)[0]:
                if not self._alive():
                    raise NodeEndedError
            line = self._process.stdout.readline()
            if not line:
                raise RuntimeError(f'the camera ended with exit code {self._process.wait()}')
            sent = Sent(*json.loads(line))
            yield sent
            if not sent.more:
                return
            request = ''

    def send_whole(self, seed: list[int]) -> Sent:
        """Have a whole image sent."""
        return next(iter(self.carry_out(Task('', seed))))

    def close(self) -> None:
        """End it."""
        with self._process:
            self._process.kill()


class Node:
    """One life of the node, from its start to its end."""

    def __init__(self, leg: Leg, folder: Path, number: int) -> None:
        parameters = {**PARAMETERS, 'compressed': leg is Leg.COMPRESSED}
        self.log = Log(folder / f'{leg.value}{number}.log')
        self.process = NodeProcess(parameters, self.log.file, ADDRESS_SPACE)
        self.idle: Usage | None = None
        self.before: FrameCounts | None = None
        """Counts when the first fault was sent."""
        self.masks = self.published = 0
        """Masks that the watcher had then, and that the node had published."""
        self.images = 0
        """Images sent since then."""

    def close(self) -> None:
        """End it."""
        self.process.end()
        self.log.close()


class Observed(NamedTuple):
    """What came of one fault: its outcome, None where it has none; broken rules.

    statuses: what /diagnostics said of the camera meanwhile.
    """

    outcome: Outcome | None
    statuses: list[str]
    broken: list[Violation]


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
        self._node: Node | None = None

    def __enter__(self) -> MessageFuzz:
        with ExitStack() as stack:
            self._watcher = stack.enter_context(Watcher())
            stack.callback(self._end)
            self._start()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.close()

    @property
    def alive(self) -> bool:
        """Whether there are faults to try."""
        return bool(self._names)

    def run(self, group: int) -> None:
        """Send a group of faults and a whole image, and judge what comes of them.

        The first group is whole images alone: a rule that those break is no fault's doing.
        """
        if group == 0:
            for place in range(_FIRST):
                for violation in self.try_faults([], [self._seed, 0, place]):
                    self._findings.add(violation, WHOLE, self._leg.value)
            return
        tasks = [
            Task(name, [self._seed, group, place])
            for place, name in enumerate(self._chosen(group))
        ]
        for violation in self.try_faults(tasks, [self._seed, group]):
            self._blame(violation, tasks, group)

    def try_faults(self, tasks: Sequence[Task], seed: list[int]) -> list[Violation]:
        """Send faults and a whole image; gives the broken rules that no image can be blamed for.

        Those of an image are entered in the findings.
        """
        node = self._running()
        node.process.forget_peak()
        cpu = node.process.usage().cpu
        broken: list[Violation] = []
        sent: list[tuple[Task, list[int]]] = []
        with suppress(NodeEndedError):
            for task in tasks:
                sent.append((task, self._try_fault(node, task)))
            broken = list(self._try_whole(node, seed))
        for task, stamps in sent:
            self._judge_images(task, stamps)
        if node.process.code is None:
            names = ', '.join(task.fault for task in tasks)
            broken += self._judge_usage(node, node.process.usage(), cpu, names)
        broken += self._watcher.judge_any() + list(node.log.judge())
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

    def observe(self, name: str, seed: int) -> Observed:
        """Send one fault and a whole image; what came of it, and the rules that it broke."""
        found = self._findings = Findings()
        node, before = self._running(), self._watcher.counts()
        stamps: list[int] = []
        broken: list[Violation] = []
        with suppress(NodeEndedError):
            task = Task(name, [seed])
            stamps = self._try_fault(node, task)
            broken = list(self._try_whole(node, [seed]))
            self._judge_images(task, stamps)
        ended = node.process.code is not None
        after = None if ended else self._watcher.counts()
        broken += self._watcher.judge_any() + ([] if ended else list(node.log.judge()))
        outcome = None if ended else self._outcome(stamps, before, after)
        statuses = self._watcher.statuses
        self._watcher.forget()
        if ended:
            broken.append(Violation('ended', f'exit code {node.process.code}: {node.log.tail}'))
            self._restart()
        rules = [*broken, *(Violation(finding.rule, finding.detail) for finding in found)]
        return Observed(outcome, statuses, sorted(set(rules)))

    def _outcome(
        self, stamps: Sequence[int], before: FrameCounts | None, after: FrameCounts | None
    ) -> Outcome | None:
        """What became of images; None where that was not one and the same, or is none."""
        if not stamps:
            return Outcome.KEPT
        if before is None or after is None:
            return None
        of = {name: getattr(after, name) - getattr(before, name) for name in FrameCounts._fields}
        taken = of['received'] - of['overtaken'] - 1  # by the worker, but for the whole image
        masks = sum(len(self._watcher.came(stamp, topics.MASK)) for stamp in set(stamps))
        areas = [area for s in set(stamps) for area in self._watcher.came(s, topics.AREA)]
        if of['rejected'] == taken > masks == 0:
            return Outcome.REFUSED
        if not of['segmented'] - 1 == masks == taken > 0:
            return None
        if not any(area.valid for area in areas):
            return Outcome.NOT_VALID
        return Outcome.ANSWERED if any(a.calibrated for a in areas) else Outcome.NO_METRES

    def _try_fault(self, node: Node, task: Task) -> list[int]:
        """Send a fault, and judge what came of its images; gives their stamps."""
        outcome = FAULTS[task.fault].outcome
        stamps: list[int] = []
        for sent in self._camera.carry_out(task):
            self.counts['messages'] += sent.messages
            self.counts['hostile images'] += len(sent.stamps)
            node.images += len(sent.stamps)
            stamps += sent.stamps
            if stamps and outcome in _ANSWERED and node.process.code is None:
                self._watcher.wait_for(stamps[-1], _HOSTILE_PATIENCE, ANY)
            elif not sent.more:
                sleep(GAP.seconds)
            if not all(sent.answers) and node.process.code is None:
                self._enter(Violation('request unanswered', ''), task.fault)
        return stamps

    def _judge_images(self, task: Task, stamps: Sequence[int]) -> None:
        """Judge what came of a fault's images, once a later one is answered."""
        for stamp in dict.fromkeys(stamps):
            self.counts['hostile images answered'] += bool(self._watcher.came(stamp, topics.MASK))
            outcome = FAULTS[task.fault].outcome
            for violation in judge_outcome(self._watcher, outcome, stamp):
                self._enter(violation, task.fault)

    def _try_whole(self, node: Node, seed: list[int]) -> Iterator[Violation]:
        """Send a whole image and wait for its answer, sending it again where it was lost."""
        end = monotonic() + _PATIENCE
        sent = self._send_whole(node, seed)
        while not self._watcher.wait_for(sent.stamps[0], _RESEND):
            if node.process.code is not None:
                return
            if monotonic() > end:
                yield Violation('unanswered', f'no answer in {_PATIENCE:g} s')
                return
            if self.counts['whole images sent again'] < _MOST_RESENT:
                self.counts['whole images sent again'] += 1
                sent = self._send_whole(node, seed)
        self.counts['whole images answered'] += 1
        yield from judge_whole(self._watcher, Scene(sent.foot), sent.stamps[0])

    def _send_whole(self, node: Node, seed: list[int]) -> Sent:
        self.counts['whole images'] += 1
        node.images += 1
        return self._camera.send_whole(seed)

    def _judge_usage(
        self, node: Node, usage: Usage, cpu: float, names: str
    ) -> Iterator[Violation]:
        assert node.idle
        above = usage.peak - node.idle.memory
        if above > self.peak:
            self.peak, self.peak_of = above, names
        if above > PEAK_MIB:
            yield Violation('memory', f'{above:.0f} MiB above idle')
        if usage.cpu - cpu > CPU_SECONDS:
            yield Violation('time', f'{usage.cpu - cpu:.1f} s of CPU')

    def _judge_counts(self, node: Node) -> Iterator[Violation]:
        counts, before = self._watcher.counts(), node.before
        if counts is None or before is None:
            yield Violation('no /diagnostics', '')
            return
        of = {name: getattr(counts, name) - getattr(before, name) for name in FrameCounts._fields}
        received = of.pop('received')
        for name, count in of.items():
            self.counts[name] += count
        lost = node.images - received
        self.counts['lost'] += lost
        if sum(of.values()) != received or lost < 0:
            yield Violation('accounts', f'{of} are not {received} of {node.images}')
        self._watcher.wait_for_mask(node.published + of['segmented'], _RESEND)
        published = self._watcher.masks_published - node.published
        if published != of['segmented']:
            yield Violation('accounts', f'{published} masks for {of["segmented"]} segmented')
        # The node keeps a few masks for a subscriber that is late; older ones never reach it.
        self.counts['masks lost on their way'] += published - (self._watcher.masks - node.masks)
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

    def _enter(self, violation: Violation, by: str) -> None:
        """Enter a broken rule, under whole images where those break it, too."""
        whole = self._findings.has(violation.rule, WHOLE, self._leg.value)
        self._findings.add(violation, WHOLE if whole else by, self._leg.value)

    def _blame(self, violation: Violation, tasks: Sequence[Task], group: int) -> None:
        """Enter a broken rule under the fault that breaks it alone, or under all of the group."""
        names = [task.fault for task in tasks]
        for name in (WHOLE, *names):
            if self._findings.has(violation.rule, name, self._leg.value):
                self._findings.add(violation, name, self._leg.value)
                return
        for task in tasks:
            again = self.try_faults([task], [self._seed, group])
            for found in again:
                self._enter(found, task.fault)
            if any(found.rule == violation.rule for found in again):
                return
        self._enter(violation, ' | '.join(names))

    # --- Counting and living ------------------------------------------------------------------

    def _chosen(self, group: int) -> list[str]:
        """Names for a group: all faults in turn, in another order each time round."""
        first, chosen = group * TOGETHER, []
        for place in range(first, first + TOGETHER):
            turn, at = divmod(place, len(self._names))
            order = np.random.default_rng([self._seed, turn]).permutation(len(self._names))
            chosen.append(self._names[order[at]])
        return chosen

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
        self.counts['starts after an end'] += 1
        self._end()
        self._start()

    def _end(self) -> None:
        if self._node:
            self._camera.close()
            self._node.close()

    def _start(self) -> None:
        """Start the node and wait until it answers."""
        self.counts['starts'] += 1
        node = self._node = Node(self._leg, self._folder, self.counts['starts'])
        self._camera = CameraProcess(self._leg, lambda: node.process.code is None)
        end = monotonic() + _PATIENCE
        with suppress(NodeEndedError):
            while not self._watcher.wait_for(self._camera.send_whole([0]).stamps[0], 1.0):
                if monotonic() > end:
                    break
        if node.process.code is not None or monotonic() > end:
            raise RuntimeError(f'the node does not start: {node.log.tail}')
        node.before = self._watcher.counts()
        node.masks, node.published = self._watcher.masks, self._watcher.masks_published
        node.images = 0
        node.idle = node.process.usage()
        list(node.log.judge())
        self._watcher.judge_any()
        self._watcher.forget()
