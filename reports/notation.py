"""Numbers as people read them: units, digits that the interval allows, points for shares."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MINUS, TIMES, DOTS = "−", "×", "…"
#: What a counted or measured number is called in a sentence, and in the head of a column.
NAMES = {
    "latency_s": ("time a call", "time"),
    "train_s": ("training time", "training time"),
    "energy_j": ("energy a call", "energy"),
    "cpu_s": ("CPU time a call", "CPU time"),
    "nonzero": ("non-zero weights", "non-zero"),
    "params": ("weights", "weights"),
    "stored_bytes": ("stored bytes", "stored"),
    "flops": ("FLOPs a call", "FLOPs"),
    "bytes_moved": ("bytes moved a call", "bytes moved"),
    "peak_live_bytes": ("peak memory of a call", "peak memory"),
    "energy_proxy_j": ("energy proxy of a call (counted)", "energy proxy"),
    "train_flops": ("training FLOPs", "training FLOPs"),
    "train_peak_live_bytes": ("peak memory of training", "training memory"),
    "fit_cpu_s": ("training CPU time", "training CPU"),
    "adapt_cpu_s": ("CPU time of adapting", "adapting CPU"),
    "stages_cpu_s": ("CPU time of all stages", "all stages' CPU"),
    "tokens": ("tokens", "tokens"),
    "tool_calls": ("tool calls", "tool calls"),
    "price": ("price", "price"),
}


def stem(metric: str) -> str:
    """A metric without its place: `flops@batch64` -> `flops`."""
    return metric.partition("@")[0]


def place(metric: str) -> str:
    """The place of a metric: `flops@batch64` -> `batch64`."""
    return metric.partition("@")[2]


def long_name(metric: str) -> str:
    """A metric in a sentence."""
    return NAMES.get(stem(metric), (stem(metric).replace("_", " "),))[0]


def short_name(metric: str) -> str:
    """A metric in the head of a column."""
    return NAMES.get(stem(metric), ("", stem(metric).replace("_", " ")))[1]


def slug(name: str) -> str:
    """A name as part of a file's name or of an address."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "-" for letter in name
    )[:120]


def shorten(text: str, length: int) -> str:
    """The same text, or its two ends: figures have little room, and both ends of a name tell cells apart."""
    if len(text) <= length:
        return text
    head = (length - 1) * 2 // 3
    return text[:head] + DOTS + text[len(text) - (length - 1 - head) :]


def compact(label: str, length: int) -> str:
    """A cell's name for a figure: knobs of cells within cells are left out first, then the middle."""
    depth, kept = 0, []
    for letter in label:
        depth += letter == "("
        if depth < 2:
            kept.append(letter)
        elif letter == "(":
            kept.append(DOTS)
        depth -= letter == ")" and depth > 0
    return shorten("".join(kept).replace(DOTS + DOTS, DOTS), length)


def fixed(value: float, decimals: int) -> str:
    """Fixed decimals with a real minus and thousands; never `-0.0`."""
    if math.isinf(value):
        return "∞" if value > 0 else f"{MINUS}∞"
    text = f"{abs(value):,.{decimals}f}"
    return (MINUS if value < 0 and float(text.replace(",", "")) else "") + text


def signed(value: float, decimals: int) -> str:
    """Like `fixed`, with a plus."""
    text = fixed(value, decimals)
    return text if value <= 0 or not text.strip("0.,") else f"+{text}"


def significant(value: float, digits: int = 3) -> str:
    """A number with so many significant digits, in SI steps beyond a hundred thousand."""
    if value == 0 or not math.isfinite(value):
        return fixed(value, 0)
    size = math.floor(math.log10(abs(value)))
    if size >= 5:
        return _steps(value, digits, (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)))
    if size < -4:
        return f"{value:.{digits - 1}e}".replace("-", MINUS)
    return fixed(value, max(0, digits - 1 - size))


def _steps(value: float, digits: int, steps: tuple[tuple[str, float], ...]) -> str:
    for name, step in steps:
        if abs(value) >= step:
            scaled = value / step
            return f"{fixed(scaled, max(0, digits - 1 - math.floor(math.log10(abs(scaled)))))} {name}"
    return fixed(value, 0)


def size(value: float) -> str:
    """Bytes in decimal steps."""
    if abs(value) < 1000:
        return f"{fixed(value, 0)} B"
    return _steps(value, 3, (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)))


def seconds(value: float) -> str:
    """A duration in the unit that leaves one to three digits."""
    for name, step in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if abs(value) >= step or name == "µs":
            return f"{significant(value / step)} {name}"
    raise AssertionError


def absolute(metric: str, value: float) -> str:
    """A counted or measured number in its own unit."""
    name = stem(metric)
    if name.endswith("bytes") or name == "bytes_moved":
        return size(value)
    if name.endswith("_s"):
        return seconds(value)
    if name == "energy_proxy_j":
        return f"{significant(value * 1e6)} µJ"
    return significant(value)


def decimals(half: float, least: int = 0, most: int = 4) -> int:
    """How many decimals mean something beside this half-width: two digits of it below 3, else one."""
    if half <= 0 or not math.isfinite(half):
        return -1
    power = math.floor(math.log10(half))
    return min(most, max(least, -power + (half / 10.0**power < 3.0)))


def _digits(effect: float, low: float, high: float, line: float = math.nan, nothing: float = math.nan) -> int:
    """Decimals of an effect; more where rounding would lay an end on the threshold or on no effect."""
    found = decimals((high - low) / 2)
    if found >= 0:
        ends = {(end, mark) for end in (low, high) for mark in (line, nothing) if end != mark}
        while found < 6 and any(round(end, found) == round(mark, found) for end, mark in ends):
            found += 1
        return found
    if effect == 0 or not math.isfinite(effect):
        return 2
    return min(6, max(0, 2 - math.floor(math.log10(abs(effect)))))


class Words:
    """How the numbers of one check or column are written.

    Attributes:
        factor: what a number is multiplied by (shares become points or per cent).
        unit: what stands behind it.
    """

    def __init__(self, scale: str, unit: str) -> None:
        self.scale = scale
        self.factor, self.unit = 1.0, unit
        if scale == "ratio":
            self.unit = TIMES
        elif unit == "share":
            self.factor, self.unit = 100.0, "points" if scale == "difference" else "%"

    def number(self, value: float, digits: int, sign: bool = False) -> str:
        """One number without its unit."""
        return (signed if sign else fixed)(value * self.factor, digits)

    def one(self, value: float, digits: int | None = None) -> str:
        """One number with its unit; without digits as many as its size needs."""
        shown = value * self.factor
        if digits is None:
            digits = _digits(shown, shown, shown)
            text = fixed(shown, digits)
            text = text.rstrip("0").rstrip(".") if "." in text else text
        else:
            text = fixed(shown, digits)
        return self.join(text)

    def join(self, text: str) -> str:
        """A number's text with its unit."""
        unit = "point" if self.unit == "points" and text in ("1", f"{MINUS}1", "+1") else self.unit
        return text + unit if unit in (TIMES, "%") else f"{text} {unit}".rstrip()

    def effect(
        self, effect: float, low: float, high: float, sign: bool = False, line: float = math.nan
    ) -> str:
        """`−2.6 points [−3.1, −2.1]`; without brackets where the number is exact."""
        nothing = {"difference": 0.0, "ratio": 1.0}.get(self.scale, math.nan)
        digits = _digits(*(value * self.factor for value in (effect, low, high, line, nothing)))
        head = self.join(self.number(effect, digits, sign and self.scale == "difference"))
        return head if low == high else f"{head} {self.interval(low, high, digits)}"

    def size(self, effect: float, low: float, high: float, line: float = math.nan) -> str:
        """Like `effect`, without its sign: `2.6 points [2.1, 3.1]`, for sentences that say the direction."""
        if effect < 0:
            effect, low, high, line = -effect, -high, -low, -line
        return self.effect(effect, low, high, line=line)

    def interval(self, low: float, high: float, digits: int) -> str:
        """`[low, high]`, and words where there is none."""
        if math.isinf(high) and (math.isinf(low) or low == 0.0):
            return "[no interval]"
        return f"[{self.number(low, digits)}, {self.number(high, digits)}]"


def words(scale: str, metric: str, known: Mapping[str, Any] | None) -> Words:
    """The way to write a metric on a scale; `known` is the task's entry of a quality metric."""
    if known is not None:
        return Words(scale, str(known["unit"]))
    return Words(
        scale, "bytes" if stem(metric).endswith("bytes") else "s" if stem(metric).endswith("_s") else ""
    )


def per_cent(value: float, digits: int = 0) -> str:
    """A share as per cent."""
    return f"{fixed(100 * value, digits)} %"
