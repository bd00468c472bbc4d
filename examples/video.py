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
