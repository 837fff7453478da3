"""The knobs of an agent, and the components that a search may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.models.agent_records import AgentConfig
from methods.base import knob


@dataclass(frozen=True)
class AgentKnobs:
    """How an agent works; all of these act when it serves, so none of them trains anything."""

    reasoning: str = knob(
        "plan", choices=("none", "notes", "plan"), serve=True, help="what the agent writes before it acts"
    )
    memory: str = knob(
        "full",
        choices=("full", "masked", "none"),
        serve=True,
        help="the whole history, all but past observations, or the last step",
    )
    pages: int = knob(1, low=1, high=3, serve=True, help="pages that a search returns")
    max_calls: int = knob(12, low=1, high=12, serve=True, help="tool calls after which a try fails")
    tries: int = knob(1, low=1, high=8, serve=True, help="tries at a question")
    temperature: float = knob(0.0, low=0.0, high=2.0, serve=True, help="0 writes the likeliest word")
    checker: bool = knob(False, serve=True, help="stop at the first try whose notes are borne out")
    vote: bool = knob(False, serve=True, help="take the commonest answer, not that of the most confident try")

    @property
    def config(self) -> AgentConfig:
        """The settings in the form that the engine takes."""
        names = AgentConfig.__dataclass_fields__
        return AgentConfig(**{name: getattr(self, name) for name in names})


#: Settings of the `tries` component: how often, how, and which answer is taken.
TRIES: dict[str, dict[str, Any]] = {
    "one": {},
    "best of two": {"tries": 2, "temperature": 1.0},
    "best of four": {"tries": 4, "temperature": 1.0},
    "checked, two": {"tries": 2, "checker": True},
    "checked, four": {"tries": 4, "checker": True},
}
#: Component -> its options, that of the default configuration first.
COMPONENTS: dict[str, tuple[Any, ...]] = {
    "width": (32, 24),
    "reasoning": ("plan", "notes", "none"),
    "memory": ("full", "masked", "none"),
    "pages": (1, 2, 3),
    "max_calls": (12, 8, 5),
    "tries": tuple(TRIES),
}
DEFAULT: dict[str, Any] = {name: options[0] for name, options in COMPONENTS.items()}


def config_of(settings: Mapping[str, Any]) -> AgentConfig:
    """The configuration of one option a component (`width` is the model's); no notes, no checker."""
    chosen = TRIES[settings["tries"]]
    if settings["reasoning"] == "none" and chosen.get("checker"):
        chosen = TRIES["one"]
    rest = {name: value for name, value in settings.items() if name not in ("width", "tries")}
    return AgentConfig(**rest, **chosen)
