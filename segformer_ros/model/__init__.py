"""Models: what a file holds, recognised from the file itself."""

from segformer_ros.model.loading import (
    BUNDLED_MODELS,
    bundled_model,
    load_model,
    recognise,
)
from segformer_ros.model.spec import STRIDE, Declared, ModelError, ModelSpec

__all__ = [
    'BUNDLED_MODELS',
    'STRIDE',
    'Declared',
    'ModelError',
    'ModelSpec',
    'bundled_model',
    'load_model',
    'recognise',
]
