"""The node as its users see it: real messages over real DDS, the fake engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import cv2
import numpy as np
import pytest
from builtin_interfaces.msg import Time
from node_rig import (
    HEIGHT,
    WIDTH,
    Rig,
    camera_info,
    image,
    painted,
    pixels_of,
    street_image,
    street_labels,
)
from rclpy.lifecycle import TransitionCallbackReturn
from sensor_msgs.msg import CompressedImage
from std_srvs.srv import SetBool

from segformer_ros.engines import Wanted
from segformer_ros.engines.fake import FakeEngine
from segformer_ros.frame import Frame
from segformer_ros.node import segmentation_node
from segformer_ros.node.parameter import ParameterError
from segformer_ros.node.worker import Worker
from segformer_ros.segmentation import BlockedRows, Segmentation

pytestmark = pytest.mark.ros

MakeRig = Callable[..., Rig]
MASK = 'segmentation/mask'
ODD_STAMP = Time(sec=1_700_000_000, nanosec=999_999_999)


def is_alive(worker: Worker) -> bool:
    return worker.alive


def state(rig: Rig) -> str:
    return str(rig.node._state_machine.current_state[1])


@pytest.fixture
def batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the batches that the engine was given."""
    sizes: list[int] = []
    original = FakeEngine.segment

    def segment(
        self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()
    ) -> list[Segmentation]:
        sizes.append(len(frames))
        return original(self, frames, wanted)

    monkeypatch.setattr(FakeEngine, 'segment', segment)
    return sizes


# --- What goes out ----------------------------------------------------------------------------


def test_mask_holds_the_labels_under_the_header_of_the_input(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK)
    mask = rig.segment(street_image(ODD_STAMP))
    assert mask.encoding == 'mono8'
    assert (mask.height, mask.width, mask.step) == (HEIGHT, WIDTH, WIDTH)
    assert (pixels_of(mask) == street_labels()).mean() > 0.97
    assert mask.header.stamp == ODD_STAMP
    assert mask.header.frame_id == 'camera_optical'


def test_every_output_carries_the_stamp_and_frame(make_rig: MakeRig) -> None:
    rig = make_rig(mount__height=1.2)
    topics = [
        MASK,
        'segmentation/confidence',
        'segmentation/overlay',
        'segmentation/overlay/compressed',
        'segmentation/camera_info',
        'drivable_area',
        'drivable_area/grid',
        'drivable_area/scan',
    ]
    rig.start(*topics)
    stamp = rig.now()
    rig.send(camera_info(), 'camera_info')
    rig.spin(0.2)
    rig.segment(street_image(stamp), 'drivable_area/scan')
    assert rig.spin_until(lambda: all(rig.received[topic] for topic in topics))
    for topic in topics:
        header = rig.received[topic][-1].header
        vehicle = topic in ('drivable_area/grid', 'drivable_area/scan')
        assert header.stamp == stamp, topic
        assert header.frame_id == ('base_link' if vehicle else 'camera_optical'), topic


@pytest.mark.parametrize(
    ('encoding', 'code'),
    [
        ('rgb8', cv2.COLOR_BGR2RGB),
        ('bgra8', cv2.COLOR_BGR2BGRA),
    ],
)
def test_other_encodings_give_the_same_mask(make_rig: MakeRig, encoding: str, code: int) -> None:
    rig = make_rig()
    rig.start(MASK)
    expected = pixels_of(rig.segment(street_image()))
    pixels = np.asarray(cv2.cvtColor(painted(street_labels()), code))
    np.testing.assert_array_equal(
        pixels_of(rig.segment(image(pixels, encoding=encoding))), expected
    )


def test_compressed_input_and_overlay(make_rig: MakeRig) -> None:
    rig = make_rig(compressed=True, overlay_opacity=0.0)
    rig.start('segmentation/overlay/compressed')
    pixels = painted(street_labels())
    message = CompressedImage(format='png')
    message.data = cv2.imencode('.png', pixels)[1].tobytes()
    overlay = rig.segment(message, 'segmentation/overlay/compressed')
    assert overlay.format == 'bgr8; jpeg compressed bgr8'
    decoded = np.asarray(cv2.imdecode(np.frombuffer(overlay.data, np.uint8), cv2.IMREAD_COLOR))
    assert np.abs(decoded.astype(int) - pixels).mean() < 5


def test_confidence_is_high_inside_and_low_at_borders(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start('segmentation/confidence')
    confidence = pixels_of(rig.segment(street_image(), 'segmentation/confidence'))
    assert confidence.shape == (HEIGHT, WIDTH)
    assert confidence[HEIGHT // 4, WIDTH // 2] > 200


def test_mask_at_a_chosen_size_with_scaled_camera_info(make_rig: MakeRig) -> None:
    rig = make_rig(mask_width=WIDTH // 2)
    rig.start(MASK, 'segmentation/camera_info')
    rig.send(camera_info(), 'camera_info')
    rig.spin(0.2)
    mask = rig.segment(street_image(ODD_STAMP))
    assert (mask.height, mask.width) == (HEIGHT // 2, WIDTH // 2)
    assert rig.spin_until(lambda: bool(rig.received['segmentation/camera_info']))
    info = rig.received['segmentation/camera_info'][-1]
    assert (info.height, info.width) == (HEIGHT // 2, WIDTH // 2)
    assert info.k[0] == 75.0
    assert info.k[2] == pytest.approx((WIDTH / 2 - 1) / 2)
    assert info.header == mask.header


# --- What is not done -------------------------------------------------------------------------


def test_nothing_is_computed_for_nobody(make_rig: MakeRig, batches: list[int]) -> None:
    rig = make_rig()
    rig.start()
    for _ in range(3):
        rig.send(street_image())
        rig.spin(0.1)
    assert rig.tally().unwanted == 3
    assert batches == []
    rig.subscribe(MASK)
    rig.segment(street_image())
    assert batches == [1]


def test_one_bad_frame_costs_no_other(make_rig: MakeRig, capfd: Any) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image())
    truncated = street_image()
    truncated.data = truncated.data[:100]
    rig.send(truncated)
    assert rig.spin_until(lambda: rig.tally().rejected == 1)
    rig.segment(street_image())
    tally = rig.tally()
    assert (tally.segmented, tally.rejected, tally.received) == (2, 1, 3)
    status = rig.status()
    assert status.level == status.WARN
    assert 'truncated image: 100 bytes of data' in status.message
    assert 'frame rejected: truncated image: 100 bytes' in capfd.readouterr().err


# --- Newest frame wins ------------------------------------------------------------------------


def test_newest_frame_wins_and_all_are_accounted_for(make_rig: MakeRig) -> None:
    rig = make_rig(fake_delay=0.2)
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image(rig.now()))
    for _ in range(40):
        rig.send(street_image(rig.now()))
        rig.spin(0.025)
        tally = rig.tally()
        assert tally.received == sum(tally) - tally.received
        assert tally.pending <= 2
    last = rig.probe.get_clock().now()
    rig.send(street_image(last.to_msg()))
    assert rig.spin_until(lambda: rig.received[MASK][-1].header.stamp == last.to_msg())
    rig.spin(0.1)
    tally = rig.tally()
    assert tally.segmented == len(rig.received[MASK])
    assert tally.segmented + tally.overtaken == tally.received == 42
    assert tally.overtaken > 25
    stamps = [mask.header.stamp for mask in rig.received[MASK]]
    assert stamps == sorted(stamps, key=lambda stamp: (stamp.sec, stamp.nanosec))
    values = {pair.key: pair.value for pair in rig.status().values}
    assert float(values['age p99 (ms)']) < 2000, 'in a queue the last would have waited 8 s'


def test_several_cameras_share_one_engine_in_batches(
    make_rig: MakeRig, batches: list[int]
) -> None:
    rig = make_rig(cameras=['front', 'left'], fake_delay=0.1)
    rig.start('front/segmentation/mask', 'left/segmentation/mask')
    left = painted(np.zeros((HEIGHT, WIDTH), np.uint8))
    for _ in range(6):
        rig.send(street_image(rig.now()), 'front/image')
        rig.send(image(left, rig.now()), 'left/image')
        rig.spin(0.05)
    assert rig.spin_until(lambda: not any(rig.tally(c).pending for c in ('front', 'left')))
    rig.spin(0.1)
    assert 2 in batches
    assert rig.tally('front').received == rig.tally('left').received == 6
    assert (pixels_of(rig.received['left/segmentation/mask'][-1]) == 0).all()
    assert (pixels_of(rig.received['front/segmentation/mask'][-1]) != 0).any()


def test_overlay_and_blocked_rows_of_the_engine_are_taken(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Wanted] = []
    original = FakeEngine.segment

    def segment(
        self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()
    ) -> list[Segmentation]:
        asked.append(wanted)
        overlay = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
        blocked = BlockedRows(np.full(WIDTH, HEIGHT - 1, np.int32), wanted.drivable)
        return [
            replace(result, overlay=overlay, blocked=blocked)
            for result in original(self, frames, wanted)
        ]

    monkeypatch.setattr(FakeEngine, 'segment', segment)
    rig = make_rig(overlay_opacity=0.25)
    rig.start('segmentation/overlay', 'drivable_area')
    assert (pixels_of(rig.segment(street_image(rig.now()), 'segmentation/overlay')) == 77).all()
    assert (asked[-1].overlay, asked[-1].drivable) == (0.25, (0,))
    assert rig.spin_until(lambda: bool(rig.received['drivable_area']))
    assert set(rig.received['drivable_area'][-1].boundary_row) == {HEIGHT - 1}


# --- Lifecycle --------------------------------------------------------------------------------


def test_members_end_with_cleanup_and_come_back(make_rig: MakeRig) -> None:
    rig = make_rig()
    assert state(rig) == 'unconfigured'
    rig.start(MASK)
    assert state(rig) == 'active'
    thread = rig.node.worker
    assert thread and is_alive(thread)
    rig.segment(street_image())
    assert rig.node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS
    assert rig.node.trigger_cleanup() == TransitionCallbackReturn.SUCCESS
    assert rig.node.worker is None
    assert not is_alive(thread)
    assert rig.probe.count_publishers(MASK) == 0
    assert rig.node.autostart()
    rig.spin(0.5)
    rig.segment(street_image())


def test_inactive_node_takes_no_images(make_rig: MakeRig) -> None:
    rig = make_rig(autostart=False)
    assert rig.node.autostart()
    assert state(rig) == 'unconfigured'
    rig.node.trigger_configure()
    publisher = rig.probe.create_publisher(type(street_image()), 'image', 5)
    rig.spin(0.3)
    assert publisher.get_subscription_count() == 0
    rig.node.trigger_activate()
    assert rig.spin_until(lambda: publisher.get_subscription_count() == 1)


def test_missing_model_is_refused_with_its_path(make_rig: MakeRig, capfd: Any) -> None:
    rig = make_rig(model='/nowhere/best.onnx')
    assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert state(rig) == 'unconfigured'
    assert 'cannot configure: no model file /nowhere/best.onnx' in capfd.readouterr().err
    rig.set(model='')
    assert rig.node.autostart()


@pytest.mark.parametrize(
    ('parameters', 'words'),
    [
        ({'class_map': 'mars'}, "no class map 'mars'"),
        ({'drivable__group': 'canal'}, "has no class 'canal'"),
        ({'precision': 'int8'}, "engine 'fake' has no precision 'int8'"),
    ],
)
def test_what_cannot_be_is_refused_at_configure(
    make_rig: MakeRig, capfd: Any, parameters: dict[str, Any], words: str
) -> None:
    rig = make_rig(**parameters)
    assert rig.node.trigger_configure() == TransitionCallbackReturn.FAILURE
    assert words in capfd.readouterr().err
    assert rig.node.worker is None


def test_a_bug_is_an_error_and_not_a_failure(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    def broken(settings: object) -> None:
        raise KeyError('a bug')

    rig = make_rig()
    monkeypatch.setattr(segmentation_node, 'make_engine', broken)
    assert rig.node.trigger_configure() == TransitionCallbackReturn.ERROR
    assert state(rig) == 'unconfigured'
    assert "KeyError: 'a bug'" in capfd.readouterr().err


def test_absent_neighbours_are_said_once(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(segmentation_node, 'vision_messages', lambda: None)
    monkeypatch.setattr(segmentation_node, 'listen_to_tf', lambda node: None)
    rig = make_rig()
    rig.start(MASK)
    rig.segment(street_image())
    lines = capfd.readouterr().err
    assert lines.count('vision_msgs (4.1 or later) is not installed') == 1
    assert lines.count('tf2_ros is not installed') == 1


# --- Parameters -------------------------------------------------------------------------------


def test_overlay_opacity_changes_while_running(make_rig: MakeRig) -> None:
    rig = make_rig(overlay_opacity=0.0)
    rig.start('segmentation/overlay')
    grey = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    overlay = pixels_of(rig.segment(image(grey), 'segmentation/overlay'))
    np.testing.assert_array_equal(overlay, grey)
    assert rig.set(overlay_opacity=1.0)[0].successful
    overlay = pixels_of(rig.segment(image(grey), 'segmentation/overlay'))
    assert np.abs(overlay.astype(int) - grey).max() > 5


def test_upsampling_and_size_change_while_running(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK)
    labels = street_labels()
    labels[np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) > 150] = 8
    exact = pixels_of(rig.segment(image(painted(labels))))
    rig.set(upsampling='fast')
    fast = pixels_of(rig.segment(image(painted(labels))))
    assert exact.shape == fast.shape
    assert (exact != fast).any()
    rig.set(mask_height=HEIGHT // 4)
    assert rig.segment(image(painted(labels))).width == WIDTH // 4


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('overlay_opacity', 1.5, '1.0'),
        ('upsampling', 'best', "upsampling is 'best'; it must be one of exact, fast"),
        ('model', '/x.onnx', 'model cannot change .* while the node is configured'),
        ('cameras', ['a'], 'read-only'),
        ('drivable__group', 'canal', "no class 'canal'"),
        ('drivable__grid__x_min', 45.0, 'holds no cell'),
    ],
)
def test_wrong_values_are_refused_in_words(
    make_rig: MakeRig, name: str, value: Any, words: str
) -> None:
    rig = make_rig()
    rig.start()
    before = rig.node.settings
    result = rig.set(**{name: value})[0]
    assert not result.successful
    with pytest.raises(AssertionError, match=words):
        raise AssertionError(result.reason)
    assert rig.node.settings == before


def test_wrong_value_from_the_start(make_rig: MakeRig) -> None:
    with pytest.raises(
        ParameterError, match=r'jpeg_quality is 300; it must be a whole number from 1 to 100'
    ):
        make_rig(jpeg_quality=300)
    with pytest.raises(
        ParameterError, match="engine is 'cloud'; it must be one of auto, .*tensorrt$"
    ):
        make_rig(engine='cloud')


def test_unknown_parameter_is_named(make_rig: MakeRig, capfd: Any) -> None:
    make_rig(overlay_opcity=0.3)
    assert 'no parameter overlay_opcity: it is ignored; did you mean overlay_opacity?' in (
        capfd.readouterr().err
    )


def test_set_enabled_service(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image(rig.now()))
    client = rig.probe.create_client(SetBool, 'segmentation_node/set_enabled')

    def call(data: bool) -> SetBool.Response:
        assert rig.spin_until(client.service_is_ready)
        future = client.call_async(SetBool.Request(data=data))
        assert rig.spin_until(future.done)
        return future.result()

    assert call(False).success
    assert rig.node.get_parameter('enabled').value is False
    rig.send(street_image(rig.now()))
    assert rig.spin_until(lambda: rig.tally().unwanted == 1)
    assert 'disabled' in rig.status().message
    assert call(True).message == 'enabled is true'
    rig.segment(street_image(rig.now()))


# --- Trouble ----------------------------------------------------------------------------------


def failed(rig: Rig, count: int) -> bool:
    return rig.tally().failed == count


def test_failing_engine_drops_frames_and_is_started_again(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    rig.segment(street_image())

    def broken(self: FakeEngine, frames: Sequence[Frame], wanted: Wanted = Wanted()) -> None:
        raise RuntimeError('device lost')

    with monkeypatch.context() as patch:
        patch.setattr(FakeEngine, 'segment', broken)
        for count in (1, 2, 3):
            rig.send(street_image())
            assert rig.spin_until(partial(failed, rig, count))
        status = rig.status('engine')
        assert status.level == status.ERROR
        assert '3 frames failed in a row: RuntimeError: device lost' in status.message
    rig.send(street_image())
    assert rig.spin_until(lambda: rig.tally().segmented == 2)
    rig.spin(0.3)
    status = rig.status('engine')
    assert status.level == status.OK
    assert {pair.key: pair.value for pair in status.values}['restarts'] == '1'


def test_error_in_publishing_costs_one_frame(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    with monkeypatch.context() as patch:
        patch.setattr('segformer_ros.node.mask_output._filled', None)
        rig.send(street_image())
        assert rig.spin_until(lambda: rig.tally().failed == 1)
    rig.segment(street_image())
    assert 'cannot publish: TypeError' in rig.status().message


def test_lost_frames_are_noticed_with_the_cure(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start(MASK, '/diagnostics')
    for tick in range(30):
        if tick not in (15, 16, 22):
            rig.send(street_image(Time(sec=100, nanosec=tick * 33_000_000)))
            rig.spin(0.01)
    assert rig.spin_until(lambda: rig.tally().received == 27)
    status = rig.status()
    assert status.level == status.WARN
    assert '3 of ' in status.message
    assert 'frames were lost on the way here' in status.message
    assert 'config/fastdds.xml' in status.message


def test_silent_camera_is_stale(make_rig: MakeRig) -> None:
    rig = make_rig(silent_after=0.5)
    rig.start(MASK, '/diagnostics')
    status = rig.status()
    assert status.level == status.STALE
    assert f'nobody publishes on {rig.node.get_namespace()}/image' in status.message
    rig.segment(street_image(rig.now()))
    assert rig.status().level == status.OK
    rig.spin(0.7)
    assert 'silent: the last image' in rig.status().message
