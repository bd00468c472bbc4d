"""Reporter: publishes the diagnostics of all cameras and of the engine, and logs what is wrong."""

from __future__ import annotations

from typing import Callable, Sequence

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.node import Node

from segformer_ros import topics
from segformer_ros.node.camera_stream import CameraStream
from segformer_ros.node.clocks import Now
from segformer_ros.node.diagnostics import (
    CameraState,
    camera_status,
    engine_status,
    loss_cure,
)
from segformer_ros.node.parameters import Settings
from segformer_ros.node.status_log import StatusLog
from segformer_ros.node.worker import Worker


class Reporter:
    """Publishes on /diagnostics by a timer, from `configure` to `cleanup`."""

    def __init__(
        self,
        node: Node,
        worker: Worker,
        streams: Sequence[CameraStream],
        settings: Callable[[], Settings],
        idle: Callable[[], str],
    ) -> None:
        self._node = node
        self._worker = worker
        self._streams = streams
        self._settings = settings
        self._idle = idle
        self._middleware = rclpy.get_rmw_implementation_identifier()
        self._log = StatusLog(node.get_logger())
        self._publisher = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 1)
        # By the steady clock: that simulated time stands still is what they may have to say.
        self._timer = node.create_timer(
            settings().diagnostics_period,
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
        name, settings = self._node.get_fully_qualified_name(), self._settings()
        array = DiagnosticArray()
        cure = loss_cure(self._middleware)
        array.header.stamp = self._node.get_clock().now().to_msg()
        array.status = [
            engine_status(name, self._worker.keeper.state, self._worker.alive),
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
        demand = stream.demand
        stream.settle()
        return CameraState(
            name=stream.name,
            topic=stream.topic,
            publishers=stream.publishers_found,
            figures=stream.statistics.snapshot(now.steady),
            tally=self._worker.tally(stream.name),
            idle=self._idle() or ('' if demand.anything else 'idle: nobody subscribes'),
            uncalibrated=stream.drivable.uncalibrated if demand.drivable else '',
            mismatch=stream.mismatch,
        )
