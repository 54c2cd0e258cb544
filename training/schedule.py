"""What every phase of training shares: AdamW, warm-up and cosine, clipped steps."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn


def adamw(
    parameters: Iterable[nn.Parameter], rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """AdamW with betas 0.9 and 0.98; weight decay on matrices only."""
    listed = list(parameters)
    return torch.optim.AdamW(
        [
            {"params": [p for p in listed if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in listed if p.ndim <= 1], "weight_decay": 0.0},
        ],
        lr=rate,
        betas=(0.9, 0.98),
    )


def set_rate(
    optimizer: torch.optim.Optimizer, peak: float, step: int, steps: int, warm_up: int
) -> None:
    """Linear warm-up over `warm_up` steps, then a cosine from `peak` down to 2% of it."""
    warm = min(1.0, (step + 1) / warm_up)
    rate = peak * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))
    for group in optimizer.param_groups:
        group["lr"] = rate


def clipped_step(optimizer: torch.optim.Optimizer) -> None:
    """One step with the gradients that are there, their norm at most 1."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()


def minimise(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One clipped step down a loss."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    clipped_step(optimizer)
