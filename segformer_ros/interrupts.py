# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Interrupts: what Ctrl-C, SIGTERM or a closed terminal does to a program, at any moment.

While the program is loading, it exits at once. At work, it gets one KeyboardInterrupt. While it
shuts down, nothing is raised any more, and its exit code stands. Interrupts within two seconds of
the first are repeats of it: `ros2 launch` forwards the Ctrl-C that the terminal has already sent.
A later Ctrl-C kills the program during its shutdown; SIGTERM, which launch sends after five
seconds, does not.

This module is imported first, so it imports little. That is why it also sets up the memory
allocator (`keep_buffers`), before the libraries allocate their first buffers.
"""

from __future__ import annotations

import gc
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
"""Exit code of a tool that was interrupted. For a node this is the normal way to end: 0."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_REPEATED = 2.0
"""Seconds within which a further interrupt counts as a repeat of the first."""

_AGAIN = 0.01
"""Seconds until an interrupt is retried if it could not be raised."""

_LOCKING = ('threading.py', 'queue.py', 'logging/__init__.py', 'futures/_base.py')
_TAKES_OR_GIVES = ('__enter__', '__exit__', 'acquire', 'release')
_WAITS = ('wait', 'wait_for', 'join', '_wait_for_tstate_lock')


class _Interrupted:
    """Signal handler of a program at work, and later during its shutdown."""

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
"""The handler of this process's program; None if the process was not started by run_program."""


def run_program(
    module: str,
    code: int = EXIT_INTERRUPTED,
    check: Callable[[], None] = lambda: None,
    name: str = '',
) -> NoReturn:
    """Import a module, run its `main` as the program of this process, and exit with its result.

    code: exit code if the program is interrupted while it loads. check: called before the import.
    An error that the user can correct is printed as one line, with exit code 1. name: what that
    line begins with; empty: the module's name.
    """
    global _work
    _work = _Interrupted()
    _handle(lambda number, frame: os._exit(code))
    # `shielded` and ./run block them while Python itself starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    sys.unraisablehook = _unraisable
    result: Any = EXIT_INTERRUPTED
    try:
        check()
        keep_buffers()  # before the libraries allocate theirs
        gc.disable()  # what is loaded stays
        program = import_module(module)
        gc.freeze()
        gc.enable()
        result = program.main()
    except KeyboardInterrupt:
        pass
    except Exception as error:
        from segformer_ros.errors import in_words, is_expected

        if not is_expected(error):
            raise
        result = f'{name or module.rpartition(".")[2]}: {in_words(error)}'  # printed by sys.exit
    finally:
        _handle(signal.SIG_IGN)  # while Python itself shuts down
    sys.exit(result)


def segformer() -> NoReturn:
    """Run the command line."""
    run_program('segformer_ros.cli.main', name='segformer')


def node(module: str) -> NoReturn:
    """Run a node's module, if there is enough shared memory to load ROS."""
    transport = 'segformer_ros.node.transport'
    # A node's matrices are small, and a thread for each core would spin while the node starts.
    os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
    run_program(module, 0, lambda: import_module(transport).check_shared_memory())


def interruptible(action: Callable[[], T]) -> T:
    """Do a program's work; raises KeyboardInterrupt if it was interrupted.

    Also where a library has turned the interrupt into an error of its own. Afterwards nothing is
    interrupted any more, so that the program can shut down in order. Outside of `run_program`
    signals are left alone.
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
    """Whether this process's program was interrupted, even if a library swallowed that."""
    return _work is not None and _work.since is not None


class Interrupts:
    """Defers interrupts while a library calls back into Python, where exceptions would be lost.

    noted: whether an interrupt came.
    """

    def __init__(self) -> None:
        self.noted = False

    @contextmanager
    def held(self, stops: bool = True) -> Iterator[None]:
        """Defer interrupts until the end of the block.

        stops: whether the block polls `noted`; otherwise an interrupt kills the process, since
        nothing could stop the block. Does nothing outside the main thread, which alone is
        interrupted.
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
    """Start processes with Ctrl-C blocked until they unblock it: this process ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with_parent() -> None:
    """Have this process interrupted when its parent ends, however that happens."""
    import ctypes

    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _handle(handler: Any) -> None:
    for number in SIGNALS:
        # Under nohup SIGHUP stays ignored. SIGINT is ignored in background jobs of a script, too,
        # but is handled nevertheless: scripts end nodes by it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


def _unraisable(lost: Any) -> None:
    """Retry an interrupt that was raised, and lost, in a finaliser or a callback."""
    work = _work
    if work is None or not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    work.since = None
    signal.setitimer(signal.ITIMER_REAL, _AGAIN)


def _may_hold_lock(frame: Any) -> bool:
    """Whether an exception here could leave a lock held for ever, and other threads waiting.

    A signal handler runs between any two bytecodes, also between taking a lock and the `try` that
    releases it.
    """
    code = frame.f_code
    if code.co_name in _WAITS:
        return False
    return code.co_name in _TAKES_OR_GIVES or code.co_filename.endswith(_LOCKING)


MALLOC_VARIABLE = 'SEGFORMER_MALLOC'
"""Environment variable; `system` leaves the allocator unchanged."""

# mallopt(3). A threshold above half a heap is refused by glibc before 2.35.
_M_TRIM_THRESHOLD, _TRIM = -1, 128 * 2**20
_M_TOP_PAD, _PAD = -2, 16 * 2**20
_M_MMAP_THRESHOLD, _LARGEST = -3, 32 * 2**20


def keep_buffers() -> bool:
    """Have malloc keep freed buffers of up to 32 MiB, 128 MiB in all; tell whether it does.

    By default glibc maps a buffer of a frame's size (6 MB for 1080p) anew for every frame, and the
    kernel clears its 1,500 pages each time: most of the cost of taking an image message, and much
    of what NumPy and OpenCV spend on frames.

    Nothing changes without glibc, or if the environment has malloc settings of its own. It has no
    effect on another allocator that is loaded before glibc's.
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
