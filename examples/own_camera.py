# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Segment a camera that OpenCV reads, as it comes.   python examples/own_camera.py [CAMERA]

CAMERA: an index (default: 0), a device, a stream's address or a file. Ctrl-C ends it.
"""

import sys

import cv2

from segformer_ros import SegformerError, Segmenter

name = sys.argv[1] if len(sys.argv) > 1 else '0'
camera = cv2.VideoCapture(int(name) if name.isdecimal() else name)
if not camera.isOpened():
    sys.exit(f'camera {name} cannot be opened')
try:
    with Segmenter() as segment:
        while True:
            there, image = camera.read()
            if not there:
                break
            result = segment(image)
            road = result.where('road').mean()
            print(f'road {road:.0%}, {result.times.total:.0f} ms', flush=True)
except KeyboardInterrupt:
    pass
except SegformerError as error:  # every error of the package that you can do something about
    sys.exit(str(error))
finally:
    camera.release()
