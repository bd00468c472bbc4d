# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Spins nodes in a thread, and ends it."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread

from rclpy.executors import Executor, ExternalShutdownException, ShutdownException


class Spinner:
    """A thread that spins an executor, without a timer that would wake it.

    It has ended before the executor is shut down: `Executor.shutdown` destroys what a thread that
    still spins uses, which then fails with InvalidHandle.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._over = Event()
        self._thread = Thread(target=self._spin, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, patience: float | None = None) -> None:
        """End the thread, for which it has so many seconds, and the executor."""
        self._over.set()
        self._executor.create_task(lambda: None)  # what it waits for
        self._thread.join(patience)
        self._executor.shutdown()

    def _spin(self) -> None:
        with suppress(ExternalShutdownException, ShutdownException):
            while not self._over.is_set():
                self._executor.spin_once()
