"""Group relative policy optimisation."""

from __future__ import annotations

from dataclasses import dataclass

from methods.base import Method
from methods.rl.policy import GroupPolicy


@dataclass(frozen=True)
class Grpo(GroupPolicy, Method):
    """Train a model on its own answers: what is better than the rest of its group becomes likelier.

    Paper: Shao et al. (2024), "DeepSeekMath", equation 3 with outcome supervision:
        A_i = (r_i - mean(r)) / std(r) over the answers to one question, r = 1 if right, for all tokens of
        answer i; the clipped ratio of PPO, mean over the tokens of an answer, then over answers.
    Deviations: no KL term; one pass over the answers of a turn in `minibatches` updates, so that the clip
        acts; groups without spread are left out of the mean (their advantage is 0, and AdamW hardly sees the
        scale); std + 1e-6, of the sample; a reward for the answer alone, none for the form.
    """

    needs = ("verify",)
    cost_depends_on_weights = True
    cpu_factor = 0.55
    small = {"turns": 2, "prompts": 4, "group": 4, "minibatches": 2}
