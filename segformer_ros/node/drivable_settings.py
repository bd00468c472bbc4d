"""From the node's parameters to the configuration of the drivable area and the camera's pose."""

from __future__ import annotations

from dataclasses import asdict
from typing import Optional

from segformer_ros.camera import CameraPose
from segformer_ros.drivable import (
    BoundaryConfig,
    DrivableConfig,
    GridConfig,
    GroundConfig,
    ScanConfig,
)
from segformer_ros.node.parameters import DrivableSettings, MountSettings


def drivable_config(settings: DrivableSettings, mount: MountSettings) -> DrivableConfig:
    """Configuration of one camera's drivable area; raises DrivableError."""
    return DrivableConfig(
        boundary=BoundaryConfig(
            columns=settings.columns,
            drivable=settings.group,
            hood=mount.hood,
            speckle_size=settings.speckle_size,
            speckle=settings.speckle,
            min_confidence=settings.min_confidence,
        ),
        ground=GroundConfig(
            pitch_sigma=settings.pitch_sigma,
            roll_sigma=settings.pitch_sigma,
            min_gap=settings.min_gap,
        ),
        grid=GridConfig(**asdict(settings.grid)),
        scan=ScanConfig(**asdict(settings.scan)),
        corridor_width=settings.vehicle_width,
        hold=settings.hold,
    )


def mount_pose(mount: MountSettings) -> Optional[CameraPose]:
    """Camera pose from the mount parameters, None where the height is not known."""
    if mount.height == 0:
        return None
    return CameraPose(mount.height, mount.pitch, mount.roll, mount.yaw, mount.x, mount.y)
