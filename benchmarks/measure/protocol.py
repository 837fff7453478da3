"""The protocol's numbers, all in one place; they enter every visit. Reasons: docs/measurement.md."""

from __future__ import annotations

#: Length of one sample; slots of 2 ms are biased by cold caches, 20 and 100 ms agree.
SLOT_S = 0.020
#: Clean samples that every cell of a round needs, and how many cycles it gets at least and at most.
CLEAN_SAMPLES, MIN_CYCLES, MAX_CYCLES = 8, 10, 25
#: Calls of this length and more get one warm-up and this many samples.
LONG_CALL_S, LONG_SAMPLES = 0.1, 5
#: A sample is clean when its thread did not run for less than this share of the wall time.
CLEAN_SHARE = 0.01
#: Another process took more than this share of a core while the round ran: flag `neighbour`.
NEIGHBOUR_SHARE = 0.10
#: Wall and CPU ratios further apart than this and the half-width: flag `clocks disagree`.
CLOCK_GAP = 0.02
#: Test items that each form scores again, so that speed and quality belong to the same form.
SLICE_ITEMS = 200
#: Samples of a device that heats up are taken once three blocks in a row agree within this.
SETTLED_SHARE = 0.02
#: An empty body may cost this share of a sample, else the visit is flagged `overhead`.
OVERHEAD_SHARE = 0.01
#: A visit whose clocks failed is tried again this often.
RETRIES = 2
#: Flags of a visit that is tried again: its clocks failed. Others are facts that another try would find again.
RETRIED = frozenset({"preempted", "clocks disagree"})
#: Threads of a round.
THREADS = 1


def as_dict() -> dict[str, float]:
    """The numbers as they stand in a visit."""
    return {
        "slot_s": SLOT_S,
        "clean_samples": CLEAN_SAMPLES,
        "min_cycles": MIN_CYCLES,
        "max_cycles": MAX_CYCLES,
        "long_call_s": LONG_CALL_S,
        "long_samples": LONG_SAMPLES,
        "clean_share": CLEAN_SHARE,
        "clock_gap": CLOCK_GAP,
        "retries": RETRIES,
        "threads": THREADS,
    }
