# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The generated drive as a source: every label exact, the camera known."""

from __future__ import annotations

import re
from functools import partial
from typing import Iterator, Optional

from segformer_ros.frame import Frame
from segformer_ros.recordings import STREET
from segformer_ros.recordings.source import (
    CAMERA_FRAME,
    Source,
    SourceError,
    SourceFrame,
    SourceOptions,
    Truth,
    made_up_stamp,
)
from tools.street.drives import demo_drive

_NAME = re.compile(rf'{STREET}(?P<seed>\d+)?(?::(?P<frames>\d+))?')


class StreetSource(Source):
    """A drive through a generated street, named `street:[SEED][:FRAMES]`."""

    labelled = True
    class_map = 'cityscapes'

    def __init__(self, name: str, options: SourceOptions = SourceOptions()) -> None:
        match = _NAME.fullmatch(name)
        if match is None or (match['frames'] and int(match['frames']) == 0):
            raise SourceError(
                f'no such drive: {name!r}; a generated one is named {STREET}[SEED][:FRAMES], '
                f'as in {STREET}7:50'
            )
        if options.labels is not None:
            raise SourceError(
                f'a generated drive has labels of its own; {options.labels} is not for it'
            )
        chosen = {key: int(value) for key, value in match.groupdict().items() if value}
        self._drive = demo_drive(fps=options.fps, **chosen)
        self.name = f'street_{self._drive.seed}'
        self.calibration = self._drive.calibration
        self.pose = self._drive.pose

    def __len__(self) -> int:
        return len(self._drive)

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Frames `start` to `stop`; each is made when it is asked for."""
        for index in self.span(start, stop):
            street = self._drive[index]
            stamp = made_up_stamp(index, self._drive.fps)
            yield SourceFrame(
                index,
                f'{index:06d}',
                Frame.from_array(street.image, 'bgr8', stamp, CAMERA_FRAME),
                labels=street.labels,
                truth=Truth(
                    street.instances,
                    street.depth,
                    street.free_distance,
                    street.free_blocker,
                    partial(self._drive.classes_at, index=index),
                ),
                place=self._drive.place(index),
            )
