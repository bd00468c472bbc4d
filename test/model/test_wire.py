"""Wire: what a protobuf unfolds to."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import ModelProto

from segformer_ros.documents import DocumentError
from segformer_ros.model import ModelError, bundled_model, load_model
from segformer_ros.model.wire import MOST_FIELDS, MOST_UNFOLDED, check_wire
from tiny_models import export_network


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
