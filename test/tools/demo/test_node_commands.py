"""What the command line says, as the parameters of the nodes."""

from __future__ import annotations

from pathlib import Path

import recordings as rec

from segformer_ros.recordings import open_source
from tools.demo.node_commands import mount_parameters


def test_the_mount_of_the_recording_goes_to_the_nodes() -> None:
    street = open_source('street::2')
    assert street.pose is not None
    mount = mount_parameters(street, {'mask_width': 32})
    assert mount['mount.height'] == street.pose.height
    assert set(mount) == {f'mount.{name}' for name in ('height', 'pitch', 'roll', 'yaw', 'x', 'y')}


def test_a_given_mount_goes_before_that_of_the_recording() -> None:
    street = open_source('street::2')
    assert street.pose is not None
    mount = mount_parameters(street, {'mount.pitch': 0.5})
    assert (mount['mount.pitch'], mount['mount.height']) == (0.5, street.pose.height)


def test_a_recording_without_a_mount_has_the_given_one_alone(tmp_path: Path) -> None:
    clip = open_source(rec.write_folder(tmp_path / 'clip', 1))
    assert mount_parameters(clip, {}) == {}
    assert mount_parameters(clip, {'mount.height': 1.5, 'engine': 'fake'}) == {'mount.height': 1.5}
