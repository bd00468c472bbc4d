# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The camera's mount, as a bag's static transforms tell it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import recordings as rec

from segformer_ros.camera import CameraPose
from segformer_ros.recordings import BagWriter, Source, SourceOptions, open_source
from segformer_ros.recordings.bag_transforms import TransformError, TransformTree
from segformer_ros.recordings.bag_writer import mount_message
from segformer_ros.topics import TF_TYPE

POSE = CameraPose(1.4, pitch=0.1, yaw=-0.2, x=1.2, y=0.3)
CAMERA = 'front_optical'
ANY = SourceOptions()
LEVEL = (-0.5, 0.5, -0.5, 0.5)
"""A camera that looks ahead."""


def mount(pose: CameraPose = POSE, vehicle: str = 'base_link', camera: str = CAMERA) -> Any:
    """The transforms that the demo records."""
    return mount_message(pose, vehicle, camera, rec.START_NS)


def opened(
    folder: Path,
    *messages: Any,
    options: SourceOptions = ANY,
    topic: str = '/tf_static',
    with_info: bool = True,
) -> Source:
    """A bag with one image and these transforms, as a source."""
    with rec.open_bag(folder / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        camera = bag.topic('/front/image', rec.IMAGE)
        static = bag.topic(topic, rec.TF)
        if with_info:
            bag.write(bag.topic('/front/camera_info', rec.INFO), rec.camera_info(), 1)
        for place, message in enumerate(messages):
            bag.write(static, message, 1 + place)
        bag.write(camera, rec.image(rec.picture(0), 'bgr8', 1), 1)
    return open_source(folder / 'drive', options)


def assert_same(found: CameraPose | None, expected: CameraPose = POSE) -> None:
    """The poses are equal but for rounding."""
    assert found is not None
    assert np.allclose(found.position, expected.position)
    assert np.allclose(found.rotation(), expected.rotation())


def test_what_the_demo_records_gives_the_same_pose(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'drive.mcap') as bag:
        bag.add_topic('/camera_info', rec.INFO)
        bag.add_topic('/image/compressed', rec.COMPRESSED)
        bag.add_topic('/tf_static', TF_TYPE, latched=True)
        bag.write_message('/camera_info', rec.camera_info(), rec.START_NS)
        bag.write_message('/tf_static', mount(), rec.START_NS)
        picture = rec.compressed(rec.picture(0), 'jpeg', rec.START_NS)
        bag.write_message('/image/compressed', picture, rec.START_NS)
    source = open_source(tmp_path / 'drive.mcap')
    assert_same(source.pose)
    assert source.notes == ()


@pytest.mark.parametrize('with_info', [True, False])
def test_a_chain_over_several_messages(tmp_path: Path, with_info: bool) -> None:
    """The camera's frame is the camera info's, or the images' where there is none."""
    source = opened(
        tmp_path,
        rec.transforms(rec.transform('/base_link', 'mast', (1.0, 0.0, 1.0))),
        rec.transforms(rec.transform('mast', f'/{CAMERA}', (0.2, 0.1, 9.0), LEVEL)),
        rec.transforms(rec.transform('mast', CAMERA, (0.2, 0.1, 0.5), LEVEL)),
        with_info=with_info,
    )
    assert_same(source.pose, CameraPose(1.5, x=1.2, y=0.1))
    assert source.notes == ()


def test_the_vehicle_frame_can_be_chosen(tmp_path: Path) -> None:
    options = SourceOptions(vehicle_frame='/footprint')
    assert_same(opened(tmp_path, mount(vehicle='footprint'), options=options).pose)


def test_without_a_vehicle_frame_nothing_is_read(tmp_path: Path) -> None:
    source = opened(tmp_path, mount(vehicle='odd'), options=SourceOptions(vehicle_frame=''))
    assert (source.pose, source.notes) == (None, ())


@pytest.mark.parametrize('topic', ['/front/tf_static', '/robot/tf_static'])
def test_a_topic_in_a_namespace(tmp_path: Path, topic: str) -> None:
    assert_same(opened(tmp_path, mount(), topic=topic).pose)


def test_the_nearest_namespace_has_the_last_word(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        for place, (name, height) in enumerate(
            (('/front/tf_static', 1.4), ('/tf_static', 2.0), ('/rear/tf_static', 3.0))
        ):
            message = mount(CameraPose(height))
            bag.write(bag.topic(name, rec.TF), message, 1 + place)
        bag.write(bag.topic('/front/image', rec.IMAGE), rec.image(rec.picture(0), 'bgr8', 1), 1)
    assert_same(open_source(tmp_path / 'drive').pose, CameraPose(1.4))


@pytest.mark.parametrize(
    ('messages', 'words'),
    [
        (
            [mount(vehicle='chassis')],
            'no transform from base_link to front_optical; the frames are chassis, front_optical'
            '; give another frame on the ground (--vehicle-frame) or the mount itself (--height',
        ),
        ([rec.transforms()], '/tf_static does not give the camera'),
        (
            [
                rec.transforms(
                    rec.transform('a', CAMERA, (0, 0, 1), LEVEL), rec.transform(CAMERA, 'a')
                )
            ],
            'no transform from base_link to front_optical',
        ),
        (
            [rec.transforms(rec.transform('base_link', CAMERA, (0, 0, float('nan')), LEVEL))],
            'is not finite',
        ),
        (
            [rec.transforms(rec.transform('base_link', CAMERA, (0, 0, 1), (0, 0, 0, 0)))],
            'has length 0 and not 1',
        ),
        (
            [rec.transforms(rec.transform('base_link', CAMERA, (0, 0, -1), LEVEL))],
            'camera height -1.0 m is not above the ground',
        ),
    ],
)
def test_a_broken_tree_is_noted(tmp_path: Path, messages: list[Any], words: str) -> None:
    source = opened(tmp_path, *messages)
    assert source.pose is None
    assert len(source.notes) == 1
    assert words in source.notes[0]
    assert '\n' not in source.notes[0]
    assert len(list(source)) == 1


def test_images_without_a_frame_have_no_place(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        bag.write(bag.topic('/tf_static', rec.TF), mount(), 1)
        message = rec.image(rec.picture(0), 'bgr8', 1)
        message.header.frame_id = ''
        bag.write(bag.topic('/image', rec.IMAGE), message, 1)
    source = open_source(tmp_path / 'drive')
    assert source.pose is None
    assert 'the images have no frame_id' in source.notes[0]


def test_an_unreadable_message_costs_only_itself(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        static = bag.topic('/tf_static', rec.TF)
        writer.write(static, 1, b'\0\1\0\0\7')
        bag.write(static, mount(), 2)
        bag.write(bag.topic('/image', rec.IMAGE), rec.image(rec.picture(0), 'bgr8', 1), 3)
    source = open_source(tmp_path / 'drive')
    assert_same(source.pose)
    assert source.notes[0].startswith('/tf_static message 0: ')
    assert len(source.notes) == 1


def test_tf_alone_is_used(tmp_path: Path) -> None:
    """Some robots publish their fixed joints there, among those that move."""
    moving = rec.transforms(rec.transform('odom', 'base_link', (5.0, 0.0, 0.0)))
    fixed = rec.transforms(rec.transform('base_link', CAMERA, (1.2, 0.1, 1.5), LEVEL))
    source = opened(tmp_path, moving, fixed, moving, fixed, topic='/tf')
    assert_same(source.pose, CameraPose(1.5, x=1.2, y=0.1))
    assert source.notes == ()


def test_tf_completes_what_is_static(tmp_path: Path) -> None:
    with rec.open_bag(tmp_path / 'drive') as writer:
        bag = rec.BagRecorder(writer)
        static = rec.transforms(rec.transform('base_link', 'mast', (1.0, 0.0, 1.0)))
        joint = rec.transforms(rec.transform('mast', CAMERA, (0.2, 0.1, 0.5), LEVEL))
        bag.write(bag.topic('/tf_static', rec.TF), static, 1)
        bag.write(bag.topic('/tf', rec.TF), joint, 1)
        bag.write(bag.topic('/image', rec.IMAGE), rec.image(rec.picture(0), 'bgr8', 1), 1)
    source = open_source(tmp_path / 'drive')
    assert_same(source.pose, CameraPose(1.5, x=1.2, y=0.1))


def test_a_mount_that_moves_is_told(tmp_path: Path) -> None:
    poses = [
        rec.transforms(rec.transform('base_link', CAMERA, (1.2, 0.1, height), LEVEL))
        for height in (1.5, 1.5, 1.8)
    ]
    source = opened(tmp_path, *poses, topic='/tf')
    assert_same(source.pose, CameraPose(1.5, x=1.2, y=0.1))
    assert source.notes == (f'{CAMERA} moves in base_link by /tf: its first place is used',)


def test_tf_without_the_camera_is_told(tmp_path: Path) -> None:
    moving = rec.transforms(rec.transform('odom', 'base_link', (5.0, 0.0, 0.0)))
    source = opened(tmp_path, moving, topic='/tf')
    assert source.pose is None
    assert "/tf does not give the camera's mount: no transform from base_link" in source.notes[0]


def test_the_body_frame_of_a_camera_is_named_with_the_cure(tmp_path: Path) -> None:
    """Simulators stamp images with the frame of the camera's body, x forward."""
    source = opened(tmp_path, rec.transforms(rec.transform('base_link', CAMERA, (0.5, 0, 1.2))))
    assert source.pose is None
    assert f'the frame {CAMERA} looks 90 degrees up' in source.camera_fault
    assert 'give the images the frame_id of the optical frame' in source.camera_fault
    assert source.notes == (source.camera_fault,)


@pytest.mark.parametrize(
    ('link', 'footprint', 'height', 'words'),
    [
        ('base_link', 'base_footprint', 0.35, 'base_link is 0.35 m above base_footprint'),
        ('robot/base_link', 'robot/base_footprint', 0.2, '0.20 m above robot/base_footprint'),
        ('base_link', 'base_footprint', 0.0, ''),
        ('base_link', 'odom', 0.35, ''),
    ],
)
def test_a_vehicle_frame_off_the_ground_is_noted(
    tmp_path: Path, link: str, footprint: str, height: float, words: str
) -> None:
    source = opened(
        tmp_path,
        rec.transforms(rec.transform(footprint, link, (0.0, 0.0, height))),
        mount(vehicle=link),
        options=SourceOptions(vehicle_frame=link),
    )
    assert_same(source.pose)
    assert len(source.notes) == bool(words)
    assert all(words in note and '(--vehicle-frame)' in note for note in source.notes)


def test_a_camera_upside_down_is_taken_and_noted(tmp_path: Path) -> None:
    pose = CameraPose(1.4, pitch=0.1, roll=np.pi)
    source = opened(tmp_path, mount(pose))
    assert_same(source.pose, pose)
    (note,) = source.notes
    assert 'the camera is mounted upside down (roll 180 degrees)' in note


NAN = float('nan')
QUARTER = (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
"""A quarter turn to the left."""


def tree_of(*links: object) -> TransformTree:
    """A tree with these transforms, the last ones the newest."""
    tree = TransformTree()
    for link in links:
        tree.add(link)
    return tree


def test_a_chain_is_put_together() -> None:
    tree = tree_of(
        rec.transform('base', 'mast', (1.0, 0.0, 1.0), QUARTER),
        rec.transform('mast', 'camera', (0.5, 0.0, 0.2)),
    )
    found = tree.look_up('base', 'camera')
    # The mast looks to the left, so that its x is the base's y.
    assert np.allclose(found.translation, (1.0, 0.5, 1.2))
    assert np.allclose(found.quaternion, QUARTER)


def test_the_way_up_and_down_again() -> None:
    """The vehicle frame need not be above the camera's."""
    tree = tree_of(
        rec.transform('map', 'base', (10.0, 0.0, 0.0), QUARTER),
        rec.transform('map', 'camera', (10.0, 2.0, 1.5)),
    )
    found = tree.look_up('base', 'camera')
    assert np.allclose(found.translation, (2.0, 0.0, 1.5))
    assert np.allclose(found.quaternion, (*QUARTER[:2], -QUARTER[2], QUARTER[3]))
    back = tree.look_up('camera', 'base')
    assert np.allclose(back.then(found).translation, 0.0)
    assert np.allclose(back.then(found).quaternion, (0, 0, 0, 1))


def test_slashes_do_not_count_and_the_newest_does() -> None:
    tree = tree_of(
        rec.transform('base', 'camera', (0.0, 0.0, 1.0)),
        rec.transform('/base', '/camera', (0.0, 0.0, 2.0)),
    )
    assert tree.frames == ['base', 'camera']
    assert tree.look_up('base', '/camera').translation[2] == 2.0


def test_a_missing_way_names_what_there_is() -> None:
    tree = tree_of(rec.transform('body', 'imu'))
    with pytest.raises(TransformError, match='from base to camera; the frames are body, imu$'):
        tree.look_up('base', 'camera')
    with pytest.raises(TransformError, match='there are no frames'):
        tree_of(rec.transform('', 'camera')).look_up('base', 'camera')
    many = tree_of(*(rec.transform('body', f'wheel{number:02}') for number in range(20)))
    with pytest.raises(TransformError, match='wheel10 and 9 more$'):
        many.look_up('base', 'camera')


def test_a_circle_ends() -> None:
    tree = tree_of(
        rec.transform('a', 'b', (0.0, 0.0, 1.0)),
        rec.transform('b', 'a'),
        rec.transform('c', 'c'),
    )
    with pytest.raises(TransformError, match='no transform from base to b'):
        tree.look_up('base', 'b')
    with pytest.raises(TransformError, match='no transform from base to c'):
        tree.look_up('base', 'c')
    # Below the circle there is nothing wrong.
    assert tree.look_up('a', 'b').translation[2] == 1.0


@pytest.mark.parametrize(
    ('translation', 'quaternion', 'words'),
    [
        ((0.0, NAN, 1.0), (0.0, 0.0, 0.0, 1.0), 'from base to camera, the translation .*nan'),
        ((0.0, 0.0, math.inf), (0.0, 0.0, 0.0, 1.0), 'is not finite'),
        ((0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 0.0), 'has length 0 and not 1'),
        ((0.0, 0.0, 1.0), (NAN, 0.0, 0.0, 1.0), 'has length nan and not 1'),
        ((0.0, 0.0, 1.0), (0.0, 0.0, 0.0, 2.0), 'has length 2 and not 1'),
    ],
)
def test_what_is_no_transform_is_refused(
    translation: tuple[float, float, float],
    quaternion: tuple[float, float, float, float],
    words: str,
) -> None:
    tree = tree_of(rec.transform('base', 'camera', translation, quaternion))
    with pytest.raises(TransformError, match=words):
        tree.look_up('base', 'camera')
