"""An outcomes file is read whole or refused at a line."""

import pytest

from renga.errors import ConfigError
from renga.routing.outcomes.outcome_file import (
    OutcomeRow,
    ParsedOutcomes,
    RequestSignals,
    decode_outcomes,
    encode_outcomes,
    read_outcomes,
)

READING = ParsedOutcomes(("haiku", "opus"), rows_min=2)
GOOD = b'{"id": "a", "scores": {"haiku": 1, "opus": 0.5}}\n'


def refusal(data: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        decode_outcomes(data, "outcomes.jsonl", READING)
    return caught.value


def test_rows_come_back_as_they_were_written() -> None:
    rows = tuple(
        OutcomeRow(id=f"r{n}", scores={"haiku": 0.0, "opus": 1.0}, evidence=RequestSignals(mean_logprob=-0.5))
        for n in range(3)
    )
    outcomes = decode_outcomes(encode_outcomes(rows), "x", READING)
    assert outcomes.rows == rows
    assert outcomes.losses("haiku", "opus").tolist() == [1.0, 1.0, 1.0]
    assert len(outcomes.data_sha256) == 64


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b'{"id": "b", "scores": {"haiku": 1}}', "no score for opus"),
        (b'{"id": "b", "scores": {"haiku": 1.2, "opus": 1}}', "score 1.2 of haiku is not between 0 and 1"),
        (b'{"id": "b", "scores": {"haiku": "good", "opus": 1}}', "not an outcome"),
        (b'{"id": "a", "scores": {"haiku": 1, "opus": 1}}', "id `a` stands on line 1 already"),
        (b'{"id": "b", "scores": {"haiku": 1, "opus": 1}, "propensity": 0}', "propensity 0"),
        (b'{"id": "b", "scores": {"haiku": 1, "opus": 1}, "costs_nano_usd": {"opus": -1}}', "is negative"),
        (b'{"id": "b", "scores": {"haiku": 1, "opus": 1}, "evidence": {"agreement": 2}}', "evidence.agreement"),
        (b'{"id": "b", "scores": {"haiku": 1, "opus": 1}, "evidence": {"mean_logprob": 0.1}}', "mean_logprob"),
        (b'{"id": "b", "scores": {"haiku": 1, "opus": 1}, "evidance": {}}', "evidance"),
        (b'{"id": "b", "scores": ', "not JSON"),
    ],
)
def test_a_wrong_line_is_named(line: bytes, said: str) -> None:
    error = refusal(GOOD + b"\n" + line + b"\n")
    assert error.path == "outcomes.jsonl:3"
    assert said in error.message


def test_too_few_rows_are_refused_with_the_number_needed() -> None:
    error = refusal(GOOD)
    assert error.path == "outcomes.jsonl"
    assert error.message == "1 rows are too few, 2 are needed"


def test_a_missing_file_is_a_sentence(tmp_path) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_outcomes(tmp_path / "none.jsonl", READING)


def test_groups_share_the_files_hash() -> None:
    rows = tuple(OutcomeRow(id=str(n), scores={"haiku": 1.0, "opus": 1.0}, group="ab"[n % 2]) for n in range(5))
    outcomes = decode_outcomes(encode_outcomes(rows), "x", READING)
    groups = outcomes.groups()
    assert {name: len(group.rows) for name, group in groups.items()} == {"a": 3, "b": 2}
    assert {group.data_sha256 for group in groups.values()} == {outcomes.data_sha256}
