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
