"""Cheap baselines: majority, TF-IDF with logistic regression, nearest neighbours, word overlap.

Owns:   what a suite's score is held against. scikit-learn is optional: without it only the majority is given.
"""

import functools
import importlib
import importlib.util
import json
import re
from collections import Counter
from typing import Any

from renga.services.evals.cases import EvalCase
from renga.services.evals.statistics import macro_f1, token_f1

Scores = list[tuple[str, float]]
Pairs = list[tuple[str, str]]


def _has_sklearn() -> bool:
    return importlib.util.find_spec("sklearn") is not None


def _vectorizer(**settings: Any) -> Any:
    """A TfidfVectorizer; imported by name, since the package is optional and has no types."""
    text: Any = importlib.import_module("sklearn.feature_extraction.text")
    return text.TfidfVectorizer(**settings)


@functools.cache
def _fit(train: tuple[tuple[str, str], ...], *, balanced: bool) -> tuple[Any, Any]:
    """Vectorizer and model. Cost: half a minute for 150 labels."""
    vectorizer = _vectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    linear: Any = importlib.import_module("sklearn.linear_model")
    model = linear.LogisticRegression(C=10.0, max_iter=100, class_weight="balanced" if balanced else None)
    model.fit(vectorizer.fit_transform([text for text, _ in train]), [label for _, label in train])
    return vectorizer, model


def _predict(cases: list[EvalCase], train: Pairs, *, balanced: bool) -> list[str]:
    """The likeliest of each case's options by TF-IDF (words and pairs) and logistic regression."""
    vectorizer, model = _fit(tuple(train), balanced=balanced)
    chances = model.predict_proba(vectorizer.transform([case.text for case in cases]))
    column: dict[str, int] = {str(label): index for index, label in enumerate(model.classes_)}

    def best(case: EvalCase, row: Any) -> str:
        return max(case.options, key=lambda option: float(row[column[option]]) if option in column else -1.0)

    return [best(case, row) for case, row in zip(cases, chances, strict=True)]


def _score(cases: list[EvalCase], given: list[str], score: str) -> float:
    expected = [case.expected for case in cases]
    if score == "macro-F1":
        return macro_f1(expected, given)
    return sum(want == got for want, got in zip(expected, given, strict=True)) / max(1, len(cases))


def label_baselines(cases: list[EvalCase], train: Pairs, *, score: str = "accuracy") -> Scores:
    """Majority and TF-IDF + logistic regression, both limited to the options in the prompt."""
    counts = Counter(label for _, label in train)
    common = [max(case.options, key=lambda option: counts[option]) for case in cases]
    scores: Scores = [("majority", _score(cases, common, score))]
    if _has_sklearn():
        for balanced in (False, True) if score == "macro-F1" else (False,):
            name = "TF-IDF + LR" + (", balanced" if balanced else "")
            scores.append((name, _score(cases, _predict(cases, train, balanced=balanced), score)))
    return scores


def intent_baselines(cases: list[EvalCase], train: Pairs) -> Scores:
    """The intent alone: a desk whose templates are filled by code would score this."""
    labels = tuple(sorted({label for _, label in train}))
    widened = [EvalCase(case.messages, case.expected, options=labels) for case in cases]
    return [(f"{name}, templates filled by code", score) for name, score in label_baselines(widened, train)]


def _words(text: str) -> set[str]:
    split = re.sub(r"([a-z])([A-Z])", r"\1 \2", text).lower()
    return {word.rstrip("s") for word in re.findall(r"[a-z]+|\d+", split) if len(word) > 2}


def _overlap(left: str, right: str) -> float:
    first, second = _words(left), _words(right)
    return len(first & second) / max(1, len(second))


def overlap_baseline(cases: list[EvalCase]) -> Scores:
    """Chance, and the label that shares most words with the message: nothing can be trained for labels never seen."""
    given = [max(case.options, key=lambda option, case=case: _overlap(case.text, option)) for case in cases]
    chance = sum(1 / len(case.options) for case in cases) / max(1, len(cases))
    return [("chance", chance), ("word overlap", _score(cases, given, "accuracy"))]


def tool_overlap_baseline(cases: list[EvalCase]) -> Scores:
    """The tool with the most shared words (its arguments are not tried), and the same with no arguments."""
    right_tool = right_call = 0
    for case in cases:
        best = max(case.tools, key=lambda tool, case=case: _overlap(case.text, tool["name"]))
        right_tool += best["name"] == case.expected[0]
        right_call += best["name"] == case.expected[0] and not case.expected[1]
    count = max(1, len(cases))
    return [("word overlap, tool only", right_tool / count), ("word overlap", right_call / count)]


def nearest_object_baseline(cases: list[EvalCase], train: list[tuple[str, dict[str, str]]]) -> Scores:
    """The object of the most similar training text, values that the message lacks left out."""
    if not _has_sklearn():
        return []
    vectorizer = _vectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known: Any = vectorizer.fit_transform([text for text, _ in train])
    nearest: Any = (vectorizer.transform([case.text for case in cases]) @ known.T).toarray().argmax(axis=1)
    right = 0
    for case, index in zip(cases, nearest, strict=True):
        found = {key: value for key, value in train[int(index)][1].items() if value in case.text}
        right += json.dumps(found, sort_keys=True) == json.dumps(case.expected, sort_keys=True)
    return [("TF-IDF nearest neighbour", right / max(1, len(cases)))]


def sentence_baseline(cases: list[EvalCase]) -> Scores:
    """The passage's sentence that shares most words with the question."""
    total = 0.0
    for case in cases:
        sentences = re.split(r"(?<=[.?!])\s+", case.facts["passage"])
        best = max(sentences, key=lambda sentence, case=case: _overlap(sentence, case.facts["question"]))
        total += max(token_f1(best, expected) for expected in case.expected)
    return [("best sentence by overlap", total / max(1, len(cases)))]
