# ruff: noqa: E501 - tables
"""Short histories of places, people, firms and works, told in many sentence forms, with questions of every kind.

Owns:   the frames. A history mixes numbers, years, names and reasons, so that the right one has to be found by what is
        asked and not by where it stands. What is not told is asked too.
"""

from random import Random

from renga.services.evals.suites.values import draw_value, draw_word
from training.data.documents import Document
from training.tuning.families.passages import ABSENT, lay_out

_FRAMES = """
year | {s} was founded in {v}. ; {s} began in {v}. ; It all started in {v}, when {s} was set up. | When was {s} founded? ; In what year did {s} begin? ; when did it start
person | It was founded by {v}. ; Its founder was {v}. ; {v} had the idea and started {s}. | Who founded {s}? ; Who was the founder? ; who started it
place | It lies near {v}. ; {s} is not far from {v}. ; The nearest town is {v}. | Where is {s}? ; What town is near {s}? ; where does it lie
number | It employed {v} people. ; {v} people worked there. ; At its height {s} had {v} workers. | How many people did {s} employ? ; How many people worked there? ; number of workers
year | It was sold in {v}. ; In {v} it changed hands. ; The family sold {s} in {v}. | When was it sold? ; In what year did {s} change hands?
person | The new owner was {v}. ; It then belonged to {v}. ; {v} bought it. | Who bought it? ; Who was the new owner?
money | The price was {v}. ; {v} were paid for it. ; It went for {v}. | How much was paid? ; What was the price?
person | The plans were drawn by {v}. ; {v} was the architect. ; It was designed by {v}. | Who designed it? ; Who was the architect? ; Who drew the plans?
year | The building was finished in {v}. ; Work ended in {v}. ; It was completed in {v}. | When was the building finished? ; In what year was it completed?
number | It has {v} rooms. ; There are {v} rooms inside. ; {v} rooms are open to visitors. | How many rooms are there? ; How many rooms does it have?
place | {v} supplied the stone. ; The stone came from {v}. ; Stone was brought from {v}. | Where did the stone come from? ; From where was the stone brought?
year | A fire destroyed the roof in {v}. ; The roof burned in {v}. ; In {v} there was a fire. | When was the fire? ; In what year did the roof burn?
reason | It was closed because {v}. ; Since {v}, it had to close. ; The reason for its end was that {v}. | Why was it closed? ; Why did it have to close? ; What was the reason for its end?
number | The tower is {v} metres high. ; At {v} metres, the tower can be seen from afar. ; Its tower measures {v} metres. | How high is the tower? ; What is the height of the tower?
number | Every year {v} visitors come. ; It has {v} visitors a year. ; About {v} people visit it each year. | How many visitors come each year? ; How many people visit it? ; visitors per year
person | Today it is led by {v}. ; {v} is in charge today. ; The director is {v}. | Who is in charge today? ; Who leads it now? ; Who is the director?
thing | It was known for its {v}. ; Its best-known product was the {v}. ; People came for the {v}. | What was it known for? ; What was its best-known product?
number | The line is {v} kilometres long. ; Its length is {v} kilometres. ; It runs for {v} kilometres. | How long is the line? ; What is its length?
place | It ends in {v}. ; The last stop is {v}. ; {v} is where it ends. | Where does it end? ; What is the last stop?
number | It takes {v} minutes. ; The journey lasts {v} minutes. ; One is there in {v} minutes. | How long does the journey take? ; How many minutes does it take?
person | The first teacher was {v}. ; {v} taught there first. ; Lessons were given by {v}. | Who was the first teacher? ; Who gave the lessons?
number | {v} children go to the school. ; The school has {v} pupils. ; There are {v} pupils. | How many pupils are there? ; How many children go to the school?
place | {n} grew up in {v}. ; {n} spent the first years in {v}. ; The childhood of {n} was spent in {v}. | Where did {n} grow up? ; Where did {n} spend the childhood?
year | {n} was born in {v}. ; {v} is the year of birth of {n}. ; The life of {n} began in {v}. | When was {n} born? ; In what year was {n} born?
place | {n} studied in {v}. ; At the university of {v}, {n} took a degree. ; {n} was a student in {v}. | Where did {n} study? ; At which university was {n}?
job | {n} first worked as {v}. ; Before that, {n} was {v}. ; {n} earned a living as {v}. | What did {n} work as? ; What was {n}'s first job?
person | {n} married {v}. ; In those years {n} and {v} were married. ; {v} became the partner of {n} for life. | Whom did {n} marry? ; Who was married to {n}?
title | {n} wrote a book called {v}. ; The book {v} is by {n}. ; {v} was the first book of {n}. | What is the book of {n} called? ; Which book did {n} write?
number | The book sold {v} copies. ; {v} copies were sold. ; It was bought {v} times. | How many copies were sold? ; How often was the book bought?
prize | {n} was given {v}. ; For this {n} received {v}. ; {v} went to {n}. | What did {n} receive? ; Which prize was given to {n}?
reason | {n} moved away because {v}. ; Since {v}, {n} left. ; {n} left the town, for {v}. | Why did {n} leave? ; Why did {n} move away?
animal | The forest is home to {v}. ; In the forest live {v}. ; {v} can be seen there. | Which animals live there? ; What lives in the forest?
material | The bridge is made of {v}. ; {v} was used for the bridge. ; They built the bridge of {v}. | What is the bridge made of? ; Which material was used for the bridge?
month | The festival is held in {v}. ; Each {v} there is a festival. ; In {v} the town celebrates. | When is the festival? ; In which month is the festival held?
number | The lake is {v} metres deep. ; Its depth is {v} metres. ; It goes down to {v} metres. | How deep is the lake? ; What is the depth of the lake?
colour | Its flag is {v}. ; The flag shows {v}. ; {v} is the colour of its flag. | What colour is the flag? ; Which colour does the flag show?
cause | The illness is caused by {v}. ; {v} brings the illness. ; People fall ill from {v}. | What causes the illness? ; What do people fall ill from?
number | The team won {v} matches. ; They won {v} of their matches. ; {v} matches were won. | How many matches did the team win? ; How many matches were won?
person | The decisive goal came from {v}. ; {v} scored the last goal. ; In the end {v} scored. | Who scored the last goal? ; Who scored in the end?
person | {v} discovered the cave. ; The cave was found by {v}. ; It was {v} who found the cave. | Who discovered the cave? ; By whom was the cave found?
number | The law passed with {v} votes. ; {v} members voted for the law. ; In favour of the law were {v} members. | How many voted for the law? ; How many votes did the law get?
"""
_FRAME_ROWS = [[cell.strip() for cell in line.split("|")] for line in _FRAMES.strip().splitlines()]
FRAMES = [(kind, said.split(" ; "), asked.split(" ; ")) for kind, said, asked in _FRAME_ROWS]
_CHOICES = {
    "reason": (
        "the river had risen too high",
        "there was no money left",
        "the roof was no longer safe",
        "too few people came",
        "the owners could not agree",
        "the war had begun",
        "the new road took all traffic away",
        "the ore had run out",
        "the winters were too hard",
        "the doctor had advised it",
        "the work was done by machines now",
    ),
    "job": ("a baker", "a clerk", "a nurse", "a miner", "a teacher", "a sailor", "a tailor", "a lawyer", "a gardener"),
    "prize": ("a gold medal", "the town's prize", "a silver cup", "an honorary degree", "a pension", "the first prize"),
    "animal": ("wolves", "red deer", "owls and bats", "wild boar", "foxes", "beavers", "two kinds of snakes", "lynxes"),
    "material": ("oak", "steel", "granite", "concrete", "brick", "bamboo", "cast iron", "limestone"),
    "month": ("January", "March", "April", "May", "June", "July", "August", "September", "October", "November"),
    "cause": ("a virus", "bad water", "a fungus", "mosquitoes", "lead", "dust", "a lack of iron", "ticks"),
}
OPENERS = (
    "",
    "",
    "",
    "Later ",
    "Some say more, but this is certain: ",
    "According to the records, ",
    "As far as is known, ",
)
FILLERS = (
    "Not much is known about the years in between.",
    "Many documents have been lost.",
    "The town is proud of it.",
    "Old photographs show how it looked.",
    "It was a time of change.",
    "People still tell stories about it.",
    "Historians have different opinions on this.",
)
NAMES = (
    "Mill",
    "Castle",
    "Railway",
    "School",
    "Museum",
    "Harbour",
    "Works",
    "Abbey",
    "Bridge",
    "Hospital",
    "Garden",
    "Club",
)


def _value(random: Random, kind: str) -> str:
    if kind == "year":
        return str(random.randint(1100, 2024))
    if kind == "number":
        number = random.choice((random.randint(2, 60), random.randint(60, 999), random.randint(1000, 90000)))
        return f"{number:,}" if random.random() < 0.7 else str(number)
    if kind == "person":
        return f"{draw_value(random, 'person').text.split()[0]} {draw_word(random, syllables=2).title()}"
    return random.choice(_CHOICES[kind]) if kind in _CHOICES else draw_value(random, kind).text


def histories(random: Random) -> Document:
    """Four to twelve facts told in prose; up to seven questions, some about what is not told."""
    words = {
        "s": f"{draw_word(random, syllables=2).title()} {random.choice(NAMES)}",
        "n": _value(random, "person"),
    }
    frames = random.sample(FRAMES, random.choice((5, 7, 9, 12)))
    told, missing = frames[:-2], frames[-2:]
    lines: list[str] = []
    pairs: list[tuple[str, str]] = []
    for index, (kind, said, asked) in enumerate(told):
        value = _value(random, kind)
        sentence = random.choice(said if index else said[:1]).format(v=value, **words)
        opener = random.choice(OPENERS)
        keep = sentence.startswith((words["s"], words["n"], value)) or not opener
        lines.append(opener + sentence if keep else opener + sentence[0].lower() + sentence[1:])
        pairs.append((random.choice(asked).format(**words), value))
    for _ in range(random.choice((0, 1, 2, 3))):
        lines.insert(random.randrange(1, len(lines) + 1), random.choice(FILLERS))
    absent = random.choice(ABSENT)
    pairs += [(random.choice(asked).format(**words), absent) for _, _, asked in missing[: random.choice((0, 1, 2))]]
    random.shuffle(pairs)
    lines = [line[0].upper() + line[1:] for line in lines]
    return lay_out(" ".join(lines), pairs[: random.choice((3, 5, 7))], random, "histories")
