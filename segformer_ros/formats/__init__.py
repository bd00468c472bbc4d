"""Image files in memory, JPEG and PNG: their pixels, or words that say why there are none."""

from __future__ import annotations

import cv2
import numpy as np

from segformer_ros.formats import jpeg, png
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError

_COLOUR = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION


def decode(data: np.ndarray, kind: str = '', max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Decode a JPEG or PNG file held in (N,) uint8 bytes to (H, W, 3) uint8 BGR.

    `kind` is only named in errors. Raises FrameError for data that are empty, damaged, of another
    kind or of more than `max_megapixels`; nothing is allocated for those.
    """
    raw = data.tobytes()
    if raw.startswith(jpeg.HEAD):
        return jpeg.decode_jpeg(raw, max_megapixels)
    if raw.startswith(png.HEAD):
        return _decode_png(raw, _COLOUR, max_megapixels)
    raise FrameError(
        f'compressed image of format {kind!r} ({len(raw)} bytes) is neither JPEG nor PNG'
    )


def decode_labels(
    data: np.ndarray, kind: str = '', max_megapixels: float = MAX_MEGAPIXELS
) -> np.ndarray:
    """Values of a PNG file of labels, held in (N,) uint8 bytes: (H, W) of the file's own type.

    Raises FrameError as `decode` does, and for JPEG: its values are near the class ids only.
    """
    raw = data.tobytes()
    if not raw.startswith(png.HEAD):
        raise FrameError(f'labels of format {kind!r} are no PNG; they need a lossless format')
    return _decode_png(raw, cv2.IMREAD_UNCHANGED, max_megapixels)


def _decode_png(raw: bytes, flags: int, max_megapixels: float) -> np.ndarray:
    plain = np.frombuffer(png.plain_png(raw, max_megapixels), np.uint8)
    try:
        pixels = cv2.imdecode(plain, flags)
    except cv2.error as error:
        raise FrameError(f'undecodable PNG image of {len(raw)} bytes: {error}') from error
    if pixels is None:
        raise FrameError(f'undecodable PNG image of {len(raw)} bytes')
    return np.asarray(pixels)
