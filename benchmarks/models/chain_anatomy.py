"""Takes written chain answers apart: where they slip, what they re-check, how many passes they make."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.models import chain_world as chain
from benchmarks.models.chain_world import Prompts, ends


@dataclass
class Anatomy:
    """Counts over written answers. A step is judged from the value that stands before it, right or wrong.

    Attributes:
        steps: First attempts at steps, `{hard: count}`.
        wrong: Wrong ones of them.
        rechecked: Steps with a re-check, `{hard: count}`.
        wrong_checked: Wrong first attempts with a re-check, `{hard: count}`.
        repaired: Those of them that the re-check put right.
        harmed: Right first attempts that a re-check made wrong.
        passes: Passes begun.
        answers: Answers looked at.
        broken: Answers with a mark, step number or operation that has no business where it stands.
        unended: Answers without `END`.
    """

    steps: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    wrong: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    rechecked: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    wrong_checked: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    repaired: int = 0
    harmed: int = 0
    passes: int = 0
    answers: int = 0
    broken: int = 0
    unended: int = 0

    def rates(self) -> dict[str, float]:
        """Shares by name; not a number where nothing was counted."""

        def share(part: float, whole: float) -> float:
            return part / whole if whole else float("nan")

        steps, checked = sum(self.steps.values()), sum(self.wrong_checked.values())
        return {
            "error": share(sum(self.wrong.values()), steps),
            "error_hard": share(self.wrong[True], self.steps[True]),
            "error_easy": share(self.wrong[False], self.steps[False]),
            "recheck_hard": share(self.rechecked[True], self.steps[True]),
            "recheck_easy": share(self.rechecked[False], self.steps[False]),
            "repaired": share(self.repaired, checked),
            "harmed": share(self.harmed, sum(self.rechecked.values()) - checked),
            "passes": share(self.passes, self.answers),
            "steps": share(steps, self.answers),
            "broken": share(self.broken, self.answers),
            "unended": share(self.unended, self.answers),
        }


def dissect(prompts: Prompts, tokens: np.ndarray) -> Anatomy:
    """Count what the written answers `tokens [n, t]` to `prompts` are made of."""
    seen = Anatomy()
    for row, end in zip(range(len(prompts)), ends(tokens), strict=True):
        ops = prompts.ops[row, : prompts.level[row]]
        written = [int(t) for t in tokens[row, : end + 1] if t != chain.PAD]
        seen.answers += 1
        seen.unended += not written or written[-1] != chain.END
        seen.broken += not _walk(written, int(prompts.start[row]), ops, seen)
    return seen


def _walk(written: list[int], start: int, ops: np.ndarray, seen: Anatomy) -> bool:
    """Follow one answer as far as it keeps the form; False if it does not keep it to its end."""
    at, before, value, was_right, may_check = len(ops), start, start, True, False
    i = 0
    while i < len(written):
        mark, size = written[i], 3 if written[i] in (chain.START, chain.ANSWER) else 4
        part = written[i + 1 : i + size]
        if len(part) < size - 1:
            return False
        *op, units, tens = part
        if not (0 <= units < 10 and 0 <= tens < 10):
            return False
        new = 10 * tens + units
        if mark == chain.START and at == len(ops):
            at, value, may_check = 0, new, False
            seen.passes += 1
        elif at < len(ops) and mark == chain.STEP + at and op[0] - chain.OP == ops[at]:
            before, value, may_check = value, new, True
            hard, was_right = bool(chain.HARD[ops[at], before]), bool(chain.AFTER[ops[at], before] == new)
            seen.steps[hard] += 1
            seen.wrong[hard] += not was_right
            at += 1
        elif mark == chain.RECHECK and may_check and op[0] - chain.OP == ops[at - 1]:
            hard, right = bool(chain.HARD[ops[at - 1], before]), bool(chain.AFTER[ops[at - 1], before] == new)
            seen.rechecked[hard] += 1
            seen.wrong_checked[hard] += not was_right
            seen.repaired += right and not was_right
            seen.harmed += was_right and not right
            value, may_check = new, False
        elif mark == chain.ANSWER and at == len(ops):
            return written[i + size :] == [chain.END]
        else:
            return False
        i += size
    return False
