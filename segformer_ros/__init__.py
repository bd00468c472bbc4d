# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Street segmentation for ROS 2: masks, overlays and drivable area from a SegFormer engine.

What stands in `__all__` is the public face: it keeps its names and meanings within a major version
(https://semver.org). Everything else may change. No name needs ROS, and none is loaded before it
is used.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any, Dict, List

if TYPE_CHECKING:
    from segformer_ros.camera import (
        Calibration,
        CameraPose,
        calibration_from_camera_info,
        pose_from_transform,
    )
    from segformer_ros.classes import ClassMap, load_class_map
    from segformer_ros.drivable import DrivableArea, DrivableConfig
    from segformer_ros.engines import EngineOptions
    from segformer_ros.errors import SegformerError
    from segformer_ros.evaluation.api import EvaluationOptions, EvaluationReport, evaluate
    from segformer_ros.frame import Frame, Stamp
    from segformer_ros.model import Declared, ModelSpec, load_model
    from segformer_ros.recordings import Source, SourceFrame, SourceOptions, open_source
    from segformer_ros.segmenter.segmented_frame import SegmentedFrame
    from segformer_ros.segmenter.segmenter import Segmenter

__version__ = '0.1.0'

__all__ = [
    'Calibration',
    'CameraPose',
    'ClassMap',
    'Declared',
    'DrivableArea',
    'DrivableConfig',
    'EngineOptions',
    'EvaluationOptions',
    'EvaluationReport',
    'Frame',
    'ModelSpec',
    'SegformerError',
    'SegmentedFrame',
    'Segmenter',
    'Source',
    'SourceFrame',
    'SourceOptions',
    'Stamp',
    'calibration_from_camera_info',
    'evaluate',
    'load_class_map',
    'load_model',
    'open_source',
    'pose_from_transform',
]

# From a source tree, segformer_ros.msg comes from where colcon installed the generated messages.
__path__ = extend_path(__path__, __name__)

_MODULES = {
    'camera': ('Calibration', 'CameraPose', 'calibration_from_camera_info', 'pose_from_transform'),
    'classes': ('ClassMap', 'load_class_map'),
    'drivable': ('DrivableArea', 'DrivableConfig'),
    'engines': ('EngineOptions',),
    'errors': ('SegformerError',),
    'evaluation.api': ('EvaluationOptions', 'EvaluationReport', 'evaluate'),
    'frame': ('Frame', 'Stamp'),
    'model': ('Declared', 'ModelSpec', 'load_model'),
    'segmenter.segmented_frame': ('SegmentedFrame',),
    'segmenter.segmenter': ('Segmenter',),
    'recordings': ('Source', 'SourceFrame', 'SourceOptions', 'open_source'),
}
_HOMES: Dict[str, str] = {name: home for home, names in _MODULES.items() for name in names}
"""Module of each public name, which is imported when the name is first used."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(f'{__name__}.{_HOMES[name]}'), name)
    globals()[name] = value
    return value


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
