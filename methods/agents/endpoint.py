"""An agent whose model answers behind an endpoint."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.models.agent_system import Agent
from benchmarks.models.endpoint import Endpoint
from methods.agents.client import Chat, Http, Recorder, Replay
from methods.agents.remote import RemoteAgent
from methods.agents.settings import AgentKnobs
from methods.base import Method, knob

if TYPE_CHECKING:
    from benchmarks.run import Run


@dataclass(frozen=True)
class EndpointAgent(AgentKnobs, Method):
    """The same agent loop around any model that speaks OpenAI's chat completions: text, one request a step.

    Without a `url` the start cell's own model is served on loopback and asked there. Tokens are those that
    the endpoint reports; operations are not seen, so they are two a weight and token, no cache reused.

    Paper: none; how a larger model is put in the place of ours in efficient-agents.
    Deviations: without log-probabilities the best of several tries is the first, unless checked or voted.
    """

    url: str = knob("", serve=True, help="address up to /v1; empty: our own model on loopback")
    model: str = knob("agent", serve=True, help="name of the model there")
    recording: str = knob("", serve=True, help="file of exchanges to replay, or with `record` to add to")
    record: bool = knob(False, serve=True, help="ask the endpoint for what is not recorded yet")
    weights: int = knob(0, low=0, serve=True, help="body weights that its price goes by; 0: those of our own")

    needs = ("agent",)
    cost_depends_on_weights = True
    cpu_factor = 10.0
    small = {"max_calls": 6}

    def serve(self, model: Agent, run: Run) -> RemoteAgent:
        """The remote agent; a loopback endpoint ends with it."""
        local = None if self.url or self._replays else Endpoint(model.lm, self.model)
        chat = self._chat(local.url if local else self.url)
        weights = self.weights or (0 if self.url else model.body_weights)
        if not weights:
            raise ValueError("say `weights`: the price of a model behind a url goes by its body weights")
        agent = RemoteAgent(chat, self.model, self.config, model.mark, weights)
        if local:
            weakref.finalize(agent, local.close)
        return agent

    @property
    def _replays(self) -> bool:
        return bool(self.recording) and not self.record

    def _chat(self, url: str) -> Chat:
        if self._replays:
            return Replay(Path(self.recording))
        return Recorder(Http(url), Path(self.recording)) if self.recording else Http(url)
