# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Liveness: whatever was stopped and started meanwhile, masks come again.

Cameras, subscribers, parameters, the lifecycle and the engine are changed at random while frames
are under way; then all is put right, and each camera that sends is to have a new mask.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from node_rig import MASK, TYPES, street_image
from rcl_interfaces.srv import SetParameters
from rclpy.executors import (
    MultiThreadedExecutor,
    SingleThreadedExecutor,
)
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from spinner import Spinner

from segformer_ros.engines import Pending, Wanted, supervisor
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.node.segmentation import segmentation_node
from segformer_ros.node.segmentation.segmentation_node import SegmentationNode

BOUND = 90.0
"""Seconds until a mask must have come; on an idle machine it takes some hundredths."""

OTHERS = ('segmentation/overlay', 'segmentation/confidence', 'drivable_area')

CONFIGURE, CLEANUP = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_CLEANUP
ACTIVATE, DEACTIVATE = Transition.TRANSITION_ACTIVATE, Transition.TRANSITION_DEACTIVATE
TOWARDS_ACTIVE = {
    State.PRIMARY_STATE_UNCONFIGURED: CONFIGURE,
    State.PRIMARY_STATE_INACTIVE: ACTIVATE,
}


class StuckError(AssertionError):
    """No mask came, or no answer of a service; says what was done before."""


class Trouble:
    """How the fake engine is to behave: patched in while it is entered."""

    def __init__(self) -> None:
        self.delay = 0.0
        self.failing = self.failing_later = self.dead = False
        self._start, self._activate = FakeEngine.start, FakeEngine.activate
        self._waits = supervisor.FIRST_WAIT, supervisor.LONGEST_WAIT

    def __enter__(self) -> Trouble:
        trouble, original, activate = self, self._start, self._activate

        def start(engine: FakeEngine, frames: Sequence[Frame], wanted: Wanted) -> Pending:
            if trouble.failing:
                raise RuntimeError('fails at once')
            pending, later = original(engine, frames, wanted), trouble.failing_later

            def finish() -> Any:
                time.sleep(trouble.delay)
                found = pending()
                if later:
                    raise RuntimeError('fails in the end')
                return found

            return finish

        def activated(engine: FakeEngine) -> None:
            if trouble.dead:
                raise RuntimeError('does not start')
            activate(engine)

        FakeEngine.start = start  # type: ignore[assignment,method-assign]
        FakeEngine.activate = activated  # type: ignore[assignment,method-assign]
        supervisor.FIRST_WAIT, supervisor.LONGEST_WAIT = 0.02, 0.2
        return self

    def __exit__(self, *error: object) -> None:
        FakeEngine.start = self._start  # type: ignore[method-assign]
        FakeEngine.activate = self._activate  # type: ignore[method-assign]
        supervisor.FIRST_WAIT, supervisor.LONGEST_WAIT = self._waits

    def end(self) -> None:
        """Let the engine be well."""
        self.delay = 0.0
        self.failing = self.failing_later = self.dead = False


class Liveness:
    """A node in an executor of its own, and a probe that plays cameras, users and managers.

    ROS is initialised. seed: of the set-up and of all that is done. waits: seconds until the
    first mask, after each time that all was put right.
    """

    def __init__(self, seed: int) -> None:
        self._chance = chance = np.random.default_rng([seed, 21])
        self.done: list[str] = []
        self.counts: Counter[str] = Counter()
        self.waits: list[float] = []
        names = ['', 'a', 'b', 'c'][1 : 1 + int(chance.integers(1, 4))]
        self._cameras = names if len(names) > 1 else ['']
        self._trouble = Trouble()
        given: dict[str, Any] = {
            'engine': 'fake',
            'fake_delay': float(chance.choice([0.0, 0.005, 0.05])),
            'diagnostics_period': float(chance.choice([0.2, 60.0])),
            **{f'{name}.mount.height' if name else 'mount.height': 1.5 for name in self._cameras},
            'drivable.use_tf': False,
        }
        if len(names) > 1:
            given['cameras'] = names
        self._overlaps = bool(chance.integers(2))
        self._together = int(chance.choice([0, 2]))
        threads = int(chance.choice([1, 3]))
        # By chance without the timer that wakes the executor in any case.
        self._rare = bool(chance.integers(2))
        self.facts = f'{given}, overlaps {self._overlaps}, batch {self._together}, {threads=}'
        namespace = f'/liveness{seed}'
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        self._node = SegmentationNode(namespace=namespace, parameter_overrides=overrides)
        self._probe = rclpy.create_node('probe', namespace=namespace)
        self._executor = (
            SingleThreadedExecutor() if threads == 1 else MultiThreadedExecutor(threads)
        )
        self._executor.add_node(self._node)
        self._mine = SingleThreadedExecutor()
        self._mine.add_node(self._probe)
        self._spinner = Spinner(self._executor)
        self._clients: dict[str, Any] = {}
        self._publishers: dict[str, list[Any]] = {name: [] for name in self._cameras}
        self._subscriptions: dict[str, Any] = {}
        self._newest: dict[str, int] = dict.fromkeys(self._cameras, 0)

    def __enter__(self) -> Liveness:
        self._before = FakeEngine.overlaps, FakeEngine.max_batch, segmentation_node.WATCH_PERIOD
        FakeEngine.overlaps = self._overlaps  # type: ignore[method-assign,assignment]
        FakeEngine.max_batch = self._together  # type: ignore[method-assign,assignment]
        if self._rare:
            segmentation_node.WATCH_PERIOD = 3600.0
        self._trouble.__enter__()
        self._spinner.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._trouble.end()
        self._spinner.stop(BOUND)
        self._node.release()
        self._mine.shutdown()
        self._node.destroy_node()
        self._probe.destroy_node()
        self._trouble.__exit__()
        FakeEngine.overlaps, FakeEngine.max_batch = self._before[:2]  # type: ignore[method-assign]
        segmentation_node.WATCH_PERIOD = self._before[2]

    def run(self) -> None:
        """Do a few things at random, put all right, and wait for masks; raises StuckError."""
        actions: list[Callable[[], str]] = [
            self._camera,
            self._camera,
            self._second_publisher,
            self._subscriber,
            self._subscriber,
            self._enable,
            self._size,
            self._engine,
            self._engine,
            self._film,
            self._film,
            self._rest,
        ]
        if isinstance(self._executor, SingleThreadedExecutor):
            # rclpy's other executor ends with InvalidHandle where a subscription is destroyed in
            # one of its threads while it begins to wait for it.
            actions.append(self._lifecycle)
        for number in self._chance.integers(0, len(actions), self._chance.integers(1, 12)):
            what = actions[number]()
            self.done.append(what)
            self.counts[what.partition(' ')[0]] += 1
        self._put_right()
        self._expect_masks()

    # --- What is done -------------------------------------------------------------------------

    def _one(self) -> str:
        return str(self._chance.choice(self._cameras))

    def _camera(self) -> str:
        name = self._one()
        if self._publishers[name]:
            self._stop(name)
            return f'stop {name}'
        self._begin(name)
        return f'start {name}'

    def _second_publisher(self) -> str:
        name = self._one()
        self._begin(name)
        return f'another {name}'

    def _subscriber(self) -> str:
        topic = self._topic(self._one(), str(self._chance.choice([MASK, *OTHERS])))
        if topic in self._subscriptions:
            self._probe.destroy_subscription(self._subscriptions.pop(topic))
            return f'unsubscribe {topic}'
        self._subscribe(topic)
        return f'subscribe {topic}'

    def _enable(self) -> str:
        value = bool(self._chance.integers(2))
        self._set('enabled', value)
        return f'enabled {value}'

    def _size(self) -> str:
        value = int(self._chance.choice([0, 32, 64]))
        self._set('mask_width', value)
        return f'mask_width {value}'

    def _lifecycle(self) -> str:
        number = int(self._chance.choice([CONFIGURE, ACTIVATE, DEACTIVATE, DEACTIVATE, CLEANUP]))
        self._change(number)
        return f'transition {number}'

    def _engine(self) -> str:
        kind = str(self._chance.choice(['failing', 'failing_later', 'dead', 'delay', 'end']))
        if kind == 'end':
            self._trouble.end()
        elif kind == 'delay':
            self._trouble.delay = float(self._chance.choice([0.01, 0.1, 1.0]))
        else:
            setattr(self._trouble, kind, True)
        return f'engine {kind}'

    def _film(self) -> str:
        count, pause = int(self._chance.integers(1, 30)), float(self._chance.choice([0, 0.01]))
        for _ in range(count):
            self._send()
            if self._chance.random() < 0.05:
                self._send(broken=True)
            self._turn(pause)
        return f'film {count}'

    def _rest(self) -> str:
        self._turn(float(self._chance.choice([0.0, 0.05, 0.5])))
        return 'rest'

    # --- How all comes right ------------------------------------------------------------------

    def _put_right(self) -> None:
        self._trouble.end()
        while self._state() != State.PRIMARY_STATE_ACTIVE:
            self._change(TOWARDS_ACTIVE[self._state()])
        self._set('enabled', True)
        for name in self._cameras:
            if self._topic(name, MASK) not in self._subscriptions:
                self._subscribe(self._topic(name, MASK))
        # Some are silent, as long as one is not.
        sending = [name for name in self._cameras if self._chance.random() < 0.7]
        sending = sending or [self._one()]
        for name in self._cameras:
            if name not in sending:
                self._stop(name)
            elif not self._publishers[name]:
                self._begin(name)
        self.done.append(f'all right, {sending} send')

    def _expect_masks(self) -> None:
        start, since = time.monotonic(), self._probe.get_clock().now().nanoseconds
        left = {name for name in self._cameras if self._publishers[name]}
        pause = float(self._chance.choice([0.005, 0.02, 0.2]))
        while left:
            self._send()
            self._turn(pause)
            left = {name for name in left if self._newest[name] < since}
            if time.monotonic() > start + BOUND:
                raise StuckError(f'no mask of {sorted(left)} ({self.facts}) after {self.done}')
        self.waits.append(time.monotonic() - start)
        self.counts['masks again'] += 1

    # --- The probe ----------------------------------------------------------------------------

    def _topic(self, camera: str, name: str) -> str:
        return f'{camera}/{name}' if camera else name

    def _begin(self, name: str) -> None:
        if len(self._publishers[name]) < 3:
            topic = self._topic(name, 'image')
            self._publishers[name].append(self._probe.create_publisher(Image, topic, 10))

    def _stop(self, name: str) -> None:
        while self._publishers[name]:
            self._probe.destroy_publisher(self._publishers[name].pop())

    def _subscribe(self, topic: str) -> None:
        camera = topic.partition('/')[0] if self._cameras != [''] else ''
        kind = topic[len(camera) + 1 :] if camera else topic
        callback = partial(self._mask, camera) if kind == MASK else partial(self._other, kind)
        self._subscriptions[topic] = self._probe.create_subscription(
            TYPES[kind], topic, callback, 10
        )

    def _mask(self, camera: str, message: Any) -> None:
        stamp = message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec
        self._newest[camera] = max(self._newest[camera], stamp)

    def _other(self, kind: str, message: Any) -> None:
        self.counts[kind] += 1

    def _send(self, broken: bool = False) -> None:
        for publishers in self._publishers.values():
            for publisher in publishers:
                message = street_image(self._probe.get_clock().now().to_msg())
                if broken:
                    message.data = message.data[:100]
                publisher.publish(message)

    def _turn(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while True:
            self._mine.spin_once(timeout_sec=max(0.0, end - time.monotonic()))
            if time.monotonic() >= end:
                return

    def _ask(self, service: Any, name: str, request: Any) -> Any:
        if name not in self._clients:
            full = f'{self._node.get_name()}/{name}'
            self._clients[name] = self._probe.create_client(service, full)
        client, end = self._clients[name], time.monotonic() + BOUND
        asked: Any = None
        while asked is None or not asked.done():
            if asked is None and client.service_is_ready():
                asked = client.call_async(request)
            self._send()  # cameras do not wait for it
            self._turn(0.005)
            if time.monotonic() > end:
                raise StuckError(f'no answer of {name} ({self.facts}) after {self.done}')
        return asked.result()

    def _set(self, name: str, value: Any) -> None:
        parameter = Parameter(name, value=value).to_parameter_msg()
        self._ask(SetParameters, 'set_parameters', SetParameters.Request(parameters=[parameter]))

    def _state(self) -> int:
        return int(self._ask(GetState, 'get_state', GetState.Request()).current_state.id)

    def _change(self, number: int) -> None:
        request = ChangeState.Request(transition=Transition(id=number))
        self._ask(ChangeState, 'change_state', request)
