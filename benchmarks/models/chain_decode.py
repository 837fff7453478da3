"""Sampling answers from a decoder with its cache, many at once.

The decoder is any module with three functions: `new_cache(rows, room)`, `features(tokens [rows, t], cache)` which
returns `[rows, t, width]` and fills the cache, and `head(features)`; the cache offers `keep(rows)`. All prompts of a
call have one width (they are padded on the left), so every row stands at the same position.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Answers:
    """Sampled answers.

    Attributes:
        tokens: `[rows, longest]`, `pad` after the end of each.
        logp: Log-probability of each token under the model at temperature 1, 0 where padded, same shape.
        length: Tokens of each answer, its end mark included, `[rows]`.
    """

    tokens: Tensor
    logp: Tensor
    length: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: Tensor) -> Answers:
        return Answers(self.tokens[rows], self.logp[rows], self.length[rows])


@torch.no_grad()
def answer(
    model: nn.Module,
    prompts: Tensor,
    room: int,
    end: int,
    pad: int,
    uniforms: Tensor | None = None,
    temperature: float = 1.0,
) -> Answers:
    """Continue each of `prompts [rows, width]` until its `end` token or for `room` tokens.

    Args:
        model: The decoder.
        prompts: Token numbers; all of one width.
        room: Most tokens of an answer.
        end: Token after which an answer is over.
        pad: Token that fills the rest of its row.
        uniforms: Numbers in [0, 1), `[rows, room]`: token t of a row is the one in whose share of the
            distribution its number falls. So a row's answer hangs on its own numbers and not on what else is in
            the batch. Without them the likeliest token is taken.
        temperature: Divides the logits before sampling.
    """
    count, width = prompts.shape
    tokens = torch.full((count, room), pad, dtype=torch.long, device=prompts.device)
    logp = torch.zeros(count, room, device=prompts.device)
    rows = torch.arange(count, device=prompts.device)
    cache = model.new_cache(count, width + room)
    running = torch.ones(count, dtype=torch.bool, device=prompts.device)
    logits = model.head(model.features(prompts, cache)[:, -1])
    for t in range(room):
        chosen = pick(logits, None if uniforms is None else uniforms[rows, t], temperature)
        tokens[rows, t] = torch.where(running, chosen, pad)
        logp[rows, t] = torch.where(running, logits.log_softmax(-1).gather(-1, chosen[:, None])[:, 0], 0.0)
        running = running & (chosen != end)
        left = int(running.sum())
        if left == 0 or t + 1 == room:
            break
        if left < 0.85 * len(rows):  # finished rows leave in lots: each leaving copies the cache
            rows, chosen = rows[running], chosen[running]
            cache.keep(running.nonzero()[:, 0])
            running = running[running]
        logits = model.head(model.features(chosen[:, None], cache)[:, -1])
    length = (tokens != pad).sum(1)
    longest = int(length.max())
    return Answers(tokens[:, :longest], logp[:, :longest], length)


def pick(logits: Tensor, uniform: Tensor | None, temperature: float = 1.0) -> Tensor:
    """The token of each row of `logits [rows, vocabulary]`: the likeliest, or by inverting the distribution."""
    if uniform is None:
        return logits.argmax(-1)
    share = (logits / temperature).double().softmax(-1).cumsum(-1)
    # the last share is 1 up to rounding; scaled by it, a number below 1 always falls inside
    return (share <= uniform[:, None].double() * share[:, -1:]).sum(-1)


def uniforms(rows: int, room: int, *key: int) -> Tensor:
    """Numbers for `answer`, `[rows, room]`; row i is the same whatever `rows` is, as long as the key is."""
    return torch.from_numpy(np.stack([np.random.default_rng([*key, row]).random(room, np.float32)
                                      for row in range(rows)]))


def answer_logp(model: nn.Module, prompts: Tensor, answers: Tensor) -> Tensor:
    """Log-probability of each token of given answers, `[rows, t]`, in one pass and with gradients."""
    both = torch.cat((prompts, answers), 1)
    features = model.features(both[:, :-1])[:, prompts.shape[1] - 1 :]
    return model.head(features).log_softmax(-1).gather(-1, answers[..., None])[..., 0]
