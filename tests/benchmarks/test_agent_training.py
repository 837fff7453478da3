"""Training of the agents' models: data, optimiser, and what the vendored checkpoints must keep."""

from __future__ import annotations

import hashlib
import random
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from benchmarks.models import agent_world as w
from benchmarks.models.agent_data import batches, drill_example, drill_share, trace_example
from benchmarks.models.agent_engine import AgentConfig, Engine
from benchmarks.models.agent_model import AgentModel, load, size_of
from benchmarks.models.agent_training import (
    Muon,
    main,
    optimisers,
    orthogonalise,
    own_loss,
    rate_factor,
    train,
)

DATA = Path(__file__).resolve().parents[2] / "benchmarks" / "data" / "tool_agents"
MANIFEST = yaml.safe_load((DATA / "manifest.yaml").read_text())
SEEDS = range(5)


def test_trace_examples_count_what_the_agent_writes() -> None:
    rng, tasks, tools = random.Random(0), w.make_tasks(60, 3), w.Tools(0)
    seen = set()
    for task in tasks * 4:
        tokens, own = trace_example(rng, task, tools)
        words = w.render(tokens).split()
        seen |= set(words[:3])
        written = [word for word, counts in zip(words, own, strict=True) if counts]
        assert written[-2] in "SA" or written[-4] == "C"
        assert not {"Q", "?", "O", "|", "*", "-"} & set(written)
        if words[1] == "MF":
            assert written[-2:] == ["A", w.VOCABULARY[task.answer]]
            assert words.count("O") == words.count("S") + words.count("C")
        else:
            assert words.count("O") <= 1 and own[-1] and own == sorted(own)
    assert seen == {"R0", "R1", "R2", "MF", "MS", "MN", "k1", "k2", "k3"}


def test_drills_ask_for_facts_of_the_right_page() -> None:
    rng, tasks, tools = random.Random(1), w.make_tasks(60, 4), w.Tools(0)
    forms = set()
    for task in tasks:
        tokens, own = drill_example(rng, task, tools)
        asked = [i for i, counts in enumerate(own) if counts and tokens[i] != w.MISS]
        assert len(asked) == 5
        assert all(tokens[i] == task.fact(tokens[1], tokens[i - 1]) for i in asked)
        assert tokens.count(w.MISS) == tokens.count(w.SEARCH) - 1
        forms.add(any(token in w.VARIABLES for token in tokens))
    assert forms == {True, False}


def test_drill_share_falls() -> None:
    assert [round(drill_share(p), 3) for p in (0.0, 0.3, 0.6, 0.9)] == [0.7, 0.475, 0.25, 0.25]


def test_batches_are_repeatable_and_aligned() -> None:
    first, second = list(batches(7, 6, n_tasks=50)), list(batches(7, 6, n_tasks=50))
    assert len(first) == 6
    for (inputs, targets, own), again in zip(first, second, strict=True):
        assert inputs.shape == targets.shape == own.shape and len(inputs) == 24
        assert np.array_equal(inputs[:, 1:], targets[:, :-1])
        assert not own[targets == w.PAD].any() and own.any(1).all()
        assert all(np.array_equal(a, b) for a, b in zip((inputs, targets, own), again, strict=True))
    assert not np.array_equal(first[0][0], next(batches(8, 6, n_tasks=50))[0])


def test_orthogonalise() -> None:
    torch.manual_seed(0)
    for shape in ((4, 16, 16), (3, 8, 32), (2, 32, 8)):
        values = torch.linalg.svdvals(orthogonalise(torch.randn(shape, dtype=torch.double)))
        assert values.min() > 0.3 and values.max() < 1.3
    g = torch.randn(1, 8, 8, dtype=torch.double)
    u, _, vt = torch.linalg.svd(g)
    assert torch.cosine_similarity(orthogonalise(g).flatten(), (u @ vt).flatten(), dim=0) > 0.9


def test_muon_against_one_matrix_at_a_time() -> None:
    torch.manual_seed(0)
    shapes = [(6, 4), (6, 4), (4, 6)]
    params = [torch.nn.Parameter(torch.randn(s, dtype=torch.double)) for s in shapes]
    slow = [p.detach().clone() for p in params]
    momenta = [torch.zeros_like(p) for p in slow]
    optimiser = Muon(params, lr=0.1, momentum=0.9, weight_decay=0.5)
    for _ in range(3):
        grads = [torch.randn_like(p) for p in slow]
        for i, (p, g) in enumerate(zip(params, grads, strict=True)):
            p.grad = g.clone()
            momenta[i] = 0.9 * momenta[i] + 0.1 * g
            update = orthogonalise((0.1 * g + 0.9 * momenta[i])[None])[0]
            slow[i] = slow[i] * (1 - 0.1 * 0.5) - 0.1 * max(1, g.shape[0] / g.shape[1]) ** 0.5 * update
        optimiser.step()
    assert all(torch.allclose(p, q, atol=1e-12) for p, q in zip(params, slow, strict=True))


def test_optimisers_share_the_parameters_out() -> None:
    model = AgentModel(size_of("xs"))
    muon, adamw = (
        [id(p) for g in part.param_groups for p in g["params"]] for part in optimisers(model, 1e-3)
    )
    assert len(muon) == 2 * 6 and id(model.embedding.weight) in adamw and id(model.shift1.weight) in adamw
    assert sorted(muon + adamw) == sorted(id(p) for p in model.parameters())


def test_rates() -> None:
    assert rate_factor(0, 1000) == pytest.approx(0.02) and rate_factor(49, 1000) == 1.0
    assert rate_factor(500, 1000) == 1.0 and rate_factor(750, 1000) == pytest.approx(0.51)
    assert rate_factor(1000, 1000) == pytest.approx(0.02)


def test_loss_counts_only_its_own_words() -> None:
    model = AgentModel(size_of("xxs"))
    inputs, targets, own = (torch.from_numpy(part) for part in next(batches(1, 1, n_tasks=20)))
    logits = model(inputs).double()
    slow = [-logits[i, j].log_softmax(-1)[targets[i, j]] for i, j in own.nonzero().tolist()]
    assert own_loss(model, inputs, targets, own).item() == pytest.approx(
        torch.stack(slow).mean().item(), abs=1e-5
    )


def test_training_learns_and_repeats() -> None:
    losses: list[float] = []
    first = train("xxs", 0, steps=30, log=lambda _, loss: losses.append(loss))
    second = train("xxs", 0, steps=30)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert np.mean(losses[-3:]) < 0.9 * losses[0]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "a.safetensors"
    main(["--size", "xxs", "--seed", "1", "--steps", "2", "--out", str(out)])
    assert load(out).size == size_of("xxs") and "xxs seed 1: loss" in capsys.readouterr().out


def test_manifest_names_what_is_there() -> None:
    files = {path.name: path for path in DATA.glob("*.safetensors")}
    assert set(files) == {entry["file"] for entry in MANIFEST["files"]}
    assert set(files) == {f"{size}-{seed}.safetensors" for size in ("xxs", "xs") for seed in SEEDS}
    for entry in MANIFEST["files"]:
        assert hashlib.sha256(files[entry["file"]].read_bytes()).hexdigest() == entry["sha256"]
        assert entry["command"].endswith(f"--out benchmarks/data/tool_agents/{entry['file']}")
    assert sum(path.stat().st_size for path in files.values()) < 1_500_000


@cache
def success(size: str, seed: int, reasoning: str) -> tuple[float, float, float]:
    """Share of right answers by level, 60 questions each, at the baseline's other settings."""
    tasks = w.make_tasks(180, 77)
    attempts = Engine(load(DATA / f"{size}-{seed}.safetensors")).run(
        tasks, AgentConfig(reasoning=reasoning), seed
    )
    one, two, three = (np.mean([a.success for a in attempts if tasks[a.task].level == n]) for n in (1, 2, 3))
    return float(one), float(two), float(three)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_the_world_keeps_its_order(seed: int) -> None:
    """Success rises with size and with written reasoning and falls with the level, in every seed."""
    means = {}
    for size in ("xxs", "xs"):
        for reasoning in w.REASONING:
            levels = success(size, seed, reasoning)
            means[size, reasoning] = np.mean(levels)
            if means[size, reasoning] > 0.25:  # below it all levels are at the floor of lucky guesses
                assert (
                    levels[0] > levels[2] and levels[0] >= levels[1] - 0.05 and levels[1] >= levels[2] - 0.05
                )
        assert means[size, "none"] < means[size, "notes"] < means[size, "plan"]
    assert all(means["xxs", r] < means["xs", r] for r in w.REASONING)
    assert means["xs", "plan"] < 0.99
