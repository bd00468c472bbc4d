# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The network: shapes, sizes, and the decoder's shortcut against the paper's formula."""

from __future__ import annotations

import pytest
import torch

from tools.training.model import SIZES, Decoder, create_model


@pytest.mark.parametrize(('size', 'millions'), [('tiny', 2.04), ('b0', 3.45)])
def test_sizes_are_what_the_card_says(size: str, millions: float) -> None:
    count = sum(weights.numel() for weights in create_model(size).parameters())
    assert count / 1e6 == pytest.approx(millions, rel=0.04)


@pytest.mark.parametrize(('height', 'width'), [(64, 64), (96, 160)])
def test_logits_are_at_a_quarter(height: int, width: int) -> None:
    logits = create_model('nano')(torch.zeros(2, 3, height, width))
    assert logits.shape == (2, 19, height // 4, width // 4)


def test_decoder_equals_fusing_the_concatenated_scales() -> None:
    """The paper: project, upsample, concatenate, one 1x1 convolution, norm, relu, classify."""
    torch.manual_seed(0)
    config = SIZES['nano']
    decoder = Decoder(config).eval()
    maps = [torch.randn(1, dim, 32 >> i, 32 >> i) for i, dim in enumerate(config.dims)]
    upsampled = [
        torch.nn.functional.interpolate(
            project(x), size=(32, 32), mode='bilinear', align_corners=False
        )
        for project, x in zip(decoder.projections, maps, strict=True)
    ]
    weight = torch.cat([fuse.weight for fuse in decoder.fusions], dim=1)
    fused = torch.nn.functional.conv2d(torch.cat(upsampled, dim=1), weight)
    expected = decoder.classifier(torch.relu(decoder.norm(fused)))
    torch.testing.assert_close(decoder(maps), expected, atol=1e-5, rtol=1e-5)


def test_unknown_size_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"unknown model size 'b9': choose one of nano, tiny, b0"):
        create_model('b9')
