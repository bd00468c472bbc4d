# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The replay node: plays a recording as a camera."""

from __future__ import annotations

from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep
from typing import Any, List, Optional

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from std_msgs.msg import String

from segformer_ros import topics
from segformer_ros.errors import in_words, one_line
from segformer_ros.frame import Stamp
from segformer_ros.node.messages import LATCHED, guarded
from segformer_ros.node.parameter import ParameterError, parameters_of, start_settings
from segformer_ros.node.program import Program, run_node, spin
from segformer_ros.node.replay.player import Player, ReplayError
from segformer_ros.node.replay.replay_output import ReplayOutput
from segformer_ros.node.replay.replay_parameters import ReplaySettings
from segformer_ros.recordings import Source, SourceError, SourceOptions, open_source

NODE_NAME = 'replay_node'

ANSWER_TOPIC = topics.MASK
"""What the consumer publishes for each frame, with the frame's stamp; remap it as needed."""

ANSWER_QUEUE = 20

_POLL = 0.05
_DISCOVERY = 0.5
"""Seconds for the subscribers that were discovered to discover this node."""
_ACKNOWLEDGE = Duration(seconds=2)
"""Longest wait for the acknowledgement of the last report."""


class ReplayNode(Node):  # type: ignore[misc]
    """Plays one source as the topics of a camera, and listens to the masks that come back.

    `play` blocks and belongs into a thread of its own, while the node is spun. Raises
    ParameterError and SourceError.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(NODE_NAME, **arguments)
        self.settings = start_settings(self, ReplaySettings)
        self.source = open_settings(self.settings)
        self._report = self.create_publisher(String, topics.REPORT, LATCHED)
        self._output = ReplayOutput(self, self.settings, self.source)
        clock = self.get_clock()
        self._player = Player(
            self.source,
            self.settings,
            self._output,
            self.get_logger().warning,
            lambda: int(clock.now().nanoseconds),
        )
        # Only the stamp is read, so the mask is left as the bytes that came.
        answered = guarded(self, ANSWER_TOPIC, self._on_answer)
        self.create_subscription(
            Image, ANSWER_TOPIC, answered, QoSProfile(depth=ANSWER_QUEUE), raw=True
        )

    def play(self) -> bool:
        """Play to the end; tell whether nothing failed."""
        for note in self.source.notes:
            self.get_logger().warning(one_line(note))
        failure = self._wait_for_subscribers()
        if not failure:
            self.get_logger().info(
                f'playing {one_line(self.source.name)}: {len(self.source)} frames'
            )
            try:
                self._player.play()
            except (ReplayError, SourceError) as error:
                failure = in_words(error)
        self.conclude(failure)
        return not failure

    def conclude(self, failure: str = '') -> None:
        """Log and publish the final report."""
        report = self._player.report(finished=True, failure=failure)
        if failure:
            self.get_logger().error(failure)
        self.get_logger().info(
            f'played {report.published} frames, {report.broken} were broken, '
            f'{report.answered} were answered'
        )
        self._report.publish(String(data=report.to_json()))
        self._report.wait_for_all_acked(_ACKNOWLEDGE)

    def _wait_for_subscribers(self) -> str:
        """Wait for enough subscribers; returns why the replay cannot start, or ''."""
        settings = self.settings
        if settings.wait_for == 0:
            return ''
        deadline = monotonic() + settings.wait_timeout
        while self._output.subscribers < settings.wait_for or not self._is_answered():
            if monotonic() > deadline:
                image, answer = map(self.resolve_topic_name, (topics.IMAGE, ANSWER_TOPIC))
                return (
                    f'in {settings.wait_timeout:g} s, {self._output.subscribers} of '
                    f'{settings.wait_for} subscribers came to {image}, and '
                    f'{self.count_publishers(answer)} publishers to {answer}; start the '
                    'consumer, or remap the topics'
                )
            sleep(_POLL)
        sleep(_DISCOVERY)
        return ''

    def _is_answered(self) -> bool:
        """Whether somebody publishes answers, or they are not needed."""
        topic = self.resolve_topic_name(ANSWER_TOPIC)
        return self.settings.rate > 0 or self.count_publishers(topic) > 0

    def _on_answer(self, data: bytes) -> None:
        self._player.answer(Stamp.of_message(data).ns)


def open_settings(settings: ReplaySettings) -> Source:
    """Open the source that the parameters name; raises ParameterError and SourceError."""
    if not settings.input:
        raise ParameterError(
            'input is empty; give a bag, a video, a folder of images or the shipped drive: '
            '''-p "input:='sample:'"'''
        )
    return open_source(
        settings.input,
        SourceOptions(
            topic=settings.topic,
            label_topic=settings.label_topic,
            label_tolerance=settings.label_tolerance,
            labels=Path(settings.labels) if settings.labels else None,
            label_ids=settings.label_ids,
            label_colors=settings.label_colors,
            fps=settings.fps,
            vehicle_frame=settings.vehicle_frame,
            camera_info=Path(settings.camera_info) if settings.camera_info else None,
            bits=settings.bits,
        ),
    )


PROGRAM = Program(
    NODE_NAME,
    'Plays a bag, a video, a folder of images or a generated drive as the topics of a camera',
    parameters_of(ReplaySettings),
    'doc/parameters.md has the table.',
)


def main(arguments: Optional[List[str]] = None) -> None:
    """Play until the end, or until interrupted; exits with 1 where the play fails."""
    run_node(PROGRAM, ReplayNode, _play, lambda node: None, arguments)


def _play(node: ReplayNode) -> bool:
    over = Event()
    spinner = Thread(target=spin, args=(node, over.is_set), daemon=True)
    spinner.start()
    try:
        succeeded = node.play()
        if succeeded and not node.settings.exit_at_end:
            over.wait()
    except KeyboardInterrupt:
        node.conclude()
        return True
    finally:
        over.set()
        spinner.join()
    return succeeded
