# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Engines: one file each, all with the contract of `engine.Engine`."""

from __future__ import annotations

from typing import Dict, Type, Union

from segformer_ros.classes import ClassMap, load_class_map
from segformer_ros.engines.auto import AutoEngine
from segformer_ros.engines.engine import (
    UPSAMPLING,
    Engine,
    EngineError,
    EngineOptions,
    Outcome,
    Pending,
    Progress,
    Traffic,
    Wanted,
)
from segformer_ros.engines.fake import FakeEngine, fake_spec
from segformer_ros.engines.openvino import OpenVinoEngine
from segformer_ros.engines.tensorrt import TensorRtEngine
from segformer_ros.model import Declared, ModelSpec, load_model

ENGINES: Dict[str, Type[Engine]] = {
    'openvino': OpenVinoEngine,
    'fake': FakeEngine,
    'tensorrt': TensorRtEngine,
}


def model_for(
    engine: str,
    model: str = '',
    class_map: Union[str, ClassMap] = '',
    parameters: Declared = Declared(),
) -> ModelSpec:
    """The model that an engine, by name, is to run: the fake one needs no file.

    model, parameters: as load_model takes them. class_map: used in place of the model's, itself or
    by its name or file; '' takes the model's. Raises ModelError and ClassMapError.
    """
    chosen = class_map if isinstance(class_map, ClassMap) else None
    if isinstance(class_map, str) and class_map:
        chosen = load_class_map(class_map)
    if engine == FakeEngine.name and not model:
        return fake_spec(class_map=chosen)
    return load_model(model, chosen, parameters)


def create_engine(
    spec: ModelSpec, name: str = 'auto', options: EngineOptions = EngineOptions()
) -> Engine:
    """Make an engine by name, not yet active; 'auto' takes the best that this machine can run."""
    if name == AutoEngine.name:
        return AutoEngine(spec, options)
    if name not in ENGINES:
        raise EngineError(f'no engine {name!r}; use auto, {", ".join(ENGINES)}')
    return ENGINES[name](spec, options)


__all__ = [
    'ENGINES',
    'UPSAMPLING',
    'Engine',
    'EngineError',
    'EngineOptions',
    'Outcome',
    'Pending',
    'Progress',
    'Traffic',
    'Wanted',
    'create_engine',
    'fake_spec',
    'model_for',
]
