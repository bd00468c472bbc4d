# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Interrupts: a program told to end, by Ctrl-C, SIGTERM or a closed terminal, at any moment.

While it loads nothing has begun, and it leaves at once. At work it is interrupted by
KeyboardInterrupt, once. While it ends nothing is raised any more, and its exit code stands.
Further interrupts within two seconds are the first one, repeated: `ros2 launch` passes on the
Ctrl-C that the terminal has sent already. A later Ctrl-C ends the program as it is; SIGTERM, which
launch sends to what does not end within five seconds, does not.

This module is imported first of all, so it imports little. That is why the memory allocator is
set up here, too (`keep_buffers`), before the libraries take their first buffers.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from contextlib import contextmanager
from importlib import import_module
from time import monotonic
from typing import Any, Callable, Iterator, NoReturn, Optional, TypeVar

T = TypeVar('T')

_PR_SET_PDEATHSIG = 1
"""The option of prctl(2) that asks for a signal when the parent ends."""

EXIT_INTERRUPTED = 130
"""Exit code of a tool that was interrupted. A node that is told to end has done well: 0."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_REPEATED = 2.0
"""Seconds in which a further interrupt is the first one, repeated."""

_AGAIN = 0.01
"""Seconds after which an interrupt is tried again where nothing could be raised."""

_LOCKING = ('threading.py', 'queue.py', 'logging/__init__.py', 'futures/_base.py')
_TAKES_OR_GIVES = ('__enter__', '__exit__', 'acquire', 'release')
_WAITS = ('wait', 'wait_for', 'join', '_wait_for_tstate_lock')


class _Interrupted:
    """The handler of a program at work, and later of one that ends."""

    def __init__(self) -> None:
        self.since: Optional[float] = None
        self.raises = True

    def __call__(self, number: int, frame: Any) -> None:
        now = monotonic()
        if self.since is None:
            if self.raises and _may_hold_lock(frame):
                signal.setitimer(signal.ITIMER_REAL, _AGAIN)
                return
            self.since = now
            if self.raises:
                raise KeyboardInterrupt
        elif number == signal.SIGINT and now - self.since > _REPEATED:
            os._exit(EXIT_INTERRUPTED)


_work: Optional[_Interrupted] = None
"""The handler of this process's program; None in a process that is somebody else's."""


def run_program(
    module: str,
    code: int = EXIT_INTERRUPTED,
    check: Callable[[], None] = lambda: None,
    name: str = '',
) -> NoReturn:
    """Import a module, run its `main` as the program of this process, and exit as it says.

    code: exit code where the program is interrupted while it loads. check: comes before the
    import; an error that the user can correct is one line and exit code 1. name: what that line
    begins with; empty: the module's. (A program that is text, as `-c` is, has no other.)
    """
    global _work
    _work = _Interrupted()
    _handle(lambda number, frame: os._exit(code))
    # `shielded`, and ./run, have them wait while Python itself starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    sys.unraisablehook = _unraisable
    result: Any = EXIT_INTERRUPTED
    try:
        check()
        keep_buffers()  # before the libraries take theirs
        result = import_module(module).main()
    except KeyboardInterrupt:
        pass
    except Exception as error:
        from segformer_ros.errors import in_words, is_expected

        if not is_expected(error):
            raise
        result = f'{name or module.rpartition(".")[2]}: {in_words(error)}'  # `exit` says it
    finally:
        _handle(signal.SIG_IGN)  # Python's own end takes a moment
    sys.exit(result)


def segformer() -> NoReturn:
    """Run the command line."""
    run_program('segformer_ros.cli.main', name='segformer')


def node(module: str) -> NoReturn:
    """Run a node's module, where there is enough shared memory for ROS to be loaded."""
    transport = 'segformer_ros.node.transport'
    run_program(module, 0, lambda: import_module(transport).check_shared_memory())


def interruptible(action: Callable[[], T]) -> T:
    """Do a program's work; raises KeyboardInterrupt where it was interrupted.

    Whatever the interrupt has become on its way: libraries put their own errors in its place.
    From then on nothing is interrupted any more, so that the program ends in order. Outside of
    `run_program` signals are left as they are.
    """
    work = _work
    if work is None:
        return action()
    try:
        signal.signal(signal.SIGALRM, work)
        _handle(work)
        return action()
    except Exception:
        if work.since is None:
            raise
        raise KeyboardInterrupt from None
    finally:
        work.raises = False


def interrupted() -> bool:
    """Whether this process's program was interrupted, also where a library swallowed that."""
    return _work is not None and _work.since is not None


class Interrupts:
    """Interrupts while a library works that calls back into Python: raised there they are lost.

    noted: whether one came.
    """

    def __init__(self) -> None:
        self.noted = False

    @contextmanager
    def held(self, stops: bool = True) -> Iterator[None]:
        """Have what an interrupt does wait for the end of the block.

        stops: whether the block asks for `noted`; one that nothing can stop ends with its
        process, at once. Only the main thread is interrupted, so that in others nothing is held.
        """
        before = {number: signal.getsignal(number) for number in SIGNALS}
        ours = [number for number, handler in before.items() if callable(handler)]
        if threading.current_thread() is not threading.main_thread():
            ours = []
        held = _Interrupted()
        held.raises = False
        came = []

        def note(number: int, frame: Any) -> None:
            self.noted = True
            came.append(number)
            held(number, frame)

        try:
            for number in ours:
                signal.signal(number, note if stops else signal.SIG_DFL)
            yield
        finally:
            for number in ours:
                signal.signal(number, before[number])
            if came:
                self.noted = False
                signal.raise_signal(came[0])


@contextmanager
def shielded() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach until they ask for it: this one ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Have this process interrupted when the one that started it is gone, however that ended."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _handle(handler: Any) -> None:
    for number in SIGNALS:
        # A hang-up is ignored under nohup. Ctrl-C is ignored in what a script puts into the
        # background, and is how nodes are ended there.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _unraisable(lost: Any) -> None:
    """Raise an interrupt again that came in a finaliser or a callback."""
    work = _work
    if work is None or not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    work.since = None
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _may_hold_lock(frame: Any) -> bool:
    """Whether an exception here could leave a lock taken for ever, on which other threads wait.

    It comes between any two steps, also between taking a lock and what gives it back.
    """
    code = frame.f_code
    if code.co_name in _WAITS:
        return False
    return code.co_name in _TAKES_OR_GIVES or code.co_filename.endswith(_LOCKING)


MALLOC_VARIABLE = 'SEGFORMER_MALLOC'
"""Environment variable that leaves the allocator as it is, where it is `system`."""

# mallopt(3). A threshold above half a heap is refused by glibc before 2.35.
_M_TRIM_THRESHOLD, _TRIM = -1, 128 * 2**20
_M_TOP_PAD, _PAD = -2, 16 * 2**20
_M_MMAP_THRESHOLD, _LARGEST = -3, 32 * 2**20


def keep_buffers() -> bool:
    """Have this process keep freed buffers of up to 32 MiB, 128 MiB of them; tell whether it does.

    By itself glibc takes a buffer of a frame's size (6 MB for 1080p) from the kernel and gives it
    back with every frame, and the kernel clears its 1,500 pages each time: most of what it costs
    to take an image message, and much of what NumPy and OpenCV do with frames.

    Nothing changes without glibc, nor where the environment has settings of its own for malloc.
    Another allocator that is loaded before glibc's is not reached.
    """
    if os.environ.get(MALLOC_VARIABLE) == 'system' or not sys.platform.startswith('linux'):
        return False
    given = [name for name in os.environ if name.startswith('MALLOC_')]
    if given or 'malloc' in os.environ.get('GLIBC_TUNABLES', ''):
        return False
    import ctypes

    library = ctypes.CDLL(None)
    if not hasattr(library, 'gnu_get_libc_version'):  # musl has no mallopt
        return False
    settings = (
        (_M_MMAP_THRESHOLD, _LARGEST),
        (_M_TRIM_THRESHOLD, _TRIM),
        (_M_TOP_PAD, _PAD),
    )
    return all(library.mallopt(option, value) == 1 for option, value in settings)
