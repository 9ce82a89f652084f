"""Long lists of fields of which a text gives few: the rest must not be written."""

from random import Random

from renga.services.evals.suites.invented import Parameter, fill_record
from training.data.documents import Document
from training.generators import extraction
from training.generators.extraction import records as few_records
from training.generators.extraction import slots as known_slots
from training.generators.fresh import draw_vocabulary


def many_fields(random: Random) -> Document:
    """Ten to sixteen fields; each text gives one to five of them."""
    vocabulary = draw_vocabulary(random)
    fields = list(vocabulary.parameters)
    kinds = {field.kind for field in fields}
    spare = [part for _ in range(3) for part in draw_vocabulary(random).parameters if part.kind not in kinds]
    names = {field.name for field in fields}
    for part in spare:
        if part.name not in names and len(fields) < 16:
            names.add(part.name)
            fields.append(part)
    # Fields of a kind that another field has could be taken for it: they stay absent, and the text names its own.
    present_kinds = random.sample(list(vocabulary.parameters), random.choice((2, 3, 4, 5)))
    random.shuffle(fields)
    fields = fields[: random.choice((10, 12, 14, 16))]
    sayable = [field for field in present_kinds if field in fields] or fields[:1]
    items = [_fill(random, vocabulary, sayable) for _ in range(random.choice((1, 1, 2, 3)))]
    nulls = random.random() < 0.1
    listed = [field.name for field in fields]
    head = extraction._instruction(listed, random, nulls=nulls)
    objects = [extraction._object({name: value.get(name) for name in listed}, nulls=nulls) for _, value in items]
    return extraction._document(head, [text for text, _ in items], objects, random, "many_fields")


def _fill(random: Random, vocabulary, sayable: list[Parameter]):
    some = tuple(random.sample(sayable, random.randint(1, len(sayable))))
    record = fill_record(random, vocabulary, some)
    return record.text, record.value


def records(random: Random) -> Document:
    """An object with few fields, most of them asked for and there, as hokku's own corpus has them."""
    return few_records(random)


def slots(random: Random) -> Document:
    """A sentence of a public set whose slots are to be filled in."""
    return known_slots(random)
