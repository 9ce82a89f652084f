# ruff: noqa: E501 - tables
"""Yes or no from a fact: what is compared is a number, an hour, a day or a list; the answer says which fact decides it.

Owns:   the kinds of facts that decide, and questions whose right answer is computed.
"""

from random import Random

from training.data.documents import Document, Turn
from training.tuning.families.faq import HEADS, UNKNOWN, place, shape_facts
from training.tuning.families.topics import TOPICS, Fact, Topic, draw_company, draw_fact, draw_missing

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
Check = tuple[str, str, bool, str]
"""(key, statement, whether yes, question)"""


def _hours(random: Random) -> Check:
    opens, closes = random.randint(6, 11), random.randint(3, 10)
    first, last = random.choice(((0, 4), (0, 5), (1, 5), (0, 6), (1, 6), (2, 6)))
    statement = random.choice(
        (
            "We are open {a} to {b}, {o} am to {c} pm.",
            "Opening hours: {a} to {b}, {o} am to {c} pm.",
            "Our shop is open from {o} am to {c} pm, {a} to {b}.",
        )
    ).format(a=DAYS[first], b=DAYS[last], o=opens, c=closes)
    if random.random() < 0.5:
        day = random.randrange(7)
        form = random.choice(
            ("Are you open on {}?", "can i come on {}", "Is the shop open on {}s?", "do you work {}s?")
        )
        return "opening hours", statement, first <= day <= last, form.format(DAYS[day])
    hour = random.choice([hour for hour in range(5, 23) if hour not in (opens, closes + 12)])
    spoken = f"{hour} am" if hour < 12 else "noon" if hour == 12 else f"{hour - 12} pm"
    day = DAYS[random.randint(first, last)]
    form = random.choice(("Are you open at {} on {}?", "Can I come at {} on {}?", "is anybody there at {} on {}"))
    return "opening hours", statement, opens <= hour < closes + 12, form.format(spoken, day)


LIMITS = (
    (
        "returns",
        "Items can be returned within {} days.",
        "days",
        "at most",
        "Can I return it after {} days?; i bought it {} days ago, can i send it back; Is it too late after {} days?!",
    ),
    (
        "returns",
        "You have {} days to send things back.",
        "days",
        "at most",
        "It has been {} days. May I send it back?; would {} days be too late!",
    ),
    (
        "free shipping",
        "Shipping is free for orders of {} euros or more.",
        "euros",
        "at least",
        "My order is {} euros. Is shipping free?; do i pay shipping for {} euros!; I spend {} euros. Free delivery?",
    ),
    (
        "minimum order",
        "We take orders of {} euros and more.",
        "euros",
        "at least",
        "Can I order something for {} euros?; is {} euros enough for an order; Would you take an order of {} euros?",
    ),
    (
        "warranty",
        "The warranty is {} months.",
        "months",
        "at most",
        "It broke after {} months. Is that covered?; is it still under warranty after {} months; Do I have to pay for a repair after {} months?!",
    ),
    (
        "age limit",
        "Visitors must be at least {} years old.",
        "years",
        "at least",
        "My son is {}. May he come?; im {} can i come in; Is {} years old enough?",
    ),
    (
        "group size",
        "Groups may have up to {} people.",
        "people",
        "at most",
        "We are {} people. Is that all right?; can we come with {}; Is a group of {} too large?!",
    ),
    (
        "weight",
        "Parcels may weigh up to {} kg.",
        "kg",
        "at most",
        "My parcel weighs {} kg. Do you take it?; can i send {} kg; Is {} kg too heavy?!",
    ),
    (
        "file size",
        "Files may be up to {} MB.",
        "MB",
        "at most",
        "Can I upload a file of {} MB?; my file has {} MB is that ok; Is {} MB too big?!",
    ),
    (
        "daily limit",
        "You can withdraw up to {} euros a day.",
        "euros",
        "at most",
        "Can I take out {} euros today?; i need {} euros in cash today, possible; Is {} euros more than I may withdraw?!",
    ),
    (
        "cancellation",
        "Orders can be cancelled free of charge within {} hours.",
        "hours",
        "at most",
        "I ordered {} hours ago. Can I still cancel for free?; is cancelling free after {} hours; Do I pay for cancelling after {} hours?!",
    ),
    (
        "booking",
        "Tables can be booked up to {} days ahead.",
        "days",
        "at most",
        "Can I book {} days ahead?; i want a table in {} days, possible?; May I reserve {} days before?",
    ),
    (
        "notice period",
        "The notice period is {} days.",
        "days",
        "at least",
        "I give notice {} days before. Is that early enough?; is {} days notice enough; Are {} days too late?!",
    ),
    (
        "basic plan",
        "The basic plan has up to {} seats.",
        "seats",
        "at most",
        "We are {} people. Is the basic plan enough?; do {} users fit in the basic plan; Would we need more than basic for {} people?!",
    ),
    (
        "api limit",
        "The API allows {} requests a minute.",
        "requests",
        "at most",
        "May I send {} requests a minute?; is {} requests per minute ok; Would {} requests a minute be too many?!",
    ),
    (
        "guests",
        "Each room is for up to {} guests.",
        "guests",
        "at most",
        "Can {} of us stay in one room?; we are {} people, one room enough; Do {} guests need a second room?!",
    ),
    (
        "discount",
        "From {} pieces on you get a discount.",
        "pieces",
        "at least",
        "Do I get a discount for {} pieces?; is there a discount if i buy {}; I take {}. Is that enough for the discount?",
    ),
    (
        "height",
        "For this ride you have to be {} cm tall.",
        "cm",
        "at least",
        "My daughter is {} cm tall. May she ride?; im {} cm can i ride; Is {} cm enough?",
    ),
)
"""(key, statement, unit, what the limit is, questions; ! marks one whose yes means beyond the limit)"""


def _limit(random: Random) -> Check:
    key, form, _, kind, questions = random.choice(LIMITS)
    limit = random.choice((3, 5, 7, 10, 12, 14, 16, 18, 20, 24, 30, 40, 50, 60, 90, 100))
    value = limit + random.choice((-1, 1)) * random.randint(1, max(1, limit - 1))
    question = random.choice(questions.split(";")).strip()
    within = value <= limit if kind == "at most" else value >= limit
    yes = within != question.endswith("!")
    return key, form.format(limit), yes, question.rstrip("!").format(value)


LISTS = (
    (
        "payment methods",
        "We accept {}.",
        "Visa, Mastercard, PayPal, bank transfer, cash, Apple Pay, Klarna, gift cards",
        "Do you take {}?; can i pay with {}; Is {} possible?",
    ),
    (
        "countries",
        "We ship to {}.",
        "France, Germany, Spain, Italy, Portugal, Poland, Ireland, Austria, Belgium, Japan, Canada",
        "Do you ship to {}?; i live in {} can i order; Can you send it to {}?",
    ),
    (
        "colours",
        "It comes in {}.",
        "red, blue, green, black, white, silver, yellow, purple, grey, orange, beige",
        "Is there a {} one?; do you have it in {}; Can I get it in {}?",
    ),
    (
        "materials",
        "It is made of {}.",
        "oak, steel, cotton, wool, glass, bamboo, leather, linen, cork, plastic",
        "Is there {} in it?; is it made of {}; Does it contain {}?",
    ),
    (
        "languages",
        "Our staff speak {}.",
        "English, French, German, Spanish, Italian, Polish, Dutch, Arabic, Turkish",
        "Do you speak {}?; is there somebody who speaks {}; Can I get help in {}?",
    ),
    (
        "allergens",
        "The cake contains {}.",
        "nuts, milk, eggs, soy, wheat, sesame, mustard",
        "Are there {} in the cake?; does it have {}; I cannot eat {}. Is it in the cake?",
    ),
    (
        "facilities",
        "The hotel has {}.",
        "a pool, a gym, a sauna, a bar, a garden, parking, a restaurant, a playground",
        "Is there {}?; does the hotel have {}; Do you have {}?",
    ),
    (
        "included",
        "The price includes {}.",
        "breakfast, towels, cleaning, wifi, parking, insurance, a guide, lunch",
        "Is {} included?; do i pay extra for {}!; Does the price include {}?",
    ),
    (
        "systems",
        "The program runs on {}.",
        "Windows, macOS, Linux, Android, iOS, ChromeOS",
        "Does it run on {}?; can i use it on {}; Is there a version for {}?",
    ),
    (
        "courses",
        "We teach {}.",
        "piano, guitar, violin, singing, drums, flute, cello, trumpet",
        "Can I learn the {} here?; do you teach {}; Is there a course for {}?",
    ),
)


def _list(random: Random) -> Check:
    key, form, values, questions = random.choice(LISTS)
    every = values.split(", ")
    some = random.sample(every, random.randint(2, 5))
    asked = random.choice(some if random.random() < 0.5 else [one for one in every if one not in some])
    question = random.choice(questions.split(";")).strip()
    yes = (asked in some) != question.endswith("!")
    return key, form.format(", ".join(some[:-1]) + " and " + some[-1]), yes, question.rstrip("!").format(asked)


RULES = (
    ("pets", "Dogs are allowed.", "Dogs are not allowed.", "Can I bring my dog?; are dogs ok; May my dog come along?"),
    (
        "smoking",
        "Smoking is allowed on the balcony only.",
        "Smoking is not allowed anywhere.",
        "Can I smoke on the balcony?; is smoking on the balcony ok",
    ),
    (
        "parking",
        "Customers park for free.",
        "Parking costs 3 euros an hour for customers.",
        "Is parking free?; can i park without paying; Do customers park for free?",
    ),
    (
        "wifi",
        "Wifi is free for guests.",
        "Guests pay 2 euros a day for wifi.",
        "Is the wifi free?; do you have free wifi; Can I use the wifi without paying?",
    ),
    (
        "gift wrapping",
        "We wrap gifts for free.",
        "We do not wrap gifts.",
        "Do you wrap gifts?; can you wrap it as a present; Would you wrap it for me?",
    ),
    (
        "wheelchair",
        "All rooms can be reached by wheelchair.",
        "The rooms cannot be reached by wheelchair.",
        "I use a wheelchair. Can I get to the rooms?; is it accessible by wheelchair",
    ),
    (
        "trial",
        "There is a free trial.",
        "There is no free trial.",
        "Can I try it for free?; is there a free trial; May I test it first?",
    ),
    (
        "invoice",
        "Companies can pay by invoice.",
        "We do not sell on invoice.",
        "Can our company pay by invoice?; do you sell on invoice",
    ),
    (
        "repairs",
        "We repair all brands.",
        "We only repair what we sold.",
        "Do you repair things from other shops?; i bought it elsewhere, can you repair it",
    ),
    (
        "installation",
        "Installation is included.",
        "Installation is not included.",
        "Is installation included?; do you install it without extra cost",
    ),
    (
        "refund",
        "Refunds are paid in money.",
        "Instead of a refund you get a voucher.",
        "Do I get my money back?; will i get money back",
    ),
    (
        "swimming",
        "The watch is waterproof.",
        "The watch is not waterproof.",
        "Can I swim with the watch?; is the watch waterproof; May it get wet?",
    ),
    (
        "vegan",
        "The soup is vegan.",
        "The soup contains cream and is not vegan.",
        "Is the soup vegan?; can vegans eat the soup",
    ),
    (
        "offline",
        "The app works without internet.",
        "The app needs an internet connection.",
        "Can I use the app offline?; does it work without internet",
    ),
    (
        "children",
        "Children under six travel for free.",
        "Children pay the full price.",
        "My child is four. Is it free?; does a four-year-old travel free",
    ),
)


def _rule(random: Random) -> Check:
    key, good, bad, questions = random.choice(RULES)
    yes = random.random() < 0.5
    return key, good if yes else bad, yes, random.choice(questions.split(";")).strip()


def _ask(random: Random) -> Check:
    return random.choice((_hours, _limit, _limit, _list, _list, _rule))(random)


def checks(random: Random) -> Document:
    """A list of facts of all kinds, and questions whose answer is yes or no by one of them."""
    drawn = {check[0]: check for check in (_ask(random) for _ in range(random.choice((2, 4, 6, 8))))}
    facts = [Fact(Topic(key, (), said, (question,)), said, said) for key, said, _, question in drawn.values()]
    others = [topic for topic in TOPICS if topic.key not in drawn]
    facts += [draw_fact(random, topic) for topic in random.sample(others, random.choice((0, 2, 4, 6)))]
    random.shuffle(facts)
    turns: list[Turn] = []
    for _, said, yes, question in drawn.values():
        turns += [Turn("user", question), Turn("assistant", f"{'Yes' if yes else 'No'}. {said}")]
    if random.random() < 0.25:
        turns += [Turn("user", draw_missing(random, facts)), Turn("assistant", UNKNOWN)]
    head = random.choice(HEADS).format(company=draw_company(random))
    return place(head, shape_facts(facts, random), turns, random, "checks")
