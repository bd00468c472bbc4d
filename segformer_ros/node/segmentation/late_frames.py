# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Late frames: what must wait beside the work, each camera's in its order."""

from __future__ import annotations

from collections import deque
from threading import Condition, Lock, Thread
from typing import Callable, Deque, Generic, Optional, TypeVar

POLL = 0.01
"""Seconds between two looks at the frame that is waited for."""

MOST = 16
"""Frames that may wait, half a second of them at 30 Hz: each holds its image and mask."""

FrameT = TypeVar('FrameT')


class LateFrames(Generic[FrameT]):
    """Hands frames on in the order in which they are put, each as soon as it can go.

    One that can go at once goes in the thread that puts it, while no other waits; the rest goes
    in a thread of its own, which is started when it is first needed. One thread puts.

    hand_on: hands a frame on and returns True, or returns False: it must wait. Its second
    argument tells that it cannot wait any longer. Never called by two threads at a time.
    failed: takes what `hand_on` raises in the thread; `put` raises it.
    """

    def __init__(
        self, hand_on: Callable[[FrameT, bool], bool], failed: Callable[[Exception], None]
    ) -> None:
        self._hand_on = hand_on
        self._failed = failed
        self._busy = Lock()
        self._changed = Condition()
        self._waiting: Deque[FrameT] = deque()
        self._closed = False
        self._thread: Optional[Thread] = None

    def put(self, frame: FrameT) -> None:
        """Hand a frame on, now or later."""
        if not self._waiting:  # only this thread adds to it
            with self._busy:
                if self._hand_on(frame, self._closed):
                    return
        with self._changed:
            self._waiting.append(frame)
            self._changed.notify()
        if self._thread is None:
            self._thread = Thread(target=self._run, name='late frames', daemon=True)
            self._thread.start()

    def clear(self) -> None:
        """Give up what waits."""
        with self._changed:
            self._waiting.clear()

    def close(self) -> None:
        """Give up what waits, and end the thread; from now on nothing waits."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                frame, crowded = self._waiting[0], len(self._waiting) > MOST
            done = self._try(frame, crowded)
            with self._changed:
                if not done:
                    self._changed.wait_for(lambda: self._closed, POLL)
                elif self._waiting and self._waiting[0] is frame:
                    self._waiting.popleft()

    def _try(self, frame: FrameT, last: bool) -> bool:
        try:
            with self._busy:
                return self._hand_on(frame, last)
        except Exception as error:  # whatever it is, the next frame may be better
            self._failed(error)
            return True
