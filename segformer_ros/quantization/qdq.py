# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Q/DQ: the network with explicit quantisation, as every TensorRT since 8 reads it."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Callable, Collection, Dict, Iterator, List, Optional, Sequence

import numpy as np

from segformer_ros.destination import write_file
from segformer_ros.errors import errors_alone, one_line
from segformer_ros.quantization.accuracy_gate import QuantizationError
from segformer_ros.quantization.layer_selection import constant_names

BINS = 2048
_NOTHING = 1e-30
"""Magnitude up to which a value counts as 0: narrower bins would be below float32's precision."""
LEVELS = 128
"""Number of magnitudes in symmetric INT8."""


class Histogram:
    """Histogram of the magnitudes of one tensor over any number of frames.

    When a value is beyond the last bin, neighbouring bins are merged and the limit is doubled, so
    that a single pass over the frames suffices.
    """

    def __init__(self) -> None:
        self.counts = np.zeros(BINS, np.int64)
        self.limit = 0.0

    def add(self, values: np.ndarray) -> None:
        """Count an array of any shape; raises ValueError where it is not finite."""
        magnitudes = np.abs(values, dtype=np.float32).ravel()
        greatest = float(magnitudes.max(initial=0.0))
        if not np.isfinite(greatest):
            raise ValueError('infinite or undefined values on a frame')
        if self.limit == 0.0 and greatest > _NOTHING:
            self.limit = greatest
        if self.limit == 0.0:
            self.counts[0] += magnitudes.size
            return
        while greatest > self.limit:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.concatenate([merged, np.zeros_like(merged)])
            self.limit *= 2
        places = (magnitudes * (BINS / self.limit)).astype(np.int32)
        self.counts += np.bincount(np.minimum(places, BINS - 1), minlength=BINS)

    def greatest(self) -> float:
        """The limit that clips no value."""
        used = np.flatnonzero(self.counts)
        return self.limit * (int(used[-1]) + 1) / BINS if used.size else 0.0

    def percentile(self, percent: float) -> float:
        """The limit that keeps `percent` of the values and clips the greatest."""
        share = np.cumsum(self.counts) / max(int(self.counts.sum()), 1)
        return self.limit * (int(np.searchsorted(share, percent / 100.0)) + 1) / BINS

    def entropy(self) -> float:
        """The limit whose INT8 version preserves most of the distribution's information.

        That is the least Kullback-Leibler divergence between the clipped distribution and its
        version of LEVELS levels (Migacz, "8-bit Inference with TensorRT", GTC 2017). The first bin
        is capped: an activation function makes many exact zeros, which would favour clipping.
        """
        counts = self.counts.copy()
        counts[0] = min(counts[0], counts[1])
        if not counts.any():
            return self.greatest()
        sizes = range(LEVELS, BINS + 1, LEVELS // 8)
        best = min(sizes, key=lambda size: _divergence(counts, size))
        return min(self.limit * best / BINS, self.greatest())


def _divergence(counts: np.ndarray, size: int) -> float:
    """KL divergence of the first `size` bins, the rest clipped into the last, from LEVELS levels.

    counts: (BINS,). A level spreads its count evenly over those of its bins that are not empty.
    """
    clipped = counts[:size].astype(np.float64)  # (size,)
    occupied = clipped > 0  # (size,) bool
    reference = clipped.copy()
    reference[-1] += counts[size:].sum()
    level = np.arange(size) * LEVELS // size  # (size,) level of each bin
    total = np.bincount(level, clipped, LEVELS)  # (LEVELS,)
    members = np.bincount(level, occupied, LEVELS)  # (LEVELS,) occupied bins
    mean = np.divide(total, members, out=np.zeros(LEVELS), where=members > 0)
    quantized = np.where(occupied, mean[level], 0.0)  # (size,)
    p, q = reference / reference.sum(), quantized / max(quantized.sum(), 1e-12)
    seen = (p > 0) & (q > 0)
    lost = p[(p > 0) & (q == 0)].sum()  # where q is 0, it is taken as 1e-12 of p
    return float((p[seen] * np.log(p[seen] / q[seen])).sum() + lost * np.log(1e12))


def choose_limits(
    histograms: Dict[str, Histogram], method: str, percent: float
) -> Dict[str, float]:
    """Limit of each tensor by 'percentile', 'entropy' or 'max'."""
    rules = {
        'percentile': lambda one: one.percentile(percent),
        'entropy': Histogram.entropy,
        'max': Histogram.greatest,
    }
    return {name: rules[method](one) for name, one in histograms.items()}


PER_CHANNEL_OPSET = 13
"""Since this opset Q/DQ may have a scale for each channel; TAO exports older ones."""

_STANDARD = ('', 'ai.onnx')
"""Both names of the domain of ONNX's own operators."""


def prepare(model: Any) -> Any:
    """The model with its constants folded and every node named, ready to be quantised.

    Raises QuantizationError for an old opset that cannot be converted, one that is too new, and
    unknown operators.
    """
    onnxruntime = _onnxruntime()
    model = _at_least(PER_CHANNEL_OPSET, model)
    with TemporaryDirectory() as folder:
        folded = Path(folder, 'folded.onnx')
        options = onnxruntime.SessionOptions()
        # Basic: folds constants and removes redundant nodes, but keeps to standard operators.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(folded)
        options.log_severity_level = 3
        content = model.SerializeToString()
        try:
            onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
        except Exception as error:  # of ONNX Runtime's own types
            write_file(folded, content)  # raises if the disk is full, which ONNX Runtime hides
            raise QuantizationError(
                f'ONNX Runtime, which measures the ranges, cannot run the model: {_cause(error)}'
            ) from error
        import onnx

        result = onnx.load(str(folded))
    for number, node in enumerate(result.graph.node):
        node.name = node.name or f'{node.op_type}_{number}'
    # ONNX Runtime adds the domains of its own operators, though none is used, and a graph merged
    # from two has the standard domain twice.
    standard = [entry for entry in result.opset_import if entry.domain in _STANDARD]
    del result.opset_import[:]
    result.opset_import.extend(standard[:1])
    _copy_metadata(model, result)
    return result


def _cause(error: Exception) -> str:
    """The cause of an error and what to do, without the locations in ONNX Runtime's source."""
    text = str(error).strip().splitlines()[-1]
    text = re.sub(r'^\[ONNXRuntimeError\] : \d+ : \w+ : (Load model from.*failed:)?', '', text)
    newest = re.search(r'till opset (\d+)', text)
    if newest is not None:
        return f'its opset is newer than {newest.group(1)}; export it with that one'
    return f'{text.rstrip(".")}; export it with the operators of the ONNX standard'


def _at_least(opset: int, model: Any) -> Any:
    """The model, converted where its opset is below; raises QuantizationError."""
    from onnx import shape_inference, version_converter

    versions = [one.version for one in model.opset_import if one.domain in _STANDARD]
    present = max(versions, default=1)
    if present >= opset:
        return model
    try:
        # The conversion of Softmax and others depends on shapes.
        shaped = shape_inference.infer_shapes(model)
        converted = version_converter.convert_version(shaped, opset)
        _onnxruntime().InferenceSession(
            converted.SerializeToString(), providers=['CPUExecutionProvider']
        )
    except Exception as error:  # the converter and ONNX Runtime raise types of their own
        raise QuantizationError(
            f'the model has opset {present}, INT8 needs {opset}, and it cannot be converted '
            f'({str(error).strip().splitlines()[-1]}); export it with opset {opset} or later'
        ) from error
    _copy_metadata(model, converted)
    return converted


def activation_names(model: Any, nodes: Collection[str]) -> List[str]:
    """Tensors that are quantised with these nodes: their inputs except constants."""
    constants = constant_names(model.graph)
    names = [
        name
        for node in model.graph.node
        if node.name in nodes
        for name in (node.input[:1] if node.op_type == 'Resize' else node.input)
        if name and name not in constants
    ]
    return list(dict.fromkeys(names))


def measure_ranges(
    model: Any, names: Sequence[str], inputs: Iterator[np.ndarray]
) -> Dict[str, Histogram]:
    """Histograms of tensors over network inputs.

    Raises QuantizationError where there are no inputs, or a layer's output is not finite.
    """
    import onnx

    onnxruntime = _onnxruntime()
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    present = {value.name for value in watched.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in present
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    source = session.get_inputs()[0].name
    fed = [name for name in names if name != source]
    histograms = {name: Histogram() for name in names}
    count = 0
    for pixels in inputs:
        count += 1
        for name, values in zip(fed, session.run(fed, {source: pixels})):
            try:
                histograms[name].add(values)
            except ValueError as error:
                raise QuantizationError(
                    f'{_layer(model, name)}: {error} (number {count} of those to calibrate with); '
                    'leave the frame out, or export the model again from weights that are finite'
                ) from error
        if source in histograms:
            histograms[source].add(pixels)
    if not count:
        raise QuantizationError('the calibration source gave no image that can be read')
    return histograms


def _layer(model: Any, tensor: str) -> str:
    """The layer that outputs a tensor, in words."""
    for node in model.graph.node:
        if tensor in node.output:
            return f'layer {node.name!r} ({node.op_type})'
    return f'tensor {tensor!r}'


def quantize_nodes(model: Any, nodes: Collection[str], limits: Dict[str, float]) -> Any:
    """The model with Q/DQ around these nodes: INT8, symmetric, per channel for weights.

    limits: by activation, the magnitude that becomes 127.
    """
    _onnxruntime()
    import onnx
    from onnxruntime.quantization import CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = activation_names(copy, nodes)
    ranges = {
        name: (np.float32(-_usable(limits[name])), np.float32(_usable(limits[name])))
        for name in names
    }
    # ONNX Runtime 1.19 adjusts the ranges of softmax, whether it is quantised or not.
    probabilities = [node.output[0] for node in copy.graph.node if node.op_type == 'Softmax']
    ranges.update({name: (np.float32(0), np.float32(1)) for name in probabilities})
    kinds = sorted({node.op_type for node in copy.graph.node if node.name in nodes})
    quantizer = QDQQuantizer(
        copy,
        per_channel=True,
        reduce_range=False,
        weight_qType=QuantType.QInt8,
        activation_qType=QuantType.QInt8,
        tensors_range=TensorsData(CalibrationMethod.MinMax, ranges),
        nodes_to_quantize=sorted(nodes),
        nodes_to_exclude=[],
        op_types_to_quantize=kinds,
        extra_options={
            'ActivationSymmetric': True,
            'WeightSymmetric': True,
            'AddQDQPairToWeight': True,
            'QuantizeBias': False,
            # Also a Resize whose input no other node quantises.
            'ForceQuantizeNoInputCheck': True,
            # An output is quantised only as the input of the next layer.
            'OpTypesToExcludeOutputQuantization': kinds,
        },
    )
    # The quantiser prints, and its advice goes to the root logger.
    with contextlib.redirect_stdout(io.StringIO()), errors_alone():
        quantizer.quantize_model()
        quantizer.model.topological_sort()
    result = quantizer.model.model
    _copy_metadata(model, result)
    return result


class _CalibrationReader:
    """Network inputs, with the interface that ONNX Runtime's and NVIDIA's tools expect."""

    def __init__(self, name: str, inputs: Callable[[], Iterator[np.ndarray]]) -> None:
        self._name, self._inputs = name, inputs
        self._left = inputs()

    def get_first(self) -> Dict[str, np.ndarray]:
        """The first one, however many were read so far."""
        return {self._name: next(self._inputs())}

    def get_next(self) -> Optional[Dict[str, np.ndarray]]:
        """The next one; None after the last."""
        pixels = next(self._left, None)
        return None if pixels is None else {self._name: pixels}


def quantize_by_modelopt(
    model: Any, inputs: Callable[[], Iterator[np.ndarray]], method: str
) -> Any:
    """The model with Q/DQ by nvidia-modelopt, which also measures the ranges.

    inputs: iterates over the calibration set from its beginning. method: 'entropy' or 'max'.
    Raises QuantizationError.
    """
    import onnx

    tool = require_modelopt()
    name = model.graph.input[0].name
    sides = 'x'.join(map(str, next(inputs()).shape))
    with TemporaryDirectory() as folder:
        source, result = Path(folder, 'model.onnx'), Path(folder, 'quantized.onnx')
        write_file(source, model.SerializeToString())
        # It prints, draws bars, and logs to the root logger.
        silence = io.StringIO()
        try:
            with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(
                silence
            ), errors_alone():
                tool.quantize(
                    str(source),
                    quantize_mode='int8',
                    calibration_data_reader=_CalibrationReader(name, inputs),
                    calibration_method=method,
                    calibration_eps=['cpu'],
                    calibration_shapes=f'{name}:{sides}',
                    high_precision_dtype='fp32',
                    output_path=str(result),
                    log_level='ERROR',
                )
            quantized = onnx.load(str(result))
        except Exception as error:  # of many kinds: its own, ONNX Runtime's, ONNX's
            raise QuantizationError(
                f'nvidia-modelopt cannot quantise the model ({type(error).__name__}: '
                f'{one_line(str(error))}); use --backend own'
            ) from error
    _copy_metadata(model, quantized)
    return quantized


def require_modelopt() -> Any:
    """NVIDIA's module that quantises ONNX files; raises QuantizationError where it is missing."""
    try:
        return importlib.import_module('modelopt.onnx.quantization')
    except ImportError as error:
        raise QuantizationError(
            f'--backend modelopt needs nvidia-modelopt and its ONNX dependencies ({error}): pip '
            "install 'segformer_ros[modelopt]', best in an environment of its own, since it "
            'requires certain versions of onnx and ONNX Runtime'
        ) from error


def _usable(limit: float) -> float:
    """A limit that gives a positive scale, also for a tensor of zeros."""
    return max(limit, 1e-6)


def _copy_metadata(source: Any, target: Any) -> None:
    del target.metadata_props[:]
    target.metadata_props.extend(source.metadata_props)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise QuantizationError(
            f'quantisation needs ONNX Runtime ({error}): pip install onnxruntime'
        ) from error
    return onnxruntime
