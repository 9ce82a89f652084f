"""python -m training.corpus: train the tokenizer and build the corpus (both are cached in the run's folder)."""

import argparse
import pathlib
import time
from random import Random

from training.data.documents import segments
from training.data.mixture import LONGEST_TOKENS, MIXTURE, load_corpus, tokenizer_texts
from training.data.tokenizer import load_tokenizer, train_tokenizer

INNER_TOKENS, CAPITAL_TOKENS, SPACED_TOKENS = 4600, 3600, 6400
"""What the vocabulary is made of; training/data/tokenizer.py says of each what it is."""


def ensure_tokenizer(folder: pathlib.Path) -> None:
    """Train the tokenizer unless the folder has one."""
    path = folder / "tokenizer.json"
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    texts = tokenizer_texts(1, documents=2000, pages=4000)
    tokenizer = train_tokenizer(
        texts, inner_tokens=INNER_TOKENS, capital_tokens=CAPITAL_TOKENS, spaced_tokens=SPACED_TOKENS
    )
    tokenizer.save(str(path))


def show_samples(seed: int) -> None:
    """Print one document of every generator."""
    random = Random(seed)
    for generator, _ in MIXTURE:
        document = generator(random)
        print(f"--- {document.family}")
        print("".join(text for text, _, _ in segments(document)))


def main() -> None:
    """Build the tokenizer and the corpus, or show a document of every generator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, default=pathlib.Path("runs/xs"))
    parser.add_argument("--tokens", type=int, default=1_000_000, help="token budget of the corpus")
    parser.add_argument("--longest", type=int, default=LONGEST_TOKENS, help="documents longer than this are dropped")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", action="store_true", help="print one document of every generator and stop")
    arguments = parser.parse_args()
    if arguments.show:
        show_samples(arguments.seed)
        return
    started_s = time.perf_counter()
    ensure_tokenizer(arguments.folder)
    size = load_tokenizer(arguments.folder / "tokenizer.json").get_vocab_size()
    corpus = load_corpus(
        arguments.folder, seed=arguments.seed, token_budget=arguments.tokens, longest_tokens=arguments.longest
    )
    documents, tokens = len(corpus.ends), len(corpus.tokens)
    print(f"{size} token types, {documents} documents, {tokens} tokens, {(corpus.learned > 0).mean():.1%} learned")
    print(f"{tokens / documents:.0f} tokens a document, {time.perf_counter() - started_s:.0f} s")


if __name__ == "__main__":
    main()
