"""Clocks, energy meters, memory, rounds: how a cost is measured (docs/measurement.md says why)."""
