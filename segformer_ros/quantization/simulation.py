"""A network run as it is written, on the CPU, to know what its rounding costs in accuracy."""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import numpy as np

from segformer_ros.engines import EngineOptions
from segformer_ros.engines.cpu import CpuEngine
from segformer_ros.model import ModelSpec
from segformer_ros.model.model_files import read_whole_onnx


class SimulatedEngine(CpuEngine):
    """Runs an ONNX by ONNX Runtime without fusing anything.

    Each value is rounded where the graph says so, to its INT8 level or to FP16, and the
    arithmetic between is FP32, as in TensorRT's INT8 layers, whose sums are exact. model: a
    ModelProto of the spec's contract.
    """

    name = 'simulated'
    precisions = ('auto',)

    def __init__(self, spec: ModelSpec, model: Any = None, threads: int = 0) -> None:
        super().__init__(spec, EngineOptions(threads=threads))
        self._model = model
        self._session: Any = None

    @property
    def active(self) -> bool:
        """Whether the network is loaded."""
        return self._session is not None

    def activate(self) -> None:
        """Load the network."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.add_session_config_entry('session.disable_quant_qdq', '1')
        options.intra_op_num_threads = self.options.threads
        options.log_severity_level = 3
        model = self._model if self._model is not None else read_whole_onnx(self.spec.path)
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=['CPUExecutionProvider']
        )

    def deactivate(self) -> None:
        """Free the network."""
        self._session = None

    def facts(self) -> Dict[str, str]:
        """What it is."""
        return {'engine': self.name, 'device': 'CPU', 'precision': 'as in the graph'}

    def network_input(self, pixels: np.ndarray) -> np.ndarray:
        """What the bare network takes for (1, h, w, 3) uint8 BGR pixels."""
        spec = self.spec
        if spec.input_dtype == 'uint8' and spec.color == 'rgb':
            pixels = pixels[..., ::-1]
        elif spec.input_dtype != 'uint8':
            ordered = pixels[..., ::-1] if spec.color == 'rgb' else pixels
            mean, std = np.asarray(spec.mean, np.float32), np.asarray(spec.std, np.float32)
            pixels = (ordered.astype(np.float32) - mean) / std
        if spec.input_layout == 'NCHW':
            pixels = pixels.transpose(0, 3, 1, 2)
        return np.ascontiguousarray(pixels)

    def bare(self, network_input: np.ndarray) -> np.ndarray:
        """The network's output for what `network_input` gave."""
        return self.outputs(network_input, [self.spec.output_name])[0]

    def outputs(self, network_input: np.ndarray, names: Sequence[str]) -> List[np.ndarray]:
        """Outputs of the graph by name, for what `network_input` gave."""
        found: List[np.ndarray] = self._session.run(names, {self.spec.input_name: network_input})
        return found

    def _infer(self, pixels: np.ndarray) -> np.ndarray:
        return self._arranged(self.bare(self.network_input(pixels))[0])
