# ruff: noqa: E501 - a table, one change a line
"""Artefacts: what is loaded is what was saved, or saving says what cannot be stored."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from benchmarks import artefacts
from benchmarks.models.layers import Layer, set_module
from benchmarks.run import MethodError


class Net(nn.Module):
    """A bit of everything, with tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(4)
        self.act = nn.ReLU()
        self.norm = nn.LayerNorm(8)
        self.parts = nn.ModuleList([nn.Linear(8, 8), nn.Linear(8, 8)])
        self.head = nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        x = self.act(self.norm2(self.conv(x[:, None]))).mean(1).to(self.parts[0].weight.dtype)
        for part in self.parts:
            x = part(x)
        return self.head(self.norm(x.float()))


class Negated(Layer):
    """A linear layer that stores the opposite of its weight."""

    name = "negated"

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.register_buffer("opposite", torch.zeros(outputs, inputs))

    def args(self) -> dict[str, Any]:
        return {"inputs": self.opposite.shape[1], "outputs": self.opposite.shape[0]}

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, -self.opposite)


class Stranger(nn.Module):
    """No Layer."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


X = torch.arange(24).reshape(3, 8) % 11


def fresh() -> Net:
    torch.manual_seed(0)
    return Net()


def trained() -> Net:
    """A net whose numbers all differ from a fresh one's."""
    net = fresh().eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.add_(torch.rand_like(tensor))
    return net


def negate(net: Net) -> None:
    layer = Negated(8, 8)
    layer.opposite.copy_(-net.parts[1].weight.detach())
    net.parts[1] = layer


def narrow(net: Net) -> None:
    first, second = nn.Linear(8, 4), nn.Linear(4, 8)
    net.parts[0], net.parts[1] = first, second


def other_conv(**arguments: Any) -> Callable[[Net], None]:
    def change(net: Net) -> None:
        net.conv = nn.Conv2d(1, 4, 3, **arguments)

    return change


#: Changes that come back: what a method may do to a model.
CHANGES: dict[str, Callable[[Net], Any]] = {
    "other numbers": lambda net: None,
    "a layer of its own": negate,
    "narrower layers": narrow,
    "no bias": lambda net: set_module(net, "parts.0", nn.Linear(8, 8, bias=False)),
    "identity": lambda net: set_module(net, "norm", nn.Identity()),
    "an activation taken out": lambda net: set_module(net, "act", nn.Identity()),
    "dilated": other_conv(padding=2, dilation=2),
    "strided and grouped": other_conv(padding="same", bias=False),
    "padded by mirror": other_conv(padding=1, padding_mode="reflect"),
    "another epsilon": lambda net: set_module(net, "norm", nn.LayerNorm(8, eps=0.5)),
    "a norm without weights": lambda net: set_module(net, "norm", nn.LayerNorm(8, elementwise_affine=False)),
    "a norm without bias": lambda net: set_module(net, "norm", nn.LayerNorm(8, bias=False)),
    "another batch norm": lambda net: set_module(net, "norm2", nn.BatchNorm2d(4, eps=0.5)),
    "double numbers": lambda net: net.parts.double(),
    "half numbers": lambda net: net.parts.bfloat16(),
    "untied": lambda net: setattr(net.head, "weight", nn.Parameter(net.head.weight.detach() + 1)),
}


def save(folder: Path, net: nn.Module, **more: Any) -> None:
    artefacts.save(folder, net, {"builder": {}}, {"steps": {}}, fresh, **more)


def load(folder: Path) -> nn.Module:
    return artefacts.load_tensors(folder, fresh(), artefacts.read_spec(folder), torch.device("cpu"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_loaded_is_what_was_saved(change: str, tmp_path: Path) -> None:
    net = trained()
    CHANGES[change](net)
    net.eval()
    save(tmp_path / "a", net)
    loaded = load(tmp_path / "a")
    assert not loaded.training
    if change != "untied":  # tensors that were one stay one; who unties them makes a model of its own
        assert torch.equal(net(X), loaded(X))
    assert {k: v.dtype for k, v in net.state_dict().items()} == {
        k: v.dtype for k, v in loaded.state_dict().items()
    }


def test_only_what_differs_is_described() -> None:
    assert artefacts.differences(trained(), fresh()) == {}
    net = trained()
    negate(net)
    assert artefacts.differences(net, fresh()) == {
        "parts.1": {"layer": f"{__name__}:negated", "args": {"inputs": 8, "outputs": 8}}
    }


def add_tensor(net: Net) -> None:
    net.register_parameter("scale", nn.Parameter(torch.ones(1)))


#: Changes that cannot be stored -> what the author is told.
REFUSED: dict[str, tuple[Callable[[Net], Any], str]] = {
    "another class": (
        lambda net: set_module(net, "act", nn.Tanh()),
        r"act \(Tanh\) is neither in the built model nor",
    ),
    "a stranger": (
        lambda net: net.add_module("more", Stranger()),
        r"more \(Stranger\) is neither in the built model nor",
    ),
    "a wrapper": (
        lambda net: set_module(net, "norm", nn.Sequential(net.norm, Stranger())),
        r"norm \(Sequential\) is neither",
    ),
    "one more tensor": (add_tensor, "cannot be built again from its spec .*scale"),
    "one layer less": (lambda net: net.parts.pop(1), "cannot be built again from its spec .*parts.1"),
    "one layer more": (lambda net: net.parts.append(nn.Linear(8, 8)), "cannot be built again from its spec"),
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_cannot_be_stored_is_refused(change: str, tmp_path: Path) -> None:
    net = trained()
    act, says = REFUSED[change]
    act(net)
    with pytest.raises(MethodError, match=says) as error:
        save(tmp_path / "a", net)
    assert "Layer" in str(error.value) and "\n" not in str(error.value)
    assert not (tmp_path / "a").exists()


def test_another_model_than_the_builders_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MethodError, match=r"the model \(Sequential\) is neither in the built model nor a Layer"
    ):
        save(tmp_path / "a", nn.Sequential(nn.Linear(2, 2)))


def test_masks_are_baked_and_exact() -> None:
    class Mask(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * (torch.arange(weight.numel()).view_as(weight) % 3 > 0)

    net = trained()
    expected = net.parts[0].weight.detach().clone()
    parametrize.register_parametrization(net.parts[0], "weight", Mask())
    before = net(X)
    baked = artefacts.bake(net)
    assert torch.equal(baked(X), before) and type(baked.parts[0]) is nn.Linear
    assert torch.equal(baked.parts[0].weight == 0, (torch.arange(64).view(8, 8) % 3 == 0) | (expected == 0))


def test_a_baked_copy_leaves_the_model_as_it_was() -> None:
    """`log.keep` bakes a copy in the middle of training: the model must go on with its masks."""

    class Half(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight * 0.5

    net = trained()
    parametrize.register_parametrization(net.parts[0], "weight", Half())
    before = net(X)
    for _ in range(2):
        kept = artefacts.bake(copy.deepcopy(net))
        assert torch.equal(kept(X), before) and type(kept.parts[0]) is nn.Linear
        assert torch.equal(net(X), before) and parametrize.is_parametrized(net.parts[0])
    net(X).sum().backward()
    assert net.parts[0].parametrizations.weight.original.grad is not None


# -------------------------------------------------------------------- files


def test_a_changed_file_is_not_loaded(tmp_path: Path) -> None:
    save(tmp_path / "a", trained())
    file = tmp_path / "a" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00")
    with pytest.raises(ValueError, match="is not what its spec says"):
        load(tmp_path / "a")


def test_a_missing_artefact_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="the artefact is missing; its chunk must be run again"):
        artefacts.read_spec(tmp_path / "nosuch")


def test_saving_replaces_whole_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a", trained(), kept={"round=3": fresh()})
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "kept", "model.safetensors", "spec.json", "training.json",
    ]  # fmt: skip
    assert torch.equal(load(tmp_path / "a" / "kept" / "round=3")(X), fresh().eval()(X))
    save(tmp_path / "a", trained())
    assert not (tmp_path / "a" / "kept").exists() and [path.name for path in tmp_path.iterdir()] == ["a"]

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(artefacts, "save_file", stop)
    with pytest.raises(KeyboardInterrupt):
        save(tmp_path / "b", trained())
    assert not (tmp_path / "b").exists()  # half an artefact has another name
    monkeypatch.undo()
    save(tmp_path / "b", trained())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_the_same_model_makes_the_same_file(tmp_path: Path) -> None:
    for name in "ab":
        save(tmp_path / name, copy.deepcopy(trained()))
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert (tmp_path / "a/spec.json").read_bytes() == (tmp_path / "b/spec.json").read_bytes()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"plain": "Module", "args": {}}, "'Module' is no plain layer"),
        ({"plain": "__class__", "args": {}}, "is no plain layer"),
        ({"layer": "os:system", "args": {}}, "'os' is no module of layers"),
        (
            {"layer": "benchmarks.models.layers:nosuch", "args": {}},
            "there is no layer 'benchmarks.models.layers:nosuch'",
        ),
        ({"layer": "subprocess:Popen", "args": {"args": "true"}}, "'subprocess' is no module of layers"),
    ],
)
def test_a_spec_can_ask_for_layers_only(entry: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        artefacts.make_layer(entry)
