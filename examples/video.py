# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""How far a video's road is free.   python examples/video.py DRIVE.mp4 HFOV HEIGHT PITCH

HFOV: the camera's horizontal field of view, degrees. HEIGHT: of its lens above the ground, m.
PITCH: degrees, positive looks down.
"""

import math
import sys

from segformer_ros import CameraPose, Segmenter, open_source

path, (hfov, height, pitch) = sys.argv[1], map(float, sys.argv[2:5])
video = open_source(path)
pose = CameraPose(height, pitch=math.radians(pitch))
with Segmenter(calibration=video.calibrated(hfov), pose=pose) as segment:
    for result in segment.stream(video):
        corridor = result.area.corridor
        seconds = result.frame.stamp.ns / 1e9
        print(f'{seconds:9.2f} s: free for {corridor.distance:5.1f} m +- {corridor.sigma:.1f} m')
