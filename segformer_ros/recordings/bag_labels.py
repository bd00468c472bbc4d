"""Labels from a topic of a bag, found by the stamp of their image."""

from __future__ import annotations

import bisect
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from segformer_ros.formats.images import decode_labels
from segformer_ros.frame import HEADER_BYTES, Frame, Stamp
from segformer_ros.recordings.bag_reader import BagReader
from segformer_ros.recordings.bag_storage import Bytes, Entry, Lost, RawMessage
from segformer_ros.recordings.labels import LabelError, check_labels
from segformer_ros.recordings.source import SourceOptions

_COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'


class _Place(NamedTuple):
    """Where a label message lies: its stamp (ns) and its place in the topic."""

    stamp: int
    order: int


class BagLabels:
    """Label images of one topic, read as the images that they belong to come by.

    A label belongs to the one image that is nearest to it, if that is within the tolerance
    (seconds). Reads on from message to message where the labels are asked for in order, and jumps
    where they are not.

    images: stamps (ns) of all images, rising; not needed without a tolerance.
    """

    def __init__(
        self,
        reader: BagReader,
        options: SourceOptions,
        images: Sequence[int],
        deserialize: Callable[[Bytes, str], Any],
    ) -> None:
        self._reader = reader
        self._topic = options.label_topic
        self._tolerance = round(options.label_tolerance * 1e9)
        self._max_megapixels = options.max_megapixels
        self._deserialize = deserialize
        self._images = images
        self._places: Dict[int, _Place] = {}  # by the stamp of the image
        self._lost: List[str] = []
        self._cursor: Iterator[Tuple[int, Entry]] = iter(())
        self._next_order = -1
        for order, entry in self._reader.entries(self._topic):
            if isinstance(entry, Lost):
                self._lost.append(entry.reason)
                continue
            stamp = entry_stamp(entry)
            if stamp is not None:
                self._assign(_Place(stamp, order))

    def read(self, stamp: Stamp, size: Tuple[int, int]) -> np.ndarray:
        """Labels of the image stamped `stamp` of (height, width) `size`; raises LabelError."""
        place = self._places.get(stamp.ns)
        if place is None:
            raise LabelError(
                f'{self._topic} has no labels stamped {stamp.sec}.{stamp.nanosec:09d}'
                + self._loss()
            )
        message = self._deserialize(
            self._fetch(place).data, self._reader.topics[self._topic].msgtype
        )
        return check_labels(self._values(message), size, f'of {self._topic}')

    def _values(self, message: Any) -> np.ndarray:
        """Class ids of an Image or CompressedImage (PNG), (H, W)."""
        if message.__msgtype__ == _COMPRESSED_TYPE:
            data = np.frombuffer(message.data, np.uint8)
            return decode_labels(data, message.format, self._max_megapixels)
        frame = Frame.from_image(message, self._max_megapixels)
        # Others have become colours by now, and would be refused for channels that they never had.
        if frame.encoding != 'mono8':
            raise LabelError(
                f'label image of {self._topic} is {message.encoding}; record train ids as mono8 '
                '(8 bit)'
            )
        return frame.pixels

    def _loss(self) -> str:
        """What is lost of the topic, for messages; '' for nothing."""
        if not self._lost:
            return ''
        return f' ({len(self._lost)} of its messages cannot be read; {self._lost[0]})'

    def _assign(self, place: _Place) -> None:
        """Give a label to its image, unless that has a nearer one."""
        image = self._nearest_image(place.stamp)
        if abs(image - place.stamp) > self._tolerance:
            return
        known = self._places.get(image, place)
        self._places[image] = min(known, place, key=lambda p: (abs(p.stamp - image), p))

    def _nearest_image(self, stamp: int) -> int:
        """Stamp of the image nearest to a stamp, the earlier of two; without images the same."""
        if not self._tolerance:
            return stamp
        at = bisect.bisect_left(self._images, stamp)
        near = self._images[max(at - 1, 0) : at + 1]
        return min(near, key=lambda image: abs(image - stamp), default=stamp)

    def _fetch(self, place: _Place) -> RawMessage:
        if place.order != self._next_order:
            self._cursor = self._reader.entries(self._topic, place.order)
        self._next_order = place.order + 1
        _, message = next(self._cursor)
        if isinstance(message, Lost):
            raise LabelError(message.reason)
        return message


def entry_stamp(entry: Entry) -> Optional[int]:
    """Stamp of a message in ns, that of its recording where it has none; None of a broken one."""
    if isinstance(entry, Lost) or len(entry.data) < HEADER_BYTES:
        return None
    return Stamp.of_message(entry.data).ns or entry.time
