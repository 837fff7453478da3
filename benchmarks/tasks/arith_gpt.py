"""Chains of arithmetic that a small decoder works out in written steps, with slips and re-checks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.models import chain_world as chain
from benchmarks.models.chain_traces import write
from benchmarks.tasks.base import Metric, Recipe, Scores, Split, Task, Workload, knob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from benchmarks.models.chain_decode import Answers
    from benchmarks.run import Run

#: Seeds of the prompts and traces of each split.
SEEDS = {"train": 11, "valid": 12, "test": 13}
#: Batches that are sorted by length together.
POOL = 32


@dataclass(frozen=True)
class ArithGpt(Task):
    """Chains of one to six operations modulo 100; a decoder of two layers of width 64 writes each step.

    Data: synthetic, see `benchmarks.models.chain_world`. Verbose traces slip at carries, re-check and go
    through the chain again, all of it planted, so a trained model can gain accuracy and lose tokens at
    temperature 1: what a method must beat is plain GRPO, not the baseline. No prompt is in two splits.
    Training: imitation of the traces (the warm start of policy methods), loss on the answer only, batches of
    like length, each trace seen at most once by default. Muon on the matrices of the blocks and AdamW on the
    rest, at one rate: with AdamW alone the same budget does not learn the carries. Multipliers end at
    `max_factor`: with 9 the tens of a product take longer to learn than all else.
    Scored: `tries` answers at temperature 1 to each prompt (`any`: one of them is right), and the greedy one.
    """

    form: str = knob("chain", choices=("chain",), help="what is worked out")
    traces: str = knob("verbose", choices=("verbose", "plain"), help="with slips and re-checks, or without")
    levels: int = knob(6, low=1, high=8, help="most operations of a prompt")
    max_factor: int = knob(5, low=1, high=9, help="largest multiplier; 1: no multiplication")
    doubt: float = knob(0.75, low=0.0, high=1.0, help="verbose: a short chain gets a second pass")
    harm: float = knob(0.2, low=0.0, high=1.0, help="verbose: a re-check of a right easy step makes it wrong")
    room: int = knob(112, low=16, high=1024, help="most tokens of an answer")
    width: int = knob(64, low=8, high=512, help="width of the residual stream")
    depth: int = knob(2, low=1, high=12, help="blocks")
    heads: int = knob(4, low=1, high=16, help="attention heads")
    steps: int = knob(1200, low=1, help="training steps: the budget")
    batch: int = knob(12, low=1, high=512, help="traces a step")
    items: int = knob(16_000, low=64, help="training traces")
    each: int = knob(60, low=1, high=2000, help="test prompts of each level; a third of it validates")
    tries: int = knob(4, low=1, high=64, help="answers at temperature 1 to each prompt")

    metrics = (
        Metric("accuracy", "share", "higher", chance=0.01, band=0.005),
        Metric("greedy", "share", "higher", chance=0.01, band=0.005),
        Metric("any", "share", "higher", chance=0.01, band=0.005),
        Metric("tokens", "tokens", "lower", chance=112.0, band=0.02, relative=True),
        Metric("greedy_tokens", "tokens", "lower", chance=112.0, band=0.02, relative=True),
    )
    workloads = {
        "read48": "48 written answers with their prompts, in one pass",
        "batch1": "one prompt of three operations, answered at temperature 1",
        "batch48": "48 prompts of all levels, answered at temperature 1",
        "train_step": "one optimiser step of the method's own loop",
    }
    main_workload = "read48"
    offers = ("verify",)
    cost_depends_on_weights = True
    train_cpu_s = 20.0
    score_cpu_s = 2.5
    small = {
        "levels": 2,
        "width": 16,
        "depth": 1,
        "heads": 2,
        "steps": 30,
        "items": 256,
        "each": 6,
        "tries": 2,
        "room": 48,
    }
    controls = {
        "positive": "plain traces are right more often and far shorter at temperature 1 than verbose ones",
        "negative": "a tenth of the budget does not learn to multiply: clearly fewer right answers",
    }

    @property
    def recipe(self) -> Recipe:  # type: ignore[override]
        """The budget; its rate is that of both optimisers."""
        return Recipe(
            steps=self.steps,
            batch=self.batch,
            lr=0.012,
            schedule="linear",
            warmup=min(0.2, 30 / self.steps),
            betas=(0.9, 0.95),
        )

    @property
    def world(self) -> chain.World:
        """How traces are written."""
        sizes = {"levels": self.levels, "max_factor": self.max_factor, "room": self.room}
        if self.traces == "plain":
            return chain.World.plain(**sizes)
        return chain.World(**sizes, doubt=self.doubt, harm=self.harm)

    @property
    def prompt_width(self) -> int:
        """Tokens of a prompt."""
        return int(chain.prompt_width(self.levels))

    def prepare(self) -> dict[str, dict[str, np.ndarray]]:
        """Prompts with a written answer each; train: levels at random, else the same number of each level."""
        splits: dict[str, dict[str, np.ndarray]] = {}
        for name, seed in SEEDS.items():
            rng = np.random.default_rng(seed)
            if name == "train":
                prompts = chain.draw(self.items, self.world, rng)
            else:
                each = self.each if name == "test" else -(-self.each // 3)
                prompts = chain.draw_per_level(each, self.world, rng, {"valid": "validation"}.get(name, name))
            traces = write(prompts, self.world, rng)
            splits[name] = {
                "tokens": np.concatenate((prompts.tokens(), traces.tokens), 1).astype(np.uint8),
                "length": traces.length.astype(np.int16),
                "start": prompts.start.astype(np.uint8),
                "ops": prompts.ops.astype(np.uint8),
                "level": prompts.level.astype(np.uint8),
            }
        return splits

    def model(self, run: Run, width: int | None = None, **slots: Any) -> nn.Module:
        """The baseline decoder with fresh weights."""
        from benchmarks.models.chain_decode import AnsweringAttention
        from benchmarks.models.transformer import Decoder

        def mixer(layer: int, width: int) -> nn.Module:
            return AnsweringAttention(width, self.heads, head_width=max(2, width // self.heads // 2 * 2))

        if "block" not in slots:
            slots = {"mixer": mixer, **slots}
        return Decoder(
            chain.VOCABULARY, width or self.width, self.depth, self.heads, embedding_std=0.5, **slots
        )

    def batches(self, run: Run, steps: int) -> Iterator[dict[str, Tensor]]:
        """Batches of traces of like length, cut to the longest of each."""
        rng, size, lengths = run.data_rng, run.recipe.batch, run.train["length"].cpu().numpy()
        order, waiting = np.zeros(0, np.int64), list[np.ndarray]()
        for _ in range(steps):
            if not waiting:
                if len(order) < size:
                    order = rng.permutation(len(lengths))
                drawn, order = order[: size * POOL], order[size * POOL :]
                drawn = drawn[np.argsort(lengths[drawn], kind="stable")]
                waiting = [drawn[i : i + size] for i in range(0, len(drawn) - size + 1, size)]
                rng.shuffle(waiting)
            rows = waiting.pop()
            longest = self.prompt_width + int(lengths[rows].max())
            yield {"tokens": run.train["tokens"][rows, :longest]}

    def loss(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """Mean over the tokens of the written answers."""
        from torch.nn.functional import cross_entropy

        tokens = batch["tokens"].long()
        logits = model(tokens[:, :-1])[:, self.prompt_width - 1 :]
        written = tokens[:, self.prompt_width :]
        return cross_entropy(logits.flatten(0, 1), written.flatten(), ignore_index=chain.PAD)

    def fit(self, model: nn.Module, run: Run) -> nn.Module:
        """Imitate the traces."""
        for step in run.steps(model, optimizer=self.optimizer(model, run.recipe)):
            step.update()
        return model

    def optimizer(self, model: nn.Module, recipe: Recipe) -> Any:
        """Muon on the matrices of the blocks, AdamW on the rest, with one rate and no decay."""
        from benchmarks.models import optimizers

        matrices = optimizers.hidden_matrices(model)
        muon = optimizers.Orthogonal(
            matrices, recipe.lr, 0.95, 0.0, optimizers.newton_schulz, optimizers.spectral_scale
        )
        rest = optimizers.others(model, matrices)
        return optimizers.Joint(muon, optimizers.adamw(rest, recipe.lr, recipe.betas, 0.0))

    def prompts(self, items: Split) -> Tensor:
        """Prompt tokens of some items, `[items, width]`."""
        return items["tokens"][:, : self.prompt_width].long()

    def answer(self, system: Any, items: Split, uniforms: Tensor | None = None) -> Answers:
        """What a decoder answers: at temperature 1 by the numbers `uniforms [items, room]`, else greedily."""
        from benchmarks.models.chain_decode import answer

        prompts = self.prompts(items)
        numbers = None if uniforms is None else uniforms.to(prompts.device)
        return answer(system, prompts, self.room, chain.END, chain.PAD, numbers)

    def luck(self, items: Split, seed: int, tries: int = 1) -> Tensor:
        """Numbers for `answer`, `[items * tries, room]`; they follow from item, seed and try."""
        from benchmarks.models.chain_decode import uniforms

        keys = [(seed, attempt, *key) for key in self.chains(items).numbers() for attempt in range(tries)]
        return uniforms(keys, self.room)

    def verify(self, items: Split, answers: Tensor) -> np.ndarray:
        """Whether each of the written answers `[items, t]` ends with the right value, bool `[items]`."""
        return chain.verify(self.chains(items), answers.cpu().numpy())

    def chains(self, items: Split) -> chain.Prompts:
        """The chains behind some items."""
        parts = (items[name].cpu().numpy().astype(np.int64) for name in ("start", "ops", "level"))
        return chain.Prompts(*parts)

    def anatomy(self, system: Any, items: Split, seed: int) -> dict[str, float]:
        """What answers at temperature 1 are made of: rates of `chain_anatomy`, as far as they are defined."""
        from benchmarks.models.chain_anatomy import dissect

        answers = self.answer(system, items, self.luck(items, seed))
        rates = dissect(self.chains(items), answers.tokens.cpu().numpy()).rates()
        return {name: rate for name, rate in rates.items() if rate == rate}

    def score(self, system: Any, split: Split, run: Run) -> dict[str, Scores]:
        """Shares of right answers, and their tokens."""
        count = len(split["level"])
        greedy = self.answer(system, split)
        repeated = repeat(split, self.tries)
        drawn = self.answer(system, repeated, self.luck(split, run.seed, self.tries))
        right = self.verify(repeated, drawn.tokens).reshape(count, self.tries)
        values = {
            "accuracy": right.mean(1),
            "greedy": self.verify(split, greedy.tokens),
            "any": right.any(1),
            "tokens": drawn.length.cpu().numpy().reshape(count, self.tries).mean(1),
            "greedy_tokens": greedy.length.cpu().numpy(),
        }
        axes = {"level": split["level"].cpu().numpy()}
        return {name: Scores(np.asarray(value, dtype=float), axes) for name, value in values.items()}

    def workload(self, name: str, system: Any, split: Split, run: Run) -> Workload:
        """Reading written answers, or answering prompts until the end mark."""
        import torch

        count = int(name.removeprefix("read").removeprefix("batch"))
        # every level alike; a single prompt is one of middle length
        middle = (split["level"] == (self.levels + 1) // 2).nonzero()[0]
        rows = torch.arange(count) * len(split["level"]) // count if count > 1 else middle
        items = {key: value[rows] for key, value in split.items()}
        tokens = items["tokens"][:, : self.prompt_width + int(items["length"].max())].long()
        numbers = self.luck(items, run.seed)

        def read() -> Tensor:
            with torch.inference_mode():
                return system(tokens)

        def reply() -> Answers:
            with torch.inference_mode():
                return self.answer(system, items, numbers)

        return Workload(read if name.startswith("read") else reply, count, "answer")


def repeat(items: Split, times: int) -> dict[str, Tensor]:
    """Every item `times` times in a row."""
    return {name: values.repeat_interleave(times, 0) for name, values in items.items()}
