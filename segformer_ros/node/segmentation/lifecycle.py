# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Lifecycle: a managed node that survives invalid requests, and its bond with Nav2's manager.

References: lifecycle_msgs; the protocol of ros/bond_core (bondcpp, BondSM), by which Nav2's
lifecycle manager knows whether the nodes that it has activated are alive.
"""

from __future__ import annotations

import traceback
import uuid
from typing import Any, Optional

from rclpy.clock import Clock, ClockType
from rclpy.duration import Duration
from rclpy.lifecycle import Node
from rclpy.qos import QoSProfile

_TOPIC = 'bond'
_QUEUE = 5  # as in bondcpp
_TIMEOUT = 4.0
"""Seconds without a heartbeat after which the other side breaks the bond: bondcpp's default."""
_FAREWELL = Duration(seconds=0.1)
"""Longest wait for the acknowledgement of a bond's end, as in bondcpp."""
_LONGEST_LABEL = 40


class ManagedNode(Node):  # type: ignore[misc]
    """A lifecycle node that refuses transitions that its state does not allow, and continues.

    Before version 8, rclpy raises for such a transition, out of the executor, which ends the node.
    """

    def __init__(self, name: str, **arguments: Any) -> None:
        super().__init__(name, **arguments)
        service = self._service_change_state
        self._change_state = service.callback
        service.callback = self._answer

    def _answer(self, request: Any, response: Any) -> Any:
        """Answer a lifecycle_msgs/ChangeState; a label overrides the id, as in rclpy."""
        wanted = request.transition
        _, state = self._state_machine.current_state
        allowed = {
            number: label for number, label, *_ in self._state_machine.available_transitions
        }
        known = allowed.values() if wanted.label else allowed
        if (wanted.label or wanted.id) in known:
            try:
                return self._change_state(request, response)
            except Exception:
                self.get_logger().fatal(f'error in a transition:\n{traceback.format_exc()}')
        else:
            name = repr(wanted.label[:_LONGEST_LABEL]) if wanted.label else wanted.id
            self.get_logger().warning(
                f'transition {name} is refused: the node is {state}, which allows '
                f'{", ".join(map("{0[1]} ({0[0]})".format, allowed.items())) or "none"}'
            )
        response.success = False
        return response


class Bond:
    """Heartbeats of an active node, whether or not a manager has asked for them.

    status: the message type bond/Status. period: seconds between heartbeats. The manager's own
    heartbeats are not read: it watches this node, not the other way round.
    """

    def __init__(self, node: Node, status: Any, period: float) -> None:
        self._node, self._period = node, period
        self._status = status(
            id=node.get_name(),
            instance_id=str(uuid.uuid4()),
            active=True,
            heartbeat_timeout=_TIMEOUT,
            heartbeat_period=period,
        )
        self._publisher = node.create_publisher(status, _TOPIC, QoSProfile(depth=_QUEUE))
        self._timer = node.create_timer(
            period, self._publish, clock=Clock(clock_type=ClockType.STEADY_TIME)
        )

    def end(self) -> None:
        """Announce that the node is no longer active."""
        self._node.destroy_timer(self._timer)
        self._status.active = False
        self._publish()
        self._publisher.wait_for_all_acked(_FAREWELL)
        self._node.destroy_publisher(self._publisher)

    def _publish(self) -> None:
        self._status.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(self._status)


def bond_status() -> Optional[Any]:
    """The message type bond/Status; None where bond is not installed."""
    try:
        from bond.msg import Status
    except ImportError:
        return None
    return Status
