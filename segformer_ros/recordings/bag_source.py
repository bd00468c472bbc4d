# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A rosbag2 as a source."""

from __future__ import annotations

from array import array
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple, Union

from segformer_ros.camera import (
    Calibration,
    CameraError,
    calibration_from_camera_info,
    check_image_size,
    is_rectified,
)
from segformer_ros.formats import BITS, BitDepth, bits_of, deep_note
from segformer_ros.frame import Frame, FrameError, Stamp, deep_pixels, is_depth_image
from segformer_ros.recordings.bag_reader import BagReader, KeptBag
from segformer_ros.recordings.bag_storage import (
    Bytes,
    Entry,
    Lost,
    RawMessage,
    deserialize,
    types_of,
)
from segformer_ros.recordings.bag_topics import (
    BagLabels,
    BagOdometry,
    Choice,
    OdometryTopics,
    SpeedReadings,
    check_label_topic,
    choose_image_topic,
    entry_stamp,
    find_info_topic,
    info_topic_beside,
    recorded_speeds,
)
from segformer_ros.recordings.bag_transforms import (
    TransformTopics,
    read_mount,
    recorded_transforms,
    transform_topics,
)
from segformer_ros.recordings.label_folder import label_folder
from segformer_ros.recordings.labels import LabelCoding, LabelError, take_coding
from segformer_ros.recordings.source import Source, SourceError, SourceFrame, SourceOptions
from segformer_ros.recordings.video_topic import VideoTopic, is_video
from segformer_ros.topics import (
    CAMERA_INFO_TYPE,
    COMPRESSED_TYPE,
    IMAGE_TYPE,
    ODOMETRY,
)

_MOST_INFOS = 10_000
"""Most camera infos that are tried: a few minutes of them."""
_FIRST_PICTURE = 64
"""Messages of a video that are searched for its first picture."""
_SAMPLES = 16
"""Images, spread over the whole recording, from whose values the bit depth is found."""


class BagSource(Source):
    """Images of one topic of a rosbag2 (sqlite3 or mcap, split, compressed), in bag order.

    Or the pictures of its video, one for each message. An image without a stamp (all zero) gets
    its recording time. An image with the stamp of the one before it has its index in its key, too.
    """

    path: Path

    def __init__(self, path: Path, options: SourceOptions = SourceOptions()) -> None:
        self.name = path.stem
        self.path = path
        self._options = options
        self._bag = KeptBag(path)
        with self._bag.open() as bag:
            choice = self._choose(bag)
            self.topic = choice.topic
            self.rectified = is_rectified(self.topic)
            self._msgtype = bag.topics[self.topic].msgtype
            self._count = bag.topics[self.topic].messages
            self._types = types_of(bag.path, bag.topics[self.topic])
            self._depth = BitDepth(options.bits or BITS[-1])
            self._video = self._find_video(bag)
            if not (options.bits or self._video):
                self._find_bits(bag)
            self._read_camera(bag)
            self.notes = (*bag.notes, *filter(None, (choice.note,)), *self.notes)
        self._stamps: Optional[Sequence[int]] = None
        self._coding = LabelCoding.of(options)
        self._label_folder = label_folder(options, self._coding)
        take_coding(self, self._coding)
        self.labelled = bool(options.label_topic or options.labels)

    def _choose(self, bag: BagReader) -> Choice:
        """The image topic; raises SourceError, which also says what of the bag is unreadable."""
        options, where = self._options, str(self.path)
        try:
            choice = choose_image_topic(
                bag.topics,
                options.topic,
                where,
                options.label_topic,
                lambda topic: _holds_depth(bag, topic),
            )
            if options.label_topic:
                check_label_topic(bag.topics, options.label_topic, where)
        except SourceError as error:
            if not bag.notes:
                raise
            raise SourceError(f'{error} ({"; ".join(bag.notes[:3])})') from error
        return choice

    def __len__(self) -> int:
        return self._count

    @property
    def files(self) -> List[Path]:
        """Storage files and metadata, and the label images."""
        log = self.path.with_name(f'{self.path.name}-wal')
        files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path, log]
        # SQLite creates the -shm file when it reads a log; it is not part of the recording.
        files = [file for file in files if not file.name.endswith('-shm') and file.exists()]
        return files + (self._label_folder.files if self._label_folder else [])

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Messages `start` to `stop`, with their recorded stamps and frame ids."""
        span = self.span(start, stop)
        with self._bag.open() as bag:
            labels, odometry = self._find_labels(bag), self._find_odometry(bag)
            before = self._stamp_at(bag, span.start - 1)  # to detect repeated stamps
            # islice asks for no entry beyond the span, which would be decoded in vain.
            for index, entry, picture in islice(self._pictures(bag, span.start), len(span)):
                stamp = entry_stamp(entry)
                repeats = stamp is not None and stamp == before
                read = self._entry(index, entry, picture, labels, repeats)
                if odometry and read.frame:
                    read = replace(read, place=odometry.at(read.frame.stamp.ns))
                yield read
                before = stamp

    def _pictures(
        self, bag: BagReader, start: int
    ) -> Iterator[Tuple[int, Entry, Union[Frame, str]]]:
        """Index and message of each image from `start` on, and its frame or why it has none."""
        if self._video:
            yield from self._video.frames(bag, start)
            return
        for index, entry in bag.entries(self.topic, start):
            try:
                picture = entry.reason if isinstance(entry, Lost) else self._frame(entry.data)
            except (FrameError, SourceError) as error:
                picture = str(error)
            yield index, entry, picture

    def _stamp_at(self, bag: BagReader, index: int) -> Optional[int]:
        """The stamp of a message; None where there is none."""
        _, entry = next(bag.entries(self.topic, index), (0, None)) if index >= 0 else (0, None)
        return None if entry is None else entry_stamp(entry)

    def speeds(self, topic: str = '') -> Optional[SpeedReadings]:
        """Speeds by a topic of nav_msgs/Odometry, '' for the only one; None where there is none.

        Where all twists are zero, from the distances between poses. Raises SourceError.
        """
        with self._bag.open() as bag:
            return recorded_speeds(bag, topic)

    def static_transforms(self) -> List[Any]:
        """The transforms of /tf_static, or of the namespace's."""
        with self._bag.open() as bag:
            topics = transform_topics(bag.topics, self.topic)
            messages = recorded_transforms(bag, topics.static)
            return list({one.child_frame_id: one for each in messages for one in each}.values())

    def moving_transforms(self) -> Iterator[List[Any]]:
        """The transforms of /tf, or of the namespace's."""
        with self._bag.open() as bag:
            topics = transform_topics(bag.topics, self.topic)
            yield from recorded_transforms(bag, topics.moving)

    def _find_labels(self, bag: BagReader) -> Optional[BagLabels]:
        options = self._options
        if not options.label_topic:
            return None
        if options.label_tolerance and self._stamps is None:
            # Stamps (ns) of all readable images, sorted.
            stamps = {entry_stamp(entry) for _, entry in bag.entries(self.topic)}
            self._stamps = array('q', sorted(stamp for stamp in stamps if stamp is not None))
        return BagLabels(bag, options, self._coding, self._stamps or ())

    def _find_odometry(self, bag: BagReader) -> Optional[BagOdometry]:
        vehicle_frame = self._options.vehicle_frame
        topics = OdometryTopics.of(bag.topics, transform_topics(bag.topics, self.topic))
        if not vehicle_frame or not (topics.odometry or topics.transforms.moving):
            return None
        return BagOdometry(bag, topics, ODOMETRY, vehicle_frame)

    def _entry(
        self,
        index: int,
        entry: Entry,
        picture: Union[Frame, str],
        labels: Optional[BagLabels],
        repeats: bool,
    ) -> SourceFrame:
        key = f'{index:06d}'
        if isinstance(entry, Lost):
            return SourceFrame(index, key, error=entry.reason)
        if isinstance(picture, str):
            return SourceFrame(index, key, error=f'{self.topic} message {index}: {picture}')
        frame = picture
        if frame.stamp.ns:
            stamped = f'{frame.stamp.sec}_{frame.stamp.nanosec:09d}'
            key = f'{stamped}_{key}' if repeats else stamped
        else:  # a driver that sets no stamps: the recording time is the next best
            frame = replace(frame, stamp=Stamp.from_ns(entry.time))
        size = (frame.height, frame.width)
        try:
            if labels is not None and repeats:
                raise LabelError(
                    f'{self.topic} message {index} has the stamp of the one before it, so that '
                    f'its labels in {self._options.label_topic} cannot be told apart'
                )
            if labels is not None:
                own = labels.read(frame.stamp, size)
            elif self._label_folder is not None:
                own = self._label_folder.read(key, size)
            else:
                return SourceFrame(index, key, frame)
        except (LabelError, FrameError, SourceError) as error:
            return SourceFrame(index, key, frame, error=str(error))
        return SourceFrame(index, key, frame, own.note or None, own.ids)

    def _frame(self, data: Bytes) -> Frame:
        message = self._message(data)
        read = Frame.from_compressed if self._msgtype == COMPRESSED_TYPE else Frame.from_image
        return read(message, self._options.max_megapixels, self._depth)

    def _message(self, data: Bytes) -> Any:
        return deserialize(data, self._msgtype, self._types)

    def _find_video(self, bag: BagReader) -> Optional[VideoTopic]:
        """The topic as a video; None where its messages hold images."""
        if not is_video(self._msgtype, _first_message(bag, self.topic)):
            return None
        return VideoTopic(self.topic, self._message, self._options.max_megapixels)

    def _find_bits(self, bag: BagReader) -> None:
        """Find the bit depth of 16-bit images from samples spread over the recording."""
        largest, most = -1, self._options.max_megapixels
        for place in range(_SAMPLES):
            _, entry = next(bag.entries(self.topic, place * self._count // _SAMPLES), (0, None))
            if not isinstance(entry, RawMessage):
                continue
            try:
                pixels = deep_pixels(self._message(entry.data), most)
            except (FrameError, SourceError):
                continue
            if pixels is None:
                return
            largest = max(largest, int(pixels.max()))
        if largest >= 0:
            self._depth = BitDepth(bits_of(largest))
            if self._depth.bits < BITS[-1]:
                self.notes += (f'{deep_note(self._depth.bits, largest)}; --bits says otherwise',)

    def _read_camera(self, bag: BagReader) -> None:
        """Read calibration and mount, if the bag has them."""
        info_topic = find_info_topic(bag.topics, self.topic)
        tf_topics = transform_topics(bag.topics, self.topic)
        if not self._options.vehicle_frame:
            tf_topics = TransformTopics((), ())
        first = self._first_frame(bag) if info_topic or any(tf_topics) else None
        camera_frame = first.frame_id if first else ''
        if info_topic:
            camera_frame = self._read_info(bag, info_topic, first) or camera_frame
        if any(tf_topics):
            frame = self._options.vehicle_frame
            self.pose, notes = read_mount(bag, tf_topics, frame, camera_frame)
            self.notes += notes
            if self.pose is None:
                self.camera_fault = '; '.join(filter(None, (self.camera_fault, notes[-1])))

    def _read_info(self, bag: BagReader, topic: str, first: Optional[Frame]) -> str:
        """Take the calibration from the first camera info that has one; returns its frame id.

        Drivers send zeros until their calibration is loaded.
        """
        frame, fault, unused = '', '', 0
        image_frame = first.frame_id if first else ''
        for message in islice(bag.messages(topic), _MOST_INFOS):
            try:
                info = deserialize(message.data, CAMERA_INFO_TYPE)
                self._check_belongs(topic, info.header.frame_id, image_frame)
                frame = info.header.frame_id
                self.calibration = self._calibration(info, first)
                break
            except (SourceError, CameraError) as error:
                unused += 1
                fault = fault or str(error)
        if self.calibration is None:
            self.camera_fault = (
                f'camera info of {topic} is not used: {fault or "none can be read"}'
            )
            self.notes += (self.camera_fault,)
        elif unused:
            self.notes += (f'the first {unused} camera infos of {topic} are not used: {fault}',)
        return frame

    def _check_belongs(self, info_topic: str, info_frame: str, image_frame: str) -> None:
        """Raises CameraError where the camera info may be that of another camera."""
        if info_topic != info_topic_beside(self.topic) and info_frame != image_frame:
            raise CameraError(
                f'it is of the frame {info_frame!r}, the images of {self.topic} are of '
                f'{image_frame!r}'
            )

    def _first_frame(self, bag: BagReader) -> Optional[Frame]:
        """The first image; None where it cannot be read."""
        pictures = islice(self._pictures(bag, 0), _FIRST_PICTURE if self._video else 1)
        return next((frame for _, _, frame in pictures if isinstance(frame, Frame)), None)

    def _calibration(self, info: Any, first: Optional[Frame]) -> Calibration:
        """Calibration of a CameraInfo, checked against the first image; raises CameraError."""
        calibration = calibration_from_camera_info(info, self.rectified)
        if first is not None:
            check_image_size(calibration, first.height, first.width)
        return calibration


def _first_message(bag: BagReader, topic: str) -> Any:
    """The first message of a topic; None where it cannot be read."""
    try:
        return deserialize(next(bag.messages(topic)).data, bag.topics[topic].msgtype)
    except (SourceError, StopIteration):
        return None


def _holds_depth(bag: BagReader, topic: str) -> bool:
    """Whether a topic's images are depth images, by the first."""
    if bag.topics[topic].msgtype not in (IMAGE_TYPE, COMPRESSED_TYPE):
        return False
    message = _first_message(bag, topic)
    return message is not None and is_depth_image(message)
