"""Labels from a topic of a bag, found by the stamp of their image."""

from __future__ import annotations

import bisect
from pathlib import Path
from typing import Any, Callable, Iterator, List, NamedTuple, Optional, Tuple

import cv2
import numpy as np

from segformer_ros.cdr import HEADER_BYTES, header_stamp
from segformer_ros.frame import Frame, Stamp
from segformer_ros.sources.bag_reader import BagReader, Lost, RawMessage
from segformer_ros.sources.labels import LabelError, check_labels

_COMPRESSED_TYPE = 'sensor_msgs/msg/CompressedImage'


class _Place(NamedTuple):
    """Where a label message lies: its stamp (ns), its place in the topic, its time in the bag."""

    stamp: int
    order: int
    time: int


class BagLabels:
    """Label images of one topic, read as the images that they belong to come by.

    Reads on from message to message where the labels are asked for in order, and jumps where
    they are not. A context manager.
    """

    def __init__(
        self, path: Path, topic: str, tolerance: float, deserialize: Callable[[bytes, str], Any]
    ) -> None:
        self._reader = BagReader(path)
        self._topic = topic
        self._tolerance = round(tolerance * 1e9)
        self._deserialize = deserialize
        self._places: List[_Place] = []
        self._lost: List[str] = []
        self._cursor: Iterator[RawMessage] = iter(())
        self._next_order = -1

    def __enter__(self) -> BagLabels:
        self._reader.__enter__()
        for order, entry in self._reader.entries(self._topic):
            if isinstance(entry, Lost):
                self._lost.append(entry.reason)
            elif len(entry.data) >= HEADER_BYTES:
                self._places.append(_Place(_stamp(entry), order, entry.time))
        self._places.sort()
        return self

    def __exit__(self, *error: Any) -> None:
        self._reader.__exit__(*error)

    def read(self, stamp: Stamp, size: Tuple[int, int]) -> np.ndarray:
        """Labels of the image stamped `stamp` of (height, width) `size`; raises LabelError."""
        place = self._find(stamp.ns)
        if place is None:
            raise LabelError(
                f'{self._topic} has no labels stamped {stamp.sec}.{stamp.nanosec:09d}'
                + self._loss()
            )
        message = self._deserialize(
            self._fetch(place).data, self._reader.topics[self._topic].msgtype
        )
        return check_labels(_label_values(message), size, f'of {self._topic}')

    def _loss(self) -> str:
        """What is lost of the topic, for messages; '' for nothing."""
        if not self._lost:
            return ''
        return f' ({len(self._lost)} of its messages cannot be read; {self._lost[0]})'

    def _find(self, stamp: int) -> Optional[_Place]:
        """The label nearest to a stamp (ns), if it is within the tolerance."""
        at = bisect.bisect_left(self._places, (stamp,))
        near = self._places[max(at - 1, 0) : at + 1]
        best = min(near, key=lambda place: abs(place.stamp - stamp), default=None)
        if best is None or abs(best.stamp - stamp) > self._tolerance:
            return None
        return best

    def _fetch(self, place: _Place) -> RawMessage:
        if place.order != self._next_order:
            self._cursor = self._reader.messages(self._topic, start=place.time)
        self._next_order = place.order + 1
        for message in self._cursor:
            if _stamp(message) == place.stamp:
                return message
        raise LabelError(f'{self._topic} lost the label at {place.time} ns')


def _stamp(message: RawMessage) -> int:
    """Stamp of a label message in ns; that of its recording where it has none."""
    return header_stamp(message.data).ns or message.time


def _label_values(message: Any) -> np.ndarray:
    """Class ids of an Image or CompressedImage (PNG), (H, W)."""
    if message.__msgtype__ != _COMPRESSED_TYPE:
        return Frame.from_image(message).pixels
    values = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or 'png' not in message.format.lower():
        raise LabelError(
            f'label image of format {message.format!r}; labels need a lossless one (png)'
        )
    return np.asarray(values)
