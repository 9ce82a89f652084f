"""What a converted model says to a fixed set of messages, to be read by a person.

The shop's questions were in sight when facts of families/topics_more.py were written, so they measure nothing any more;
the others are in no training text.

Run as `python -m training.tuning.sample MODEL_FOLDER`.
"""

import argparse
import pathlib

from tokenizers import Tokenizer

from training.data.documents import Document, Tool, ToolCall, Turn
from training.tuning.chatml import Encoder
from training.tuning.generate import generate

FAQ = """You are the assistant of Willow & Pine, a furniture shop. Answer only from these facts.

Opening hours: Monday to Saturday, 10 am to 7 pm
Delivery: free within the city, otherwise 39 euros
Assembly: 25 euros for each piece
Returns: within 30 days, unused and in the original packing
Warranty: five years on frames, two years on fabrics
Payment: card, bank transfer, or in four instalments
Fabric samples: free, up to five by post
Phone: 555-0142"""
FAQ_QUESTIONS = (
    "hi there",
    "Are you open on Sundays?",
    "till when are you open on saturday?",
    "how much do you charge to bring a sofa to a village outside the city",
    "Can somebody put the wardrobe together for me, and what would it cost?",
    "I sat on the chair for a week and don't like it. Can I give it back?",
    "my fabric has a hole after 18 months, is that covered?",
    "Do you sell mattresses?",
    "can i pay later",
    "How can I see the colours before I buy?",
    "Please cancel my order 5512.",
    "Who owns the shop?",
    "thanks, bye",
)
PLAIN = (
    "What is the capital of Portugal?",
    "Write a haiku about an umbrella.",
    "What is 17 plus 5?",
    "Who are you?",
    "Translate to Spanish: The book is on the table.",
    "Why is the sky blue?",
    "Name three vegetables.",
    "Fix the grammar: Him and me was going home.",
    "Make this polite: Give me the keys.",
    "Write a two-sentence email to Rosa that the delivery is late.",
    "What is the weather like right now?",
    "Who was the king of Brelmoria in 1402?",
    "Is a bat a bird?",
    "Give me two tips for a job interview.",
    "Summarise in one sentence: The library will close for three weeks in August because the heating is replaced. "
    "Books can be returned through the slot at the back door, and no fines are charged in that time.",
    "Sort alphabetically: pear, apple, melon, fig",
    "What colour is a ripe banana?",
    "What does a dentist do?",
)
PASSAGE = """The Tarn Valley Railway opened in 1898 and carried slate from the quarries to the harbour at Portwen.
It was built by the engineer Ellis Markham, who had worked in Peru before. At its height the line had eleven
locomotives and employed 340 people. Passenger trains were added in 1905. After a landslide in 1951 the upper part was
closed for good."""
PASSAGE_QUESTIONS = (
    "Who built the railway?",
    "When did passenger trains start?",
    "What did the railway carry?",
    "How many locomotives did it have?",
    "Why was the upper part closed?",
    "How long was the line?",
    "Where had Markham worked earlier?",
)
WEATHER = Tool(
    "lookup_ferry",
    "Next ferry from a harbour",
    {
        "type": "object",
        "properties": {"harbour": {"type": "string"}, "day": {"type": "string"}},
        "required": ["harbour"],
    },
)
ROUTE = Tool("page_staff", "Page a member of staff", {"type": "object", "properties": {"name": {"type": "string"}}})


def documents() -> list[Document]:
    """One for each message."""
    found = [Document((Turn("user", question),), FAQ) for question in FAQ_QUESTIONS]
    found += [Document((Turn("user", question),)) for question in PLAIN]
    found += [Document((Turn("user", f"{PASSAGE}\n\n{question}"),)) for question in PASSAGE_QUESTIONS]
    ferry = Turn("user", "When does the next ferry leave from Ardrossan on Friday?")
    call = Turn("assistant", "", (ToolCall("lookup_ferry", {"harbour": "Ardrossan", "day": "Friday"}),))
    tools = (WEATHER, ROUTE)
    found.append(Document((ferry,), tools=tools))
    found.append(Document((Turn("user", "Please page Doctor Lindqvist."),), tools=tools))
    found.append(Document((Turn("user", "hello!"),), tools=tools))
    found.append(Document((Turn("user", "What is the best pizza in town?"),), tools=tools))
    for result in ("18:40, pier 3, delayed by 20 minutes", "no ferry on that day", "Error: upstream timed out"):
        found.append(Document((ferry, call, Turn("tool", result)), tools=tools))
    return found


def main() -> None:
    """Print what a tuned model answers to a few prompts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    encoder = Encoder(Tokenizer.from_file(str(folder / "tokenizer.json")))
    asked = documents()
    answers = generate(folder, [encoder.prompt(document) for document in asked])
    for document, answer in zip(asked, answers, strict=True):
        shown = " / ".join(turn.text.rsplit("\n\n", 1)[-1] or "(call)" for turn in document.turns)
        print(f"> {shown}\n{answer}\n")


if __name__ == "__main__":
    main()
