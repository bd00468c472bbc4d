"""Worker: the thread that owns the engine and segments the newest frame of each camera."""

from __future__ import annotations

import traceback
from collections import deque
from threading import Event, Thread
from time import monotonic
from typing import Callable, Deque, Dict, List, NamedTuple, Optional, Sequence, Tuple

from segformer_ros.engines import EngineError, Outcome, Wanted
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.errors import one_line
from segformer_ros.frame import Frame, FrameError
from segformer_ros.node.camera_stream import CameraStream, Demand, ImageMessage
from segformer_ros.node.inbox import Ending, Inbox, Tally
from segformer_ros.node.parameters import Settings

_POLL = 0.2  # seconds; longest time before the thread sees that it is to end

Report = Callable[[str], None]


class Job(NamedTuple):
    """One frame on its way through the engine."""

    stream: CameraStream
    message: ImageMessage
    frame: Frame
    demand: Demand


class Started(NamedTuple):
    """Frames that the engine has together, and what to call for their results."""

    jobs: List[Job]
    finish: Callable[[], List[Outcome]]


class Worker:
    """Segments and publishes in a thread of its own, so that the executor never waits.

    The engine is started, used and stopped in this one thread, as GPU contexts want it. A GPU is
    given the next frames, if they have come, before the last ones' results are published.
    `report` takes one line about a frame that gave no mask.
    """

    def __init__(
        self,
        keeper: Supervisor,
        streams: Sequence[CameraStream],
        settings: Callable[[], Settings],
        report: Report,
    ) -> None:
        self.keeper = keeper
        self._streams: Dict[str, CameraStream] = {stream.name: stream for stream in streams}
        self._inbox: Inbox[ImageMessage] = Inbox(tuple(self._streams))
        self._settings = settings
        self._report = report
        self._started: Deque[Started] = deque()
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
        self._inbox.close()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def alive(self) -> bool:
        """Whether the thread is at work."""
        return self._thread.is_alive()

    def deliver(self, camera: str, message: ImageMessage) -> None:
        """Leave a camera's newest image; takes the place of one that still waits."""
        self._inbox.put(camera, message)

    def overtaken(self, camera: str, count: int) -> None:
        """Count images that newer ones overtook in the middleware's queue."""
        self._inbox.overtaken(camera, count)

    def tally(self, camera: str) -> Tally:
        """What became of a camera's frames so far."""
        return self._inbox.tally(camera)

    def _run(self) -> None:
        try:
            self.keeper.open()
        except Exception as error:
            self._opening = error
            return
        finally:
            self._opened.set()
        try:
            while not self._ended.is_set():
                self._round()
            while self._started:
                self._publish_next()
        finally:
            self.keeper.close()

    def _round(self) -> None:
        """One batch on its way and its results out, or a look at the engine."""
        if self._started:
            self._publish_next()
        elif self.keeper.retry_in is None:
            self._start_waiting(_POLL)
        else:
            self._mend(self.keeper.retry_in)

    def _mend(self, wait: float) -> None:
        self._ended.wait(min(wait, _POLL))
        if self.keeper.retry_in == 0.0 and not self.keeper.revive():
            self._report(f'the engine {one_line(self.keeper.state.failure)}')

    def _start_waiting(self, timeout: float) -> None:
        """Start all frames that wait, those of several cameras in one batch."""
        waiting = self._inbox.take(timeout)
        settings = self._settings()
        admitted = [self._admitted(camera, message, settings) for camera, message in waiting]
        for wanted, jobs in _batches([job for job in admitted if job], settings):
            finish = self.keeper.start([job.frame for job in jobs], wanted)
            self._started.append(Started(jobs, finish))

    def _publish_next(self) -> None:
        jobs, finish = self._started.popleft()
        results = finish()
        idle = self.keeper.overlaps and not self._started and self.keeper.retry_in is None
        if idle and not self._ended.is_set():
            self._start_waiting(0.0)  # the device has work while these are published
        for job, result in zip(jobs, results):
            self._finish(job, result)

    def _admitted(self, camera: str, message: ImageMessage, settings: Settings) -> Optional[Job]:
        stream = self._streams[camera]
        demand = stream.demand
        if not (settings.enabled and demand.anything):
            self._inbox.settle(camera, Ending.UNWANTED)
            return None
        try:
            frame = stream.frame(message, settings.max_megapixels)
            return Job(stream, message, frame, demand)
        except FrameError as error:
            self._problem(stream, Ending.REJECTED, str(error))
        except Exception as error:  # a library's own kind must not end the thread
            self._problem(stream, Ending.REJECTED, f'{type(error).__name__}: {error}')
        return None

    def _finish(self, job: Job, result: Outcome) -> None:
        if isinstance(result, EngineError):
            self._problem(job.stream, Ending.FAILED, str(result))
            return
        try:
            job.stream.publish(job.demand, job.message, job.frame, result)
        except Exception as error:  # whatever it is, the next frame may be better
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._problem(
                job.stream,
                Ending.FAILED,
                f'cannot publish: {type(error).__name__}: {error} ({where.name}, '
                f'{where.filename}:{where.lineno})',
            )
            return
        self._inbox.settle(job.stream.name, Ending.SEGMENTED)

    def _problem(self, stream: CameraStream, ending: Ending, reason: str) -> None:
        reason = one_line(reason)
        stream.statistics.problem(monotonic(), reason)
        self._inbox.settle(stream.name, ending)
        camera = f' of camera {stream.name}' if stream.name else ''
        self._report(f'frame{camera} {ending.value}: {reason}')


def _batches(jobs: Sequence[Job], settings: Settings) -> List[Tuple[Wanted, List[Job]]]:
    """Jobs that go through the engine together: all that want the same size of mask."""
    groups: Dict[Optional[Tuple[int, int]], List[Job]] = {}
    for job in jobs:
        groups.setdefault(settings.mask_size(job.frame.height, job.frame.width), []).append(job)
    return [(_wanted(group, settings, size), group) for size, group in groups.items()]


def _wanted(jobs: Sequence[Job], settings: Settings, size: Optional[Tuple[int, int]]) -> Wanted:
    """All that any of the jobs wants; what is drivable is the same for all cameras."""
    demands = [job.demand for job in jobs]
    overlay = any(demand.masks.any_overlay for demand in demands)
    return Wanted(
        any(demand.confidence for demand in demands),
        settings.upsampling,
        size,
        settings.overlay_opacity if overlay else None,
        next((demand.free for demand in demands if demand.drivable), ()),
    )
