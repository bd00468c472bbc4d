"""The kernels wherever they run, held against the golden reference and against the CPU engines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import NamedTuple, Protocol

import numpy as np

from segformer_ros.drawing.overlay import blend
from segformer_ros.drivable.profile import IdSet, first_blocked_rows
from segformer_ros.engines.cuda import launches
from segformer_ros.engines.fake import fake_spec
from segformer_ros.engines.placement import Fit, LogitMosaic, covered, fit_frame, windows
from segformer_ros.engines.upsampling import confidence_map
from segformer_ros.frame import Frame
from segformer_ros.model import STRIDE
from segformer_ros.model.spec import IMAGENET_MEAN, IMAGENET_STD
from tools.benchmarks.reference import resize_bilinear

TIE = 1e-3
"""Scores closer than this may fall either way in FP32."""

CLASSES = 19
DRIVABLE = (0, 1, 9)
OPACITY = 0.4
SIZES = ((96, 160), (37, 53), (1, 1), (241, 135), (130, 333))


class Device(Protocol):
    """Where kernels run."""

    def put(self, array: np.ndarray) -> int:
        """Copy an array to the device; its address."""

    def get(self, address: int, like: np.ndarray) -> np.ndarray:
        """Copy an array of this shape and type back."""

    def launch(self, job: launches.Launch) -> None:
        """Run a kernel; done when the next `get` returns."""


class Finding(NamedTuple):
    """One comparison. wrong: share of the values that differ by more than rounding."""

    kernel: str
    case: str
    wrong: float


def check_all(device: Device) -> list[str]:
    """What differs from the reference, in words; nothing where all is well."""
    return [
        f'{found.kernel} of {found.case}: {found.wrong:.2e} of the values are wrong'
        for found in _findings(device)
        if found.wrong
    ]


def _findings(device: Device) -> Iterator[Finding]:
    for kind, size in product((np.float32, np.float16), SIZES):
        yield from _check_postprocess(device, size, np.dtype(kind))
        for encoding in launches.BYTE_ORDER:
            yield _check_preprocess(device, encoding, size, np.dtype(kind))
    for kind in (np.float32, np.float16):
        yield _check_mosaic(device, np.dtype(kind))


def _check_preprocess(
    device: Device, encoding: str, size: tuple[int, int], kind: np.dtype
) -> Finding:
    """The network's input of a frame whose rows are padded."""
    spec = replace(
        fake_spec((96, 160)), color='rgb', fit='letterbox', mean=IMAGENET_MEAN, std=IMAGENET_STD
    )
    frame, image = _put_frame(device, encoding, size)
    fit = fit_frame(size, spec.size, spec.fit)
    target = np.zeros((1, 3, *spec.size), kind)
    tensor = launches.Tensor(device.put(target), target.shape, 'NCHW', kind)
    device.launch(launches.preprocess_job([image], [fit], tensor, spec))
    result = device.get(tensor.address, target)[0].astype(np.float64)
    mean, std = (np.array(values)[:, None, None] for values in (spec.mean, spec.std))
    golden = np.zeros((3, *spec.size))
    colors = np.moveaxis(frame.bgr().astype(np.float64), -1, 0)[::-1]
    height, width = fit.content
    golden[:, :height, :width] = resize_bilinear(colors, fit.content)
    # Half a level of rounding, and what FP16 adds.
    allowed = 0.5 + (0.13 if kind == np.float16 else 1e-3)
    wrong = np.abs(result * std + mean - golden) > allowed
    return Finding('preprocess', f'{encoding} {size}, {kind}', float(wrong.mean()))


def _check_postprocess(device: Device, size: tuple[int, int], kind: np.dtype) -> Iterator[Finding]:
    """Labels and all that comes of them."""
    frame, image = _put_frame(device, 'rgb8', size)
    scores = np.random.default_rng(1).normal(0, 3, (1, CLASSES, 32, 48)).astype(kind)
    tensor = launches.Tensor(device.put(scores), scores.shape, 'NCHW', kind)
    cells = np.zeros((32, 48), np.float32)
    best = device.put(cells)
    rivals = device.put(cells.astype(np.uint32))
    device.launch(launches.cells_job(tensor, 1, best=best, rivals=rivals))
    labels, overlay = np.zeros(size, np.uint8), np.zeros((*size, 3), np.uint8)
    rows = np.full(size[1], -1, np.int32)
    output = launches.FrameOutput(
        *size,
        Fit((1, 1), (1, 1)),
        labels=device.put(labels),
        confidence=device.put(labels),
        overlay=device.put(overlay),
        blocked=device.put(rows),
        image=image,
    )
    palette = fake_spec().class_map.palette_bgr
    coloring = launches.Coloring(device.put(palette), OPACITY, DRIVABLE)
    device.launch(launches.postprocess_job([output], tensor, None, rivals, best, 0.0, coloring))
    labels, confidence, overlay, rows = (
        device.get(getattr(output, name), like)
        for name, like in (
            ('labels', labels), ('confidence', labels), ('overlay', overlay), ('blocked', rows)
        )
    )  # fmt: skip
    golden = resize_bilinear(scores[0], size)
    ranked = np.sort(golden, axis=0)
    wrong = (labels != golden.argmax(axis=0)) & (ranked[-1] - ranked[-2] > TIE)
    yield Finding('postprocess', f'labels {size}, {kind}', float(wrong.mean()))
    certain = confidence_map(scores[0].astype(np.float32), size)
    wrong = np.abs(confidence.astype(int) - certain) > 1
    yield Finding('cells', f'confidence {size}, {kind}', float(wrong.mean()))
    wrong = np.abs(overlay.astype(int) - blend(frame.bgr(), labels, palette, OPACITY)) > 1
    yield Finding('postprocess', f'overlay {size}, {kind}', float(wrong.mean()))
    starts = np.full(size[1], size[0] - 1, np.int32)
    wrong = rows != first_blocked_rows(labels, IdSet(DRIVABLE), starts)
    yield Finding('postprocess', f'blocked rows {size}, {kind}', float(wrong.mean()))


def _check_mosaic(device: Device, kind: np.dtype) -> Finding:
    """The logits of windows, merged in two batches."""
    frame, crop = (150, 331), (64, 96)
    todo = windows(frame, crop, 0)
    cells = (crop[0] // STRIDE, crop[1] // STRIDE)
    logits = np.random.default_rng(2).normal(0, 3, (len(todo), CLASSES, *cells)).astype(kind)
    golden = LogitMosaic(CLASSES, frame)
    for window, scores in zip(todo, logits, strict=True):
        golden.add(window, scores.astype(np.float32))
    height, width = covered(frame)
    merged = np.zeros((1, CLASSES, height // STRIDE, width // STRIDE), np.float32)
    mosaic = launches.Mosaic(
        launches.Tensor(device.put(merged), merged.shape, 'NCHW', merged.dtype),
        device.put(merged[0, 0]),
        STRIDE,
    )
    half = -(-len(todo) // 2)
    for place in (slice(half), slice(half, None)):
        part = logits[place]
        tensor = launches.Tensor(device.put(part), part.shape, 'NCHW', kind)
        device.launch(
            launches.mosaic_job(tensor, todo[place], mosaic, not place.start, place.stop is None)
        )
    result = device.get(mosaic.tensor.address, merged)[0]
    wrong = ~np.isclose(result, golden.mean(), rtol=1e-5, atol=1e-5)
    return Finding('mosaic', f'{len(todo)} windows, {kind}', float(wrong.mean()))


def _put_frame(
    device: Device, encoding: str, size: tuple[int, int]
) -> tuple[Frame, launches.Image]:
    """A frame of noise, here and on the device; its rows lie apart by more than their pixels."""
    channels = len(launches.BYTE_ORDER[encoding])
    shape = (size[0], size[1] + 7, channels)[: 2 if channels == 1 else 3]
    padded = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    frame = Frame.from_array(padded[:, : size[1]], encoding)
    return frame, launches.Image(device.put(padded), padded.strides[0], *size, encoding)
