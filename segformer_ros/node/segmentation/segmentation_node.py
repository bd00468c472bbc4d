# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The segmentation node: a lifecycle node with one worker and a stream for each camera."""

from __future__ import annotations

import logging
import sys
import traceback
from functools import partial
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Iterable,
    List,
    Mapping,
    NamedTuple,
    Optional,
    Sequence,
)

from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleState, TransitionCallbackReturn
from rclpy.logging import get_logger
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from segformer_ros.camera import BodySwing
from segformer_ros.drivable import DrivableAreaEstimator, GroundMap
from segformer_ros.engines import Engine
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.errors import in_words, is_expected
from segformer_ros.model import ModelSpec
from segformer_ros.node.drivable_settings import (
    MountSettings,
    drivable_config,
    map_config,
    mount_pose,
)
from segformer_ros.node.parameter import build
from segformer_ros.node.program import Program, bridge_logs, is_renamed, run_node, spin
from segformer_ros.node.segmentation.engine_setup import make_engine
from segformer_ros.node.segmentation.frame_worker import FrameWorker
from segformer_ros.node.segmentation.lifecycle import Bond, ManagedNode, bond_status
from segformer_ros.node.segmentation.native_stderr import sieved_stderr
from segformer_ros.node.segmentation.parameters import NodeParameters, Settings, node_parameters

if TYPE_CHECKING:
    from segformer_ros.node.segmentation.camera_geometry import ImuSwing
    from segformer_ros.node.segmentation.camera_stream import CameraStream
    from segformer_ros.node.segmentation.diagnostics import Reporter
    from segformer_ros.node.segmentation.map_output import MapOutput
    from segformer_ros.node.segmentation.transforms import TransformSource

NODE_NAME = 'segmentation_node'

SUCCESS, FAILURE, ERROR = (
    TransitionCallbackReturn.SUCCESS,
    TransitionCallbackReturn.FAILURE,
    TransitionCallbackReturn.ERROR,
)

WATCH_PERIOD = 0.05
"""Seconds between two runs of the watchdog: its delay, on top of drivable.max_age."""

WATCH_PERIOD_IDLE = 0.25
"""The same, at most, while nobody subscribes to a drivable area or the map."""

_THROTTLE = 5.0  # seconds between two lines about frames without a mask

_HEAD_START = 0.1
"""Seconds in which an engine loads its library, which takes twice as long beside other imports."""

_log = logging.getLogger(__name__)


class Ahead(NamedTuple):
    """An engine that is started before the node is created, and with which settings."""

    settings: Settings
    engine: Engine
    worker: FrameWorker


def check_settings(
    settings: Settings, mounts: Iterable[MountSettings], engine: Optional[Engine]
) -> None:
    """Raise ValueError for settings that contradict each other or the engine's class map."""
    memory = map_config(settings.drivable)
    if engine:
        GroundMap(memory, engine.spec.class_map)
    for mount in mounts:
        mount_pose(mount)
        config = drivable_config(settings.drivable, mount)
        if engine:
            DrivableAreaEstimator(config, engine.spec.class_map)


class SegmentationNode(ManagedNode):
    """Segments the images of one or more cameras.

    unconfigured -> inactive: the model is loaded, the engine runs, the topics exist.
    inactive -> active: images come in and masks go out.

    ahead: an engine for the first `configure`, used if its settings are the node's.
    Raises ParameterError for an invalid parameter at start.
    """

    def __init__(self, ahead: Optional[Ahead] = None, **arguments: Any) -> None:
        super().__init__(NODE_NAME, **arguments)
        self._ahead = ahead
        self._engine: Optional[Engine] = None
        self._worker: Optional[FrameWorker] = None
        self._streams: List[CameraStream] = []
        self._map: Optional[MapOutput] = None
        self._reporter: Optional[Reporter] = None
        self._watch_timer: Any = None
        self._enable_service: Any = None
        self._transforms: Optional[TransformSource] = None
        self._swing: Optional[ImuSwing] = None
        self._bond: Optional[Bond] = None
        self._active = False
        self._table = NodeParameters(self, self._is_configured, self._check)
        for warning in self._table.unknown():
            self.get_logger().warning(warning)

    @property
    def settings(self) -> Settings:
        """The current parameters."""
        return self._table.settings

    @property
    def worker(self) -> Optional[FrameWorker]:
        """The worker, from `configure` to `cleanup`."""
        return self._worker

    def autostart(self) -> bool:
        """Configure and activate, if the parameter says so; returns whether nothing failed."""
        if not self.settings.autostart:
            return True
        return self.trigger_configure() == SUCCESS and self.trigger_activate() == SUCCESS

    # --- Transitions --------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the model, start the engine and create all topics."""
        result = self._attempt('configure', self._configure, self.release)
        return result or super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Start taking images."""
        result = super().on_activate(state)  # the publishers: `_activate` publishes
        undo = partial(self.on_deactivate, state)
        return self._attempt('activate', self._activate, undo) or result

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images, and publish the last drivable area as not valid."""
        stop = partial(self._deactivate, 'the node was deactivated')
        return self._attempt('deactivate', stop) or super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the engine and release all resources."""
        return self._attempt('clean up', self.release) or super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the engine and release all resources, for good."""
        return self._attempt('shut down', self.release) or super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Release all resources, so that the node can be configured again."""
        return self._attempt('end after an error', self.release) or super().on_error(state)

    def release(self) -> None:
        """Stop the worker and the engine, and destroy what `configure` created."""
        self._deactivate('the node was shut down')
        if self._ahead:
            self._ahead.worker.stop()
            self._ahead = None
        if self._worker:
            self._worker.stop()
        if self._swing:
            self._swing.close()
        if self._transforms:
            self._transforms.close()
        if self._reporter:
            self._reporter.destroy()
        if self._watch_timer:
            self.destroy_timer(self._watch_timer)
        if self._enable_service:
            self.destroy_service(self._enable_service)
        for stream in self._streams:
            stream.destroy()
        if self._map:
            self._map.destroy()
        self._map = None
        self._engine = self._worker = self._reporter = self._transforms = self._swing = None
        self._watch_timer = self._enable_service = None
        self._streams = []

    def _attempt(
        self,
        name: str,
        action: Callable[[], None],
        undo: Optional[Callable[[], Any]] = None,
    ) -> Optional[TransitionCallbackReturn]:
        """Run a transition's work; returns None, FAILURE (to be corrected) or ERROR (a bug).

        undo: reverts what a failed action has begun, so that it can be tried again.
        """
        try:
            action()
        except Exception as error:
            if undo and is_expected(error):
                self.get_logger().error(f'cannot {name}: {in_words(error)}')
                undo()
                return FAILURE
            self.get_logger().fatal(f'error in {name}:\n{traceback.format_exc()}')
            return ERROR
        return None

    def _configure(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead and ahead.settings == self.settings:
            _, self._engine, self._worker = ahead
        elif ahead:
            ahead.worker.stop()
        engine = self._engine = self._engine or make_engine(
            self.settings, self.create_subscription
        )
        for note in engine.spec.notes:
            _log.warning('%s: %s', engine.spec.path.name, note)
        self._check(self.settings, self._table.mounts)
        worker = self._worker = self._worker or start_worker(engine, self.settings)
        self._make_topics(engine.spec, worker)
        worker.serve(self._streams, self._table, self._on_problem)
        self._watch_timer = self.create_timer(
            WATCH_PERIOD, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )
        self._enable_service = self.create_service(SetBool, '~/set_enabled', self._on_set_enabled)
        facts = ', '.join(f'{key} {value}' for key, value in engine.facts().items())
        self.get_logger().info(f'configured: {facts}')

    def _make_topics(self, spec: ModelSpec, worker: FrameWorker) -> None:
        # What is imported here loads while the engine is started, which takes longer.
        from segformer_ros.node.segmentation.camera_stream import CameraStream, Shared
        from segformer_ros.node.segmentation.diagnostics import Reporter
        from segformer_ros.node.segmentation.map_output import MapOutput

        transforms = self._tf()
        self._map = MapOutput(self, spec.class_map, self._table, transforms)
        shared = Shared(spec, self._table, self._vision(), transforms, self._map, self._imu())
        self._streams = [CameraStream(self, name, shared) for name in self.settings.camera_names]
        self._reporter = Reporter(self, worker, self._streams, self._table, self._idle)

    def _activate(self) -> None:
        assert self._worker and self._map
        self._active = True
        self._map.open()
        for stream in self._streams:
            stream.start(self._worker.inbox.put, self._worker.inbox.overtaken)
        status, period = bond_status(), self.settings.bond_heartbeat_period
        if status and period:
            self._bond = Bond(self, status, period)

    def _deactivate(self, reason: str) -> None:
        if self._bond:
            self._bond.end()
            self._bond = None
        if self._active:
            self._active = False
            for stream in self._streams:
                stream.stop(reason)
            if self._map:
                self._map.close()

    # --- Optional neighbours ------------------------------------------------------------------

    def _vision(self) -> Any:
        from segformer_ros.node.messages import vision_messages

        vision = vision_messages()
        if vision is None:
            self.get_logger().info(
                'vision_msgs (4.1 or later) is not installed: segmentation/label_info is not '
                'published'
            )
        return vision

    def _tf(self) -> Optional[TransformSource]:
        if not self.settings.drivable.use_tf:
            return None
        from segformer_ros.node.segmentation.transforms import listen_to_tf

        transforms = self._transforms = listen_to_tf(self)
        if transforms is None:
            self.get_logger().info(
                "tf2_ros is not installed: the camera's mount comes from the mount parameters"
            )
        return transforms

    def _imu(self) -> Optional[BodySwing]:
        """The swing of the vehicle's body, if the parameter asks for it."""
        if not self.settings.drivable.use_imu:
            return None
        from segformer_ros.node.segmentation.camera_geometry import ImuSwing

        self._swing = swing = ImuSwing(
            self, self._transforms, self.settings.drivable.vehicle_frame
        )
        return swing.body

    # --- Callbacks ----------------------------------------------------------------------------

    def _is_configured(self) -> bool:
        return self._worker is not None

    def _check(self, settings: Settings, mounts: Mapping[str, MountSettings]) -> None:
        check_settings(settings, mounts.values(), self._engine)

    def _idle(self) -> str:
        if not self._active:
            return 'inactive'
        return '' if self.settings.enabled else 'disabled: enabled is false'

    def _watch(self) -> None:
        if not self._active or not self._worker:
            return
        failure = self._worker.supervisor.state.failure
        outage = f'the engine failed: {failure}' if failure else ''
        if not self.settings.enabled:
            outage = 'segmentation is disabled: enabled is false'
        wanted = [stream.drivable.watch(outage) for stream in self._streams]
        if self._map:
            wanted.append(self._map.watch())
        idle = max(WATCH_PERIOD, min(WATCH_PERIOD_IDLE, self.settings.drivable.max_age / 2))
        self._watch_timer.timer_period_ns = int(1e9 * (WATCH_PERIOD if any(wanted) else idle))

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        result = self.set_parameters([Parameter('enabled', value=request.data)])[0]
        response.success = result.successful
        response.message = result.reason or f'enabled is {str(request.data).lower()}'
        return response

    def _on_problem(self, line: str) -> None:
        self.get_logger().warning(line, throttle_duration_sec=_THROTTLE)


PROGRAM = Program(
    NODE_NAME,
    'Segments the images of one or several cameras: mask, confidence, overlay and drivable area',
    node_parameters(),
    'config/segment.yaml is a parameter file to copy; doc/parameters.md has the table, with what '
    'may be changed while the node runs.',
)


def main(arguments: Optional[List[str]] = None) -> None:
    """Run the node until it is interrupted; exits with 1 where it cannot start."""
    typed = sys.argv[1:] if arguments is None else arguments
    run_node(PROGRAM, partial(_create, typed), _segment, SegmentationNode.release, typed)


def start_worker(engine: Engine, settings: Settings) -> FrameWorker:
    """A worker that starts the engine in its thread."""
    worker = FrameWorker(Supervisor(engine), settings.camera_names)
    try:
        worker.start(alone=_HEAD_START)
    except BaseException:  # an interrupt
        worker.stop()
        raise
    return worker


def start_ahead(arguments: Sequence[str]) -> Optional[Ahead]:
    """Start the engine with the command line's parameters, while ROS creates the node.

    None if the node is not to start by itself, or if these parameters may not be its own, or fail.
    """
    settings = build(Settings, PROGRAM.check(arguments))
    if not settings.autostart or is_renamed(arguments, NODE_NAME):
        return None
    try:
        engine = make_engine(settings, SegmentationNode.create_subscription)
        check_settings(settings, [MountSettings()], engine)
    except Exception:  # `configure` meets it again, and reports it
        return None
    return Ahead(settings, engine, start_worker(engine, settings))


def _create(arguments: Sequence[str]) -> SegmentationNode:
    bridge_logs(get_logger(NODE_NAME))  # of the engine; it has the node's own later
    ahead = start_ahead(arguments)
    try:
        return SegmentationNode(ahead)
    except BaseException:
        if ahead:
            ahead.worker.stop()
        raise


def _segment(node: SegmentationNode) -> bool:
    bridge_logs(node.get_logger())
    with sieved_stderr():
        if not node.autostart():
            return False
        spin(node)
        return True
