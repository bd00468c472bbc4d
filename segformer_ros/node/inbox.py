"""Inbox: the newest frame of each camera, and what became of every frame that came."""

from __future__ import annotations

from enum import Enum
from threading import Condition
from typing import Dict, Generic, List, NamedTuple, Optional, Sequence, Tuple, TypeVar

Item = TypeVar('Item')


class Ending(Enum):
    """How a frame ended that was taken out."""

    SEGMENTED = 'segmented'
    REJECTED = 'rejected'
    """Not an image that can be used (FrameError)."""
    FAILED = 'failed'
    """The engine or the publishing failed on it."""
    UNWANTED = 'unwanted'
    """Nobody subscribed, or the node was disabled."""


class Tally(NamedTuple):
    """What became of one camera's frames; `received` is the sum of all the others.

    overtaken: a newer frame came before they were taken, here or in the middleware's queue.
    """

    received: int = 0
    segmented: int = 0
    overtaken: int = 0
    rejected: int = 0
    failed: int = 0
    unwanted: int = 0
    pending: int = 0
    """Waiting or being segmented: not yet decided."""


class Inbox(Generic[Item]):
    """Holds one item for each sender; a newer one takes the place of one not yet taken.

    Any thread puts, one thread takes and settles. Putting never waits for the taker.
    """

    def __init__(self, senders: Sequence[str]) -> None:
        self._changed = Condition()
        self._waiting: Dict[str, Item] = {}
        self._tallies: Dict[str, Tally] = {sender: Tally() for sender in senders}
        self._open = True

    def overtaken(self, sender: str, count: int) -> None:
        """Count items that newer ones overtook on their way here."""
        with self._changed:
            tally = self._tallies[sender]
            self._tallies[sender] = tally._replace(
                received=tally.received + count, overtaken=tally.overtaken + count
            )

    def put(self, sender: str, item: Item) -> None:
        """Leave the newest item of a sender."""
        with self._changed:
            tally = self._tallies[sender]
            if sender in self._waiting:
                tally = tally._replace(overtaken=tally.overtaken + 1)
            else:
                tally = tally._replace(pending=tally.pending + 1)
            self._tallies[sender] = tally._replace(received=tally.received + 1)
            self._waiting[sender] = item
            self._changed.notify()

    def take(self, timeout: Optional[float] = None) -> List[Tuple[str, Item]]:
        """Take all that waits; waits for the first. Empty after the timeout or when closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open, timeout)
            taken = list(self._waiting.items())
            self._waiting.clear()
            return taken

    def settle(self, sender: str, ending: Ending) -> None:
        """Say how a frame ended that was taken."""
        with self._changed:
            tally = self._tallies[sender]
            count = getattr(tally, ending.value)
            self._tallies[sender] = tally._replace(
                pending=tally.pending - 1, **{ending.value: count + 1}
            )

    def tally(self, sender: str) -> Tally:
        """What became of a sender's frames so far."""
        with self._changed:
            return self._tallies[sender]

    def close(self) -> None:
        """Wake the taker for good."""
        with self._changed:
            self._open = False
            self._changed.notify()
