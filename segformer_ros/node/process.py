"""A node's process: it starts, works until it is done or interrupted, and ends in order."""

from __future__ import annotations

import sys
from typing import Callable, List, Optional, TypeVar

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from segformer_ros.errors import in_words, is_expected
from segformer_ros.interrupts import Interrupts, interruptible
from segformer_ros.node.program import Program

N = TypeVar('N', bound=Node)

_POLL = 0.1
"""Seconds at most until an interrupt is noticed."""


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
    nodes: List[N] = []

    def live() -> bool:
        program.check(arguments)
        rclpy.init(args=[program.name, *arguments], signal_handler_options=SignalHandlerOptions.NO)
        nodes.append(create())
        return work(nodes[0])

    try:
        succeeded = _explained(program.name, lambda: interruptible(live))
    except KeyboardInterrupt:
        succeeded = True
    finally:
        closed = _explained(program.name, lambda: _take_down(nodes, close))
    if not (succeeded and closed):
        sys.exit(1)


def spin(node: Node, done: Callable[[], bool] = lambda: False) -> None:
    """Serve a node until it is done; an interrupt is noticed without a message, too.

    It is raised between two callbacks, never inside of one or of rclpy.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    interrupts = Interrupts()
    try:
        with interrupts.held():
            while not (interrupts.noted or done()):
                executor.spin_once(timeout_sec=_POLL)
    finally:
        executor.remove_node(node)


def _take_down(nodes: List[N], close: Callable[[N], None]) -> bool:
    try:
        for node in nodes:
            close(node)
            node.destroy_node()
    finally:
        rclpy.try_shutdown()
    return True


def _explained(name: str, action: Callable[[], bool]) -> bool:
    """Do `action`; an error that the user can mend is one line, and False."""
    try:
        return action()
    except Exception as error:
        if not is_expected(error):
            raise
        print(f'{name}: {in_words(error)}', file=sys.stderr)
        return False
