"""What the plan says of the golden rows: tasks, cards, claims whose outcomes follow from the truth."""

from __future__ import annotations

import json
from typing import Any

from tests.reports.golden import IMAGES, NASTY, ROUNDS, SEEDS, SERVING, Truth, task_id


def _check(metric: str, of: str, **rest: Any) -> dict[str, Any]:
    sides = {key: IMAGES[rest.pop(key)].arm for key in ("minus", "over") if key in rest}
    base = IMAGES["baseline"].arm
    quality = metric.partition("@")[0] in ("accuracy", "nll")
    where = {"task": "toy_images", "task_id": task_id("toy_images"), "baseline": base, "quality": quality}
    return {"metric": metric, "of": IMAGES[of].arm, **where, **sides, **rest}


def _serve(metric: str, of: str, **rest: Any) -> dict[str, Any]:
    sides = {key: SERVING[rest.pop(key)].arm for key in ("minus", "over") if key in rest}
    where = {"task": "toy_cluster", "task_id": task_id("toy_cluster"), "baseline": SERVING["baseline"].arm}
    return {"metric": metric, "of": SERVING[of].arm, "quality": metric == "goodput", **where, **sides, **rest}


def _claims() -> list[dict[str, Any]]:
    """The claims of the first card: each one's outcome follows from the truth above."""
    said = {"reported": {"value": "consistently, no number", "where": "abstract"}}
    return [
        {
            "id": "sparse-over-dense",
            "says": "a large sparse network beats a small dense one with as many weights",
            **said,
            "checks": [_check("accuracy", "gradual90", minus="dense_params", above=0.0)],
        },
        {
            "id": "tenfold-for-free",
            "says": "ten times fewer weights at a loss of less than half a point",
            "reported": {"value": "up to 10x", "where": "abstract"},
            "checks": [
                _check("accuracy", "gradual90", minus="baseline", above=-0.005),
                _check("nonzero", "gradual90", over="baseline", below=0.11),
            ],
        },
        {
            "id": "halves-are-free",
            "says": "half of the weights can go within two points of accuracy",
            "reported": {"value": 0.002, "where": "table 1"},
            "checks": [_check("accuracy", "gradual50", minus="baseline", above=-0.02)],
        },
        {
            "id": "sparse-over-bytes",
            "own": True,
            "says": "the advantage stays when the mask's bytes are counted",
            "checks": [_check("accuracy", "gradual90", minus="dense_bytes", above=0.0)],
        },
        {
            "id": "three-times-faster",
            "says": "nine tenths of the weights gone make it three times faster",
            "reported": {"value": "3.1x", "where": "figure 4"},
            "checks": [_check("latency_s@batch64", "gradual90", over="baseline", below=0.333)],
        },
        {
            "id": "faster-alone",
            "own": True,
            "says": "a single image is answered faster as well",
            "checks": [_check("latency_s@batch1", "gradual90", over="dense_params", below=1.0)],
        },
        {
            "id": "rank-is-no-slower",
            "own": True,
            "says": "a low rank costs no time to speak of",
            "checks": [_check("latency_s@batch64", "lowrank", over="baseline", below=1.0)],
        },
        {
            "id": "int8-is-free",
            "says": "eight bits change nothing",
            "own": True,
            "checks": [_check("accuracy", "int8", minus="baseline", within=[-0.015, 0.015])],
        },
        {
            "id": "fewer-by-count",
            "says": "nine tenths of the weights are zero",
            "by_construction": True,
            "checks": [_check("nonzero", "gradual90", over="baseline", below=0.11)],
        },
        {
            "id": "ternary-is-fast",
            "says": "ternary weights halve the time",
            "reported": {"value": "2x", "where": "section 5"},
            "checks": [_check("latency_s@batch64", "ternary", over="baseline", below=0.5)],
        },
        {
            "id": "gpu-kernels",
            "says": "1.6 times faster on a GPU with 2:4 sparsity",
            "reported": {"value": "1.6x", "where": "table 3"},
            "not_tested": "needs a GPU with sparse tensor cores",
        },
        {
            "id": "survives-heat",
            "says": "thirty times the learning rate costs at most 20 points",
            "own": True,
            "checks": [_check("accuracy", "hot", minus="baseline", above=-0.2)],
        },
        {
            "id": "rank-is-free",
            "says": "a low rank loses nothing that matters",
            "own": True,
            "checks": [_check("accuracy", "lowrank", minus="baseline", above=-0.004)],
        },
        {
            "id": "rank-saves-a-thousandth",
            "says": "a low rank saves at least a thousandth of the time",  # a line inside the band
            "own": True,
            "checks": [_check("latency_s@batch64", "lowrank", over="baseline", below=0.999)],
        },
    ]


def _run(task: str, truths: dict[str, Truth], workloads: list[str]) -> dict[str, Any]:
    return {
        "task": task,
        "task_id": task_id(task),
        "baseline": truths["baseline"].arm,
        "workloads": workloads,
        "arms": [truth.arm for truth in truths.values()],
        "planned": True,
    }


def _cards() -> list[dict[str, Any]]:
    images, cluster = _run("toy_images", IMAGES, ["batch1", "batch64"]), _run("toy_cluster", SERVING, [])
    pruning = {
        "paper": {"key": "toy-pruning", "title": "To prune or not to prune, on golden rows", "year": 2017},
        "key": "toy-pruning",
        "target": "paper_toy-pruning",
        "family": "pruning",
        "grade": "B",
        "scope": "core",
        "smaller": "an MLP of 0.27 M weights on two thousand golden images",
        "faithful": {
            "identities": ["masked equals pruned"],
            "peer": "torch.nn.utils.prune",
            "published": "none",
        },
        "claims": _claims(),
        "runs": [images],
        "controls": {
            "positive": [_check("accuracy", "gradual50", minus="baseline", above=-0.02)],
            "negative": [_check("accuracy", "gradual90", minus="random", above=0.02)],
        },
    }
    distilling = {
        "paper": {"key": "toy-distilling", "title": "A teacher that helps", "year": 2015},
        "key": "toy-distilling",
        "target": "paper_toy-distilling",
        "family": "distillation",
        "grade": "A",
        "scope": "core",
        "faithful": {"published": "table 2 within 0.1 points"},
        "runs": [images],
        "controls": {},
        "claims": [
            {
                "id": "better",
                "says": "a student of an ensemble beats the same network alone",
                "reported": {"value": "+1.0 point", "where": "table 2"},
                "checks": [_check("accuracy", "distilled", minus="baseline", above=0.0)],
            },
            {
                "id": "two-points",
                "says": "it gains nearly two points",
                "own": True,
                "checks": [_check("accuracy", "distilled", minus="baseline", above=0.018)],
            },
        ],
    }
    doubtful = {
        "study": {"key": "toy-doubtful", "title": "A study whose control does not come out"},
        "key": "toy-doubtful",
        "target": "paper_toy-doubtful",
        "family": "pruning",
        "grade": "B",
        "scope": "core",
        "faithful": {},
        "runs": [images],
        "controls": {
            "positive": [_check("accuracy", "random", minus="baseline", above=-0.02)],
            "negative": [],
        },
        "claims": [
            {
                "id": "gradual-over-oneshot",
                "says": "pruning while training beats pruning once",
                "checks": [_check("accuracy", "gradual90", minus="oneshot", above=0.0)],
            },
        ],
    }
    serving = {
        "paper": {"key": "toy-serving", "title": "Prefill and decode apart", "year": 2024},
        "key": "toy-serving",
        "target": "paper_toy-serving",
        "family": "serving",
        "grade": "C",
        "scope": "core",
        "smaller": "a simulator with stated ranges instead of a cluster",
        "faithful": {"identities": ["Little's law"]},
        "runs": [cluster],
        "controls": {},
        "claims": [
            {
                "id": "more-goodput",
                "says": "more requests a second within the deadline",
                "reported": {"value": "2.0x", "where": "abstract"},
                "checks": [_serve("goodput", "split50", over="baseline", above=1.2)],
            },
            {
                "id": "mostly",
                "says": "in most draws of the ranges",
                "own": True,
                "checks": [_serve("goodput", "split50", over="baseline", effect="share_of_draws", above=0.5)],
            },
        ],
    }
    return [pruning, distilling, doubtful, serving]


def _knob(name: str, default: Any) -> dict[str, Any]:
    return {"name": name, "default": default, "kind": "float", "help": "", "low": None, "high": None}


def _methods() -> dict[str, Any]:
    base = [_knob("start", "baseline"), _knob("width", None), _knob("budget", 1.0), _knob("lr_factor", 1.0)]
    families = {
        "baseline": "reference",
        "dense": "reference",
        "int8": "quantization",
        "ternary": "quantization",
        "peer_quant": "quantization",
        "lowrank": "factorization",
        "distilled": "distillation",
        "colocated": "serving",
        "disaggregated": "serving",
    }
    names = {truth.method for truth in (*IMAGES.values(), *SERVING.values())}
    return {
        name: {"family": families.get(name, "pruning"), "doc": f"The golden {name}.", "knobs": base}
        for name in names
    }


def _tasks() -> dict[str, Any]:
    accuracy = {
        "name": "accuracy",
        "unit": "share",
        "better": "higher",
        "chance": 0.1,
        "band": 0.005,
        "relative": False,
    }
    nll = {"name": "nll", "unit": "nats", "better": "lower", "chance": 2.3, "band": 0.01, "relative": False}
    goodput = {
        "name": "goodput",
        "unit": "requests/s",
        "better": "higher",
        "chance": 0.0,
        "band": 0.02,
        "relative": True,
    }
    return {
        "toy_images": {
            "basis": "counted",
            "doc": "Ten golden classes of golden images.",
            "knobs": [_knob("width", 300)],
            "metrics": [accuracy, nll],
            "main_workload": "batch64",
            "trains": True,
            "workloads": {"batch1": "one image", "batch64": "64 images"},
        },
        "toy_cluster": {
            "basis": "modelled",
            "doc": "A golden simulator of a cluster.",
            "knobs": [_knob("width", 300)],
            "metrics": [goodput],
            "main_workload": None,
            "trains": False,
            "workloads": {},
        },
    }


def scope(nasty: bool = False, name: str = "all") -> dict[str, Any]:
    """What the plan says about the golden scope; `nasty` puts hostile text wherever an author can write."""
    cards = _cards()
    if nasty:
        cards[0]["paper"]["title"] = cards[0]["smaller"] = NASTY
        cards[0]["claims"][0]["says"] = NASTY
        cards[0]["claims"][0]["reported"] = {"value": NASTY, "where": NASTY}
        cards[0]["claims"][10]["not_tested"] = NASTY
        cards[0]["faithful"] = {"identities": [NASTY], "peer": NASTY}
    methods, tasks = _methods(), _tasks()
    if nasty:
        tasks["toy_images"]["doc"] = methods["gradual"]["doc"] = NASTY
        tasks["toy_cluster"]["metrics"][0]["unit"] = "<b>&\"'$%"
    settings = {"seeds": SEEDS, "rounds": ROUNDS, "carbon": {"country": "FRA"}, "tour": []}
    found = {
        "plan": "golden",
        "scope": name,
        "settings": settings,
        "cards": cards,
        "tasks": tasks,
        "methods": methods,
    }
    return json.loads(json.dumps(found))
