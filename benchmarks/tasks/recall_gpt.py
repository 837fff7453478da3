"""Associative recall: what a cheaper attention or a smaller cache forgets, told by distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tasks.base import Metric, Recipe, Scores, Task, Workload, knob

#: Tokens: keys, then values, then filler.
KEYS, VALUES, FILLER = 64, 64, 32
VOCABULARY = KEYS + VALUES + FILLER
#: What is not asked for: no loss, no score.
IGNORE = -1


@dataclass(frozen=True)
class RecallGpt(Task):
    """Multi-query associative recall (Arora et al., 2023): pairs of key and value, then the keys again in filler.

    A sequence begins with `pairs` key-value pairs; each key returns once, at a random place, and the model must say
    its value. Synthetic. An item is a question; its `distance` is how far back the pair lies, to the next power of 2.
    Embeddings start with standard deviation 1: with 0.02, as in GPT-2, the same network does not learn the task.
    """

    length: int = knob(64, low=8, high=4096, help="tokens of a sequence")
    pairs: int = knob(8, low=1, high=64, help="key-value pairs of a sequence")
    width: int = knob(64, low=8, high=1024, help="width of the decoder")
    depth: int = knob(2, low=1, high=16, help="blocks")
    heads: int = knob(1, low=1, high=16, help="query heads")
    steps: int = knob(400, low=1, high=100000, help="training steps of 64 sequences")

    metrics = (Metric("accuracy", "share", "higher", chance=1 / 64, band=0.005),)
    workloads = {
        "batch64": "64 sequences",
        "prefill@N": "one sequence of N tokens, made of whole ones",
        "decode@N": "one token behind N cached ones",
        "train_step": "one optimiser step of the method's own loop",
    }
    main_workload = "batch64"
    offers = ("text",)
    train_cpu_s = 18.0
    score_cpu_s = 1.0
    small = {"length": 16, "pairs": 2, "width": 16, "steps": 20}
    controls = {
        "positive": "two blocks of full attention answer 95 % of the questions",
        "negative": "a window shorter than every distance answers no more than a guess among the values",
    }

    @property
    def recipe(self):
        return Recipe(steps=self.steps, batch=64, lr=3e-3, weight_decay=0.1, warmup=0.05, clip=1.0)

    def prepare(self):
        rng = np.random.default_rng(11)
        return {name: self._sequences(rng, count) for name, count in (("train", 64 * 400), ("valid", 256), ("test", 1000))}

    def _sequences(self, rng, count):
        """tokens uint8 [count, length], and answers int16 [count, length]: the value that follows a question."""
        slots = (self.length - 2 * self.pairs) // 2
        if slots < self.pairs:
            raise ValueError(f"recall_gpt: {self.pairs} pairs and as many questions need a length of {4 * self.pairs}")
        tokens = rng.integers(KEYS + VALUES, VOCABULARY, (count, self.length))
        answers = np.full((count, self.length), IGNORE)
        rows = np.arange(count)[:, None]
        keys = np.argsort(rng.random((count, KEYS)), axis=1)[:, : self.pairs]
        values = KEYS + rng.integers(0, VALUES, (count, self.pairs))
        tokens[:, 0 : 2 * self.pairs : 2], tokens[:, 1 : 2 * self.pairs : 2] = keys, values
        places = 2 * self.pairs + 2 * np.argsort(rng.random((count, slots)), axis=1)[:, : self.pairs]
        tokens[rows, places], tokens[rows, places + 1] = keys, values
        answers[rows, places] = values
        return {"tokens": tokens.astype(np.uint8), "answers": answers.astype(np.int16)}

    def model(self, run, width=None, **slots):
        from benchmarks.models.transformer import Decoder

        return Decoder(VOCABULARY, width or self.width, self.depth, self.heads, embedding_std=1.0, **slots)

    def loss(self, model, batch):
        from torch.nn.functional import cross_entropy

        asked = batch["answers"] != IGNORE
        # the head is computed only where an answer is asked for
        return cross_entropy(model.head(model.features(batch["tokens"])[asked]), batch["answers"][asked].long())

    def score(self, system, split, run):
        import torch

        asked = split["answers"] != IGNORE
        with torch.inference_mode():
            said = torch.cat([system(tokens).argmax(-1) for tokens in split["tokens"].split(200)])
        right = (said == split["answers"])[asked].numpy()
        return {"accuracy": Scores(right, {"distance": self._distance(split)})}

    def _distance(self, split):
        """Of every question, to its pair's value, rounded up to a power of two."""
        tokens, answers = split["tokens"].numpy().astype(int), split["answers"].numpy()
        row, place = np.nonzero(answers != IGNORE)
        pair = (tokens[row, 0 : 2 * self.pairs : 2] == tokens[row, place][:, None]).argmax(1)
        return (2 ** np.ceil(np.log2(place - (2 * pair + 1)))).astype(int)

    def workload(self, name, system, split, run):
        import torch

        kind, _, length = name.partition("@")
        if kind == "batch64":
            tokens = split["tokens"][:64]
            return Workload(torch.inference_mode()(lambda: system(tokens)), 64, "sequence")
        running = split["tokens"].flatten()[: int(length) + 1][None]

        @torch.inference_mode()
        def prefill():
            return system.prefill(running[:, :-1], system.new_cache())

        if kind == "prefill":
            return Workload(prefill, int(length), "token")
        with torch.inference_mode():
            cache = system.new_cache()
            system.prefill(running[:, :-1], cache)

        @torch.inference_mode()
        def decode():
            cache.rewind(int(length))
            return system.step(running[:, -1], cache)

        return Workload(decode, 1, "token")
