# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The worker: newest frame wins, cameras share batches, trouble costs frames and not the node."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial
from threading import Event, Thread
from typing import Any

import numpy as np
import pytest
from node_rig import HEIGHT, MASK, WIDTH, MakeRig, Rig, image, painted, pixels_of, street_image

from segformer_ros.engines import Pending, Wanted
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.node.segmentation.camera_stream import CameraStream
from segformer_ros.node.segmentation.frame_task import Ending, FrameCounts
from segformer_ros.node.segmentation.frame_worker import FrameWorker, Inbox

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
        assert rig.spin_until(lambda: not rig.counts().pending)
    assert rig.counts().unwanted == 3
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
        counts = rig.counts()
        assert counts.received == sum(counts) - counts.received
        assert counts.pending <= 3, 'one in the engine, one behind it, one in the inbox'
    last = rig.probe.get_clock().now()
    rig.send(street_image(last.to_msg()))
    assert rig.spin_until(lambda: rig.received[MASK][-1].header.stamp == last.to_msg())
    assert rig.spin_until(lambda: rig.counts().segmented == len(rig.received[MASK]))
    counts = rig.counts()
    assert counts.segmented + counts.overtaken == counts.received == 42
    assert counts.overtaken > 25
    stamps = [mask.header.stamp for mask in rig.received[MASK]]
    assert stamps == sorted(stamps, key=lambda stamp: (stamp.sec, stamp.nanosec))
    values = {pair.key: pair.value for pair in rig.status().values}
    assert float(values['age p99 (ms)']) < 8000, 'in a queue the last would have waited 40 s'


def test_several_cameras_share_one_engine_in_batches(
    make_rig: MakeRig, batches: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEngine, 'max_batch', 4)
    rig = make_rig(cameras=['front', 'left'], fake_delay=0.1)
    rig.start('front/segmentation/mask', 'left/segmentation/mask')
    left = painted(np.zeros((HEIGHT, WIDTH), np.uint8))
    for _ in range(6):
        rig.deliver(street_image(rig.now()), 'front')
        rig.deliver(image(left, rig.now()), 'left')
        rig.spin(0.05)
    all_counts = [partial(rig.counts, camera) for camera in ('front', 'left')]
    assert rig.spin_until(lambda: not any(counts().pending for counts in all_counts))
    rig.spin(0.1)
    assert 2 in batches
    assert all(counts().received == 6 for counts in all_counts)
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
    rig = make_rig(fake_delay=1.0)
    rig.start(MASK)
    for _ in range(3):  # until the engine's time is known
        rig.segment(street_image(rig.now()))  # nothing waits: its mask is not held back
    assert events == 3 * ['start', 'publish']
    events.clear()
    rig.send(street_image(rig.now()))
    assert rig.spin_until(lambda: events.count('start') == 1)
    last = rig.now()
    rig.send(street_image(last))  # comes while the second is in the engine
    assert rig.spin_until(lambda: rig.received[MASK][-1].header.stamp == last)
    assert events == ['start', 'start', 'publish', 'publish']


def test_the_next_frame_is_in_the_engine_while_one_is_published(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each publishing waits until the engine is given another frame, which it is meanwhile."""
    publish, given, overlapped = CameraStream.publish, Event(), []
    original = FakeEngine.start

    def starting(engine: FakeEngine, frames: Sequence[Frame], wanted: Wanted) -> Pending:
        given.set()
        return original(engine, frames, wanted)

    def publishing(stream: CameraStream, *parts: Any) -> None:
        given.clear()
        overlapped.append(given.wait(0.5))
        publish(stream, *parts)

    monkeypatch.setattr(FakeEngine, 'start', starting)
    monkeypatch.setattr(CameraStream, 'publish', publishing)
    rig = make_rig(fake_delay=0.02)
    rig.start(MASK)
    rig.send(street_image(rig.now()))
    while sum(overlapped) < 7:
        rig.send(street_image(rig.now()))
        rig.spin(0.02)
    stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in rig.received[MASK]]
    assert stamps == sorted(stamps)


def test_the_camera_that_waits_longest_comes_first(make_rig: MakeRig) -> None:
    """One engine that takes frames one by one serves all cameras alike."""
    names = ['a', 'b', 'c']
    rig = make_rig(cameras=names, fake_delay=0.05)
    rig.start(*(f'{name}/{MASK}' for name in names))
    for name in names:
        rig.deliver(street_image(rig.now()), name)
    for _ in range(60):
        for name in names:
            rig.send(street_image(rig.now()), f'{name}/image')
        rig.spin(0.03)
    counts = [rig.counts(name).segmented for name in names]
    assert min(counts) >= 5 and max(counts) <= 1.5 * min(counts)


def test_a_silent_camera_does_not_keep_the_engine_from_its_next_frame(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked once, and then those that send are."""
    started: list[int] = []
    start_waiting = FrameWorker._start_waiting

    def noted(worker: FrameWorker, under_way: bool) -> bool:
        came = start_waiting(worker, under_way)
        if came and under_way:
            started.append(len(worker._started))
        return came

    monkeypatch.setattr(FakeEngine, 'overlaps', True)
    monkeypatch.setattr(FakeEngine, 'max_batch', None)
    monkeypatch.setattr(FrameWorker, '_start_waiting', noted)
    rig = make_rig(cameras=['silent', 'front'], fake_delay=0.3)
    rig.start(f'silent/{MASK}', f'front/{MASK}')
    for _ in range(3):  # numbers tell of what is left in the middleware: the gate closes
        rig.deliver(street_image(rig.now()), 'front')
    while len(started) < 3:  # while another frame is in the engine
        rig.send(street_image(rig.now()), 'front/image')
        rig.spin(0.02)


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
    assert worker.inbox.counts('').pending == 0
    assert worker.inbox.counts('').segmented + worker.inbox.counts('').unwanted == 2


def test_one_bad_frame_costs_no_other(make_rig: MakeRig, capfd: Any) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image())
    truncated = street_image()
    truncated.data = truncated.data[:100]
    rig.send(truncated)
    assert rig.spin_until(lambda: rig.counts().rejected == 1)
    rig.segment(street_image())
    counts = rig.counts()
    assert (counts.segmented, counts.rejected, counts.received) == (2, 1, 3)
    status = rig.status()
    assert status.level == status.WARN
    assert 'truncated image: 100 bytes of data' in status.message
    assert 'frame rejected: truncated image: 100 bytes' in capfd.readouterr().err


def failed(rig: Rig, count: int) -> bool:
    return rig.counts().failed == count


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
    assert rig.spin_until(lambda: rig.counts().segmented == 2)
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
        assert rig.spin_until(lambda: rig.counts().failed == 1)
    rig.segment(street_image())
    assert 'cannot publish: TypeError' in rig.status().message


# --- The inbox --------------------------------------------------------------------------------


def test_newer_item_takes_the_place_of_a_waiting_one() -> None:
    inbox: Inbox[int] = Inbox(['front'])
    for item in range(5):
        inbox.put('front', item)
    assert inbox.take(0) == [('front', 4)]
    assert inbox.counts('front') == FrameCounts(received=5, overtaken=4, pending=1)
    inbox.ended('front', Ending.SEGMENTED)
    assert inbox.counts('front') == FrameCounts(received=5, overtaken=4, segmented=1)


def test_items_that_never_came_here_are_received_and_overtaken() -> None:
    inbox: Inbox[int] = Inbox(['front'])
    inbox.overtaken('front', 3)
    inbox.put('front', 4)
    assert inbox.counts('front') == FrameCounts(received=4, overtaken=3, pending=1)


def test_a_newer_item_is_waited_for_where_one_waits() -> None:
    inbox: Inbox[int] = Inbox(['front'])
    inbox.put('front', 1)
    thread = Thread(target=lambda: inbox.put('front', 2))
    with inbox._changed:
        thread.start()
        assert inbox.take(0, None, 30.0) == [('front', 2)]
    thread.join()


def test_those_that_wait_longest_are_taken_first() -> None:
    inbox: Inbox[int] = Inbox(['front', 'left', 'right'])
    for number, sender in enumerate(('left', 'front', 'right', 'left')):
        inbox.put(sender, number)
    assert inbox.take(0, 2) == [('left', 3), ('front', 1)]
    assert inbox.take(0, 2) == [('right', 2)]


def test_all_waiting_senders_are_taken_together() -> None:
    inbox: Inbox[int] = Inbox(['front', 'left'])
    inbox.put('left', 1)
    inbox.put('front', 2)
    assert sorted(inbox.take(0)) == [('front', 2), ('left', 1)]
    assert inbox.take(0) == []


def test_close_wakes_the_taker() -> None:
    inbox: Inbox[int] = Inbox(['front'])
    woken = Event()

    def wait() -> None:
        inbox.take(30)
        woken.set()

    thread = Thread(target=wait)
    thread.start()
    inbox.close()
    assert woken.wait(5)
    thread.join()


def test_sum_holds_at_every_moment() -> None:
    inbox: Inbox[int] = Inbox(['front', 'left'])
    done = Event()
    chance = random.Random(1)

    def put() -> None:
        for item in range(3000):
            inbox.put('front' if item % 3 else 'left', item)
        done.set()

    def work() -> None:
        while not done.is_set():
            for sender, _ in inbox.take(0.01):
                inbox.ended(sender, chance.choice(list(Ending)))

    threads = [Thread(target=put), Thread(target=work)]
    for thread in threads:
        thread.start()
    snapshots = [inbox.counts('front')]
    while not done.is_set():
        snapshots += [inbox.counts('front'), inbox.counts('left')]
    for thread in threads:
        thread.join()
    for counts in [*snapshots, inbox.counts('front'), inbox.counts('left')]:
        assert counts.received == sum(counts) - counts.received
        assert counts.pending in (0, 1, 2)
    assert inbox.counts('front').received == 2000
