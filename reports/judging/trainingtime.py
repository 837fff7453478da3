"""Training time: steps of the log x seconds a step, with the uncertainty of both.

Rounds time one seed's steps. Where other seeds took other numbers of steps (a trainer that stops early), the ratio
of steps is a mean over seeds with an interval of its own: a product on logs, degrees of freedom by Satterthwaite.
"""

from __future__ import annotations

import math

import numpy as np

from reports.judging.statistics import Interval, student, sum_of
from reports.judging.table import Missing, Table


def with_steps_of_all_seeds(table: Table, of: str, over: str, timed: int, times: Interval) -> Interval:
    """The log ratio of training times, turned from the timed seed's steps to those of all seeds.

    Args:
        table: of the scope.
        of: the arm above.
        over: the arm below.
        timed: the seed that rounds timed; its numbers of steps are in `times`.
        times: log ratio of training times over rounds.

    Returns:
        `times` itself where every seed has the same ratio of steps, or where steps were not counted.
    """
    try:
        above, below = table.counted(of, "train_steps"), table.counted(over, "train_steps")
    except Missing:
        return times
    seeds = sorted(set(above) & set(below))
    if timed not in seeds or any(above[seed] <= 0 or below[seed] <= 0 for seed in seeds):
        return times
    logs = {seed: math.log(above[seed] / below[seed]) for seed in seeds}
    others = np.array([logs[seed] for seed in seeds]) - logs[timed]
    return times if not others.any() else sum_of(times, student(others))
