"""The camera as a process of its own: sends faults and whole images as it is told.

A line on stdin is a `Task` as JSON; a line on stdout says what was sent for it. What a task sends
depends on its numbers alone.
"""

from __future__ import annotations

import argparse
import json
import sys
from copy import copy
from time import monotonic, sleep
from typing import Any, NamedTuple

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from robustness.all_faults import FAULTS, Camera, Pause, Publish, Request, Step
from robustness.scenes import CLOSED, WALL_ROWS, Scene, camera_info, scene_message

NODE = 'segmentation_node'
GAP = Pause(0.02)
"""After each fault, so that the node takes it before the next comes."""

_ANSWER = 30.0  # seconds that the node has for an answer to a request


class Task(NamedTuple):
    """Faults to send, by name and seed, and a whole image after them."""

    faults: list[tuple[str, list[int]]]
    scene: list[int]


class SentFault(NamedTuple):
    """What was sent of one fault: messages, the stamps (ns) of its images, and the answers."""

    name: str
    messages: int
    stamps: list[int]
    answers: list[str]


class Sent(NamedTuple):
    """What was sent for a task; the whole image's stamp, and the row of its wall's foot."""

    faults: list[SentFault]
    stamp: int
    foot: int


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

    def carry_out(self, task: Task) -> Sent:
        """Send all of a task."""
        faults = [self._send(name, seed) for name, seed in task.faults]
        self._await_node()
        rng = np.random.default_rng(task.scene)
        scene = Scene(int(rng.choice([*WALL_ROWS, CLOSED])))
        self._info.publish(camera_info())
        sleep(GAP.seconds)
        message = scene_message(scene, self._camera.compressed, lossless=bool(rng.integers(2)))
        return Sent(faults, self._publish(Publish(message)), scene.foot)

    def _send(self, name: str, seed: list[int]) -> SentFault:
        steps = FAULTS[name].make(np.random.default_rng(seed), self._camera)
        stamps: list[int] = []
        answers: list[str] = []
        messages = 0
        for step in [*steps, GAP]:
            if isinstance(step, Pause):
                sleep(step.seconds)
                continue
            messages += 1
            if isinstance(step, Request):
                answers.append(self._ask(step))
            elif isinstance(step.message, CameraInfo):
                self._info.publish(step.message)
            else:
                stamps.append(self._publish(step))
        return SentFault(name, messages, stamps, answers)

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
        print(json.dumps(node.carry_out(Task(*json.loads(line)))), flush=True)
    rclpy.try_shutdown()
    return 0


if __name__ == '__main__':
    sys.exit(main())
