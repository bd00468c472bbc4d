"""Image files in memory, JPEG and PNG: their pixels, or words that say why there are none."""

from __future__ import annotations

import numpy as np

from segformer_ros.formats import jpeg, png
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError


def decode(data: np.ndarray, kind: str = '', max_megapixels: float = MAX_MEGAPIXELS) -> np.ndarray:
    """Decode a JPEG or PNG file held in (N,) uint8 bytes to (H, W, 3) uint8 BGR.

    `kind` is only named in errors. Raises FrameError for data that are empty, damaged, of another
    kind or of more than `max_megapixels`; nothing is allocated for those.
    """
    raw = data.tobytes()
    if raw.startswith(jpeg.HEAD):
        return jpeg.decode_jpeg(raw, max_megapixels)
    if raw.startswith(png.HEAD):
        return png.read_colours(raw, max_megapixels)
    raise FrameError(
        f'compressed image of format {kind!r} ({len(raw)} bytes) is neither JPEG nor PNG'
    )


def decode_labels(
    data: np.ndarray,
    kind: str = '',
    max_megapixels: float = MAX_MEGAPIXELS,
    colours: bool = False,
) -> np.ndarray:
    """Values of a PNG file of labels, held in (N,) uint8 bytes, as they are stored.

    (H, W) uint8 or uint16 of one channel, be it grey or a palette; (H, W, 3) BGR or (H, W, 4) BGRA
    of colours, which all are with `colours`. Raises FrameError as `decode` does, and for JPEG: its
    values are near the class ids only.
    """
    raw = data.tobytes()
    if raw.startswith(jpeg.HEAD):
        raise FrameError(
            f'labels of format {kind!r} are no PNG but JPEG, which changes values; they need a '
            'lossless format'
        )
    if not raw.startswith(png.HEAD):
        raise FrameError(f'labels of format {kind!r} are no PNG; they need a lossless format')
    stored = png.read_stored(raw, max_megapixels)
    return png.read_colours(raw, max_megapixels) if colours and stored.ndim == 2 else stored
