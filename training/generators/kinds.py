"""Kinds of values: what a field that holds one is called, and how a person says one without naming the field.

No name here has a word of the held-out vocabulary of renga.evals: that `752 dollars` belongs to a `fee` has to be known
from such values in fields called `price`, `fare` and `deposit`.
"""


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


KIND_WORDS: dict[str, tuple[str, ...]] = {
    "person": _split(
        "owner guest driver patient author agent client member sender host teacher customer employee buyer "
        "seller manager tenant passenger assignee visitor"
    ),
    "place": _split(
        "location village region airport station site district venue country address street city state area "
        "branch office warehouse terminal destination"
    ),
    "date": _split(
        "day start_date end_date deadline since expiry birthday week date due effective_date available_from last_day"
    ),
    "time": _split("hour start moment pickup_time begin finish arrival time opening closing departure wake_up"),
    "code": _split(
        "id key serial identifier tracking case_number number pin file_number code ticket order_number "
        "invoice_id barcode"
    ),
    "money": _split(
        "price cost budget payment charge rate sum deposit total amount tip refund salary balance fare premium"
    ),
    "thing": _split("article goods device gift tool equipment subject piece item product part accessory material"),
    "title": _split("caption subject headline label theme topic name title summary subtitle slogan"),
    "email": _split("address contact inbox sender mail reply_to email notify account_email recipient_mail"),
    "phone": _split("telephone mobile hotline contact number phone callback fax"),
    "count": _split("number total persons copies places units rows people quantity guests pages nights items tickets"),
    "colour": _split("hue tint paint tone finish color colour dye"),
    "level": _split("importance severity rank grade status priority level risk"),
    "size": _split("format dimension fit size length width"),
}
"""What fields of a kind are called; a kind's values can be told by their form."""
KIND_PHRASES: dict[str, tuple[str, ...]] = {
    "person": (
        "by {}",
        "from {}",
        "owned by {}",
        "signed {}",
        "of {}",
        "that {} has",
        "with {}",
        "assigned to {}",
        "on behalf of {}",
        "asked for by {}",
        "{} takes care of it",
        "run by {}",
    ),
    "place": (
        "at {}",
        "close to {}",
        "around {}",
        "over in {}",
        "towards {}",
        "by {}",
        "based in {}",
        "somewhere in {}",
        "not far from {}",
        "within {}",
        "outside {}",
    ),
    "date": (
        "before {}",
        "after {}",
        "not later than {}",
        "from {} on",
        "since {}",
        "it ends {}",
        "as of {}",
        "ending {}",
        "no earlier than {}",
        "that runs out {}",
        "lasting to {}",
    ),
    "time": (
        "from {}",
        "at about {}",
        "after {}",
        "not before {}",
        "beginning {}",
        "at {} sharp",
        "when it is {}",
        "opening at {}",
        "set for {}",
    ),
    "code": (
        "number {}",
        "see {}",
        "no. {}",
        "under {}",
        "known as {}",
        "quoting {}",
        "listed as {}",
        "which is {}",
        "nr {}",
        "filed under {}",
    ),
    "money": (
        "costing {}",
        "at {}",
        "paying {}",
        "it costs {}",
        "for no less than {}",
        "billing {}",
        "priced {}",
        "totalling {}",
        "that makes {}",
        "taking {} for it",
        "spending {}",
    ),
    "thing": (
        "regarding the {}",
        "on the {}",
        "this is for a {}",
        "along with the {}",
        "as to the {}",
        "it has to do with the {}",
        "namely the {}",
        "including the {}",
        "touching the {}",
    ),
    "title": (
        "which says {}",
        'with "{}" on top',
        "under {}",
        "on {}",
        "entitled {}",
        "saying {}",
        "that reads {}",
        "with the words {}",
        "topped {}",
    ),
    "email": (
        "reach me at {}",
        "copy {}",
        "mail goes to {}",
        "contact {}",
        "drop a line to {}",
        "reply to {}",
        "cc {}",
        "replies go to {}",
        "post it to {}",
    ),
    "phone": ("ring {}", "dial {}", "reach us on {}", "text {}", "on the line {}", "phoning {}"),
    "count": (
        "with {} in all",
        "a total of {}",
        "for {}",
        "{} altogether",
        "made out for {}",
        "making {}",
        "{} in number",
        "that is {} times",
    ),
    "colour": ("painted {}", "all {}", "it is {}", "rather {}", "preferably {}", "in a {} tone", "dyed {}"),
    "level": (
        "this is {}",
        "rated {}",
        "it counts as {}",
        "treat it as {}",
        "flagged {}",
        "considered {}",
        "seen as {}",
    ),
    "size": ("a {} one", "it is {}", "the {} one", "cut {}", "made {}"),
}
"""How a person says such a value without naming the field."""
