"""The worker: newest frame wins, cameras share batches, trouble costs frames and not the node."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from node_rig import HEIGHT, MASK, WIDTH, MakeRig, Rig, image, painted, pixels_of, street_image

from segformer_ros.engines import Pending, Wanted
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.node.camera_stream import CameraStream

pytestmark = pytest.mark.ros


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that the engine was given."""
    sizes: list[int] = []
    original = FakeEngine.start

    def start(self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> Pending:
        sizes.append(len(frames))
        return original(self, frames, wanted)

    monkeypatch.setattr(FakeEngine, 'start', start)
    return sizes


def test_nothing_is_computed_for_nobody(make_rig: MakeRig, batches: list[int]) -> None:
    rig = make_rig()
    rig.start()
    for _ in range(3):
        rig.deliver(street_image())
        # One at a time: a frame that waits for a busy worker is overtaken by the next.
        assert rig.spin_until(lambda: not rig.tally().pending)
    assert rig.tally().unwanted == 3
    assert batches == []
    rig.subscribe(MASK)
    rig.segment(street_image())
    assert batches == [1]


def test_newest_frame_wins_and_all_are_accounted_for(make_rig: MakeRig) -> None:
    rig = make_rig(fake_delay=1.0)
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image(rig.now()))
    for _ in range(40):
        rig.deliver(street_image(rig.now()))
        rig.spin(0.025)
        tally = rig.tally()
        assert tally.received == sum(tally) - tally.received
        assert tally.pending <= 2
    last = rig.probe.get_clock().now()
    rig.send(street_image(last.to_msg()))
    assert rig.spin_until(lambda: rig.received[MASK][-1].header.stamp == last.to_msg())
    assert rig.spin_until(lambda: rig.tally().segmented == len(rig.received[MASK]))
    tally = rig.tally()
    assert tally.segmented + tally.overtaken == tally.received == 42
    assert tally.overtaken > 25
    stamps = [mask.header.stamp for mask in rig.received[MASK]]
    assert stamps == sorted(stamps, key=lambda stamp: (stamp.sec, stamp.nanosec))
    values = {pair.key: pair.value for pair in rig.status().values}
    assert float(values['age p99 (ms)']) < 8000, 'in a queue the last would have waited 40 s'


def test_several_cameras_share_one_engine_in_batches(
    make_rig: MakeRig, batches: list[int]
) -> None:
    rig = make_rig(cameras=['front', 'left'], fake_delay=0.1)
    rig.start('front/segmentation/mask', 'left/segmentation/mask')
    left = painted(np.zeros((HEIGHT, WIDTH), np.uint8))
    for _ in range(6):
        rig.deliver(street_image(rig.now()), 'front')
        rig.deliver(image(left, rig.now()), 'left')
        rig.spin(0.05)
    tallies = [partial(rig.tally, camera) for camera in ('front', 'left')]
    assert rig.spin_until(lambda: not any(tally().pending for tally in tallies))
    rig.spin(0.1)
    assert 2 in batches
    assert all(tally().received == 6 for tally in tallies)
    assert (pixels_of(rig.received['left/segmentation/mask'][-1]) == 0).all()
    assert (pixels_of(rig.received['front/segmentation/mask'][-1]) != 0).any()


def test_a_device_is_given_the_next_frame_before_the_last_is_published(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    start, publish = FakeEngine.start, CameraStream.publish

    def starting(engine: FakeEngine, frames: Sequence[Frame], wanted: Wanted) -> Pending:
        events.append('start')
        return start(engine, frames, wanted)

    def publishing(stream: CameraStream, *parts: Any) -> None:
        events.append('publish')
        publish(stream, *parts)

    monkeypatch.setattr(FakeEngine, 'overlaps', True)
    monkeypatch.setattr(FakeEngine, 'start', starting)
    monkeypatch.setattr(CameraStream, 'publish', publishing)
    rig = make_rig(fake_delay=0.5)
    rig.start(MASK)
    rig.segment(street_image(rig.now()))  # nothing waits: its mask is not held back
    assert events == ['start', 'publish']
    rig.send(street_image(rig.now()))
    assert rig.spin_until(lambda: events.count('start') == 2)
    last = rig.now()
    rig.send(street_image(last))  # comes while the second is in the engine
    assert rig.spin_until(lambda: rig.received[MASK][-1].header.stamp == last)
    assert events[2:] == ['start', 'start', 'publish', 'publish']


def test_frames_in_hand_are_finished_at_the_end(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, 'overlaps', True)
    rig = make_rig(fake_delay=0.5)
    rig.start(MASK)
    rig.segment(street_image(rig.now()))
    rig.deliver(street_image(rig.now()))
    worker = rig.node.worker
    assert worker
    rig.node.trigger_deactivate()
    rig.node.trigger_cleanup()
    assert worker.tally('').pending == 0
    assert worker.tally('').segmented + worker.tally('').unwanted == 2


def test_one_bad_frame_costs_no_other(make_rig: MakeRig, capfd: Any) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image())
    truncated = street_image()
    truncated.data = truncated.data[:100]
    rig.send(truncated)
    assert rig.spin_until(lambda: rig.tally().rejected == 1)
    rig.segment(street_image())
    tally = rig.tally()
    assert (tally.segmented, tally.rejected, tally.received) == (2, 1, 3)
    status = rig.status()
    assert status.level == status.WARN
    assert 'truncated image: 100 bytes of data' in status.message
    assert 'frame rejected: truncated image: 100 bytes' in capfd.readouterr().err


def failed(rig: Rig, count: int) -> bool:
    return rig.tally().failed == count


def test_failing_engine_drops_frames_and_is_started_again(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image())

    def broken(self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> None:
        raise RuntimeError('device lost')

    with monkeypatch.context() as patch:
        patch.setattr(FakeEngine, 'start', broken)
        for count in (1, 2, 3):
            rig.send(street_image())
            assert rig.spin_until(partial(failed, rig, count))
        status = rig.status('engine')
        assert status.level == status.ERROR
        assert '3 frames failed in a row: RuntimeError: device lost' in status.message
    rig.send(street_image())
    assert rig.spin_until(lambda: rig.tally().segmented == 2)
    rig.spin(0.3)
    status = rig.status('engine')
    assert status.level == status.OK
    assert {pair.key: pair.value for pair in status.values}['restarts'] == '1'


def test_error_in_publishing_costs_one_frame(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    with monkeypatch.context() as patch:
        patch.setattr('segformer_ros.node.messages.ImageBuffer.filled', None)
        rig.send(street_image())
        assert rig.spin_until(lambda: rig.tally().failed == 1)
    rig.segment(street_image())
    assert 'cannot publish: TypeError' in rig.status().message
