# Copyright 2026 segformer_ros maintainers
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""The training loss: marginal cross-entropy plus soft Jaccard, in the labels' own classes."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tools.training.taxonomy import Taxonomy


def marginal_log_probabilities(logits: Tensor, taxonomy: Taxonomy) -> Tensor:
    """Log-probability of each *label*, summed over the classes it may stand for.

    `log sum_k P(label | k) P(k)`, the forward correction of Patrini et al., "Making Deep Neural
    Networks Robust to Label Noise", CVPR 2017.

    Args:
        logits: (B, classes, H, W).
        taxonomy: which classes each label covers.

    Returns:
        (B, labels, H, W), at most 0.
    """
    log_p = F.log_softmax(logits, dim=1)
    if taxonomy.is_exact:
        return log_p
    marginals = []
    for members in taxonomy.members:
        terms = [log_p[:, i] + math.log(weight) for i, weight in members]
        marginals.append(
            terms[0] if len(terms) == 1 else torch.logsumexp(torch.stack(terms, dim=1), dim=1)
        )
    return torch.stack(marginals, dim=1)


def class_weights(pixel_counts: np.ndarray, power: float, limit: float) -> np.ndarray:
    """Weights that lift rare labels: (median frequency / frequency) ** power, clipped.

    Args:
        pixel_counts: (labels,) pixels of each label in the data; labels without any weigh 1.
        power: 0 weighs all labels alike, 1 balances them fully.
        limit: weights stay within [1/limit, limit].

    Returns:
        (labels,) float32.
    """
    seen = pixel_counts > 0
    weights = np.ones(len(pixel_counts), np.float64)
    counts = pixel_counts[seen].astype(np.float64)
    weights[seen] = (np.median(counts) / counts) ** power
    return np.clip(weights, 1.0 / limit, limit).astype(np.float32)


class SegmentationLoss(nn.Module):
    """Weighted marginal cross-entropy plus `jaccard` times the soft Jaccard loss of one source."""

    def __init__(self, taxonomy: Taxonomy, weights: np.ndarray, jaccard: float) -> None:
        super().__init__()
        self.taxonomy = taxonomy
        self.jaccard = jaccard
        index = torch.full((256,), -1, dtype=torch.long)
        index[list(taxonomy.labels)] = torch.arange(len(taxonomy.labels))
        self.register_buffer('index', index)
        self.register_buffer('weights', torch.from_numpy(weights))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean loss.

        Args:
            logits: (B, classes, h, w), any resolution; upsampled bilinearly to the labels'.
            labels: (B, H, W) uint8, values of the taxonomy's labels or 255 for ignore.
        """
        logits = F.interpolate(
            logits.float(), size=labels.shape[1:], mode='bilinear', align_corners=False
        )
        log_p = marginal_log_probabilities(logits, self.taxonomy)
        target = self.index[labels.long()]  # (B, H, W), -1 = ignore
        loss = F.nll_loss(log_p, target, self.weights, ignore_index=-1, reduction='sum')
        valid = target >= 0
        loss = loss / self.weights[target[valid]].sum().clamp(min=1.0)
        if self.jaccard > 0.0:
            disjoint = self.taxonomy.disjoint
            known = target.where(target < len(disjoint), -1)
            loss = loss + self.jaccard * soft_jaccard(log_p[:, : len(disjoint)].exp(), known)
        return loss


def distillation(logits: Tensor, teacher: Tensor) -> Tensor:
    """Mean divergence of the probabilities from the teacher's, on every pixel, labelled or not.

    Hinton et al., "Distilling the Knowledge in a Neural Network", 2015, at temperature 1.

    Args:
        logits: (B, classes, h, w).
        teacher: (B, classes, h, w), logits too.
    """
    log_p = F.log_softmax(logits.float(), dim=1)
    log_q = F.log_softmax(teacher.float(), dim=1)
    return F.kl_div(log_p, log_q, reduction='none', log_target=True).sum(dim=1).mean()


def soft_jaccard(probabilities: Tensor, target: Tensor) -> Tensor:
    """One minus the soft intersection over union, mean over the labels present in the batch.

    Args:
        probabilities: (B, labels, H, W).
        target: (B, H, W) label indices, -1 = ignore.
    """
    labels = probabilities.shape[1]
    valid = (target >= 0).unsqueeze(1)
    truth = F.one_hot(target.clamp(min=0), labels).permute(0, 3, 1, 2) * valid
    probabilities = probabilities * valid
    intersection = (probabilities * truth).sum(dim=(0, 2, 3))
    pixels = truth.sum(dim=(0, 2, 3))
    union = probabilities.sum(dim=(0, 2, 3)) + pixels - intersection
    present = pixels > 0
    if not bool(present.any()):
        return probabilities.sum() * 0.0
    return (1.0 - intersection[present] / union[present].clamp(min=1.0)).mean()
