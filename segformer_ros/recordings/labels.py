# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Labels as they are stored (PNG, npy, topics), and how their values are mapped to train ids.

Nothing is scaled and nothing is guessed: ids are taken as stored, colours by an exact table, and
values that belong to no class are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Optional, Tuple

import numpy as np

from segformer_ros.classes import IGNORE_ID, ClassMap, load_class_map, preset_names
from segformer_ros.documents import MAX_IMAGE_BYTES, DocumentError, read_bytes
from segformer_ros.errors import SegformerError, one_line, reason
from segformer_ros.formats import decode_labels, decode_npy
from segformer_ros.formats.limits import MAX_MEGAPIXELS, FrameError, check_size
from segformer_ros.recordings.source import Source, SourceError, SourceOptions

TRAIN_IDS = 'train'
"""Value of `label_ids` for labels that are train ids for sure, whatever they look like."""

_NAMED = 6
"""Most values that a note lists."""
_WIDEST_TABLE = 1 << 24
"""Range of values up to which a table is used instead of sorting."""


class LabelError(SegformerError, ValueError):
    """One label image that cannot be used; the rest may be."""


class Labels(NamedTuple):
    """Labels of a frame: (H, W) uint8 train ids, 255 = not scored; a warning about them, or ''."""

    ids: np.ndarray
    note: str = ''


@dataclass(frozen=True)
class LabelCoding:
    """What stored values mean.

    ids: class map whose label ids they are. colors: class map whose colours they are. Without
    either they are train ids. insisted: the user says so, whatever the files are called.
    """

    ids: str = ''
    colors: str = ''
    insisted: bool = False
    max_megapixels: float = MAX_MEGAPIXELS
    _table: Mapping[int, int] = field(default_factory=dict, repr=False)
    _step: int = 0
    _colors: Optional[np.ndarray] = field(default=None, repr=False)

    @classmethod
    def of(cls, options: SourceOptions) -> LabelCoding:
        """The coding that the options name; raises ClassMapError, or SourceError for two."""
        ids = '' if options.label_ids == TRAIN_IDS else options.label_ids
        colors, limit = options.label_colors, options.max_megapixels
        if options.label_ids and colors:
            raise SourceError(
                f'labels are either ids (--label-ids {options.label_ids}) or colours '
                f'(--label-colors {colors}); give one of the two'
            )
        if colors:
            return cls(
                '', colors, max_megapixels=limit, _colors=_color_table(load_class_map(colors))
            )
        if ids:
            class_map = load_class_map(ids)
            table, step = class_map.label_table(), class_map.instances
            return cls(ids, max_megapixels=limit, _table=table, _step=step)
        return cls(insisted=bool(options.label_ids), max_megapixels=limit)

    @property
    def class_map(self) -> str:
        """Class map of the resulting train ids; '' for the model's."""
        return self.ids or self.colors

    @property
    def notes(self) -> Tuple[str, ...]:
        """Which classes such labels cannot distinguish."""
        if not self.colors:
            return ()
        class_map, shared = load_class_map(self.colors), []
        for color, train_id in class_map.color_table().items():
            same = [entry.name for entry in class_map.classes if entry.color == color]
            if len(same) > 1:
                names = ' and '.join(same)
                shared.append(f'{color} of {names} is taken as {class_map.names[train_id]}')
        return (f'colours of two classes: {"; ".join(shared)}',) if shared else ()

    def read_file(self, path: Path, size: Tuple[int, int]) -> Labels:
        """Labels in a file, of a frame of (height, width) `size`; raises LabelError."""
        return self.read(
            read_values(path, self.max_megapixels, bool(self.colors)), size, str(path)
        )

    def read_message(self, message: Any, size: Tuple[int, int], topic: str) -> Labels:
        """Labels in an Image or CompressedImage (PNG); raises LabelError and FrameError."""
        where = f'of {topic}'
        return self.read(message_values(message, self.max_megapixels, self.colors), size, where)

    def read(self, values: np.ndarray, size: Tuple[int, int], where: str) -> Labels:
        """Train ids of stored values, see `read_values`; where: their origin, for errors."""
        _check_frame(values.shape, size, where)
        if self._colors is not None:
            return self._of_colours(values, where)
        values, hidden = _one_channel(values, where)
        labels = self._of_ids(values, where)
        if hidden is not None:
            labels.ids[hidden] = IGNORE_ID
        return labels

    def _of_ids(self, values: np.ndarray, where: str) -> Labels:
        if values.dtype == np.uint8 and not self.ids:
            return Labels(values)  # the scorer reports those that are no class
        distinct, counts = _distinct(values)  # (n,) each
        new = [self._train_id(value) for value in distinct.tolist()]
        unknown = {v: count for v, count, to in zip(distinct.tolist(), counts, new) if to is None}
        if unknown and not self.ids:
            raise LabelError(_not_ids(where, unknown))
        train_ids = np.array([IGNORE_ID if to is None else to for to in new], np.uint8)  # (n,)
        words = f'label ids that {self.ids!r} does not have'
        return Labels(_looked_up(values, distinct, train_ids), _unknown_note(words, unknown))

    def _train_id(self, value: int) -> Optional[int]:
        """Train id of a stored value; IGNORE_ID if it is not scored, None if it is no class."""
        if value in (-1, IGNORE_ID):
            return IGNORE_ID
        if not self.ids:
            return value if 0 <= value < IGNORE_ID else None
        return self._table.get(value // self._step if 0 < self._step <= value else value)

    def _of_colours(self, values: np.ndarray, where: str) -> Labels:
        assert self._colors is not None
        if values.ndim != 3 or values.shape[2] not in (3, 4):
            raise LabelError(f'label image {where} has no colours; leave out --label-colors')
        values = _eight_bits(values, where)
        blue, green, red = (values[..., i].astype(np.uint32) for i in range(3))
        keys = red << 16 | green << 8 | blue  # (H, W) 0xRRGGBB
        train_ids = self._colors[keys]  # (H, W) int16, -1 for none
        hidden = values[..., 3] == 0 if values.shape[2] == 4 else np.zeros(keys.shape, bool)
        lost = (train_ids < 0) & ~hidden  # (H, W) bool
        unknown: Dict[Any, int] = {}
        if lost.any():
            odd, counts = np.unique(keys[lost], return_counts=True)  # (n,) each
            order = np.argsort(-counts, kind='stable')
            for key, count in zip(odd[order].tolist(), counts[order].tolist()):
                unknown[key >> 16, key >> 8 & 255, key & 255] = count
        ids = np.where(hidden | (train_ids < 0), IGNORE_ID, train_ids).astype(np.uint8)
        return Labels(ids, _unknown_note(f'colours that {self.colors!r} does not have', unknown))


def _color_table(class_map: ClassMap) -> np.ndarray:
    """(2^24,) int16 from a colour 0xRRGGBB to its train id, 255 for not scored, -1 for none."""
    table = np.full(1 << 24, -1, np.int16)
    for (red, green, blue), train_id in class_map.color_table().items():
        table[red << 16 | green << 8 | blue] = train_id
    return table


def read_values(
    path: Path, max_megapixels: float = MAX_MEGAPIXELS, colours: bool = False
) -> np.ndarray:
    """Values of a label file as they are stored; raises LabelError.

    (H, W) integers for ids, also palette indices; (H, W, 3) BGR or (H, W, 4) BGRA for colours.
    colours: return the colours of a palette, not its indices.
    """
    try:
        data = read_bytes(path, MAX_IMAGE_BYTES)
        if path.suffix.lower() == '.npy':
            return decode_npy(data, max_megapixels)
        return decode_labels(np.frombuffer(data, np.uint8), path.suffix, max_megapixels, colours)
    except (FrameError, DocumentError, OSError) as error:
        raise LabelError(f'unreadable label image {path}: {reason(error)}') from error


_ENCODINGS: Dict[str, Tuple[str, int]] = {
    'mono8': ('u1', 1), '8UC1': ('u1', 1), '8SC1': ('i1', 1),
    'mono16': ('u2', 1), '16UC1': ('u2', 1), '16SC1': ('i2', 1), '32SC1': ('i4', 1),
    'bgr8': ('u1', 3), 'rgb8': ('u1', 3), '8UC3': ('u1', 3),
    'bgra8': ('u1', 4), 'rgba8': ('u1', 4), '8UC4': ('u1', 4),
}  # fmt: skip
"""Encodings of labels in an Image: NumPy type of a value, and channels."""


def message_values(message: Any, max_megapixels: float, colours: object = False) -> np.ndarray:
    """Values of an Image or a CompressedImage (PNG) of labels, as `read_values` gives them.

    Raises FrameError and LabelError.
    """
    if hasattr(message, 'format'):
        data = np.frombuffer(message.data, np.uint8)
        return decode_labels(data, message.format, max_megapixels, bool(colours))
    if message.encoding not in _ENCODINGS:
        raise LabelError(
            f"labels of the encoding '{one_line(message.encoding, 80)}'; record ids as mono8, "
            f'16UC1 or 32SC1, or colours as bgr8 or rgb8 (known are {", ".join(_ENCODINGS)})'
        )
    check_size(message.height, message.width, max_megapixels)
    kind, channels = _ENCODINGS[message.encoding]
    dtype = np.dtype(kind).newbyteorder('>' if message.is_bigendian else '<')
    row_bytes = message.width * channels * dtype.itemsize
    needed = message.step * (message.height - 1) + row_bytes
    if message.step < row_bytes or len(message.data) < needed:
        raise FrameError(
            f'truncated labels: {len(message.data)} bytes of data with step {message.step} are '
            f'not enough for {message.width}x{message.height} {message.encoding}'
        )
    shape = (message.height, message.width, channels)
    strides = (message.step, channels * dtype.itemsize, dtype.itemsize)
    values = np.ndarray(shape, dtype, buffer=memoryview(message.data), strides=strides)
    if channels == 1:
        return values[..., 0].astype(dtype.newbyteorder('='))
    order = [2, 1, 0, 3][:channels] if message.encoding.startswith('rgb') else slice(None)
    return values[..., order]


def _check_frame(shape: Tuple[int, ...], size: Tuple[int, int], where: str) -> None:
    """Raises LabelError where labels are not of the frame's (height, width) `size`."""
    height, width = shape[:2]
    if (height, width) == size:
        return
    words = f'label image {where} has {width}x{height} pixels, its frame {size[1]}x{size[0]}'
    if (width, height) == size:
        raise LabelError(f'{words}: one of them is rotated; rotate the labels like the frame')
    if abs(width * size[0] - height * size[1]) <= max(width, size[1]):
        raise LabelError(
            f'{words}: resize the labels to {size[1]}x{size[0]} by nearest neighbour (class ids '
            'must not be blended)'
        )
    raise LabelError(
        f'{words}: another aspect, so another field of view; give labels of the whole frame, or '
        'frames cropped like the labels'
    )


def _eight_bits(values: np.ndarray, where: str) -> np.ndarray:
    """Colours of 8 bits; raises LabelError where they have more."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.uint16 and not (values % 257).any():
        return (values // 257).astype(np.uint8)
    raise LabelError(f'label image {where} has colours of {values.dtype}; write them in 8 bits')


def _one_channel(values: np.ndarray, where: str) -> Tuple[np.ndarray, Optional[np.ndarray]]:
    """(H, W) ids, and (H, W) bool where they are transparent (None for nowhere).

    Tools that can only write colours put an id into all three channels; other colours raise
    LabelError.
    """
    if values.ndim == 2:
        return values, None
    ids = values[..., 0]
    if values.shape[2] < 3 or (values[..., :3] != ids[..., None]).any():
        raise LabelError(_not_coded(values, where))
    hidden = values[..., 3] == 0 if values.shape[2] == 4 else np.zeros(ids.shape, bool)
    return np.ascontiguousarray(ids), hidden if hidden.any() else None


def _not_coded(values: np.ndarray, where: str) -> str:
    """What to do about labels that are colours."""
    words = f'label image {where} has {values.shape[2]} channels of different values: '
    if values.shape[2] < 3 or values.dtype != np.uint8:
        return f'{words}labels are one channel of class ids'
    colors = {(int(r), int(g), int(b)) for b, g, r in np.unique(_pixels(values), axis=0)}
    fits = [name for name in preset_names() if colors <= _colors_of(name)]
    if fits:
        return f'{words}they are colours of a data set; give --label-colors {" or ".join(fits)}'
    red, green, blue = min(colors)
    return (
        f'{words}{len(colors)} colours, such as ({red}, {green}, {blue}); give the class map that '
        'they are of (--label-colors: a preset or a yaml), or labels of one channel of class ids'
    )


def _pixels(values: np.ndarray) -> np.ndarray:
    """Colours (N, 3) of an image, subsampled if it is large."""
    return values[:: 1 + values.shape[0] // 360, :: 1 + values.shape[1] // 480, :3].reshape(-1, 3)


def _colors_of(preset: str) -> FrozenSet[Tuple[int, int, int]]:
    return frozenset(load_class_map(preset).color_table())


def _distinct(values: np.ndarray) -> Tuple[np.ndarray, List[int]]:
    """The distinct values, (n,) int64 and sorted, and how often each occurs."""
    low, high = int(values.min()), int(values.max())
    if high - low < _WIDEST_TABLE:  # much faster than sorting
        counts = np.bincount((values.astype(np.int64) - low).ravel())
        offsets = np.flatnonzero(counts)
        return offsets + low, counts[offsets].tolist()
    distinct, counts = np.unique(values.astype(np.int64), return_counts=True)
    return distinct, counts.tolist()


def _looked_up(values: np.ndarray, distinct: np.ndarray, new: np.ndarray) -> np.ndarray:
    """Replace each of the distinct values (n,) by its `new` one (n,): (H, W) uint8."""
    low, high = int(distinct[0]), int(distinct[-1])
    if high - low < _WIDEST_TABLE:
        table = np.zeros(high - low + 1, np.uint8)
        table[distinct - low] = new
        return np.asarray(table[values.astype(np.int64) - low])
    return np.asarray(new[np.searchsorted(distinct, values)])


def _unknown_note(words: str, unknown: Mapping[Any, int]) -> str:
    """One line on values that are not scored; '' for none."""
    if not unknown:
        return ''
    named = [f'{value} ({pixels} pixels)' for value, pixels in unknown.items()]
    more = f' and {len(named) - _NAMED} more' if len(named) > _NAMED else ''
    return f'{words}, not scored: {", ".join(named[:_NAMED])}{more}'


def _not_ids(where: str, unknown: Mapping[int, int]) -> str:
    """What to do about values that cannot be train ids."""
    named = ', '.join(
        f'{value} ({pixels} pixels)' for value, pixels in [*unknown.items()][:_NAMED]
    )
    return (
        f'label image {where} holds {named}; train ids are 0 to 254, 255 (or -1) is not scored. '
        'Instance ids hold the label id too: --label-ids cityscapes (label id * 1000 + number), '
        '--label-ids mapillary (label id * 256 + number), or give the semantic labels'
    )


def take_coding(source: Source, coding: LabelCoding) -> None:
    """Note in a recording which class map its labels are of."""
    source.class_map, source.class_map_given = coding.class_map, bool(coding.class_map)
    source.notes = (*source.notes, *coding.notes)
