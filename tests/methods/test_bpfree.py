"""Local learning: what passes between layers, what stays, and what a step of it costs."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks import artefacts
from benchmarks.measure.training import StepRunner
from benchmarks.run import MethodError, Run
from benchmarks.tasks.fashion_mlp import FashionMlp
from benchmarks.tasks.mnist1d_mlp import Mnist1dMlp
from methods.base import Method
from methods.bpfree.deep_supervision import DeepSupervision
from methods.bpfree.frozen_random import FrozenRandom
from methods.bpfree.local import joint_loss, local_loss, split, stages, with_readouts
from methods.bpfree.mono_forward import MonoForward
from methods.reference.baseline import Baseline

pixels = FashionMlp().inputs


def make_run(method: Method, **knobs: Any) -> Run:
    """A run on 256 random images, 8 steps of 32 in each pass."""
    task = FashionMlp(**{"width": 12, "depth": 3, "equal": True, "images": 256, "epochs": 3, **knobs})
    random = torch.Generator().manual_seed(7)
    x = torch.randint(0, 256, (256, 784), dtype=torch.uint8, generator=random)
    y = torch.randint(0, 10, (256,), generator=random)
    torch.manual_seed(0)
    return Run(task, method, 0, torch.device("cpu"), {"x": x, "y": y}, {"x": x[:10], "y": y[:10]})


def trained(method: Method, **knobs: Any) -> tuple[nn.Module, Run]:
    run = make_run(method, **knobs)
    model = method.build(run)
    return method.fit(model, run), run


def a_batch(run: Run) -> dict[str, Tensor]:
    return next(iter(run.task.batches(run, 1)))


def weights(model: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in model.parameters()]


# ---------------------------------------------------------------- gradients


def test_no_gradient_leaves_a_layer():
    run = make_run(MonoForward())
    model = run.method.build(run)
    parts = stages(model)
    everything = nn.ModuleList(parts)
    for at, stage in enumerate(parts):
        everything.zero_grad()
        run.task.loss(stage, a_batch(run)).backward()
        for other, rest in enumerate(parts):
            for parameter in rest.parameters():
                touched = parameter.grad is not None and bool(parameter.grad.any())
                assert touched == (other == at), f"loss {at + 1}, layer {other + 1}"


def test_local_gradient_is_the_papers():
    """dW_i = ((p - onehot) M_i * [z_i > 0])^T a_(i-1) / n, in float64."""
    run = make_run(MonoForward())
    model = run.method.build(run).double()
    parts, batch = stages(model.double()), a_batch(run)
    nn.ModuleList(parts).double()
    a, wanted = pixels(batch["x"]).double(), []
    for stage in parts:
        z = a @ stage.layer.weight.T + stage.layer.bias
        below, a = a, z.clamp(min=0)
        error = torch.softmax(a @ stage.matrix.weight.T, 1) - torch.eye(10, dtype=z.dtype)[batch["y"]]
        wanted.append(((error @ stage.matrix.weight * (z > 0)).T @ below / len(z), error.T @ a / len(z)))
    loss = cross_entropy(parts[1](pixels(batch["x"]).double()), batch["y"])
    found = torch.autograd.grad(loss, [parts[1].layer.weight, parts[1].matrix.weight])
    torch.testing.assert_close(found, wanted[1], rtol=1e-10, atol=1e-14)


def test_together_has_the_same_local_gradients():
    run = make_run(MonoForward(order="together"))
    parts, batch = stages(run.method.build(run)), a_batch(run)
    wanted = []
    for stage in parts:
        wanted += torch.autograd.grad(run.task.loss(stage, batch), list(stage.parameters()))
    local_loss(run, parts)(nn.ModuleList(parts), batch).backward()
    found = [parameter.grad for stage in parts for parameter in stage.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))


def test_deep_supervision_reaches_lower_layers():
    run = make_run(DeepSupervision())
    parts, batch = stages(run.method.build(run)), a_batch(run)
    first = parts[0].layer.weight
    local = torch.autograd.grad(run.task.loss(parts[0], batch), first)[0]
    a, losses = pixels(batch["x"]), []
    for stage in parts:
        a = stage.layer(a).relu()
        losses.append(cross_entropy(stage.matrix(a), batch["y"]))
    each = [torch.autograd.grad(loss, first, retain_graph=True)[0] for loss in losses]
    assert all(gradient.any() for gradient in each)
    joint = torch.autograd.grad(joint_loss(run, parts)(nn.ModuleList(parts), batch), first)[0]
    torch.testing.assert_close(joint, sum(each))
    assert not torch.allclose(joint, local)


def test_one_layer_is_backpropagation_with_that_head():
    run = make_run(MonoForward(), depth=1)
    model = run.method.build(run)
    twin, before = copy.deepcopy(model), weights(model)
    run.method.fit(model, run)
    other = make_run(Baseline(), depth=1)
    other.method.fit(twin, other)
    assert all(torch.equal(a, b) for a, b in zip(weights(model), weights(twin), strict=True))
    assert not torch.equal(weights(model)[0], before[0])


# ---------------------------------------------------------------- order and budget


def test_earlier_layers_are_frozen_and_later_ones_wait():
    run = make_run(MonoForward())
    model = run.method.build(run)
    seen, steps = {}, run.steps

    def watched(stage: nn.Module, **how: Any) -> Any:
        seen[how["phase"]] = [layer.weight.detach().clone() for layer in model.layers]
        yield from steps(stage, **how)

    run.steps = watched  # type: ignore[method-assign]
    run.method.fit(model, run)
    states = [*seen.values(), [layer.weight.detach() for layer in model.layers]]
    assert list(seen) == ["layer1", "layer2", "layer3"]
    for phase, (before, after) in enumerate(zip(states, states[1:], strict=False)):
        moved = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        own = [layer == phase or (layer == 3 and phase == 2) for layer in range(4)]  # M_3 learns with W_3
        assert moved == own, f"phase {phase + 1}"


@pytest.mark.parametrize(("budget", "each"), [(1.0, 8), (3.0, 24)])
def test_layers_share_the_budget(budget: float, each: int):
    """24 steps, twelve passes: four a layer, twelve in all as in backpropagation; budget 3: twelve each."""
    _, run = trained(MonoForward(budget=budget), images=256, epochs=12)
    assert run.log.steps == {"layer1": each, "layer2": each, "layer3": each}
    assert run.log.samples == 3 * each * 128
    assert set(run.log.flops) == set(run.log.peak_live_bytes) == set(run.log.steps)


def test_others_have_one_phase_of_the_whole_budget():
    for method, phase in (
        (MonoForward(order="together"), "together"),
        (DeepSupervision(), "together"),
        (FrozenRandom(), "readout"),
    ):
        _, run = trained(method)
        assert run.log.steps == {phase: 6}


def test_a_preview_visits_every_phase():
    run = make_run(MonoForward())
    model = run.method.build(run)

    def fit(preview: StepRunner) -> None:
        run.preview = preview
        run.method.fit(model, run)

    runner = StepRunner(fit)
    for cycle, phase in enumerate(("layer1", "layer2", "layer3")):
        assert runner.sample(cycle, 3).phase == phase
        assert runner.next_phase() == (phase != "layer3")
    assert runner.phases == ["layer1", "layer2", "layer3"]
    assert run.log.steps == {"layer1": 3, "layer2": 3, "layer3": 3}
    runner.close()


# ---------------------------------------------------------------- what answers, and what is stored


def test_last_answers_alone_and_sum_with_all():
    run = make_run(MonoForward())
    x = pixels(run.train["x"][:5])
    last, total = MonoForward().build(run), MonoForward(prediction="sum").build(run)
    a, goodness = x, []
    for stage in stages(total):
        a = stage.layer(a).relu()
        goodness.append(a @ stage.matrix.weight.T)
    torch.testing.assert_close(total(x), sum(goodness))
    assert not torch.allclose(total(x), goodness[-1])
    last.layers.load_state_dict(total.layers.state_dict())
    torch.testing.assert_close(last(x), goodness[-1])
    count = lambda model: sum(parameter.numel() for parameter in model.parameters())  # noqa: E731
    assert count(total) - count(last) == 2 * 10 * 12


@pytest.mark.parametrize("method", [MonoForward(), MonoForward(prediction="sum"), DeepSupervision()])
def test_a_trained_network_is_stored_and_built_again(method: Method, tmp_path):
    model, run = trained(method)
    model = artefacts.bake(model)
    fresh = lambda: method.build(run)  # noqa: E731
    artefacts.save(tmp_path / "cell", model, {"builder": {}}, {}, fresh)
    back = artefacts.load_tensors(
        tmp_path / "cell", fresh(), artefacts.read_spec(tmp_path / "cell"), run.device
    )
    x = pixels(run.train["x"][:5])
    assert torch.equal(back(x), model(x))


def test_summed_readouts_are_trained():
    run = make_run(MonoForward(prediction="sum"))
    model = run.method.build(run)
    before = weights(model)
    run.method.fit(model, run)
    assert all(not torch.equal(a, b) for a, b in zip(before, weights(model), strict=True))


def test_random_layers_stay_as_drawn():
    run = make_run(FrozenRandom())
    model = run.method.build(run)
    before = weights(model)[::2]
    run.method.fit(model, run)
    moved = [not torch.equal(a, b) for a, b in zip(weights(model)[::2], before, strict=True)]
    assert moved == [False, False, False, True]


def test_other_networks_are_refused():
    with pytest.raises(MethodError, match="two linear ones or more"):
        with_readouts(nn.Linear(3, 2), "last")
    with pytest.raises(MethodError, match="two linear ones or more"):
        split(Mnist1dMlp(depth=2).model(None).layers)


# ---------------------------------------------------------------- memory


@pytest.mark.parametrize(("order", "grows"), [("sequential", False), ("together", True)])
def test_memory_of_a_step_with_depth(order: str, grows: bool):
    """Signals are small, so what a step holds is its layers: gradients and activations of all, or of one."""
    peaks = []
    for depth in (2, 4, 8):
        task = Mnist1dMlp(width=64, depth=depth, signals=64, epochs=16)
        found = []
        for method in (Baseline(), DeepSupervision(), MonoForward(order=order)):
            random = torch.Generator().manual_seed(depth)
            train = {"x": torch.randn(64, 40, generator=random), "y": torch.arange(64) % 10}
            run = Run(task, method, 0, torch.device("cpu"), train, {})
            method.fit(method.build(run), run)
            found.append(max(run.log.peak_live_bytes.values()))
        peaks.append(found)
    backprop, joint, local = zip(*peaks, strict=True)
    assert backprop[0] < backprop[1] < backprop[2]
    assert joint[0] < joint[1] < joint[2]
    weights, activations = 6 * 4 * 64 * 64, 6 * 4 * 50 * 64  # of six more layers, in float32
    assert weights < backprop[2] - backprop[0] < weights + 2 * activations
    if grows:  # one update of all layers: their gradients must be there at the same time
        assert local[0] < local[1] < local[2] <= joint[2]
    else:
        assert local[0] == local[1] == local[2] < backprop[2]
