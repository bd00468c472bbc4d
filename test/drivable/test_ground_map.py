# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The map with a memory: what it keeps, for how long, and what it never calls free."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from drivable_world import CAR, PERSON, ROAD, SIDEWALK, World

from segformer_ros.camera import Calibration, CameraPose, RayTable
from segformer_ros.classes import ClassMap
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableError,
    GroundConfig,
    GroundMap,
    GroundObservation,
    GroundObserver,
    GroundProjection,
    MapConfig,
    PlanarPose,
)
from segformer_ros.drivable.observation import Blockers

DRIVES = int(os.environ.get('SEGFORMER_CASES', '40'))
SECOND = 1_000_000_000
HERE = PlanarPose(0.0, 0.0, 0.0)
PERSISTENT = MapConfig(half_life=1e3, blocker_half_life=1e3, unseen_speed=0.0)


class Eye:
    """A camera in a world, and its observer."""

    def __init__(
        self, class_map: ClassMap, config: MapConfig, yaw: float = 0.0, size: int = 160
    ) -> None:
        self.world = World(
            Calibration.pinhole(size, size // 2, 80.0), CameraPose(1.2, pitch=0.15, yaw=yaw)
        )
        self.ground = GroundProjection(
            RayTable(self.world.calibration), self.world.pose, GroundConfig()
        )
        self._observer = GroundObserver(BoundaryConfig(), class_map, config)

    def look(self, *panels: tuple[float, float, float, float, int]) -> GroundObservation:
        """What is seen of a street with these panels, in the vehicle frame."""
        self.world.panels = list(panels)
        return self._observer.observe(self.world.labels(), None, self.ground)


def value(memory: GroundMap, x: float, y: float) -> int:
    """Value of the cell at a place of the map's frame."""
    numbers = memory.numbers()
    assert numbers is not None
    ix = math.floor((x - numbers.origin_x) / numbers.resolution)
    iy = math.floor((y - numbers.origin_y) / numbers.resolution)
    return int(numbers.cells[iy, ix])


def around(memory: GroundMap, x: float, y: float) -> int:
    """Largest value within 0.2 m of a place."""
    steps = np.arange(-0.2, 0.25, 0.1)
    return max(value(memory, x + dx, y + dy) for dx in steps for dy in steps)


def cells(memory: GroundMap) -> np.ndarray:
    numbers = memory.numbers()
    assert numbers is not None
    return numbers.cells


CAR_AHEAD = (5.0, -0.8, 0.8, 1.5, CAR)


def test_costs_of_what_is_seen(class_map: ClassMap) -> None:
    config = MapConfig(costs=('road=3', 'flat=44', 'vehicle=90'))
    memory, eye = GroundMap(config, class_map), Eye(class_map, config)
    eye.world.width = 4.0
    assert memory.numbers() is None
    assert memory.add('', SECOND, HERE, eye.look(CAR_AHEAD))
    assert value(memory, 3.5, 0.0) == 3
    assert value(memory, 4.0, 3.0) == 44  # the sidewalk, by its group
    assert around(memory, 5.0, 0.0) == 90
    assert value(memory, 7.0, 0.0) == -1  # behind it
    assert value(memory, -3.0, 0.0) == -1


def test_what_a_camera_no_longer_sees_stays_until_it_has_faded(class_map: ClassMap) -> None:
    config = MapConfig(half_lives=('road=1',), unseen_speed=0.0)
    memory, eye = GroundMap(config, class_map), Eye(class_map, config)
    for step in range(30):
        memory.add('', SECOND + step * SECOND // 10, PlanarPose(step * 0.3, 0, 0), eye.look())
    assert value(memory, 8.7 + 0.5, 0.0) == 0  # before the bumper, where the camera does not see
    assert value(memory, 8.7 - 1.0, 0.0) == 0
    away = PlanarPose(8.7, 0, math.pi)  # turned about, so that nothing of it is seen
    for after, known in ((1.0, True), (5.0, False)):
        later = SECOND + 3 * SECOND + round(after * SECOND)
        memory.add('', later, away, eye.look())
        assert (value(memory, 8.7 + 4.0, 0.0) == 0) == known


def test_a_person_is_gone_sooner_than_a_wall(class_map: ClassMap) -> None:
    memory = GroundMap(MapConfig(), class_map)
    eye = Eye(class_map, MapConfig())
    for step in range(5):
        seen = eye.look((4.0, -2.0, -1.5, 1.7, PERSON), (4.0, 1.5, 2.0, 1.7, 3))
        memory.add('', SECOND + step, HERE, seen)
    assert around(memory, 4.0, -1.8) == around(memory, 4.0, 1.8) == 100
    memory.add('', 7 * SECOND, PlanarPose(0, 0, math.pi), eye.look())
    assert around(memory, 4.0, 1.8) == 100
    assert around(memory, 4.0, -1.8) == -1  # unknown, not free


def test_blocked_at_once_against_all_memory_and_not_free_behind(class_map: ClassMap) -> None:
    memory, eye = GroundMap(PERSISTENT, class_map), Eye(class_map, PERSISTENT)
    for step in range(20):
        memory.add('', SECOND + step, HERE, eye.look())
    assert around(memory, 5.0, 0.0) == value(memory, 6.5, 0.0) == 0
    memory.add('', 2 * SECOND, HERE, eye.look(CAR_AHEAD))
    assert around(memory, 5.0, 0.0) == 100
    assert value(memory, 6.5, 0.0) == -1  # the car may stand there
    memory.add('', 2 * SECOND + 1, HERE, eye.look())
    assert around(memory, 5.0, 0.0) == 100  # one look does not undo it
    for step in range(20):
        memory.add('', 3 * SECOND + step, HERE, eye.look())
    assert around(memory, 5.0, 0.0) == 0


def test_what_moves_may_be_where_nobody_looks(class_map: ClassMap) -> None:
    """A car that was driving ahead and is out of sight: the road beside is not free by memory."""
    memory, eye = GroundMap(PERSISTENT, class_map), Eye(class_map, PERSISTENT)
    start = -4.0
    for step in range(20):
        memory.add(
            '', SECOND + step * SECOND // 10, PlanarPose(start + step * 0.2, 0, 0), eye.look()
        )
    assert value(memory, 1.0, 1.0) == 0
    for step, x in enumerate((5.0, 4.0, 3.5)):  # oncoming, on ground that was seen free
        seen = eye.look((x, 1.5, 3.0, 1.5, CAR))
        memory.add('', 3 * SECOND + step * SECOND // 10, HERE, seen)
    for step in range(4):  # and past
        memory.add('', 3 * SECOND + (3 + step) * SECOND // 10, HERE, eye.look())
    assert value(memory, -0.5, 2.0) == -1
    assert value(memory, 4.0, 0.0) == 0  # in sight


def test_a_vehicle_that_nobody_sees_may_come_along_the_road(class_map: ClassMap) -> None:
    """Not free by memory: road beside and behind; free: before the bumper, and sidewalks."""
    config = MapConfig(half_life=1e3)
    memory, eye = GroundMap(config, class_map), Eye(class_map, config)
    eye.world.width = 4.0
    for step in range(30):
        place = PlanarPose(step * 0.8, 0, 0)
        memory.add('', SECOND + step * SECOND // 10, place, eye.look())
    x = place.x
    assert value(memory, x + 0.5, 0.0) == 0  # it would have come through the vehicle
    assert value(memory, x - 2.0, 1.8) == value(memory, x - 2.0, 0.0) == -1
    assert value(memory, x - 2.0, 3.0) == 40  # the sidewalk


def test_no_vehicle_that_moved_comes_before_the_bumper_unseen(class_map: ClassMap) -> None:
    config = MapConfig(half_life=1e3, unseen_speed=0.0)
    memory, eye = GroundMap(config, class_map), Eye(class_map, config)
    eye.world.width = 4.0
    for step in range(30):
        place = PlanarPose(step * 0.8, 0, 0)
        oncoming = [(5.0 - 0.5 * (step - 20), 1.5, 3.0, 1.5, CAR)] if 20 <= step < 24 else []
        memory.add('', SECOND + step * SECOND // 10, place, eye.look(*oncoming))
    x = place.x
    assert value(memory, x - 0.5, 2.0) == -1  # beside the vehicle
    assert value(memory, x + 1.0, 0.0) == 0


def test_a_frame_that_came_before_counts_nothing(class_map: ClassMap) -> None:
    memory, eye = GroundMap(MapConfig(), class_map), Eye(class_map, MapConfig())
    seen = eye.look(CAR_AHEAD)
    assert memory.add('', SECOND, HERE, seen)
    before = cells(memory)
    for _ in range(5):
        assert not memory.add('', SECOND, HERE, seen)
    assert not memory.add('', SECOND - 1, HERE, eye.look())
    assert (cells(memory) == before).all()


@pytest.mark.parametrize(
    ('stamp', 'place'),
    [
        (2 * SECOND, PlanarPose(5.0, 0.0, 0.0)),  # odometry jumps
        (2 * SECOND, PlanarPose(0.9, 0.0, 1.5)),
        (SECOND // 10, PlanarPose(0.9, 0.0, 0.0)),  # a bag that is played in a loop
    ],
)
def test_a_jump_starts_anew(class_map: ClassMap, stamp: int, place: PlanarPose) -> None:
    memory, eye = GroundMap(PERSISTENT, class_map), Eye(class_map, PERSISTENT)
    for step in range(10):
        memory.add(
            '', SECOND + (step + 1) * SECOND // 10, PlanarPose(step * 0.1, 0, 0), eye.look()
        )
    assert memory.add('', stamp + SECOND // 10 if stamp > SECOND else stamp, place, eye.look())
    anew = GroundMap(PERSISTENT, class_map)
    anew.add('', 1, place, eye.look())
    assert (cells(memory) >= 0).sum() == (cells(anew) >= 0).sum()


def test_a_vehicle_that_brakes_and_turns_does_not_jump(class_map: ClassMap) -> None:
    memory, eye = GroundMap(PERSISTENT, class_map), Eye(class_map, PERSISTENT)
    x = yaw = 0.0
    for step in range(60):
        x += 0.1 * max(0.0, 3.0 - step * 0.1)
        yaw += 0.1 * (1.0 if step > 30 else 0.0)
        memory.add('', SECOND + step * SECOND // 10, PlanarPose(x, 0.0, yaw), eye.look())
    assert value(memory, x - 3.0, 0.0) == 0


def test_a_camera_that_failed_leaves_nothing_free(class_map: ClassMap) -> None:
    memory = GroundMap(PERSISTENT, class_map)
    front, rear = Eye(class_map, PERSISTENT), Eye(class_map, PERSISTENT, yaw=math.pi)
    memory.add('front', SECOND, HERE, front.look(CAR_AHEAD))
    memory.add('rear', SECOND, HERE, rear.look())
    assert value(memory, 3.5, 0.0) == value(memory, -3.5, 0.0) == 0
    memory.forget('front')
    memory.forget('side')
    assert value(memory, 3.5, 0.0) == -1
    assert around(memory, 5.0, 0.0) == 100
    assert value(memory, -3.5, 0.0) == 0


def test_the_surest_point_of_a_cell_counts(class_map: ClassMap) -> None:
    frame = Eye(class_map, MapConfig()).look()
    ahead = np.array([[3.02, 0.02], [3.04, 0.04]])  # one cell
    rays, cars = np.array([[1.0, 0.0], [1.0, 0.0]]), np.full(2, CAR, np.uint8)
    for sigma in ([0.0, 3.0], [3.0, 0.0]):
        memory = GroundMap(MapConfig(), class_map)
        both = Blockers(ahead, cars, np.array(sigma), rays)
        nothing = Blockers(ahead[:0], cars[:0], both.sigma[:0], rays[:0])
        for second in range(7):
            blockers = nothing if second else both
            stamp = (1 + second) * SECOND
            memory.add('', stamp, HERE, replace(frame, outlines=[], blockers=blockers))
        assert value(memory, 3.0, 0.0) == 100  # by a sigma of 3 m alone it fades in 4 s


def test_the_order_of_cameras_does_not_matter(class_map: ClassMap) -> None:
    """Three cameras with one stamp, and with stamps of their own."""
    eyes = {name: Eye(class_map, MapConfig(), yaw) for name, yaw in
            (('left', 0.8), ('front', 0.0), ('right', -0.8))}  # fmt: skip
    for apart in (0, 7_000_000):
        maps = []
        for order in itertools.permutations(range(3)):
            memory = GroundMap(MapConfig(), class_map)
            for step in range(6):
                place = PlanarPose(0.2 * step, 0.0, 0.02 * step)
                for number in order:
                    name = list(eyes)[number]
                    panels = [(4.0, -0.5, 0.5, 1.5, CAR)] if (step + number) % 2 else []
                    stamp = SECOND + step * SECOND // 10 + number * apart
                    memory.add(name, stamp, place, eyes[name].look(*panels))
            maps.append(cells(memory))
        assert all((each == maps[0]).all() for each in maps)


def test_random_drives(class_map: ClassMap) -> None:
    """Drives of any course, 40 or SEGFORMER_CASES, with and without unseen traffic.

    Never free where the newest frame says blocked, whatever came; and the same map whatever the
    order of a round's cameras, and if frames come twice.
    """
    rng = np.random.default_rng(23)
    configs = [MapConfig(size=12.0, resolution=0.2, unseen_speed=speed) for speed in (14.0, 0.0)]
    looks = []
    for yaw in (0.0, 2.0):
        eye = Eye(class_map, configs[0], yaw, 64)
        for _ in range(12):
            distance, side = rng.uniform(2, 5), rng.uniform(-2, 2)
            kind = int(rng.choice([CAR, PERSON, 5]))
            looks.append(eye.look((distance, side, side + 0.8, 1.5, kind)))
    for number in range(DRIVES):
        memory, other = (GroundMap(configs[number % 2], class_map) for _ in range(2))
        for stamp, place, cameras in _random_course(rng):
            seen = {camera: looks[12 * camera + int(rng.integers(12))] for camera in cameras}
            for camera in cameras:
                if memory.add(str(camera), stamp, place, seen[camera]):
                    _assert_safe(memory, place, seen[camera])
            for camera in reversed(cameras):
                for _ in range(int(rng.integers(1, 3))):
                    other.add(str(camera), stamp, place, seen[camera])
            assert (cells(memory) == cells(other)).all()


def _random_course(rng: np.random.Generator) -> Iterator[tuple[int, PlanarPose, list[int]]]:
    """Stamps, places, and which of two cameras see what, in their order."""
    x = y = yaw = 0.0
    stamp, count = 100 * SECOND, 2
    for step in range(int(rng.integers(2, 6))):
        speed, rate = rng.uniform(-3, 12), rng.uniform(-1, 1)
        seconds = float(rng.choice([0.03, 0.1, 0.5]))
        x += speed * seconds * math.cos(yaw)
        y += speed * seconds * math.sin(yaw)
        yaw += rate * seconds
        stamp += round(seconds * SECOND)
        if rng.random() < 0.05:  # something odd
            x += rng.uniform(-50, 50)
            # A camera that was not there last cannot tell time that goes back from its being late.
            stamp += int(rng.choice([-3, 0, 30] if count == 2 else [0, 30])) * SECOND
        count = int(rng.integers(1, 3)) if step else 2
        yield stamp, PlanarPose(x, y, yaw), rng.permutation(2)[:count].tolist()


def _assert_safe(memory: GroundMap, place: PlanarPose, seen: GroundObservation) -> None:
    """What the newest frame calls blocked is, and the vehicle is in the middle."""
    numbers = memory.numbers()
    assert numbers is not None
    assert set(np.unique(numbers.cells)) <= {-1, 0, 40, 50, 60, 100}
    corner = np.array([numbers.origin_x, numbers.origin_y])
    size = np.array(numbers.cells.shape[::-1])
    at = np.floor((place.apply(seen.blockers.points) - corner) / numbers.resolution).astype(int)
    at = at[((at >= 0) & (at < size)).all(axis=1)]
    assert (numbers.cells[at[:, 1], at[:, 0]] == 100).all()
    middle = corner + size * numbers.resolution / 2
    assert np.abs(middle - (place.x, place.y)).max() < 2.0


def test_free_ends_a_deviation_before_what_blocks(class_map: ClassMap) -> None:
    memory, eye = GroundMap(MapConfig(), class_map), Eye(class_map, MapConfig())
    seen = eye.look((6.0, -3.0, 3.0, 1.5, CAR))
    memory.add('', SECOND, HERE, seen)
    sigma = float(seen.blockers.sigma.min())
    assert 0.1 < sigma < 0.6
    row = cells(memory)[100]  # y = 0
    last = np.flatnonzero(row == 0).max()
    assert (last + 1) * 0.1 - 10.0 < 6.0 - 0.8 * sigma


@pytest.mark.parametrize(
    ('changed', 'words'),
    [
        ({'size': 0.0}, 'map size=0.0: give a number above 0'),
        ({'resolution': 0.0}, 'resolution=0.0 m: give metres above 0'),
        ({'size': 1e5}, 'too large'),
        ({'costs': ('road',)}, "map costs has 'road'; give NAME=NUMBER"),
        ({'costs': ('road=101',)}, 'a number from 0 to 100'),
        ({'half_lives': ('road=0',)}, "half_lives has 'road=0'"),
        ({'half_life': math.nan}, 'half_life=nan'),
        ({'unseen_speed': -1.0}, 'unseen_speed=-1.0: give 0 to 100 m/s'),
    ],
)
def test_settings_that_cannot_be(changed: dict[str, object], words: str) -> None:
    with pytest.raises(DrivableError, match=words):
        replace(MapConfig(), **changed)  # type: ignore[arg-type]


def test_names_that_are_no_class(class_map: ClassMap) -> None:
    with pytest.raises(DrivableError, match="'rode', which is not a class of the class map"):
        GroundMap(MapConfig(costs=('rode=0',)), class_map)
    memory, seen = GroundMap(MapConfig(), class_map), Eye(class_map, MapConfig()).look()
    with pytest.raises(DrivableError, match='which is not finite'):
        memory.add('', 1, PlanarPose(math.nan, 0, 0), seen)


def test_sidewalk_where_a_pixel_row_has_both(class_map: ClassMap) -> None:
    """Between two rows of the image the costlier class is taken."""
    config = MapConfig()
    memory, eye = GroundMap(config, class_map), Eye(class_map, config, size=80)
    labels = np.full((40, 80), ROAD, np.uint8)
    labels[:24] = SIDEWALK
    observer = GroundObserver(BoundaryConfig(), class_map, config)
    for step in range(3):
        memory.add('', SECOND + step, HERE, observer.observe(labels, None, eye.ground))
    border = eye.ground.points(np.array([24]), np.array([40]))[0, 0]
    row = cells(memory)[100]
    first = np.flatnonzero(row == 40).min() * 0.1 - 10.0
    assert first < border
