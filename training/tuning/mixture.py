"""The mixture: which generator makes how many of the documents that hokku-m is tuned on.

hokku keeps what it does best: known labels, slots, desk replies. What hokku-m is for has the most: passages, questions,
lists of facts, tools and their results, conversation. A little of the rest stays, so that any of it can be asked.
"""

from collections.abc import Callable
from random import Random

from training.data.documents import Document
from training.generators import copying, fresh, keywords, labels
from training.tuning.families import checks, faq, fields, general, histories, passages, results, rewriting, talk

Generator = Callable[[Random], Document]


def moderate(random: Random) -> Document:
    """Moderation as it comes: offensive posts are three quarters, hateful ones a twentieth."""
    return labels.moderate(random)


MIXTURE: tuple[tuple[Generator, float], ...] = (
    (results.calls, 10.0),
    (results.everyday, 8.0),
    (results.missing_argument, 1.0),
    (faq.faq, 12.0),
    (checks.checks, 6.0),
    (passages.desk_passage, 2.0),
    (passages.business_passage, 4.0),
    (passages.prose_passage, 5.0),
    (histories.histories, 7.0),
    (passages.needles, 2.0),
    (passages.section, 2.0),
    (passages.facts, 2.0),
    (passages.paper, 6.0),
    (fields.many_fields, 5.0),
    (fields.records, 4.0),
    (fields.slots, 4.0),
    (labels.classify, 2.0),
    (keywords.keyword_classes, 3.0),
    (labels.topic, 2.0),
    (fresh.mention, 1.0),
    (moderate, 2.5),
    (talk.greetings, 4.0),
    (talk.plain_questions, 12.0),
    (talk.haiku, 4.0),
    (rewriting.rewriting, 10.0),
    (rewriting.desk_summary, 2.0),
    (general.summary, 2.0),
    (general.general, 14.0),
    (copying.copying, 0.7),
)
"""Generator and how often it is drawn, beside the others."""
WEIGHTS = {"moderate": 4, "classify": 2, "keywords": 2, "mention": 2, "topic": 2} | dict.fromkeys(
    (
        "faq",
        "paper",
        "desk_passage",
        "business_passage",
        "prose_passage",
        "facts",
        "needles",
        "plain_questions",
        "checks",
        "histories",
    ),
    2,
)
"""How much a learned token of a family counts: a label or a short answer is a decision in a few tokens."""


def draw_document(random: Random) -> Document:
    """Draw a generator by weight, then a document."""
    generators = [generator for generator, _ in MIXTURE]
    return random.choices(generators, weights=[share for _, share in MIXTURE])[0](random)
