# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Brake for what the segmentation node sees.   python examples/planner.py

A planner's part: it subscribes to `drivable_area`, and believes it only while it is valid and new.
"""

from contextlib import suppress
from math import inf

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data

from segformer_ros.msg import DrivableArea

BRAKING_DISTANCE = 8.0  # m
PATIENCE = 0.5  # s without a message until the vehicle stops


def nearest(distance: float, sigma: float) -> float:
    """The free distance if the angle to its end is wrong by two standard deviations, m.

    Not `distance - 2 * sigma`: sigma grows with the square of the distance, so that a road that is
    free for far would count as blocked.
    """
    return distance if distance in (0.0, inf) else distance / (1 + 2 * sigma / distance)


class Planner(Node):
    """Says what the vehicle is to do."""

    def __init__(self) -> None:
        super().__init__('planner')
        self.create_subscription(
            DrivableArea, 'drivable_area', self.on_area, qos_profile_sensor_data
        )
        self._watch = self.create_timer(PATIENCE, lambda: self.act('stop: nothing is heard'))

    def on_area(self, area: DrivableArea) -> None:
        """Decide by one summary; distances are in metres."""
        self._watch.reset()
        if not (area.valid and area.calibrated):  # too old, engine failed, mount unknown
            self.act(f'stop: {area.reason}')
        elif nearest(area.corridor_distance, area.corridor_sigma) < BRAKING_DISTANCE:
            self.act(f'brake: free for {area.corridor_distance:.1f} m')
        else:
            self.act(f'go: free for {area.corridor_distance:.1f} m')

    def act(self, decision: str) -> None:
        """Put your actuators here."""
        print(decision, flush=True)


rclpy.init()
with suppress(KeyboardInterrupt, ExternalShutdownException):
    rclpy.spin(Planner())
