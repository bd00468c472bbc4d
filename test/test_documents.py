# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Documents: bounds and types."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from segformer_ros.documents import (
    MAX_BYTES,
    DocumentError,
    FieldError,
    flag,
    items,
    mapping,
    number,
    one_of,
    open_file,
    optional,
    parse_json,
    parse_yaml,
    read_text,
    record,
    text,
    whole,
)

BILLION = 'a: &a [x,x,x,x,x,x,x,x,x]\n' + '\n'.join(
    f'{name}: &{name} [{",".join([f"*{before}"] * 9)}]'
    for before, name in zip('abcdefgh', 'bcdefghi', strict=True)
)


@pytest.mark.parametrize(
    ('document', 'words'),
    [
        (BILLION, 'more than 100000 values'),
        ('a: &a [*a]', "'a' contains itself"),
        ('a: &a {<<: *a}', "'a' contains itself"),
        ('[' * 900, 'more than 64 levels'),
        # From PyYAML 6.0.4 on, the library refuses 1,000 levels itself.
        ('[' * 5000, 'more than 64 levels|exceeded maximum nesting depth'),
        ('- ' * 5000, 'more than 64 levels'),
        ('{a: ' * 5000, 'more than 64 levels'),
        ('a: 2001-99-99', 'is not valid YAML'),
        ('a: 0x', None),
        ('a: !!int x', 'is not valid YAML'),
        ('a: !!python/object/apply:os.getpid []', 'is not valid YAML'),
        ('[a]: 2', 'is not valid YAML'),
        ('a: *b', 'is not valid YAML'),
        ('a: [', 'is not valid YAML'),
    ],
)
def test_a_yaml_that_cannot_be_borne_is_refused(document: str, words: str | None) -> None:
    if words is None:
        parse_yaml(document)
        return
    with pytest.raises(DocumentError, match=words):
        parse_yaml(document)


def test_aliases_are_read() -> None:
    assert parse_yaml('a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}') == {
        'a': [1, 2],
        'b': [1, 2],
        'c': {'d': 1},
    }


@pytest.mark.parametrize(
    'document', ['[' * 100_000, '{"a":' * 50_000, 'NaN', '[Infinity]', '1e999', '', '{', '"a']
)
def test_a_json_that_cannot_be_borne_is_refused(document: str) -> None:
    with pytest.raises(DocumentError):
        parse_json(document)


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / 'sparse'
    with file.open('wb') as opened:
        opened.truncate(MAX_BYTES + 1)
    with pytest.raises(DocumentError, match=f'at most {MAX_BYTES} are read'):
        read_text(file)


def test_what_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / 'file').write_bytes(b'abc\xff')
    with pytest.raises(DocumentError, match='not UTF-8 text.* at 3'):
        read_text(tmp_path / 'file')
    assert read_text(tmp_path / 'file', errors='replace') == 'abc\ufffd'


@pytest.mark.timeout(20)
def test_nothing_waits_for_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / 'pipe'
    os.mkfifo(pipe)
    with pytest.raises(OSError, match='device or a pipe'):
        open_file(pipe)
    with pytest.raises(OSError, match='device or a pipe'):
        open_file(Path('/dev/zero'))
    with pytest.raises(IsADirectoryError):
        open_file(tmp_path)
    with pytest.raises(OSError, match='null'):
        open_file(Path('a\0b'))


@pytest.mark.parametrize(
    ('check', 'value', 'found'),
    [
        (text(), 'road', 'road'),
        (text(), 3, '3'),
        (number(), '1e-7', 1e-7),
        (number(0, 1), 1, 1.0),
        (whole(-1, 9), -1, -1),
        (whole(0, 9), '7', 7),
        (whole(0, 9), 7.0, 7),
        (flag, True, True),
        (one_of(('rgb', 'bgr')), 'bgr', 'bgr'),
        (optional(flag), None, None),
        (items(whole(0, 9), 2, 2), [1, 2], (1, 2)),
        (mapping(whole(0, 9)), {'a': 1, 2: 3}, {'a': 1, '2': 3}),
        (record({'a': flag}), {'a': True, 'b': 1}, {'a': True}),
    ],
)
def test_values_come_in_their_type(check: Any, value: Any, found: Any) -> None:
    assert check(value) == found and type(check(value)) is type(found)


@pytest.mark.parametrize(
    ('check', 'value', 'words'),
    [
        (text(), None, 'it is empty'),
        (text(), [1], r'\[1\] is not text'),
        (text(), '', 'not text of 1 to 200 printable'),
        (text(), 'a\x1b[31m', 'printable'),
        (text(3), 'abcd', '1 to 3 printable'),
        (number(), float('nan'), 'nan is not a number'),
        (number(), 'inf', "'inf' is not a number"),
        (number(), 10**400, 'is not a number'),
        (number(0, 1), 2, '2 is not a number from 0 to 1'),
        (number(), True, 'True is not a number'),
        (whole(0, 9), 2.5, '2.5 is not a whole number from 0 to 9'),
        (whole(0, 9), -1, '-1 is not a whole'),
        (whole(0, 9), '9' * 6000, 'is not a whole'),
        (flag, 'yes', 'neither true nor false'),
        (one_of(('a', 'b')), [], 'not one of a, b'),
        (items(flag), 'text', 'is not a list'),
        (items(flag), [True, 1], r'^\[1\]: 1 is neither'),
        (items(items(flag)), [[], [1]], r'^\[1\]\[0\]: 1 is neither'),
        (mapping(flag), [], 'is not a mapping'),
        (mapping(flag), {'a': 1}, '^a: 1 is neither'),
        (record({'a': flag}), [], 'is not a mapping; it holds a'),
        (record({'a': flag}, frozenset('a')), {}, 'lacks a'),
        (record({'a': flag}, closed=True), {'b': 1}, "'b' is an unknown key; known are a"),
        (record({'a': items(flag)}), {'a': [1]}, r'^a\[0\]: 1 is neither'),
        (record({'a': record({'b': flag})}), {'a': {'b': 1}}, r'^a\.b: 1 is neither'),
    ],
)
def test_values_of_another_type_are_refused_by_place(check: Any, value: Any, words: str) -> None:
    with pytest.raises(FieldError, match=words):
        check(value)


def test_a_long_value_is_quoted_in_short() -> None:
    with pytest.raises(FieldError) as caught:
        flag(['x' * 10_000] * 1000)
    assert len(str(caught.value)) < 400
