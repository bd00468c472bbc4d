# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What every command refuses: numbers without sense, and places that cannot be read or written."""

from __future__ import annotations

from pathlib import Path

import pytest
import recordings as rec

from segformer_ros.cli import main as cli
from segformer_ros.model import bundled_model
from tiny_models import save_network

FAKE = ('--engine', 'fake')


@pytest.mark.parametrize(
    'arguments',
    [
        'segment x --threads -1',
        'segment x --fps nan',
        'segment x --fps 0',
        'segment x --label-tolerance inf',
        'segment x --height 0',
        'segment x --pitch 91',
        'segment x --hfov 180',
        'evaluate x --workers 0',
        'evaluate x --worst -1',
        'evaluate x --slide-stride -1',
        'evaluate x --hfov 0',
        'compare a b --block 0',
        'quantize m --calibrate f --frames 0',
        'quantize m --calibrate f --held-out 0',
        'quantize m --calibrate f --percent 101',
        'quantize m --calibrate f --agreement nan',
        'quantize m --calibrate f --loss -0.1',
        'build --max-batch 0',
        'build --workspace 0',
        'build --device -1',
        'build --sm 7',
        'benchmark --batch 0',
        'benchmark --batch 1,17',
        'benchmark --sizes 0',
        'benchmark --seconds -1',
        'benchmark --frame-size 0x3',
        'benchmark --device -1',
    ],
)
def test_numbers_without_sense(arguments: str, capsys: pytest.CaptureFixture[str]) -> None:
    *_, option, value = given = arguments.split()
    with pytest.raises(SystemExit) as ended:
        cli.main(given)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f'argument {option}: {value!r} is not a' in line or 'is not WIDTHxHEIGHT' in line
    assert line.startswith(f'segformer {given[0]}: error: ')
    assert line.endswith(f'; see segformer {given[0]} --help')


@pytest.mark.parametrize(
    ('arguments', 'line'),
    [
        ('', 'segformer: error: the following arguments are required: VERB; see segformer --help'),
        (
            'quantize m',
            'segformer quantize: error: the following arguments are required: --calibrate; '
            'see segformer quantize --help',
        ),
        (
            'segment x --frobnicate 3',
            'segformer segment: error: unrecognized arguments: --frobnicate 3; '
            'see segformer segment --help',
        ),
    ],
)
def test_arguments_that_lack_or_do_not_exist(
    arguments: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments.split())
    assert ended.value.code == 2
    assert capsys.readouterr().err == f'{line}\n'


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Names of what stands in commands below: frames, a file, an empty one, folders."""
    frames = rec.write_folder(tmp_path / 'frames', 2)
    for name in ('file', 'empty.onnx', 'empty.json', 'empty.mp4', 'empty.png', 'empty.yml'):
        (tmp_path / name).touch()
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'notes.txt.mp4').write_text('no video')
    return {
        'frames': str(frames),
        'image': str(next(frames.glob('*.png'))),
        'model': str(bundled_model()),
        'own': str(save_network(tmp_path / 'own.onnx')),
        'here': str(tmp_path),
    }


MAKE = 'cannot make the folder'


@pytest.mark.parametrize(
    ('command', 'words'),
    [
        ('segment {here}/none', 'no such recording'),
        ('segment {here}/empty.mp4 --engine fake', 'FFmpeg reads: Invalid data'),
        ('segment {here}/notes.txt.mp4 --engine fake', 'give another file'),
        ('segment {here}/folder', 'holds no image'),
        (
            'segment {frames} --engine fake --out {here}/file',
            f'{MAKE} {{here}}/file: it is a file',
        ),
        ('segment {frames} --engine fake --out {here}/file/x', 'part of the path is a file'),
        ('segment {frames} --engine fake --out /proc/x', f'{MAKE} /proc/x: nothing can be made'),
        ('segment {frames} --labels {here}/none', 'no label folder'),
        ('segment {frames} --labels {here}/file', 'no label folder'),
        ('segment {frames} --labels {here}/folder', 'holds no .png file'),
        ('segment {frames} --classes {here}/none.yaml', 'none.yaml: no such file or folder; give'),
        ('segment {frames} --classes {here}/folder', 'folder: it is a folder, not a file; give'),
        ('segment {frames} --classes {here}/empty.yml', 'a class map: it is empty; it needs'),
        ('segment {frames} --model {here}/empty.onnx', 'is not an ONNX file'),
        ('segment {frames} --model {here}/folder', 'is a folder; name the model file in it'),
        ('evaluate street::1 --merge rider', "merging 'rider' has no effect; name two"),
        ('evaluate {here}/none', 'no such recording'),
        ('evaluate street::1 --engine fake --out {here}/file', 'it is a file; name another'),
        ('evaluate street::1 --engine fake --out /proc/x', 'nothing can be made there'),
        ('evaluate street::1 --baseline {here}/folder', 'cannot be read: no such file or folder'),
        ('evaluate street::1 --baseline {here}/empty.json', 'is not a metrics.json'),
        ('evaluate street::1 --engine fake --reference {here}/none.onnx', 'no model file'),
        ('compare {here}/none {here}/none', 'cannot be read: no such file or folder; give'),
        ('compare {here}/empty.json {here}/folder', 'is not a metrics.json'),
        ('inspect {here}/none.onnx', 'no model file'),
        ('inspect {here}/empty.onnx', 'is not an ONNX file'),
        ('inspect --image {here}/none.png', 'none.png: no such file or folder; check the path'),
        ('inspect --image {here}/folder', 'folder: it is a folder, not a file; name a file'),
        (
            'inspect --image {here}/empty.png',
            '(0 bytes) is not a JPEG, PNG, BMP, WebP, TIFF or PPM',
        ),
        ('inspect --image {image} --out {here}/x.txt', 'give a name that ends in .png or .jpg'),
        ('inspect --image {image} --out {here}/file/x.png', f'{MAKE} {{here}}/file: it is a file'),
        ('inspect --image {image} --out /proc/x.png', '/proc/x.png: nothing can be made there'),
        ('quantize {here}/none.onnx --calibrate {frames}', 'no model file'),
        ('quantize {model} --calibrate {here}/none', 'no such recording'),
        ('quantize {model} --calibrate {frames} --out {here}/file/x.onnx', 'it is a file; name'),
        ('quantize {model} --calibrate {frames} --out {here}/x', 'give a name that ends in .onnx'),
        ('quantize {own} --calibrate {frames} --out {own}', 'overwritten by its own results'),
        (
            'quantize {model} --calibrate {frames} --judge {frames}',
            'which would flatter the result',
        ),
        ('build {own} --sm 86 --out {own}', 'overwritten by its own results; name another'),
        ('build {own} --onnx {own}', 'overwritten by its own results; name another place'),
        ('build {here}/none.onnx', 'no model file'),
        ('build --onnx {here}/file/x.onnx', 'it is a file; name another'),
        ('build --onnx {here}/folder', 'it is a folder; name a file'),
        ('build --onnx {here}/x.onnx --sm 86', '--out, --build-only and --sm have no effect'),
        ('build --typed', '--typed is for --onnx FILE'),
        ('build --sm 86 --out /dev/null', 'it is a device or a pipe; name a file'),
        ('build --sm 86 --out /proc/x/y', 'nothing can be made there'),
        ('benchmark --model {here}/none.onnx', 'no model file'),
        ('benchmark --engine fake --input {here}/none', 'no such recording'),
        ('benchmark --model {own} --out {own}', 'overwritten by its own results; name another'),
        ('benchmark --engine fake --out {here}/folder', 'it is a folder; name a file'),
        ('benchmark --family nosuch --seconds 0', 'no member'),
    ],
)
def test_places_that_cannot_be_used(
    command: str, words: str, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    given = [part.format(**places) for part in command.split()]
    assert cli.main(given) == 2
    error = capsys.readouterr().err
    assert words.format(**places) in error
    assert error.startswith(f'segformer {given[0]}: ')
    assert error.count('\n') == 1
    assert 'Errno' not in error


@pytest.mark.parametrize('verb', ['segment', 'evaluate'])
def test_a_pitch_alone_is_refused(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = rec.write_folder(tmp_path / 'clip', 1)
    out = str(tmp_path / 'out')
    assert cli.main([verb, str(clip), '--out', out, '--pitch', '3', *FAKE]) == 2
    assert '--pitch needs --height' in capsys.readouterr().err
