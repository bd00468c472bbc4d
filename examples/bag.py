# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Write the masks of a bag as PNG files.   python examples/bag.py DRIVE [MASKS]

DRIVE: a rosbag2 (.mcap, .db3 or their folder). Its camera_info and /tf_static, where it has them,
give the drivable area in metres.
"""

import sys
from pathlib import Path

import cv2

from segformer_ros import Segmenter, open_source

bag = open_source(sys.argv[1])
folder = Path(sys.argv[2] if len(sys.argv) > 2 else 'masks')
folder.mkdir(parents=True, exist_ok=True)
print(f'{bag.name}: {len(bag)} frames')
with Segmenter() as segment:
    for result in segment.stream(bag, on_fault=print):
        cv2.imwrite(str(folder / f'{result.key}.png'), result.labels)  # (H, W) class ids
        area = result.area
        print(result.key, f'{area.corridor.distance:.1f} m' if area.calibrated else area.reason)
