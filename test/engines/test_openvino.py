# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The OpenVINO engine's own: INT8 is a model of its own, found beside the one that is named."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from segformer_ros.engines import EngineError, EngineOptions, create_engine, openvino
from segformer_ros.engines.openvino import cpu_flags, saturates_int8
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, load_model
from segformer_ros.model.model_files import file_hash
from segformer_ros.model.sidecar import QuantizationRecord, quantized_path
from tiny_models import HUGGINGFACE, export_network, painting, save_network

INT8 = EngineOptions(precision='int8')


def save_int8(spec: ModelSpec) -> Path:
    """The model with its scores rounded to INT8, where and as `segformer quantize` writes it."""
    model = onnx.load(str(spec.path))
    nodes, last = model.graph.node, model.graph.node[-1]
    places = {'step': np.float32(1.0), 'zero': np.int8(0)}
    model.graph.initializer.extend(
        numpy_helper.from_array(np.array(value), name) for name, value in places.items()
    )
    rounding = [
        helper.make_node('QuantizeLinear', [last.input[0], *places], ['levels']),
        helper.make_node('DequantizeLinear', ['levels', *places], ['rounded']),
    ]
    last.input[0] = 'rounded'
    for place, node in enumerate(rounding, len(nodes) - 1):
        nodes.insert(place, node)
    record = QuantizationRecord(file_hash(spec.path), passed=True, half_passed=True)
    for key, value in record.as_metadata().items():
        model.metadata_props.add(key=key, value=value)
    path = quantized_path(spec.path)
    onnx.save(model, str(path))
    return path


def test_int8_takes_the_model_that_quantize_left_beside_it(spec: ModelSpec) -> None:
    path = save_int8(spec)
    frame = Frame.from_array(painting(64, 128)[0])
    with create_engine(spec, 'openvino', INT8) as engine:
        assert engine.facts()['model'] == str(path)
        assert engine.facts()['precision'] == 'int8'
        coarse = engine.segment([frame])[0].labels
    with create_engine(spec, 'openvino') as engine:
        assert engine.facts()['model'] == str(spec.path)
        assert engine.facts()['precision'] == 'fp32'
        exact = engine.segment([frame])[0].labels
    assert 0.5 < (coarse == exact).mean() < 1


def test_a_quantised_model_that_is_named_itself_is_int8(spec: ModelSpec) -> None:
    path = save_int8(spec)
    with create_engine(load_model(path), 'openvino') as engine:
        assert engine.facts()['precision'] == 'int8'


@pytest.mark.parametrize('saturates', [False, True])
def test_int8_that_saturates_is_warned_of(
    spec: ModelSpec,
    saturates: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    save_int8(spec)
    monkeypatch.setattr(openvino, 'saturates_int8', lambda: saturates)
    with create_engine(spec, 'openvino', INT8) as engine:
        assert ('precision reason' in engine.facts()) == saturates
    with create_engine(spec, 'openvino') as engine:
        assert 'precision reason' not in engine.facts()
    assert caplog.text.count('this CPU has no VNNI') == saturates


def test_int8_without_such_a_model_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match=r'needs an INT8 model, and .*int8\.onnx does not exist'):
        create_engine(spec, 'openvino', INT8).activate()


def test_bfloat16_that_the_cpu_does_not_have_is_said(spec: ModelSpec) -> None:
    with create_engine(spec, 'openvino', EngineOptions(precision='bf16')) as engine:
        facts = engine.facts()
    lacking = 'bf16 was asked for, which this CPU does not have'
    assert (facts['precision'], facts.get('precision reason')) in (
        ('bf16', None), ('fp32', lacking),
    )  # fmt: skip


def save_with_node(spec: ModelSpec, node: onnx.NodeProto, second: np.ndarray) -> ModelSpec:
    """The model with its scores passed through a node of the inputs (scores, second)."""
    model = onnx.load(str(spec.path))
    nodes, last = model.graph.node, model.graph.node[-1]
    node.input[:] = [last.input[0], 'second']
    last.input[0] = node.output[0]
    nodes.insert(len(nodes) - 1, node)
    model.graph.initializer.append(numpy_helper.from_array(second, 'second'))
    onnx.save(model, str(spec.path))
    return load_model(spec.path)


@pytest.mark.parametrize(
    ('operator', 'cause'),
    [
        ('Sorcery', r'it does not know Sorcery-\d+; export the model with operators of the ONNX'),
        ('Add', r'Argument shapes are inconsistent; export the model again'),
    ],
)
def test_a_network_that_it_cannot_run_is_an_error_of_one_line(
    spec: ModelSpec, operator: str, cause: str
) -> None:
    node = helper.make_node(operator, [], ['odd'])
    broken = save_with_node(spec, node, np.ones(5, np.float32))
    with pytest.raises(EngineError, match=rf'OpenVINO cannot run .*\.onnx: {cause}') as raised:
        create_engine(broken, 'openvino').activate()
    assert '\n' not in str(raised.value)


def test_inference_is_not_bound_to_certain_cores(spec: ModelSpec) -> None:
    """Two processes of one thread each would otherwise run on the same core, one left idle."""
    allowed = os.sched_getaffinity(0)
    frame = Frame.from_array(painting(64, 128)[0])
    seen: list[set[int]] = []
    # ONNX Runtime, used in this process before, has bound its threads.
    others = {task for task, cores in threads_and_cores().items() if cores != allowed}
    with create_engine(spec, 'openvino', EngineOptions(threads=1)) as engine:
        running = threading.Thread(target=lambda: [engine.segment([frame]) for _ in range(100)])
        running.start()
        while running.is_alive():
            found = threads_and_cores().items()
            seen += [cores for task, cores in found if task not in others]
        running.join()
    assert len(seen) > 100
    assert all(cores == allowed for cores in seen)


def threads_and_cores() -> dict[int, set[int]]:
    """The cores on which each of this process's threads may run, by Linux's number of it."""
    found = {}
    for task in map(int, os.listdir('/proc/self/task')):
        with suppress(ProcessLookupError):
            found[task] = os.sched_getaffinity(task)
    return found


@pytest.mark.parametrize('version', ['2023.3.0-13775-ceeafaf64f3', '2024.3.0-16041-1e3b88e4e3f'])
def test_a_version_that_gets_masks_wrong_is_refused(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr('openvino.__version__', version)
    words = f'OpenVINO {version[:6]} gets masks wrong, use 2024.4 or later.*install -U openvino'
    with pytest.raises(EngineError, match=words):
        create_engine(spec, 'openvino').activate()


@pytest.mark.parametrize('version', ['2024.4.0-16579-c3152d32c9c', '2027.0.0', 'custom_1.2'])
def test_other_versions_are_taken(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setattr('openvino.__version__', version)
    with create_engine(spec, 'openvino') as engine:
        assert engine.facts()['openvino'] == version


IMPORT = 'from segformer_ros.engines.openvino import import_openvino; import_openvino().Core()'


@pytest.mark.parametrize(
    'code', [IMPORT, 'from segformer_ros.cli.main import main; main(["doctor"])']
)
def test_nothing_is_left_in_the_users_folder(code: str, tmp_path: Path) -> None:
    """Its telemetry keeps the user's id there."""
    subprocess.run(
        [sys.executable, '-c', code],
        check=True,
        env={**os.environ, 'HOME': str(tmp_path)},
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
    )
    assert not (tmp_path / 'intel').exists()


@pytest.mark.parametrize(
    ('machine', 'line', 'saturates'),
    [
        ('x86_64', 'flags : fpu avx2', True),
        ('x86_64', 'flags : fpu avx2 avx_vnni', False),
        ('x86_64', 'flags : fpu avx512f avx512_vnni', False),
        ('x86_64', 'flags : avx512f amx_int8', False),
        ('aarch64', 'Features : fp asimd', False),
        ('x86_64', 'nothing that is known', False),
    ],
)
def test_int8_saturates_without_vnni(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, machine: str, line: str, saturates: bool
) -> None:
    monkeypatch.setattr(platform, 'machine', lambda: machine)
    file = tmp_path / 'cpuinfo'
    file.write_text(f'processor : 0\n{line}\n')
    assert saturates_int8(file) == saturates


def test_where_nothing_can_be_read_there_are_no_flags(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / 'cpuinfo') == set()


@pytest.mark.parametrize('operator', ['ConstantOfShape', 'Expand', 'Tile'])
def test_a_tensor_beyond_all_measure_is_not_made(tmp_path: Path, operator: str) -> None:
    """A few bytes of an ONNX ask for eight gigabytes."""
    model = export_network((64, 128))
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 31]), 'sizes'))
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), 'one'))
    inputs = ['sizes'] if operator == 'ConstantOfShape' else ['one', 'sizes']
    output = model.graph.node[-1].output[0]
    model.graph.node[-1].output[0] = 'small'
    model.graph.node.append(helper.make_node(operator, inputs, ['huge']))
    model.graph.node.append(helper.make_node('ReduceMean', ['huge'], ['mean'], axes=[0]))
    model.graph.node.append(helper.make_node('Add', ['small', 'mean'], [output]))
    path = tmp_path / 'model.onnx'
    onnx.save(model, str(path))
    engine = create_engine(load_model(path), 'openvino')
    with pytest.raises(EngineError, match='more than any segmenter does of 128x64'):
        engine.activate()


@pytest.mark.parametrize('places', [(2, -1, 8, 16), (2, 19, 8, 16), (-1, 19, 8, 16)])
def test_a_batch_that_is_fixed_inside_the_graph(
    tmp_path: Path, places: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Of one frame instead, such a graph makes something else, or nothing."""
    image = painting(32, 64)[0]
    export = replace(HUGGINGFACE, batch=2)
    path = save_network(tmp_path / 'm.onnx', (32, 64), export)
    with create_engine(load_model(path), 'openvino') as engine:
        wanted = engine.segment([Frame.from_array(image)])[0].labels
    assert not caplog.records
    model = onnx.load(str(path))
    nodes, last = model.graph.node, model.graph.node[-1]
    last.output[0] = 'scores/whole'
    nodes.append(helper.make_node('Reshape', ['scores/whole', 'places'], ['logits']))
    model.graph.initializer.append(numpy_helper.from_array(np.array(places), 'places'))
    onnx.save(model, str(path))
    with create_engine(load_model(path), 'openvino') as engine:
        found = engine.segment([Frame.from_array(image)] * 2)
    assert all((result.labels == wanted).all() for result in found)
    assert ('takes no fewer than 2 frames at once' in caplog.text) == (places[0] == 2)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineOptions:
    """Options with a cache that keeps even tiny networks."""
    monkeypatch.setattr(openvino, '_WORTH_KEEPING', 0.0)
    return EngineOptions(cache_dir=tmp_path / 'cache')


def test_a_compiled_network_is_loaded_the_next_time(
    spec: ModelSpec, kept: EngineOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Frame.from_array(painting(64, 128)[0])
    with create_engine(spec, 'openvino', kept) as engine:
        first, facts = engine.segment([frame])[0].labels, engine.facts()
    monkeypatch.setattr(openvino, '_source', None)  # not read again
    with create_engine(spec, 'openvino', kept) as engine:
        np.testing.assert_array_equal(engine.segment([frame])[0].labels, first)
        assert engine.facts() == facts
    (file,) = (kept.cache_dir or Path()).glob('*.engine')
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_the_cache_has_of_another_network_is_not_loaded(
    spec: ModelSpec, kept: EngineOptions
) -> None:
    create_engine(spec, 'openvino', kept).activate()
    other = 'rgb' if spec.color == 'bgr' else 'bgr'
    create_engine(replace(spec, color=other), 'openvino', kept).activate()
    create_engine(spec, 'openvino', replace(kept, threads=1)).activate()
    assert len(list((kept.cache_dir or Path()).glob('*.engine'))) == 3


def test_a_network_of_the_cache_that_openvino_refuses_is_compiled_again(
    spec: ModelSpec, kept: EngineOptions, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino.OpenVinoEngine, '_built', lambda _, facts: (b'no network', facts))
        create_engine(spec, 'openvino', kept).activate()
    frame = Frame.from_array(painting(64, 128)[0])
    with create_engine(spec, 'openvino', kept) as engine:
        assert engine.segment([frame])
    assert 'the network is compiled again' in caplog.text
    caplog.clear()
    create_engine(spec, 'openvino', kept).activate()
    assert not caplog.text


def test_a_small_network_is_not_kept(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(openvino, '_WORTH_KEEPING', 60.0)
    options = EngineOptions(cache_dir=tmp_path / 'cache')
    create_engine(spec, 'openvino', options).activate()
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('first', [0, 1])
def test_engines_that_end_in_any_order_leave_signals_alone(spec: ModelSpec, first: int) -> None:
    code = (
        'import signal, sys\n'
        'from pathlib import Path\n'
        'from segformer_ros.engines import create_engine\n'
        'from segformer_ros.model import load_model\n'
        'model = load_model(Path(sys.argv[1]))\n'
        "engines = [create_engine(model, 'openvino') for _ in range(2)]\n"
        'for engine in engines:\n'
        '    engine.activate()\n'
        'for place in (int(sys.argv[2]), 1 - int(sys.argv[2])):\n'
        '    engines[place].deactivate()\n'
        'signal.signal(signal.SIGINT, signal.default_int_handler)\n'
        'try:\n'
        '    signal.raise_signal(signal.SIGINT)\n'
        'except KeyboardInterrupt:\n'
        "    print('interrupted')\n"
    )
    command = [sys.executable, '-c', code, str(spec.path), str(first)]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (0, 'interrupted\n')


def test_two_streams_give_the_same_labels_in_order(spec: ModelSpec) -> None:
    frames = [Frame.from_array(painting(64 + 8 * i, 128)[0]) for i in range(5)]
    with create_engine(spec, 'openvino', EngineOptions(threads=2)) as engine:
        assert engine.at_once == 1
        alone = [engine.segment([frame])[0].labels for frame in frames]
    with create_engine(spec, 'openvino', EngineOptions(threads=2, streams=2)) as engine:
        assert engine.at_once == 2
        started = [engine.start([frame]) for frame in frames]
        for finish, labels in zip(started, alone, strict=True):
            np.testing.assert_array_equal(finish()[0].labels, labels)
    one = EngineOptions(threads=1, streams=2)
    assert create_engine(spec, 'openvino', one).at_once == 1, 'there is a thread for one only'
