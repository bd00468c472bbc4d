# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The recorder node: writes a camera's topics and those of its segmentation into an mcap."""

from __future__ import annotations

import os
import sys
import webbrowser
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any, Counter, List, Optional, Set

from rclpy.node import Node
from rclpy.serialization import deserialize_message
from std_msgs.msg import String
from tqdm import tqdm

from segformer_ros import topics
from segformer_ros.destination import DestinationError
from segformer_ros.frame import Frame, Stamp
from segformer_ros.interrupts import Interrupts
from segformer_ros.node.drivable_settings import mount_pose
from segformer_ros.node.messages import guarded
from segformer_ros.node.parameter import ParameterError, parameters_of, start_settings
from segformer_ros.node.program import Program, run_node, spin
from segformer_ros.node.replay.player import LATEST_END, ReplayReport
from segformer_ros.recordings import BagWriter, RecordingError
from segformer_ros.recordings.bag_writer import mount_message, video_fields
from segformer_ros.recordings.video_writer import VideoEncoder
from tools.demo.live_page import LivePage
from tools.demo.recorder_parameters import RecorderSettings
from tools.demo.recorder_topics import RecordedTopic, recorded_topics

NODE_NAME = 'recorder_node'


class RecorderNode(Node):  # type: ignore[misc]
    """Writes serialized messages as they come, under the time of their stamps.

    It listens to the camera, for which a replay waits, once the segmentation node publishes to it:
    before, its subscriptions might not be known there, and the first frames lack what nobody
    wants. A topic appears in the bag with its first message. Raises ParameterError.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(NODE_NAME, **arguments)
        self.settings = start_settings(self, RecorderSettings)
        if not self.settings.output:
            raise ParameterError('output is empty; give the mcap file to write')
        self.failed = False
        self._open = ExitStack()
        self._bag = self._open.enter_context(BagWriter(Path(self.settings.output)))
        self._page: Optional[LivePage] = None
        if self.settings.page:
            self._page = self._open.enter_context(LivePage())
            _invite(self._page.url)
        total = self.settings.frames or None
        self._bar = self._open.enter_context(tqdm(total=total, unit='frame', desc='segment'))
        self._topics: Set[str] = set()
        self._encoder = _encoder()
        self._time_ns = 0
        self._answers: Counter[str] = Counter()
        self._report: Optional[ReplayReport] = None
        self._reported = self._last = 0.0
        self._sensors = [topic for topic in recorded_topics() if topic.sensor]
        for topic in recorded_topics():
            if not topic.sensor:
                self._listen(topic)

    @property
    def done(self) -> bool:
        """Whether the play is over and what belongs to it has come."""
        if self.failed:
            return True
        if self._report is None:
            return False
        now = monotonic()
        complete = min(self._answers.values(), default=0) >= self._report.answered
        settled = complete and now - self._last > self.settings.settle
        return settled or now - self._reported > LATEST_END

    def close(self) -> None:
        """Finish the file, or say why there is none."""
        try:
            self._open.close()
        except DestinationError as error:
            self._fail(error)

    def _fail(self, error: DestinationError) -> None:
        """Say what ends the recording."""
        self.failed = True
        tqdm.write(f'{NODE_NAME}: {error}', file=sys.stderr)

    def _listen(self, topic: RecordedTopic) -> None:
        taken = guarded(self, topic.name, partial(self._on_message, topic))
        self.create_subscription(topic.type, topic.name, taken, topic.qos, raw=True)

    def _on_message(self, topic: RecordedTopic, data: bytes) -> None:
        if topic.headed:
            # A stamp of zero is a clock that has not begun.
            self._time_ns = Stamp.of_message(data).ns or self._time_ns
        if self._time_ns and not self.failed:
            try:
                self._write(topic, data)
            except DestinationError as error:
                self._fail(error)
        if topic.answer:
            self._answers[topic.name] += 1
        if topic.name == topics.MASK:
            self._bar.update()
        elif topic.name == topics.COMPRESSED_OVERLAY:
            overlay = deserialize_message(data, topic.type)
            if self._page and self._page.viewers:
                self._page.show(overlay.data.tobytes())
            if self._encoder and self._time_ns and not self.failed:
                self._write_video(self._encoder, Frame.from_compressed(overlay))
        elif topic.name == topics.REPORT:
            self._on_report(ReplayReport.from_json(deserialize_message(data, String).data))
        if topic.name == topics.DIAGNOSTICS:
            # Subscriptions become known in their order, so those before this one are.
            while self._sensors:
                self._listen(self._sensors.pop())
        else:
            self._last = monotonic()

    def _write(self, topic: RecordedTopic, data: bytes) -> None:
        name = self.resolve_topic_name(topic.name)
        if name not in self._topics:
            self._topics.add(name)
            self._bag.add_topic(name, topic.msgtype, topic.latched)
            if topic.name == topics.CAMERA_INFO:
                self._write_mount(deserialize_message(data, topic.type).header.frame_id)
        self._bag.write(name, data, self._time_ns)

    def _write_video(self, encoder: VideoEncoder, overlay: Frame) -> None:
        """Write an overlay as a frame of a video too: some tenth of the JPEGs."""
        name = self.resolve_topic_name(topics.OVERLAY_VIDEO)
        if name not in self._topics:
            self._topics.add(name)
            self._bag.add_topic(name, topics.VIDEO_TYPE)
        data = encoder.encode(overlay.bgr(), overlay.stamp.ns)
        self._bag.write_fields(name, video_fields(overlay, data), self._time_ns)

    def _write_mount(self, camera_frame: str) -> None:
        pose = mount_pose(self.settings.mount)
        if pose is not None:
            message = mount_message(pose, self.settings.vehicle_frame, camera_frame, self._time_ns)
            self._bag.add_topic(topics.TF_STATIC, topics.TF_TYPE, latched=True)
            self._bag.write_message(topics.TF_STATIC, message, self._time_ns)

    def _on_report(self, report: ReplayReport) -> None:
        if report.finished:
            self._report, self._reported = report, monotonic()


def _encoder() -> Optional[VideoEncoder]:
    """What makes a video of the overlays; None where this FFmpeg cannot."""
    try:
        return VideoEncoder()
    except RecordingError:
        return None


def _invite(url: str) -> None:
    """Say where to look, and open it where there is a desktop."""
    print(f'watch it live: {url}', flush=True)
    if any(os.environ.get(name) for name in ('DISPLAY', 'WAYLAND_DISPLAY')):
        webbrowser.open(url)


PROGRAM = Program(
    NODE_NAME,
    'Records what the nodes publish into one mcap file',
    parameters_of(RecorderSettings),
    './run demo starts it with the nodes that it needs.',
)


def main(arguments: Optional[List[str]] = None) -> None:
    """Record until the replay has ended, or until interrupted."""
    run_node(PROGRAM, RecorderNode, _record, RecorderNode.close, arguments)


def _record(node: RecorderNode) -> bool:
    spin(node, lambda: node.done)
    with Interrupts().held():  # half a file would be none
        node.close()
    return not node.failed
