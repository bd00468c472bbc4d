# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Reporter: publishes the diagnostics of all cameras and of the engine, and logs what is wrong."""

from __future__ import annotations

from time import monotonic
from typing import Any, Callable, Dict, NamedTuple, Sequence

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from segformer_ros import topics
from segformer_ros.node.segmentation.camera_stream import CameraStream
from segformer_ros.node.segmentation.diagnostics import (
    CameraState,
    camera_status,
    engine_status,
    loss_cure,
)
from segformer_ros.node.segmentation.frame_worker import FrameWorker
from segformer_ros.node.segmentation.live_parameters import NodeParameters
from segformer_ros.node.segmentation.watchdog import Now

LASTING = 5.0
"""Seconds for which a status must stay as it is to be told: cameras start after nodes do."""


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
        # By the steady clock: that simulated time stands still is what they may have to say.
        self._timer = node.create_timer(
            parameters.settings.diagnostics_period,
            self.publish,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )

    def destroy(self) -> None:
        """Give back timer and publisher."""
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
    """Level of a status and since when; whether that was considered; whether a warning stands."""

    level: bytes
    since: float
    considered: bool
    warned: bool


class StatusLog:
    """Tells of each status that is no longer well, and that is well again, in one line each.

    logger: a node's. clock: seconds, never going back.
    """

    def __init__(self, logger: Any, clock: Callable[[], float] = monotonic) -> None:
        self._logger = logger
        self._clock = clock
        self._seen: Dict[str, _Seen] = {}

    def note(self, statuses: Sequence[DiagnosticStatus]) -> None:
        """Take in what is published on /diagnostics now."""
        for status in statuses:
            self._note(status)

    def forget(self) -> None:
        """Begin anew: what is wrong counts from now on."""
        self._seen.clear()

    def _note(self, status: DiagnosticStatus) -> None:
        now, well = self._clock(), status.level == DiagnosticStatus.OK
        seen = self._seen.get(status.name, _Seen(DiagnosticStatus.OK, now, True, False))
        if status.level != seen.level:
            seen = _Seen(status.level, now, False, seen.warned)
        if not seen.considered and now - seen.since >= LASTING:
            line = f'{status.name.split(": ", 1)[-1]}: {status.message}'
            if not well:
                self._logger.warning(line)
            elif seen.warned:
                self._logger.info(line)
            seen = seen._replace(considered=True, warned=not well)
        self._seen[status.name] = seen
