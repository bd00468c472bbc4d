"""Frame worker: the thread that owns the engine and segments the newest frame of each camera."""

from __future__ import annotations

import traceback
from collections import deque
from enum import Enum
from threading import Condition, Event, Thread
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
from segformer_ros.node.segmentation.live_parameters import FrameTask, ImageMessage, NodeParameters
from segformer_ros.node.segmentation.parameters import Settings

_POLL = 0.2  # seconds; longest time before the thread sees that it is to end

Item = TypeVar('Item')


class Ending(Enum):
    """How a frame ended that was taken out of the inbox."""

    SEGMENTED = 'segmented'
    REJECTED = 'rejected'
    """Not an image that can be used (FrameError)."""
    FAILED = 'failed'
    """The engine or the publishing failed on it."""
    UNWANTED = 'unwanted'
    """Nobody subscribed, or the node was disabled."""


class FrameCounts(NamedTuple):
    """What became of one camera's frames; `received` is the sum of all the others.

    overtaken: a newer frame came before they were taken, here or in the middleware's queue.
    """

    received: int = 0
    segmented: int = 0
    overtaken: int = 0
    rejected: int = 0
    failed: int = 0
    unwanted: int = 0
    pending: int = 0
    """Waiting or being segmented: not yet decided."""


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

    def take(self, timeout: Optional[float] = None) -> List[Tuple[str, Item]]:
        """Take all that waits; waits for the first. Empty after the timeout or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open, timeout)
            taken = list(self._waiting.items())
            self._waiting.clear()
            return taken

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
    """Frames that the engine has together, and what to call for their results."""

    tasks: List[FrameTask]
    finish: Callable[[], List[Outcome]]


class FrameWorker:
    """Segments and publishes in a thread of its own, so that the executor never waits.

    The engine is started, used and stopped in this one thread, as GPU contexts want it. A GPU is
    given the next frames, if they have come, before the last ones' results are published.

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
        self.inbox: Inbox[ImageMessage] = Inbox(tuple(self._streams))
        self._parameters = parameters
        self._report = report
        self._started: Deque[_Batch] = deque()
        self._ended = Event()
        self._opened = Event()
        self._opening: Optional[Exception] = None
        self._thread = Thread(target=self._run, name='segmentation', daemon=True)

    def start(self) -> None:
        """Start the thread and wait until the engine runs; raises what starting it raises."""
        self._thread.start()
        self._opened.wait()
        if self._opening is not None:
            self._thread.join()
            raise self._opening

    def stop(self) -> None:
        """Finish the frames in hand, stop the engine and end the thread."""
        self._ended.set()
        self.inbox.close()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def _run(self) -> None:
        try:
            self.supervisor.open()
        except Exception as error:
            self._opening = error
            return
        finally:
            self._opened.set()
        try:
            while not self._ended.is_set():
                if self._started:
                    self._publish_next()
                elif self.supervisor.broken:
                    self._restart_engine()
                else:
                    self._start_waiting(_POLL)
            while self._started:
                self._publish_next()
        finally:
            self.supervisor.close()

    def _restart_engine(self) -> None:
        """Try to start a broken engine, once its pause is over."""
        self._ended.wait(min(self.supervisor.retry_in or 0.0, _POLL))
        if self.supervisor.retry_in == 0.0 and not self.supervisor.revive():
            self._report(f'the engine {one_line(self.supervisor.state.failure)}')

    def _start_waiting(self, timeout: float) -> None:
        """Start all frames that wait, those of several cameras in one batch."""
        waiting = self.inbox.take(timeout)
        settings = self._parameters.settings
        taken = [self._take(camera, message, settings) for camera, message in waiting]
        for wanted, tasks in _batches([task for task in taken if task], settings):
            finish = self.supervisor.start([task.frame for task in tasks], wanted)
            self._started.append(_Batch(tasks, finish))

    def _publish_next(self) -> None:
        tasks, finish = self._started.popleft()
        results = finish()
        idle = self.supervisor.overlaps and not self._started and not self.supervisor.broken
        if idle and not self._ended.is_set():
            self._start_waiting(0.0)  # the device has work while these are published
        for task, result in zip(tasks, results):
            self._publish(task, result)

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
