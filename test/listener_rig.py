# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A node that listens until it is done, and a probe that publishes to it, in one process."""

from __future__ import annotations

import itertools
import time
from typing import Any, Generic, Protocol, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

_numbers = itertools.count()


class Listener(Protocol):
    """What the recorder and the evaluator have in common."""

    def __init__(self, **arguments: Any) -> None: ...
    @property
    def done(self) -> bool: ...
    def close(self) -> None: ...
    def destroy_node(self) -> None: ...


N = TypeVar('N', bound=Listener)


class ListenerRig(Generic[N]):
    """One such node with its parameters, in a namespace of its own."""

    def __init__(self, kind: type[N], **parameters: Any) -> None:
        namespace = f'/listener{next(_numbers)}'
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = kind(namespace=namespace, parameter_overrides=overrides)
        self.probe = rclpy.create_node('probe', namespace=namespace)
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.executor.add_node(self.probe)
        self._publishers: dict[str, Any] = {}

    def send(self, topic: str, content: Any, qos: Any = 10) -> None:
        """Publish, as soon as the node listens, and let it arrive."""
        if topic not in self._publishers:
            publisher = self.probe.create_publisher(type(content), topic, qos)
            self._publishers[topic] = publisher
            end = time.monotonic() + 60
            while not publisher.get_subscription_count():
                assert time.monotonic() < end
                time.sleep(0.01)
        self._publishers[topic].publish(content)
        for _ in range(4):
            self.executor.spin_once(timeout_sec=0.02)

    def spin(self, seconds: float) -> None:
        """Spin for a while."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.executor.spin_once(timeout_sec=0.05)

    def wait(self) -> None:
        """Spin until the node is done."""
        end = time.monotonic() + 60
        while not self.node.done:
            assert time.monotonic() < end
            self.executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """End both nodes."""
        self.node.close()
        self.executor.shutdown()
        self.node.destroy_node()
        self.probe.destroy_node()
