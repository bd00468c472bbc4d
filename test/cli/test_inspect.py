# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""segformer inspect, as it is typed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from segformer_ros.cli import main as cli
from segformer_ros.cli.inspect import facts
from segformer_ros.engines import fake_spec
from tools.benchmarks.exports import HUGGINGFACE, TAO6, Export, save_reexport

THEIRS = replace(HUGGINGFACE, input_name='input', output_name='output')


def test_a_file_says_what_it_wants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['inspect', '--engine', 'fake']) == 0
    out = capsys.readouterr().out
    assert 'contract   fake' in out
    assert '256x128 (width x height)' in out
    assert 'road, sidewalk, building' in out


def test_statistics_are_shown_where_the_graph_has_none() -> None:
    spec = fake_spec()
    outside = spec.__class__(
        **{**vars(spec), 'input_dtype': 'float32', 'mean': (1.0, 2.0, 3.0), 'std': (4.0,) * 3}
    )
    lines = dict(facts(outside))
    assert lines['colours'] == 'bgr, (pixel - (1, 2, 3)) / (4, 4, 4)'
    assert dict(facts(spec))['colours'] == 'bgr, normalised in the graph'


def test_a_frame_becomes_a_picture_and_a_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame, picture = tmp_path / 'frame.png', tmp_path / 'picture.png'
    cv2.imwrite(str(frame), np.full((64, 96, 3), (128, 64, 128), np.uint8))
    # All of the frame has the colour of road: a mask of one class looks wrong.
    code = cli.main(['inspect', '--engine', 'fake', '--image', str(frame), '--out', str(picture)])
    assert code == 1
    out = capsys.readouterr().out
    assert 'as declared' in out
    assert 'looks wrong: the mask is 100% road' in out
    assert cv2.imread(str(picture)) is not None


@pytest.mark.parametrize(('export', 'name'), [(TAO6, 'tao6'), (THEIRS, 'huggingface')])
def test_frames_tell_a_contract_that_the_file_does_not(
    tmp_path: Path,
    camvid: Path,
    export: Export,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = save_reexport(tmp_path / 'model.onnx', (192, 256), export)
    assert cli.main(['inspect', str(path)]) == 2
    assert 'TAO 6, raw logits and others name them so' in capsys.readouterr().err
    images = sorted((camvid / 'val/images').glob('*.jpg'))[::15]
    given = [part for image in images for part in ('--image', str(image))]
    out = ['--out', str(tmp_path / 'picture.png')]
    assert cli.main(['inspect', str(path), '--engine', 'openvino', *given, *out]) == 1
    text = capsys.readouterr().out
    assert f'masks are steadiest with {name}: if that is plausible, put `contract: {name}`' in text
    path.with_name('model.onnx.yaml').write_text(f'contract: {name}\n')
    assert cli.main(['inspect', str(path)]) == 0


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['/no/model.onnx'], 'no model file'),
        (['--engine', 'fake', '--image', __file__], 'is not a JPEG, PNG, BMP, WebP, TIFF or PPM'),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['inspect', *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_picture_stands_among_the_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('frame.png', np.full((64, 96, 3), 128, np.uint8))
    cli.main(['inspect', '--engine', 'fake', '--image', 'frame.png'])
    assert capsys.readouterr().out.splitlines()[-1] == 'out/inspect.png: the segmented frame'
    assert Path('out/inspect.png').is_file()


@pytest.mark.parametrize(
    'arguments', [['--image', '/no/frame.png'], ['--image', 'frame.png', '--out', 'picture.txt']]
)
def test_a_wrong_picture_is_said_before_the_model_is_loaded(
    arguments: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('frame.png', np.full((64, 96, 3), 128, np.uint8))
    assert cli.main(['inspect', '/no/model.onnx', *arguments]) == 2
    error = capsys.readouterr().err
    assert arguments[-1] in error
    assert 'model' not in error


def test_the_size_is_said_once_and_in_one_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(['inspect']) == 0
    out = capsys.readouterr().out
    assert out.count('(width x height)') == 1
    assert 'input_size' not in out
