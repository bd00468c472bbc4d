# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Exponential moving average of a model's weights: what is validated and shipped."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Ema:
    """A shadow copy that follows the trained model, quickly at first, then slowly."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.updates = 0
        self.model = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Moves the shadow towards `model`; integer buffers are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        shadow, source = self.model.state_dict(), model.state_dict()
        floats = [name for name, value in source.items() if value.is_floating_point()]
        torch._foreach_lerp_(
            [shadow[n] for n in floats], [source[n] for n in floats], weight=1.0 - decay
        )
        for name in source.keys() - set(floats):
            shadow[name].copy_(source[name])

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on: the shadow's weights and the number of updates."""
        return {'updates': self.updates, 'model': self.model.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` gave."""
        self.updates = state['updates']
        self.model.load_state_dict(state['model'])
