"""Files of a model."""

from __future__ import annotations

from pathlib import Path

from segformer_ros.model.checksum import file_hash
from segformer_ros.model.files import model_files, model_hash
from tiny_models import save_external_network, save_network


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
