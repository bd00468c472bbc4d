# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Diagnostics: the state of the cameras and the engine on /diagnostics and in the log."""

from __future__ import annotations

import os
from time import monotonic
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from segformer_ros import topics
from segformer_ros.engines.supervisor import EngineState
from segformer_ros.errors import one_line
from segformer_ros.node.segmentation.camera_stream import CameraStream
from segformer_ros.node.segmentation.frame_task import FrameCounts
from segformer_ros.node.segmentation.frame_worker import FrameWorker
from segformer_ros.node.segmentation.losses import RECENT
from segformer_ros.node.segmentation.parameters import NodeParameters
from segformer_ros.node.segmentation.statistics import CameraFigures
from segformer_ros.node.segmentation.watchdog import Now
from segformer_ros.node.transport import (
    has_shipped_profile,
    profile_variable,
    shared_memory_fault,
    shipped_profile,
)

TOLERATED_LOSS = 0.005
"""Share of lost frames from which a camera gets a warning."""

STRANGE_AGE = 10.0
"""Seconds; a mask that is older, or as far in the future, is stamped by another clock."""

_LONGEST_MESSAGE = 4000  # characters; a message may have several complaints

OK, WARN, ERROR, STALE = (
    DiagnosticStatus.OK,
    DiagnosticStatus.WARN,
    DiagnosticStatus.ERROR,
    DiagnosticStatus.STALE,
)

_CURES: Dict[str, str] = {
    'rmw_fastrtps_cpp': 'give {whom} {profile}',
    'rmw_fastrtps_dynamic_cpp': 'give {whom} {profile}',
    'rmw_cyclonedds_cpp': (
        "raise net.core.rmem_max and the max of CycloneDDS' SocketReceiveBufferSize "
        '(doc/transport.md has the lines)'
    ),
}
"""What to do about lost frames, by middleware."""


class CameraState(NamedTuple):
    """Everything that is reported of one camera; strings are empty if they do not apply.

    idle: why its frames are not segmented though nothing is wrong. uncalibrated: why its drivable
    area is not in metres. mismatch: its topic has publishers of other types only. pose_source:
    where the camera's pose over the ground comes from. lost_tf: why it no longer comes from TF.
    mount, mount_warning: result of the mount check, and which angles look wrong.
    """

    name: str
    topic: str
    publishers: int
    figures: CameraFigures
    counts: FrameCounts
    idle: str
    uncalibrated: str
    mismatch: str = ''
    pose_source: str = ''
    lost_tf: str = ''
    mount: str = ''
    mount_warning: str = ''


class Assessment(NamedTuple):
    """Level of a status and its message."""

    level: bytes
    message: str


def camera_status(
    node: str, camera: CameraState, silent_after: float, cure: str
) -> DiagnosticStatus:
    """Status of one camera."""
    assessment = camera_assessment(camera, silent_after, cure)
    figures, counts = camera.figures, camera.counts
    values = {
        'topic': camera.topic,
        'rate in (Hz)': f'{figures.rate_in:.1f}',
        'rate out (Hz)': f'{figures.rate_out:.1f}',
        'age p50 (ms)': f'{figures.age.p50 * 1e3:.1f}',
        'age p99 (ms)': f'{figures.age.p99 * 1e3:.1f}',
        **{f'{name} (ms)': f'{cost * 1e3:.2f}' for name, cost in figures.costs.items()},
        **{name: str(count) for name, count in counts._asdict().items()},
        'lost': str(figures.losses.lost),
        'camera pose from': camera.pose_source,
        'last problem': figures.last_problem
        and f'{figures.last_problem} ({figures.problem_age:.0f} s ago)',
    }
    if camera.mount:
        values['mount check (degrees)'] = camera.mount
    name = f'camera {camera.name}' if camera.name else 'camera'
    return _status(f'{node}: {name}', camera.name or 'camera', assessment, values)


def camera_assessment(camera: CameraState, silent_after: float, cure: str) -> Assessment:
    """Level and message of a camera; the worst problem comes first."""
    figures = camera.figures
    losses = _losses(figures, cure)
    if figures.silence is None or figures.silence > silent_after:
        # With Fast DDS defaults hardly any 1080p image arrives, though the camera is alive.
        return Assessment(STALE, _joined(_silence(camera), losses))
    complaints = [
        complaint
        for complaint in (
            losses,
            _skips(figures),
            _clocks(figures),
            f'frames without a mask: {figures.last_problem}' if figures.recent_problem else '',
            f'drivable area without metres: {camera.uncalibrated}' if camera.uncalibrated else '',
            _lost_tf(camera),
            _invalid_areas(figures),
            camera.mount_warning,
        )
        if complaint
    ]
    if complaints:
        return Assessment(WARN, '; '.join(complaints))
    return Assessment(OK, camera.idle or f'segmenting at {figures.rate_out:.1f} Hz')


def engine_status(node: str, state: EngineState, alive: bool) -> DiagnosticStatus:
    """Status of the engine."""
    if not alive:
        assessment = Assessment(ERROR, 'the segmentation thread has ended; restart the node')
    elif state.failure:
        assessment = Assessment(ERROR, f'the engine failed: {state.failure}')
    else:
        assessment = Assessment(OK, 'running')
    values = {**state.facts, 'restarts': str(state.restarts)}
    return _status(f'{node}: engine', state.facts.get('device', ''), assessment, values)


def loss_cure(middleware: str) -> str:
    """What to do about frames that are lost on the way, for this middleware."""
    cure = _CURES.get(middleware, f'see doc/transport.md for {middleware}')
    if 'fastrtps' in middleware:
        small = shared_memory_fault()
        cure = small if small and os.environ.get(profile_variable()) else _joined(cure, small)
    whom = (
        'the camera driver, as this node,'
        if has_shipped_profile()
        else 'the camera driver and this node'
    )
    return cure.format(whom=whom, profile=f'{profile_variable()}={shipped_profile()}')


def _silence(camera: CameraState) -> str:
    if camera.publishers == 0:
        return f'nobody publishes on {camera.topic}; start the camera, or remap the topic'
    if camera.figures.silence is None:
        waits = f'no image has come on {camera.topic} yet, though it has a publisher'
        return camera.mismatch or waits
    return f'silent: the last image on {camera.topic} came {camera.figures.silence:.1f} s ago'


def _joined(*parts: str) -> str:
    return '; '.join(filter(None, parts))


def _tolerable(count: int, total: int) -> bool:
    return count <= max(1, TOLERATED_LOSS * total)


def _losses(figures: CameraFigures, cure: str) -> str:
    lost = figures.losses.recently_lost
    expected = lost + figures.recently_received
    if _tolerable(lost, expected):
        return ''
    if figures.losses.by_stamps:
        return (
            f'{lost} of {expected} frames are missing by their stamps in the last {RECENT:g} s: '
            f'the camera driver did not send them, or they were lost on the way here; {cure}'
        )
    return (
        f'{lost} of {expected} frames were lost on the way here in the last {RECENT:g} s; {cure}'
    )


def _skips(figures: CameraFigures) -> str:
    skipped = figures.losses.recently_skipped
    expected = skipped + figures.losses.recently_lost + figures.recently_received
    if _tolerable(skipped, expected):
        return ''
    return (
        f'the camera driver did not send {skipped} of {expected} frames in the last {RECENT:g} s: '
        "the stamps have gaps, the middleware's numbers have none; look at the camera's cable, "
        'its exposure time and the load of its machine'
    )


def _invalid_areas(figures: CameraFigures) -> str:
    invalid = figures.recently_invalid
    total = invalid + figures.recently_valid
    if _tolerable(invalid, total):
        return ''
    return (
        f'{invalid} of {total} drivable areas were not valid in the last {RECENT:g} s: '
        f'{figures.invalid_reason}; make inference faster (a smaller input, a GPU), or raise '
        'drivable.max_age if the vehicle may act on older images'
    )


def _lost_tf(camera: CameraState) -> str:
    if not camera.lost_tf or camera.uncalibrated:
        return ''
    return (
        f"the camera's pose comes from the mount parameters, no longer from TF: {camera.lost_tf}"
    )


def _clocks(figures: CameraFigures) -> str:
    if not abs(figures.age.p50) > STRANGE_AGE:  # it is NaN at first
        return ''
    return (
        f'the stamps are {figures.age.p50:.3g} s off the clock of this node; play recordings with '
        '--clock and set use_sim_time, or synchronise the clocks'
    )


def _status(
    name: str, hardware: str, assessment: Assessment, values: Dict[str, str]
) -> DiagnosticStatus:
    pairs: List[KeyValue] = [
        KeyValue(key=key, value=one_line(value)) for key, value in values.items()
    ]
    return DiagnosticStatus(
        level=assessment.level,
        name=name,
        message=one_line(assessment.message, _LONGEST_MESSAGE),
        hardware_id=hardware,
        values=pairs,
    )


LASTING = 5.0
"""Seconds for which a status must last before it is logged: cameras start after nodes do."""


class Reporter:
    """Publishes on /diagnostics by a timer, from `configure` to `cleanup`."""

    def __init__(
        self,
        node: Node,
        worker: FrameWorker,
        streams: Sequence[CameraStream],
        parameters: NodeParameters,
        idle: Callable[[], str],
    ) -> None:
        self._node = node
        self._worker = worker
        self._streams = streams
        self._parameters = parameters
        self._idle = idle
        self._middleware = rclpy.get_rmw_implementation_identifier()
        self._log = StatusLog(node.get_logger())
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 1)
        # On the steady clock, to report even that simulated time stands still.
        self._timer = node.create_timer(
            parameters.settings.diagnostics_period,
            self.publish,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def destroy(self) -> None:
        """Destroy timer and publisher."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def publish(self) -> None:
        """Publish one status for the engine and one for each camera."""
        now = Now.of(self._node.get_clock())
        name, settings = self._node.get_fully_qualified_name(), self._parameters.settings
        array = DiagnosticArray()
        cure = loss_cure(self._middleware)
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [
            engine_status(name, self._worker.supervisor.state, self._worker.alive),
            *(
                camera_status(name, self._state(stream, now), settings.silent_after, cure)
                for stream in self._streams
            ),
        ]
        self._publisher.publish(array)
        if self._idle():
            self._log.forget()  # nobody expects frames
        else:
            self._log.note(array.status)

    def _state(self, stream: CameraStream, now: Now) -> CameraState:
        demand, check = stream.demand, stream.drivable.mount_check
        stream.count_overtaken()
        return CameraState(
            name=stream.name,
            topic=stream.topic,
            publishers=stream.publishers_found,
            figures=stream.statistics.snapshot(now.steady),
            counts=self._worker.inbox.counts(stream.name),
            idle=self._idle() or ('' if any(demand) else 'idle: nobody subscribes'),
            uncalibrated=stream.drivable.uncalibrated if demand.drivable else '',
            mismatch=stream.mismatch,
            pose_source=stream.drivable.pose_source if demand.drivable else '',
            lost_tf=stream.drivable.lost_tf if demand.drivable else '',
            mount=check.found,
            mount_warning=check.warning,
        )


class _Seen(NamedTuple):
    """Level of a status, since when, whether that is settled, and whether a warning was logged."""

    level: bytes
    since: float
    considered: bool
    warned: bool


class StatusLog:
    """Logs one line when a status is no longer OK, and one when it is OK again.

    logger: a node's. clock: monotonic seconds.
    """

    def __init__(self, logger: Any, clock: Callable[[], float] = monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._seen: Dict[str, _Seen] = {}

    def note(self, statuses: Sequence[DiagnosticStatus]) -> None:
        """Take the statuses that are published on /diagnostics now."""
        for status in statuses:
            self._note(status)

    def forget(self) -> None:
        """Start over: problems are timed from now on."""
        self._seen.clear()

    def _note(self, status: DiagnosticStatus) -> None:
        now, is_ok = self._clock(), status.level == DiagnosticStatus.OK
        seen = self._seen.get(status.name, _Seen(DiagnosticStatus.OK, now, True, False))
        if status.level != seen.level:
            seen = _Seen(status.level, now, False, seen.warned)
        if not seen.considered and now - seen.since >= LASTING:
            line = f'{status.name.split(": ", 1)[-1]}: {status.message}'
            if not is_ok:
                self._logger.warning(line)
            elif seen.warned:
                self._logger.info(line)
            seen = seen._replace(considered=True, warned=not is_ok)
        self._seen[status.name] = seen
