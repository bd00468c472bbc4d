# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Videos of overlays, H.264: in mp4, and packet by packet for messages."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any, Iterator, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.destination import Whole, cannot_write, hidden_part
from segformer_ros.recordings.source import RecordingError

_CODECS = ('libx264', 'libopenh264', 'mpeg4')
"""Encoders to use, best first; a build of FFmpeg may lack any."""
_LEAST = 16
"""Least pixels of a side; encoders refuse smaller ones."""

_PACKET_CODECS = ('libx264', 'libopenh264')
"""Those that encode H.264."""
_KEY_NS = 1_000_000_000
"""Interval of the packets' key frames: how long a late subscriber waits for a picture."""

_TICKS = 90_000
"""Units of time in a second, as MPEG counts."""


class VideoWriter(Whole):
    """Writes frames with the times of their stamps; a context manager.

    The file appears under its name when it is closed, complete even if the writing was
    interrupted; without frames, or after an exception, there is none. Raises DestinationError
    where the system refuses to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frames = 0
        self._part = hidden_part(path)
        self._container: Any = None
        self._stream: Any = None
        self._size: Tuple[int, ...] = (0, 0)
        self._first_ns = 0
        self._last_tick = -1

    def write(self, pixels: np.ndarray, stamp_ns: int) -> None:
        """Append (H, W, 3) uint8 BGR pixels; the first frame fixes the size.

        Frames of another size, or too small for a video, are scaled to fit, with black borders. A
        stamp that does not increase is taken as the one before plus one tick.
        """
        import av

        # H.264 with 4:2:0 colours takes even sizes only.
        even = tuple(side // 2 * 2 for side in pixels.shape[:2])
        if self._container is None:
            self._first_ns = stamp_ns
            self._size = tuple(max(side, _LEAST) for side in even)
            with self._refused():
                self._open(*self._size)
        fitting = pixels[: even[0], : even[1]] if even == self._size else self._fitted(pixels)
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(fitting), format='bgr24')
        tick = (stamp_ns - self._first_ns) * _TICKS // 1_000_000_000
        self._last_tick = picture.pts = max(tick, self._last_tick + 1)
        with self._refused():
            self._container.mux(self._stream.encode(picture))
        self.frames += 1

    def close(self) -> None:
        """Finish the file; may be called again without harm."""
        if self._container is None:
            return
        with self._refused():
            self._container.mux(self._stream.encode())
            self._container.close()
            self._container = None
            self._part.replace(self.path)

    def discard(self) -> None:
        """Remove what was written; does nothing once the file is complete."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(OSError):  # the disk may be too full for its trailer
                container.close()
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # PyAV's errors are OSErrors, too
            self.discard()
            raise cannot_write(self.path, error) from error

    def _open(self, height: int, width: int) -> None:
        import av

        codec: Optional[str] = next((c for c in _CODECS if c in av.codecs_available), None)
        if codec is None:
            raise RecordingError(f'this FFmpeg has none of the encoders {", ".join(_CODECS)}')
        self._container = av.open(
            str(self._part), 'w', format='mp4', options={'movflags': 'faststart'}
        )
        stream = self._container.add_stream(codec, rate=30)
        stream.height, stream.width = height, width
        stream.pix_fmt = 'yuv420p'
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.options = {'crf': '20', 'preset': 'veryfast'}
        self._stream = stream

    def _fitted(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels of the video's size (H, W, 3): scaled to fit, and centred on black."""
        scale = min(most / side for most, side in zip(self._size, pixels.shape))
        height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
        top, left = (self._size[0] - height) // 2, (self._size[1] - width) // 2
        fitted = np.zeros((*self._size, 3), np.uint8)
        fitted[top : top + height, left : left + width] = cv2.resize(pixels, (width, height))
        return fitted


class VideoEncoder:
    """Encodes frames as H.264 without delay, as foxglove_msgs/CompressedVideo needs it.

    Annex B, no B-frames, and a key frame every second. A frame of another size starts a new
    stream. Raises RecordingError where this FFmpeg has no encoder.
    """

    def __init__(self) -> None:
        import av

        self._codec = next((c for c in _PACKET_CODECS if c in av.codecs_available), '')
        if not self._codec:
            raise RecordingError(
                f'this FFmpeg has none of the encoders {", ".join(_PACKET_CODECS)}'
            )
        self._context: Any = None
        self._key_ns = 0
        self._lock = Lock()  # late frames come from another thread

    def encode(self, pixels: np.ndarray, stamp_ns: int) -> bytes:
        """The packet of (H, W, 3) uint8 BGR; an odd last row or column is left out."""
        with self._lock:
            return self._encoded(pixels, stamp_ns)

    def _encoded(self, pixels: np.ndarray, stamp_ns: int) -> bytes:
        import av

        height, width = (max(side // 2 * 2, _LEAST) for side in pixels.shape[:2])
        if (height, width) != pixels.shape[:2]:
            pixels = cv2.copyMakeBorder(
                pixels[:height, :width],
                0,
                max(0, height - pixels.shape[0]),
                0,
                max(0, width - pixels.shape[1]),
                cv2.BORDER_REPLICATE,
            )
        if self._context is None or (self._context.height, self._context.width) != (height, width):
            self._context = self._opened(height, width)
            self._key_ns = stamp_ns - _KEY_NS
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format='bgr24')
        if not 0 <= stamp_ns - self._key_ns < _KEY_NS:
            picture.pict_type, self._key_ns = av.video.frame.PictureType.I, stamp_ns
        try:
            return b''.join(bytes(packet) for packet in self._context.encode(picture))
        except av.error.FFmpegError as error:
            self._context = None
            raise RecordingError(f'an overlay cannot be encoded: {error}') from error

    def _opened(self, height: int, width: int) -> Any:
        import av

        context = av.CodecContext.create(self._codec, 'w')
        context.height, context.width = height, width
        context.pix_fmt = 'yuv420p'
        context.time_base = Fraction(1, 30)  # without effect: each message has its stamp
        context.gop_size = 300
        options = {'crf': '24', 'preset': 'superfast', 'tune': 'zerolatency', 'forced-idr': '1'}
        context.options = options if self._codec == 'libx264' else {}
        return context
