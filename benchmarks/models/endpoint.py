"""One of our agent models behind an OpenAI-compatible endpoint on loopback, from the standard library.

    python -m benchmarks.models.endpoint --checkpoint benchmarks/data/tool_agents/xs-0.safetensors --port 8000

`POST /v1/chat/completions` takes `model`, `messages`, `temperature`, `seed`, `max_tokens`; the user's last
message must be words of the agents' world, and the reply is what the model writes up to the end of its
action. `usage` counts one token a word. `GET /v1/models` names the model. It answers this machine only, one
request after the other.
"""

from __future__ import annotations

import argparse
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from benchmarks.models import agent_world as w
from benchmarks.models.agent_model import AgentModel, Cache, load

MAX_BODY = 1_000_000  # bytes of a request
MAX_TOKENS = 32
MAX_CONTEXT = 768


class RequestError(Exception):
    """The client asked for something that there is not; the message says what."""


class Writer:
    """Continues a text of the agents' world, one request at a time."""

    def __init__(self, model: AgentModel) -> None:
        self.model, self._lock = model.eval(), threading.Lock()

    def __call__(
        self, text: str, temperature: float = 0.0, seed: int = 0, max_tokens: int = MAX_TOKENS
    ) -> tuple[str, int, int, str]:
        """Text, prompt and completion tokens, and why it ended: `stop` after an action, else `length`."""
        try:
            tokens = w.parse(text)
        except ValueError as error:
            raise RequestError(str(error)) from None
        if not 0 < len(tokens) <= MAX_CONTEXT:
            raise RequestError(f"a prompt has 1 to {MAX_CONTEXT} words, not {len(tokens)}")
        with self._lock, torch.inference_mode():
            words = self._write(tokens, temperature, seed, max_tokens)
        return w.render(words), len(tokens), len(words), "stop" if _complete(words) else "length"

    def _write(self, tokens: list[int], temperature: float, seed: int, max_tokens: int) -> list[int]:
        cache = Cache(self.model.size, 1)
        hidden = self.model.hidden(torch.tensor([tokens]), cache)[:, -1]
        draws = torch.Generator().manual_seed(seed % 2**63)
        words: list[int] = []
        while len(words) < max_tokens and not _complete(words):
            if words:
                hidden = self.model.step(torch.tensor(words[-1:]), cache)
            scores = self.model.logits(hidden)[0]
            if temperature > 0:
                words.append(int(torch.multinomial((scores / temperature).softmax(-1), 1, generator=draws)))
            else:
                words.append(int(scores.argmax()))
        return words


def _complete(words: list[int]) -> bool:
    """Whether the words end with a whole action."""
    start = next((i for i, word in enumerate(words) if word in w.ARITY), None)
    return start is not None and len(words) - start > w.ARITY[words[start]]


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:  # noqa: N802 - the name that http.server asks for
        if self.path == "/v1/models":
            self._reply(200, {"object": "list", "data": [{"id": self.server.name, "object": "model"}]})
        else:
            self._fail(404, f"there is no {self.path}; there are /v1/models and /v1/chat/completions")

    def do_POST(self) -> None:  # noqa: N802
        length = int(self.headers.get("Content-Length") or 0)
        if length > MAX_BODY:
            self.close_connection = True  # the body stays unread
            self._fail(413, f"a request has at most {MAX_BODY} bytes")
            return
        body = self.rfile.read(length)
        if self.path != "/v1/chat/completions":
            self._fail(404, f"there is no {self.path}; there are /v1/models and /v1/chat/completions")
            return
        try:
            self._reply(200, self.server.complete(_request(body)))
        except RequestError as error:
            self._fail(400, str(error))

    def _fail(self, status: int, message: str) -> None:
        self._reply(status, {"error": {"message": message, "type": "invalid_request_error", "code": None}})

    def _reply(self, status: int, value: dict[str, Any]) -> None:
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing: a request a line would drown what called."""


def _request(body: bytes) -> dict[str, Any]:
    """A checked request: text, temperature, seed, max_tokens, model."""
    try:
        value = json.loads(body)
        users = [message["content"] for message in value["messages"] if message["role"] == "user"]
        found: dict[str, Any] = {
            "text": str(users[-1]),
            "temperature": float(value.get("temperature") or 0.0),
            "seed": int(value.get("seed") or 0),
            "max_tokens": int(value.get("max_tokens") or MAX_TOKENS),
            "model": str(value["model"]),
        }
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        raise RequestError("a request is JSON with `model` and `messages`, one of them the user's") from None
    if not 0.0 <= found["temperature"] <= 2.0:
        raise RequestError(f"temperature {found['temperature']} is not between 0 and 2")
    if not 1 <= found["max_tokens"] <= 4096:
        raise RequestError(f"max_tokens {found['max_tokens']} is not between 1 and 4096")
    return found


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, writer: Writer, name: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.writer, self.name, self.served = writer, name, 0

    def complete(self, asked: dict[str, Any]) -> dict[str, Any]:
        """A checked request -> the body of a chat completion."""
        if asked.pop("model") != self.name:
            raise RequestError(f"the only model here is {self.name!r}")
        text, read, written, reason = self.writer(**asked)
        self.served += 1
        return {
            "id": f"chatcmpl-{self.served}",
            "object": "chat.completion",
            "model": self.name,
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
            ],
            "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        }


class Endpoint:
    """A running endpoint; leave it with `close()` or as a context.

    Attributes:
        url: where a client finds it, `http://127.0.0.1:PORT/v1`.
    """

    def __init__(self, model: AgentModel, name: str = "agent", port: int = 0) -> None:
        self._server = _Server(Writer(model), name, port)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/v1"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def main() -> None:
    """Serve a checkpoint until interrupted."""
    parser = argparse.ArgumentParser(description="Serve one agent model to this machine.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--name", default="agent", help="what clients call the model")
    parser.add_argument("--port", type=int, default=8000)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    endpoint = Endpoint(load(chosen.checkpoint), chosen.name, chosen.port)
    print(f"{chosen.name} answers at {endpoint.url} (Ctrl-C ends it)", flush=True)
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        endpoint.close()


if __name__ == "__main__":
    main()
