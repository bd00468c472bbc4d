# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Kernels that TensorRT-RTX compiled, kept from one start to the next."""

from __future__ import annotations

from pathlib import Path

import pytest

from segformer_ros.engines.trt.session import RuntimeCache


class FakeCache:
    """IRuntimeCache: takes what begins with its version, and gives what was compiled too."""

    def __init__(self) -> None:
        self.data = b'1.7'

    def deserialize(self, data: bytes) -> bool:
        fits = data.startswith(b'1.7')
        self.data = data if fits else self.data
        return fits

    def serialize(self) -> bytearray:
        return bytearray(self.data)


class FakeConfig:
    """IRuntimeConfig."""

    def __init__(self) -> None:
        self.cache = FakeCache()
        self.taken = False

    def create_runtime_cache(self) -> FakeCache:
        return self.cache

    def set_runtime_cache(self, cache: FakeCache) -> bool:
        self.taken = cache is self.cache
        return self.taken


def run(path: Path, compiled: bytes = b'') -> FakeConfig:
    """A start and an end, with kernels compiled between."""
    config, cache = FakeConfig(), RuntimeCache(path)
    cache.attach(config)
    assert config.taken
    config.cache.data += compiled
    cache.save()
    cache.save()  # again without harm
    return config


def test_what_was_compiled_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / 'cache' / 'a.kernels'
    run(path, b' kernel')
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_mtime_ns
    assert run(path).cache.data == b'1.7 kernel'
    assert path.stat().st_mtime_ns == before  # there was nothing more to keep


@pytest.mark.parametrize('damage', ['another version', 'writable by all'])
def test_a_file_that_does_not_fit_is_written_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / 'a.kernels'
    path.write_bytes(b'1.6 kernel' if damage == 'another version' else b'1.7 evil')
    path.chmod(0o666 if damage == 'writable by all' else 0o600)
    run(path, b' good')
    assert path.read_bytes() == b'1.7 good'


def test_a_folder_that_cannot_be_written_is_survived(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / 'file').write_text('')
    run(tmp_path / 'file' / 'a.kernels', b' kernel')
    assert 'the kernels of this run are not kept in' in caplog.text


def test_versions_that_compile_nothing_keep_nothing(tmp_path: Path) -> None:
    cache = RuntimeCache(tmp_path / 'a.kernels')
    cache.attach(object())
    cache.save()
    assert not list(tmp_path.iterdir())


def test_the_library_has_what_is_used() -> None:
    library = pytest.importorskip('tensorrt_rtx')
    assert hasattr(library.IRuntimeConfig, 'create_runtime_cache')
    assert hasattr(library.IRuntimeConfig, 'set_runtime_cache')
    assert hasattr(library.IRuntimeCache, 'deserialize')
    assert hasattr(library.IRuntimeCache, 'serialize')
