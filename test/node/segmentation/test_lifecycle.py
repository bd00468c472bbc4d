# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The node under a manager: it answers every request in every state, and does as Nav2's says."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetAvailableStates, GetAvailableTransitions, GetState
from node_rig import MASK, MakeRig, Rig, street_image
from rclpy.lifecycle import Node as LifecycleNode
from rclpy.lifecycle import TransitionCallbackReturn

from segformer_ros.node.segmentation import lifecycle, segmentation_node
from segformer_ros.node.segmentation.lifecycle import Bond

pytestmark = pytest.mark.ros

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
DEACTIVATE, CLEANUP = Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP
UNCONFIGURED_SHUTDOWN = Transition.TRANSITION_UNCONFIGURED_SHUTDOWN

WAYS: dict[str, tuple[int, ...]] = {
    'unconfigured': (),
    'inactive': (CONFIGURE,),
    'active': (CONFIGURE, ACTIVATE),
    'finalized': (UNCONFIGURED_SHUTDOWN,),
}
"""Requests that lead to each state."""

ALLOWED = {
    'unconfigured': {CONFIGURE, UNCONFIGURED_SHUTDOWN},
    'inactive': {ACTIVATE, CLEANUP, Transition.TRANSITION_INACTIVE_SHUTDOWN},
    'active': {DEACTIVATE, Transition.TRANSITION_ACTIVE_SHUTDOWN},
    'finalized': set(),
}


class Manager:
    """Asks as Nav2's lifecycle manager does: change the state, then see what it is."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self._clients: dict[str, Any] = {}

    def ask(self, service: Any, name: str, request: Any = None) -> Any:
        """Answer of one of the node's services."""
        if name not in self._clients:
            full = f'segmentation_node/{name}'
            self._clients[name] = self.rig.probe.create_client(service, full)
        client = self._clients[name]
        assert self.rig.spin_until(client.service_is_ready)
        future = client.call_async(request or service.Request())
        assert self.rig.spin_until(future.done), f'no answer of {name}'
        return future.result()

    def change(self, number: int = 0, label: str = '') -> bool:
        """Ask for a transition; whether the node says that it went well."""
        request = ChangeState.Request(transition=Transition(id=number, label=label))
        return bool(self.ask(ChangeState, 'change_state', request).success)

    @property
    def state(self) -> State:
        """The node's state, by its service."""
        return self.ask(GetState, 'get_state').current_state

    def to(self, state: str) -> None:
        """Bring a new node into a state."""
        assert all(self.change(number) for number in WAYS[state])
        assert self.state.label == state


@pytest.fixture
def manager(make_rig: MakeRig) -> Manager:
    return Manager(make_rig(autostart=False))


@pytest.mark.parametrize('state', WAYS)
def test_every_request_in_every_state_is_answered(manager: Manager, state: str) -> None:
    manager.to(state)
    refused = [number for number in range(256) if number not in ALLOWED[state]]
    assert not any(manager.change(number) for number in refused)
    for label in ('', 'fly', 'transition_success', 'x' * 100_000, 'configure\n', 'Ünknown'):
        assert not manager.change(label=label)
    assert manager.state.label == state
    assert manager.ask(GetAvailableStates, 'get_available_states').available_states
    allowed = manager.ask(GetAvailableTransitions, 'get_available_transitions')
    numbers = {entry.transition.id for entry in allowed.available_transitions}
    assert numbers == ALLOWED[state]
    assert manager.ask(GetAvailableTransitions, 'get_transition_graph').available_transitions


@pytest.mark.parametrize(
    ('state', 'number'), [(state, n) for state in WAYS for n in sorted(ALLOWED[state])]
)
def test_what_a_state_allows_is_done(manager: Manager, state: str, number: int) -> None:
    manager.to(state)
    assert manager.change(number)
    assert manager.state.label != state


def test_a_label_counts_before_the_number(manager: Manager) -> None:
    assert not manager.change(CONFIGURE, 'activate')
    assert manager.change(ACTIVATE, 'configure')
    assert manager.state.label == 'inactive'
    assert manager.change(label='shutdown')
    assert manager.state.label == 'finalized'


def test_a_refusal_says_what_is_possible(manager: Manager, capfd: Any) -> None:
    manager.to('active')
    assert not manager.change(CONFIGURE)
    assert not manager.change(label='x' * 100_000)
    log = capfd.readouterr().err
    words = 'the node is active, which allows deactivate (4), shutdown (7)'
    assert f'transition 1 is refused: {words}' in log
    assert max(map(len, log.splitlines())) < 300


def test_an_active_node_that_is_asked_to_configure_goes_on(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK)
    assert not Manager(rig).change(CONFIGURE)
    rig.segment(street_image())


def test_an_rclpy_that_raises_and_one_that_does_not_are_the_same(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    """What gets as far as rclpy and fails there: before version 8 it raises."""

    def raises(request: Any, response: Any) -> Any:
        raise RuntimeError('Failed to trigger lifecycle state machine transition')

    monkeypatch.setattr(manager.rig.node, '_change_state', raises)
    assert not manager.change(CONFIGURE)
    assert manager.state.label == 'unconfigured'
    assert 'RuntimeError: Failed to trigger' in capfd.readouterr().err


@pytest.mark.parametrize('method', ['_deactivate', 'release'])
def test_a_bug_in_any_transition_is_told_and_answered(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, capfd: Any, method: str
) -> None:
    manager.to('active')
    original, raised = getattr(manager.rig.node, method), itertools.count()

    def broken(*arguments: Any) -> None:
        original(*arguments)
        if next(raised) == 0:
            raise KeyError('a bug')

    monkeypatch.setattr(manager.rig.node, method, broken)
    assert [manager.change(DEACTIVATE), manager.change(CLEANUP)].count(True) <= 1
    assert manager.state.label == 'unconfigured'
    assert "KeyError: 'a bug'" in capfd.readouterr().err
    manager.to('active')


def test_an_activation_that_fails_may_be_tried_again(
    manager: Manager, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, 'No space left on device', '/dev/shm')

    manager.to('inactive')
    stream = manager.rig.node._streams[0]
    monkeypatch.setattr(stream, 'start', full)
    assert not manager.change(ACTIVATE)
    assert manager.state.label == 'inactive'
    assert 'cannot activate: /dev/shm: the disk is full; ' in capfd.readouterr().err
    monkeypatch.undo()
    assert manager.change(ACTIVATE)
    manager.rig.subscribe(MASK)
    manager.rig.segment(street_image())


# --- Nav2's lifecycle manager -------------------------------------------------------------------

SEQUENCES: dict[str, tuple[tuple[int, int], ...]] = {
    # nav2_lifecycle_manager: each request, and the state that it must lead to
    'startup': (
        (CONFIGURE, State.PRIMARY_STATE_INACTIVE),
        (ACTIVATE, State.PRIMARY_STATE_ACTIVE),
    ),
    'pause': ((DEACTIVATE, State.PRIMARY_STATE_INACTIVE),),
    'resume': ((ACTIVATE, State.PRIMARY_STATE_ACTIVE),),
    'reset': (
        (DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
    ),
    'shutdown': (
        (DEACTIVATE, State.PRIMARY_STATE_INACTIVE),
        (CLEANUP, State.PRIMARY_STATE_UNCONFIGURED),
        (UNCONFIGURED_SHUTDOWN, State.PRIMARY_STATE_FINALIZED),
    ),
}


def test_nav2_brings_it_up_and_down(manager: Manager) -> None:
    for command in ('startup', 'pause', 'resume', 'reset', 'startup', 'shutdown'):
        for number, expected in SEQUENCES[command]:
            assert manager.change(number), command
            assert manager.state.id == expected, command
        if command == 'startup':
            manager.rig.subscribe(MASK)
        if command in ('startup', 'resume'):
            if command == 'resume':
                camera = manager.rig._publishers['image']
                assert manager.rig.spin_until(camera.get_subscription_count)
            manager.rig.segment(street_image())


class Recorder:
    """Stands in for a node: notes what a bond does with it."""

    class Status:
        """bond/Status, as far as it is written."""

        def __init__(self, **fields: Any) -> None:
            self.header = type('Header', (), {'stamp': None})()
            self.__dict__.update(fields)

    def __init__(self) -> None:
        self.sent: list[tuple[str, str, bool]] = []
        self.events: list[str] = []
        self.beat: Any = None

    def get_name(self) -> str:
        """Name of the node."""
        return 'segmentation_node'

    def get_clock(self) -> Any:
        """Give a clock whose time is 7."""
        now = type('Time', (), {'to_msg': lambda self: 7})
        return type('Clock', (), {'now': lambda self: now()})()

    def create_publisher(self, kind: Any, topic: str, qos: Any) -> Any:
        """Note what is published."""
        self.events.append(f'{topic} {qos.depth}')
        return self

    def create_timer(self, period: float, callback: Any, clock: Any) -> str:
        """Take the heartbeat's callback."""
        self.beat = callback
        return f'timer {period}'

    def publish(self, message: Any) -> None:
        """Note a status."""
        assert message.header.stamp == 7
        self.sent.append((message.id, message.instance_id, message.active))

    def wait_for_all_acked(self, timeout: Any) -> None:
        """Note that the end has arrived."""
        self.events.append('acked')

    def destroy_timer(self, timer: str) -> None:
        """Note the end of a timer."""
        self.events.append(f'end of {timer}')

    def destroy_publisher(self, publisher: Any) -> None:
        """Note the end of a publisher."""
        self.events.append('end of publisher')


def test_a_bond_beats_until_it_says_that_it_ends() -> None:
    node: Any = Recorder()
    bond = Bond(node, Recorder.Status, 0.25)
    node.beat()
    node.beat()
    bond.end()
    assert [(name, active) for name, _, active in node.sent] == [
        ('segmentation_node', True), ('segmentation_node', True), ('segmentation_node', False),
    ]  # fmt: skip
    assert len({instance for _, instance, _ in node.sent}) == 1
    assert node.events == ['bond 5', 'end of timer 0.25', 'acked', 'end of publisher']


def test_a_bond_lasts_as_long_as_the_node_is_active(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Noted:
        def __init__(self, node: LifecycleNode, status: Any, period: float) -> None:
            events.append(f'bond {period}')

        def end(self) -> None:
            events.append('end')

    monkeypatch.setattr(segmentation_node, 'bond_status', lambda: object)
    monkeypatch.setattr(segmentation_node, 'Bond', Noted)
    manager.to('inactive')
    assert events == []
    assert manager.change(ACTIVATE)
    assert events == ['bond 0.25']
    assert manager.change(DEACTIVATE)
    assert events == ['bond 0.25', 'end']
    assert manager.change(ACTIVATE)
    assert manager.change(label='shutdown')
    assert events == ['bond 0.25', 'end'] * 2


def test_no_bond_is_made_where_none_is_wanted(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segmentation_node, 'bond_status', lambda: object)
    monkeypatch.setattr(segmentation_node, 'Bond', None)
    rig = make_rig(bond_heartbeat_period=0.0)
    assert rig.node.trigger_configure() == TransitionCallbackReturn.SUCCESS
    assert rig.node.trigger_activate() == TransitionCallbackReturn.SUCCESS


def test_nav2s_manager_finds_the_bond(manager: Manager) -> None:
    """With the real message: within two seconds of activation, as the manager waits."""
    status = lifecycle.bond_status()
    if status is None:
        pytest.skip('bond is not installed')
    heard: list[Any] = []
    manager.rig.probe.create_subscription(status, 'bond', heard.append, 100)
    manager.to('active')
    assert manager.rig.spin_until(lambda: any(message.active for message in heard), 2.0)
    assert {message.id for message in heard} == {'segmentation_node'}
    assert manager.change(DEACTIVATE)
    assert manager.rig.spin_until(lambda: not heard[-1].active)
