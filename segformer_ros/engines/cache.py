# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Built engines, kept for the next start: built once, never loaded where anything differs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import stat
import struct
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Callable, Dict, Iterator, NamedTuple, Optional, Tuple

from segformer_ros.documents import LONGEST_PATH, mapping, open_file, parse_json, record, text
from segformer_ros.engines.engine import EngineError
from segformer_ros.errors import in_words, reason

MOST_BYTES = 768 << 20
"""Largest file that is loaded; the engine of a SegFormer-B5 in FP32 has half of that."""


def cache_folder(chosen: Optional[Path] = None) -> Path:
    """Where built engines and kernels are kept: as chosen, else $SEGFORMER_CACHE, else XDG's."""
    if chosen is not None:
        return chosen
    named = os.environ.get('SEGFORMER_CACHE')
    if named:
        return Path(named)
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'segformer_ros')


def make_own_folder(folder: Path) -> None:
    """Make a folder that only its owner may enter; raises OSError.

    An existing one must be this user's own, and not be writable by everybody: whoever can put
    files into it, or replace them, decides what runs on the GPU.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    fault = folder_fault(folder)
    if fault:
        raise PermissionError(fault)


def folder_fault(folder: Path) -> str:
    """Why a cache's folder cannot be trusted, with what to do; '' where it can; raises OSError."""
    state = folder.stat()
    if state.st_uid != os.getuid():
        return (
            f'the folder {folder} belongs to another user (id {state.st_uid}); name one of your '
            'own by SEGFORMER_CACHE'
        )
    if state.st_mode & stat.S_IWOTH:
        return f'every user may write into the folder {folder}; use it behind chmod o-w {folder}'
    return ''


def open_lock(path: Path) -> IO[bytes]:
    """Open a lock file, creating it if needed, without touching its contents.

    Raises OSError for a symbolic link, and for anything but a regular file of this user.
    """
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(str(path), flags, 0o600)
    state = os.fstat(handle)
    if stat.S_ISREG(state.st_mode) and state.st_uid == os.getuid():
        return os.fdopen(handle, 'r+b', buffering=0)
    os.close(handle)
    raise PermissionError(f"{path} is not this user's own file")


def write_atomically(path: Path, data: bytes) -> None:
    """Write an owner-only file that is there whole or not at all, even after a crash.

    Raises OSError; nothing is left behind then.
    """
    make_own_folder(path.parent)
    handle, name = tempfile.mkstemp('.partial', f'.{path.name}.', str(path.parent))
    try:
        with os.fdopen(handle, 'wb') as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, str(path))
    except BaseException:
        os.unlink(name)
        raise


def read_if_own(path: Path) -> Optional[bytes]:
    """Contents of a file that nobody else could have written; None for any other or none.

    A built engine holds machine code: one that another user could put there is never loaded.
    """
    try:
        if folder_fault(path.parent):
            return None
        with open_file(path, os.O_NOFOLLOW) as file:
            state = os.fstat(file.fileno())
            others = state.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            if state.st_uid != os.getuid() or others or state.st_size > MOST_BYTES:
                return None
            return file.read()
    except OSError:
        return None


MAGIC = b'SEGFENG1'
_HEADER = struct.Struct('<8sI')
_FACTS = record(
    {
        'key': mapping(text(LONGEST_PATH, least=0)),
        'facts': mapping(text(LONGEST_PATH, least=0)),
        'sha256': text(),
    },
    needed=frozenset(('key', 'facts', 'sha256')),
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineKey:
    """Everything that a built engine depends on: it is loaded only where all of it is the same.

    model: SHA-256 of the ONNX that is built. library: TensorRT or OpenVINO and its version.
    gpu: its name and size, or the CPU's name and instructions. sm: compute capability times ten,
    0 of a CPU. shapes: input size, batches and everything else, as text.
    """

    model: str
    library: str
    gpu: str
    sm: int
    precision: str
    shapes: str

    @property
    def file_name(self) -> str:
        """Name of the cache's file."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f'{hashlib.sha256(text.encode()).hexdigest()[:32]}.engine'


class Entry(NamedTuple):
    """An engine from the cache or just built. facts: what is known of it, for people."""

    plan: bytes
    facts: Dict[str, str]
    built: bool


Built = Tuple[bytes, Dict[str, str]]


class EngineCache:
    """A folder of engines that only its owner can read and write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, key: EngineKey) -> Optional[Entry]:
        """The engine of a key; None where there is none, or one that cannot be trusted."""
        fault, entry = self._read(key)
        if fault:
            _log.warning('%s', fault)
        return entry

    def load_or_build(self, key: EngineKey, build: Callable[[], Built]) -> Entry:
        """The engine of a key, built if it is not cached; of two processes only one builds.

        A folder that cannot be written is tolerated: the engine is then built for this run alone.
        """
        entry = self.load(key)
        if entry:
            return entry
        with self._locked(key):
            _, entry = self._read(key)  # another process may have built it meanwhile
            if entry:
                return entry
            plan, facts = build()
            self._store(key, plan, facts)
        return Entry(plan, facts, built=True)

    def discard(self, key: EngineKey) -> None:
        """Remove an engine that turned out not to load."""
        try:
            (self.folder / key.file_name).unlink()
        except OSError as error:
            _log.warning('the unusable engine stays in the cache: %s', error)

    def _read(self, key: EngineKey) -> Tuple[str, Optional[Entry]]:
        """(fault, engine) of a key's file: one of the two, neither where there is no file."""
        path = self.folder / key.file_name
        try:
            path.lstat()
            fault = folder_fault(self.folder)
        except (FileNotFoundError, NotADirectoryError):
            return '', None
        except OSError as error:  # a folder that this user may not enter
            return f'the engine cache cannot be read: {error}', None
        if fault:
            return fault, None
        data = read_if_own(path)
        if data is None:
            return f'{path} is not a file that only this user can write; it is not loaded', None
        fault, entry = _unpack(data, key)
        return fault and f'{path} is {fault}; the engine is built again', entry

    def _store(self, key: EngineKey, plan: bytes, facts: Dict[str, str]) -> None:
        path = self.folder / key.file_name
        try:
            write_atomically(path, _pack(key, plan, facts))
            for left in self.folder.glob(f'.{path.name}.*.partial'):
                left.unlink()  # of builds that were killed; the lock is held
        except OSError as error:
            _log.warning(
                'the engine is not kept in %s (%s) and will be built again at the next start',
                self.folder,
                error,
            )

    @contextmanager
    def _locked(self, key: EngineKey) -> Iterator[None]:
        """Hold the key's lock; without one where the folder allows none."""
        import fcntl

        path = self.folder / f'{key.file_name}.lock'
        try:
            make_own_folder(self.folder)
            file = open_lock(path)
        except OSError as error:
            _log.warning('the engine cache cannot be written: %s', in_words(error))
            yield
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.warning('another process is building this engine; waiting for it')
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # a file system without locks
                _log.warning('%s cannot be locked: %s', path, error)
            yield  # the lock is released when the file is closed, or the process dies


def _pack(key: EngineKey, plan: bytes, facts: Dict[str, str]) -> bytes:
    header = json.dumps(
        {'key': asdict(key), 'facts': facts, 'sha256': hashlib.sha256(plan).hexdigest()}
    ).encode()
    return _HEADER.pack(MAGIC, len(header)) + header + plan


def _unpack(data: bytes, key: EngineKey) -> Tuple[str, Optional[Entry]]:
    """(fault, engine) of a file's contents: one of the two."""
    try:
        magic, length = _HEADER.unpack_from(data)
        if magic != MAGIC:
            return 'of another kind', None
        text = data[_HEADER.size : _HEADER.size + length].decode()
        header = _FACTS(parse_json(text))
        plan = data[_HEADER.size + length :]
        if header['key'] != {name: str(value) for name, value in asdict(key).items()}:
            return 'of another model, GPU or version', None
        if header['sha256'] != hashlib.sha256(plan).hexdigest():
            return 'damaged', None
        return '', Entry(plan, header['facts'], built=False)
    except (struct.error, ValueError):
        return 'damaged', None


def read_plan(path: Path) -> bytes:
    """A serialised engine that the user names; raises EngineError for what cannot be one."""
    try:
        with open_file(path) as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise EngineError(
            f'the engine file {path} cannot be read: {reason(error)}; check the path'
        ) from error
    if not 64 <= len(data) <= MOST_BYTES:
        size = path.stat().st_size
        raise EngineError(
            f'{path} is not an engine: it has {size} bytes; build it again with segformer build'
        )
    return data
