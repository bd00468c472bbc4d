# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""What is read back of a recorded drive."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import recordings as rec

from segformer_ros.node.replay.player import ReplayReport
from segformer_ros.recordings import BagWriter
from segformer_ros.recordings.bag_writer import recording_types
from tools.demo.moments import Recording

TYPES = recording_types().types
STRING, DIAGNOSTICS = 'std_msgs/msg/String', 'diagnostic_msgs/msg/DiagnosticArray'
GRID = 'nav_msgs/msg/OccupancyGrid'


def grid(time: int) -> object:
    """A grid of two rows and three columns."""
    point = TYPES['geometry_msgs/msg/Point'](1.0, -2.0, 0.0)
    pose = TYPES['geometry_msgs/msg/Pose'](
        point, TYPES['geometry_msgs/msg/Quaternion'](0.0, 0.0, 0.0, 1.0)
    )
    stamp = TYPES['builtin_interfaces/msg/Time'](0, 0)
    info = TYPES['nav_msgs/msg/MapMetaData'](stamp, 0.5, 3, 2, pose)
    cells = np.array([0, 100, -1, -1, -1, 0], np.int8)
    return TYPES[GRID](rec.header(time), info, cells)


def diagnostics(device: str) -> object:
    """Diagnostics of an engine."""
    status = TYPES['diagnostic_msgs/msg/DiagnosticStatus']
    pairs = [TYPES['diagnostic_msgs/msg/KeyValue']('device', device)]
    return TYPES[DIAGNOSTICS](
        rec.header(1),
        [
            status(0, '/segmentation_node: camera', '', '', []),
            status(0, '/segmentation_node: engine', 'running', '', pairs),
        ],
    )


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """Three images, masks for two of them, labels and a grid for the last."""
    path = tmp_path / 'drive.mcap'
    with BagWriter(path) as bag:
        bag.add_topic('/image/compressed', rec.COMPRESSED)
        bag.add_topic('/segmentation/overlay/compressed', rec.COMPRESSED)
        for topic in ('/segmentation/mask', '/labels'):
            bag.add_topic(topic, rec.IMAGE)
        bag.add_topic('/drivable_area/grid', GRID)
        bag.add_topic('/diagnostics', DIAGNOSTICS)
        bag.add_topic('/replay/report', STRING)
        for index in range(3):
            time = rec.stamp_ns(index)
            picture = rec.compressed(rec.picture(index), 'png', time)
            bag.write_message('/image/compressed', picture, time)
        # Masks come later than the images after theirs.
        for index in (0, 2):
            time = rec.stamp_ns(index)
            mask = rec.image(rec.labels(index), 'mono8', time)
            bag.write_message('/segmentation/mask', mask, time)
        time = rec.stamp_ns(2)
        truth = rec.image(rec.labels(5), 'mono8', time)
        overlay = rec.compressed(rec.picture(20), 'png', time)
        bag.write_message('/labels', truth, time)
        bag.write_message('/segmentation/overlay/compressed', overlay, time)
        bag.write_message('/drivable_area/grid', grid(time), time)
        for device in ('none yet', 'CPU'):
            bag.write_message('/diagnostics', diagnostics(device), time)
        report = ReplayReport(finished=True, published=3, answered=2)
        bag.write_message('/replay/report', TYPES[STRING](report.to_json()), time)
    return path


def test_a_frame_is_put_together_by_its_stamp(drive: Path) -> None:
    with Recording(drive) as recording:
        first, last = recording.views()
    assert (first.key, last.key) == ('000000', '000001')
    assert (first.stamp_ns, last.stamp_ns) == (rec.stamp_ns(0), rec.stamp_ns(2))
    assert rec.index_of(last.image) == 2
    rec.assert_labels(last.labels, 2)
    rec.assert_labels(last.truth, 5)
    assert last.overlay is not None
    assert rec.index_of(last.overlay) == 20
    assert (first.truth, first.overlay, first.grid, first.area) == (None, None, None, None)


def test_a_grid_comes_back_in_metres(drive: Path) -> None:
    with Recording(drive) as recording:
        numbers = list(recording.views())[1].grid
    assert numbers is not None
    assert (numbers.resolution, numbers.origin_x, numbers.origin_y) == (0.5, 1.0, -2.0)
    assert numbers.cells.tolist() == [[0, 100, -1], [-1, -1, 0]]


def test_report_and_engine_facts_are_the_last_ones(drive: Path) -> None:
    with Recording(drive) as recording:
        report = recording.report()
        assert recording.masks == 2
        assert recording.engine_facts() == {'device': 'CPU'}
    assert report is not None
    assert (report.published, report.answered) == (3, 2)


def test_an_interrupted_recording_has_no_report(tmp_path: Path) -> None:
    with BagWriter(tmp_path / 'drive.mcap') as bag:
        bag.add_topic('/segmentation/mask', rec.IMAGE)
        bag.write_message('/segmentation/mask', rec.image(rec.labels(0), 'mono8', 1), 1)
    with Recording(tmp_path / 'drive.mcap') as recording:
        assert recording.report() is None
        assert recording.engine_facts() == {}
        assert list(recording.views()) == []
