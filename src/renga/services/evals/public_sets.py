"""Reading the public sets, and which part of a set without an official split is for evaluation.

Owns:   the hash splits and the held-out domains. Training asks here, so that the two can never disagree.
Knows:  nothing of prompts, models or scores.
"""

import csv
import gzip
import hashlib
import io
import json
from typing import Any

from renga.services.evals.datasets.locations import require_path

HELD_OUT_CLINC_DOMAINS = ("travel",)
"""No utterance or label of these CLINC150 domains is ever trained on."""
HELD_OUT_HWU_PREFIXES = ("email_", "social_", "takeaway_", "news_", "iot_")
"""HWU64 scenarios never trained on; a label's scenario is its first word."""


def plain_text(text: str) -> str:
    """A text without case and spacing: what counts as the same text."""
    return " ".join(text.lower().split())


def hash_part(text: str, *, test_percent: int) -> str:
    """Say "train" or "test", by the text alone, so that duplicates never straddle the split."""
    digest = hashlib.sha256(plain_text(text).encode()).digest()
    return "test" if int.from_bytes(digest[:4], "big") % 100 < test_percent else "train"


def moderation_part(tweet: str) -> str:
    """hate_speech_offensive has no official split: a tenth of the tweets, by hash, is the test part."""
    return hash_part(tweet, test_percent=10)


def bitext_part(instruction: str) -> str:
    """Bitext's sample has no official split: a fifth of the instructions, by hash, is the test part."""
    return hash_part(instruction, test_percent=20)


def read_lines(relative: str) -> list[dict[str, Any]]:
    """Read a .jsonl.gz of a data set by its path in the data folder; DataMissing names the command that obtains it."""
    with gzip.open(require_path(relative), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def read_table(relative: str) -> list[dict[str, str]]:
    """Read a .csv.gz of a data set by its path in the data folder; DataMissing names the command that obtains it."""
    with gzip.open(require_path(relative), "rt", encoding="utf-8", newline="") as text:
        return list(csv.DictReader(io.StringIO(text.read())))
