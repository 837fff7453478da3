"""One linear layer alone, at sizes where kernels and few bits pay. Nothing is trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from benchmarks import datasets
from benchmarks.tasks.base import Metric, Scores, Task, Workload, knob

#: Rows of activations in each split, evenly spaced over its text.
ROWS = 1024
#: Characters whose mean a row remembers beside its own and its predecessor.
MEMORY = 32
#: Standard deviation of the log of a channel's gain: of 1,024 the largest is some ten times the median.
GAIN_SPREAD = 0.75
#: Degrees of freedom of the Student matrix: the fewest whole number with a finite fourth moment.
FREEDOM = 5


@dataclass(frozen=True)
class LinearOp(Task):
    """Activations -> W x, without a bias, for a matrix with independent entries of a known distribution.

    Matrix: Gaussian, Laplace or Student t with five degrees of freedom, of variance 1 / inputs as in trained
    layers, drawn from the cell's seed.
    Activations: no trained model's. The characters of State of the Union addresses get random vectors; a row
    is a character's, its predecessor's and the mean of the 32 before, normalised as an RMS norm does, times a
    gain a channel whose log is normal with a deviation of 0.75, so that a few channels are large, as in
    trained models. 1,024 rows of the training text (for calibration) and of the test text. Synthetic on real
    text, alike for all seeds.

    Quality: `output_error` is |y - Wx| / |Wx| of a row of activations, Wx in float64. `weight_error` is
    |w' - w|^2 / |w|^2 of a row of the matrix, w' being what the system does to unit vectors (a row that it
    does not have counts as zeros). Items are those rows.
    """

    inputs: int = knob(1024, low=2, high=16384, help="numbers in a row of activations")
    outputs: int = knob(1024, low=1, high=16384, help="rows of the matrix")
    matrix: str = knob(
        "gaussian", choices=("gaussian", "laplace", "student_t"), help="distribution of weights"
    )

    metrics = (
        Metric("output_error", "share", "lower", chance=1.0, band=0.001),
        Metric("weight_error", "share", "lower", chance=1.0, band=0.001),
    )
    workloads = {
        "batch1": "one row of activations",
        "batch16": "16 rows",
        "batch64": "64 rows",
        "batch256": "256 rows",
    }
    main_workload = "batch64"
    trains = False
    offers = ("operator", "linear")
    train_cpu_s = 8.0  # what the shares of methods that adapt are counted in
    score_cpu_s = 0.4
    small = {"inputs": 64, "outputs": 48}
    controls = {
        "positive": "the product done twice takes twice as long as once",
        "negative": "with half of the weights zero, the CSR form is slower than the dense one",
    }

    def prepare(self):
        text = datasets.state_of_the_union()
        return {
            "train": {"x": activations(text["train"], self.inputs)},
            "valid": {},
            "test": {"x": activations(text["test"], self.inputs)},
        }

    def exact(self, run):
        """The matrix in float64, a torch tensor [outputs, inputs]."""
        import torch

        return torch.from_numpy(weights(self.matrix, self.outputs, self.inputs, run.seed))

    def model(self, run, width=None):
        """The layer in a container, so that a method can put another in its place; `width` rows of it."""
        import torch

        rows = width or self.outputs
        linear = torch.nn.Linear(self.inputs, rows, bias=False)
        with torch.no_grad():
            linear.weight.zero_()[: self.outputs].copy_(self.exact(run)[:rows])
        return torch.nn.Sequential(linear)

    def score(self, system, split, run):
        import torch

        matrix = self.exact(run).to(split["x"].device)
        with torch.inference_mode():
            found = self._rows(system(split["x"]).double())
            wanted = split["x"].double() @ matrix.t()
            output = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
            unit = torch.eye(self.inputs, device=split["x"].device)
            seen = self._rows((system(unit) - system(torch.zeros_like(unit[:1]))).double()).t()
            weight = (seen - matrix).square().sum(1) / matrix.square().sum(1)
        return {"output_error": Scores(output.cpu().numpy()), "weight_error": Scores(weight.cpu().numpy())}

    def _rows(self, out):
        """As many outputs as the matrix has rows: those that are missing are zero."""
        import torch

        return torch.nn.functional.pad(out, (0, self.outputs - out.shape[1]))

    def workload(self, name, system, split, run):
        import torch

        count = int(name.removeprefix("batch"))
        x = split["x"][:count].contiguous()

        def call():
            with torch.inference_mode():
                return system(x)

        return Workload(call, count, "row")


def weights(kind: str, outputs: int, inputs: int, seed: int) -> np.ndarray:
    """Independent entries of variance 1 / inputs, float64 [outputs, inputs]; a seed has one matrix."""
    rng = np.random.default_rng([seed, 3])
    size = (outputs, inputs)
    if kind == "gaussian":
        drawn = rng.standard_normal(size)
    elif kind == "laplace":
        drawn = rng.laplace(scale=2**-0.5, size=size)
    else:
        drawn = rng.standard_t(FREEDOM, size) * ((FREEDOM - 2) / FREEDOM) ** 0.5
    return drawn / inputs**0.5


def activations(text: str, inputs: int) -> np.ndarray:
    """Rows made from text as the task's docstring says, float32 [ROWS, inputs]."""
    rng = np.random.default_rng(0)
    own, before, topic = rng.standard_normal((3, 256, inputs))
    gain = np.exp(GAIN_SPREAD * rng.standard_normal(inputs))
    ids = np.frombuffer(text.encode("latin-1", "replace"), dtype=np.uint8)
    at = np.linspace(MEMORY, len(ids) - 1, ROWS).astype(int)
    past = np.stack([topic[ids[place - MEMORY : place]].sum(0) for place in at]) / MEMORY**0.5
    x = own[ids[at]] + before[ids[at - 1]] + past
    x /= np.sqrt((x**2).mean(1, keepdims=True))
    return (x * gain).astype(np.float32)
