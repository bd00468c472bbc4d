"""Transform tree: where frames of reference stand in each other."""

from __future__ import annotations

from typing import Any, Dict, List, NamedTuple

import numpy as np

from segformer_ros.errors import SegformerError

_NAMED_FRAMES = 12
"""Frames that a message about a tree names."""


class TransformError(SegformerError, ValueError):
    """A transform that is none, or is not there: says which and what there is."""


class Transform(NamedTuple):
    """Where a frame stands in its parent.

    translation: (3,) float64 metres. quaternion: (4,) float64 x, y, z, w of unit length.
    """

    translation: np.ndarray
    quaternion: np.ndarray

    @classmethod
    def from_message(cls, message: Any) -> Transform:
        """Of a geometry_msgs/Transform; raises TransformError for what is no transform."""
        offset, turn = message.translation, message.rotation
        translation = np.array([offset.x, offset.y, offset.z])
        quaternion = np.array([turn.x, turn.y, turn.z, turn.w])
        length = float(np.linalg.norm(quaternion))
        if not abs(length - 1) < 0.01:
            raise TransformError(
                f'the quaternion {tuple(quaternion.tolist())} has length {length:.3g} and not 1'
            )
        if not np.isfinite(translation).all():
            raise TransformError(f'the translation {tuple(translation.tolist())} is not finite')
        return cls(translation, quaternion / length)

    def then(self, inner: Transform) -> Transform:
        """Where a frame stands in the parent, of where it stands in this one."""
        return Transform(
            self.translation + _turned(self.quaternion, inner.translation),
            _product(self.quaternion, inner.quaternion),
        )

    def inverse(self) -> Transform:
        """Where the parent stands in this frame."""
        back = self.quaternion * (-1.0, -1.0, -1.0, 1.0)
        return Transform(-_turned(back, self.translation), back)


_SAME = Transform(np.zeros(3), np.array([0.0, 0.0, 0.0, 1.0]))


class _Link(NamedTuple):
    parent: str
    message: Any


class TransformTree:
    """The newest transform of each frame. Names count without a leading slash, as before tf2."""

    def __init__(self) -> None:
        self._links: Dict[str, _Link] = {}

    def add(self, stamped: Any) -> None:
        """Take in a geometry_msgs/TransformStamped; one without both names is passed over."""
        parent, child = _plain(stamped.header.frame_id), _plain(stamped.child_frame_id)
        if parent and child:
            self._links[child] = _Link(parent, stamped.transform)

    @property
    def frames(self) -> List[str]:
        """Names of all frames."""
        return sorted({*self._links, *(link.parent for link in self._links.values())})

    def look_up(self, target: str, source: str) -> Transform:
        """Where `source` stands in `target`; raises TransformError."""
        target, source = _plain(target), _plain(source)
        above_source, above_target = self._lineage(source), self._lineage(target)
        common = next((frame for frame in above_target if frame in above_source), None)
        if common is None:
            raise TransformError(f'nothing leads from {target} to {source}; {self._listing()}')
        return self._within(common, target).inverse().then(self._within(common, source))

    def _lineage(self, frame: str) -> List[str]:
        """A frame, its parent and so on; a circle is gone round once."""
        lineage = [frame]
        while lineage[-1] in self._links:
            parent = self._links[lineage[-1]].parent
            if parent in lineage:
                break
            lineage.append(parent)
        return lineage

    def _within(self, ancestor: str, frame: str) -> Transform:
        """Where a frame stands in one of its lineage."""
        found = _SAME
        while frame != ancestor:
            link = self._links[frame]
            try:
                found = Transform.from_message(link.message).then(found)
            except TransformError as error:
                raise TransformError(f'from {link.parent} to {frame}, {error}') from error
            frame = link.parent
        return found

    def _listing(self) -> str:
        frames = self.frames
        if not frames:
            return 'there are no frames'
        more = len(frames) - _NAMED_FRAMES
        rest = f' and {more} more' if more > 0 else ''
        return f'the frames are {", ".join(frames[:_NAMED_FRAMES])}{rest}'


def _plain(frame: str) -> str:
    return frame.lstrip('/')


def _product(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Quaternion of the turn `second` followed by the turn `first`."""
    a, b = first[:3], second[:3]
    vector = first[3] * b + second[3] * a + np.cross(a, b)
    return np.append(vector, first[3] * second[3] - a @ b)


def _turned(quaternion: np.ndarray, point: np.ndarray) -> np.ndarray:
    """A point (3,) turned by a unit quaternion."""
    axis = quaternion[:3]
    twice = 2.0 * np.cross(axis, point)
    turned: np.ndarray = point + quaternion[3] * twice + np.cross(axis, twice)
    return turned
