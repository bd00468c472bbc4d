# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Say what is in a picture.   python examples/picture.py STREET.jpg [OVERLAY.png]"""

import sys

import cv2

from segformer_ros import Segmenter

with Segmenter() as segment:  # the bundled model; yours: Segmenter('model.onnx')
    result = segment(sys.argv[1])

for name in result.class_map.names:
    share = result.where(name).mean()
    if share > 0.001:
        print(f'{name:15} {share:6.1%}')
if len(sys.argv) > 2:
    cv2.imwrite(sys.argv[2], result.overlay)
