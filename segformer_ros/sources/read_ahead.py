"""Reading ahead: the next entries are read and decoded while this one is worked on."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Deque, Generator, Iterator, Optional, TypeVar

ItemT = TypeVar('ItemT')

DEPTH = 4
"""Items held ready; what bounds the memory."""


def read_ahead(items: Iterator[ItemT], depth: int = DEPTH) -> Generator[ItemT, None, None]:
    """The same items, read by a thread of its own at most `depth` ahead.

    An error of the iterator is raised where its item would have come.
    """
    pending: Deque[Future[Optional[ItemT]]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix='read-ahead') as reader:
        try:
            pending.extend(reader.submit(next, items, None) for _ in range(depth))
            while True:
                item = pending.popleft().result()
                if item is None:
                    return
                pending.append(reader.submit(next, items, None))
                yield item
        finally:
            for future in pending:
                future.cancel()
