"""Videos of overlays: H.264 in mp4."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, Iterator, Optional, Tuple, Type

import cv2
import numpy as np

from segformer_ros.destination import cannot_write, hidden_part
from segformer_ros.recordings.source import RecordingError

_CODECS = ('libx264', 'libopenh264', 'mpeg4')
"""Encoders to take, best first; a build of FFmpeg may lack any."""
_LEAST = 16
"""Pixels of a side; encoders refuse smaller ones."""

_TICKS = 90_000
"""Units of time in a second, as MPEG counts."""


class VideoWriter:
    """Writes frames with the times of their stamps; a context manager.

    The file appears under its name when it is closed, whole, also where the writing was
    interrupted; with no frame written, or after an exception, there is none. Raises
    DestinationError where the system refuses to write.
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

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *error: object) -> None:
        if kind is not None and issubclass(kind, Exception):
            self.discard()
        else:
            self.close()

    def write(self, pixels: np.ndarray, stamp_ns: int) -> None:
        """Append (H, W, 3) uint8 BGR pixels; the first frame fixes the size.

        One of another size is shrunk or enlarged to fit, with black beside it, and so is one that
        is too small for a video. A stamp that does not grow follows the one before by the least
        step.
        """
        import av

        # H.264 with colours at half resolution takes even sizes only.
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
        """Remove what was written; does nothing where the file has its name."""
        container, self._container = self._container, None
        if container is not None:
            with suppress(OSError):  # its end has no room either
                container.close()
        self._part.unlink(missing_ok=True)

    @contextmanager
    def _refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:  # PyAV's own are of this kind
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
        """A picture of the video's size: the pixels as large as fits, centred on black."""
        scale = min(most / side for most, side in zip(self._size, pixels.shape))
        height, width = (max(1, round(scale * side)) for side in pixels.shape[:2])
        top, left = (self._size[0] - height) // 2, (self._size[1] - width) // 2
        fitted = np.zeros((*self._size, 3), np.uint8)
        fitted[top : top + height, left : left + width] = cv2.resize(pixels, (width, height))
        return fitted
