# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Files of a model."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from segformer_ros.documents import DocumentError
from segformer_ros.model import ModelError, bundled_model, load_model
from segformer_ros.model.model_files import (
    MOST_FIELDS,
    MOST_UNFOLDED,
    check_wire,
    file_hash,
    model_files,
    model_hash,
)
from tiny_models import export_network, save_external_network, save_network


def test_a_model_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    save_network(path)
    assert model_files(path) == (path,)
    assert model_hash(path) == file_hash(path)


def test_weights_beside_the_graph_belong_to_it(tmp_path: Path) -> None:
    path, weights = tmp_path / 'model.onnx', tmp_path / 'weights.bin'
    save_external_network(path)
    assert model_files(path) == (path, weights)
    before = model_hash(path)
    content = bytearray(weights.read_bytes())
    content[0] ^= 1
    weights.write_bytes(content)
    assert model_hash(path) != before


def test_an_engine_file_stands_alone(tmp_path: Path) -> None:
    path = tmp_path / 'model.engine'
    path.write_bytes(b'plan')
    assert model_files(path) == (path,)


def test_the_hash_is_that_of_the_whole_file(tmp_path: Path) -> None:
    file = tmp_path / 'long'
    file.write_bytes(b'abc')
    # FIPS 180-2, appendix B.1.
    assert file_hash(file).startswith('ba7816bf8f01cfea414140de5dae2223')
    file.write_bytes(b'a' * 1_000_000 * 3)
    longer = file_hash(file)
    file.write_bytes(b'a' * 1_000_000 * 2 + b'b' * 1_000_000)
    assert file_hash(file) != longer


def test_files_are_taken_one_behind_the_other(tmp_path: Path) -> None:
    parts = [tmp_path / 'first', tmp_path / 'second', tmp_path / 'both']
    for part, content in zip(parts, (b'a', b'bc', b'abc'), strict=True):
        part.write_bytes(content)
    assert file_hash(*parts[:2]) == file_hash(parts[2])


def varint(value: int) -> bytes:
    groups = [value >> shift & 127 for shift in range(0, max(value.bit_length(), 1), 7)]
    return bytes([*(group | 128 for group in groups[:-1]), groups[-1]])


def held(number: int, content: bytes) -> bytes:
    """A field that holds bytes or a message."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def check(data: bytes) -> None:
    check_wire(data, ModelProto.DESCRIPTOR)


def test_whole_models_pass() -> None:
    check(export_network((64, 128)).SerializeToString())
    check(bundled_model().read_bytes())


def test_too_many_messages_are_refused() -> None:
    with pytest.raises(DocumentError, match=f'more than {MOST_FIELDS} parts'):
        check(held(7, held(1, b'') * (MOST_FIELDS + 1)))


def test_numbers_that_unfold_are_refused() -> None:
    tensor = held(7, bytes(MOST_UNFOLDED // 8 + 1))  # int64_data of zeros
    with pytest.raises(DocumentError, match=f'more than {MOST_UNFOLDED} bytes'):
        check(held(7, held(5, tensor)))


@pytest.mark.parametrize('place', [1, 20, 100, 500])
def test_what_is_cut_is_refused(place: int) -> None:
    data = export_network((64, 128)).SerializeToString()
    with pytest.raises(DocumentError, match='damaged or cut short'):
        check(data[:-place])


@pytest.mark.parametrize('data', [bytes(99), b'\xff' * 99, b'\x0b', held(0, b'x')])
def test_what_is_no_protobuf_is_refused(data: bytes) -> None:
    with pytest.raises(DocumentError, match='damaged'):
        check(data)


def test_a_hole_of_a_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / 'model.onnx'
    onnx.save(export_network((64, 128)), str(path))
    with path.open('r+b') as file:
        file.truncate(900 << 20)
    with pytest.raises(ModelError, match='not an ONNX file, or cut short: it is damaged'):
        load_model(path)
