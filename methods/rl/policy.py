"""Policy updates from groups of answers: what the reinforcement-learning methods share.

A turn samples `group` answers to each of `prompts` questions, rewards them, turns rewards into advantages within
each group, and makes a few clipped updates. A method is its hooks: what a reward is, which rollouts are kept, how
they are made, how advantages follow. Nothing here knows what the questions are: the task draws them, samples and
verifies, and counts the tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

AGGREGATIONS = ("answer", "token", "constant")


@dataclass(frozen=True)
class Rollouts:
    """Answers of one turn, the groups one after the other.

    Attributes:
        items: The questions, one for each answer, as the task gave them.
        prompts: Prompt tokens, `[rows, width]`.
        tokens: Answer tokens, `[rows, longest]`, padded on the right.
        logp: Log-probability of each when it was sampled, same shape; 0 where padded.
        length: Tokens of each answer, `[rows]`.
        reward: `[rows]`, float.
        group: Answers to one question: rows `i * group` to `(i + 1) * group - 1` belong together.
    """

    items: Any
    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    length: Tensor
    reward: Tensor
    group: int

    def by_group(self, values: Tensor) -> Tensor:
        """`values [rows]` as `[questions, group]`."""
        return values.view(-1, self.group)


@dataclass(frozen=True)
class Batch:
    """What an update sees: rows of some rollouts with their advantages `[rows]`."""

    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    length: Tensor
    advantage: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Tensor) -> Batch:
        length = self.length[rows]
        longest = int(length.max())
        return Batch(self.prompts[rows], self.tokens[rows, :longest], self.logp[rows, :longest], length,
                     self.advantage[rows])


def group_advantage(reward: Tensor, eps: float = 1e-6) -> Tensor:
    """(r - mean) / (std + eps) within each row of `reward [questions, group]`; std is that of the sample (n - 1)."""
    centred = reward - reward.mean(1, keepdim=True)
    return centred / (reward.std(1, keepdim=True) + eps)


def clipped(ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """min(ratio * A, clip(ratio, 1 - low, 1 + high) * A), token by token."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def token_weights(length: Tensor, longest: int, how: str, room: int) -> Tensor:
    """Weight of each token in the loss of a batch, `[rows, longest]`.

    `answer`: the mean over the tokens of an answer, then over answers (Shao et al. 2024, equation 3); `token`: the
    mean over all tokens of the batch (DAPO); `constant`: the sum over an answer divided by `room`, then the mean over
    answers (Dr. GRPO). They differ in what they ask of long answers, so a length never changes for free.
    """
    mask = (torch.arange(longest, device=length.device) < length[:, None]).float()
    if how == "answer":
        return mask / length[:, None] / len(length)
    if how == "token":
        return mask / length.sum()
    if how == "constant":
        return mask / room / len(length)
    raise ValueError(f"aggregation {how!r} is none of {', '.join(AGGREGATIONS)}")
