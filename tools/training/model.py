# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""SegFormer in one sitting: MiT encoder, all-MLP decoder.

Source of the architecture: Xie et al., "SegFormer: Simple and Efficient Design for Semantic
Segmentation with Transformers", NeurIPS 2021. Written from the paper; no foreign weights.

Tokens are kept channels-last throughout: (B, H, W, C) for linear layers and LayerNorm, and the
same memory seen as (B, C, H, W) for convolutions, so that no layer has to copy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ImageNet statistics of RGB in 0..255: the field's common contract.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8 RGB -> float32, zero mean and unit deviation, channels-last."""
    mean = torch.tensor(MEAN, device=images.device).view(1, 3, 1, 1)
    std = torch.tensor(STD, device=images.device).view(1, 3, 1, 1)
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class SegFormerConfig:
    """Widths and depths of one SegFormer; the four numbers of a tuple are the four stages."""

    dims: tuple[int, int, int, int] = (32, 64, 160, 256)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    heads: tuple[int, int, int, int] = (1, 2, 5, 8)
    reductions: tuple[int, int, int, int] = (8, 4, 2, 1)
    expansion: int = 4
    decoder: int = 128
    classes: int = 19
    drop_path: float = 0.0
    dropout: float = 0.0


SIZES: dict[str, SegFormerConfig] = {
    # For tests: seconds to train, architecture complete.
    'nano': SegFormerConfig(
        dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), heads=(1, 1, 2, 2), expansion=2, decoder=16
    ),
    # B0 with one block in each stage instead of two, so that B0's weights begin it.
    'tiny': SegFormerConfig(depths=(1, 1, 1, 1)),
    'b0': SegFormerConfig(),
}


def to_map(tokens: Tensor) -> Tensor:
    """(B, H, W, C) -> (B, C, H, W), a view in channels-last memory."""
    return tokens.permute(0, 3, 1, 2)


def to_tokens(feature_map: Tensor) -> Tensor:
    """(B, C, H, W) in channels-last memory -> (B, H, W, C), a view."""
    return feature_map.permute(0, 2, 3, 1)


class PatchEmbedding(nn.Module):
    """Overlapping patches: neighbours share pixels, so the borders of patches stay continuous."""

    def __init__(self, channels: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projection = nn.Conv2d(channels, dim, kernel, stride, padding=kernel // 2)
        self.norm = nn.LayerNorm(dim)

    def forward(self, feature_map: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, H/stride, W/stride, dim)."""
        return self.norm(to_tokens(self.projection(feature_map)))


class Attention(nn.Module):
    """Self-attention whose keys and values come from a grid `reduction` times coarser."""

    def __init__(self, dim: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.dim = dim
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.projection = nn.Linear(dim, dim)
        self.reduce: nn.Conv2d | None = None
        if reduction > 1:
            self.reduce = nn.Conv2d(dim, dim, reduction, stride=reduction)
            self.reduce_norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        coarse = x
        if self.reduce is not None:
            coarse = self.reduce_norm(to_tokens(self.reduce(to_map(x))))  # (B, H/r, W/r, C)
        query = self._split(self.query(x))  # (B, heads, H*W, C/heads)
        key, value = (self._split(t) for t in self.key_value(coarse).split(self.dim, dim=-1))
        scale = (self.dim // self.heads) ** -0.5
        mixed = F.scaled_dot_product_attention(query, key, value, scale=scale)
        return self.projection(mixed.transpose(1, 2).reshape(x.shape))

    def _split(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, heads, H*W, C/heads)."""
        tokens = x.reshape(x.shape[0], -1, self.heads, self.dim // self.heads)
        return tokens.transpose(1, 2)


class MixFeedForward(nn.Module):
    """MLP around a 3x3 depthwise convolution, whose zero padding tells tokens where they are."""

    def __init__(self, dim: int, expansion: int) -> None:
        super().__init__()
        hidden = dim * expansion
        self.expand = nn.Linear(dim, hidden)
        self.depthwise = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.contract = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = to_tokens(self.depthwise(to_map(self.expand(x))))
        return self.contract(F.gelu(x))


class DropPath(nn.Module):
    """Stochastic depth: drops a residual branch for whole samples (Huang et al., 2016)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """(B, ...) -> (B, ...), scaled so that the expectation stays."""
        if not self.training or self.rate == 0.0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.ndim - 1), device=x.device) >= self.rate
        return x * keep / (1.0 - self.rate)


class Block(nn.Module):
    """One transformer block: attention, then Mix-FFN, each behind a LayerNorm and a residual."""

    def __init__(
        self, dim: int, heads: int, reduction: int, expansion: int, drop_path: float
    ) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads, reduction)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MixFeedForward(dim, expansion)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class Encoder(nn.Module):
    """Mix Transformer (MiT): four stages at 1/4, 1/8, 1/16 and 1/32 of the image."""

    def __init__(self, config: SegFormerConfig) -> None:
        super().__init__()
        channels = (3, *config.dims[:-1])
        depth_rates = torch.linspace(0.0, config.drop_path, sum(config.depths)).tolist()
        self.embeddings = nn.ModuleList()
        self.stages = nn.ModuleList()
        self.norms = nn.ModuleList()
        for i, dim in enumerate(config.dims):
            kernel, stride = (7, 4) if i == 0 else (3, 2)
            self.embeddings.append(PatchEmbedding(channels[i], dim, kernel, stride))
            self.stages.append(
                nn.Sequential(
                    *(
                        Block(
                            dim,
                            config.heads[i],
                            config.reductions[i],
                            config.expansion,
                            depth_rates.pop(0),
                        )
                        for _ in range(config.depths[i])
                    )
                )
            )
            self.norms.append(nn.LayerNorm(dim))

    def forward(self, image: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> four maps (B, dims[i], H/(4*2^i), W/(4*2^i))."""
        x = image
        maps = []
        for embed, stage, norm in zip(self.embeddings, self.stages, self.norms, strict=True):
            x = to_map(norm(stage(embed(x))))
            maps.append(x)
        return maps


class Decoder(nn.Module):
    """All-MLP head: project every scale, upsample to 1/4, fuse, classify.

    The paper concatenates the upsampled scales and fuses them with one 1x1 convolution. That
    convolution is a sum over its input groups, and a 1x1 convolution commutes with bilinear
    upsampling, so here each scale is fused at its own resolution and the sums meet at 1/4: the
    same function at a fraction of the arithmetic.
    """

    def __init__(self, config: SegFormerConfig) -> None:
        super().__init__()
        width = config.decoder
        self.projections = nn.ModuleList(nn.Conv2d(dim, width, 1) for dim in config.dims)
        self.fusions = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in config.dims)
        self.norm = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout2d(config.dropout)
        self.classifier = nn.Conv2d(width, config.classes, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Four maps at 1/4..1/32 -> logits (B, classes, H/4, W/4)."""
        size = maps[0].shape[2:]
        fused = [
            fuse(project(x))
            for fuse, project, x in zip(self.fusions, self.projections, maps, strict=True)
        ]
        total = fused[0]  # (B, width, H/4, W/4)
        for x in fused[1:]:
            total = total + F.interpolate(x, size=size, mode='bilinear', align_corners=False)
        return self.classifier(self.dropout(F.relu(self.norm(total))))


class SegFormer(nn.Module):
    """Normalised RGB image (B, 3, H, W) -> logits (B, classes, H/4, W/4)."""

    def __init__(self, config: SegFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        return self.decoder(self.encoder(image))


def _initialise(module: nn.Module) -> None:
    """Truncated normal for linear layers, He (fan out) for convolutions, as the paper's code."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    elif isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=(2.0 / (fan_out // module.groups)) ** 0.5)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def create_model(size: str, drop_path: float = 0.0, dropout: float = 0.0) -> SegFormer:
    """A freshly initialised model of one of `SIZES`."""
    if size not in SIZES:
        raise ValueError(f'unknown model size {size!r}: choose one of {", ".join(SIZES)}')
    return SegFormer(replace(SIZES[size], drop_path=drop_path, dropout=dropout))
