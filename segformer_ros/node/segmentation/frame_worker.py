# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frame worker: segments the newest frame of each camera, publishes the one before.

Three stages with room for one frame each: the engine works on a frame while the labels of the one
before it are made (for engines that overlap) and the one before that is published. A frame is
taken from the middleware as late as can be without any stage waiting for it.
"""

from __future__ import annotations

import traceback
from collections import deque
from queue import SimpleQueue
from threading import Condition, Event, Semaphore, Thread
from time import monotonic
from typing import (
    Callable,
    Deque,
    Dict,
    Generic,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

from segformer_ros.engines import EngineError, Outcome, Wanted
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.errors import one_line
from segformer_ros.frame import FrameError
from segformer_ros.node.segmentation.camera_stream import CameraStream
from segformer_ros.node.segmentation.frame_task import (
    Ending,
    FrameCounts,
    FrameTask,
    ImageMessage,
)
from segformer_ros.node.segmentation.parameters import NodeParameters, Settings
from segformer_ros.node.segmentation.statistics import Pace

_POLL = 0.05  # seconds; longest time before a thread sees that it is to end, or is wanted again

_ROOM = 2  # frames between the inbox and the topics: one that is published, the engine's first

Item = TypeVar('Item')


class Inbox(Generic[Item]):
    """Holds one item for each sender; a newer one takes the place of one not yet taken.

    Any thread puts, one thread takes and says how it ended. Putting never waits for the taker.
    """

    def __init__(self, senders: Sequence[str]) -> None:
        self._changed = Condition()
        self._waiting: Dict[str, Item] = {}
        self._counts: Dict[str, FrameCounts] = {sender: FrameCounts() for sender in senders}
        self._open = True

    def overtaken(self, sender: str, count: int) -> None:
        """Count items that newer ones overtook on their way here."""
        with self._changed:
            counts = self._counts[sender]
            self._counts[sender] = counts._replace(
                received=counts.received + count, overtaken=counts.overtaken + count
            )

    def put(self, sender: str, item: Item) -> None:
        """Leave the newest item of a sender."""
        with self._changed:
            counts = self._counts[sender]
            if sender in self._waiting:
                counts = counts._replace(overtaken=counts.overtaken + 1)
            else:
                counts = counts._replace(pending=counts.pending + 1)
            self._counts[sender] = counts._replace(received=counts.received + 1)
            self._waiting[sender] = item
            self._changed.notify()

    def take(
        self, timeout: Optional[float] = None, most: Optional[int] = None, newer: float = 0.0
    ) -> List[Tuple[str, Item]]:
        """Take what has waited longest; waits for the first. Empty after the timeout or closed.

        most: as many. newer: seconds that a newer one is waited for where one waits already.
        """
        with self._changed:
            if newer and self._waiting:
                self._changed.wait(newer)
            self._changed.wait_for(lambda: self._waiting or not self._open, timeout)
            senders = list(self._waiting)[:most]
            return [(sender, self._waiting.pop(sender)) for sender in senders]

    def ended(self, sender: str, ending: Ending) -> None:
        """Count how an item ended that was taken."""
        with self._changed:
            counts = self._counts[sender]
            count = getattr(counts, ending.value)
            self._counts[sender] = counts._replace(
                pending=counts.pending - 1, **{ending.value: count + 1}
            )

    def counts(self, sender: str) -> FrameCounts:
        """What became of a sender's items so far."""
        with self._changed:
            return self._counts[sender]

    def close(self) -> None:
        """Wake the taker for good."""
        with self._changed:
            self._open = False
            self._changed.notify()


class _Batch(NamedTuple):
    """Frames that the engine has together, and what to call for their results.

    last: of those that were started together.
    """

    tasks: List[FrameTask]
    finish: Callable[[], List[Outcome]]
    last: bool


_Results = Tuple[_Batch, List[Outcome]]


class FrameWorker:
    """Segments and publishes in threads of its own, so that the executor never waits.

    The engine is started, used and stopped in one thread, as GPU contexts want it; it is given
    the next frames, if they have come, before the last ones' results are taken. Another thread
    publishes these.

    inbox: where images are left, by their cameras' names. supervisor: of the engine. report:
    takes one line about a frame that gave no mask.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        streams: Sequence[CameraStream],
        parameters: NodeParameters,
        report: Callable[[str], None],
    ) -> None:
        self.supervisor = supervisor
        self._streams: Dict[str, CameraStream] = {stream.name: stream for stream in streams}
        self._turns = list(streams)  # whose frame was taken longest ago comes first
        self.inbox: Inbox[ImageMessage] = Inbox(tuple(self._streams))
        self._parameters = parameters
        self._report = report
        self._pace = Pace()
        self._room = Semaphore(_ROOM)
        self._started: Deque[_Batch] = deque()
        self._results: SimpleQueue[Optional[_Results]] = SimpleQueue()
        self._ended = Event()
        self._opened = Event()
        self._opening: Optional[Exception] = None
        self._thread = Thread(target=self._run, name='segmentation', daemon=True)
        self._publisher = Thread(target=self._publish_all, name='publishing', daemon=True)

    def start(self) -> None:
        """Start the threads and wait until the engine runs; raises what starting it raises."""
        self._thread.start()
        self._opened.wait()
        if self._opening is not None:
            self._thread.join()
            raise self._opening
        self._publisher.start()

    def stop(self) -> None:
        """Finish the frames in hand, stop the engine and end the threads."""
        self._ended.set()
        self.inbox.close()
        for thread in (self._thread, self._publisher):
            if thread.ident is not None:
                thread.join()

    @property
    def alive(self) -> bool:
        """Whether both threads are at work."""
        return self._thread.is_alive() and self._publisher.is_alive()

    def _run(self) -> None:
        try:
            self.supervisor.open()
        except Exception as error:
            self._opening = error
            return
        finally:
            self._opened.set()
        for _ in range(self.supervisor.at_once - 1):
            self._room.release()
        try:
            while not self._ended.is_set():
                if self.supervisor.broken and not self._started:
                    self._restart_engine()
                else:
                    self._turn()
            while self._started:
                self._finish_next()
        finally:
            self._results.put(None)
            self._publisher.join()  # what it has may be memory of the engine
            self.supervisor.close()

    def _restart_engine(self) -> None:
        """Try to start a broken engine, once its pause is over."""
        self._ended.wait(min(self.supervisor.retry_in or 0.0, _POLL))
        if self.supervisor.retry_in == 0.0 and not self.supervisor.revive():
            self._report(f'the engine {one_line(self.supervisor.state.failure)}')

    def _turn(self) -> None:
        """Start the next frames when they are due, then take the results of those before."""
        under_way, overlaps = bool(self._started), self.supervisor.overlaps
        # The results of those before are not held back for a frame that does not come.
        patience = max(0.0, self._pace.free - monotonic()) if under_way else _POLL
        free = not under_way or (overlaps and not self.supervisor.broken)
        room = free and self._room.acquire(timeout=patience)
        if room and not self._start_waiting(under_way):
            self._room.release()
        if under_way:
            self._finish_next()

    def _start_waiting(self, under_way: bool) -> bool:
        """Let frames in and start them, those of several cameras together; tell whether any came.

        under_way: whether the engine has others.
        """
        together, enabled = self.supervisor.together, self._parameters.settings.enabled
        streams = [stream for stream in self._turns if enabled and stream.wanted]
        if under_way:
            streams = streams[:together]
        lead = sum(stream.lead for stream in streams)
        due = self._pace.due - lead
        if under_way and due > self._pace.free:
            return False  # publishing is what takes longest
        self._ended.wait(max(0.0, due - monotonic()))
        for stream in streams:
            stream.gate.open()
        patience, newer = _POLL, 0.0
        if under_way:
            patience, newer = max(0.0, self._pace.free - monotonic()), lead
        taken = self.inbox.take(patience, together, newer)
        # Those that were asked and are silent let the others go first, as those that were taken.
        served = [*streams, *(self._streams[camera] for camera, _ in taken)]
        self._turns.sort(key=served.count)
        settings, tasks = self._parameters.settings, []  # as they are now, after the waiting
        for camera, message in taken:
            task = self._take(camera, message, settings)
            if task:
                tasks.append(task)
        batches = _batches(tasks, settings)
        for number, (wanted, group) in enumerate(batches, 1):
            finish = self.supervisor.start([task.frame for task in group], wanted)
            self._started.append(_Batch(group, finish, number == len(batches)))
            self._pace.started()
        return bool(batches)

    def _finish_next(self) -> None:
        """Wait for the results of what was started first, and hand them on."""
        batch = self._started.popleft()
        results = batch.finish()
        times = [result.times for result in results if not isinstance(result, EngineError)]
        if times:  # as the engine says itself
            seconds = sum(time.inference for time in times) * 1e-3
            self._pace.took('engine', seconds / self.supervisor.at_once)
            self._pace.took('labels', sum(time.postprocess for time in times) * 1e-3)
        self._results.put((batch, results))

    def _publish_all(self) -> None:
        """Publish results in their order, until there are no more."""
        for batch, results in iter(self._results.get, None):
            begun = monotonic()
            for task, result in zip(batch.tasks, results):
                self._publish(task, result)
            self._pace.took('publishing', monotonic() - begun)
            if batch.last:
                self._room.release()

    def _take(self, camera: str, message: ImageMessage, settings: Settings) -> Optional[FrameTask]:
        try:
            task = self._streams[camera].take(message, settings)
        except FrameError as error:
            self._problem(camera, Ending.REJECTED, str(error))
        except Exception as error:  # a library's own kind must not end the thread
            self._problem(camera, Ending.REJECTED, f'{type(error).__name__}: {error}')
        else:
            if task is None:
                self.inbox.ended(camera, Ending.UNWANTED)
            return task
        return None

    def _publish(self, task: FrameTask, result: Outcome) -> None:
        if isinstance(result, EngineError):
            self._problem(task.camera, Ending.FAILED, str(result))
            return
        try:
            self._streams[task.camera].publish(task, result)
        except Exception as error:  # whatever it is, the next frame may be better
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._problem(
                task.camera,
                Ending.FAILED,
                f'cannot publish: {type(error).__name__}: {error} ({where.name}, '
                f'{where.filename}:{where.lineno})',
            )
        else:
            self.inbox.ended(task.camera, Ending.SEGMENTED)

    def _problem(self, camera: str, ending: Ending, reason: str) -> None:
        reason = one_line(reason)
        self._streams[camera].statistics.problem(monotonic(), reason)
        self.inbox.ended(camera, ending)
        which = f' of camera {camera}' if camera else ''
        self._report(f'frame{which} {ending.value}: {reason}')


def _batches(
    tasks: Sequence[FrameTask], settings: Settings
) -> List[Tuple[Wanted, List[FrameTask]]]:
    """Tasks that go through the engine together, with what any of them wants.

    All that want the same size of mask; what is drivable is the same for all cameras.
    """
    groups: Dict[Optional[Tuple[int, int]], List[FrameTask]] = {}
    for task in tasks:
        groups.setdefault(task.mask_size, []).append(task)
    batches = []
    for size, group in groups.items():
        demands = [task.demand for task in group]
        overlay = any(demand.drawn for demand in demands)
        wanted = Wanted(
            any(demand.confidence or demand.drivable for demand in demands),
            settings.upsampling,
            size,
            settings.overlay_opacity if overlay else None,
            next((task.free for task in group if task.demand.drivable), ()),
        )
        batches.append((wanted, group))
    return batches
