"""The software without ROS: Python, the libraries, the CPU engine, the model."""

from __future__ import annotations

import importlib.util
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Iterator, Optional, Tuple

from segformer_ros.doctor.finding import Finding, Verdict
from segformer_ros.engines.openvino import import_openvino
from segformer_ros.model import ModelError, load_model_spec

_PART = 'software'

# Module, the distributions that bring it, what for, what to type where it is missing.
_LIBRARIES = (
    ('cv2', ('opencv-python-headless', 'opencv-python', 'opencv'), '', 'opencv-python-headless'),
    ('onnx', ('onnx',), '', 'onnx'),
    ('rosbags', ('rosbags',), 'bags cannot be read', 'rosbags'),
    ('mcap', ('mcap',), 'bags in mcap files cannot be read or written', 'mcap'),
    ('av', ('av',), 'videos cannot be read or written', 'av'),
)


def examine_software() -> Iterator[Finding]:
    """Python, libraries, the CPU engine and the bundled model."""
    yield Finding(_PART, 'Python', Verdict.OK, platform.python_version())
    for module, distributions, loss, package in _LIBRARIES:
        yield _library(module, distributions, loss, package)
    yield _openvino()
    yield _bundled_model()


def installed_version(*distributions: str) -> Optional[str]:
    """Version of the first of these distributions that is installed."""
    for distribution in distributions:
        try:
            return version(distribution)
        except PackageNotFoundError:
            continue
    return None


def _library(module: str, distributions: Tuple[str, ...], loss: str, package: str) -> Finding:
    if importlib.util.find_spec(module) is not None:
        # A system's own build may carry no metadata.
        return Finding(_PART, module, Verdict.OK, installed_version(*distributions) or 'installed')
    verdict = Verdict.WARNING if loss else Verdict.BROKEN
    return Finding(_PART, module, verdict, loss or 'missing', f'pip install {package}')


def _openvino() -> Finding:
    name = 'OpenVINO (CPU engine)'
    try:
        openvino = import_openvino()
        devices = ', '.join(openvino.Core().available_devices)
    except ImportError:
        return Finding(
            _PART, name, Verdict.WARNING, 'missing: no engine for the CPU', 'pip install openvino'
        )
    except Exception as error:  # its plugins raise their own kinds
        return Finding(_PART, name, Verdict.BROKEN, str(error), 'pip install -U openvino')
    return Finding(_PART, name, Verdict.OK, f'{openvino.__version__.split("-")[0]} on {devices}')


def _bundled_model() -> Finding:
    try:
        spec = load_model_spec()
    except (ModelError, OSError) as error:
        return Finding(
            _PART, 'bundled model', Verdict.BROKEN, str(error), 'reinstall the package, or name '
            'another with the parameter `model`',
        )  # fmt: skip
    size = spec.path.stat().st_size / 2**20
    detail = (
        f'{spec.path.name}, {size:.1f} MiB, {spec.size_in_words}, {len(spec.class_map)} classes'
    )
    return Finding(_PART, 'bundled model', Verdict.OK, detail)
