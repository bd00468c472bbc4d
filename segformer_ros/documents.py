# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Documents: YAML and JSON from users, read within limits and checked against a schema.

No file is trusted: opening one never blocks on a pipe, its bytes, nesting levels and aliases are
limited before a parser sees them, and each value is checked before it is used.
"""

from __future__ import annotations

import errno
import json
import math
import os
import reprlib
import stat
from pathlib import Path
from typing import (
    IO,
    Any,
    Callable,
    Dict,
    FrozenSet,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Tuple,
    TypeVar,
)

import yaml

from segformer_ros.errors import SegformerError, reason

MAX_BYTES = 16 << 20
"""Largest document. metrics.json of 255 classes has 1 MiB."""
MAX_IMAGE_BYTES = 256 << 20
"""Largest image file."""
MAX_DEPTH = 64
MAX_NODES = 100_000
"""Most values in a YAML; an alias counts as what it repeats. A bag of 1000 files has 20,000."""

LONGEST_NAME = 200
"""Most characters of a name."""
LONGEST_PATH = 4096
"""Most characters of a path, as on Linux."""

T = TypeVar('T')
Check = Callable[[Any], T]
"""Returns a value in the wanted type, or raises FieldError."""

_Loader: Any = getattr(yaml, 'CSafeLoader', yaml.SafeLoader)


class DocumentError(SegformerError, ValueError):
    """A document that cannot be read: says what is wrong with it; its path is put before that."""


class FieldError(DocumentError):
    """An invalid value. where: its place in the document, as in 'classes[3].color'."""

    def __init__(self, value: Any, words: str, where: str = '') -> None:
        self.value, self.words, self.where = value, words, where
        text = 'it is empty' if value is None and not where else f'{reprlib.repr(value)} {words}'
        super().__init__(f'{where}: {text}' if where else text)

    def inside(self, key: str) -> FieldError:
        """The same error, its place prefixed with the key of the enclosing value."""
        joint = '' if not self.where or self.where.startswith('[') else '.'
        return FieldError(self.value, self.words, f'{key}{joint}{self.where}')


def open_file(path: Path, flags: int = 0) -> IO[bytes]:
    """Open a regular file for reading; raises OSError for anything else, and never blocks on it.

    flags: more flags for os.open.
    """
    try:
        handle = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | flags)
    except ValueError as error:  # a NUL in its name
        raise OSError(errno.EINVAL, str(error), str(path)) from error
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, 'rb')
    os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    raise OSError(errno.EINVAL, 'it is a device or a pipe, not a file', str(path))


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a file; raises DocumentError where it has more than `most`, and OSError."""
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(most + 1) if size <= most else b''
    if size > most or len(data) > most:
        raise DocumentError(f'it has {size} bytes; at most {most} are read')
    return data


def read_text(path: Path, errors: str = 'strict') -> str:
    """The text of a file; raises DocumentError and OSError.

    errors: how bytes that are not UTF-8 are handled, as for bytes.decode.
    """
    data = read_bytes(path, MAX_BYTES)
    try:
        # Skips the byte order mark that editors on Windows write.
        return data.decode('utf-8-sig', errors)
    except UnicodeDecodeError as error:
        raise DocumentError(f'it is not UTF-8 text ({error.reason} at {error.start})') from error


def read_yaml(path: Path) -> Any:
    """The content of a YAML file as plain data; raises DocumentError and OSError."""
    return parse_yaml(read_text(path))


def read_json(path: Path) -> Any:
    """The content of a JSON file as plain data; raises DocumentError and OSError."""
    return parse_json(read_text(path))


def parse_yaml(text: str) -> Any:
    """The plain data of a YAML text; raises DocumentError."""
    try:
        _check_size(text)
        return yaml.load(text, _Loader)
    except DocumentError:
        raise
    except Exception as error:  # constructors raise any Python error, as for 0x or 2001-99-99
        words = reason(error) or type(error).__name__
        raise DocumentError(f'it is not valid YAML ({words})') from error


def parse_json(text: str) -> Any:
    """The plain data of a JSON text, without NaN and infinity; raises DocumentError."""
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except DocumentError:
        raise
    except (ValueError, RecursionError) as error:
        raise DocumentError(f'it is not valid JSON ({reason(error)})') from error


def _check_size(text: str) -> None:
    """Refuse a YAML of too many values or levels, or a recursive one, before it is built."""
    nodes = 0
    sizes: Dict[Optional[str], int] = {}  # nodes below each anchor
    opened: List[Tuple[Optional[str], int]] = []  # anchor of each open collection, nodes before it
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in opened):
                raise DocumentError(f'its anchor {reprlib.repr(event.anchor)} contains itself')
            nodes += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, nodes))
            nodes += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            if anchor:
                sizes[anchor] = nodes - before
        elif isinstance(event, yaml.ScalarEvent):
            nodes += 1
            if event.anchor:
                sizes[event.anchor] = 1
        if len(opened) > MAX_DEPTH:
            raise DocumentError(f'it has more than {MAX_DEPTH} levels')
        if nodes > MAX_NODES:
            raise DocumentError(f'it has more than {MAX_NODES} values')


def _refuse(word: str) -> NoReturn:
    raise DocumentError(f'it holds {word}, which is not a number')


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise DocumentError(f'it holds {reprlib.repr(text)}, which is too large for a number')
    return value


# Checks of values, which combine to the schema of a document.


def text(most: int = LONGEST_NAME, least: int = 1) -> Check[str]:
    """One line of `least` to `most` printable characters; numbers and the like are converted."""

    def check(value: Any) -> str:
        if value is None or isinstance(value, (list, dict, tuple, set, bytes)):
            raise FieldError(value, 'is not text')
        line = str(value)
        if not least <= len(line) <= most or not line.isprintable():
            raise FieldError(value, f'is not text of {least} to {most} printable characters')
        return line

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check[float]:
    """A finite number from `low` to `high`; also a string of one, as YAML reads 1e-7."""
    words = f'is not a number{_limits(low, high)}'

    def check(value: Any) -> float:
        try:
            converted = float(value) if isinstance(value, (int, float, str)) else math.nan
        except (ValueError, OverflowError):
            converted = math.nan
        if isinstance(value, bool) or not (low <= converted <= high) or math.isinf(converted):
            raise FieldError(value, words)
        return converted

    return check


def whole(low: int, high: int) -> Check[int]:
    """A whole number from `low` to `high`."""
    as_number = number(low, high)

    def check(value: Any) -> int:
        try:
            converted = as_number(value)
        except FieldError:
            converted = math.nan
        if not converted.is_integer():
            raise FieldError(value, f'is not a whole number{_limits(low, high)}')
        return value if isinstance(value, int) else int(converted)

    return check


def flag(value: Any) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise FieldError(value, 'is neither true nor false')
    return value


def one_of(choices: Sequence[str]) -> Check[str]:
    """One of these strings."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            raise FieldError(value, f'is not one of {", ".join(choices)}')
        return value

    return check


def optional(check: Check[T]) -> Check[Optional[T]]:
    """None, or a value that another check accepts."""
    return lambda value: None if value is None else check(value)


def items(check: Check[T], least: int = 0, most: int = MAX_NODES) -> Check[Tuple[T, ...]]:
    """A list of `least` to `most` values, each of which the check accepts."""
    count = str(least) if least == most else f'{least} to {most}'

    def read(value: Any) -> Tuple[T, ...]:
        if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
            raise FieldError(value, f'is not a list of {count} entries')
        checked = []
        for index, entry in enumerate(value):
            try:
                checked.append(check(entry))
            except FieldError as error:
                raise error.inside(f'[{index}]') from error
        return tuple(checked)

    return read


def mapping(check: Check[T]) -> Check[Dict[str, T]]:
    """A mapping of names to values, each of which the check accepts."""
    name = text()

    def read(value: Any) -> Dict[str, T]:
        if not isinstance(value, dict):
            raise FieldError(value, 'is not a mapping')
        return {name(key): _inside(check, entry, key) for key, entry in value.items()}

    return read


def record(
    fields: Mapping[str, Check[Any]], needed: FrozenSet[str] = frozenset(), closed: bool = False
) -> Check[Dict[str, Any]]:
    """A mapping of known keys, each with its own check.

    needed: keys that must be present. closed: whether other keys are refused, not just dropped.
    """
    known = ', '.join(fields)

    def read(value: Any) -> Dict[str, Any]:
        if not isinstance(value, dict):
            raise FieldError(value, f'is not a mapping; it holds {known}')
        for key in sorted(needed):
            if key not in value:
                raise FieldError(list(value), f'lacks {key}')
        for key in value if closed else ():
            if key not in fields:
                raise FieldError(key, f'is an unknown key; known are {known}')
        return {
            key: _inside(check, value[key], key) for key, check in fields.items() if key in value
        }

    return read


def _inside(check: Check[T], value: Any, key: Any) -> T:
    try:
        return check(value)
    except FieldError as error:
        raise error.inside(reprlib.repr(key).strip("'")) from error


def _limits(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return ''
    return f' of {low:g} or more' if math.isinf(high) else f' from {low:g} to {high:g}'
