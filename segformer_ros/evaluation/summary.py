"""Summary: what the shards of a run add up to beside the metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple

from segformer_ros.evaluation.shards import ShardResult
from segformer_ros.evaluation.tables import STAGES
from segformer_ros.evaluation.worst import Picture
from segformer_ros.metrics.document import NAMED_NOTES, Note, Tally


class WorstFrame(NamedTuple):
    """A frame for the report: its recording and name, and its pictures."""

    input: str
    frame: str
    picture: Picture


@dataclass
class Summary:
    """Tally, worst frames, stage times in milliseconds and the engine's facts of a run.

    worst: how many frames are kept.
    """

    worst: int
    tally: Tally = field(default_factory=Tally)
    pictures: List[WorstFrame] = field(default_factory=list)
    times: Dict[str, List[float]] = field(default_factory=lambda: {name: [] for name in STAGES})
    facts: Dict[str, str] = field(default_factory=dict)

    def add(self, name: str, result: ShardResult) -> None:
        """Add the next shard of the recording `name`."""
        keys = {}
        for record in result.frames:
            keys[record.index] = record.key
            self.tally.frames += 1
            self.tally.scored += record.scored
            if record.note:
                self.tally.noted += 1
                if len(self.tally.notes) < NAMED_NOTES:
                    self.tally.notes.append(Note(name, record.key, record.note))
            if record.scored:
                for stage, times in self.times.items():
                    times.append(getattr(record, stage))
        self.pictures += [WorstFrame(name, keys[p.index], p) for p in result.pictures]
        # Sorting keeps the order of equals, so the earlier frame stands first, as in a shard.
        self.pictures.sort(key=lambda frame: -frame.picture.wrong)
        del self.pictures[self.worst :]
        self.facts = result.facts
