"""Policy updates from groups of answers: what the reinforcement-learning methods share.

A turn draws questions, samples a group of answers to each, rewards them, turns rewards into advantages within
each group, and makes a few clipped updates. A method is its hooks: what a reward is, how rollouts are made,
how advantages follow, which answers are kept. The task draws, samples and verifies; nothing here knows what
the questions are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from benchmarks.models.chain_decode import answer_logp
from methods.base import knob

if TYPE_CHECKING:
    from benchmarks.run import Run

AGGREGATIONS = ("answer", "token", "constant")
WARMUP = 5  # turns with a rising rate


@dataclass(frozen=True)
class Rollouts:
    """Answers of one turn; those to one question follow one another.

    Attributes:
        items: the question of each answer, as the task gave them: name -> `[rows, ...]`.
        prompts: prompt tokens, `[rows, width]`.
        tokens: answer tokens, `[rows, longest]`, padded on the right.
        logp: log-probability of each when it was sampled, same shape; 0 where padded.
        length: tokens of each answer, `[rows]`.
        right: whether it was verified, bool `[rows]`.
        group: answers to a question.
        room: most tokens of an answer.
    """

    items: Mapping[str, Tensor]
    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    length: Tensor
    right: Tensor
    group: int
    room: int

    def grouped(self, values: Tensor) -> Tensor:
        """`[rows]` -> `[questions, group]`."""
        return values.view(-1, self.group)


@dataclass(frozen=True)
class Batch:
    """What an update sees: answers as in `Rollouts`, and the advantage of each, `[rows]`."""

    prompts: Tensor
    tokens: Tensor
    logp: Tensor
    length: Tensor
    advantage: Tensor

    def __getitem__(self, rows: Tensor) -> Batch:
        length = self.length[rows]
        longest = int(length.max())
        tokens, logp = self.tokens[rows, :longest], self.logp[rows, :longest]
        return Batch(self.prompts[rows], tokens, logp, length, self.advantage[rows])


@dataclass(frozen=True)
class GroupPolicy:
    """Knobs, hooks and loop of a policy method; a method adds its own and overrides hooks.

    The loss of a minibatch is - sum_it w_it min(rho_it A_i, clip(rho_it, 1 - clip_low, 1 + clip_high) A_i),
    with rho the ratio of a token's probability to that when it was sampled, and w by `aggregation`: `answer`
    is the mean over the tokens of an answer, then over answers (Shao et al., 2024); `token` the mean over all
    tokens; `constant` the sum over an answer divided by the task's room, then the mean over answers. They ask
    different things of long answers, so none of them leaves lengths alone.
    """

    turns: int = knob(50, low=0, help="rounds of sampling and updating")
    prompts: int = knob(16, low=1, help="questions a turn")
    group: int = knob(8, low=2, help="answers to a question")
    minibatches: int = knob(8, low=1, help="updates a turn, each on a part of the answers; 1 clips nothing")
    rate: float = knob(2e-4, low=0.0, help="learning rate of AdamW")
    clip_low: float = knob(0.2, low=0.0, high=1.0, help="a ratio below 1 - this gets no gradient")
    clip_high: float = knob(0.2, low=0.0, help="a ratio above 1 + this gets no gradient")
    aggregation: str = knob("answer", choices=AGGREGATIONS, help="how tokens are weighed in the loss")
    points: int = knob(0, low=0, high=20, help="models kept on the way and scored as `metric@progress=...`")

    def rollouts(self, model: nn.Module, run: Run) -> Rollouts:
        """Hook: questions of a turn, each answered `group` times at temperature 1."""
        return sample(model, run, self.prompts, self.group)

    def rewards(self, rolled: Rollouts, run: Run) -> Tensor:
        """Hook: the reward of each answer, `[rows]`; 1 if it is right."""
        return rolled.right.float()

    def advantages(self, rolled: Rollouts, rewards: Tensor, run: Run) -> Tensor:
        """Hook: the advantage of each answer, `[rows]`."""
        return group_advantage(rolled.grouped(rewards)).flatten()

    def selected(self, rolled: Rollouts, advantages: Tensor, run: Run) -> Tensor:
        """Hook: which answers enter the updates, bool `[rows]`; those that would move nothing stay out."""
        return advantages != 0

    def adapt(self, model: nn.Module, run: Run) -> nn.Module:
        """Improve a trained model from its own answers."""
        turns = round(self.turns * run.method.budget)
        kept = {round(turns * point / (self.points + 1)) for point in range(1, self.points + 1)}
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, betas=(0.9, 0.95), weight_decay=0.0)
        diary = Diary()
        for turn in range(1, turns + 1):
            for group in optimizer.param_groups:
                group["lr"] = self.rate * run.method.lr_factor * min(1.0, turn / WARMUP)
            self._turn(model, optimizer, run, diary)
            if turn in kept:
                run.log.keep(model, progress=round(turn / turns, 3))
        run.log.note(**diary.notes())
        return model.eval()

    def probe(self, model: nn.Module, run: Run) -> dict[str, float]:
        """What answers to validation prompts are made of, where the task can take them apart."""
        anatomy = getattr(run.task, "anatomy", None)
        return anatomy(model, run.valid, run.seed) if anatomy else {}

    def _turn(self, model: nn.Module, optimizer: torch.optim.Optimizer, run: Run, diary: Diary) -> None:
        rolled = self.rollouts(model, run)
        advantages = self.advantages(rolled, self.rewards(rolled, run), run)
        live = self.selected(rolled, advantages, run)
        diary.turn(rolled, live)
        batch = Batch(rolled.prompts, rolled.tokens, rolled.logp, rolled.length, advantages)
        for rows in split(live.nonzero()[:, 0], self.minibatches, run):
            part = batch[rows]
            loss, ratio = self.loss(model, part, rolled.room)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            # nobody counts the operations of such an update: its cost is unknown, not zero
            run.log.flops["policy"] = None
            run.log.steps["policy"] = run.log.steps.get("policy", 0) + 1
            run.report(loss.detach(), phase="policy")
            diary.update(ratio.detach(), part, self.clip_low, self.clip_high)

    def loss(self, model: nn.Module, batch: Batch, room: int) -> tuple[Tensor, Tensor]:
        """The loss of some answers, and the ratio of each token's probability to when it was sampled."""
        ratio = (answer_logp(model, batch.prompts, batch.tokens) - batch.logp).exp()
        gain = clipped(ratio, batch.advantage[:, None], self.clip_low, self.clip_high)
        weights = token_weights(batch.length, batch.tokens.shape[1], self.aggregation, room)
        return -(weights * gain).sum(), ratio


def sample(model: nn.Module, run: Run, prompts: int, group: int) -> Rollouts:
    """Questions drawn from the training split, `group` answers to each, verified and counted."""
    task: Any = run.task  # one that offers `verify`: it has prompts, answer, verify and room
    drawn = run.rng.integers(0, len(next(iter(run.train.values()))), prompts)
    rows = torch.from_numpy(drawn).repeat_interleave(group)
    items = {name: values[rows] for name, values in run.train.items()}
    numbers = torch.from_numpy(run.rng.random((len(rows), task.room)))
    answers = task.answer(model, items, numbers)
    run.log.spend(tokens=int(answers.length.sum()))
    right = torch.from_numpy(task.verify(items, answers.tokens)).to(run.device)
    said = (answers.tokens, answers.logp, answers.length)
    return Rollouts(items, task.prompts(items), *said, right, group, task.room)


def split(rows: Tensor, parts: int, run: Run) -> Iterator[Tensor]:
    """`rows` in a new order, in at most `parts` pieces of about one size."""
    if len(rows):
        yield from rows[torch.from_numpy(run.rng.permutation(len(rows)))].chunk(parts)


def group_advantage(rewards: Tensor, eps: float = 1e-6) -> Tensor:
    """(r - mean) / (std + eps) within each row of `[questions, group]`; std with n - 1."""
    centred = rewards - rewards.mean(1, keepdim=True)
    # equal rewards differ from their mean by rounding: that is no advantage
    spread = rewards.amax(1, keepdim=True) > rewards.amin(1, keepdim=True)
    return torch.where(spread, centred / (rewards.std(1, keepdim=True) + eps), 0.0)


def clipped(ratio: Tensor, advantage: Tensor, low: float, high: float) -> Tensor:
    """min(rho A, clip(rho, 1 - low, 1 + high) A), element by element."""
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def token_weights(length: Tensor, longest: int, aggregation: str, room: int) -> Tensor:
    """The weight of each token in the loss, `[rows, longest]`; 0 after the end of an answer."""
    inside = (torch.arange(longest, device=length.device) < length[:, None]).float()
    if aggregation == "answer":
        return inside / length[:, None] / len(length)
    if aggregation == "token":
        return inside / length.sum()
    if aggregation == "constant":
        return inside / room / len(length)
    raise ValueError(f"aggregation {aggregation!r} is none of {', '.join(AGGREGATIONS)}")


class Diary:
    """What a run of turns was like: right answers, lengths, answers with an advantage, clipped tokens."""

    def __init__(self) -> None:
        self.turns: list[tuple[float, float, float]] = []
        self.clipped = self.tokens = 0

    def turn(self, rolled: Rollouts, live: Tensor) -> None:
        """Note a turn."""
        means = (rolled.right, rolled.length, live)
        self.turns.append(tuple(float(values.float().mean()) for values in means))  # type: ignore[arg-type]

    def update(self, ratio: Tensor, batch: Batch, low: float, high: float) -> None:
        """Note an update: a token is clipped where it gets no gradient."""
        inside = torch.arange(ratio.shape[1], device=ratio.device) < batch.length[:, None]
        better, worse = batch.advantage[:, None] > 0, batch.advantage[:, None] < 0
        beyond = (better & (ratio > 1 + high)) | (worse & (ratio < 1 - low))
        self.clipped += int((beyond & inside).sum())
        self.tokens += int(inside.sum())

    def notes(self) -> dict[str, Any]:
        """Means over the first and the last fifth of the turns, and the share of clipped tokens."""
        few = max(1, math.ceil(len(self.turns) / 5))
        found: dict[str, Any] = {"clipped_share": self.clipped / self.tokens if self.tokens else 0.0}
        for when, turns in (("first", self.turns[:few]), ("last", self.turns[-few:])):
            for place, name in enumerate(("right", "length", "live")):
                if turns:
                    found[f"{name}_{when}"] = round(sum(turn[place] for turn in turns) / len(turns), 4)
        return found
