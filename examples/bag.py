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
