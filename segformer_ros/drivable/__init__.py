# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Drivable area: from a label map and a calibrated camera to metres that a planner can use."""

from segformer_ros.drivable.area import (
    DrivableArea,
    DrivableAreaEstimator,
    DrivableConfig,
    age_fault,
    area_fields,
)
from segformer_ros.drivable.boundary import BoundaryConfig, BoundaryExtractor
from segformer_ros.drivable.corridor import Corridor
from segformer_ros.drivable.grid import GridConfig, GridNumbers, grid_fields
from segformer_ros.drivable.ground import GroundConfig, GroundProjection
from segformer_ros.drivable.ground_map import GroundMap
from segformer_ros.drivable.ground_points import PointsConfig
from segformer_ros.drivable.observation import GroundObservation, GroundObserver, MapConfig
from segformer_ros.drivable.odometry import (
    PlanarPose,
    PoseTrack,
    odometry_fields,
    pose_of_odometry,
)
from segformer_ros.drivable.profile import CLASS_NONE, ROW_NONE, ColumnProfile, DrivableError
from segformer_ros.drivable.scan import ScanConfig, ScanNumbers, scan_fields

__all__ = [
    'CLASS_NONE',
    'ROW_NONE',
    'BoundaryConfig',
    'BoundaryExtractor',
    'ColumnProfile',
    'Corridor',
    'DrivableArea',
    'DrivableAreaEstimator',
    'DrivableConfig',
    'DrivableError',
    'GridConfig',
    'GridNumbers',
    'GroundConfig',
    'GroundMap',
    'GroundObservation',
    'GroundObserver',
    'GroundProjection',
    'MapConfig',
    'PlanarPose',
    'PointsConfig',
    'PoseTrack',
    'ScanConfig',
    'ScanNumbers',
    'age_fault',
    'area_fields',
    'grid_fields',
    'odometry_fields',
    'pose_of_odometry',
    'scan_fields',
]
