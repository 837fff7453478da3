"""Forward-Forward: gradients stay in their layer, goodness moves as it should, length does not leak."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot

from benchmarks import artefacts
from methods.bpfree.forward_forward import ForwardForward
from methods.bpfree.goodness import (
    contrast,
    goodness,
    normalised,
    overlaid,
    peer_penalty,
    wrong_labels,
)


def built(make_run: Any, **knobs: Any) -> tuple[Any, Any]:
    run = make_run(ForwardForward(**knobs))
    net = run.method.build(run)
    net.low.fill_(-0.8)
    net.high.fill_(2.0)
    return net, run


@pytest.fixture
def float64(monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks.tasks.classification import Fashion

    monkeypatch.setattr(Fashion, "inputs", lambda self, x: (x.double() - 72.94) / 90.02)


# ---------------------------------------------------------------- gradients


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_each_layer_has_the_gradient_of_its_own_loss_alone(make_run, batch, kind, monkeypatch):
    """Autograd of loss_i with everything below held fixed; nothing of loss_j, j != i."""
    net, run = built(make_run, goodness=kind, peer=0.03)
    net.double()
    wrong = (batch["y"] + 3) % 10
    monkeypatch.setattr("methods.bpfree.forward_forward.wrong_labels", lambda *_: wrong)
    loss = run.method.loss(net, run)
    loss(net, batch).backward()
    found = [layer.weight.grad.clone() for layer in net.layers]
    x = run.task.inputs(batch["x"])
    a = net.with_label(torch.cat([x, x]), one_hot(torch.cat([batch["y"], wrong]), 10))
    for at, layer in enumerate(net.layers):
        h = (a @ layer.weight.T + layer.bias).clamp(min=0)
        g = (h**2).sum(1) if kind == "sum" else (h**2).mean(1)
        line = 1.0 * (12 if kind == "sum" else 1)
        right, bad = g[:16], g[16:]
        own = torch.log1p(torch.exp(line - right)).mean() + torch.log1p(torch.exp(bad - line)).mean()
        running = 0.1 * h[:16].mean(0)
        own = own + 0.03 * ((running - running.mean()) ** 2).mean()
        wanted = torch.autograd.grad(own, [layer.weight])[0]
        torch.testing.assert_close(found[at], wanted, rtol=1e-9, atol=1e-13)
        a = (h / (h**2).mean(1, keepdim=True).sqrt()).detach()


@pytest.mark.usefixtures("float64")
def test_no_gradient_crosses_a_layer(make_run, batch):
    """Each layer's loss alone: every other layer's gradient is exactly none."""
    net, run = built(make_run)
    net.double()
    x = run.task.inputs(batch["x"])
    seen = net.with_label(x, one_hot(batch["y"], 10))
    for at in range(3):
        net.zero_grad(set_to_none=True)
        h = seen
        for below in net.layers[:at]:
            h = normalised(below(h).relu()).detach()
        own, _ = run.method.layer_loss(net.layers[at](h).relu(), torch.zeros(12))
        own.backward()
        assert [layer.weight.grad is not None for layer in net.layers] == [other == at for other in range(3)]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("negatives", ["random", "hard"])
def test_the_readout_teaches_no_layer(make_run, batch, negatives):
    net, run = built(make_run, prediction="readout", negatives=negatives)
    net.double()
    torch.nn.functional.cross_entropy(net.read(run.task.inputs(batch["x"])), batch["y"]).backward()
    assert net.readout.weight.grad.any()
    assert all(layer.weight.grad is None for layer in net.layers)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["sum", "mean"])
def test_right_goodness_rises_and_wrong_falls_in_a_small_step(make_run, batch, kind):
    """Every layer, one small step down its own loss: the margin between right and wrong grows; each part alone
    moves its own side."""
    net, run = built(make_run, goodness=kind)
    net.double()
    x = run.task.inputs(batch["x"])
    labels = one_hot(torch.cat([batch["y"], (batch["y"] + 1) % 10]), 10)
    seen, line = net.with_label(torch.cat([x, x]), labels), 12.0 if kind == "sum" else 1.0
    far = torch.full((16,), line, dtype=torch.float64)  # a side that does not move
    for layer in net.layers:

        def measure(layer: Any = layer, seen: Tensor = seen) -> tuple[Tensor, Tensor]:
            right, wrong = goodness(layer(seen).relu(), kind).chunk(2)
            return right, wrong

        before = [side.mean().item() for side in measure()]
        for part, sign in ((0, 1.0), (1, -1.0)):
            sides = [far, far]
            sides[part] = measure()[part]
            slope = torch.autograd.grad(contrast(sides[0], sides[1], line), layer.weight)[0]
            with torch.no_grad():
                layer.weight -= 1e-5 * slope
                moved = measure()[part].mean().item() - before[part]
                layer.weight += 1e-5 * slope
            assert sign * moved > 0
        seen = normalised(layer(seen).relu()).detach()


# ---------------------------------------------------------------- length, labels, peers


def test_length_does_not_pass_to_the_next_layer():
    h = torch.randn(9, 30, dtype=torch.float64).relu()
    factors = torch.logspace(-3, 3, 9, dtype=torch.float64)[:, None]
    torch.testing.assert_close(normalised(factors * h), normalised(h), rtol=1e-12, atol=0)
    torch.testing.assert_close(normalised(h).square().mean(1), torch.ones(9, dtype=torch.float64))
    assert torch.equal(normalised(torch.zeros(2, 5)), torch.zeros(2, 5))
    assert not torch.allclose(goodness(factors * h, "sum"), goodness(h, "sum"))


@pytest.mark.usefixtures("float64")
def test_scaling_a_layer_changes_nothing_above_it(make_run, batch):
    net, run = built(make_run)
    net.double()
    x = net.with_label(run.task.inputs(batch["x"]), one_hot(batch["y"], 10))
    before = net.activities(x)
    with torch.no_grad():
        net.layers[0].weight *= 7.0
        net.layers[0].bias *= 7.0
    after = net.activities(x)
    torch.testing.assert_close(after[0], 7.0 * before[0])
    for a, b in zip(after[1:], before[1:], strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-14)


def test_goodness_kinds():
    h = torch.tensor([[1.0, 2.0, 0.0, 3.0]])
    assert goodness(h, "sum").item() == 14.0 and goodness(h, "mean").item() == 3.5


def test_labels_are_laid_over_the_first_inputs_or_beside_them():
    x, label = torch.arange(12.0).reshape(2, 6), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    over = overlaid(x, label, -1.0, 3.0, append=False)
    assert over.tolist() == [[3, -1, 2, 3, 4, 5], [-1, 3, 8, 9, 10, 11]]
    beside = overlaid(x, label, -1.0, 3.0, append=True)
    assert torch.equal(beside[:, 2:], x) and torch.equal(beside[:, :2], over[:, :2])


def test_wrong_labels_are_wrong_and_alike():
    torch.manual_seed(0)
    y = torch.arange(10).repeat(2000)
    drawn = wrong_labels(y, 10)
    assert not (drawn == y).any()
    shares = torch.stack(
        [(drawn[y == c] == d).float().mean() for c in range(10) for d in range(10) if c != d]
    )
    assert (shares - 1 / 9).abs().max() < 5 * (1 / 9 * 8 / 9 / 2000) ** 0.5


def test_hard_negatives_follow_the_readout():
    torch.manual_seed(0)
    y = torch.zeros(6000, dtype=torch.long)
    preference = torch.tensor([0.9, 0.06, 0.03, 0.01]).expand(6000, 4)
    drawn = wrong_labels(y, 4, preference)
    shares = torch.bincount(drawn, minlength=4) / 6000
    torch.testing.assert_close(shares, torch.tensor([0.0, 0.6, 0.3, 0.1]), atol=0.03, rtol=0)


def test_peer_penalty_by_hand():
    mean = torch.tensor([1.0, 3.0], dtype=torch.float64, requires_grad=True)
    penalty, running = peer_penalty(mean, torch.tensor([2.0, 2.0], dtype=torch.float64))
    assert running.tolist() == pytest.approx([1.9, 2.1]) and not running.requires_grad
    assert penalty.item() == pytest.approx(0.01)
    penalty.backward()
    assert mean.grad[0] < 0 < mean.grad[1]  # the silent unit is raised, the busy one lowered


# ---------------------------------------------------------------- what answers


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("label", ["overwrite", "append"])
def test_goodness_answers_with_all_layers_but_the_first(make_run, batch, label):
    net, run = built(make_run, label=label)
    net.double()
    x = run.task.inputs(batch["x"])
    answered = net(x)
    for item in range(3):
        for candidate in range(10):
            one = one_hot(torch.tensor([candidate]), 10)
            a, total = (
                overlaid(x[item : item + 1], one, float(net.low), float(net.high), label == "append"),
                0.0,
            )
            for at, layer in enumerate(net.layers):
                h = (a @ layer.weight.T + layer.bias).clamp(min=0)
                total += float((h**2).sum().detach()) if at else 0.0
                a = h / (h**2).mean().sqrt()
            assert answered[item, candidate].item() == pytest.approx(total, rel=1e-10)


def test_a_readout_needs_one_pass(make_run, batch):
    from benchmarks.counting import Counter

    counts = []
    for prediction in ("goodness", "readout"):
        net, run = built(make_run, prediction=prediction)
        with Counter() as counter, torch.no_grad():
            net(run.task.inputs(batch["x"]))
        counts.append(counter.count().flops)
    hidden = 2 * 16 * (784 * 12 + 2 * 12 * 12)
    assert counts == [10 * hidden, hidden + 2 * 16 * 24 * 10]


@pytest.mark.parametrize(
    "knobs", [{}, {"prediction": "readout", "negatives": "hard", "peer": 0.03}, {"label": "append"}]
)
def test_it_learns_and_is_stored(make_run, tmp_path, knobs):
    """250 steps on 64 images of two levels of grey: right and wrong come apart, and the file answers alike."""
    run = make_run(
        ForwardForward(lr_factor=2.0, budget=2.5, **knobs), images=64, epochs=100, depth=2, width=32
    )
    x, y = run.train["x"][:64].clone(), run.train["y"][:64] % 2
    x[y == 1] //= 3
    run.train = run.valid = {"x": x, "y": y}
    model = run.method.fit(run.method.build(run), run)
    logits = model(run.task.inputs(x))
    assert (logits.argmax(1) == y).float().mean() > 0.9
    probes = run.method.probe(model, run)
    assert probes["goodness_right_layer2"] > probes["goodness_wrong_layer2"]
    model = artefacts.bake(copy.deepcopy(model))
    fresh = lambda: run.method.build(run)  # noqa: E731
    artefacts.save(tmp_path / "cell", model, {"builder": {}}, {}, fresh)
    spec = artefacts.read_spec(tmp_path / "cell")
    back = artefacts.load_tensors(tmp_path / "cell", fresh(), spec, run.device)
    assert torch.equal(back(run.task.inputs(x)), logits)
