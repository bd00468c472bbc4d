"""Models: what a file holds, recognised from the file itself."""

from segformer_ros.model.declared import Declared
from segformer_ros.model.loading import bundled_model, load_model_spec, recognise
from segformer_ros.model.spec import ModelError, ModelSpec

__all__ = [
    'Declared',
    'ModelError',
    'ModelSpec',
    'bundled_model',
    'load_model_spec',
    'recognise',
]
