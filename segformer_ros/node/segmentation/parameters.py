# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The node's parameters: the table with their names, descriptions and limits, and their values.

The declaration, the validation, the typed settings that the code reads, config/segment.yaml and
doc/parameters.md all come from these classes. A field that is itself a settings class is a group:
`settings.drivable.max_age` is the parameter `drivable.max_age`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Mapping, Optional, Sequence, Tuple

from segformer_ros.engines import ENGINES, UPSAMPLING
from segformer_ros.engines.engine import INFERENCE
from segformer_ros.errors import one_line
from segformer_ros.formats import BITS
from segformer_ros.formats.limits import MAX_MEGAPIXELS
from segformer_ros.model.spec import COLORS, FITS
from segformer_ros.node.drivable_settings import DrivableSettings, MountSettings
from segformer_ros.node.parameter import (
    Changeable,
    Parameter,
    ParameterError,
    Value,
    build,
    declare,
    overrides,
    parameter,
    parameters_of,
)
from segformer_ros.topics import VIDEO_TYPES

if TYPE_CHECKING:
    from rcl_interfaces.msg import SetParametersResult
    from rclpy.node import Node

_CAMERA_NAME = re.compile(r'[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*')

PRECISIONS = tuple(
    dict.fromkeys(precision for engine in ENGINES.values() for precision in engine.precisions)
)
"""Precisions of all engines."""


@dataclass(frozen=True)
class NetworkSettings:
    """What the model's file does not tell; a yaml file beside it takes precedence."""

    contract: str = parameter(
        '',
        "how the network wants its input: tao5, tao6, huggingface, ...; empty: the file's",
        change=Changeable.CONFIGURE,
    )
    color: str = parameter(
        '',
        "order of the input's channels; empty: the contract's",
        choices=('', *COLORS),
        change=Changeable.CONFIGURE,
    )
    mean: str = parameter(
        '',
        "three numbers on 0..255 separated by commas, '123.675,116.28,103.53'; empty: the "
        "contract's",
        change=Changeable.CONFIGURE,
    )
    std: str = parameter(
        '',
        "standard deviations, given like the mean, '58.395,57.12,57.375'; empty: the contract's",
        change=Changeable.CONFIGURE,
    )
    fit: str = parameter(
        '',
        "how a frame fills the input; empty: the contract's",
        choices=('', *FITS),
        change=Changeable.CONFIGURE,
    )
    width: int = parameter(
        0,
        "width of the input, pixels, if the graph takes any; 0: the model's own",
        low=0,
        high=8192,
        change=Changeable.CONFIGURE,
    )
    height: int = parameter(
        0,
        "height of the input, pixels, if the graph takes any; 0: the model's own",
        low=0,
        high=8192,
        change=Changeable.CONFIGURE,
    )


@dataclass(frozen=True)
class Settings:
    """All parameters except the cameras' mounts, which MountSettings has once per camera."""

    def __post_init__(self) -> None:
        names = self.camera_names
        wrong = [name for name in names if not _CAMERA_NAME.fullmatch(name)]
        if wrong and names != ('',):
            raise ParameterError(
                f'cameras has {wrong[0]!r}, which cannot be the prefix of a topic; use letters, '
                'digits and _, a letter first'
            )
        if 0 < self.bits < BITS[0]:
            raise ParameterError(f'bits is {self.bits}; cameras have {BITS[0]} or more')
        if len(set(names)) < len(names):
            raise ParameterError(f'cameras names one camera twice: {", ".join(names)}')

    model: str = parameter(
        '',
        'path of an ONNX or engine file, or of a DeepStream nvinfer configuration; empty: the '
        'bundled model; tiny: the smaller bundled one',
        change=Changeable.CONFIGURE,
    )
    class_map: str = parameter(
        '',
        "a preset (cityscapes), or the path of a yaml or labels.txt file; empty: the model's own",
        change=Changeable.CONFIGURE,
    )
    engine: str = parameter(
        'auto',
        'what runs the network; auto: the best that this machine can run',
        choices=('auto', *ENGINES),
        change=Changeable.CONFIGURE,
    )
    precision: str = parameter(
        'auto',
        'arithmetic of the network; each engine has some of these',
        choices=PRECISIONS,
        change=Changeable.CONFIGURE,
    )
    threads: int = parameter(
        0,
        'CPU threads of inference; 0: the engine chooses',
        low=0,
        high=1024,
        change=Changeable.CONFIGURE,
    )
    streams: int = parameter(
        0,
        'frames that OpenVINO works on at once: 2 give more masks per second, but each one later; '
        '0: 2 for several cameras, else 1',
        change=Changeable.CONFIGURE,
        low=0,
        high=2,
    )
    device: int = parameter(0, 'index of the GPU', low=0, high=63, change=Changeable.CONFIGURE)
    dla_core: int = parameter(
        -1,
        'the DLA of a Jetson that takes the layers that it can, one frame at a time; -1: none',
        low=-1,
        high=7,
        change=Changeable.CONFIGURE,
    )
    cache_dir: str = parameter(
        '',
        "folder for built and compiled engines; empty: the user's cache folder",
        change=Changeable.CONFIGURE,
    )
    inference: str = parameter(
        'whole',
        "whole: the frame is resized to the network's input; slide: the input moves over the "
        'frame at its own scale',
        choices=INFERENCE,
        change=Changeable.CONFIGURE,
    )
    slide_stride: int = parameter(
        0,
        "pixels from one window to the next; 0: three quarters of the input's shorter side",
        low=0,
        high=4096,
        change=Changeable.CONFIGURE,
    )
    fake_delay: float = parameter(
        0.0,
        'seconds that the fake engine takes for each call',
        low=0.0,
        high=60.0,
        change=Changeable.CONFIGURE,
    )
    autostart: bool = parameter(
        True, 'configure and activate at start, without being told to', change=Changeable.START
    )
    bond_heartbeat_period: float = parameter(
        0.25,
        "seconds between two heartbeats of an active node for Nav2's lifecycle manager, where "
        'bond is installed; 0: none',
        low=0.0,
        high=2.0,
        change=Changeable.CONFIGURE,
    )
    cameras: Tuple[str, ...] = parameter(
        ('',),
        "names of the cameras, each with its topics under its name ('front/image'); one empty "
        'name: a single camera without a prefix',
        change=Changeable.START,
    )
    compressed: bool = parameter(
        False,
        'subscribe to CompressedImage (JPEG, PNG, or video as its format says) instead of Image',
        change=Changeable.CONFIGURE,
    )
    video: str = parameter(
        '',
        'subscribe to video of this type instead, whose package is to be installed '
        '(foxglove_msgs, ffmpeg_image_transport_msgs)',
        choices=('', *VIDEO_TYPES),
        change=Changeable.CONFIGURE,
    )
    bits: int = parameter(
        0,
        "significant bits of 16-bit images, from the lowest; 0: detected from the images' values",
        low=0,
        high=16,
        change=Changeable.CONFIGURE,
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
        change=Changeable.CONFIGURE,
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
    def longest_look(self) -> float:
        """Seconds between two looks at a camera, so that its silence is noticed in time."""
        return min(self.silent_after, self.drivable.max_age) / 2

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
    """Prefix of the names of a camera's mount parameters."""
    return f'{camera}.mount.' if camera else 'mount.'


def node_parameters() -> Tuple[Parameter, ...]:
    """All parameters of a node with one camera."""
    return parameters_of(Settings) + parameters_of(MountSettings, mount_prefix(''))


Check = Callable[[Settings, Mapping[str, MountSettings]], None]


class NodeParameters:
    """The node's parameters as typed settings.

    settings, mounts (by camera name): immutable, replaced as a whole when a parameter changes, so
    that any thread may read them.

    is_configured: tells whether the node is configured. check: raises ValueError for settings that
    are each valid but contradict each other.
    """

    def __init__(self, node: Node, is_configured: Callable[[], bool], check: Check) -> None:
        self._node = node
        self._is_configured = is_configured
        self._check = check
        self._table: Dict[str, Parameter] = {}
        self._values: Dict[str, Value] = {}
        self._complete = False
        node.add_on_set_parameters_callback(self._on_set)
        self._declare(parameters_of(Settings))
        self.settings = build(Settings, self._values)
        self.mounts: Dict[str, MountSettings] = {}
        for camera in self.settings.camera_names:
            self._declare(parameters_of(MountSettings, mount_prefix(camera)))
        self._take_up(self._values)
        self._complete = True

    def unknown(self) -> Iterator[str]:
        """One line for each parameter that was given but does not exist."""
        # The shipped config/segment.yaml has these, whatever the cameras are called.
        unused = {entry.name: entry.default for entry in parameters_of(MountSettings, 'mount.')}
        for name, override in overrides(self._node).items():
            known = self._node.has_parameter(name) or name.startswith('qos_overrides.')
            if not known and unused.get(name) != override.value:
                close = get_close_matches(name, self._table, 1)
                hint = f'; did you mean {close[0]}?' if close else ''
                yield f'there is no parameter {name}: it is ignored{hint}'

    def _declare(self, parameters: Sequence[Parameter]) -> None:
        for entry in parameters:
            self._table[entry.name] = entry
            declare(self._node, entry)

    def _on_set(self, changes: Sequence[Any]) -> SetParametersResult:
        """Check a change as a whole, and apply it only if all of it is valid."""
        from rcl_interfaces.msg import SetParametersResult

        try:
            # Skip use_sim_time and other parameters of rclpy.
            accepted = {
                change.name: self._checked(self._table[change.name], change.value)
                for change in changes
                if change.name in self._table
            }
            if self._complete:
                self._take_up({**self._values, **accepted})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=one_line(str(error)))
        self._values.update(accepted)
        return SetParametersResult(successful=True)

    def _checked(self, entry: Parameter, value: Any) -> Value:
        checked = entry.checked(value)
        changed = self._complete and self._values[entry.name] != checked
        if changed and entry.change is Changeable.CONFIGURE and self._is_configured():
            raise ParameterError(
                f'{entry.name} cannot change to {value!r} while the node is configured; '
                'deactivate it and clean it up first'
            )
        return checked

    def _take_up(self, values: Mapping[str, Value]) -> None:
        settings = build(Settings, values)
        mounts = {
            camera: build(MountSettings, values, mount_prefix(camera))
            for camera in settings.camera_names
        }
        self._check(settings, mounts)
        self.settings, self.mounts = settings, mounts
