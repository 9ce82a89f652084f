"""Triage keeps nothing unproven, never skips a cheap check, and stops trying where trying failed."""

import numpy as np
from tests.routing.conftest import WEATHER, ask, ask_for_json

from renga.routing.triage.history import History
from renga.routing.triage.scorer import Scorer, Thresholds, TriageRoute, load_prior

HEAD = load_prior()
EAGER = Scorer(HEAD, Thresholds(keep_below=np.inf))


def test_without_thresholds_everything_is_verified() -> None:
    decision = Scorer(HEAD).decide(ask("What is the capital of France?"))
    assert decision.route is TriageRoute.VERIFY
    assert decision.reasons == ("score",)


def test_a_proven_threshold_keeps_what_is_below() -> None:
    assert EAGER.decide(ask("Hi")).route is TriageRoute.HAIKU


def test_a_cheap_certain_check_is_never_skipped() -> None:
    assert EAGER.decide(ask("Hi", tools=(WEATHER,))).reasons == ("tools",)
    assert EAGER.decide(ask_for_json("Hi", b"{}")).route is TriageRoute.VERIFY


def test_hard_requests_go_straight_up() -> None:
    decision = Scorer(HEAD, Thresholds(up_above=-np.inf)).decide(ask("Hi"))
    assert (decision.route, decision.reasons) == (TriageRoute.UP, ("score>up",))


def test_two_escalations_end_the_trying() -> None:
    assert EAGER.decide(ask("Hi"), History(escalations=2)).route is TriageRoute.UP
    assert EAGER.decide(ask("Hi"), History(escalations=1)).route is TriageRoute.HAIKU


def test_harder_texts_score_higher() -> None:
    scorer = Scorer(HEAD)
    easy = scorer.decide(ask("Say hello to Tom"))
    hard = scorer.decide(ask("Derive the renormalisation group flow of the quartic scalar theory, and " * 6))
    assert hard.score > easy.score
