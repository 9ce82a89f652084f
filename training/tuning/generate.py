"""Greedy answers of a converted model, many prompts at a time. Needs no torch."""

import pathlib
import tempfile
from collections.abc import Iterator

import numpy

from training.tuning.chatml import END

BATCH = 32


def generate(folder: pathlib.Path, prompts: list[list[int]], *, longest_tokens: int = 128) -> list[str]:
    """Answers, each with the token that ended it; one that was cut has none."""
    from renga.models.engine.text.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(folder / "tokenizer.json")
    (end,) = vocabulary.encode(END, parse_special=True)
    answers: list[str] = []
    for ids in generate_tokens(folder, prompts, end=end, longest_tokens=longest_tokens):
        ended = len(ids) < longest_tokens or ids[-1] == end
        answers.append(vocabulary.decode(one for one in ids if one != end) + (END if ended else ""))
    return answers


def generate_tokens(
    folder: pathlib.Path, prompts: list[list[int]], *, end: int, longest_tokens: int
) -> Iterator[list[int]]:
    """The likeliest tokens, by OpenVINO on one core, from a folder that convert.py or the engine's loader made."""
    import openvino_genai as genai
    from openvino import Tensor

    from renga.models.engine.loading.detokenizer import save_detokenizer
    from renga.models.engine.text.vocabulary import Vocabulary

    vocabulary = Vocabulary.load(folder / "tokenizer.json")
    scheduler = genai.SchedulerConfig()
    scheduler.cache_size, scheduler.max_num_seqs = 1, BATCH
    config = genai.GenerationConfig()
    config.max_new_tokens, config.eos_token_id, config.stop_token_ids = longest_tokens, end, {end}
    with tempfile.TemporaryDirectory() as scratch:
        words = pathlib.Path(scratch, "words")
        save_detokenizer(vocabulary, words, size=vocabulary.size)
        pipeline = genai.ContinuousBatchingPipeline(
            str(folder), genai.Tokenizer(str(words)), scheduler, "CPU", INFERENCE_NUM_THREADS=1
        )
        for start in range(0, len(prompts), BATCH):
            tokens = [Tensor(numpy.array([prompt])) for prompt in prompts[start : start + BATCH]]
            for result in pipeline.generate(tokens, [config] * len(tokens)):
                yield list(result.m_generation_ids[0])
