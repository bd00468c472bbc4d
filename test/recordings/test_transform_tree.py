"""Transform trees: chains, circles, and numbers that are no transform."""

from __future__ import annotations

import math

import numpy as np
import pytest
import recordings as rec

from segformer_ros.recordings.transform_tree import TransformError, TransformTree

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
    with pytest.raises(TransformError, match='nothing leads from base to b'):
        tree.look_up('base', 'b')
    with pytest.raises(TransformError, match='nothing leads from base to c'):
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
