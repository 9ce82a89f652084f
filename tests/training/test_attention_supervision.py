"""What an answer writes is found where it stands in the prompt, and attention that looks there costs nothing."""

import pathlib
from random import Random
from typing import Any

import pytest


@pytest.fixture
def tokenizer(tmp_path: pathlib.Path) -> Any:
    from training.data.tokenizer import load_tokenizer

    from .tiny import make_tokenizer

    return load_tokenizer(make_tokenizer(tmp_path))


def pointed(tokenizer: Any, document: Any) -> list[tuple[str, str, int]]:
    """(what is written, what is looked at, kind) of every pointer that begins something."""
    from training.data.documents import Encoder
    from training.learning.attention_supervision import COPY, ENTRY, FIELD, REST

    encoded = Encoder(tokenizer).encode(document)
    rest = {one.target for one in encoded.pointers if one.kind == REST}
    return [
        (
            tokenizer.decode(encoded.tokens[one.target : one.target + one.end - one.start]).strip(),
            tokenizer.decode(encoded.tokens[one.start : one.end]).strip(),
            one.kind,
        )
        for one in encoded.pointers
        if one.kind in (ENTRY, FIELD, COPY) and one.target not in rest
    ]


def test_a_label_is_looked_for_in_the_list_as_a_whole_entry(tokenizer: Any) -> None:
    from training.data.documents import Document, Turn
    from training.learning.attention_supervision import ENTRY, FIELD

    system = "Pick one.\n- card_lost_again\n- card\n- lost card\n- card_lost"
    labels = ("card", "card_lost", "lost card")
    answers = {**{label: label for label in labels}, '{"label":"card"}': "card"}
    for answer, label in answers.items():
        document = Document((Turn("user", "my card_lost card"), Turn("assistant", answer)), system, family="classify")
        first = tokenizer.decode(tokenizer.encode(label).ids[:1])
        found = sorted(pointed(tokenizer, document), key=lambda one: one[2])
        assert found == [(label, label, ENTRY), (first, first, FIELD)]
    unlisted = Document((Turn("user", "hi"), Turn("assistant", "3")), system, family="classify")
    assert pointed(tokenizer, unlisted) == []


def test_a_field_is_looked_for_among_the_names_of_members(tokenizer: Any) -> None:
    """Not where its name is a type, and stands first."""
    from training.data.documents import Document, Encoder, Tool, ToolCall, Turn
    from training.learning.attention_supervision import FIELD

    properties = {"seats": {"type": "string"}, "string": {"type": "string"}}
    tool = Tool("book", "Books", {"type": "object", "properties": properties})
    turns = (Turn("user", "a string"), Turn("assistant", "", (ToolCall("book", {"string": "a"}),)))
    encoded = Encoder(tokenizer).encode(Document(turns, tools=(tool,), family="invented"))
    before = [
        tokenizer.decode(encoded.tokens[: one.start], skip_special_tokens=False)
        for one in encoded.pointers
        if one.kind == FIELD and tokenizer.decode(encoded.tokens[one.target :]).startswith("string")
    ]
    assert [text.endswith('{"seats":{"type":"string"},"') for text in before] == [True]


def test_values_are_looked_for_in_the_latest_message(tokenizer: Any) -> None:
    from training.data.documents import Document, Encoder, Tool, ToolCall, Turn
    from training.learning.attention_supervision import COPY, ENTRY, FIELD, REST

    tool = Tool("book_table", "Books", {"type": "object", "properties": {"city": {"type": "string"}}})
    call = ToolCall("book_table", {"city": "Brookneal", "seats": 12, "again": "no"})
    turns = (Turn("user", "Book a table in Brookneal"), Turn("assistant", "Done"), Turn("user", "12 in Brookneal"))
    document = Document((*turns, Turn("assistant", "", (call,))), tools=(tool,), family="invented")
    encoded = Encoder(tokenizer).encode(document)
    rest = {one.target: one for one in encoded.pointers if one.kind == REST}
    found = [one for one in encoded.pointers if one.kind in (ENTRY, FIELD, COPY) and one.target not in rest]
    chosen = sorted(found, key=lambda one: (one.target, one.kind))
    assert [one.kind for one in chosen] == [ENTRY, FIELD, FIELD, COPY, COPY]
    latest = len(encoded.tokens) - encoded.tokens[::-1].index(tokenizer.token_to_id("<|user|>"))
    name, begun, field, city, seats = chosen
    assert tokenizer.decode(encoded.tokens[name.start : name.end]) == "book_table"
    assert (begun.target, begun.start, begun.end) == (name.target, name.start, name.start + 1)
    assert name.end < field.start < latest <= seats.start < city.start
    assert tokenizer.decode(encoded.tokens[field.start : field.end]) in "city"
    assert encoded.tokens[seats.start] == encoded.tokens[seats.target]
    entered = [one.target for one in encoded.pointers if one.kind == ENTRY]
    assert entered == [*range(name.target, name.target + name.end - name.start)]
    assert [rest[target].start for target in entered[1:]] == [*range(name.start + 1, name.end)]


def test_a_field_is_told_which_stand_before_it(tokenizer: Any) -> None:
    from training.data.documents import Document, Encoder, Turn
    from training.learning.attention_supervision import BEFORE, FIELD, SECOND, THIRD

    listed = "Fields: city, table_seats, table"
    turns = (Turn("user", "a table in Brookneal"), Turn("assistant", '{"city":"Brookneal","table":"a"}'))
    encoded = Encoder(tokenizer).encode(Document(turns, listed, family="records"))

    def seen(kind: int) -> dict[int, str]:
        """What was written up to the token that is looked at, by who looks."""
        texts = {
            one.target - 1: tokenizer.decode(encoded.tokens[: one.start], skip_special_tokens=False)
            for one in encoded.pointers
            if one.kind == kind
        }
        return {asking: text.rsplit(">", 1)[-1] for asking, text in texts.items()}

    fields = [one for one in encoded.pointers if one.kind == FIELD]
    assert [seen(BEFORE)[one.start] for one in fields] == ["Fields", "Fields: city, table_seats"]
    assert [seen(BEFORE)[one.target - 1] for one in fields] == ["", '{"city']
    assert seen(SECOND)[fields[1].start] == "Fields: city"
    assert seen(THIRD)[fields[1].start] == "Fields"


def test_members_of_a_schema_are_told_which_stand_before_them(tokenizer: Any) -> None:
    from training.data.documents import Document, Encoder, Tool, ToolCall, Turn
    from training.learning.attention_supervision import BEFORE, FIELD, SECOND

    properties = {name: {"type": "string"} for name in ("city", "table_seats", "table")}
    tool = Tool("book_table", "Books", {"type": "object", "properties": properties})
    call = ToolCall("book_table", {"table": "Brookneal"})
    turns = (Turn("user", "Brookneal"), Turn("assistant", "", (call,)))
    encoded = Encoder(tokenizer).encode(Document(turns, tools=(tool,), family="invented"))
    _, field = [one for one in encoded.pointers if one.kind == FIELD]
    for kind, name in ((BEFORE, "table_seats"), (SECOND, "city")):
        (found,) = [one for one in encoded.pointers if one.kind == kind and one.target == field.start + 1]
        assert tokenizer.decode(encoded.tokens[: found.start]).rstrip(':{"').endswith(name)


def test_words_of_the_message_tell_their_entry(tokenizer: Any) -> None:
    from training.data.documents import Document, Encoder, Turn
    from training.learning.attention_supervision import NEXT, TAG

    def told(document: Document, kind: int) -> list[tuple[str, str]]:
        encoded = Encoder(tokenizer).encode(document)
        return [
            (
                tokenizer.decode([encoded.tokens[one.target - 1]]).strip(),
                tokenizer.decode(encoded.tokens[one.start : one.end], skip_special_tokens=False).strip(),
            )
            for one in encoded.pointers
            if one.kind == kind
        ]

    system = "Pick one.\n- table list\n- book list\n- seats"
    label = Document((Turn("user", "a table in a list"), Turn("assistant", "table list")), system, family="classify")
    assert told(label, TAG) == [("table", "table list")]
    assert [word for _, word in told(label, NEXT)] == ["table"]
    turns = (Turn("user", "city Brookneal"), Turn("assistant", '{"city":"Brookneal"}'))
    record = Document(turns, "Fields: seats, city", family="records")
    assert told(record, TAG) == [("city", "<|system|>"), ("Brookneal", "city")]
    assert told(record, NEXT) == [('{"', "Brookneal"), ("Brookneal", "<|system|>")]


def test_after_a_value_the_next_one_is_looked_for(tokenizer: Any) -> None:
    from training.data.documents import Document, Encoder, Turn
    from training.learning.attention_supervision import NEXT

    turns = (Turn("user", "in Brookneal, 7 seats"), Turn("assistant", '{"seats":7,"city":"Brookneal"}'))
    encoded = Encoder(tokenizer).encode(Document(turns, "Fields: seats, city", family="records"))
    looked = [
        (tokenizer.decode(encoded.tokens[: one.target])[-4:], tokenizer.decode([encoded.tokens[one.start]]).strip())
        for one in encoded.pointers
        if one.kind == NEXT and one.start
    ]
    assert [what for _, what in looked] == ["7", looked[1][1], looked[1][1]]
    assert looked[1][0].endswith('":7') and looked[2][0].endswith(',"') and "Brookneal".startswith(looked[1][1])


def test_what_stands_there_twice_is_looked_for_nowhere(tokenizer: Any) -> None:
    from training.data.documents import Document, Turn
    from training.learning.attention_supervision import COPY

    turns = (Turn("user", "12 tables or 12 seats?"), Turn("assistant", '{"seats":12}'))
    kinds = [kind for _, _, kind in pointed(tokenizer, Document(turns, family="records"))]
    assert COPY not in kinds


def test_the_loss_is_the_surprise_at_where_it_should_look() -> None:
    import torch
    from training.learning.attention_supervision import COPY
    from training.network.model import AttentionSupervision

    torch.manual_seed(0)
    query, key = torch.randn(2, 3, 9, 8), torch.randn(2, 3, 9, 8)
    rows = torch.tensor([[1, 6, 2, 4, COPY], [0, 8, 0, 1, COPY], [0, 1, 0, 1, COPY + 5]])
    supervision = AttentionSupervision(rows)
    supervision.observe(COPY, 2, query, key, None)
    expected = 0.0
    for row, asking, start, end, _ in rows[:2].tolist():
        weights = (key[row, 2, : asking + 1] @ query[row, 2, asking] / 8**0.5).softmax(0)
        expected -= float(weights[start:end].sum().log())
    assert float(supervision.loss()) == pytest.approx(expected, rel=1e-5)


def test_attention_learns_to_look_where_it_is_told(tmp_path: pathlib.Path) -> None:
    import torch
    from training.data.documents import Encoder
    from training.data.mixture import pack_documents
    from training.data.tokenizer import load_tokenizer, piece_groups
    from training.generators.support import recall
    from training.learning.attention_supervision import COPY
    from training.learning.batches import Batches
    from training.network.model import Hokku
    from training.network.sizes import SIZES
    from training.train import batch_loss

    from .tiny import make_tokenizer

    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = load_tokenizer(make_tokenizer(tmp_path))
    random, encoder = Random(2), Encoder(tokenizer)
    corpus = pack_documents([(encoder.encode(recall(random)), 1) for _ in range(20)])
    groups, flags = piece_groups(tokenizer)
    model = Hokku(SIZES["test"].shape(len(groups)), groups, flags)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    batch = Batches(corpus, batch_tokens=512, seed=1).batch(0)
    assert set(batch.pointers[:, 4].tolist()) == {COPY}
    told: list[float] = []
    for _ in range(20):
        plain, _ = batch_loss(model, batch, every_token=False)
        loss, _ = batch_loss(model, batch, every_token=False, supervision_weight=1.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        told.append(float((loss - plain).detach()))
    assert told[-1] < 0.8 * told[0]
