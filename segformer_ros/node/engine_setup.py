"""From the node's parameters to an engine that is not yet active."""

from __future__ import annotations

from pathlib import Path
from typing import Optional, Tuple

from segformer_ros.classes import load_class_map
from segformer_ros.engines import Engine, EngineOptions, create_engine, fake_spec
from segformer_ros.model import Declared, ModelError, load_model
from segformer_ros.node.build_progress import BuildProgress
from segformer_ros.node.parameters import NetworkSettings, Settings


def make_engine(settings: Settings) -> Engine:
    """Recognise the model and choose its engine; raises ModelError, ClassMapError, EngineError."""
    class_map = load_class_map(settings.class_map) if settings.class_map else None
    if settings.engine == 'fake' and not settings.model:
        spec = fake_spec(class_map=class_map)
    else:
        spec = load_model(settings.model, class_map, declared(settings.network))
    options = EngineOptions(
        precision=settings.precision,
        threads=settings.threads,
        device=settings.device,
        max_batch=max(len(settings.camera_names), 1),
        cache_dir=Path(settings.cache_dir) if settings.cache_dir else None,
        inference=settings.inference,
        slide_stride=settings.slide_stride,
        fake_delay=settings.fake_delay,
    )
    engine = create_engine(spec, settings.engine, options)
    engine.progress = BuildProgress()
    return engine


def declared(network: NetworkSettings) -> Declared:
    """What the parameters say of the model; raises ModelError."""
    if bool(network.height) != bool(network.width):
        raise ModelError(
            f'network.height is {network.height} and network.width {network.width}; give both, or '
            'none to take what the model says'
        )
    size = (network.height, network.width) if network.height else None
    return Declared(
        origin='the parameters network.*',
        contract=network.contract or None,
        color=network.color or None,
        mean=_three('network.mean', network.mean),
        std=_three('network.std', network.std),
        fit=network.fit or None,
        size=size,
    )


def _three(name: str, text: str) -> Optional[Tuple[float, ...]]:
    if not text:
        return None
    try:
        numbers = tuple(float(part) for part in text.split(','))
    except ValueError:
        numbers = ()
    if len(numbers) != 3 or (name.endswith('std') and 0.0 in numbers):
        raise ModelError(
            f'{name} is {text!r}; it must be three numbers separated by commas, such as '
            '127.5,127.5,127.5'
        )
    return numbers
