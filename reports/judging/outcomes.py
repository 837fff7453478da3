"""The four outcomes of a check, of a claim and of a scoreboard."""

from __future__ import annotations

HOLDS, SHORT, UNCLEAR, UNTESTED = "holds", "falls short", "unclear", "not tested"
