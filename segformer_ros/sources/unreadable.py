"""A recording that cannot be read, among others that can."""

from __future__ import annotations

from pathlib import Path
from typing import Iterator, Optional

from segformer_ros.sources.base import Source, SourceFrame


class UnreadableSource(Source):
    """Stands in the place of a recording that gives no frame; its note says why."""

    def __init__(self, path: Path, reason: str) -> None:
        self.name = path.stem
        self.path = path
        self.notes = (f'left out: {reason}',)

    def __len__(self) -> int:
        return 0

    def frames(self, start: int = 0, stop: Optional[int] = None) -> Iterator[SourceFrame]:
        """Nothing."""
        return iter(())
