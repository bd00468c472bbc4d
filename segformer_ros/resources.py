"""Files that come with the package: class maps, models, kernels."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Iterator

PACKAGE = 'segformer_ros'


def share_path(relative: str) -> Path:
    """Path of a shipped file or folder, given as in the source tree ('config/segment.yaml').

    Looked for in the source tree, then in the share folders of the sourced ROS workspaces, then
    in this Python's own. Raises FileNotFoundError naming the places.
    """
    roots = list(_roots())
    for root in roots:
        if (root / relative).exists():
            return root / relative
    raise FileNotFoundError(
        f'{PACKAGE} has no file {relative!r} in {", ".join(map(str, roots))}; '
        'reinstall the package or source its workspace'
    )


def _roots() -> Iterator[Path]:
    yield Path(__file__).resolve().parents[1]
    for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep):
        if prefix:
            yield Path(prefix, 'share', PACKAGE)
    yield Path(sys.prefix, 'share', PACKAGE)
