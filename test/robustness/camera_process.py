# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The camera as a process of its own: sends faults and whole images as it is told.

A line on stdin is a `Task` as JSON; a line on stdout is what was `Sent` for it. Where that is only
a part, for an image must be answered first, an empty line asks for the rest. What a task sends
depends on its numbers alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from copy import copy
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import qos_profile_sensor_data
from robustness.all_faults import FAULTS, Await, Camera, Pause, Publish, Request, Step
from robustness.scenes import CLOSED, WALL_ROWS, Scene, camera_info, scene_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

NODE = 'segmentation_node'
GAP = Pause(0.02)
"""After each fault, so that the node takes it before the next comes."""

_ANSWER = 10.0  # seconds that the node has for an answer to a request


class Task(NamedTuple):
    """A fault to send, by its name and the seed of its random numbers.

    Without a name: a whole image with its calibration.
    """

    fault: str
    seed: list[int]


class Sent(NamedTuple):
    """What was sent: the stamps (ns) of the images, the node's answers to requests.

    messages: how many, of all types. foot: of a whole image, the row of the wall's. more: this is
    not yet all.
    """

    messages: int
    stamps: list[int]
    answers: list[str]
    foot: int
    more: bool


class CameraNode:
    """Publishers and clients of the camera."""

    def __init__(self, compressed: bool) -> None:
        self._node = rclpy.create_node('hostile_camera')
        self._camera = Camera(compressed)
        kind = CompressedImage if compressed else Image
        self._image = self._node.create_publisher(kind, 'image', qos_profile_sensor_data)
        self._info = self._node.create_publisher(
            CameraInfo, 'camera_info', qos_profile_sensor_data
        )
        self._clients: dict[str, Any] = {}
        self._last = 0

    def carry_out(self, task: Task) -> Iterator[Sent]:
        """Send all of a task, part by part."""
        rng = np.random.default_rng(task.seed)
        if task.fault:
            yield from self._send(FAULTS[task.fault].make(rng, self._camera))
            return
        self._await_node()
        scene = Scene(int(rng.choice([*WALL_ROWS, CLOSED])))
        image = scene_message(scene, self._camera.compressed, lossless=bool(rng.integers(2)))
        for sent in self._send([Publish(camera_info()), GAP, Publish(image)]):
            yield sent._replace(foot=scene.foot)

    def _send(self, steps: list[Step]) -> Iterator[Sent]:
        sent = nothing = Sent(0, [], [], 0, False)
        for step in steps:
            if isinstance(step, Pause):
                sleep(step.seconds)
            elif isinstance(step, Await):
                yield sent._replace(more=True)
                sent = nothing
            elif isinstance(step, Request):
                sent = sent._replace(
                    messages=sent.messages + 1, answers=[*sent.answers, self._ask(step)]
                )
            elif isinstance(step.message, CameraInfo):
                self._info.publish(step.message)
                sent = sent._replace(messages=sent.messages + 1)
            else:
                sent = sent._replace(
                    messages=sent.messages + 1, stamps=[*sent.stamps, self._publish(step)]
                )
        yield sent

    def _publish(self, step: Publish) -> int:
        """Publish an image; returns its stamp in nanoseconds, which no other image has."""
        message = step.message
        if not step.keeps_stamp:
            now = self._node.get_clock().now().nanoseconds - round(step.early * 1e9)
            if not step.early:
                now = self._last = max(now, self._last + 1)
            message = copy(message)
            message.header.stamp = Time(sec=now // 10**9, nanosec=now % 10**9)
        self._image.publish(message)
        stamp = message.header.stamp
        return int(stamp.sec * 10**9 + stamp.nanosec)

    def _ask(self, request: Request) -> str:
        """Send a request and wait for the answer; '' where none comes."""
        if request.service not in self._clients:
            self._clients[request.service] = self._node.create_client(
                request.type, f'{NODE}/{request.service}'
            )
        client = self._clients[request.service]
        if not client.wait_for_service(_ANSWER):
            return ''
        future = client.call_async(request.request)
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=_ANSWER)
        if not future.done():
            client.remove_pending_request(future)
            return ''
        return str(future.result())

    def _await_node(self) -> None:
        """Wait until the node subscribes, again where it did not for a while."""
        end, waited = monotonic() + _ANSWER, False
        while self._image.get_subscription_count() == 0 and monotonic() < end:
            sleep(0.01)
            waited = True
        if waited:
            sleep(0.3)  # the other side needs a moment more to find this publisher


def main() -> int:
    """Carry out tasks until stdin ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--compressed', action='store_true')
    rclpy.init()
    node = CameraNode(parser.parse_args().compressed)
    for line in sys.stdin:
        for sent in node.carry_out(Task(*json.loads(line))):
            print(json.dumps(sent), flush=True)
            if sent.more:
                sys.stdin.readline()
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
