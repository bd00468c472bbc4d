# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Augmentation of one frame and its labels: geometry, light, colour, sensor, pasted objects.

Every random number comes from the generator that is handed in, so a frame's augmentation is a
function of (seed, step, slot) alone. Images are (H, W, 3) uint8 BGR, labels (H, W) uint8.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from tools.training.taxonomy import IGNORE_ID

Image = np.ndarray
Labels = np.ndarray


@dataclass(frozen=True)
class AugmentConfig:
    """How far frames are pushed; every range is what training sees, so also its limits."""

    frame: tuple[int, int] = (384, 512)  # height, width that a frame fits into at scale 1
    scale: tuple[float, float] = (0.6, 1.8)
    aspect: float = 1.33  # width/height is stretched by up to this factor, either way
    rotation: float = 3.0  # degrees, either way
    flip: float = 0.5
    rare_crop: float = 0.5  # share of crops that are aimed at a pixel of a rare class
    paste: float = 0.4  # share of crops that get the rare objects of another crop
    light: float = 0.7  # share of crops whose light is changed
    exposure: tuple[float, float] = (-2.0, 1.0)  # stops
    white_balance: float = 0.18  # standard deviation of each channel's log gain
    saturation: tuple[float, float] = (0.2, 1.6)
    shade: float = 0.3  # share with a brightness ramp across the frame
    rain: float = 0.0  # share with streaks of rain, its haze and drops on the lens
    blur: float = 0.2
    noise: float = 0.35
    jpeg: float = 0.15


def augment(
    image: Image,
    labels: Labels,
    crop: tuple[int, int],
    rare: tuple[int, ...],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> tuple[Image, Labels]:
    """One training crop (height, width) = `crop` of one frame, labels still aligned."""
    matrix = sample_transform(labels, crop, rare, config, rng)
    image, labels = warp(image, labels, matrix, crop, rng)
    if rng.random() < config.light:
        image = relight(image, config, rng)
    if rng.random() < config.rain:
        image = rain(image, rng)
    return degrade(image, config, rng), labels


def sample_transform(
    labels: Labels,
    crop: tuple[int, int],
    rare: tuple[int, ...],
    config: AugmentConfig,
    rng: np.random.Generator,
) -> np.ndarray:
    """(2, 3) affine matrix from source pixels to crop pixels: scale, aspect, turn, flip, place."""
    height, width = labels.shape
    fit = min(config.frame[0] / height, config.frame[1] / width)
    scale = fit * np.exp(rng.uniform(*np.log(config.scale)))
    stretch = np.exp(rng.uniform(-0.5, 0.5) * np.log(config.aspect))
    angle = np.deg2rad(rng.uniform(-config.rotation, config.rotation))
    sx, sy = scale * stretch, scale / stretch
    if rng.random() < config.flip:
        sx = -sx
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.diag([sx, sy])
    # The crop's centre in source pixels: anywhere that keeps the crop inside, as far as it can.
    half = np.array([crop[1] / 2 / abs(sx), crop[0] / 2 / sy])
    size = np.array([width, height], float)
    low, high = np.minimum(half, size / 2), np.maximum(size - half, size / 2)
    centre = rng.uniform(low, high)
    if rng.random() < config.rare_crop:
        target = _rare_pixel(labels, rare, rng)
        if target is not None:
            centre = np.clip(target + rng.uniform(-0.7, 0.7, 2) * half, low, high)
    offset = np.array([crop[1], crop[0]]) / 2 - linear @ centre
    return np.column_stack([linear, offset])


def _rare_pixel(
    labels: Labels, rare: tuple[int, ...], rng: np.random.Generator
) -> np.ndarray | None:
    """(x, y) of a random pixel of a random rare class in the frame, None where there is none."""
    coarse = labels[::4, ::4]
    present = [c for c in rare if (coarse == c).any()]
    if not present:
        return None
    ys, xs = np.nonzero(coarse == present[rng.integers(len(present))])
    i = rng.integers(len(ys))
    return np.array([xs[i] * 4.0, ys[i] * 4.0])


def warp(
    image: Image,
    labels: Labels,
    matrix: np.ndarray,
    crop: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[Image, Labels]:
    """Applies one affine matrix to both; outside the frame: plain grey, label 255."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 0.8:  # bilinear sampling would alias
        image = cv2.GaussianBlur(image, (0, 0), 0.5 / scale)
    size = (crop[1], crop[0])
    grey = int(rng.choice(np.array([0, 114, rng.integers(256)])))
    warped = cv2.warpAffine(
        image, matrix, size, flags=cv2.INTER_LINEAR, borderValue=(grey, grey, grey)
    )
    warped_labels = cv2.warpAffine(
        labels, matrix, size, flags=cv2.INTER_NEAREST, borderValue=IGNORE_ID
    )
    return warped, warped_labels


def relight(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """Another hour and another camera: exposure in linear light, tone curve, colour cast."""
    gain = np.exp2(rng.uniform(*config.exposure)) * np.exp(
        rng.normal(0.0, config.white_balance, 3)
    )
    gamma = np.exp(rng.uniform(-0.35, 0.35))
    contrast = rng.uniform(0.6, 1.3)
    lift = rng.uniform(-0.08, 0.12)
    linear = (np.arange(256) / 255.0) ** 2.2
    curve = np.clip(linear[:, None] * gain, 0.0, 1.0) ** (gamma / 2.2)
    curve = (curve - 0.45) * contrast + 0.45 + lift
    table = (np.clip(curve, 0.0, 1.0) * 255.0).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(1, 256, 3))
    saturation = rng.uniform(*config.saturation)
    luma = np.array([0.114, 0.587, 0.299], np.float32)
    mix = saturation * np.eye(3, dtype=np.float32) + (1.0 - saturation) * luma[None, :]
    image = cv2.transform(image, mix)
    if rng.random() < config.shade:
        image = _shade(image, rng)
    return image


def _shade(image: Image, rng: np.random.Generator) -> Image:
    """Multiplies by a soft ramp across the frame: low sun, vignetting, a shadowed side."""
    height, width = image.shape[:2]
    corners = rng.uniform(0.35, 1.3, (2, 2)).astype(np.float32)
    ramp = cv2.resize(corners, (width, height), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(image, cv2.merge([ramp, ramp, ramp]), dtype=cv2.CV_8U)


def rain(image: Image, rng: np.random.Generator) -> Image:
    """Falling streaks, grey haze, and drops on the lens that smear what lies behind them."""
    height, width = image.shape[:2]
    length = int(rng.integers(5, 25)) | 1
    kernel = np.zeros((length, length), np.float32)
    lean = int(rng.integers(-length // 3, length // 3 + 1))
    middle = length // 2
    cv2.line(kernel, (middle - lean // 2, 0), (middle + lean // 2, length - 1), 1.0)
    seeds = (rng.random((height, width)) < rng.uniform(0.0005, 0.008)).astype(np.float32)
    streaks = cv2.filter2D(seeds, -1, kernel) * rng.uniform(30.0, 90.0)
    haze = rng.uniform(0.0, 0.45)
    wet = image * np.float32(1.0 - haze) + np.float32(haze * rng.uniform(90.0, 200.0))
    wet = np.clip(wet + streaks[..., None], 0.0, 255.0).astype(np.uint8)
    drops = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(0, 25))):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        cv2.circle(drops, centre, int(rng.integers(2, 10)), 1, -1)
    smeared = cv2.GaussianBlur(wet, (0, 0), 4.0)
    return np.where(drops[..., None] > 0, smeared, wet)


def degrade(image: Image, config: AugmentConfig, rng: np.random.Generator) -> Image:
    """What lens, motion, sensor and codec do to the picture."""
    if rng.random() < config.blur:
        if rng.random() < 0.5:
            image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.6))
        else:
            length = int(rng.integers(2, 8))
            image = cv2.blur(image, (length, 1))
    if rng.random() < config.noise:
        noise = np.empty(image.shape, np.int16)
        cv2.setRNGSeed(int(rng.integers(2**31)))
        cv2.randn(noise, np.zeros(3), np.full(3, rng.uniform(1.0, 14.0)))
        image = cv2.add(image, noise, dtype=cv2.CV_8U)
    if rng.random() < config.jpeg:
        quality = int(rng.integers(25, 90))
        _, packed = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        decoded = cv2.imdecode(packed, cv2.IMREAD_COLOR)
        assert decoded is not None
        return decoded
    return image


def paste_rare(
    image: Image,
    labels: Labels,
    donor: Image,
    donor_labels: Labels,
    rare: tuple[int, ...],
) -> tuple[Image, Labels]:
    """Copies the donor's rare objects over the crop (ClassMix, Olsson et al., WACV 2021)."""
    mask = np.isin(donor_labels, rare)
    return (
        np.where(mask[..., None], donor, image),
        np.where(mask, donor_labels, labels),
    )
