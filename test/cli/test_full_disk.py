# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""A disk that gets full: one line that names it, nothing that is half, nothing hidden."""

from __future__ import annotations

import csv
import json
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import recordings as rec
from small_disk import size_on_disk, small_disk
from tiny_segformer import save_tiny

from segformer_ros.cli import main as cli
from segformer_ros.recordings import SourceOptions, open_source
from tiny_models import save_paintings

COUNT = 40
SIZE = (120, 160)
SHARES = (0.02, 0.3, 0.6, 0.9, 0.99)
"""Of what is written on a disk that is large enough, how much there is room for."""


@pytest.fixture(scope='module')
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images and labels of noise, whose results do not shrink."""
    root = tmp_path_factory.mktemp('drive')
    random = np.random.default_rng(0)
    for index in range(COUNT):
        pixels = random.integers(0, 255, (*SIZE, 3), np.uint8)
        rec.write_png(root / f'images/{index:03d}.png', pixels)
        rec.write_png(root / f'labels/{index:03d}.png', random.integers(0, 19, SIZE, np.uint8))
    return root


def assert_whole(folder: Path) -> None:
    """Each file can be read to its end, and none is hidden but what a run goes on from."""
    for path in folder.rglob('*'):
        if path.is_dir() or '.partial' in path.parts:
            continue
        assert not path.name.startswith('.'), path
        if path.suffix == '.png':
            assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED) is not None
        elif path.suffix in ('.mp4', '.mcap'):
            bag = path.suffix == '.mcap'
            source = open_source(path, SourceOptions(topic='/segmentation/mask' if bag else ''))
            assert source.notes == () and len(list(source)) == len(source)
        elif path.suffix == '.csv':
            rows = list(csv.reader(path.read_text().splitlines()))
            assert len(rows) == COUNT + 1 and len({len(row) for row in rows}) == 1
        elif path.suffix == '.npy':
            np.load(path)
        elif path.suffix in ('.json', '.jsonl'):
            text = path.read_text()
            for document in text.splitlines() if path.suffix == '.jsonl' else [text]:
                json.loads(document)
        else:
            assert path.suffix == '.html' and path.read_text().rstrip().endswith('</html>')


def room(needed: int, share: float) -> int:
    """That share of the bytes in whole pages, of which one is missing at least."""
    return max(1, min(round(needed * share) // 4096, needed // 4096 - 1)) * 4096


def refusal(text: str, command: str) -> str:
    """The last line of what was said, which is no traceback."""
    assert 'Traceback' not in text
    last = text.replace('\r', '\n').strip().splitlines()[-1]
    assert last.startswith(f'{command}: ')
    return last


@pytest.mark.parametrize('verb', ['segment', 'evaluate'])
def test_results_on_a_full_disk(
    drive: Path, tmp_path: Path, verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [verb, str(drive / 'images'), '--labels', str(drive / 'labels'), '--engine', 'fake']
    if verb == 'evaluate':
        asked += ['--write-mcap']
    assert cli.main([*asked, '--out', str(tmp_path / 'whole')]) == 0
    needed = size_on_disk(tmp_path / 'whole')
    for share in SHARES:
        with small_disk(tmp_path / 'disk', room(needed, share)) as disk:
            capsys.readouterr()
            assert cli.main([*asked, '--out', str(disk / 'out')]) == 2
            error = capsys.readouterr().err
            last = refusal(error, f'segformer {verb}')
            assert f'the disk is full (that of {disk})' in last, share
            assert last.endswith('free some space, or name another place')
            assert_whole(disk / 'out')
            if verb == 'evaluate':
                assert 'frames are saved in' in error
                kept = list((disk / 'out').glob('.partial/*/*.npz'))
                assert bool(kept) == (disk / 'out/.partial').exists()
                assert not list((disk / 'out').rglob('.0*'))


def test_an_evaluation_goes_on_when_there_is_room_again(drive: Path, tmp_path: Path) -> None:
    asked = ['evaluate', str(drive / 'images'), '--labels', str(drive / 'labels')]
    asked += ['--engine', 'fake', '--out']
    assert cli.main([*asked, str(tmp_path / 'whole')]) == 0
    with small_disk(tmp_path / 'disk', 4_000_000) as disk:
        filler = disk / 'filler'
        filler.write_bytes(bytes(3_800_000))
        assert cli.main([*asked, str(disk / 'out')]) == 2
        filler.unlink()
        assert cli.main([*asked, str(disk / 'out')]) == 0
        for name in ('metrics.json', 'frames.csv', 'confusion.npy'):
            same = (tmp_path / 'whole' / name).read_bytes()
            assert (disk / 'out' / name).read_bytes() == same


def test_a_quantised_model_on_a_full_disk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = save_paintings(tmp_path)
    model = save_tiny(tmp_path / 'tiny.onnx')
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images'), '--ranges', 'max']
    asked += ['--agreement', '0.9', '--frames', '4', '--held-out', '2', '--half', '--out']
    (tmp_path / 'whole').mkdir()
    assert cli.main([*asked, str(tmp_path / 'whole/m.int8.onnx')]) == 0
    whole = {path.name: path.stat().st_size for path in (tmp_path / 'whole').iterdir()}
    needed = size_on_disk(tmp_path / 'whole')
    for share in (0.01, 0.4, 0.8, 0.99):
        with small_disk(tmp_path / 'disk', room(needed, share)) as disk:
            capsys.readouterr()
            assert cli.main([*asked, str(disk / 'm.int8.onnx')]) == 2
            last = refusal(capsys.readouterr().err, 'segformer quantize')
            assert f'cannot write {disk}/m' in last and f'is full (that of {disk})' in last
            for path in disk.iterdir():
                assert whole[path.name] == pytest.approx(path.stat().st_size, abs=200)


def test_the_old_model_stays_where_the_new_one_finds_no_room(tmp_path: Path) -> None:
    pictures = save_paintings(tmp_path)
    model = save_tiny(tmp_path / 'tiny.onnx')
    asked = ['quantize', str(model), '--calibrate', str(pictures / 'images'), '--ranges', 'max']
    asked += ['--agreement', '0.9', '--frames', '4', '--held-out', '2', '--out']
    with small_disk(tmp_path / 'disk', 1_000_000) as disk:
        out = disk / 'm.int8.onnx'
        assert cli.main([*asked, str(out)]) == 0
        before = {path.name: path.read_bytes() for path in disk.iterdir()}
        (disk / 'filler').write_bytes(bytes(shutil.disk_usage(disk).free))
        assert cli.main([*asked, str(out)]) == 2
        (disk / 'filler').unlink()
        assert {path.name: path.read_bytes() for path in disk.iterdir()} == before


def test_a_full_disk_of_temporary_files_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = save_paintings(tmp_path)
    model = save_tiny(tmp_path / 'tiny.onnx')
    with small_disk(tmp_path / 'disk', 8192) as disk:
        monkeypatch.setattr(tempfile, 'tempdir', str(disk))
        asked = ['quantize', str(model), '--calibrate', str(pictures / 'images')]
        assert cli.main([*asked, '--frames', '4', '--held-out', '2']) == 2
        assert f'is full (that of {disk})' in refusal(
            capsys.readouterr().err, 'segformer quantize'
        )
    assert sorted(path.name for path in tmp_path.glob('*.onnx*')) == ['tiny.onnx']
