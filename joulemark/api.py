"""What third parties import: the contracts of tasks and methods, and the layers that can be stored."""

from benchmarks.knobs import InputError
from benchmarks.tasks.base import Metric, Recipe, Scores, Task, Workload
from methods.base import Method, cell, knob

__all__ = ["InputError", "Method", "Metric", "Recipe", "Scores", "Task", "Workload", "cell", "knob"]
