# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Augmentation: labels follow the image, light leaves them alone, the generator decides all."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tools.training.augment import AugmentConfig, augment, degrade, paste_rare, rain, relight

ROAD, SKY, POLE = 0, 10, 5
ONLY_GEOMETRY = AugmentConfig(
    frame=(90, 120), scale=(0.8, 1.8), light=0.0, blur=0.0, noise=0.0, jpeg=0.0
)


def scene() -> tuple[np.ndarray, np.ndarray]:
    """A frame whose pixels say their label: 10 times the label plus 50."""
    labels = np.full((90, 120), ROAD, np.uint8)
    labels[:40] = SKY
    labels[20:70, 50:60] = POLE
    image = np.repeat((labels * 10 + 50)[..., None], 3, axis=2)
    return image, labels


@pytest.mark.parametrize('seed', range(8))
def test_labels_stay_on_their_pixels(seed: int) -> None:
    image, labels = scene()
    rng = np.random.default_rng(seed)
    crop, crop_labels = augment(image, labels, (64, 96), (POLE,), ONLY_GEOMETRY, rng)
    assert crop.shape == (64, 96, 3)
    assert crop_labels.shape == (64, 96)
    # Away from borders between classes, where pixels mix, each pixel still says its label.
    padded = cv2.copyMakeBorder(crop_labels, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=255)
    kernel = np.ones((9, 9))
    inside = (cv2.erode(padded, kernel) == cv2.dilate(padded, kernel))[4:-4, 4:-4]
    inside &= crop_labels != 255
    assert inside.sum() > 500
    assert np.abs(crop[inside][:, 0].astype(int) - (crop_labels[inside] * 10 + 50)).max() <= 1


def test_what_lies_outside_the_frame_is_ignored() -> None:
    image, labels = scene()
    config = AugmentConfig(frame=(90, 120), scale=(0.5, 0.5), aspect=1.0, rotation=0.0)
    crop_labels = augment(image, labels, (96, 128), (), config, np.random.default_rng(0))[1]
    assert set(np.unique(crop_labels)) <= {ROAD, SKY, POLE, 255}
    assert (crop_labels == 255).mean() == pytest.approx(1 - 45 * 60 / (96 * 128), abs=0.03)


@pytest.mark.parametrize('shape', [(227, 320), (540, 960), (290, 960), (640, 640)])
def test_frames_of_all_shapes_are_letterboxed_into_the_networks(shape: tuple[int, int]) -> None:
    """At scale 1 a crop of the network's size shows the whole frame, as deployment does."""
    image, labels = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    config = AugmentConfig(frame=(384, 640), scale=(1.0, 1.0), aspect=1.0, rotation=0.0)
    shown = augment(image, labels, (384, 640), (), config, np.random.default_rng(0))[1] == ROAD
    height, width = (np.ptp(places) + 1 for places in np.nonzero(shown))
    assert width / height == pytest.approx(shape[1] / shape[0], rel=0.02)
    assert max(width / 640, height / 384) == pytest.approx(1.0, abs=0.01)


def test_the_generator_decides_everything() -> None:
    image, labels = scene()
    first, second, other = (
        augment(image, labels, (64, 64), (POLE,), AugmentConfig(), np.random.default_rng(seed))
        for seed in (3, 3, 4)
    )
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


def test_crops_are_aimed_at_rare_classes() -> None:
    labels = np.zeros((400, 400), np.uint8)
    labels[200:208, 300:308] = POLE
    image = np.zeros((400, 400, 3), np.uint8)
    found = {}
    for aim in (0.0, 1.0):
        config = AugmentConfig(frame=(400, 400), rare_crop=aim, scale=(1.0, 1.0))
        rng = np.random.default_rng(0)
        crops = [augment(image, labels, (64, 64), (POLE,), config, rng)[1] for _ in range(40)]
        found[aim] = sum(bool((crop == POLE).any()) for crop in crops)
    assert found[1.0] == 40
    assert found[0.0] < 15


def test_exposure_darkens_and_brightens() -> None:
    image = np.full((32, 32, 3), 120, np.uint8)
    means = [
        np.mean(
            [
                relight(image, AugmentConfig(exposure=(stops, stops)), rng).mean()
                for rng in map(np.random.default_rng, range(20))
            ]
        )
        for stops in (-2.0, 0.0, 1.0)
    ]
    assert means[0] < 0.7 * means[1]
    assert means[1] < means[2]


def test_rain_streaks_are_bright_and_its_haze_takes_contrast() -> None:
    image = np.repeat(np.tile(np.array([0, 80], np.uint8), (64, 48))[..., None], 3, axis=2)
    rained = [rain(image, np.random.default_rng(seed)) for seed in range(20)]
    assert all(wet.shape == image.shape and wet.dtype == np.uint8 for wet in rained)
    assert max(wet.max() for wet in rained) > 150
    assert np.mean([wet.std() for wet in rained]) < image.std()


def test_noise_is_in_every_channel() -> None:
    image = np.full((64, 64, 3), 120, np.uint8)
    config = AugmentConfig(blur=0.0, noise=1.0, jpeg=0.0)
    noisy = degrade(image, config, np.random.default_rng(1))
    assert (noisy.reshape(-1, 3).std(axis=0) > 0.5).all()


def test_only_rare_objects_are_pasted() -> None:
    image, labels = scene()
    donor = np.full_like(image, 7)
    donor_labels = np.full_like(labels, SKY)
    donor_labels[5:15, 5:15] = POLE
    mixed, mixed_labels = paste_rare(image, labels, donor, donor_labels, (POLE,))
    assert (mixed[5:15, 5:15] == 7).all()
    assert (mixed_labels[5:15, 5:15] == POLE).all()
    mixed[5:15, 5:15] = image[5:15, 5:15]
    assert np.array_equal(mixed, image)
