"""Sentences: what was seen, asked and reported, in words that agree with the numbers."""

from __future__ import annotations

from typing import Any

import pytest

from reports.content import Content
from reports.wording.sentences import facts, plain, robust_phrase, settings_phrase, settle, sign_phrase, tally
from tests.reports.conftest import row_of


def sentence(content: Content, claim: str) -> str:
    return next(plain(view.sentence) for paper in content.papers for view in paper.claims if view.id == claim)


def check_of(content: Content, claim: str) -> dict[str, Any]:
    cards = content.table.scope["cards"]
    return next(c for card in cards for c in card["claims"] if c["id"] == claim)["checks"][0]


@pytest.mark.parametrize(
    ("claim", "parts"),
    [
        (
            "tenfold-for-free",
            ["At this scale", "loses 1.6 points", "(allowed: a loss of up to 0.5 points)", "has 0.100×"],
        ),
        ("tenfold-for-free", ["“up to 10x” (abstract): falls short here, reversed (grade B)"]),
        (
            "sparse-over-dense",
            ["gains 2.9 points", "asked: a gain of more than 0.5 points, one band from no difference"],
        ),
        (
            "three-times-faster",
            ["takes 0.535×", "batch64: 64 images; csr form; asked: below 0.333×", "“3.1x” (figure 4)"],
        ),
        ("better", ["On the paper's own model and data", "holds here (grade A)"]),
        ("sparse-over-bytes", ["A question of our own: at this scale"]),
        ("fewer-by-count", ["True by construction, so not scored"]),
        ("ternary-is-fast", ["Not tested here: time a call at batch64 of ternary: emulated", "“2x”"]),
        (
            "gpu-kernels",
            ["Not tested here: needs a GPU with sparse tensor cores, where the paper reports “1.6x”"],
        ),
        ("more-goodput", ["modelled; asked: above 1.2×"]),
        ("mostly", ["the share of draws of goodput is 81% [77, 85]", "asked: above 50%"]),
        (
            "gradual-over-oneshot",
            ["unclear here (grade B), since the positive control (accuracy) has not come out"],
        ),
    ],
)
def test_golden_sentences(content: Content, claim: str, parts: list[str]) -> None:
    for part in parts:
        assert part in sentence(content, claim)


def test_grades_b_and_c_begin_at_this_scale(content: Content) -> None:
    for paper in content.papers:
        for view in paper.claims:
            said = plain(view.sentence)
            assert ("t this scale" in said) == (paper.card["grade"] in "BC" and view.verdict != "not tested")
            assert "refuted" not in said.lower()


def test_a_metric_of_which_less_is_better_rises_and_falls(content: Content) -> None:
    from reports.wording.sentences import check_phrase

    check = {**check_of(content, "halves-are-free"), "metric": "nll", "below": 0.05}
    del check["above"]
    from reports.judging.verdicts import judge_check

    said = plain(check_phrase(content.table, check, judge_check(content.table, check)))
    assert "raises nll by" in said and "(allowed: a rise of up to 0.05 nats)" in said


def test_signs_are_counted_by_replicate(content: Content) -> None:
    check, row = check_of(content, "three-times-faster"), row_of(content, "three-times-faster")
    assert sign_phrase(content.table, check, row) == "the same sign in 7 of 7 rounds"
    mixed = {**row, "replicates": [0.5, 0.6, 1.2], "n": 3}
    assert sign_phrase(content.table, check, mixed) == "the same sign in 2 of 3 rounds"
    exact = row_of(content, "tenfold-for-free", 1)
    assert sign_phrase(content.table, check_of(content, "fewer-by-count"), exact).startswith(
        "exact: the same number in all 5"
    )


def test_one_seed_is_said(content: Content) -> None:
    check, row = check_of(content, "sparse-over-dense"), row_of(content, "sparse-over-dense")
    assert "not other seeds" in sign_phrase(content.table, check, {**row, "replicates": [0.03], "n": 1})


def test_the_band_is_only_spoken_of_where_it_plays_a_part(content: Content) -> None:
    assert robust_phrase(check_of(content, "tenfold-for-free"), row_of(content, "tenfold-for-free")) == ""
    moved = robust_phrase(check_of(content, "sparse-over-bytes"), row_of(content, "sparse-over-bytes"))
    assert moved == "half the band: unclear"


def test_settings_are_counted_where_a_side_is_the_best_of_several() -> None:
    assert settings_phrase({"of": {"best": ["a", "b", "c"], "by": ""}, "minus": "d"}).startswith(
        "settings tried: 3 against 1"
    )
    assert settings_phrase({"of": "a", "minus": "b"}) == ""


def test_nothing_settles_what_is_clear(content: Content) -> None:
    assert settle(content.table, check_of(content, "better"), row_of(content, "better")) == ""


def test_facts_beside_a_verdict(content: Content) -> None:
    check, row = check_of(content, "three-times-faster"), row_of(content, "three-times-faster")
    found = dict(facts(content.table, check, row))
    assert found["the paper"] == "3.1x (figure 4)" and found["here"].startswith("0.535×")
    assert found["smaller here"].startswith("an MLP of 0.27 M weights")
    assert found["sign"] == "the same sign in 7 of 7 rounds"
    assert found["settings"] == "tried: 4 (named by the claim) against 2 (named by the claim)"
    assert found["held against"] == (
        "identities: masked equals pruned; peer: torch.nn.utils.prune; published: none"
    )
    assert found["repeat it"] == "snakemake --cores 2 --config plan=golden paper_toy-pruning"
    assert "would settle it" not in found and "extended" not in found  # it is settled
    open_ = dict(
        facts(content.table, check_of(content, "rank-is-no-slower"), row_of(content, "rank-is-no-slower"))
    )
    assert open_["would settle it"] == "about 9 rounds in all would settle it if the estimate stays"
    assert open_["settle it"] == "joulemark extend toy-pruning --rounds 9 --plan golden"
    assert open_["band"] == "twice the band: falls short"


def test_a_control_settles_before_seeds_do(content: Content) -> None:
    assert row_of(content, "gradual-over-oneshot")["settle"] == "the control must come out first"


def test_a_card_that_was_extended_says_so(content: Content) -> None:
    from reports.judging.remarks import extended
    from reports.judging.table import Table

    settings = {**content.table.scope["settings"], "extend": {"toy-pruning": {"seeds": 9, "rounds": 12}}}
    table, (card, other, *_) = (
        Table(content.table.rows, {**content.table.scope, "settings": settings}),
        content.table.scope["cards"],
    )
    assert extended(table, card) == "extended to 12 rounds and 9 seeds by request"
    assert extended(table, other) == extended(content.table, card) == ""


def test_tally() -> None:
    claims = [{"verdict": "holds", "reversed": False}, {"verdict": "falls short", "reversed": True}]
    told = "2 claims of papers: 1 holds here, 1 falls short here (1 reversed), 0 unclear, 0 not tested"
    assert tally(claims) == told
    own = {"verdict": "unclear", "reversed": False, "own": True}
    assert tally([*claims, own]).startswith(told + "; 1 question of our own: 0 hold here, ")
    assert tally([own]).startswith("1 question of our own")


def test_beside_a_saving_stands_what_it_costs(content: Content) -> None:
    """A faster arm that has learnt less must not read as a bargain; beside a quality check it says nothing new."""
    rows, found = content.rows, {}
    for card in content.table.scope["cards"]:
        for claim in card["claims"]:
            for number, check in enumerate(claim.get("checks") or ()):
                row = next(
                    r
                    for r in rows
                    if (r["paper"], r["claim"], r["check"]) == (card["key"], claim["id"], number)
                )
                found[claim["id"], number] = (
                    check,
                    dict(facts(content.table, check, row)).get("quality", ""),
                )
    told = {key: text for key, (_, text) in found.items() if text}
    assert (
        found["three-times-faster", 0][1].startswith("accuracy ")
        and " points [" in told["three-times-faster", 0]
    )
    assert not any(text for check, text in found.values() if check["quality"])
