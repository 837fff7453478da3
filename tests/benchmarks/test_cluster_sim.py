"""The simulated cluster: times that can be worked out by hand, nothing lost, and a queue whose theory is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.models.serving import (
    Cluster,
    Request,
    Trace,
    attainment,
    goodput,
    poisson_trace,
    run_colocated,
    run_disaggregated,
)

CLUSTER = Cluster(
    workers=2, fixed_s=0.01, per_token_s=1e-4, per_sequence_s=1e-4, per_context_s=1e-7, kv_bytes=1e5,
    link_bytes_s=1e10, max_batch=8, ttft_s=1.0, tpot_s=0.05,
)  # fmt: skip


def decode_s(prompt: int, output: int) -> float:
    """Decoding alone: one iteration a further token, with the cache as it grows."""
    return sum(0.01 + 1e-4 + 1e-7 * (prompt + done) for done in range(1, output))


def test_a_lone_request_takes_the_sum_of_its_parts() -> None:
    request = Request(0.5, 100, 5)
    run_colocated(CLUSTER, [request], None)
    assert request.first_s == pytest.approx(0.5 + 0.01 + 0.01)
    assert request.last_s - request.first_s == pytest.approx(decode_s(100, 5))
    apart = Request(0.5, 100, 5)
    run_disaggregated(CLUSTER, [apart], 1)
    assert apart.first_s == pytest.approx(0.5 + 0.02 + 100 * 1e5 / 1e10)
    assert apart.last_s - apart.first_s == pytest.approx(decode_s(100, 5))


def test_chunks_longer_than_every_prompt_change_nothing_for_a_lone_request() -> None:
    a, b = Request(0.0, 300, 4), Request(0.0, 300, 4)
    run_colocated(CLUSTER, [a], None)
    run_colocated(CLUSTER, [b], 10**6)
    assert (a.first_s, a.last_s) == pytest.approx((b.first_s, b.last_s))


@pytest.mark.parametrize(
    "serve",
    [
        lambda c, r: run_colocated(c, r, None),
        lambda c, r: run_colocated(c, r, 64),
        lambda c, r: run_disaggregated(c, r, 1),
    ],
)
def test_every_request_is_served_whole_and_in_order_of_causes(serve) -> None:
    requests = poisson_trace(np.random.default_rng(0), 200, 200, 20, 0.5).at(20.0)
    serve(CLUSTER, requests)
    assert all(r.done == r.output and r.prefilled == r.prompt for r in requests)
    assert all(r.arrival_s < r.first_s <= r.last_s < np.inf for r in requests)


def test_prefill_alone_is_an_m_d_1_queue() -> None:
    """Mean wait of M/D/1: rho * service / (2 (1 - rho)); outputs of two tokens on a decoder that never waits."""
    service, rho = 0.01 + 1e-4 * 100, 0.6
    rng = np.random.default_rng(1)
    count = 20_000
    trace = Trace(rng.exponential(1.0, count), np.full(count, 100), np.full(count, 2))
    requests = trace.at(rho / service)
    run_disaggregated(replace(CLUSTER, kv_bytes=0.0, prompt_tokens=1), requests, 1)
    waits = [r.first_s - r.arrival_s - service for r in requests]
    assert np.mean(waits) == pytest.approx(rho * service / (2 * (1 - rho)), rel=0.08)


def test_a_slower_link_is_charged_to_the_first_token() -> None:
    fast, slow = Request(0.0, 100, 3), Request(0.0, 100, 3)
    run_disaggregated(CLUSTER, [fast], 1)
    run_disaggregated(replace(CLUSTER, link_bytes_s=1e7), [slow], 1)
    assert slow.first_s - fast.first_s == pytest.approx(1.0 - 1e-3)
    assert slow.last_s - slow.first_s == pytest.approx(fast.last_s - fast.first_s)


def test_goodput_is_where_attainment_crosses() -> None:
    trace = poisson_trace(np.random.default_rng(2), 200, 200, 20, 0.5)
    serve = lambda c, r: run_colocated(c, r, None)  # noqa: E731
    rate = goodput(serve, CLUSTER, trace)
    assert attainment(serve, CLUSTER, trace, rate) >= 0.9 > attainment(serve, CLUSTER, trace, rate * 1.3)
    assert goodput(serve, replace(CLUSTER, ttft_s=1e-9), trace) == 0.0


def test_a_stream_too_short_to_be_late_has_a_ceiling() -> None:
    trace = poisson_trace(np.random.default_rng(3), 20, 50, 4, 0.5)
    patient = replace(CLUSTER, ttft_s=1e6, tpot_s=1e6)
    assert goodput(lambda c, r: run_colocated(c, r, None), patient, trace) == 2 * 8 / 0.01
