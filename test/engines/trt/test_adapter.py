# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The adapter: every version called as it wants it, and what goes wrong, in one line."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest
from engine_rig import SIZE, frame
from fake_gpu import SURFACES, FakeCuda, FakeTensorRt, MakeMachine
from fake_gpu.tensorrt.running import Engine as FakeEngine
from onnx import TensorProto, helper, numpy_helper

from segformer_ros.engines import EngineError, create_engine
from segformer_ros.engines.trt import adapter
from segformer_ros.engines.trt.adapter import TensorRt, load_tensorrt
from segformer_ros.engines.trt.builder import BuildOptions, build_engine
from segformer_ros.engines.trt.session import open_session
from segformer_ros.model import ModelSpec


def float_network(batch: int | str = 'N', op_type: str = 'Relu') -> bytes:
    graph = helper.make_graph(
        [helper.make_node(op_type, ['x'], ['y'], domain='' if op_type == 'Relu' else 'mine')],
        'tiny',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, [batch, 3, *SIZE])],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, [batch, 3, *SIZE])],
    )
    opsets = [helper.make_opsetid('', 13), helper.make_opsetid('mine', 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


@pytest.fixture(params=list(SURFACES))
def fake(request: pytest.FixtureRequest) -> FakeTensorRt:
    return FakeTensorRt(SURFACES[request.param], FakeCuda())


@pytest.fixture
def library(fake: FakeTensorRt) -> TensorRt:
    return TensorRt(fake.module)


def test_an_operator_that_is_unknown_is_named(library: TensorRt) -> None:
    with pytest.raises(EngineError, match='cannot read the ONNX: Plugin not found: MyOp'):
        build_engine(library, float_network(op_type='MyOp'))


def test_a_file_that_is_no_onnx_is_refused(library: TensorRt) -> None:
    with pytest.raises(EngineError, match='cannot read the ONNX: Failed to parse'):
        build_engine(library, b'\x00\x01no onnx')


def test_a_free_input_size_is_refused(library: TensorRt) -> None:
    model = onnx.load_from_string(float_network())
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_param = 'H'
    with pytest.raises(EngineError, match=r"'x' has free sides \(-1, 3, -1, 128\); fix its size"):
        build_engine(library, model.SerializeToString())


@pytest.mark.parametrize('batch', ['N', 2])
def test_a_batch_above_the_profile_is_refused(library: TensorRt, batch: int | str) -> None:
    built = build_engine(library, float_network(batch), BuildOptions(batches=(1, 1, 2)))
    session = open_session(library, library.load(built.plan))
    assert session.max_batch == 2
    assert session.fixed_batch == (batch == 2)
    session.set_batch(2)
    with pytest.raises(EngineError, match='batch 3 does not fit the engine, which takes .* 2; b'):
        session.set_batch(3)


def test_an_input_that_is_no_image_is_refused(library: TensorRt) -> None:
    model = onnx.load_from_string(float_network(1))
    del model.graph.input[0].type.tensor_type.shape.dim[1]
    session = open_session(
        library, library.load(build_engine(library, model.SerializeToString()).plan)
    )
    with pytest.raises(EngineError, match=r'needs one image input of 4 axes, but has x \(1, 64'):
        _ = session.input


def test_an_engine_of_packed_pixels_is_refused(
    library: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = library.load(build_engine(library, float_network()).plan)
    monkeypatch.setattr(FakeEngine, '_format', 2)
    with pytest.raises(EngineError, match="takes or gives 'x' in format 2; build it with linear"):
        open_session(library, engine)


def test_an_output_is_named_or_the_only_one(library: TensorRt) -> None:
    session = open_session(library, library.load(build_engine(library, float_network()).plan))
    assert session.output('logits').name == session.output('y').name == 'y'


def test_an_engine_of_another_version_is_refused(library: TensorRt) -> None:
    others = [surface for name, surface in SURFACES.items() if name not in library.version]
    other = TensorRt(FakeTensorRt(others[0], FakeCuda()).module)
    plan = build_engine(other, float_network()).plan
    with pytest.raises(EngineError, match=r'cannot load the engine: Version tag does not match'):
        library.load(plan)


def test_an_engine_that_is_none_is_refused(library: TensorRt) -> None:
    with pytest.raises(EngineError, match='cannot load the engine: .*magicTagRead failed'):
        library.load(b'rubbish' * 100)


def test_an_engine_for_another_gpu_needs_tensorrt_rtx(library: TensorRt) -> None:
    with pytest.raises(EngineError, match='builds for the GPU it runs on only; install Tenso'):
        build_engine(library, float_network(), BuildOptions(target_sm=89))


def test_progress_is_told_where_the_version_can(library: TensorRt) -> None:
    told: list[tuple[str, int, int]] = []
    build_engine(library, float_network(), progress=lambda *step: told.append(step))
    if hasattr(library.module, 'IProgressMonitor'):
        assert told[0] == ('Building engine', 0, 2) and told[-1] == ('Building engine', 2, 2)
    else:
        assert not told


def test_timings_are_kept_for_the_next_build(library: TensorRt, tmp_path: Path) -> None:
    options = BuildOptions(timing_cache=tmp_path / 'timings')
    build_engine(library, float_network(), options)
    assert (tmp_path / 'timings').read_bytes() == b'timings after a build'


def test_without_tensorrt_it_is_said_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, 'MODULES', ('tensorrt_of_nobody',))
    with pytest.raises(EngineError, match="no TensorRT on this machine: no Python module 'tens"):
        load_tensorrt()


def test_bindings_without_their_library_are_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = "raise ImportError('libnvinfer.so.10: cannot open shared object file')"
    (tmp_path / 'half_a_tensorrt.py').write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match=r'there but does not load \(libnvinfer.so.10: cannot'):
        load_tensorrt(('half_a_tensorrt',))


def test_the_first_module_that_loads_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    fake: ModuleType = FakeTensorRt(SURFACES['11.4.0'], FakeCuda()).module
    monkeypatch.setitem(sys.modules, 'tensorrt_rtx', fake)
    assert load_tensorrt(('tensorrt_of_nobody', 'tensorrt_rtx')).strongly_typed


@pytest.mark.parametrize('version', SURFACES)
def test_each_version_is_called_as_it_wants_it(
    version: str, make_machine: MakeMachine, spec: ModelSpec
) -> None:
    tensorrt = make_machine(version, sm=53).tensorrt
    with create_engine(spec, 'tensorrt') as engine:
        engine.segment([frame()])
    flags = tensorrt.surface.network_flags
    explicit = int('EXPLICIT_BATCH' in flags)
    strong = 1 << flags.index('STRONGLY_TYPED') if version.startswith('11') else 0
    assert tensorrt.called('create_network') == [(explicit | strong,)]
    assert ('TF32',) in tensorrt.called('clear_flag')
    assert tensorrt.called('set_flag') == ([] if strong else [('FP16',)])
    assert tensorrt.called('set_timing_cache') == [(b'',)]
    old = version.startswith('8.2')
    limit = 'max_workspace_size' if old else 'set_memory_pool_limit'
    assert tensorrt.called(limit) == [(1 << 30,)]
    run, shape = (
        ('execute_async_v2', 'set_binding_shape')
        if old
        else ('execute_async_v3', 'set_input_shape')
    )
    assert (1, 3, *SIZE) in {call[0] for call in tensorrt.called(shape)}
    assert tensorrt.called(run)[0] == ((1, 3, *SIZE),)
    names = [entry[0] for entry in tensorrt.journal]
    assert names.index('Builder') < names.index('build') < names.index('Runtime')


def test_pixels_are_half_where_the_network_is(library: TensorRt) -> None:
    plan = build_engine(library, float_network(), BuildOptions(precision='fp16')).plan
    dtype = open_session(library, library.load(plan)).input.dtype
    assert dtype == (np.float32 if library.strongly_typed else np.float16)


@pytest.mark.parametrize('half', [True, False])
def test_fp16_beside_int8_is_allowed_or_not(fake: FakeTensorRt, half: bool) -> None:
    library = TensorRt(fake.module)
    library.set_precision(library.create_builder().create_builder_config(), 'int8', half)
    flags = {call[0] for call in fake.called('set_flag')}
    assert flags == (set() if library.strongly_typed else {'INT8', *(['FP16'] if half else [])})


def test_pixels_that_are_quantised_stay_fp32(library: TensorRt) -> None:
    """TensorRT 8.2 quantises no FP16."""
    model = onnx.load_from_string(float_network())
    model.graph.initializer.extend(
        [numpy_helper.from_array(np.float32(0.1), 's'), numpy_helper.from_array(np.int8(0), 'z')]
    )
    del model.graph.node[:]
    model.graph.node.extend(
        [
            helper.make_node('QuantizeLinear', ['x', 's', 'z'], ['q']),
            helper.make_node('DequantizeLinear', ['q', 's', 'z'], ['y']),
        ]
    )
    plan = build_engine(library, model.SerializeToString(), BuildOptions(precision='int8')).plan
    assert open_session(library, library.load(plan)).input.dtype == np.float32


def test_engines_of_one_process_share_their_logger(
    fake: FakeTensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'tensorrt', fake.module)
    first, second = load_tensorrt(('tensorrt',)), load_tensorrt(('tensorrt',))
    build_engine(first, float_network())
    with pytest.raises(EngineError, match='magicTagRead'):
        second.load(b'rubbish' * 100)


def test_the_reason_of_a_refusal_is_not_that_of_an_earlier_one(
    library: TensorRt, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.errors.append('of long ago')
    runtime = type('Runtime', (), {'deserialize_cuda_engine': lambda self, plan: None})
    monkeypatch.setattr(library.module, 'Runtime', lambda logger: runtime())
    with pytest.raises(EngineError, match='cannot load the engine: damaged, or of another'):
        library.load(b'rubbish')


def test_ctrl_c_ends_a_build(fake: FakeTensorRt, monkeypatch: pytest.MonkeyPatch) -> None:
    """It arrives in a callback, whose exceptions TensorRT swallows, or aborts at (8.2)."""
    library = TensorRt(fake.module)
    seen: list[Any] = []

    def log_while_interrupted(severity: Any, message: str) -> None:
        seen.append(signal.getsignal(signal.SIGINT))
        if seen[0] != signal.SIG_DFL and len(seen) == 1:  # a second one, later, ends the process
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(library, 'note', log_while_interrupted)
    create = library.create_builder

    def create_and_log() -> Any:
        builder = create()
        library.logger.log('Severity.VERBOSE', 'a tactic')  # what the library does all the time
        return builder

    monkeypatch.setattr(library, 'create_builder', create_and_log)
    before = signal.getsignal(signal.SIGINT)
    if library.monitored:
        with pytest.raises(KeyboardInterrupt):
            build_engine(library, float_network())
    else:  # nothing but the process can be ended
        build_engine(library, float_network())
        assert seen == [signal.SIG_DFL]
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    assert build_engine(library, float_network()).plan
