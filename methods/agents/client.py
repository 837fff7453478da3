"""A client of OpenAI-compatible endpoints that can record its exchanges and replay them without a network."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

KEY_VARIABLE = "JOULEMARK_ENDPOINT_KEY"


class EndpointError(Exception):
    """An endpoint did not answer as it should; the message says what to look at."""


@dataclass(frozen=True)
class Reply:
    """What came back: the text and the tokens as the endpoint counts them."""

    text: str
    prompt_tokens: int
    completion_tokens: int


#: A request (model, messages, temperature, seed, max_tokens) -> its reply.
Chat = Callable[[Mapping[str, Any]], Reply]


class Http:
    """Asks an endpoint.

    Args:
        url: up to and with `/v1`.
        timeout_s: seconds to wait for a reply.

    A key, where one is needed, is read from the environment variable JOULEMARK_ENDPOINT_KEY (not recorded).
    """

    def __init__(self, url: str, timeout_s: float = 60.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise EndpointError(f"url {url!r} is no http address; write http://HOST:PORT/v1")
        self.url, self.timeout_s = url.rstrip("/") + "/chat/completions", timeout_s

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        """One exchange."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(KEY_VARIABLE):
            headers["Authorization"] = f"Bearer {key}"
        asked = urllib.request.Request(self.url, json.dumps(dict(request)).encode(), headers)
        try:
            with urllib.request.urlopen(asked, timeout=self.timeout_s) as answer:
                return _reply(json.load(answer))
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise EndpointError(f"{self.url}: status {error.code}: {' '.join(said.split())}") from None
        except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
            raise EndpointError(f"{self.url}: no reply ({error})") from None
        except ValueError:
            raise EndpointError(f"{self.url}: the reply is no JSON") from None


def _reply(body: Any) -> Reply:
    try:
        text, usage = body["choices"][0]["message"]["content"], body["usage"]
        return Reply(str(text or ""), int(usage["prompt_tokens"]), int(usage["completion_tokens"]))
    except (KeyError, IndexError, TypeError, ValueError):
        raise EndpointError(
            "the reply lacks choices[0].message.content or usage, which completions have"
        ) from None


def digest(request: Mapping[str, Any]) -> str:
    """A name for a request: equal requests have equal ones, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(dict(request), sort_keys=True).encode()).hexdigest()[:24]


class Recorder:
    """Passes requests on and appends each exchange to a file, a JSON line each; asks a thing only once."""

    def __init__(self, chat: Chat, path: Path) -> None:
        self.chat, self.path = chat, path
        self.known = read(path) if path.exists() else {}

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        """The recorded reply, or a new one that is recorded."""
        name = digest(request)
        if name not in self.known:
            self.known[name] = self.chat(request)
            line = json.dumps({"request": dict(request), "reply": asdict(self.known[name])}, sort_keys=True)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(line + "\n")
        return self.known[name]


class Replay:
    """Answers from a recorded file and from nothing else."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise EndpointError(f"{path}: there is no such recording")
        self.path, self.known = path, read(path)

    def __call__(self, request: Mapping[str, Any]) -> Reply:
        """The recorded reply."""
        try:
            return self.known[digest(request)]
        except KeyError:
            last = str(request["messages"][-1]["content"])[-80:]
            raise EndpointError(f"{self.path}: no recorded reply to ...{last!r}; record it again") from None


def read(path: Path) -> dict[str, Reply]:
    """Recorded replies by the digest of their request."""
    known = {}
    for number, line in enumerate(path.read_text().splitlines(), start=1):
        try:
            entry = json.loads(line)
            known[digest(entry["request"])] = Reply(**entry["reply"])
        except (ValueError, KeyError, TypeError):
            raise EndpointError(f"{path}:{number}: is no recorded exchange") from None
    return known
