"""Playing a source to a consumer that answers, or does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import monotonic

import pytest
import recordings as rec

from segformer_ros.frame import Stamp
from segformer_ros.node.player import Outgoing, Player, ReplayError
from segformer_ros.node.replay_parameters import ReplaySettings
from segformer_ros.sources import open_source
from segformer_ros.sources.base import FIRST_STAMP_NS

FAST = ReplaySettings(rate=0.0, stamps='recorded', answer_timeout=0.1)
STEP = 100_000_000


class Consumer:
    """Takes frames in and answers as it is told, at once."""

    def __init__(
        self, source: Path, settings: ReplaySettings, answers: Callable[[int, int], bool]
    ) -> None:
        self.stamps: list[int] = []
        self.ticks: list[Stamp] = []
        self.said: list[str] = []
        self._answers = answers
        self.player = Player(open_source(source), settings, self, self.said.append, lambda: 77)

    def publish(self, outgoing: Outgoing) -> None:
        """Answer the n-th sending of a stamp as wished."""
        stamp = outgoing.stamp.ns
        self.stamps.append(stamp)
        place = (stamp - FIRST_STAMP_NS) // STEP
        if self._answers(place, self.stamps.count(stamp)):
            self.player.answer(stamp)

    def tick(self, stamp: Stamp) -> None:
        """Note the clock."""
        self.ticks.append(stamp)


def stamps(*places: int) -> list[int]:
    """Stamps of frames at 10 Hz."""
    return [FIRST_STAMP_NS + place * STEP for place in places]


def test_all_frames_are_sent_and_answered(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 5)
    consumer = Consumer(clip, FAST, lambda place, time: True)
    consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 2, 3, 4)
    report = consumer.player.report(finished=True)
    assert (report.entries, report.published, report.answered) == (5, 5, 5)
    assert (report.resent, report.broken, report.failure) == (0, 0, '')
    assert 0.0 <= report.latency_p50 <= 1000.0 * report.seconds


def test_an_interrupted_play_has_lasted_until_now(tmp_path: Path) -> None:
    def interrupt(place: int, time: int) -> bool:
        if place == 2:
            raise KeyboardInterrupt
        return True

    clip = rec.write_folder(tmp_path / 'clip', 5)
    consumer, began = Consumer(clip, FAST, interrupt), monotonic()
    assert consumer.player.report(finished=True).seconds == 0.0
    with pytest.raises(KeyboardInterrupt):
        consumer.player.play()
    assert 0.0 < consumer.player.report(finished=True).seconds <= monotonic() - began


def test_a_lost_frame_is_sent_once_more(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    consumer = Consumer(clip, FAST, lambda place, time: place != 1 or time == 2)
    consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 1, 2)
    report = consumer.player.report(finished=True)
    assert (report.published, report.answered, report.resent) == (3, 3, 1)
    assert consumer.said == ['frame 1.100: no answer for 0.1 s; it is sent again']


def test_a_frame_that_is_never_answered_is_given_up(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    consumer = Consumer(clip, FAST, lambda place, time: place != 2)
    consumer.player.play()
    report = consumer.player.report(finished=True)
    assert (report.published, report.answered, report.resent) == (3, 2, 1)
    assert consumer.said[-1] == 'frame 1.200: no answer; it is given up'


def test_nobody_answering_ends_the_play(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 10)
    consumer = Consumer(clip, FAST, lambda place, time: False)
    with pytest.raises(ReplayError, match='no answer to 3 frames in a row'):
        consumer.player.play()
    assert consumer.stamps == stamps(0, 0, 1, 1, 2, 2)


def test_a_broken_entry_is_counted_and_named(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 3)
    (clip / 'frame1.png').write_bytes(b'')
    consumer = Consumer(clip, FAST, lambda place, time: True)
    consumer.player.play()
    report = consumer.player.report(finished=True)
    assert (report.entries, report.published, report.broken) == (3, 2, 1)
    assert consumer.stamps == stamps(0, 2)
    assert report.problems == tuple(consumer.said)
    assert 'frame1.png' in report.problems[0]


def test_a_source_of_broken_entries_is_not_looped(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    for image in clip.iterdir():
        image.write_bytes(b'')
    consumer = Consumer(clip, replace(FAST, loop=True), lambda place, time: True)
    consumer.player.play()
    assert len(consumer.said) == consumer.player.report(finished=True).broken == 2


def test_stamps_may_be_the_time_of_publishing(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 2)
    consumer = Consumer(clip, replace(FAST, stamps='now'), lambda place, time: True)
    consumer.player.play()
    assert consumer.stamps == [77, 77]


def test_a_loop_goes_on_with_later_stamps(tmp_path: Path) -> None:
    class Enough(Exception):
        """Ends the endless play."""

    clip = rec.write_folder(tmp_path / 'clip', 3)

    def answer(place: int, time: int) -> bool:
        if place == 7:
            raise Enough
        return True

    consumer = Consumer(clip, replace(FAST, loop=True), answer)
    with pytest.raises(Enough):
        consumer.player.play()
    assert consumer.stamps == stamps(*range(8))


def test_at_other_rates_nobody_is_waited_for(tmp_path: Path) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 4)
    settings = replace(FAST, rate=20.0)
    consumer = Consumer(clip, settings, lambda place, time: place == 3)
    consumer.player.play()
    assert consumer.stamps == stamps(0, 1, 2, 3)
    report = consumer.player.report(finished=True)
    assert (report.published, report.answered, report.resent) == (4, 1, 0)
