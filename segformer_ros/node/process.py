"""A node's process: it starts, works until it is done or interrupted, and ends in order."""

from __future__ import annotations

import os
import signal
import sys
from time import monotonic
from typing import Any, Callable, List, Optional, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from segformer_ros.errors import EXIT_INTERRUPTED, in_words, is_expected
from segformer_ros.node.program import Program

N = TypeVar('N', bound=Node)

_POLL = 0.1
"""Seconds at most until an interrupt is noticed."""

_REPEATED = 2.0
"""Seconds in which a further interrupt is the first one, repeated."""


def run_node(
    program: Program,
    create: Callable[[], N],
    work: Callable[[N], bool],
    close: Callable[[N], None],
    arguments: Optional[List[str]] = None,
) -> None:
    """Make a node, let it work, and take it down; exits with 1 where it cannot start or fails.

    Asked for help it gives that alone; an argument that is not ROS's is refused, with exit code 2.
    `work` tells whether all went well, and ends early by KeyboardInterrupt. `close` comes after
    it in any case, while the node can still publish: that is why signals are left to Python, for
    rclpy's own handlers would shut ROS down under the feet of the node's threads.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    code = program.answer(arguments)
    if code is not None:
        sys.exit(code)
    rclpy.init(args=[program.name, *arguments], signal_handler_options=SignalHandlerOptions.NO)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    node: Optional[N] = None
    succeeded = True
    try:
        program.check(arguments)
        node = create()
        succeeded = work(node)
    except KeyboardInterrupt:
        pass
    except Exception as error:
        if node is not None or not is_expected(error):
            raise
        print(f'{program.name}: {in_words(error)}', file=sys.stderr)
        succeeded = False
    finally:
        if node is not None:
            close(node)
            node.destroy_node()
        rclpy.try_shutdown()
    if not succeeded:
        sys.exit(1)


def spin(node: Node, done: Callable[[], bool] = lambda: False) -> None:
    """Serve a node until it is done; an interrupt is noticed without a message, too."""
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    try:
        while not done():
            executor.spin_once(timeout_sec=_POLL)
    finally:
        executor.remove_node(node)


def _interrupt(number: int, _: Any) -> None:
    """Interrupt the program once, and end it at once where Ctrl-C comes again later.

    `ros2 launch` repeats the Ctrl-C that a terminal has sent: what comes soon is no second one.
    What is waited for may take minutes, as the build of an engine does.
    """
    began = monotonic()

    def again(number: int, _: Any) -> None:
        if monotonic() - began > _REPEATED:
            os._exit(EXIT_INTERRUPTED)

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, again)
    raise KeyboardInterrupt
