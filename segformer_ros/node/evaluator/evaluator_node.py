# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The evaluator node: scores the masks of a running segmentation node against labels."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, Callable, Deque, Dict, List, Optional, Union

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String
from tqdm import tqdm

from segformer_ros import topics
from segformer_ros.camera import Calibration, Camera, CameraError, calibration_from_camera_info
from segformer_ros.classes import load_class_map
from segformer_ros.destination import output_folder
from segformer_ros.errors import in_words, one_line
from segformer_ros.evaluation.label_survey import agreement_note
from segformer_ros.formats.limits import MAX_MEGAPIXELS
from segformer_ros.frame import Frame, FrameError, Segmentation, StageTimes, Stamp
from segformer_ros.metrics.document import (
    NAMED_NOTES,
    InputFacts,
    Note,
    ScoredFrameCounts,
    metrics_document,
    write_json,
)
from segformer_ros.metrics.live import LivePath, Pair, PairBacklog
from segformer_ros.metrics.metric import MetricError, ScoredClasses, unknown_note
from segformer_ros.metrics.scorer import Scorer
from segformer_ros.node.drivable_settings import MountSettings, mount_pose
from segformer_ros.node.messages import LATCHED, guarded
from segformer_ros.node.parameter import (
    ParameterError,
    parameter,
    parameters_of,
    start_settings,
)
from segformer_ros.node.program import Program, run_node, spin
from segformer_ros.node.replay.player import LATEST_END, ReplayReport
from segformer_ros.recordings.labels import LabelCoding, LabelError, message_values


@dataclass(frozen=True)
class EvaluatorSettings:
    """What is scored, and when the evaluation ends."""

    output: str = parameter('', 'folder for metrics.json and live.json')
    class_map: str = parameter(
        'cityscapes', "the masks' classes: a preset, a yaml file or a labels.txt"
    )
    merge: str = parameter(
        '', "classes that are scored as one, as in 'rider,bicycle'; several groups with ';'"
    )
    drivable: str = parameter(
        'road', "drivable group of the class map, or names joined by '+'; empty: none"
    )
    label_tolerance: float = parameter(
        0.0, "seconds by which a label's stamp may differ from its mask's", low=0.0, high=10.0
    )
    compressed: bool = parameter(False, 'watch the compressed image in place of the raw one')
    frames: int = parameter(
        0, 'masks to expect, for the progress bar; 0: not known', low=0, high=2**31 - 1
    )
    quiet: float = parameter(
        10.0,
        'seconds without a mask, after the first, at which the evaluation ends; 0: never. '
        "A replay node's report ends it sooner",
        low=0.0,
        high=3600.0,
    )
    mount: MountSettings = field(default_factory=MountSettings)
    """For distances in metres, with the camera's info."""


NODE_NAME = 'evaluator_node'

METRICS_JSON, LIVE_JSON = 'metrics.json', 'live.json'

QUEUE = 100
"""Queue of masks and labels while this node is busy."""

_LAST_MASKS = 1.0
"""Seconds without a mask, after the replay's report and as many masks as it has answers, at which
the evaluation ends."""
_NO_TIMES = StageTimes(0.0, 0.0, 0.0)


class EvaluatorNode(Node):  # type: ignore[misc]
    """Stores masks and labels as they come, and scores them at the end.

    So scoring takes no CPU time from the node under test. Raises ParameterError, DestinationError,
    ClassMapError and MetricError.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(NODE_NAME, **arguments)
        self.settings = settings = start_settings(self, EvaluatorSettings)
        if not settings.output:
            raise ParameterError('output is empty; give the folder for the results')
        output_folder(Path(settings.output))
        groups = [group.split(',') for group in settings.merge.split(';') if group.strip()]
        merged = [[name.strip() for name in group] for group in groups]
        classes = ScoredClasses(load_class_map(settings.class_map), merged)
        self._scorer = Scorer(classes, settings.drivable)
        self._path = LivePath(round(settings.label_tolerance * 1e9))
        self._open = ExitStack()
        self._backlog = self._open.enter_context(PairBacklog())
        # Compression takes milliseconds, which must not count as the node's latency.
        self._writer = self._open.enter_context(ThreadPoolExecutor(1))
        self._writing: Deque[Future[None]] = deque()
        total = settings.frames or None
        self._bar = self._open.enter_context(tqdm(total=total, unit='frame', desc='evaluate'))
        self._report: Optional[ReplayReport] = None
        self._engine: Dict[str, str] = {}
        self._calibration: Optional[Calibration] = None
        self._problems: List[str] = []
        self._masks = 0
        self._last_mask = self._reported = 0.0
        self._subscribe()

    @property
    def done(self) -> bool:
        """Whether no more masks are to be expected."""
        now = monotonic()
        silence = now - self._last_mask if self._last_mask else 0.0
        if self._report is None:
            return 0 < self.settings.quiet < silence
        complete = self._masks >= self._report.answered
        settled = complete and (silence > _LAST_MASKS or not self._last_mask)
        return settled or now - self._reported > LATEST_END

    def finish(self) -> Dict[str, Any]:
        """Score what was stored and write the files; returns the content of live.json."""
        for pair in self._path.end():
            self._keep(pair)
        self._writer.shutdown()
        self._bar.close()
        camera = Camera(self._calibration, mount_pose(self.settings.mount))
        self._scorer.begin(camera)
        counts = ScoredFrameCounts(frames=self._path.figures().images)
        for pair in tqdm(self._backlog, total=len(self._backlog), unit='frame', desc='score'):
            self._score(pair, counts)
        if not self.settings.merge:
            note = agreement_note(
                self._scorer.counts()['confusion'], self._scorer.classes.class_map
            )
            if note:
                self._note(note)
        folder = Path(self.settings.output)
        source = InputFacts('live', counts.frames, self._problems)
        model = {**self._engine, 'model': Path(self._engine.get('model', '')).name}
        metrics = metrics_document(
            self._scorer.classes, self._scorer.compute(), counts, [source], model
        )
        write_json(folder / METRICS_JSON, metrics)
        live = self._path.figures().as_json()
        live['published'] = self._report.published if self._report else None
        live['engine'] = self._engine
        write_json(folder / LIVE_JSON, live)
        return live

    def close(self) -> None:
        """Close the temporary file."""
        self._open.close()

    def _subscribe(self) -> None:
        sensor, reliable = qos_profile_sensor_data, QoSProfile(depth=QUEUE)
        topic, kind = topics.IMAGE, Image
        if self.settings.compressed:
            topic, kind = topics.COMPRESSED_IMAGE, CompressedImage
        # Only the stamps of images are needed, so they stay serialized. Of messages that are there
        # already, rclpy hands out those of the first subscription first: an image before its mask.
        self._listen(kind, topic, self._on_image, sensor, raw=True)
        self._listen(CameraInfo, topics.CAMERA_INFO, self._on_info, sensor)
        self._listen(Image, topics.LABELS, self._on_labels, reliable)
        self._listen(CompressedImage, topics.COMPRESSED_LABELS, self._on_labels, reliable)
        self._listen(Image, topics.MASK, self._on_mask, reliable)
        self._listen(String, topics.REPORT, self._on_report, LATCHED)
        self._listen(DiagnosticArray, topics.DIAGNOSTICS, self._on_diagnostics, reliable)

    def _listen(
        self, kind: Any, topic: str, callback: Callable[[Any], None], qos: Any, raw: bool = False
    ) -> None:
        self.create_subscription(kind, topic, guarded(self, topic, callback), qos, raw=raw)

    def _on_image(self, data: bytes) -> None:
        self._path.image(Stamp.of_message(data).ns, monotonic())

    def _on_labels(self, message: Union[Image, CompressedImage]) -> None:
        try:
            values = message_values(message, MAX_MEGAPIXELS)
            labels = LabelCoding().read(values, values.shape[:2], f'of {topics.LABELS}')
        except (FrameError, LabelError) as error:
            self._note(str(error))
            return
        stamp = Stamp(message.header.stamp.sec, message.header.stamp.nanosec)
        for pair in self._path.labels(stamp.ns, labels.ids):
            self._keep(pair)

    def _on_mask(self, message: Image) -> None:
        self._masks += 1
        self._last_mask = monotonic()
        frame = self._frame(message)
        if frame is None:
            return
        age = (self.get_clock().now().nanoseconds - frame.stamp.ns) * 1e-9
        pairs = self._path.mask(frame.stamp.ns, frame.pixels, self._last_mask, age)
        self._bar.update()
        for pair in pairs:
            self._keep(pair)

    def _on_info(self, message: CameraInfo) -> None:
        if self._calibration is not None:
            return
        try:
            self._calibration = calibration_from_camera_info(message)
        except CameraError as error:
            self._note(f'no distances in metres: {error}')

    def _on_report(self, message: String) -> None:
        report = ReplayReport.from_json(message.data)
        if report.finished:
            self._report, self._reported = report, monotonic()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith(': engine'):
                self._engine = {pair.key: one_line(pair.value) for pair in status.values}

    def _frame(self, message: Image) -> Optional[Frame]:
        try:
            frame = Frame.from_image(message)
        except FrameError as error:
            self._note(str(error))
            return None
        if frame.encoding != 'mono8':
            self._note(f'{message.encoding} is not an encoding of labels; they are mono8')
            return None
        return frame

    def _keep(self, pair: Pair) -> None:
        self._writing.append(self._writer.submit(self._store, pair))
        while len(self._writing) > QUEUE:
            self._writing.popleft().result()

    def _store(self, pair: Pair) -> None:
        """Runs in the writer's thread; a pair that cannot be written is reported and dropped."""
        try:
            self._backlog.append(pair)
        except OSError as error:
            self._note(f'masks are not scored: {in_words(error)}')

    def _score(self, pair: Pair, counts: ScoredFrameCounts) -> None:
        if not pair.follows:
            self._scorer.restart()
        note = ''
        try:
            score = self._scorer.update(pair.truth, Segmentation(pair.mask, _NO_TIMES))
        except MetricError as error:
            note = str(error)
        else:
            counts.scored += 1
            note = unknown_note(score.unknown)
        if note:
            counts.noted += 1
            if len(counts.notes) < NAMED_NOTES:
                counts.notes.append(Note('live', str(pair.stamp_ns), note))

    def _note(self, problem: str) -> None:
        problem = one_line(problem)
        if problem not in self._problems and len(self._problems) < NAMED_NOTES:
            self._problems.append(problem)
            self.get_logger().warning(problem)


PROGRAM = Program(
    NODE_NAME,
    'Scores the masks of a running segmentation node against labels, and writes metrics.json and '
    'live.json',
    parameters_of(EvaluatorSettings),
    './run evaluate-live starts it with the nodes that it needs.',
)


def main(arguments: Optional[List[str]] = None) -> None:
    """Evaluate until no more masks come, or until interrupted."""
    run_node(PROGRAM, EvaluatorNode, _evaluate, EvaluatorNode.close, arguments)


def _evaluate(node: EvaluatorNode) -> bool:
    with suppress(KeyboardInterrupt):  # scores what has come so far
        spin(node, lambda: node.done)
    node.finish()
    return True
