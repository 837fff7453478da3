"""The agent loop around a model that is only known by what it writes."""

from __future__ import annotations

import re

from benchmarks.models import agent_world as w
from benchmarks.models.agent_records import AgentConfig, Attempt, Cost, Outcome, resolve
from benchmarks.models.agent_traces import Step, check, context, prompt
from methods.agents.client import Chat, Reply

MAX_TOKENS = 64
#: What a general model must be told; ours were trained on it and are sent it all the same.
INSTRUCTIONS = """You answer a question about facts that stand on pages, with two tools.
"Q boss owner a21 ?" asks for the boss of the owner of a21: it reads inside out.
"Q max age boss a21 & price a7 ?" asks for the larger of two numbers.
Write one action: "S e5" searches for the page of e5, "C plus n3 n4" (plus, minus, max) calculates,
"A n7" answers.
Pages come after "O": "* e5 owner e9 price n17 ...". One that begins with "-" is not the page you asked for: \
search again."""
FORMATS = {
    "none": "Write nothing but the action.",
    "notes": 'Before the action note what you found, as "owner e9", or "miss" for a wrong page.',
    "plan": 'First write a plan, "P v1 owner e5 v2 price v1 ;", and the action. Later, before each action, '
    'note what you found, as "v1 owner e9", or "miss" for a wrong page.',
}
_ACTION = re.compile(r"\b(?:([SA]) ([en]\d+)|C (plus|minus|max) (\S+) (\S+))")


def read_reply(text: str) -> tuple[list[int], list[int]]:
    """Thought and action in what a model wrote; the action is empty where none can be carried out.

    Words that the world does not know are left out of the thought.
    """
    found = _ACTION.search(text)
    thought = text[: found.start()] if found else text
    words = [w.TOKEN[word] for word in thought.split() if word in w.TOKEN]
    try:
        return words, w.parse(found.group(0)) if found else []
    except ValueError:
        return words, []


def aliases(task: w.Task) -> str:
    """What the aliases of a question stand for, in words: our models know it, others cannot."""
    known = {t: w.ALIAS_OF[t - w.FIRST_ALIAS] for t in task.question if t >= w.FIRST_ALIAS}
    return " ".join(f"{w.VOCABULARY[alias]} is {w.VOCABULARY[name]}." for alias, name in known.items())


class RemoteAgent:
    """An agent whose model answers chat requests.

    Args:
        chat: gives a reply to a request.
        model: the name of the model there.
        config: how the agent works.
        mark: share of right pages that carry the search tool's title mark.
        body_weights: size that the price of a token and its operations (two a weight, no reuse) go by.
    """

    def __init__(self, chat: Chat, model: str, config: AgentConfig, mark: float, body_weights: int) -> None:
        self.chat, self.model, self.config, self.mark = chat, model, config, mark
        self.body_weights = body_weights

    def answer(self, tasks: list[w.Task], seed: int) -> list[Outcome]:
        """One outcome a task; costs are the tokens that the endpoint reports."""
        attempts = []
        for index, task in enumerate(tasks):
            for number in range(self.config.tries):
                attempts.append(self._attempt(index, task, number, seed))
                if self.config.checker and attempts[-1].verdict:
                    break
        return resolve(attempts, self.config)

    def _attempt(self, index: int, task: w.Task, number: int, seed: int) -> Attempt:
        tools, config = w.Tools(seed, self.mark), self.config
        head = prompt(task, config.reasoning, config.memory, config.pages)
        steps: list[Step] = []
        cost, ladder, status, answer = Cost(), [], "", None
        while not status:
            reply = self._ask(w.render(context(head, steps, config.memory)), seed, task, number, len(steps))
            read, written = reply.prompt_tokens, reply.completion_tokens
            cost += Cost(0, read + written, written, read, 2 * self.body_weights * (read + written))
            step = Step(*read_reply(reply.text))
            steps.append(step)
            if not step.action:
                status = "stuck"
            elif step.action[0] == w.ANSWER:
                status, answer = "answered", step.action[1]
            else:
                ladder.append(cost)
                if cost.calls == config.max_calls:
                    status = "limit"
                else:
                    step.observation = tools.call(task, step.action, config.pages, number, cost.calls)
                    cost += Cost(1, 0, 0, 0, 0)
        right = answer == task.answer
        verdict = check(steps, config.reasoning)
        return Attempt(index, number, status, answer, right, verdict, cost, ladder, 0.0, 0.0, steps)

    def _ask(self, text: str, seed: int, task: w.Task, number: int, step: int) -> Reply:
        told = f"{INSTRUCTIONS}\n{FORMATS[self.config.reasoning]}\n{aliases(task)}"
        messages = [{"role": "system", "content": told}, {"role": "user", "content": text}]
        luck = w.mix(seed, task.key, number, step) >> 33  # endpoints take seeds of 31 bits
        return self.chat(
            {
                "model": self.model,
                "messages": messages,
                "temperature": self.config.temperature,
                "seed": luck,
                "max_tokens": MAX_TOKENS,
            }
        )
