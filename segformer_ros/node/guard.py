"""Guard: a message that cannot be used costs that message, and not the node."""

from __future__ import annotations

from functools import wraps
from typing import Any, Callable

from rclpy.node import Node

from segformer_ros.errors import one_line

_THROTTLE = 5.0  # seconds between two lines


def guarded(node: Node, topic: str, callback: Callable[..., None]) -> Callable[..., None]:
    """A subscription's callback whose errors are logged: rclpy would end the node with them.

    Raw messages may be any bytes, and the text in a message anything.
    """

    @wraps(callback)  # rclpy counts its arguments
    def call(*arguments: Any) -> None:
        try:
            callback(*arguments)
        except Exception as error:
            node.get_logger().warning(
                f'a message on {topic} is left out: {type(error).__name__}: '
                f'{one_line(str(error))}',
                throttle_duration_sec=_THROTTLE,
            )

    return call
