"""Agents' methods: settings, searches against tables made by hand, and agents behind an endpoint."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.models import agent_world as w
from benchmarks.models.agent_engine import Engine
from benchmarks.models.agent_records import AgentConfig
from benchmarks.run import Run
from benchmarks.tasks.tool_agents import ToolAgents, questions
from methods.agents.agent_policy import AgentPolicy
from methods.agents.client import EndpointError, Http, Recorder, Replay, Reply, digest
from methods.agents.component_search import ComponentSearch
from methods.agents.endpoint import EndpointAgent
from methods.agents.random_search import RandomSearch
from methods.agents.remote import RemoteAgent, aliases, read_reply
from methods.agents.search import Pool, component_evaluations
from methods.agents.settings import COMPONENTS, DEFAULT, TRIES, config_of
from methods.base import Method

TASK = ToolAgents(questions=9)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.delenv("JOULEMARK_ENDPOINT_KEY", raising=False)


def run(method: Method, task: Any = TASK, seed: int = 0) -> Run:
    valid = {name: torch.from_numpy(values) for name, values in TASK.prepare()["valid"].items()}
    return Run(task, method, seed, torch.device("cpu"), {}, valid)


def test_policy_serves_the_start_model_with_its_settings() -> None:
    method = AgentPolicy(reasoning="notes", memory="masked", pages=2, max_calls=5, tries=3, vote=True)
    start = TASK.model(run(method), width=24)
    system = method.serve(start, run(method))
    assert system.lm is start.lm
    assert system.config == AgentConfig("notes", "masked", 2, 5, 3, 0.0, False, True)
    assert AgentPolicy().config == TASK.model(run(method)).config  # without a change it is the baseline


def test_components_are_settings() -> None:
    assert config_of(DEFAULT) == AgentConfig() and DEFAULT["width"] == 32
    checked = config_of({**DEFAULT, "tries": "checked, four"})
    assert checked.checker and checked.tries == 4 and checked.temperature == 0
    assert config_of({**DEFAULT, "tries": "checked, four", "reasoning": "none"}) == AgentConfig(
        reasoning="none"
    )
    assert set(COMPONENTS["tries"]) == set(TRIES)
    assert component_evaluations() == 1 + 1 + 2 + 2 + 2 + 2 + 4


class TableTask:
    """A task whose results are looked up: success and price by setting, 100 questions."""

    def __init__(self, results: Mapping[tuple[str, Any], tuple[float, float]]) -> None:
        self.results, self.asked = results, 0

    def model(self, run: Run, width: int) -> Any:
        return TASK.model(run, width=width)

    def ask(self, system: Any, split: Any, run: Run) -> dict[str, np.ndarray]:
        self.asked += 1
        success, price = 0.8, 100.0
        config = system.config
        values = {name: getattr(config, name) for name in ("reasoning", "memory", "pages", "max_calls")}
        values |= {"width": system.lm.size.width, "tries": config.tries}
        for name, value in values.items():
            more, factor = self.results.get((name, value), (0.0, 1.0))
            success, price = success + more, price * factor
        n = round(100 * success)
        ones = np.ones(100)
        won = np.array([1.0] * n + [0.0] * (100 - n))
        return {
            "success": won,
            "price": ones * price,
            "tokens": ones,
            "tool_calls": ones * 2,
            "mflop": ones * 3,
        }


RESULTS = {
    ("reasoning", "none"): (-0.3, 0.5),  # cheap for a right answer, but success falls
    ("reasoning", "notes"): (-0.02, 0.8),  # cheaper, and the fall is not substantial
    ("memory", "masked"): (0.1, 1.5),  # better, but dearer for a right answer
    ("pages", 2): (0.1, 1.05),  # better and cheaper for a right answer
    ("pages", 3): (0.1, 1.1),
    ("max_calls", 8): (0.0, 0.99),
    ("max_calls", 5): (-0.04, 0.5),  # just too much of a fall
    ("width", 24): (-0.8, 0.1),  # never right
    ("tries", 2): (0.02, 1.9),
    ("tries", 4): (0.03, 3.5),
}
BEST = {"width": 32, "reasoning": "notes", "memory": "full", "pages": 2, "max_calls": 8, "tries": "one"}


def test_one_component_at_a_time_against_a_table() -> None:
    method, task = ComponentSearch(), TableTask(RESULTS)
    given = run(method, task)
    pool = method.adapt(method.build(given), given)
    assert pool.chosen == BEST and task.asked == component_evaluations() == 14
    assert given.log.notes["evaluations"] == 14 and given.log.notes["chosen_pages"] == 2
    assert given.log.spent["tool_calls"] == 14 * 200 and given.log.spent["flops"] == 14 * 300e6
    served = method.serve(pool, given)
    assert served.config == AgentConfig("notes", "full", 2, 8) and served.lm is pool.agents["32"].lm
    strict = ComponentSearch(tolerance=0.0)
    assert strict.adapt(strict.build(given), given).chosen == {**BEST, "reasoning": "plan"}
    begun = ComponentSearch(begin="none", tolerance=0.3)
    assert begun.adapt(begun.build(given), given).chosen["reasoning"] == "none"


def test_random_search_has_as_many_evaluations() -> None:
    method = RandomSearch()
    chosen = []
    for seed in range(6):
        task = TableTask(RESULTS)
        given = run(method, task, seed)
        pool = method.adapt(method.build(given), given)
        assert task.asked == 14 == given.log.notes["evaluations"]
        assert pool.chosen["reasoning"] != "none" and pool.chosen["width"] == 32
        chosen.append(tuple(pool.chosen.values()))
    assert len(set(chosen)) > 1
    again = run(method, TableTask(RESULTS), 0)
    assert tuple(method.adapt(method.build(again), again).chosen.values()) == chosen[0]


def test_a_pool_keeps_its_choice_as_tensors() -> None:
    given = run(ComponentSearch())
    pool, other = Pool.of(given), Pool.of(given)
    pool.choose({**BEST, "width": 24})
    other.load_state_dict(pool.state_dict())
    assert other.chosen == {**BEST, "width": 24}
    assert other.agent(other.chosen).lm.size.width == 24
    assert Pool.of(given).chosen == DEFAULT


@pytest.mark.parametrize("memory", ["full", "masked"])
def test_an_endpoint_agent_is_the_local_agent(memory: str) -> None:
    """Greedy, so the words must be the same; the tokens reported must be what the engine bills."""
    method = EndpointAgent(memory=memory)
    model = TASK.model(run(method))
    asked = questions(run(method).valid)
    remote = method.serve(model, run(method)).answer(asked, 3)
    local = AgentPolicy(memory=memory).serve(model, run(method)).answer(asked, 3)
    for there, here in zip(remote, local, strict=True):
        assert there.answer == here.answer and there.success == here.success
        assert there.cost.calls == here.cost.calls
        assert (there.cost.billed, there.cost.generated) == (here.cost.billed, here.cost.generated)
    scores = TASK.score(method.serve(model, run(method)), run(method).valid, run(method))
    operations = 2 * model.body_weights * scores["tokens"].values + 2e6 * scores["tool_calls"].values
    assert scores["mflop"].values == pytest.approx(operations / 1e6)
    with pytest.raises(ValueError, match="say `weights`"):
        EndpointAgent(url="http://127.0.0.1:9/v1").serve(model, run(method))


def test_limits_and_tries_through_an_endpoint() -> None:
    method = EndpointAgent(max_calls=2, tries=3, checker=True)
    model = TASK.model(run(method))
    asked = questions(run(method).valid)
    remote = method.serve(model, run(method)).answer(asked, 1)
    attempts = Engine(model.lm).run(asked, method.config, 1)
    for i, there in enumerate(remote):
        here = [a for a in attempts if a.task == i]
        assert there.attempts == len(here)
        assert there.cost.calls == sum(a.cost.calls for a in here)
        assert there.cost.billed == sum(a.cost.billed for a in here)


def test_recordings_replay_without_an_endpoint(tmp_path: Path) -> None:
    path = tmp_path / "exchanges.jsonl"
    recorder = EndpointAgent(recording=str(path), record=True)
    model = TASK.model(run(recorder))
    asked = questions(run(recorder).valid)[:3]
    first = recorder.serve(model, run(recorder)).answer(asked, 0)
    lines = path.read_text().splitlines()
    assert len(lines) == len(set(lines)) and json.loads(lines[0])["request"]["model"] == "agent"
    second = recorder.serve(model, run(recorder)).answer(asked, 0)
    assert path.read_text().splitlines() == lines  # nothing is asked twice
    replayed = EndpointAgent(url="http://127.0.0.1:9/v1", weights=26_624, recording=str(path))
    third = replayed.serve(model, run(replayed)).answer(asked, 0)
    assert first == second == third
    with pytest.raises(EndpointError, match="no recorded reply to .*record it again"):
        replayed.serve(model, run(replayed)).answer(asked, 1)


class Canned:
    """A chat whose replies are given."""

    def __init__(self, *texts: str) -> None:
        self.texts, self.requests = list(texts), []

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        self.requests.append(dict(request))
        return Reply(self.texts.pop(0), 100, 7)


def test_a_talkative_model() -> None:
    task = next(t for t in w.make_tasks(30, 2) if t.form == (1,))
    name, (relation,) = task.chains[0]
    words = {"name": w.VOCABULARY[name], "rel": w.VOCABULARY[relation], "answer": w.VOCABULARY[task.answer]}
    chat = Canned(
        "Let me look. **S {name}** please".format(**words),
        "{rel} {answer} A {answer}".format(**words),
    )
    agent = RemoteAgent(chat, "big", AgentConfig(reasoning="notes", pages=3), 1.0, 1000)
    (outcome,) = agent.answer([task], 0)
    assert outcome.success and outcome.cost.calls == 1
    assert (outcome.cost.billed, outcome.cost.generated) == (200, 14)
    system, user = chat.requests[1]["messages"]
    assert aliases(task) in system["content"] and w.VOCABULARY[name] in aliases(task)
    assert f"S {words['name']} O" in user["content"] and user["content"].endswith("|")
    assert chat.requests[0]["seed"] != chat.requests[1]["seed"] < 2**31
    stuck = RemoteAgent(Canned("I do not know"), "big", AgentConfig(), 1.0, 1000).answer([task], 0)[0]
    assert stuck.answer is None and not stuck.success and stuck.cost.generated == 7


@pytest.mark.parametrize(
    ("text", "thought", "action"),
    [
        ("owner e3 S e3", "owner e3", "S e3"),
        ("miss S e4 and then A e5", "miss", "S e4"),
        ("C max n3 n4", "", "C max n3 n4"),
        ("C max n3 many", "", ""),
        ("the answer: A n12.", "", "A n12"),
        ("A dog", "A", ""),
        ("S e99", "", ""),
        ("", "", ""),
    ],
)
def test_replies_are_read(text: str, thought: str, action: str) -> None:
    words, acted = read_reply(text)
    assert (w.render(words), w.render(acted)) == (thought, action)


def test_clients_say_what_went_wrong(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="write http://HOST:PORT/v1"):
        Http("ftp://somewhere")
    with pytest.raises(EndpointError, match="127.0.0.1:9/v1/chat/completions: no reply"):
        Http("http://127.0.0.1:9/v1", timeout_s=2)({"messages": []})
    with pytest.raises(EndpointError, match="there is no such recording"):
        Replay(tmp_path / "none.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"request": {}}\n')
    with pytest.raises(EndpointError, match=r"bad.jsonl:1: is no recorded exchange"):
        Replay(tmp_path / "bad.jsonl")
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1, "b": 3})


def test_a_key_is_sent_and_never_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOULEMARK_ENDPOINT_KEY", "sesame")
    seen: list[Any] = []

    class Answer:
        def __enter__(self) -> Answer:
            return self

        def __exit__(self, *_: Any) -> None: ...

        def read(self) -> bytes:
            choice = {"message": {"content": "A n3"}}
            return json.dumps(
                {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}
            ).encode()

    def urlopen(request: Any, timeout: float) -> Answer:
        seen.append(request.get_header("Authorization"))
        return Answer()

    monkeypatch.setattr("urllib.request.urlopen", urlopen)
    path = tmp_path / "a.jsonl"
    reply = Recorder(Http("https://example.org/v1"), path)({"model": "m", "messages": []})
    assert reply == Reply("A n3", 5, 2) and seen == ["Bearer sesame"]
    assert "sesame" not in path.read_text()
