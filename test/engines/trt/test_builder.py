# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The builder: what a build does when memory runs out."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import onnx
import pytest
from engine_rig import agreement
from fake_gpu import MakeMachine
from fake_gpu.tensorrt.building import Config
from onnx import numpy_helper
from tiny_segformer import save_tiny

from segformer_ros.cli.main import main
from segformer_ros.engines import EngineError, EngineOptions, create_engine
from segformer_ros.engines.trt.adapter import TensorRt
from segformer_ros.engines.trt.builder import (
    BuildOptions,
    build_engine,
    read_build_log,
    read_inspector,
)
from segformer_ros.frame import Frame
from segformer_ros.model import ModelError, ModelSpec, load_model
from segformer_ros.model.model_files import model_hash
from segformer_ros.model.sidecar import QuantizationRecord, quantized_path
from segformer_ros.quantization.layer_selection import roundings_of
from segformer_ros.quantization.quantizer import quantize_unjudged
from tiny_models import normalization_in_steps, painting


def layer(kind: str, *types: str, name: str = 'one', **more: object) -> dict[str, object]:
    return {
        'Name': name,
        'LayerType': kind,
        'Inputs': [{'Name': 'x', 'Format/Datatype': words} for words in types[:-1]],
        'Outputs': [{'Name': 'y', 'Format/Datatype': types[-1]}],
        **more,
    }


def inspected(*layers: object) -> str:
    return json.dumps({'Layers': list(layers), 'Bindings': ['x', 'y']})


def test_types_of_every_version_are_understood() -> None:
    # 8.2 and 8.6, 10, 11: each names them in its own words.
    layers = read_inspector(
        inspected(
            layer('CaskConvolution', 'Row major linear FP32', 'Row major linear FP32'),
            layer('PointWiseV2', 'Row major linear FP16 format', 'Row major linear FP16 format'),
            layer(
                'CaskConvActPool',
                'Row major Int8 format',
                'Thirty-two wide channel vectorized row major Int8 format',
            ),
            layer('kgen', 'Half', 'Half'),
            layer('gemm', 'Float', 'Float'),
            layer('gemm', 'BFloat16', 'BFloat16'),
        )
    )
    assert layers.summary() == '1 bf16, 2 fp16, 2 fp32, 1 int8'


def test_a_quantised_layer_that_writes_fp16_computes_in_int8() -> None:
    layers = read_inspector(inspected(layer('CaskConvolution', 'Int8', 'Half')))
    assert layers.summary() == '1 int8'


def test_what_only_moves_data_does_not_count() -> None:
    idle = [layer('Reformat', 'Int8', 'FP32'), layer('Constant', 'FP32')]
    layers = read_inspector(inspected(*idle, layer('gemm', 'Half')))
    assert layers.summary() == '1 fp16'


def test_what_only_quantises_or_scales_does_not_count() -> None:
    quantising = [layer('Scale', 'FP32', 'Int8'), layer('Quantize', 'Half', 'Int8')]
    layers = read_inspector(inspected(*quantising, layer('CaskConvolution', 'FP32', 'FP32')))
    with pytest.raises(EngineError, match='int8 was asked for.* no such layer'):
        layers.check('int8')


def test_a_layer_that_quantises_its_output_computes_in_the_type_it_reads() -> None:
    layers = read_inspector(inspected(layer('CaskConvolution', 'Half', 'Int8')))
    assert layers.summary() == '1 fp16'


@pytest.mark.parametrize(
    ('precision', 'types', 'enough', 'few'), [('fp16', 'Half', 5, 4), ('int8', 'Int8', 3, 2)]
)
def test_a_share_of_the_layers_with_weights_is_asked(
    precision: str, types: str, enough: int, few: int
) -> None:
    def engine(count: int) -> str:
        kinds = ('CaskGemmConvolution', 'correlation', 'MatrixMultiply', 'gemm', 'CaskConvolution')
        asked = [layer(kind, types, 'Half') for kind in (kinds * 2)[:count]]
        rest = [layer('conv', 'FP32', 'FP32')] * (10 - count)
        return inspected(*asked, *rest, *[layer('PointWise', types, types)] * 20)

    read_inspector(engine(enough)).check(precision)
    with pytest.raises(EngineError, match=f'the engine built has {few} such layers of 10'):
        read_inspector(engine(few)).check(precision)


def test_where_no_layer_with_weights_is_told_one_of_any_kind_is_enough() -> None:
    folded = [layer('Myelin', 'Half', 'FP32', name='{ForeignNode[a...b]}'), layer('kgen', 'FP32')]
    read_inspector(inspected(*folded)).check('fp16')


def test_layers_of_a_build_log() -> None:
    text = (
        'Layers:\n'
        'Name: shapes, LayerType: shape_call, Inputs: [], Outputs: [], StreamId: 0\n'
        'Name: conv, LayerType: correlation, Inputs: [ { Name: a, Datatype: Int8, Format: (NHWC) '
        '}], Outputs: [ { Name: b, Datatype: Half, Format: (NHWC) }], StreamId: 0\n'
        'Name: norm, LayerType: kgen, Inputs: [ { Name: b, Datatype: Half }], Outputs: []\n'
    )
    assert read_build_log(text).summary() == '1 fp16, 1 int8'


@pytest.mark.parametrize('text', [None, '', 'no json', '{}', '{"Layers": ["a name alone"]}'])
def test_an_engine_that_tells_nothing_is_not_judged(text: str | None) -> None:
    layers = read_inspector(text)
    assert layers.summary() == 'not told'
    layers.check('int8')


@pytest.mark.parametrize('precision', ['fp16', 'int8'])
def test_silent_fp32_is_an_error(precision: str) -> None:
    layers = read_inspector(inspected(layer('gemm', 'FP32'), layer('conv', 'FP32', 'FP32')))
    layers.check('fp32')
    with pytest.raises(EngineError, match=rf'{precision} was asked for.*\(2 fp32\); .*another'):
        layers.check(precision)


def test_fp32_of_a_graph_that_is_narrower_itself_is_an_error() -> None:
    typed = read_inspector(inspected(layer('gemm', 'Half', 'Half'), layer('conv', 'Half', 'Half')))
    with pytest.raises(EngineError, match='fp32 was asked for.*the graph has types of its own'):
        typed.check('fp32')


def test_silent_tf32_is_an_error() -> None:
    layers = read_inspector(inspected(layer('gemm', 'TF32', 'FP32'), layer('gemm', 'Half')))
    with pytest.raises(EngineError, match='computes in TF32, unasked'):
        layers.check('fp16')


@pytest.mark.parametrize(
    'tactic',
    [
        'sm80_xmma_fprop_implicit_gemm_indexed_tf32f32_tf32f32_f32_nhwckrsc_nhwc_tilesize128x64x16',
        'ampere_tf32gemm_128x64_tn',
    ],
)
def test_tf32_shows_in_the_name_of_the_kernel_alone(tactic: str) -> None:
    layers = read_inspector(inspected(layer('CaskConvolution', 'FP32', 'FP32', TacticName=tactic)))
    with pytest.raises(EngineError, match=r'computes in TF32, unasked: 1 tf32'):
        layers.check('fp32')
    log = (
        'Layers:\nName: c, LayerType: correlation, Inputs: [ { Name: a, Datatype: Float }], '
        f'Outputs: [ {{ Name: b, Datatype: Float }}], TacticName: {tactic}, StreamId: 0\n'
    )
    assert read_build_log(log).summary() == '1 tf32'


def test_out_of_memory_halves_the_workspace(make_machine: MakeMachine, spec: ModelSpec) -> None:
    tensorrt = make_machine().tensorrt
    tensorrt.memory = 300 << 20
    with create_engine(spec, 'tensorrt') as engine:
        assert 'workspace 256 MiB' in engine.facts()['build']
    assert tensorrt.called('build') == [(1024 << 20,), (512 << 20,), (256 << 20,)]


def test_out_of_memory_for_good_says_what_would_fit(
    make_machine: MakeMachine, spec: ModelSpec
) -> None:
    make_machine(sm=60).tensorrt.memory = 1 << 20
    with pytest.raises(
        EngineError, match='even with a workspace of 64 MiB .*OutOfMemory.*what would fit:.*max_b'
    ):
        create_engine(spec, 'tensorrt').activate()


@pytest.mark.parametrize(
    'words',
    [
        'Error Code 10: Internal Error (Could not find any implementation for node Conv_1 due to '
        'insufficient workspace. See verbose log for requested sizes.)',
        'Error Code 10: Internal Error (Could not find any implementation for node Conv_1.)',
    ],
    ids=['8.5', '8.2'],
)
def test_a_workspace_that_is_too_small_is_not_halved(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    make_machine()
    builds = failing_builds(monkeypatch, words)
    with pytest.raises(
        EngineError, match='more scratch memory than 512 MiB, .*Conv_1.*workspace 1024'
    ):
        create_engine(spec, 'tensorrt', EngineOptions(workspace_mib=512)).activate()
    assert len(builds) == 1


def test_halving_ends_where_a_layer_needs_more(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_machine()
    failing_builds(
        monkeypatch, 'Cuda Runtime (out of memory)', 'Conv_1 due to insufficient workspace'
    )
    with pytest.raises(
        EngineError, match='out of memory, and with a workspace of 512 MiB .*would fit'
    ):
        create_engine(spec, 'tensorrt').activate()


def failing_builds(monkeypatch: pytest.MonkeyPatch, *errors: str) -> list[str]:
    """Have builds end with these errors; those that did."""
    ended: list[str] = []

    def fail(library: TensorRt, *arguments: object) -> None:
        ended.append(errors[len(ended)])
        library.errors.append(ended[-1])

    monkeypatch.setattr(TensorRt, 'build', fail)
    return ended


@pytest.mark.parametrize('precision', ['fp16', 'fp32'])
def test_squares_are_kept_in_fp32_where_there_is_no_layer(
    make_machine: MakeMachine, precision: str
) -> None:
    fake = make_machine('8.5.2', sm=53).tensorrt
    spec = load_model().resized(64, 128)
    with create_engine(spec, 'tensorrt', EngineOptions(precision=precision)):
        kept = fake.called('layer')
        wanted = {'Mul', 'ReduceMean', 'Add', 'Sqrt'} if precision == 'fp16' else set()
        assert {kind for kind, *types in kept} == wanted
        assert all(types == ['FLOAT', 'FLOAT'] for kind, *types in kept)
        obeyed = ('OBEY_PRECISION_CONSTRAINTS',) in fake.called('set_flag')
        assert obeyed == (precision == 'fp16')


@pytest.mark.parametrize(('version', 'times'), [('8.6.1', 1), ('11.4.0', 0)])
def test_a_build_reads_the_graph_once_for_them_where_it_sets_them(
    make_machine: MakeMachine, monkeypatch: pytest.MonkeyPatch, version: str, times: int
) -> None:
    library = TensorRt(make_machine(version).tensorrt.module)
    reading = Mock(wraps=onnx.load_from_string)
    monkeypatch.setattr(onnx, 'load_from_string', reading)
    model = normalization_in_steps()
    build_engine(library, model, BuildOptions('fp32'))
    usual = reading.call_count
    build_engine(library, model, BuildOptions('fp16'))
    assert reading.call_count - 2 * usual == times


def test_int8_layers_give_fp32_where_their_gate_needs_it(
    make_machine: MakeMachine, tmp_path: Path
) -> None:
    """Their own precision is not set: told to compute in FP32, they would not multiply in INT8."""
    fake = make_machine('8.5.2', sm=87).tensorrt
    spec = load_model(save_tiny(tmp_path / 'tiny.onnx', (64, 128), spoil=1.5))
    made = quantize_unjudged(spec, [Frame.from_array(painting(64, 128)[0])])
    record = QuantizationRecord(model_hash(spec.path), True, True)
    single = ('fine', *roundings_of(made, ['fine']), 'resized', 'joined')
    for key, value in record._replace(pair_single=single).as_metadata().items():
        made.metadata_props.add(key=key, value=value)
    onnx.save(made, str(quantized_path(spec.path)))
    with create_engine(spec, 'tensorrt', EngineOptions(precision='int8')):
        layers = fake.called('layer')
        assert sorted(layers) == [('Add', 'FLOAT'), ('Conv', 'FLOAT'), ('Resize', 'FLOAT')]
        assert ('OBEY_PRECISION_CONSTRAINTS',) in fake.called('set_flag')


@pytest.mark.parametrize('version', ['8.2.1.8', '8.5.2', '8.6.1'])
def test_the_bundled_model_runs_on_old_versions(make_machine: MakeMachine, version: str) -> None:
    make_machine(version, sm=53)
    spec = load_model().resized(64, 128)
    with create_engine(spec, 'tensorrt', EngineOptions(precision='fp32')) as engine:
        assert agreement(engine, [Frame.from_array(painting(64, 128)[0])]) > 0.99


@pytest.mark.parametrize(
    ('version', 'reads'), [('8.5.2', False), ('8.6.1', False), ('10.3.0', True)]
)
def test_axes_that_a_parser_passes_over_are_refused(
    make_machine: MakeMachine, version: str, reads: bool
) -> None:
    """Before TensorRT 10 a ReduceMean of opset 18 was over all axes, without a word."""
    library = TensorRt(make_machine(version).tensorrt.module)
    model = onnx.load_from_string(normalization_in_steps(opset=18))
    for node in model.graph.node:
        if node.op_type == 'ReduceMean':
            del node.attribute[:]
            node.input.append('axes')
    model.graph.initializer.append(numpy_helper.from_array(np.array([-1]), 'axes'))
    if reads:
        assert build_engine(library, model.SerializeToString()).plan
        return
    with pytest.raises(ModelError, match='opset 18.* an opset from 13 to 17'):
        build_engine(library, model.SerializeToString())


@pytest.mark.parametrize('version', ['8.5.2', '10.3.0', '11.4.0'])
def test_a_dla_takes_what_it_can_and_the_rest_is_named(
    make_machine: MakeMachine, version: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake = make_machine(version).tensorrt
    fake.dla_cores = 2
    spec = load_model(save_tiny(tmp_path / 'tiny.onnx'))
    options = EngineOptions(precision='fp16', dla_core=1)
    pixels = Frame.from_array(painting(64, 128)[0])
    with create_engine(spec, 'tensorrt', options) as engine:
        assert agreement(engine, [pixels]) > 0.99
        assert engine.max_batch == 1
        told = engine.facts()['DLA']
    assert told == 'core 1; on the GPU: 2 MUL; 1 RESIZE'
    assert fake.called('DLA') == [(1,)] and fake.called('runs on DLA') == [(1,)]
    assert ('GPU_FALLBACK',) in fake.called('set_flag')
    # The same from the cache, and neither another DLA's nor the GPU's engine in its place.
    with create_engine(spec, 'tensorrt', options) as engine:
        assert engine.facts()['DLA'] == told
    assert len(fake.called('build')) == 1 and fake.called('runs on DLA') == [(1,)] * 2
    for other in (0, -1):
        with create_engine(spec, 'tensorrt', EngineOptions('fp16', dla_core=other)) as engine:
            assert ('DLA' in engine.facts()) == (other == 0)
    assert len(fake.called('build')) == 3
    out = str(tmp_path / 'tiny.engine')
    asked = ['build', spec.path, '--dla-core', '1', '--precision', 'fp16']
    assert main([*map(str, asked), '--build-only', '--out', out]) == 0
    assert 'on the GPU: 2 MUL (spoil, mend); 1 RESIZE (resize)' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('cores', 'core', 'precision', 'words'),
    [
        (0, 0, 'fp16', 'finds no DLA on this machine .*; leave dla_core at -1'),
        (2, 2, 'fp16', 'no DLA core 2; this machine has 2, from 0'),
        (2, 0, 'fp32', 'a DLA computes in FP16 and INT8 alone; use precision fp16'),
    ],
)
def test_what_no_dla_can_do_is_refused(
    make_machine: MakeMachine, spec: ModelSpec, cores: int, core: int, precision: str, words: str
) -> None:
    fake = make_machine('10.3.0').tensorrt
    fake.dla_cores = cores
    with pytest.raises(EngineError, match=words):
        create_engine(spec, 'tensorrt', EngineOptions(precision, dla_core=core)).activate()
    assert not fake.called('build')


def test_a_network_of_which_a_dla_takes_nothing_is_refused(
    make_machine: MakeMachine, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = make_machine('10.3.0').tensorrt
    fake.dla_cores = 1
    monkeypatch.setattr(Config, 'can_run_on_DLA', lambda config, layer: False)
    with pytest.raises(EngineError, match='DLA core 0 takes no layer of this network'):
        create_engine(spec, 'tensorrt', EngineOptions('fp16', dla_core=0)).activate()
