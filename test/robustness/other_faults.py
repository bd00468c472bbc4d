# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Faults of stamps, calibrations, mounts, parameters and lifecycle requests, of any camera."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from robustness.faults import Await, Camera, Outcome, Pause, Publish, Request, Step, fault
from robustness.image_faults import MEGABYTES
from robustness.scenes import HEIGHT, WIDTH, camera_info
from sensor_msgs.msg import CameraInfo

TAKE_UP = Pause(0.03)
"""For the executor to take up a message before the next."""

# --- Stamps and frames of reference -----------------------------------------------------------


def _stamped(name: str, sec: int, nanosec: int, outcome: Outcome = Outcome.NOT_VALID) -> None:
    @fault(name, outcome)
    def make(rng: np.random.Generator, camera: Camera) -> list[Step]:
        message = camera.closed()
        message.header.stamp.sec = sec
        # Its last digits tell it from the others of its kind.
        message.header.stamp.nanosec = nanosec + int(rng.integers(1, 100_000))
        return [Publish(message, keeps_stamp=True)]


_stamped('a stamp of zero', 0, 0)
_stamped('a negative stamp', -(2**31), 0)
_stamped('a stamp in the far future', 2**31 - 1, 999_000_000)
_stamped('nanoseconds above a second', 0, 4_294_000_000)


@fault('a stamp behind the one before', Outcome.ANSWERED)
def _backward(rng: np.random.Generator, camera: Camera) -> list[Step]:
    return [Publish(camera.closed(), early=float(rng.uniform(0.05, 0.4)))]


@fault('two images of one stamp', Outcome.NOT_VALID)
def _equal(rng: np.random.Generator, camera: Camera) -> list[Step]:
    message = camera.closed()
    message.header.stamp.sec = int(rng.integers(1, 1000))
    message.header.stamp.nanosec = int(rng.integers(0, 10**9))
    return [Publish(message, keeps_stamp=True), Await(), Publish(message, keeps_stamp=True)]


@fault('stamps a nanosecond apart', Outcome.NOT_VALID)
def _nanoseconds(rng: np.random.Generator, camera: Camera) -> list[Step]:
    """A dozen and a half that are, then some that lack a thousand million such periods."""
    steps: list[Step] = []
    stamp = int(rng.integers(10**12, 10**15))
    for apart in [1] * 18 + [3 * 10**8, 15 * 10**8, 7 * 10**8, 19 * 10**8]:
        stamp += apart
        message = camera.closed()
        message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)
        steps += [Publish(message, keeps_stamp=True), Pause(0.01)]
    return steps


@fault('stamps in bursts', Outcome.SAFE)
def _bursts(rng: np.random.Generator, camera: Camera) -> list[Step]:
    """As of a driver that stamps on arrival from USB: three at once, then none for a while."""
    steps: list[Step] = []
    for _ in range(5):
        for place in range(3):
            early = 0.05 - place * 1e-4 * float(rng.random())
            steps += [Publish(camera.closed(), early=early), Pause(0.012)]
        steps += [Pause(0.06)]
    return steps


@fault('a frame_id of megabytes', Outcome.SAFE)
def _long_frame(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del rng
    message = camera.closed()
    message.header.frame_id = 'f' * (MEGABYTES // 3)
    return [Publish(message)]


@fault('a frame_id that drives terminals', Outcome.SAFE)
def _wild_frame(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del rng
    message = camera.closed()
    message.header.frame_id = '\x1b[31mframe\n\r\x07'
    return [Publish(message)]


# --- Calibrations -----------------------------------------------------------------------------

Calibrate = Callable[[np.random.Generator, CameraInfo], None]


def _calibrated(
    name: str, outcome: Outcome = Outcome.NO_METRES
) -> Callable[[Calibrate], Calibrate]:
    """A fault of camera_info, and an image after it."""

    def enter(change: Calibrate) -> Calibrate:
        @fault(name, outcome)
        def make(rng: np.random.Generator, camera: Camera) -> list[Step]:
            info = camera_info()
            change(rng, info)
            return [Publish(info), TAKE_UP, Publish(camera.closed())]

        return change

    return enter


@_calibrated('camera_info with a NaN in K')
def _nan(rng: np.random.Generator, info: CameraInfo) -> None:
    info.k[int(rng.choice([0, 2, 4, 5]))] = math.nan


@_calibrated('camera_info with an infinity in K')
def _infinite(rng: np.random.Generator, info: CameraInfo) -> None:
    info.k[int(rng.choice([0, 2, 4, 5]))] = math.inf * float(rng.choice([-1, 1]))


@_calibrated('camera_info without a calibration')
def _zero(rng: np.random.Generator, info: CameraInfo) -> None:
    del rng
    info.k = [0.0] * 9


@_calibrated('camera_info with a focal length of 1e300')
def _huge(rng: np.random.Generator, info: CameraInfo) -> None:
    power = float(rng.uniform(12, 308))
    info.k[0] = info.k[4] = 10.0**power


@_calibrated('camera_info with a focal length of 1e-300')
def _tiny(rng: np.random.Generator, info: CameraInfo) -> None:
    info.k[0] = info.k[4] = 10.0 ** -float(rng.uniform(12, 308))


@_calibrated('camera_info with a negative focal length')
def _negative(rng: np.random.Generator, info: CameraInfo) -> None:
    info.k[int(rng.choice([0, 4]))] *= -1


@_calibrated('camera_info with too many coefficients')
def _coefficients(rng: np.random.Generator, info: CameraInfo) -> None:
    info.d = [0.1] * int(rng.choice([1, 3, 6, 100_000]))


@_calibrated('camera_info with a NaN in D')
def _nan_distortion(rng: np.random.Generator, info: CameraInfo) -> None:
    info.d[int(rng.integers(5))] = float(rng.choice([math.nan, math.inf]))


@_calibrated('camera_info with an unknown distortion model')
def _unknown_model(rng: np.random.Generator, info: CameraInfo) -> None:
    info.distortion_model = str(rng.choice(['mei', 'double_sphere', 'PLUMB_BOB', '\x1b[2J\n']))


@_calibrated('camera_info with a model of megabytes')
def _long_model(rng: np.random.Generator, info: CameraInfo) -> None:
    del rng
    info.distortion_model = 'm' * MEGABYTES


@_calibrated('camera_info of another size')
def _other_size(rng: np.random.Generator, info: CameraInfo) -> None:
    info.width = int(rng.choice([0, 1, WIDTH // 2, WIDTH + 1, 2**32 - 1]))


@_calibrated('camera_info with an ROI outside its sensor')
def _roi(rng: np.random.Generator, info: CameraInfo) -> None:
    info.roi.x_offset = int(rng.integers(1, 2**32))
    info.roi.width, info.roi.height = WIDTH, HEIGHT


@_calibrated('camera_info with a binning of 4 G')
def _binning(rng: np.random.Generator, info: CameraInfo) -> None:
    info.binning_x = int(rng.choice([3, 1000, 2**32 - 1]))


@_calibrated('camera_info at random', Outcome.SAFE)
def _any(rng: np.random.Generator, info: CameraInfo) -> None:
    values = [0.0, 1e-300, 1e-9, 1.0, 50.0, 1e9, 1e300, -1.0, math.nan, math.inf]
    for place in rng.integers(0, 9, 2):
        info.k[int(place)] = float(rng.choice(values))
    info.distortion_model = str(
        rng.choice(['plumb_bob', 'rational_polynomial', 'equidistant', 'fisheye', 'none', ''])
    )
    counts = {'rational_polynomial': 8, 'equidistant': 4, 'fisheye': 4, 'none': 0, '': 0}
    count = counts.get(info.distortion_model, 5)
    info.d = (rng.normal(0, 1, count) * 10.0 ** rng.uniform(-3, 6)).tolist()


# --- Mounts and parameters --------------------------------------------------------------------


def _set(**values: float | str | bool) -> Request:
    """Request to set parameters; `__` stands for a dot."""
    kinds = {float: 'double', str: 'string', bool: 'bool'}
    request = SetParameters.Request()
    for name, value in values.items():
        kind = kinds[type(value)]
        entry = ParameterValue(type=getattr(ParameterType, f'PARAMETER_{kind.upper()}'))
        setattr(entry, f'{kind}_value', value)
        request.parameters.append(Parameter(name=name.replace('__', '.'), value=entry))
    return Request('set_parameters', SetParameters, request)


_MOUNT = _set(mount__roll=0.0, mount__pitch=0.0, mount__yaw=0.0)


def _mounted(
    name: str,
    roll: tuple[float, float],
    pitch: float = 0.0,
    yaw: float = 0.0,
    outcome: Outcome = Outcome.ANSWERED,
) -> None:
    @fault(name, outcome)
    def make(rng: np.random.Generator, camera: Camera) -> list[Step]:
        angle = math.radians(float(rng.uniform(*roll)) * float(rng.choice([-1, 1])))
        mount = _set(mount__roll=angle, mount__pitch=pitch, mount__yaw=yaw)
        return [mount, Publish(camera.closed()), Await(), _MOUNT]


_mounted('a camera upside down', (120.0, 180.0))
_mounted('a camera on its side', (80.0, 120.0))
_mounted('a camera that looks straight down', (0.0, 180.0), pitch=math.pi / 2)
_mounted('a camera that looks into the sky', (0.0, 180.0), pitch=-1.3, outcome=Outcome.NO_METRES)
_mounted('a camera that looks backward', (0.0, 180.0), yaw=math.pi)


@fault('a parameter that is NaN', Outcome.KEPT)
def _nan_parameter(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    name = str(rng.choice(['mount__height', 'drivable__max_age', 'drivable__grid__resolution']))
    return [_set(**{name: float(rng.choice([math.nan, math.inf, -math.inf, -1.0, 1e300]))})]


@fault('a parameter of another type', Outcome.KEPT)
def _typed_parameter(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    name = str(rng.choice(['mask_width', 'drivable__max_age', 'enabled', 'upsampling']))
    return [_set(**{name: 'x' * int(rng.choice([0, 3, MEGABYTES]))})]


@fault('an unknown parameter', Outcome.KEPT)
def _unknown_parameter(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del rng, camera
    return [_set(no__such='\x1b[2J')]


@fault('images older than drivable.max_age', Outcome.NOT_VALID)
def _old(rng: np.random.Generator, camera: Camera) -> list[Step]:
    steps: list[Step] = [_set(drivable__max_age=0.05)]
    for _ in range(3):
        steps += [Publish(camera.closed(), early=float(rng.uniform(0.3, 1.0))), Await()]
    return [*steps, Pause(0.5), _set(drivable__max_age=60.0)]


# --- Lifecycle --------------------------------------------------------------------------------

_CLEANUP, _ACTIVATE, _DEACTIVATE = 2, 3, 4
_WRONG_WHEN_ACTIVE = (0, 1, 2, 3, 5, 6, 8, 10, 60, 99, 255)
_WRONG_WHEN_INACTIVE = (0, 1, 4, 5, 7, 8, 99, 255)


def _transition(number: int, label: str = '') -> Request:
    request = ChangeState.Request()
    request.transition.id, request.transition.label = number, label
    return Request('change_state', ChangeState, request)


@fault('lifecycle requests that do not fit an active node', Outcome.KEPT)
def _wrong_when_active(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    label = str(rng.choice(['', 'configure', 'no such', 'x' * 100_000]))
    # rclpy takes an id of 0 with a label by the label.
    number = int(rng.choice(_WRONG_WHEN_ACTIVE))
    return [_transition(number, label if label != 'shutdown' else '')]


@fault('lifecycle requests that do not fit an inactive node', Outcome.KEPT)
def _wrong_when_inactive(rng: np.random.Generator, camera: Camera) -> list[Step]:
    del camera
    wrong = _transition(int(rng.choice(_WRONG_WHEN_INACTIVE)))
    return [_transition(_DEACTIVATE), wrong, _transition(_ACTIVATE), Pause(0.3)]
