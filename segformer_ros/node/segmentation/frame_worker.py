# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Frame worker: segments the newest frame of each camera while earlier results are published.

A pipeline of three stages with one frame each: inference, labels of the previous frame (in
engines that overlap), and publishing of the one before that. A frame is taken from the middleware
as late as possible without any stage waiting for it.
"""

from __future__ import annotations

import traceback
from collections import deque
from queue import SimpleQueue
from threading import Condition, Event, Semaphore, Thread
from time import monotonic
from typing import (
    TYPE_CHECKING,
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
from segformer_ros.node.segmentation.frame_task import Ending, FrameCounts, FrameTask
from segformer_ros.node.segmentation.parameters import NodeParameters, Settings
from segformer_ros.node.segmentation.statistics import Pace

if TYPE_CHECKING:
    from segformer_ros.node.segmentation.camera_stream import CameraStream
    from segformer_ros.node.segmentation.frame_task import ImageMessage

_POLL = 0.05  # seconds; longest time until a thread notices that it must end, or has work again

_ROOM = 2  # frames between inbox and topics: one being published, and the engine's first

Item = TypeVar('Item')


class Inbox(Generic[Item]):
    """Holds the newest item of each sender; it replaces one that has not been taken yet.

    Any thread may put; one thread takes items and reports their outcome. `put` never blocks.
    """

    def __init__(self, senders: Sequence[str]) -> None:
        self._changed = Condition()
        self._waiting: Dict[str, Item] = {}
        self._counts: Dict[str, FrameCounts] = {sender: FrameCounts() for sender in senders}
        self._open = True

    def overtaken(self, sender: str, count: int) -> None:
        """Count items that were replaced by newer ones on the way here."""
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
        """Take what has waited longest, or wait for the first; empty after timeout or close.

        most: how many at most. newer: seconds to wait for a newer item if one is there already.
        """
        with self._changed:
            if newer and self._waiting:
                self._changed.wait(newer)
            self._changed.wait_for(lambda: self._waiting or not self._open, timeout)
            senders = list(self._waiting)[:most]
            return [(sender, self._waiting.pop(sender)) for sender in senders]

    def ended(self, sender: str, ending: Ending) -> None:
        """Count the outcome of an item that was taken."""
        with self._changed:
            counts = self._counts[sender]
            count = getattr(counts, ending.value)
            self._counts[sender] = counts._replace(
                pending=counts.pending - 1, **{ending.value: count + 1}
            )

    def counts(self, sender: str) -> FrameCounts:
        """Outcomes of a sender's items so far."""
        with self._changed:
            return self._counts[sender]

    def close(self) -> None:
        """Wake the taker for good."""
        with self._changed:
            self._open = False
            self._changed.notify()


class _Batch(NamedTuple):
    """Frames that were given to the engine together; `finish` waits for their results.

    last: whether this is the last batch of those started in one turn.
    """

    tasks: List[FrameTask]
    finish: Callable[[], List[Outcome]]
    last: bool


_Results = Tuple[_Batch, List[Outcome]]


class FrameWorker:
    """Segments and publishes in threads of its own, so that the executor never waits.

    The engine is started, used and stopped in one thread, as GPU contexts require. It gets the
    next frames, if there are any, before the results of the previous ones are taken. Another
    thread publishes these.

    inbox: for images, by camera name. supervisor: of the engine.
    """

    def __init__(self, supervisor: Supervisor, cameras: Sequence[str]) -> None:
        self.supervisor = supervisor
        self.inbox: Inbox[ImageMessage] = Inbox(cameras)
        self._streams: Dict[str, CameraStream] = {}
        self._turns: List[CameraStream] = []  # round robin: first the one served longest ago
        self._parameters: NodeParameters
        self._report: Callable[[str], None]
        self._pace = Pace()
        self._room = Semaphore(_ROOM)
        self._started: Deque[_Batch] = deque()
        self._results: SimpleQueue[Optional[_Results]] = SimpleQueue()
        self._ended = Event()
        self._opened = Event()
        self._opening: Optional[Exception] = None
        self._served = Event()
        self._thread = Thread(target=self._run, name='segmentation', daemon=True)
        self._publisher = Thread(target=self._publish_all, name='publishing', daemon=True)

    def start(self, alone: float = 0.0) -> None:
        """Start the engine in the worker's thread; return when it runs, or after some seconds."""
        self._thread.start()
        self._opened.wait(alone)

    def serve(
        self,
        streams: Sequence[CameraStream],
        parameters: NodeParameters,
        report: Callable[[str], None],
    ) -> None:
        """Serve the cameras as soon as the engine runs; raises its error if it cannot.

        report: called with one line about each frame that gave no mask.
        """
        self._opened.wait()
        if self._opening is not None:
            self._thread.join()
            raise self._opening
        self._streams = {stream.name: stream for stream in streams}
        self._turns = list(streams)
        self._parameters, self._report = parameters, report
        self._publisher.start()
        self._served.set()

    def stop(self) -> None:
        """Finish the frames in flight, stop the engine and end the threads."""
        self._ended.set()
        self._served.set()
        self.inbox.close()
        for thread in (self._thread, self._publisher):
            if thread.ident is not None:
                thread.join()

    @property
    def alive(self) -> bool:
        """Whether both threads are running."""
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
        self._served.wait()
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
            if self._publisher.ident is not None:
                self._publisher.join()  # its results may lie in memory of the engine
            self.supervisor.close()

    def _restart_engine(self) -> None:
        """Try to restart a broken engine, once its back-off is over."""
        self._ended.wait(min(self.supervisor.retry_in or 0.0, _POLL))
        if self.supervisor.retry_in == 0.0 and not self.supervisor.revive():
            self._report(f'the engine {one_line(self.supervisor.state.failure)}')

    def _turn(self) -> None:
        """Start the next frames when they are due, then take the results of the previous ones."""
        under_way, overlaps = bool(self._started), self.supervisor.overlaps
        # Finished results are not held back for a frame that does not come.
        patience = max(0.0, self._pace.free - monotonic()) if under_way else _POLL
        free = not under_way or (overlaps and not self.supervisor.broken)
        room = free and self._room.acquire(timeout=patience)
        if room and not self._start_waiting(under_way):
            self._room.release()
        if under_way:
            self._finish_next()

    def _start_waiting(self, under_way: bool) -> bool:
        """Let frames in and start them, several cameras' together; tell whether any came.

        under_way: whether the engine is working on others.
        """
        together, enabled = self.supervisor.together, self._parameters.settings.enabled
        streams = [stream for stream in self._turns if enabled and stream.wanted]
        if under_way:
            streams = streams[:together]
        lead = sum(stream.lead for stream in streams)
        due = self._pace.due - lead
        if under_way and due > self._pace.free:
            return False  # publishing is the bottleneck: no hurry
        self._ended.wait(max(0.0, due - monotonic()))
        for stream in streams:
            stream.gate.open()
        patience, newer = _POLL, 0.0
        if under_way:
            patience, newer = max(0.0, self._pace.free - monotonic()), lead
        taken = self.inbox.take(patience, together, newer)
        # Cameras that were served, or asked in vain, go to the end of the queue.
        served = [*streams, *(self._streams[camera] for camera, _ in taken)]
        self._turns.sort(key=served.count)
        settings, tasks = self._parameters.settings, []  # they may have changed meanwhile
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
        """Wait for the results of the oldest batch, and pass them to the publishing thread."""
        batch = self._started.popleft()
        results = batch.finish()
        times = [result.times for result in results if not isinstance(result, EngineError)]
        if times:  # measured by the engine itself
            seconds = sum(time.inference for time in times) * 1e-3
            self._pace.took('engine', seconds / self.supervisor.at_once)
            self._pace.took('labels', sum(time.postprocess for time in times) * 1e-3)
        self._results.put((batch, results))

    def _publish_all(self) -> None:
        """Publish results in order, until None comes."""
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
        except Exception as error:  # of whatever kind: it must not end the thread
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
        except Exception as error:  # of whatever kind: it must not end the thread
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
    """Group tasks by the size of their masks, each group with everything that any task wants.

    (What is drivable is the same for all cameras.)
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
