"""A simulated cluster that serves a language model under latency limits. All its numbers are modelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks.tasks.base import Metric, Scores, Task, knob


@dataclass(frozen=True)
class ClusterSim(Task):
    """Requests arrive, are prefilled and decoded by a pool of workers; a policy decides where.

    An item is a draw: cost parameters, lengths and limits from stated ranges, and a stream of requests. Its score is
    the goodput per worker, the highest rate at which 90 % of the requests keep both limits.
    Ranges: iteration 5 to 20 ms fixed, prefill 20 to 100 us a token, decoding 20 to 200 us a sequence and 5 to 50 ns a
    cached token, caches of 0.1 to 0.8 MB a token, links of 10 to 300 GB/s, prompts of 128 to 1024 tokens and
    outputs of 32 to 256 (medians), time to the first token 2 to 20 times that of a lone prompt.
    """

    workers: int = knob(4, low=2, high=16, help="devices in the pool")
    draws: int = knob(20, low=2, high=500, help="test draws of parameters and streams")
    requests: int = knob(300, low=20, high=20000, help="requests of a stream")
    tightness: float = knob(
        1.5, low=1.01, high=100.0, help="limit a token over one decoding step of 16 sequences"
    )
    link: float = knob(1.0, low=1e-6, high=1e3, help="factor on the speed of the link")

    metrics = (Metric("goodput", "requests/s/worker", "higher", chance=0.0, band=0.05, relative=True),)
    trains = False
    basis = "modelled"
    offers = ("serving",)
    train_cpu_s = 0.0
    score_cpu_s = 20.0
    small = {"draws": 2, "requests": 60}
    controls = {
        "positive": "a lone request is served in the time that its parts add up to",
        "negative": "a policy without effect (chunks longer than every prompt, one at a time) changes nothing",
    }

    def prepare(self):
        rng = np.random.default_rng(7)
        logs = lambda low, high, n: np.exp(rng.uniform(np.log(low), np.log(high), n))  # noqa: E731

        def draws(count):
            return {
                "fixed_s": logs(5e-3, 2e-2, count),
                "per_token_s": logs(2e-5, 1e-4, count),
                "per_sequence_s": logs(2e-5, 2e-4, count),
                "per_context_s": logs(5e-9, 5e-8, count),
                "kv_bytes": logs(1e5, 8e5, count),
                "link_bytes_s": logs(1e10, 3e11, count),
                "prompt": logs(128, 1024, count),
                "output": logs(32, 256, count),
                "first": logs(2, 20, count),
                "stream": rng.integers(0, 2**31, count),
            }

        return {"train": {}, "valid": {}, "test": draws(self.draws)}

    def model(self, run, width=None, **slots):
        from benchmarks.models.serving import run_colocated

        return [lambda cluster, requests: run_colocated(cluster, requests, None)]

    def score(self, system, split, run):
        draws = [
            {key: float(column[at]) for key, column in split.items()} for at in range(len(split["stream"]))
        ]
        return {"goodput": Scores(np.array([self._goodput(system, draw) for draw in draws]))}

    def _goodput(self, candidates, draw):
        """The policy's best configuration on one stream, judged on another: the search sees no test request."""
        from benchmarks.models.serving import goodput, poisson_trace

        cluster = self._cluster(draw)
        search, test = (
            poisson_trace(
                np.random.default_rng([int(draw["stream"]), at]),
                self.requests,
                draw["prompt"],
                draw["output"],
                0.5,
            )
            for at in (0, 1)
        )
        if len(candidates) == 1:
            return goodput(candidates[0], cluster, test) / self.workers
        found = [goodput(serve, cluster, search, steps=3) for serve in candidates]
        return goodput(candidates[int(np.argmax(found))], cluster, test) / self.workers

    def _cluster(self, draw):
        from benchmarks.models.serving import Cluster

        step = draw["fixed_s"] + 16 * draw["per_sequence_s"] + 16 * draw["prompt"] * draw["per_context_s"]
        return Cluster(
            workers=self.workers,
            fixed_s=draw["fixed_s"],
            per_token_s=draw["per_token_s"],
            per_sequence_s=draw["per_sequence_s"],
            per_context_s=draw["per_context_s"],
            kv_bytes=draw["kv_bytes"],
            link_bytes_s=draw["link_bytes_s"] * self.link,
            max_batch=64,
            ttft_s=draw["first"] * (draw["fixed_s"] + draw["per_token_s"] * draw["prompt"]),
            tpot_s=self.tightness * step,
        )
