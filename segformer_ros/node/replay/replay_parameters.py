# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The parameters of the replay node."""

from __future__ import annotations

from dataclasses import dataclass

from segformer_ros.node.parameter import parameter

STAMPS = ('recorded', 'now')


@dataclass(frozen=True)
class ReplaySettings:
    """What is played, how fast, and as what."""

    input: str = parameter(
        '',
        'bag, video, folder of images, Cityscapes folder, the shipped drive (sample:), or a '
        'generated one (street:[SEED]); a value that ends in a colon needs quotes: '
        '''-p "input:='sample:'"''',
    )
    topic: str = parameter('', 'image topic of a bag; empty: the only one')
    label_topic: str = parameter('', 'topic of a bag with label images')
    label_tolerance: float = parameter(
        0.0, "seconds by which a label's stamp may differ from its image's", low=0.0, high=10.0
    )
    labels: str = parameter('', "folder of label images named by the frames' keys")
    label_ids: str = parameter(
        '',
        "class map (preset or file) whose own ids the labels hold; empty: the model's train ids",
    )
    label_colors: str = parameter('', 'class map whose colours the labels hold')
    camera_info: str = parameter(
        '',
        "file with the camera's calibration (a yaml of camera_calibration, Kalibr or a "
        "CameraInfo), instead of the recording's own",
    )
    bits: int = parameter(
        0,
        'significant bits of 16-bit images: 8, 10, 12, 14 or 16; 0: detected from the images',
        low=0,
        high=16,
    )
    fps: float = parameter(
        10.0,
        'frames per second of sources without stamps (folders, generated drives)',
        low=0.01,
        high=1000.0,
    )
    rate: float = parameter(
        1.0,
        'how many times faster than recorded; 0: as fast as the consumer answers',
        low=0.0,
        high=1000.0,
    )
    loop: bool = parameter(
        False,
        'start again at the end; recorded stamps and /clock too, as `ros2 bag play --loop` does',
    )
    stamps: str = parameter(
        'now',
        "stamps of the messages: the recording's own, or the time of publishing",
        choices=STAMPS,
    )
    clock: bool = parameter(
        False, "publish /clock with the messages' stamps, for nodes with use_sim_time"
    )
    frame_id: str = parameter('', 'frame_id of the messages; empty: as recorded')
    transforms: bool = parameter(
        True,
        "publish a bag's /tf_static and /tf along with its frames, where tf2_msgs is installed",
    )
    vehicle_frame: str = parameter(
        '',
        'frame on the ground for a /tf_static of the mount, if the recording has a mount but no '
        "transforms of its own (street:), or frame_id renames the bag's; empty: none",
    )
    reliable: bool = parameter(False, 'publish images reliably; else best effort, as cameras do')
    jpeg_quality: int = parameter(90, 'JPEG quality of image/compressed', low=1, high=100)
    wait_for: int = parameter(
        1, 'number of image subscribers to wait for before the first frame', low=0, high=100
    )
    wait_timeout: float = parameter(
        60.0, 'longest wait for these subscribers, s', low=0.0, high=3600.0
    )
    window: int = parameter(
        1, 'at rate 0: how many frames may be unanswered at a time', low=1, high=100
    )
    answer_timeout: float = parameter(
        30.0,
        'at rate 0: longest wait for an answer before a frame is sent again or given up, s',
        low=0.1,
        high=3600.0,
    )
    exit_at_end: bool = parameter(
        True, 'end when everything has been played; else stay, for late subscribers'
    )
