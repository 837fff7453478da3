"""What is done to finished networks to understand them: cuts, lines, noise, temperatures."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks.run import MethodError, Run
from benchmarks.tasks.fashion_mlp import FashionMlp
from methods.analysis.between_solutions import BetweenSolutions
from methods.analysis.goodness_probe import GoodnessProbe
from methods.analysis.layer_probe import LayerProbe
from methods.analysis.other_order import OtherOrder
from methods.analysis.temperature_scaling import TemperatureScaling, best_temperature
from methods.analysis.weight_noise import WeightNoise
from methods.base import Method
from methods.bpfree.forward_forward import ForwardForward
from methods.bpfree.goodness import goodness, normalised
from methods.bpfree.local import frozen
from methods.bpfree.mono_forward import MonoForward


def make_run(method: Method, load: Any = None) -> Run:
    task = FashionMlp(width=12, depth=3, equal=True, images=256, epochs=1)
    random = torch.Generator().manual_seed(7)
    x = torch.randint(0, 256, (256, 784), dtype=torch.uint8, generator=random)
    split = {"x": x, "y": torch.randint(0, 10, (256,), generator=random)}
    torch.manual_seed(0)
    return Run(task, method, 0, torch.device("cpu"), split, {k: v[:60] for k, v in split.items()}, load)


def network(seed: int = 0) -> nn.Module:
    run = make_run(Method())
    torch.manual_seed(seed)
    return run.task.model(run)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_a_cut_network_is_a_readout_of_that_layer(layer: int) -> None:
    method, model = LayerProbe(layer=layer), network()
    before = copy.deepcopy(model)
    cut = method.adapt(model, make_run(method))
    x = torch.randn(5, 784)
    features = frozen(list(before.layers)[:layer], x)
    assert torch.equal(cut(x), cut.layers[-1](features))
    left = [module for module in cut.layers if isinstance(module, nn.Linear)]
    assert len(left) == layer + 1
    assert all(
        torch.equal(a.weight, b.weight) for a, b in zip(left, list(before.layers)[:layer], strict=False)
    )
    assert not torch.equal(cut.layers[-1].weight, before.layers[-1].weight)


def test_a_layer_that_is_not_there_is_refused() -> None:
    method = LayerProbe(layer=4)
    with pytest.raises(MethodError, match="3 hidden layers"):
        method.adapt(network(), make_run(method))


def test_a_line_begins_and_ends_at_its_networks() -> None:
    x = torch.randn(5, 784)
    a, b = network(0), network(1)
    for share, end in ((0.0, a), (1.0, b)):
        method = BetweenSolutions(share=share)
        met = method.adapt(copy.deepcopy(a), make_run(method, lambda _: b))
        assert torch.allclose(met(x), end(x), atol=1e-6)
    method = BetweenSolutions(share=0.25)
    met = method.adapt(copy.deepcopy(a), make_run(method, lambda _: b))
    want = 0.75 * a.layers[1].weight + 0.25 * b.layers[1].weight
    assert torch.allclose(met.layers[1].weight, want, atol=1e-7)


def test_a_bias_that_one_end_lacks_counts_as_zero() -> None:
    local = MonoForward()
    other = local.build(make_run(local))
    method = BetweenSolutions(share=1.0)
    met = method.adapt(network(), make_run(method, lambda _: other))
    x = torch.randn(5, 784)
    assert torch.allclose(met(x), other(x), atol=1e-6)


def test_networks_of_other_shapes_have_no_line_between_them() -> None:
    run = make_run(Method())
    wide = run.task.model(run, width=20)
    method = BetweenSolutions()
    with pytest.raises(MethodError, match=r"layers\.0\.weight has no match"):
        method.adapt(network(), make_run(method, lambda _: wide))


@pytest.mark.parametrize("scale", [0.0, 0.1, 2.0])
def test_noise_is_a_share_of_every_row(scale: float) -> None:
    method, model = WeightNoise(scale=scale), network()
    before = copy.deepcopy(model)
    method.adapt(model, make_run(method))
    for old, new in zip(before.parameters(), model.parameters(), strict=True):
        if old.dim() > 1:
            assert torch.allclose((new - old).norm(dim=1), scale * old.norm(dim=1), rtol=1e-4)
        else:
            assert torch.equal(old, new)


def test_noise_does_not_see_how_layers_are_scaled() -> None:
    """ReLU networks are the same after w_1 c, w_2 / c; the shaken ones are, too."""
    method, one = WeightNoise(scale=0.3), network()
    for layer in one.layers:
        nn.init.zeros_(layer.bias)
    two = copy.deepcopy(one)
    with torch.no_grad():
        two.layers[0].weight.mul_(4.0)
        two.layers[1].weight.div_(4.0)
    x = torch.randn(5, 784)
    shaken = [method.adapt(model, make_run(method))(x) for model in (one, two)]
    assert torch.allclose(*shaken, rtol=1e-4, atol=1e-5)


def test_the_temperature_is_the_best_of_a_grid() -> None:
    random = torch.Generator().manual_seed(1)
    logits = 3.0 * torch.randn(200, 10, generator=random, dtype=torch.float64)
    labels = torch.where(torch.rand(200, generator=random) < 0.6, logits.argmax(1), 0)
    found = best_temperature(logits, labels)
    grid = torch.logspace(-1, 1, 2001, dtype=torch.float64)
    losses = torch.stack([cross_entropy(logits / t, labels) for t in grid])
    assert found == pytest.approx(float(grid[losses.argmin()]), rel=2e-3)


def test_a_temperature_changes_no_answer_and_never_raises_the_loss() -> None:
    method, model = TemperatureScaling(), network()
    run = make_run(method)
    x, y = run.task.inputs(run.valid["x"]), run.valid["y"]
    before = model(x).detach()
    after = method.adapt(model, run)(x).detach()
    assert torch.equal(before.argmax(1), after.argmax(1))
    assert cross_entropy(after.double(), y) <= cross_entropy(before.double(), y)
    ratio = after / before
    assert torch.allclose(ratio, ratio[0, 0].expand_as(ratio), rtol=1e-3)


def test_another_order_of_data_and_nothing_else() -> None:
    seen: dict[str, list[torch.Tensor]] = {"own": [], "other": []}

    def train(method: Method, into: list[torch.Tensor]) -> tuple[nn.Module, Run]:
        run = make_run(method)
        task, batches = run.task, type(run.task).batches

        def watched(self: Any, run: Run, steps: int) -> Any:
            for batch in batches(self, run, steps):
                into.append(batch["y"].clone())
                yield batch

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(type(task), "batches", watched)
            return method.fit(network(), run), run

    plain, own = train(Method(), seen["own"])
    moved, other = train(OtherOrder(), seen["other"])
    assert own.log.steps == other.log.steps and own.log.samples == other.log.samples
    assert own.log.flops == other.log.flops
    counts = {name: torch.cat(labels).bincount(minlength=10) for name, labels in seen.items()}
    assert torch.equal(counts["own"], counts["other"])  # a whole pass: the same items
    assert not torch.equal(torch.cat(seen["own"]), torch.cat(seen["other"]))
    assert not torch.equal(plain.layers[0].weight, moved.layers[0].weight)
    again, _ = train(OtherOrder(), [])
    assert torch.equal(again.layers[0].weight, moved.layers[0].weight)


def forward_forward() -> nn.Module:
    method = ForwardForward()
    return method.build(make_run(method))


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_one_layer_answers_by_its_own_goodness(layer: int) -> None:
    net, x = forward_forward(), torch.randn(4, 784)
    expected = []
    for label in range(10):
        h = net.with_label(x, torch.eye(10)[label].expand(4, -1))
        for at, part in enumerate(list(net.layers)[:layer]):
            h = part(normalised(h) if at else h).relu()
        expected.append(goodness(h, "sum"))
    method = GoodnessProbe(layer=layer)
    torch.testing.assert_close(method.serve(net, make_run(method))(x), torch.stack(expected, 1))


def test_all_layers_but_the_first_add_up_to_the_whole_answer() -> None:
    net, x = forward_forward(), torch.randn(4, 784)
    parts = [GoodnessProbe(layer=at).serve(copy.deepcopy(net), make_run(Method()))(x) for at in (2, 3)]
    torch.testing.assert_close(sum(parts), net(x))


def test_only_forward_forward_has_goodness() -> None:
    with pytest.raises(MethodError, match="only a network of Forward-Forward"):
        GoodnessProbe().serve(network(), make_run(Method()))
    with pytest.raises(MethodError, match="3 hidden layers"):
        GoodnessProbe(layer=4).serve(forward_forward(), make_run(Method()))
