"""python -m training.triage: count words in questions that are in no evaluation set, and write the router's prior.

The questions are MMLU-Pro's that are not in MMLU (`scripts/data list` says of which repository); of them only the text
is used, no label and no answer.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib

from renga.routing.triage.features import read_text
from renga.routing.triage.learned_head import LearnedHead, build_prior, encode_head
from renga.services.evals.datasets.locations import require_path

SOURCE = "routing/mmlu-pro.jsonl.gz"
TARGET = pathlib.Path(__file__).parents[1] / "src" / "renga" / "models" / "weights" / "triage" / "prior.npz"
COUNTED_ON = "2026-11-21"


def count_prior(path: pathlib.Path) -> LearnedHead:
    """The prior from the prompts of a file of questions."""
    data = gzip.decompress(path.read_bytes())
    prompts = [json.loads(line)["prompt"] for line in data.splitlines()]
    return build_prior([read_text(prompt) for prompt in prompts], hashlib.sha256(data).hexdigest(), COUNTED_ON)


if __name__ == "__main__":
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_bytes(encode_head(count_prior(require_path(SOURCE))))
