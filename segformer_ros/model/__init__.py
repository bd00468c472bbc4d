"""Models: what a file holds, recognised from the file itself."""

from segformer_ros.model.loading import (
    BUNDLED_MODELS,
    bundled_model,
    load_model,
)
from segformer_ros.model.recognition import UnknownContractError, recognise
from segformer_ros.model.spec import STRIDE, Declared, ModelError, ModelSpec

__all__ = [
    'BUNDLED_MODELS',
    'STRIDE',
    'Declared',
    'ModelError',
    'ModelSpec',
    'UnknownContractError',
    'bundled_model',
    'load_model',
    'recognise',
]
