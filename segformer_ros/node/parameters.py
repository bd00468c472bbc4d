"""The table of the node's parameters: the one place that names, describes and limits them.

The declaration, the validation, the typed settings that the code reads, config/segment.yaml and
doc/parameters.md all come from these classes. A field that is a class of its own is a group:
`settings.drivable.max_age` is the parameter `drivable.max_age`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Optional, Tuple

from segformer_ros.drivable import DrivableConfig
from segformer_ros.engines import ENGINES, UPSAMPLING
from segformer_ros.engines.engine import INFERENCE
from segformer_ros.formats.limits import MAX_MEGAPIXELS
from segformer_ros.model.spec import COLORS, FITS
from segformer_ros.node.parameter import (
    Change,
    Parameter,
    ParameterError,
    parameter,
    parameters_of,
)

_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')

PRECISIONS = tuple(
    dict.fromkeys(precision for engine in ENGINES.values() for precision in engine.precisions)
)
"""Those of all engines."""

_DRIVABLE = DrivableConfig()  # has the defaults


@dataclass(frozen=True)
class NetworkSettings:
    """What the model's file does not say of itself; a yaml file beside it is trusted first."""

    contract: str = parameter(
        '',
        "how the network wants its input: tao5, tao6, huggingface, ...; empty: the file's",
        change=Change.CONFIGURE,
    )
    color: str = parameter(
        '',
        "order of the input's channels; empty: the contract's",
        choices=('', *COLORS),
        change=Change.CONFIGURE,
    )
    mean: str = parameter(
        '',
        "three numbers on 0..255 separated by commas, '123.675,116.28,103.53'; empty: the "
        "contract's",
        change=Change.CONFIGURE,
    )
    std: str = parameter(
        '',
        "standard deviations, given like the mean, '58.395,57.12,57.375'; empty: the contract's",
        change=Change.CONFIGURE,
    )
    fit: str = parameter(
        '',
        "how a frame fills the input; empty: the contract's",
        choices=('', *FITS),
        change=Change.CONFIGURE,
    )
    width: int = parameter(
        0,
        "width of the input, pixels, if the graph takes any; 0: the model's own",
        low=0,
        high=8192,
        change=Change.CONFIGURE,
    )
    height: int = parameter(
        0,
        "height of the input, pixels, if the graph takes any; 0: the model's own",
        low=0,
        high=8192,
        change=Change.CONFIGURE,
    )


@dataclass(frozen=True)
class GridSettings:
    """Extent of `drivable_area/grid` in the vehicle frame."""

    resolution: float = parameter(
        _DRIVABLE.grid.resolution, 'side of a cell, m', low=0.02, high=5.0
    )
    x_min: float = parameter(_DRIVABLE.grid.x_min, 'rear end, m', low=-500.0, high=500.0)
    x_max: float = parameter(_DRIVABLE.grid.x_max, 'front end, m', low=-500.0, high=500.0)
    y_min: float = parameter(_DRIVABLE.grid.y_min, 'right end, m', low=-500.0, high=500.0)
    y_max: float = parameter(_DRIVABLE.grid.y_max, 'left end, m', low=-500.0, high=500.0)
    max_footprint: float = parameter(
        _DRIVABLE.grid.max_footprint,
        'no cell is called free where one image row spans more ground than this, m',
        low=0.01,
        high=100.0,
    )


@dataclass(frozen=True)
class ScanSettings:
    """Angles and ranges of `drivable_area/scan` about the vehicle frame's origin."""

    angle_min: float = parameter(
        _DRIVABLE.scan.angle_min, 'first angle, rad, negative = right', low=-3.1415, high=3.1415
    )
    angle_max: float = parameter(
        _DRIVABLE.scan.angle_max, 'last angle, rad, positive = left', low=-3.1415, high=3.1415
    )
    angle_increment: float = parameter(
        _DRIVABLE.scan.angle_increment, 'angle between two ranges, rad', low=1e-4, high=0.5
    )
    range_min: float = parameter(
        _DRIVABLE.scan.range_min, 'shortest range, m', low=0.0, high=100.0
    )
    range_max: float = parameter(
        _DRIVABLE.scan.range_max, 'longest range, m', low=0.1, high=1000.0
    )


@dataclass(frozen=True)
class DrivableSettings:
    """What counts as drivable, and how its summary is made."""

    group: str = parameter(
        _DRIVABLE.boundary.drivable,
        'what may be driven on: a drivable group of the class map (road, road+sidewalk, ...) or '
        'class names joined by +',
    )
    columns: int = parameter(
        _DRIVABLE.boundary.columns,
        'number of image columns that the boundary is given for',
        low=1,
        high=4096,
    )
    speckle_size: float = parameter(
        _DRIVABLE.boundary.speckle_size,
        'blocked islands narrower and lower than this on the ground are ignored, m; 0: none are',
        low=0.0,
        high=1.0,
    )
    speckle: int = parameter(
        _DRIVABLE.boundary.speckle,
        'without calibration: blocked islands of fewer pixels are ignored, unless they are of a '
        'person, vehicle or object; 0: none are',
        low=0,
        high=10_000,
    )
    min_gap: float = parameter(
        _DRIVABLE.ground.min_gap,
        'gaps between two blockers narrower than this are closed, m; 0: none are',
        low=0.0,
        high=10.0,
    )
    min_confidence: float = parameter(
        _DRIVABLE.boundary.min_confidence,
        'drivable pixels of a lower confidence are not free; 0: all are',
        low=0.0,
        high=1.0,
    )
    hold: float = parameter(
        _DRIVABLE.hold,
        'seconds that a blocker is kept in its image column after it was last seen; 0: not at all',
        low=0.0,
        high=10.0,
    )
    vehicle_width: float = parameter(
        _DRIVABLE.corridor_width,
        'width of the corridor that must be free for the vehicle, m',
        low=0.1,
        high=20.0,
    )
    vehicle_frame: str = parameter(
        'base_link', 'frame_id of grid and scan: on the ground, x forward, y left, z up'
    )
    use_tf: bool = parameter(
        True,
        "take the camera's mount from TF at each frame's stamp, where tf2 is installed; else from "
        'the mount parameters',
        change=Change.CONFIGURE,
    )
    tf_timeout: float = parameter(
        0.05, "longest wait for the transform of a frame's stamp, s", low=0.0, high=1.0
    )
    rectified: bool = parameter(
        False,
        'the images are rectified: P of camera_info is used, and not the distortion; those of '
        'topics called image_rect* are known to be',
    )
    pitch_sigma: float = parameter(
        _DRIVABLE.ground.pitch_sigma,
        "standard deviation of the camera's pitch and roll, rad",
        low=0.0,
        high=0.2,
    )
    max_age: float = parameter(
        0.5,
        'an image older than this gives valid = false, and so does a camera or engine that has '
        'given nothing newer, s',
        low=0.05,
        high=60.0,
    )
    grid: GridSettings = field(default_factory=GridSettings)
    scan: ScanSettings = field(default_factory=ScanSettings)


@dataclass(frozen=True)
class MountSettings:
    """Where one camera stands on the vehicle, for vehicles without TF."""

    height: float = parameter(
        0.0,
        "the lens's height above the ground, m; 0: unknown, so nothing is given in metres",
        low=0.0,
        high=100.0,
    )
    pitch: float = parameter(0.0, 'positive looks down, rad', low=-1.6, high=1.6)
    roll: float = parameter(0.0, 'positive tilts the right side down, rad', low=-3.2, high=3.2)
    yaw: float = parameter(0.0, 'positive turns left, rad', low=-3.2, high=3.2)
    x: float = parameter(0.0, 'forward of the vehicle frame, m', low=-100.0, high=100.0)
    y: float = parameter(0.0, 'left of the vehicle frame, m', low=-100.0, high=100.0)
    hood: float = parameter(
        _DRIVABLE.boundary.hood,
        "share of the image's height at the bottom that shows the vehicle's own hood",
        low=0.0,
        high=0.9,
    )


@dataclass(frozen=True)
class Settings:
    """All parameters but the cameras' mounts, which MountSettings gives once for each camera."""

    def __post_init__(self) -> None:
        names = self.camera_names
        wrong = [name for name in names if not _CAMERA_NAME.fullmatch(name)]
        if wrong and names != ('',):
            raise ParameterError(
                f'cameras has {wrong[0]!r}, which cannot stand before a topic name; use letters, '
                'digits and _, a letter first'
            )
        if len(set(names)) < len(names):
            raise ParameterError(f'cameras names one camera twice: {", ".join(names)}')

    model: str = parameter(
        '',
        'path of an ONNX or engine file, or of a DeepStream nvinfer configuration; empty: the '
        'bundled model; tiny: the smaller bundled one',
        change=Change.CONFIGURE,
    )
    class_map: str = parameter(
        '',
        "a preset (cityscapes), or the path of a yaml or labels.txt file; empty: the model's own",
        change=Change.CONFIGURE,
    )
    engine: str = parameter(
        'auto',
        'what runs the network; auto: the best that this machine can run',
        choices=('auto', *ENGINES),
        change=Change.CONFIGURE,
    )
    precision: str = parameter(
        'auto',
        'arithmetic of the network; each engine has some of these',
        choices=PRECISIONS,
        change=Change.CONFIGURE,
    )
    threads: int = parameter(
        0,
        'CPU threads of inference; 0: the engine chooses',
        low=0,
        high=1024,
        change=Change.CONFIGURE,
    )
    device: int = parameter(0, 'index of the GPU', low=0, high=63, change=Change.CONFIGURE)
    cache_dir: str = parameter(
        '', "folder for built engines; empty: the user's cache folder", change=Change.CONFIGURE
    )
    inference: str = parameter(
        'whole',
        "whole: the frame is resized to the network's input; slide: the input moves over the "
        'frame at its own scale',
        choices=INFERENCE,
        change=Change.CONFIGURE,
    )
    slide_stride: int = parameter(
        0,
        "pixels from one window to the next; 0: three quarters of the input's shorter side",
        low=0,
        high=4096,
        change=Change.CONFIGURE,
    )
    fake_delay: float = parameter(
        0.0,
        'seconds that the fake engine takes for each call',
        low=0.0,
        high=60.0,
        change=Change.CONFIGURE,
    )
    autostart: bool = parameter(
        True, 'configure and activate at start, without being told to', change=Change.START
    )
    bond_heartbeat_period: float = parameter(
        0.25,
        "seconds between two heartbeats of an active node for Nav2's lifecycle manager, where "
        'bond is installed; 0: none',
        low=0.0,
        high=2.0,
        change=Change.CONFIGURE,
    )
    cameras: Tuple[str, ...] = parameter(
        ('',),
        "names of the cameras, each with its topics under its name ('front/image'); one empty "
        'name: a single camera without a prefix',
        change=Change.START,
    )
    compressed: bool = parameter(
        False,
        'subscribe to CompressedImage (JPEG or PNG) instead of Image',
        change=Change.CONFIGURE,
    )
    max_megapixels: float = parameter(
        MAX_MEGAPIXELS,
        'images of more pixels than this are refused before they are decoded, 10^6 pixels',
        low=0.01,
        high=1000.0,
    )
    enabled: bool = parameter(True, 'segment; ~/set_enabled sets it too')
    upsampling: str = parameter(
        'exact',
        'exact: logits upsampled to the mask, then the best class; fast: the best class of the '
        "logits' cells, repeated",
        choices=UPSAMPLING,
    )
    mask_width: int = parameter(
        0,
        "width of mask and confidence, pixels; 0: in proportion to the height, or the image's",
        low=0,
        high=16384,
    )
    mask_height: int = parameter(
        0,
        "height of mask and confidence, pixels; 0: in proportion to the width, or the image's",
        low=0,
        high=16384,
    )
    overlay_opacity: float = parameter(
        0.5, "opacity of the classes' colours over the image", low=0.0, high=1.0
    )
    overlay_boundary: bool = parameter(
        False, 'draw the boundary of the drivable area, and its distances, into the overlay'
    )
    jpeg_quality: int = parameter(80, 'JPEG quality of the compressed overlay', low=1, high=100)
    diagnostics_period: float = parameter(
        1.0,
        'seconds between two messages on /diagnostics',
        low=0.1,
        high=60.0,
        change=Change.CONFIGURE,
    )
    silent_after: float = parameter(
        2.0,
        'a camera without an image for this many seconds is reported as stale',
        low=0.1,
        high=600.0,
    )
    network: NetworkSettings = field(default_factory=NetworkSettings)
    drivable: DrivableSettings = field(default_factory=DrivableSettings)

    @property
    def camera_names(self) -> Tuple[str, ...]:
        """Names of the cameras; one empty name where there is a single one without prefix."""
        return self.cameras or ('',)

    def mask_size(self, height: int, width: int) -> Optional[Tuple[int, int]]:
        """(height, width) of the mask of an image, None for the image's own size."""
        if not (self.mask_width or self.mask_height):
            return None
        return (
            self.mask_height or max(1, round(height * self.mask_width / width)),
            self.mask_width or max(1, round(width * self.mask_height / height)),
        )


def mount_prefix(camera: str) -> str:
    """What stands before the names of a camera's mount parameters."""
    return f'{camera}.mount.' if camera else 'mount.'


def node_parameters() -> Tuple[Parameter, ...]:
    """All parameters of a node with one camera."""
    return parameters_of(Settings) + parameters_of(MountSettings, mount_prefix(''))
