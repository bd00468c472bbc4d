# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""One contract, every engine: the same golden cases against the golden reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from segformer_ros.engines import Engine, EngineError, EngineOptions, Wanted, create_engine
from segformer_ros.engines.fake import color_logits, fake_spec
from segformer_ros.engines.supervisor import Supervisor
from segformer_ros.frame import Frame
from segformer_ros.model import ModelSpec, load_model
from tiny_models import PALETTE_BGR, painting, save_network
from tools.benchmarks.reference import reference_scores

NETWORK = (64, 128)
TIE = 0.25
"""Logits closer than this may fall either way: the pixels differ by one grey level of rounding."""

FRAME_SIZES = [(64, 128), (48, 96), (90, 160), (37, 53), (240, 135), (7, 5)]


@pytest.fixture(params=['fake', 'openvino', 'tensorrt'])
def name(request: pytest.FixtureRequest) -> str:
    if request.param == 'tensorrt':
        # FP32, since the GPU that is not there is fast in nothing else.
        request.getfixturevalue('make_machine')(sm=50)
    return str(request.param)


@pytest.fixture
def spec(name: str, tmp_path: Path) -> ModelSpec:
    if name == 'fake':
        return fake_spec(NETWORK)
    return load_model(save_network(tmp_path / 'palette.onnx', NETWORK))


@pytest.fixture
def engine(name: str, spec: ModelSpec) -> Iterator[Engine]:
    with create_engine(spec, name) as active:
        yield active


def palette_scores(pixels: np.ndarray) -> np.ndarray:
    """The bare network of every engine here."""
    return color_logits(pixels[0], PALETTE_BGR)


def assert_golden(engine: Engine, frame: Frame) -> None:
    labels = engine.segment([frame])[0].labels
    scores = reference_scores(frame, engine.spec, palette_scores)
    best = np.sort(scores, axis=0)
    clear = best[-1] - best[-2] > TIE
    assert clear.mean() > 0.8
    np.testing.assert_array_equal(labels[clear], scores.argmax(axis=0)[clear])


@pytest.mark.parametrize('size', FRAME_SIZES)
def test_exact_labels_are_the_golden_ones(engine: Engine, size: tuple[int, int]) -> None:
    image, _ = painting(*size)
    result = engine.segment([Frame.from_array(image)])[0]
    assert result.labels.shape == size and result.labels.dtype == np.uint8
    assert result.confidence is None
    assert min(result.times) >= 0 and result.times.total > 0
    assert_golden(engine, Frame.from_array(image))


@pytest.mark.parametrize('size', FRAME_SIZES)
def test_letterboxed_labels_are_the_golden_ones(
    name: str, spec: ModelSpec, size: tuple[int, int]
) -> None:
    with create_engine(replace(spec, fit='letterbox'), name) as engine:
        assert_golden(engine, Frame.from_array(painting(*size, seed=1)[0]))


@pytest.mark.parametrize(
    ('encoding', 'code'),
    [
        ('rgb8', cv2.COLOR_BGR2RGB),
        ('bgra8', cv2.COLOR_BGR2BGRA),
        ('rgba8', cv2.COLOR_BGR2RGBA),
        ('mono8', cv2.COLOR_BGR2GRAY),
    ],
)
def test_every_packed_encoding_means_the_same(engine: Engine, encoding: str, code: int) -> None:
    image, _ = painting(90, 160, seed=2)
    assert_golden(engine, Frame.from_array(cv2.cvtColor(image, code), encoding))


def test_padded_rows_are_passed_over(engine: Engine) -> None:
    image, _ = painting(90, 160, seed=3)
    padded = np.full((90, 176, 3), 255, np.uint8)
    padded[:, :160] = image
    plain = engine.segment([Frame.from_array(image)])[0].labels
    strided = engine.segment([Frame.from_array(padded[:, :160])])[0].labels
    np.testing.assert_array_equal(strided, plain)


def test_the_painted_labels_come_back(engine: Engine) -> None:
    image, labels = painting(240, 400, seed=4)
    assert (engine.segment([Frame.from_array(image)])[0].labels == labels).mean() > 0.85


def test_fast_labels_differ_at_borders_only(engine: Engine) -> None:
    frame = Frame.from_array(painting(240, 400, seed=5)[0])
    exact = engine.segment([frame])[0].labels
    fast = engine.segment([frame], Wanted(upsampling='fast'))[0].labels
    assert fast.shape == exact.shape
    assert 0 < (fast != exact).mean() < 0.15


def test_confidence_is_the_probability_of_the_label(engine: Engine) -> None:
    frame = Frame.from_array(painting(90, 160, seed=6)[0])
    confidence = engine.segment([frame], Wanted(confidence=True))[0].confidence
    assert confidence is not None and confidence.dtype == np.uint8
    scores = reference_scores(frame, engine.spec, palette_scores)
    wanted = 255 / np.exp(scores - scores.max(axis=0)).sum(axis=0)
    # Upsampled after the softmax, not before: equal away from borders between classes.
    assert np.median(np.abs(confidence - wanted)) < 2


def test_a_mask_of_another_size(engine: Engine) -> None:
    frame = Frame.from_array(painting(240, 400, seed=7)[0])
    small = engine.segment([frame], Wanted(confidence=True, size=(60, 100)))[0]
    full = engine.segment([frame])[0]
    assert small.labels.shape == (60, 100)
    assert small.confidence is not None and small.confidence.shape == (60, 100)
    assert (small.labels == full.labels[2::4, 2::4]).mean() > 0.95


def test_frames_of_several_sizes_in_one_call(engine: Engine) -> None:
    frames = [Frame.from_array(painting(*size, seed=8)[0]) for size in FRAME_SIZES]
    together = engine.segment(frames)
    for frame, result in zip(frames, together, strict=True):
        alone = engine.segment([frame])[0]
        np.testing.assert_array_equal(result.labels, alone.labels)


def test_a_stream_gives_what_single_calls_give(engine: Engine) -> None:
    sizes = FRAME_SIZES * 2
    frames = [Frame.from_array(painting(*size, seed=i)[0]) for i, size in enumerate(sizes)]
    outcomes = list(Supervisor(engine).stream(iter(frames), Wanted(confidence=True)))
    for frame, outcome in zip(frames, outcomes, strict=True):
        alone = engine.segment([frame], Wanted(confidence=True))[0]
        assert not isinstance(outcome, EngineError)
        np.testing.assert_array_equal(outcome.labels, alone.labels)
        np.testing.assert_array_equal(outcome.confidence, alone.confidence)


def test_a_stream_of_nothing(engine: Engine) -> None:
    assert not list(Supervisor(engine).stream(iter([])))


def test_a_stream_is_read_no_further_than_a_group_ahead(engine: Engine) -> None:
    read: list[int] = []
    group = engine.max_batch or 1

    def frames() -> Iterator[Frame]:
        for index in range(3 * group):
            read.append(index)
            yield Frame.from_array(painting(48, 96, seed=index)[0])

    for done, _ in enumerate(Supervisor(engine).stream(frames())):
        assert len(read) <= done // group * group + 2 * group
    assert len(read) == 3 * group


def test_a_frame_of_a_stream_that_fails_costs_no_other(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third one fails, in whatever company it is."""
    frames = [Frame.from_array(painting(48, 96, seed=i)[0]) for i in range(5)]
    original: Any = type(engine).start

    def failing(self: Engine, given: list[Frame], *rest: Any) -> Any:
        if any(frame is frames[2] for frame in given):
            raise EngineError('no memory')
        return original(self, given, *rest)

    monkeypatch.setattr(type(engine), 'start', failing)
    outcomes = list(Supervisor(engine).stream(frames))
    assert [isinstance(outcome, EngineError) for outcome in outcomes] == [0, 0, 1, 0, 0]
    assert str(outcomes[2]) == 'no memory'


def test_frames_are_started_before_the_last_are_taken(engine: Engine) -> None:
    frames = [Frame.from_array(painting(*size, seed=1)[0]) for size in FRAME_SIZES]
    alone = [engine.segment([frame])[0] for frame in frames]
    pending = [engine.start([frame]) for frame in frames]
    for results, expected in zip(pending, alone, strict=True):
        np.testing.assert_array_equal(results()[0].labels, expected.labels)


@pytest.mark.parametrize('name', ['fake', 'openvino'], indirect=True)
def test_a_cpu_engine_is_started_without_waiting_for_the_network(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[int] = []
    kind: Any = type(engine)
    end = kind._end

    def ending(self: Any, slot: int) -> Any:
        ended.append(slot)
        return end(self, slot)

    monkeypatch.setattr(kind, '_end', ending)
    frames = [Frame.from_array(painting(48, 96, seed=i)[0]) for i in range(2)]
    finish = [engine.start([frame]) for frame in frames]
    assert not ended
    assert [len(one()) for one in finish] == [1, 1]
    assert ended == [0, 1]


def test_results_outlive_the_next_call(engine: Engine) -> None:
    first = engine.segment([Frame.from_array(painting(64, 128, seed=9)[0])], Wanted(True))[0]
    assert first.confidence is not None
    kept = first.labels.copy(), first.confidence.copy()
    engine.segment([Frame.from_array(painting(64, 128, seed=10)[0])], Wanted(True))
    np.testing.assert_array_equal(first.labels, kept[0])
    np.testing.assert_array_equal(first.confidence, kept[1])


def test_an_engine_has_a_beginning_and_an_end(name: str, spec: ModelSpec) -> None:
    engine = create_engine(spec, name)
    frame = Frame.from_array(painting(64, 128)[0])
    with pytest.raises(EngineError, match=f"engine '{name}' is not active"):
        engine.segment([frame])
    engine.activate()
    before = engine.segment([frame])[0].labels
    engine.deactivate()
    engine.deactivate()
    with pytest.raises(EngineError, match='not active'):
        engine.segment([frame])
    engine.activate()
    np.testing.assert_array_equal(engine.segment([frame])[0].labels, before)
    engine.deactivate()


def test_facts_name_engine_device_and_precision(engine: Engine, name: str) -> None:
    facts = engine.facts()
    assert facts['engine'] == name
    assert facts['device'] and facts['precision']


def test_a_precision_that_it_lacks_is_refused(name: str, spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match=f"engine '{name}' has no precision 'fp8'; use one of"):
        create_engine(spec, name, EngineOptions(precision='fp8'))


def test_an_engine_that_does_not_exist_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(EngineError, match="no engine 'warp'; use auto, openvino, fake"):
        create_engine(spec, 'warp')


@pytest.mark.parametrize('name', ['fake', 'openvino'], indirect=True)
def test_no_byte_of_a_bgr8_frame_is_copied_before_the_resize(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The resize reads the message's own buffer and writes the engine's input."""
    buffer = bytearray(painting(90, 160)[0].tobytes())
    frame = Frame.from_array(np.frombuffer(buffer, np.uint8).reshape(90, 160, 3))
    seen: list[bool] = []
    resize: Callable[..., np.ndarray] = cv2.resize

    def watched(source: np.ndarray, *rest: object, **more: object) -> np.ndarray:
        if source.shape == (90, 160, 3):
            seen.append(np.shares_memory(source, np.frombuffer(buffer, np.uint8)))
        return resize(source, *rest, **more)

    monkeypatch.setattr(cv2, 'resize', watched)
    engine.segment([frame])
    assert seen == [True]
