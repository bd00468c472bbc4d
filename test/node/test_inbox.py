"""The inbox: the newest item wins, and every item is accounted for."""

from __future__ import annotations

import random
from threading import Event, Thread

from segformer_ros.node.inbox import Ending, Inbox, Tally


def test_newer_item_takes_the_place_of_a_waiting_one() -> None:
    inbox: Inbox[int] = Inbox(['front'])
    for item in range(5):
        inbox.put('front', item)
    assert inbox.take(0) == [('front', 4)]
    assert inbox.tally('front') == Tally(received=5, overtaken=4, pending=1)
    inbox.settle('front', Ending.SEGMENTED)
    assert inbox.tally('front') == Tally(received=5, overtaken=4, segmented=1)


def test_items_that_never_came_here_are_received_and_overtaken() -> None:
    inbox: Inbox[int] = Inbox(['front'])
    inbox.overtaken('front', 3)
    inbox.put('front', 4)
    assert inbox.tally('front') == Tally(received=4, overtaken=3, pending=1)


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
                inbox.settle(sender, chance.choice(list(Ending)))

    threads = [Thread(target=put), Thread(target=work)]
    for thread in threads:
        thread.start()
    snapshots = [inbox.tally('front')]
    while not done.is_set():
        snapshots += [inbox.tally('front'), inbox.tally('left')]
    for thread in threads:
        thread.join()
    for tally in [*snapshots, inbox.tally('front'), inbox.tally('left')]:
        assert tally.received == sum(tally) - tally.received
        assert tally.pending in (0, 1, 2)
    assert inbox.tally('front').received == 2000
