"""No test text is trained on, and no held-out label is ever seen."""

import re
from random import Random

import pytest


@pytest.mark.parametrize(
    "stem", ["banking77_test", "clinc150_val", "ccbysa_sgd_train", "svamp", "nestful_test", "mod_hatecheck_test", "abc"]
)
def test_refuses_sets_that_may_not_be_trained_on(stem: str) -> None:
    from training.data.sources import read_corpus

    with pytest.raises(ValueError, match="may not be trained on"):
        read_corpus(stem)


def test_hash_splits_share_no_text() -> None:
    from training.data.sources import bitext_rows, moderation_rows

    from renga.services.evals.public_sets import plain_text
    from renga.services.evals.suites.labels import moderation_pairs
    from renga.services.evals.suites.texts import bitext_pairs

    moderation_test = {plain_text(text) for text, _ in moderation_pairs("test")}
    assert moderation_test
    assert moderation_test.isdisjoint(plain_text(text) for text, _ in moderation_rows())
    support_test = {plain_text(text) for text, _ in bitext_pairs("test")}
    assert support_test.isdisjoint(plain_text(row["instruction"]) for row in bitext_rows())


def test_suites_draw_no_text_of_the_training_sets() -> None:
    from training.data.sources import label_sets, slot_rows

    from renga.services.evals.public_sets import plain_text
    from renga.services.evals.suites.labels import draw_banking, draw_clinc
    from renga.services.evals.suites.objects import draw_snips

    sets = label_sets()
    for name, cases in (
        ("banking77", draw_banking(Random(1), 4000, count=10)),
        ("clinc150", draw_clinc(Random(1), 6000)),
    ):
        trained = {plain_text(text) for texts in sets[name].values() for text in texts}
        assert len(cases) > 3000
        assert trained.isdisjoint(plain_text(case.text) for case in cases)
    trained = {plain_text(text) for name, _, text, _ in slot_rows() if name == "snips"}
    assert trained.isdisjoint(plain_text(case.text) for case in draw_snips(Random(1), 1000))


def test_held_out_labels_reach_no_prompt() -> None:
    from training.data.documents import segments
    from training.data.sources import held_out_labels
    from training.generators import extraction, labels, tools

    assert {"travel_alert", "email_query", "iot_coffee"} <= held_out_labels()
    written = [name for name in held_out_labels() if "_" in name]
    random = Random(2)
    for generator in (labels.classify, extraction.slots, tools.from_slots):
        for _ in range(150):
            text = "".join(text for text, _, _ in segments(generator(random))).lower()
            found = [name for name in written if re.search(rf"(?<!\w){name}(?!\w)", text)]
            assert not found, (found, text)


def test_vocabularies_share_nothing() -> None:
    from renga.services.evals.suites.invented_vocabulary import HELD_OUT, TRAINING
    from renga.services.evals.suites.passages import HELD_OUT_FACTS, TRAINING_FACTS

    assert set(TRAINING.verbs).isdisjoint(HELD_OUT.verbs)
    assert set(TRAINING.nouns).isdisjoint(HELD_OUT.nouns)
    assert set(TRAINING.frames).isdisjoint(HELD_OUT.frames)
    assert {part.name for part in TRAINING.parameters}.isdisjoint(part.name for part in HELD_OUT.parameters)
    assert {fact.sentence for fact in TRAINING_FACTS}.isdisjoint(fact.sentence for fact in HELD_OUT_FACTS)


def test_kinds_name_and_say_nothing_as_the_held_out_vocabulary_does() -> None:
    from training.generators.kinds import KIND_PHRASES, KIND_WORDS

    from renga.services.evals.suites.invented_vocabulary import HELD_OUT

    held_out = {word for part in HELD_OUT.parameters for word in part.name.split("_")}
    for name in (name for names in KIND_WORDS.values() for name in names):
        assert held_out.isdisjoint(name.split("_")), name
    said = {phrase for part in HELD_OUT.parameters for phrase in part.phrases}
    assert said.isdisjoint(phrase for phrases in KIND_PHRASES.values() for phrase in phrases)


def test_json_is_compact_and_in_schema_order() -> None:
    import json

    from training.data.compact_encoding import render_json
    from training.generators.tools import invented

    random = Random(3)
    for _ in range(100):
        document = invented(random)
        orders = {tool.name: list(tool.parameters["properties"]) for tool in document.tools}
        for turn in document.turns:
            for call in turn.calls:
                order = orders[call.name]
                assert list(call.arguments) == [key for key in order if key in call.arguments]
                assert json.loads(render_json(call.arguments)) == call.arguments
    assert render_json({"a": ["ü", 1]}) == '{"a":["ü",1]}'


def test_sentences_about_other_things_still_say_what_is_extracted() -> None:
    import json

    from training.generators.extraction import slots, slots_by_intent

    known = {text for rows in slots_by_intent().values() for text, _ in rows}
    random, new = Random(5), 0
    for _ in range(300):
        document = slots(random)
        for asked, answered in zip(document.turns[::2], document.turns[1::2], strict=True):
            values = [value for value in json.loads(answered.text).values() if value is not None]
            assert all(value in asked.text for value in values), (asked.text, values)
            new += asked.text not in known
    assert new > 100


def test_rivals_of_a_kind_stand_in_other_tools() -> None:
    from training.generators.tools import draw_apart

    from renga.services.evals.suites.invented_vocabulary import TRAINING

    random, rivals = Random(6), 0
    for _ in range(200):
        vocabulary, call = draw_apart(random, 4)
        if vocabulary is TRAINING:
            continue
        kinds = [{part.name: part.kind for part in tool.parameters} for tool in call.tools]
        assert all(len(set(fields.values())) == len(fields) for fields in kinds)
        fields = {name: kind for tool in kinds for name, kind in tool.items()}
        rivals += len(set(fields.values())) < len(fields)
    assert 40 < rivals < 120


def test_odd_names_are_copied_whole_through_json() -> None:
    import json

    from training.data.compact_encoding import render_json
    from training.generators.copying import odd_name

    random = Random(7)
    names = [odd_name(random) for _ in range(300)]
    assert [json.loads(render_json(name)) for name in names] == names
    assert all(name == name.strip() and len(name) > 1 for name in names)
    words = [re.split(r"[ -]", name.lower()) for name in names]
    assert any(parts[0] == parts[1] for parts in words if len(parts) > 1)
    assert any(not name.isascii() for name in names)
    assert any(re.fullmatch(r"(\w\. ?)+", name) for name in names)
