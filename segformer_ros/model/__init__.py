"""Models: what a file holds, recognised from the file itself."""

from segformer_ros.model.declared import Declared
from segformer_ros.model.loading import bundled_model, load_model, recognise
from segformer_ros.model.spec import STRIDE, ModelError, ModelSpec

__all__ = [
    'STRIDE',
    'Declared',
    'ModelError',
    'ModelSpec',
    'bundled_model',
    'load_model',
    'recognise',
]
