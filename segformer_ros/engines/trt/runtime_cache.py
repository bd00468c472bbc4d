"""The runtime cache: kernels that TensorRT-RTX compiles at run time, kept for the next start."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Optional

from segformer_ros.engines.files import read_if_own, write_atomically

_log = logging.getLogger(__name__)


class RuntimeCache:
    """One engine's kernels in a file; nothing for versions that compile none.

    A file that another user could have written is not read, and one of another driver, GPU or
    version is refused by the library itself; both are written anew.
    """

    def __init__(self, path: Optional[Path]) -> None:
        self._path = path
        self._cache: Any = None
        self._kept = b''

    def attach(self, config: Any) -> None:
        """Have contexts of a runtime configuration start from the file."""
        if self._path is None or not hasattr(config, 'create_runtime_cache'):
            return
        cache = config.create_runtime_cache()
        if cache is None:
            return
        data = read_if_own(self._path) or b''
        if data and cache.deserialize(data):
            self._kept = data
        if config.set_runtime_cache(cache):
            self._cache = cache

    def save(self) -> None:
        """Write the file where there is more to keep than was read."""
        cache, self._cache = self._cache, None
        if cache is None or self._path is None:
            return
        try:
            data = bytes(cache.serialize())
            if data and data != self._kept:
                write_atomically(self._path, data)
        except Exception as error:  # the next start is slower, and nothing else
            _log.warning('the kernels of this run are not kept in %s: %s', self._path, error)
