"""The loopback endpoint: what a chat completion holds, and errors that say what to do."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.models import agent_world as w
from benchmarks.models.agent_model import AgentModel, load
from benchmarks.models.agent_traces import prompt
from benchmarks.models.endpoint import MAX_BODY, Endpoint, RequestError, Writer

DATA = Path(__file__).resolve().parents[2] / "benchmarks" / "data" / "tool_agents"
TASK = w.make_tasks(3, 5)[1]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture(scope="module")
def model() -> AgentModel:
    return load(DATA / "xs-0.safetensors")


@pytest.fixture(scope="module")
def endpoint(model: AgentModel) -> Iterator[Endpoint]:
    with Endpoint(model, "tiny") as running:
        yield running


def ask(endpoint: Endpoint, path: str = "/chat/completions", body: bytes | None = None) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(endpoint.url + path, body), timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def request(text: str, **more: Any) -> bytes:
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": text}]
    return json.dumps({"model": "tiny", "messages": messages, **more}).encode()


def test_a_completion(endpoint: Endpoint) -> None:
    text = w.render(prompt(TASK, "plan", "full", 1))
    status, body = ask(endpoint, body=request(text))
    choice, usage = body["choices"][0], body["usage"]
    words = choice["message"]["content"].split()
    assert status == 200 and body["object"] == "chat.completion" and body["model"] == "tiny"
    assert choice["message"]["role"] == "assistant" and choice["finish_reason"] == "stop"
    assert words[0] == "P" and words[-2] == "S" and words[-1].startswith("e")
    assert usage["prompt_tokens"] == len(text.split()) and usage["completion_tokens"] == len(words)
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert ask(endpoint, body=request(text))[1]["choices"] == body["choices"]
    cut = ask(endpoint, body=request(text, max_tokens=3))[1]
    assert cut["choices"][0]["finish_reason"] == "length" and cut["usage"]["completion_tokens"] == 3
    assert cut["choices"][0]["message"]["content"].split() == words[:3]


def test_seeds_and_temperature(endpoint: Endpoint) -> None:
    text = w.render(prompt(TASK, "none", "none", 1)) + " S e1 O - e2 owner e3 |"
    texts = [
        ask(endpoint, body=request(text, temperature=2.0, seed=seed))[1]["choices"][0]["message"]["content"]
        for seed in (0, 1, 2, 3, 0)
    ]
    assert texts[0] == texts[4] and len(set(texts)) > 1


def test_models(endpoint: Endpoint) -> None:
    status, body = ask(endpoint, "/models")
    assert status == 200 and [entry["id"] for entry in body["data"]] == ["tiny"]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/chat/completions", b"{", 400, "JSON with `model` and `messages`"),
        ("/chat/completions", b"[]", 400, "JSON with `model` and `messages`"),
        ("/chat/completions", json.dumps({"model": "tiny", "messages": []}).encode(), 400, "`messages`"),
        ("/chat/completions", request("Q what ?"), 400, "'what' is not one of the 985 words"),
        ("/chat/completions", request(""), 400, "1 to 768 words, not 0"),
        ("/chat/completions", request("Q " * 800), 400, "not 800"),
        ("/chat/completions", request("Q", temperature=9), 400, "not between 0 and 2"),
        ("/chat/completions", request("Q", max_tokens=-1), 400, "not between 1 and 4096"),
        ("/chat/completions", request("Q", seed="x"), 400, "JSON"),
        (
            "/chat/completions",
            b'{"model": "big", "messages": [{"role": "user", "content": "Q"}]}',
            400,
            "'tiny'",
        ),
        ("/completions", request("Q"), 404, "there is no /v1/completions"),
        ("/nothing", None, 404, "there is no /v1/nothing"),
    ],
)
def test_errors_say_what_to_do(endpoint: Endpoint, path: str, body: bytes, status: int, message: str) -> None:
    code, said = ask(endpoint, path, body)
    assert code == status and message in said["error"]["message"]
    assert said["error"]["type"] == "invalid_request_error"


def test_long_requests_are_refused(endpoint: Endpoint) -> None:
    asked = urllib.request.Request(
        endpoint.url + "/chat/completions", b"{}", {"Content-Length": str(MAX_BODY + 1)}
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(asked, timeout=30)
    assert error.value.code == 413


def test_it_answers_this_machine_only_and_ends(model: AgentModel) -> None:
    running = Endpoint(model)
    assert running.url.startswith("http://127.0.0.1:") and running.url.endswith("/v1")
    running.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(running.url + "/models", timeout=5)


def test_writer_refuses_what_it_cannot_read(model: AgentModel) -> None:
    with pytest.raises(RequestError, match="'hello' is not one of"):
        Writer(model)("hello")
