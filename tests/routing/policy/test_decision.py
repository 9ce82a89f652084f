"""What a policy makes of a request: floors first, then dollars; and what it remembers of a conversation."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from tests.routing.conftest import ask

from renga.config import PolicySettings
from renga.domain.reasons import render_reasons
from renga.errors import ConfigError
from renga.models.providers.provider_seam import Target, Tier
from renga.protocols.messages.blocks import Base64Source, CacheControl, ImageBlock, TextBlock
from renga.protocols.messages.events.event_types import Usage
from renga.protocols.messages.request import MessageRequest, Turn
from renga.routing.certificates.certificate import Certificate, encode_certificate
from renga.routing.costs.cascade import EXPLORE_EVERY, CascadeChooser, read_size
from renga.routing.costs.cost_model import ACCEPT_MEMORY, Acceptance, PriceRow, PriceStep
from renga.routing.plan import Plan, PlannedAttempt
from renga.routing.policy.decision import Candidates, Decider, SettledDecision
from renga.routing.policy.policies import Policies
from renga.routing.triage.conversations import Conversations, identify
from renga.routing.triage.features import read_request
from renga.routing.triage.learned_head import LabelledFeatures, encode_head, fit_head
from renga.routing.triage.scorer import load_prior
from renga.testing.fake_clock import ToldClock


def price(name: str, nano_usd: int) -> PriceRow:
    """A target whose output costs five times its input, reads a tenth, writes a quarter more."""
    step = PriceStep(None, nano_usd, 5 * nano_usd, nano_usd // 10, nano_usd * 5 // 4, 2 * nano_usd)
    return PriceRow(name, (step,))


PRICES = {"a/haiku": 100, "b/haiku": 50, "a/sonnet": 2_000, "a/opus": 4_000, "a/judge": 4_000}


class Prices:
    def __init__(self, prices: dict[str, int]) -> None:
        self.prices = prices

    def row(self, target: str) -> PriceRow | None:
        return price(target, self.prices[target]) if target in self.prices else None


def attempts(*tiers: Tier) -> tuple[PlannedAttempt, ...]:
    return tuple(PlannedAttempt(Target("a", tier), tier) for tier in tiers)


ALL = attempts("haiku", "sonnet", "opus")


class Desk:
    """A decider over three tiers."""

    def __init__(self, settings: PolicySettings | None = None, prices: dict[str, int] | None = None) -> None:
        self.clock = ToldClock()
        policies = Policies({} if settings is None else {"auto": settings})
        self.ladders = CascadeChooser(Prices(PRICES if prices is None else prices), self.clock)
        self.decider = Decider(policies, self.ladders)

    def decide(
        self,
        request: MessageRequest | None = None,
        candidates: tuple[PlannedAttempt, ...] = ALL,
        body_bytes: int = 2_000,
    ) -> Plan:
        fits = Candidates(candidates, lambda request, target: target.model != "blind")
        asked = request or ask("Why?")
        return self.decider.decide("auto", asked, fits, identify("key_1", asked), body_bytes)

    def learn(self, plan: Plan, **changes: object) -> None:
        settled = SettledDecision("a/opus", "opus", Usage(10, output_tokens=100), "a/haiku", True, "held", True)
        self.decider.learn(plan, replace(settled, **changes))


def names(plan: Plan) -> list[str]:
    return [attempt.target.model + ("?" if attempt.check else "") for attempt in plan.attempts]


def test_haiku_is_checked_and_opus_stands_behind_it_with_sonnet_as_a_spare() -> None:
    plan = Desk().decide()
    assert names(plan) == ["haiku?", "opus", "sonnet"]
    assert (plan.policy, plan.small, render_reasons(plan.reasons)) == ("auto", "haiku", "policy:auto;triage:verify")
    assert plan.also_billed == ("a/haiku", "a/haiku")
    assert plan.expected_nano_usd is not None and plan.top_nano_usd is not None
    assert plan.expected_nano_usd < plan.top_nano_usd


def test_without_a_tier_above_nothing_is_checked() -> None:
    plan = Desk().decide(candidates=attempts("haiku"))
    assert (names(plan), render_reasons(plan.reasons)) == (["haiku"], "policy:auto;triage:verify;nothing_above")
    same = (PlannedAttempt(Target("a", "m"), "haiku"), PlannedAttempt(Target("a", "m"), "opus"))
    assert render_reasons(Desk().decide(candidates=same).reasons).endswith("nothing_above")


def test_without_a_small_tier_the_top_answers() -> None:
    plan = Desk().decide(candidates=attempts("sonnet", "opus"))
    assert (names(plan), render_reasons(plan.reasons)) == (
        ["opus", "sonnet"],
        "policy:auto;triage:verify;up:nothing_below",
    )


def test_warming_a_cache_is_not_checked() -> None:
    plan = Desk().decide(replace(ask("Why?"), max_tokens=0))
    assert (names(plan)[0], render_reasons(plan.reasons)) == ("haiku", "policy:auto;triage:verify;prewarm")


def test_a_policy_names_its_tiers() -> None:
    plan = Desk(PolicySettings(small="sonnet", checks=("structural",), fall_back=False)).decide()
    assert names(plan) == ["sonnet?", "opus"]
    assert names(Desk(PolicySettings(top="sonnet", fall_back=False)).decide()) == ["haiku?", "sonnet"]


def test_a_middle_tier_is_climbed_only_where_it_saves() -> None:
    settings = PolicySettings(middle="sonnet", checks=("structural",), fall_back=False)
    # It costs half of the top and passes six times in ten: 2,000 + 0.4 x 4,000 < 4,000.
    assert names(Desk(settings).decide()) == ["haiku?", "sonnet?", "opus"]
    desk = Desk(settings)
    for _ in range(60):
        desk.ladders.acceptance.observe("auto", "a/sonnet", accepted=False)
    assert names(desk.decide()) == ["haiku?", "opus"]


def test_a_prefix_that_the_top_holds_makes_haiku_the_dearer_one() -> None:
    desk = Desk(PolicySettings(small="sonnet", checks=("structural",), fall_back=False))
    first = desk.decide(body_bytes=160_000)
    assert names(first) == ["sonnet?", "opus"]
    desk.learn(first, usage=Usage(500, cache_creation_input_tokens=40_000, output_tokens=300), checked=None)
    warm = desk.decide(body_bytes=162_000)
    assert (names(warm), render_reasons(warm.reasons)) == (["opus"], "policy:auto;triage:verify;up:cost")
    assert warm.top_nano_usd is not None and first.top_nano_usd is not None
    assert warm.top_nano_usd < first.top_nano_usd / 4
    desk.clock.ns += 301 * 10**9
    assert names(desk.decide(body_bytes=162_000)) == ["sonnet?", "opus"]


def test_what_is_too_dear_to_try_is_tried_now_and_then() -> None:
    desk = Desk(PolicySettings(checks=("structural",), fall_back=False), {**PRICES, "a/haiku": 3_900})
    tried = [names(desk.decide())[0] == "haiku?" for _ in range(2 * EXPLORE_EVERY)]
    assert sum(tried) == 2


def test_a_price_that_is_not_known_changes_no_plan() -> None:
    plan = Desk(prices={"a/opus": 4_000}).decide()
    assert names(plan) == ["haiku?", "opus", "sonnet"]
    assert plan.expected_nano_usd is None
    assert plan.top_nano_usd is not None


def test_optimism_is_for_streams() -> None:
    desk = Desk(PolicySettings(streaming="optimistic"))
    whole, streamed = desk.decide(), desk.decide(replace(ask("Why?"), stream=True))
    assert whole.attempts[0].check is not None and not whole.attempts[0].check.optimistic
    assert streamed.attempts[0].check is not None and streamed.attempts[0].check.optimistic


@pytest.mark.parametrize(("second", "asked"), [("b/haiku", Target("b", "haiku")), ("b/blind", None), (None, None)])
def test_a_second_that_cannot_serve_the_request_is_not_asked(second: str | None, asked: Target | None) -> None:
    check = Desk(PolicySettings(second=second)).decide().attempts[0].check
    assert check is not None
    assert check.second == asked


def test_a_judge_is_a_target_or_the_best_of_a_tier() -> None:
    def judge(name: str, candidates: tuple[PlannedAttempt, ...] = ALL) -> Target | None:
        check = Desk(PolicySettings(judge=name)).decide(candidates=candidates).attempts[0].check
        assert check is not None
        assert ("judge" in check.policy.checks) == (check.judge is not None)
        return check.judge

    assert judge("a/judge") == Target("a", "judge")
    assert judge("sonnet") == Target("a", "sonnet")
    assert judge("sonnet", attempts("haiku", "opus")) is None


def test_a_conversation_is_who_asks_and_how_it_begins() -> None:
    def conversation(key: str, system: str, *texts: str) -> str:
        turns = tuple(Turn("user" if at % 2 == 0 else "assistant", text) for at, text in enumerate(texts))
        return identify(key, MessageRequest(model="auto", messages=turns, max_tokens=5, system=system))

    first = conversation("k", "Be kind.", "Hi")
    assert conversation("k", "Be kind.", "Hi", "Hello", "And now?") == first
    assert conversation("k", "x-billing: 7\n" + "a" * 5_000, "Hi") == conversation(
        "k", "x-billing: 8\n" + "a" * 5_000, "Hi"
    )
    others = {
        conversation("j", "Be kind.", "Hi"),
        conversation("k", "Be curt.", "Hi"),
        conversation("k", "Be kind.", "Ho"),
    }
    assert len(others | {first}) == 4


def test_the_memory_of_conversations_is_bounded() -> None:
    memory = Conversations(3)
    for number in range(10):
        memory.remember(str(number), 0, 1)
    assert len(memory) == 3
    assert (memory.history("9").escalations, memory.history("0").escalations) == (1, 0)


def test_the_share_that_passes_follows_the_last_hundreds() -> None:
    shares = Acceptance()
    assert shares.ratio("p", "t") == 0.6
    for _ in range(2_000):
        shares.observe("p", "t", accepted=True)
    assert shares.ratio("p", "t") > 0.98
    for _ in range(int(ACCEPT_MEMORY)):
        shares.observe("p", "t", accepted=False)
    assert 0.3 < shares.ratio("p", "t") < 0.45


def test_media_is_not_counted_by_its_bytes() -> None:
    image = ImageBlock(Base64Source("image/png", "A" * 400_000), CacheControl("ephemeral"))
    request = MessageRequest(model="auto", messages=(Turn("user", (image, TextBlock("What?"))),), max_tokens=5)
    size = read_size(request, 400_400, "c")
    assert (size.prompt_tokens, size.caches) == (100 + 1_600, True)


CERTIFICATE = Certificate(
    format=1,
    small="haiku",
    top="opus",
    ranking="agreement",
    threshold=0.7,
    floor_points=2.0,
    confidence=0.9,
    method="exact",
    bound_points=1.5,
    loss_points=0.5,
    rows=1000,
    data_sha256="0" * 64,
    kept_share=0.5,
    counts="dollars",
    saving_share=0.4,
    saving_low=0.3,
    saving_high=0.5,
    created_on="2026-11-21",
)


def write(folder: Path, **changes: object) -> str:
    file = folder / "certificate.json"
    file.write_bytes(encode_certificate(replace(CERTIFICATE, **changes)))
    return str(file)


def test_a_certificate_decides_alone(tmp_path: Path) -> None:
    settings = PolicySettings(floor_points=2.0, certificate=write(tmp_path), judge="opus")
    check = Desk(settings).decide().attempts[0].check
    assert check is not None
    assert (check.policy.checks, check.policy.accept_from) == (("structural", "agreement"), 0.7)
    logprob = write(tmp_path, ranking="mean_logprob", threshold=-0.2)
    check = Desk(PolicySettings(floor_points=2.0, certificate=logprob)).decide().attempts[0].check
    assert check is not None
    curve = check.policy.curves["logprob"]
    assert [curve.probability(value) for value in (-0.3, -0.2, -0.1)] == [0.0, 1.0, 1.0]


def test_a_triage_certificate_keeps_below_and_sends_up_above(tmp_path: Path) -> None:
    head = load_prior()
    easy, hard = ask("Hi"), ask("Prove that every compact Hausdorff space is normal. " * 9)
    file = write(tmp_path, ranking="triage", threshold=1.0, head_sha256=head.sha256)
    desk = Desk(PolicySettings(floor_points=2.0, certificate=file))
    kept, sent = desk.decide(easy), desk.decide(hard)
    assert kept.triage_score is not None and kept.triage_score <= -1.0
    assert (names(kept), render_reasons(kept.reasons)) == (
        ["haiku", "opus", "sonnet"],
        "policy:auto;triage:haiku:score<keep",
    )
    assert (names(sent)[0], render_reasons(sent.reasons)) == ("opus", "policy:auto;triage:up:score>up")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"floor_points": 3.0}, "it proves 3 points, and policies.auto promises 2"),
        ({"small": "sonnet"}, "its small tier is sonnet"),
        ({"ranking": "triage", "head_sha256": "0" * 64}, "the scores of another head"),
    ],
)
def test_a_certificate_that_proves_something_else_is_refused_at_start(tmp_path: Path, changes, said: str) -> None:
    file = write(tmp_path, **changes)
    with pytest.raises(ConfigError, match=said) as refused:
        Policies({"auto": PolicySettings(floor_points=2.0, certificate=file)})
    assert refused.value.path == file


def test_a_broken_certificate_is_refused_at_start(tmp_path: Path) -> None:
    file = Path(write(tmp_path))
    file.write_bytes(file.read_bytes().replace(b"0.7", b"0.1"))
    with pytest.raises(ConfigError, match="changed after it was written"):
        Policies({"auto": PolicySettings(floor_points=2.0, certificate=str(file))})


@pytest.mark.parametrize(
    ("loss", "point_usd", "first"), [(1.0, 0.0000001, "haiku"), (1.0, 10.0, "haiku?"), (0.0, 10.0, "haiku")]
)
def test_what_gains_less_than_it_costs_is_not_escalated(
    tmp_path: Path, loss: float, point_usd: float, first: str
) -> None:
    """A request that no tier solves has no loss: the top would not do better."""
    features = [read_request(ask(f"question {number}")) for number in range(50)]
    labels = LabelledFeatures(features, np.full(50, loss), "0" * 64, "2026-11-21")
    head = tmp_path / "head.npz"
    head.write_bytes(encode_head(fit_head(labels, load_prior())))
    plan = Desk(PolicySettings(head=str(head), point_usd=point_usd)).decide()
    assert names(plan)[0] == first
    assert render_reasons(plan.reasons).endswith("not_worth") == (first == "haiku")
