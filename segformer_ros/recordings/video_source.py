# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A video file as a source."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path
from typing import Any, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.errors import reason
from segformer_ros.formats.limits import check_size
from segformer_ros.formats.video import Trust, UprightPixels, decode_packet
from segformer_ros.frame import Frame, FrameError, Stamp
from segformer_ros.recordings.label_folder import label_folder
from segformer_ros.recordings.labels import LabelCoding, LabelError, take_coding
from segformer_ros.recordings.source import (
    CAMERA_FRAME,
    FIRST_STAMP_NS,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
)


class _Decoded(NamedTuple):
    """A picture and its frame's index, or a fault of the decoder; both for a damaged picture."""

    place: int
    picture: Any
    fault: str


class VideoSource(Source):
    """Frames of a video file's first video stream, stamped with their time in the video.

    The file is scanned once without decoding, so that the number of frames and their times are
    known, and any part can be read without decoding what comes before it.
    """

    path: Path

    def __init__(self, path: Path, options: SourceOptions = SourceOptions()) -> None:
        self.name = path.stem
        self.path = path
        coding = LabelCoding.of(options)
        self._labels = label_folder(options, coding)
        self.labelled = self._labels is not None
        take_coding(self, coding)
        self._times, self._keys, self._begin = _presentation_times(path, options.max_megapixels)
        self._max_pixels = round(options.max_megapixels * 1e6)

    def __len__(self) -> int:
        return len(self._times)

    @property
    def files(self) -> List[Path]:
        """The video, and the label images."""
        return [self.path, *(self._labels.files if self._labels else [])]

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Frames `start` to `stop`; those that cannot be decoded are entries with an error."""
        span = self.span(start, stop)
        if not span:
            return
        following, reason, pixels = span.start, 'missing', UprightPixels()
        with _opened(self.path) as container:
            # With one thread a logged complaint belongs to its packet.
            container.streams.video[0].thread_count = 1
            limit = {'max_pixels': str(self._max_pixels)}  # also if later frames become larger
            container.streams.video[0].codec_context.options = limit
            for index, picture, fault in self._decoded_from(span.start, container):
                if picture is None:
                    reason = fault
                if picture is None or index < following:
                    continue
                for gap in range(following, min(index, span.stop)):
                    yield self._broken(gap, reason)
                if index >= span.stop:
                    return
                if fault:
                    yield self._broken(index, fault)
                else:
                    time_base = float(container.streams.video[0].time_base)
                    yield self._entry(index, pixels(picture), time_base)
                following = index + 1
        for gap in range(following, span.stop):
            yield self._broken(gap, reason)

    def _decoded_from(self, start: int, container: Any) -> Iterator[_Decoded]:
        """What the decoder gives from a key frame on from which it also gives frame `start`.

        After a seek, leading pictures that refer to others before the key frame (HEVC's open GOP)
        are missing; then decoding begins at an earlier key frame.
        """
        seeks = self._seek_times(start)
        for place, time in enumerate(seeks):
            container.seek(time, stream=container.streams.video[0])
            decoded = self._decode(container)
            first: List[_Decoded] = []
            for item in decoded:
                first.append(item)
                if item.picture is not None:
                    break
            reached = bool(first) and first[-1].picture is not None and first[-1].place <= start
            if reached or place == len(seeks) - 1:
                yield from first
                yield from decoded
                return

    def _seek_times(self, start: int) -> List[int]:
        """Times to seek for frame `start`: its own, then those of ever earlier key frames.

        The last one is that of the first packet: some containers (MPEG-TS) seek by decoding time,
        which is before the presentation time.
        """
        before = bisect_left(self._keys, self._times[start])
        steps = [2**power for power in range(before.bit_length()) if 2**power <= before]
        return [self._times[start], *(self._keys[before - step] for step in steps), self._begin]

    def _decode(self, container: Any) -> Iterator[_Decoded]:
        """Pictures from the container's position on, and the faults between them."""
        stream = container.streams.video[0]
        trust, codec = Trust(), stream.codec_context.name
        for packet in container.demux(stream):
            data = bytes(packet) if codec == 'mjpeg' else b''
            pictures, fault = decode_packet(packet.decode, codec, data, packet.is_keyframe)
            trust.note(packet, fault)
            if not pictures and fault:
                yield _Decoded(-1, None, fault)
            for picture in pictures:
                fault = trust.fault_of(picture)
                yield _Decoded(bisect_left(self._times, picture.pts or 0), picture, fault)

    def _broken(self, index: int, reason: str) -> SourceFrame:
        message = f'frame {index} of {self.path.name} cannot be decoded: {reason}'
        return SourceFrame(index, f'{index:06d}', error=message)

    def _entry(self, index: int, pixels: np.ndarray, time_base: float) -> SourceFrame:
        seconds = (self._times[index] - self._times[0]) * time_base
        stamp = Stamp.from_ns(FIRST_STAMP_NS + round(seconds * 1e9))
        frame = Frame.from_array(pixels, 'bgr8', stamp, CAMERA_FRAME)
        key = f'{index:06d}'
        if self._labels is None:
            return SourceFrame(index, key, frame)
        try:
            labels = self._labels.read(key, (frame.height, frame.width))
        except LabelError as error:
            return SourceFrame(index, key, frame, str(error))
        return SourceFrame(index, key, frame, labels.note or None, labels.ids)


def _opened(path: Path) -> Any:
    """The file's container; raises FFmpeg's errors. Its metadata may be in any encoding."""
    import av

    try:
        return av.open(str(path), metadata_errors='replace')
    except TypeError:  # PyAV 19 and later, which accepts any encoding
        return av.open(str(path))


def _presentation_times(path: Path, max_megapixels: float) -> Tuple[List[int], List[int], int]:
    """Presentation times of all frames and of the key frames, sorted, and of the first packet.

    All in the stream's time base. Packets that the file marks as not to be shown (the lead-in of a
    trimmed video) are not frames, but their key frames count. Raises SourceError.
    """
    import av

    try:
        with _opened(path) as container:
            if not container.streams.video:
                raise SourceError(f'{path} has no video stream')
            stream = container.streams.video[0]
            codec = stream.codec_context
            if codec is None:
                raise SourceError(f'{path} is of a codec that FFmpeg does not decode here')
            if (
                container.format.name == 'avi'
                and codec.name in ('h264', 'hevc')
                and codec.has_b_frames
            ):
                raise SourceError(
                    f'{path} has B-frames, which are shown in another order than they are stored, '
                    'and AVI does not say when; make an mp4 of it: '
                    'ffmpeg -i FILE.avi -crf 12 -fps_mode passthrough drive.mp4'
                )
            height, width = codec.height, codec.width
            if height and width:  # else they are known only from the first frame on
                check_size(height, width, max_megapixels)
            packets = [
                (packet.pts, packet.dts, packet.is_keyframe, getattr(packet, 'is_discard', False))
                for packet in container.demux(stream)
                if packet.pts is not None
            ]
    except FrameError as error:
        raise SourceError(f'{path}: {error}') from error
    except av.error.FFmpegError as error:
        raise SourceError(
            f'{path} is neither a bag (.mcap, .db3) nor a video that FFmpeg reads: '
            f'{reason(error)}; give another file'
        ) from error
    times = sorted({pts for pts, _, _, hidden in packets if not hidden})
    if not times:
        raise SourceError(f'video {path} has no frame with a time')
    keys = sorted({pts for pts, _, is_key, _ in packets if is_key})
    return times, keys, min(pts if dts is None else min(pts, dts) for pts, dts, _, _ in packets)
