"""The base's own good answers, to be rehearsed so that tuning loses none of what the base can.

Owns:   the instructions (written for this project) and what makes an answer good enough by rule: it ends by itself,
        does not go round in circles, is not about the base, and says something.

Run as `python -m training.tuning.rehearse MODEL_FOLDER OUT.jsonl --count N`: MODEL_FOLDER is the base, converted by
`renga.models.engine.loading.gguf`. Answers are greedy.
"""

import argparse
import json
import pathlib
import re
from collections import Counter
from random import Random

from tokenizers import Tokenizer

from training.data.documents import Document, Turn

BASE_SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
LONGEST_TOKENS = 180
ABOUT_ITSELF = re.compile(
    r"smollm|hugging|as an ai|language model|i'm sorry|i am sorry|i cannot|i can't", re.IGNORECASE
)

SUBJECTS = tuple(
    part.strip()
    for part in [
        "\n    a dog",
        " cats",
        " coffee",
        " tea",
        " bread",
        " the moon",
        " the sun",
        " rain",
        " snow",
        " wind",
        " the ocean",
        " rivers",
        " mountains",
        " trees",
        " flowers",
        " bees",
        "\n    birds",
        " horses",
        " whales",
        " spiders",
        " books",
        " music",
        " the piano",
        " painting",
        " photography",
        " cooking",
        " gardening",
        " running",
        " swimming",
        "\n    cycling",
        " football",
        " chess",
        " travelling by train",
        " flying",
        " driving",
        " walking",
        " sleep",
        " dreams",
        " friendship",
        " family",
        " school",
        "\n    teachers",
        " exams",
        " homework",
        " work",
        " meetings",
        " email",
        " phones",
        " computers",
        " the internet",
        " passwords",
        " software",
        " a database",
        "\n    a bicycle",
        " a car",
        " electricity",
        " batteries",
        " solar power",
        " wind power",
        " recycling",
        " water",
        " salt",
        " sugar",
        " vegetables",
        " fruit",
        " apples",
        "\n    chocolate",
        " cheese",
        " rice",
        " pasta",
        " soup",
        " breakfast",
        " lunch",
        " a birthday",
        " a wedding",
        " a holiday",
        " winter",
        " spring",
        " summer",
        " autumn",
        "\n    money",
        " saving",
        " a budget",
        " taxes",
        " banks",
        " insurance",
        " renting a flat",
        " buying a house",
        " a garden",
        " the kitchen",
        " cleaning",
        " time",
        "\n    stress",
        " exercise",
        " healthy food",
        " headaches",
        " a cold",
        " doctors",
        " hospitals",
        " medicine",
        " history",
        " geography",
        " mathematics",
        " physics",
        "\n    chemistry",
        " biology",
        " gravity",
        " light",
        " sound",
        " heat",
        " magnets",
        " atoms",
        " cells",
        " plants",
        " volcanoes",
        " earthquakes",
        " the weather",
        "\n    democracy",
        " laws",
        " newspapers",
        " advertising",
        " a small shop",
        " customers",
        " complaints",
        " teamwork",
        " leadership",
        " honesty",
        " patience",
        "\n    curiosity",
        " kindness",
        " learning a language",
        " writing",
        " reading",
        " public speaking",
        " job interviews",
        " a CV",
        " a diary",
        " robots",
        " space\n    ",
    ]
)
FORMS = (
    "What is the purpose of {s}?",
    "Explain {s} in simple terms.",
    "Explain {s} to a child.",
    "Write one sentence about {s}.",
    "Write two sentences about {s}.",
    "Write a short paragraph about {s}.",
    "Give me three facts about {s}.",
    "Give me three tips about {s}.",
    "List five words that have to do with {s}.",
    "Why do people like {s}?",
    "Why is {s} important?",
    "Name one advantage and one disadvantage of {s}.",
    "What should I know about {s}?",
    "Describe {s}.",
    "What does {s} make you think of?",
    "Write a short poem about {s}.",
    "Write a title for an article about {s}.",
    "Write a slogan about {s}.",
    "Write a question about {s}.",
    "Write a very short story about {s}.",
    "What do I need for {s}?",
    "How did {s} begin?",
    "Ask me something about {s}.",
    "Tell me about {s}.",
    "tell me something interesting about {s}",
    "Write a friendly message about {s} to a friend.",
    "Write a short email about {s} to a colleague.",
    "Write an example sentence with the words '{s}'.",
    "What is a good book title about {s}?",
    "How can I learn more about {s}?",
)


def instructions(random: Random, count: int) -> list[str]:
    """Different ones, in random order."""
    every = [form.format(s=subject) for form in FORMS for subject in SUBJECTS]
    return random.sample(every, min(count, len(every)))


def is_good(answer: str, *, ended: bool) -> bool:
    """Whether an answer may be rehearsed."""
    words = re.findall(r"\w+", answer.lower())
    if not ended or not 3 <= len(words) <= 140 or ABOUT_ITSELF.search(answer):
        return False
    if re.search(r":\s*\n+\w+ ?\w*:\s*(\n|$)", answer):  # a form that is not filled in
        return False
    triples = Counter(zip(words, words[1:], words[2:], strict=False))
    return max(triples.values(), default=0) <= 2 and len(set(words)) > 0.4 * len(words)


def ask_base(folder: pathlib.Path, questions: list[str]) -> list[tuple[str, bool]]:
    """The base's greedy answers, and whether each ended by itself."""
    from training.tuning.chatml import END, Encoder
    from training.tuning.generate import generate

    encoder = Encoder(Tokenizer.from_file(str(folder / "tokenizer.json")))
    prompts = [encoder.prompt(Document((Turn("user", question),), BASE_SYSTEM)) for question in questions]
    answers = generate(folder, prompts, longest_tokens=LONGEST_TOKENS)
    return [(answer.removesuffix(END).strip(), answer.endswith(END)) for answer in answers]


def main() -> None:
    """Collect the base's own good answers, to be rehearsed while it is tuned."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    questions = instructions(Random(arguments.seed), arguments.count)
    answers = ask_base(arguments.folder, questions)
    kept = 0
    with arguments.out.open("w", encoding="utf-8") as file:
        for question, (answer, ended) in zip(questions, answers, strict=True):
            if is_good(answer, ended=ended):
                kept += 1
                file.write(json.dumps({"question": question, "answer": answer}, ensure_ascii=False) + "\n")
    print(f"kept {kept} of {len(questions)}")


if __name__ == "__main__":
    main()
