# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""`python -m tools.training.overlays MODEL OUT.png FOLDER...`: masks over frames, to be looked at.

Takes the same number of frames, evenly spread, from each folder of images; frame beside overlay.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from segformer_ros.cli.arguments import whole
from segformer_ros.drawing.overlay import blend
from segformer_ros.engines import create_engine
from segformer_ros.frame import Frame
from segformer_ros.model import load_model
from tools.training.data import IMAGE_SUFFIXES, read_picture

TILE = (180, 240)  # height, width of one picture in the sheet
COLUMNS = 3  # pairs of frame and overlay in a row


def sheet(model: Path, folders: list[Path], count: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR: `count` frames of each folder, each beside its overlay."""
    spec = load_model(model)
    pairs = []
    with create_engine(spec, 'openvino') as engine:
        for path in [p for folder in folders for p in spread(folder, count)]:
            image = read_picture(path, cv2.IMREAD_COLOR)
            labels = engine.segment([Frame.from_array(image)])[0].labels
            overlay = blend(image, labels, spec.class_map.palette_bgr, opacity=0.55)
            tiles = [
                cv2.resize(p, TILE[::-1], interpolation=cv2.INTER_AREA) for p in (image, overlay)
            ]
            pairs.append(np.hstack(tiles))
    blank = np.full_like(pairs[0], 255)
    pairs += [blank] * (-len(pairs) % COLUMNS)
    return np.vstack([np.hstack(pairs[i : i + COLUMNS]) for i in range(0, len(pairs), COLUMNS)])


def spread(folder: Path, count: int) -> list[Path]:
    """`count` images of a folder, evenly spread over its sorted names."""
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
    return [found[i] for i in np.linspace(0, len(found) - 1, count).round().astype(int)]


def main(arguments: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog='python -m tools.training.overlays', description=__doc__)
    parser.add_argument('model', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('folders', type=Path, nargs='+')
    parser.add_argument('--count', type=whole(1), default=6, help='frames of each folder')
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    cv2.imwrite(str(options.out), sheet(options.model, options.folders, options.count))
    return 0


if __name__ == '__main__':
    sys.exit(main())
