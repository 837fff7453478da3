"""A discrete-event model of language-model serving: iterations of workers, queues, latency limits.

Times are modelled, nothing runs on a clock. A worker's iteration costs
    fixed + per_token * prefill tokens + per_sequence * decoding sequences + per_context * tokens in their caches
which is the roofline form: prefill is bound by arithmetic, decoding by reading weights and caches.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Cluster:
    """Workers, costs, limits; seconds and bytes.

    Attributes:
        workers: how many devices there are.
        fixed_s, per_token_s, per_sequence_s, per_context_s: cost of one iteration.
        kv_bytes: cache of one token.
        link_bytes_s: speed of the link over which caches move.
        max_batch: sequences that decode together.
        prompt_tokens: prompt tokens that are prefilled together.
        ttft_s, tpot_s: limits on the time to the first token and on the time of each further one.
    """

    workers: int
    fixed_s: float
    per_token_s: float
    per_sequence_s: float
    per_context_s: float
    kv_bytes: float
    link_bytes_s: float
    max_batch: int
    ttft_s: float
    tpot_s: float
    prompt_tokens: int = 2048  # of an iteration that prefills, vLLM's default; a longer prompt goes alone


@dataclass
class Request:
    """One request: arrival, lengths in tokens, and what became of it."""

    arrival_s: float
    prompt: int
    output: int
    first_s: float = math.inf
    last_s: float = math.inf
    done: int = 0
    prefilled: int = 0

    def in_time(self, cluster: Cluster) -> bool:
        """True when both limits were kept."""
        if not math.isfinite(self.last_s):
            return False
        per_token = (self.last_s - self.first_s) / max(self.output - 1, 1)
        return self.first_s - self.arrival_s <= cluster.ttft_s and per_token <= cluster.tpot_s


@dataclass(frozen=True)
class Trace:
    """A stream at rate 1; other rates only stretch its gaps, so that policies meet the same requests."""

    gaps: np.ndarray
    prompts: np.ndarray
    outputs: np.ndarray

    def at(self, rate: float) -> list[Request]:
        """The stream's requests at `rate` a second."""
        times = np.cumsum(self.gaps) / rate
        return [
            Request(float(t), int(p), int(o))
            for t, p, o in zip(times, self.prompts, self.outputs, strict=True)
        ]


def poisson_trace(rng: np.random.Generator, count: int, prompt: float, output: float, sigma: float) -> Trace:
    """Poisson arrivals, log-normal lengths with the given medians, in tokens."""

    def length(median: float) -> np.ndarray:
        return np.maximum(1, np.round(np.exp(rng.normal(math.log(median), sigma, count)))).astype(int)

    return Trace(rng.exponential(1.0, count), length(prompt), np.maximum(2, length(output)))


@dataclass
class Worker:
    """One device with a queue of prompts and a batch that decodes."""

    cluster: Cluster
    chunk: int | None = None
    clock_s: float = 0.0
    waiting: deque[tuple[float, Request]] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)

    def load(self) -> int:
        """Tokens of work that it holds: how requests are spread."""
        return sum(r.prompt - r.prefilled for _, r in self.waiting) + sum(
            r.prompt + r.done for r in self.running
        )

    def advance(self, until_s: float) -> None:
        """Run iterations that begin before `until_s`."""
        while self.clock_s < until_s:
            ready = bool(self.waiting) and self.waiting[0][0] <= self.clock_s
            if not ready and not self.running:
                if not self.waiting or self.waiting[0][0] >= until_s:
                    return
                self.clock_s = self.waiting[0][0]
                continue
            self._iterate()

    def _iterate(self) -> None:
        """One iteration: prompts first (colocated), or a chunk of a prompt beside the decoding batch (chunked)."""
        c = self.cluster
        prompts = self._prompts()
        tokens = sum(count for _, count in prompts)
        decoding = [] if prompts and self.chunk is None else self.running
        context = sum(r.prompt + r.done for r in decoding)
        self.clock_s += (
            c.fixed_s + c.per_token_s * tokens + c.per_sequence_s * len(decoding) + c.per_context_s * context
        )
        finished = []
        for request in decoding:
            request.done += 1
            if request.done >= request.output:
                request.last_s = self.clock_s
                finished.append(request)
        for request, count in prompts:
            request.prefilled += count
            if request.prefilled >= request.prompt:
                request.first_s, request.done = self.clock_s, 1
                self.running.append(request)
        if finished:
            self.running = [r for r in self.running if r.done < r.output]
        while self.waiting and self.waiting[0][1].prefilled >= self.waiting[0][1].prompt:
            self.waiting.popleft()

    def _prompts(self) -> list[tuple[Request, int]]:
        """Which prompt tokens the next iteration takes."""
        room = self.cluster.max_batch - len(self.running)
        whole = self.chunk is None
        left = max((self.chunk or 0) - len(self.running), 1) if not whole else self.cluster.prompt_tokens
        taken: list[tuple[Request, int]] = []
        for ready_s, request in self.waiting:
            if ready_s > self.clock_s or len(taken) >= room or left <= 0:
                break
            rest = request.prompt - request.prefilled
            if whole and taken and rest > left:
                break
            count = rest if whole else int(min(rest, left))
            taken.append((request, count))
            left -= count
        return taken


def run_colocated(cluster: Cluster, requests: Sequence[Request], chunk: int | None) -> None:
    """Every worker prefills and decodes; a request goes to the least loaded one."""
    workers = [Worker(cluster, chunk) for _ in range(cluster.workers)]
    for request in requests:
        for worker in workers:
            worker.advance(request.arrival_s)
        min(workers, key=Worker.load).waiting.append((request.arrival_s, request))
    for worker in workers:
        worker.advance(math.inf)


def run_disaggregated(cluster: Cluster, requests: Sequence[Request], prefillers: int) -> None:
    """`prefillers` workers only prefill, the others only decode; the cache's way counts into the first token."""
    ready = _prefill(cluster, deque(requests), prefillers)
    decoders = [Decoder(cluster) for _ in range(cluster.workers - prefillers)]
    for moved, _, request in sorted(ready, key=lambda entry: entry[:2]):
        for worker in decoders:
            worker.advance(moved)
        min(decoders, key=Decoder.load).arrive(moved, request)
    for worker in decoders:
        worker.advance(math.inf)


def _prefill(cluster: Cluster, queue: deque[Request], prefillers: int) -> list[tuple[float, int, Request]]:
    """Prompts in order of arrival, as many together as an iteration takes: (cache there at, number, request)."""
    free = [(0.0, at) for at in range(prefillers)]
    ready: list[tuple[float, int, Request]] = []
    while queue:
        free_s, at = heapq.heappop(free)
        start = max(free_s, queue[0].arrival_s)
        batch: list[Request] = []
        tokens = 0
        while queue and queue[0].arrival_s <= start:
            if batch and tokens + queue[0].prompt > cluster.prompt_tokens:
                break
            batch.append(queue.popleft())
            tokens += batch[-1].prompt
        end = start + cluster.fixed_s + cluster.per_token_s * tokens
        heapq.heappush(free, (end, at))
        for request in batch:
            moved = end + cluster.kv_bytes * request.prompt / cluster.link_bytes_s
            request.first_s, request.done, request.prefilled = moved, 1, request.prompt
            ready.append((moved, len(ready), request))
    return ready


@dataclass
class Decoder:
    """A worker that only decodes."""

    cluster: Cluster
    clock_s: float = 0.0
    queue: deque[tuple[float, Request]] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)

    def load(self) -> int:
        """Sequences that it holds."""
        return len(self.queue) + len(self.running)

    def arrive(self, ready_s: float, request: Request) -> None:
        """A prefilled request whose cache is there at `ready_s`."""
        self.queue.append((ready_s, request))

    def advance(self, until_s: float) -> None:
        """Run iterations that begin before `until_s`."""
        c = self.cluster
        while self.clock_s < until_s:
            while self.queue and self.queue[0][0] <= self.clock_s and len(self.running) < c.max_batch:
                self.running.append(self.queue.popleft()[1])
            if not self.running:
                if not self.queue or self.queue[0][0] >= until_s:
                    return
                self.clock_s = max(self.clock_s, self.queue[0][0])
                continue
            context = sum(r.prompt + r.done for r in self.running)
            self.clock_s += c.fixed_s + c.per_sequence_s * len(self.running) + c.per_context_s * context
            for request in self.running:
                request.done += 1
                if request.done >= request.output:
                    request.last_s = self.clock_s
            self.running = [r for r in self.running if r.done < r.output]


#: Serve a list of requests on a cluster; the requests then hold their times.
Serve = Callable[[Cluster, Sequence[Request]], None]


def attainment(serve: Serve, cluster: Cluster, trace: Trace, rate: float) -> float:
    """Share of requests inside both limits at `rate`; the first tenth, while queues fill, is left out."""
    requests = trace.at(rate)
    serve(cluster, requests)
    counted = requests[len(requests) // 10 :]
    return sum(request.in_time(cluster) for request in counted) / len(counted)


def goodput(serve: Serve, cluster: Cluster, trace: Trace, share: float = 0.9, steps: int = 7) -> float:
    """The highest rate a second at which `share` of the requests are inside both limits, by bisection on logs.

    Zero where even one request at a time is too slow. A short stream can be served whatever its rate; the answer is
    then the rate at which one token of every request would fill all decoding slots.
    """
    ceiling = cluster.workers * cluster.max_batch / cluster.fixed_s
    low = high = 0.05 / cluster.fixed_s / 100
    if attainment(serve, cluster, trace, low) < share:
        return 0.0
    while attainment(serve, cluster, trace, high * 2) >= share:
        high *= 2
        if high >= ceiling:
            return ceiling
    low, high = high, high * 2
    for _ in range(steps):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if attainment(serve, cluster, trace, middle) >= share else (low, middle)
    return low
