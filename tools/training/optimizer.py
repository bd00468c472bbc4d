# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Optimisers: AdamW alone, or Muon for the encoder's matrices with AdamW for the rest."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tools.training.model import SegFormer


class Optimizers:
    """One or two optimisers that step together and share a learning rate."""

    def __init__(self, members: list[torch.optim.Optimizer]) -> None:
        self.members = members

    def step(self, rate: float) -> None:
        """One update at that learning rate; gradients are cleared."""
        for optimizer in self.members:
            for group in optimizer.param_groups:
                group['lr'] = rate * group['rate_scale']
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """State of each member."""
        return [optimizer.state_dict() for optimizer in self.members]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """Restores what `state_dict` gave."""
        for optimizer, state in zip(self.members, states, strict=True):
            optimizer.load_state_dict(state)


def create_optimizers(model: SegFormer, kind: str, weight_decay: float) -> Optimizers:
    """`adamw`: AdamW for all. `muon`: Muon (Jordan et al., 2024) for the linear layers' weights.

    Biases and norms are never decayed.
    """
    kinds = ('adamw', 'muon')
    if kind not in kinds:
        raise ValueError(f'unknown optimizer {kind!r}: choose one of {", ".join(kinds)}')
    matrices = {
        module.weight
        for module in model.encoder.modules()
        if isinstance(module, nn.Linear) and kind == 'muon'
    }
    rest = [p for p in model.parameters() if p not in matrices]
    adam = torch.optim.AdamW(
        [
            {'params': [p for p in rest if p.ndim > 1], 'weight_decay': weight_decay},
            {'params': [p for p in rest if p.ndim <= 1], 'weight_decay': 0.0},
        ],
        betas=(0.9, 0.98),
        foreach=True,
    )
    members: list[torch.optim.Optimizer] = [adam]
    if matrices:
        ordered = [p for p in model.parameters() if p in matrices]
        members.append(
            torch.optim.Muon(ordered, weight_decay=weight_decay, adjust_lr_fn='match_rms_adamw')
        )
    for optimizer in members:
        for group in optimizer.param_groups:
            group['rate_scale'] = 1.0
    return Optimizers(members)
