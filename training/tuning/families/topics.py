"""What a business is asked: topics, each with a fact about it and ways to ask, and requests that only a person can do.

Owns:   the table. Everything in it was written for this project; values are drawn anew for every document.
"""

from dataclasses import dataclass
from random import Random

from renga.services.evals.suites.values import draw_value, draw_word
from training.tuning.families import topics_more


@dataclass(frozen=True, slots=True)
class Topic:
    key: str
    "As a list of keys and values names it."
    kinds: tuple[str, ...]
    "What {0} and {1} are."
    statement: str
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """A topic with its values filled in."""

    topic: Topic
    statement: str
    value: str
    "All values, as a list of keys and values shows them."
    parts: tuple[str, ...] = ()


_TABLE = """
opening hours | hours | We are open {0}. | When are you open? ; what time do you open ; What are your hours? ; are you open in the evening? ; until when are you open
Sunday hours | hours | On Sundays we are open {0}. | Are you open on Sunday? ; what are your sunday hours? ; Can I come by on a Sunday?
returns | days | You can return items within {0}. | How long do I have to return something? ; can i send this back ; What is your return policy? ; I changed my mind about a purchase. How many days do I have?
refund time | days | Refunds arrive within {0} after we receive the item. | When will I get my money back? ; how long does a refund take ; My refund has not arrived. How long should I wait?
shipping cost | money | Shipping costs {0}. | How much is shipping? ; what does delivery cost ; Do I pay for delivery, and how much?
free shipping | money | Shipping is free for orders over {0}. | From what amount is shipping free? ; do you have free shipping ; How much do I have to order to get free delivery?
delivery time | days | Delivery takes {0}. | How long does delivery take? ; when will my parcel come ; How soon would I have it?
express delivery | money, days | Express delivery costs {0} and takes {1}. | Do you offer express delivery? ; what does express cost ; I need it fast. What can you do?
countries | countries | We ship to {0}. | Which countries do you ship to? ; do you deliver abroad ; Where do you ship?
payment methods | payments | We accept {0}. | How can I pay? ; what payment methods do you take ; Do you take cards?
warranty | years | All products have a warranty of {0}. | How long is the warranty? ; is there a guarantee ; It broke. For how long is it covered?
support phone | phone | You can reach support by phone at {0}. | What is your phone number? ; how can i call you ; Which number do I call for support?
support email | email | You can write to support at {0}. | What is your email address? ; where can i write to ; How do I reach you by email?
address | street, place | Our store is at {0} in {1}. | Where are you? ; what is your address ; Where is the store?
parking | parking | There is parking {0}. | Where can I park? ; is there parking ; I come by car. Is that a problem?
gift cards | money, money | Gift cards are available from {0} to {1}. | Do you sell gift cards? ; what amounts do gift cards have ; I want to give a voucher to a friend. Which amounts are there?
gift wrapping | money | Gift wrapping costs {0}. | Can you wrap it as a gift? ; how much is gift wrapping ; It is a present. Do you wrap it?
student discount | percent | Students get {0} off with a valid card. | Is there a student discount? ; i am a student do i pay less ; What do students save?
loyalty points | count, money | Every {0} points are worth {1}. | What are my points worth? ; how do loyalty points work ; What do I get for my points?
order changes | span | Orders can be changed within {0} after they are placed. | Can I change my order? ; until when can i change an order ; I ordered the wrong size a moment ago. Is it too late?
cancellation | span | Orders can be cancelled free of charge within {0}. | How do I cancel? ; can i cancel my order ; Until when is cancelling free?
minimum order | money | The minimum order is {0}. | Is there a minimum order? ; how much do i have to buy at least ; What is the smallest order you take?
damaged items | days, email | Report damaged items within {0} to {1}. | My item arrived broken. What do I do? ; the box was damaged ; How do I report damage?
price match | percent, days | We match lower prices up to {0} below ours within {1} after purchase. | Do you match prices? ; i saw it cheaper elsewhere ; Is there a price guarantee?
repairs | money, days | Repairs start at {0} and take {1}. | Do you repair things? ; how much is a repair ; How long does a repair take?
installation | money | Installation at home costs {0}. | Can you install it for me? ; what does installation cost ; Do you also set it up?
newsletter discount | percent | New subscribers to the newsletter get {0} off. | What do I get for the newsletter? ; is there a discount for subscribing ; Why should I subscribe?
membership | money, span | Membership costs {0} for {1}. | What does membership cost? ; how do i become a member and how much is it ; How much would I pay as a member?
trial | span | There is a free trial of {0}. | Is there a free trial? ; can i try it first ; How long can I test it for free?
basic plan | money, count | The basic plan costs {0} a month and has {1} seats. | What is in the basic plan? ; how much is the cheapest plan ; What does the basic plan cost?
pro plan | money, count | The pro plan costs {0} a month and has {1} seats. | How much is pro? ; what does the pro plan include ; Tell me about the pro plan.
storage | storage | Every account has {0} of storage. | How much storage do I get? ; what is the storage limit ; How much can I upload?
file size | storage | Files may be up to {0}. | What is the largest file I can upload? ; is there a file size limit ; How big may a file be?
password reset | span | The link to reset a password is valid for {0}. | How long is the reset link valid? ; my reset link has expired ; I got a password link yesterday. Does it still work?
data export | format, days | Data can be exported as {0} within {1} after the account is closed. | Can I export my data? ; in which format do i get my data ; How do I get my data out?
uptime | percent | We promise an uptime of {0}. | What uptime do you promise? ; how reliable is the service ; What is in the service agreement about uptime?
response time | span | Support answers within {0}. | How fast does support answer? ; when will i hear back ; How long until somebody replies?
api limit | count, span | The API allows {0} requests per {1}. | What is the rate limit? ; how many requests can i send ; How often may I call the API?
contract | span | The contract runs for {0}. | How long is the contract? ; what is the contract period ; For how long am I bound?
notice period | span | The notice period is {0}. | What is the notice period? ; how early do i have to quit ; How long before the end must I give notice?
deposit | money | The deposit is {0}. | How much is the deposit? ; do i pay a deposit ; What deposit do you ask for?
check-in | time | Check-in is from {0}. | When can I check in? ; what time is check in ; I arrive early. From when is the room ready?
check-out | time | Check-out is until {0}. | When do I have to leave the room? ; what time is check out ; Until when must I check out?
breakfast | hours, money | Breakfast is served {0} and costs {1}. | When is breakfast? ; what does breakfast cost ; Is breakfast included?
wifi | title, code | The wifi is called {0} and its password is {1}. | What is the wifi password? ; how do i get online ; Is there internet?
pets | money | Pets are welcome for {0} a night. | Can I bring my dog? ; do you allow pets ; What do pets cost?
late fee | money | The fee for being late is {0}. | What happens if I am late? ; is there a late fee ; How much is the fine?
lost card | phone | To block a lost card, call {0}. | I lost my card! ; how do i block my card ; My card was stolen. Whom do I call?
daily limit | money | You can withdraw up to {0} a day. | What is the daily limit? ; how much can i withdraw ; Can I take out more money today?
transfer time | span | Transfers take {0}. | How long does a transfer take? ; when will the money be there ; I sent money yesterday. When does it arrive?
foreign fee | percent | Payments abroad cost a fee of {0}. | What is the fee abroad? ; do i pay extra in other countries ; What does it cost to use my card on holiday?
age limit | years | Visitors must be at least {0} old. | Is there an age limit? ; how old do i have to be ; May my child come too?
tickets | money, money | Tickets cost {0}, or {1} for children. | What does a ticket cost? ; how much is it for kids ; How much do we pay to get in?
tours | time, span | Guided tours begin at {0} and take {1}. | When are the tours? ; how long does a guided tour take ; Is there a tour?
group size | count | Groups may have up to {0} people. | How large may a group be? ; we are many people is that ok ; What is the largest group?
booking | days | Tables can be booked up to {0} ahead. | How early can I book a table? ; can i reserve for next month ; How far ahead do you take bookings?
vegan food | thing | Our vegan dish is the {0}. | Do you have anything vegan? ; what can vegans eat ; Is there food without meat or milk?
allergens | person | Please ask {0} about allergens. | I have an allergy. Whom do I ask? ; who knows about allergens ; Does the food contain nuts?
manager | person | The manager is {0}. | Who is the manager? ; who is in charge ; I want to speak to the boss. Who is it?
owner | person, date | The shop was founded by {0} on {1}. | Who founded the shop? ; how old is the company ; Who started the business?
materials | materials | Our products are made of {0}. | What are your products made of? ; which materials do you use ; Is it plastic?
sizes | sizes | Sizes go from {0}. | What sizes do you have? ; do you have my size ; Which is your largest size?
colours | colours | It comes in {0}. | Which colours are there? ; can i get it in another colour ; What colours do you have?
weight | weight | The parcel may weigh up to {0}. | How heavy may a parcel be? ; is there a weight limit ; What is the most it may weigh?
pickup | hours, span | Orders can be picked up {0} and are kept for {1}. | Can I pick it up? ; how long do you keep my order ; When can I collect my parcel?
insurance | money | Parcels are insured up to {0}. | Is my parcel insured? ; what if it gets lost ; Up to what value are you insured?
invoice | email | Invoices are sent from {0}. | Where does my invoice come from? ; i did not get an invoice ; From which address do you send invoices?
vacation | date, date | We are closed from {0} to {1}. | Are you closed for holidays? ; when are you on holiday ; When will you be away this year?
job openings | email | Applications go to {0}. | How do I apply for a job? ; are you hiring ; Where do I send my application?
battery | span | The battery lasts {0}. | How long does the battery last? ; what is the battery life ; Will it last a whole day?
charging | span | Charging takes {0}. | How long does it take to charge? ; how fast does it charge ; When is it full?
spare parts | years | Spare parts are available for {0}. | How long can I get spare parts? ; do you have spare parts ; Will I still get parts later?
water resistance | depth | It is waterproof down to {0}. | Is it waterproof? ; can i swim with it ; How deep may it go under water?
"""  # noqa: E501
REQUESTS = (
    ("cancellation", "Please cancel my order {code}.", "cancel an order"),
    ("cancellation", "cancel order {code} now", "cancel an order"),
    ("refund time", "Refund me for {code} please.", "start a refund"),
    ("returns", "I want to return my {thing}. Send me a label.", "send a label"),
    ("order changes", "Change my order {code} to a {thing}.", "change an order"),
    ("password reset", "Reset my password, my email is {email}.", "reset a password"),
    ("lost card", "Block my card at once!", "block a card"),
    ("booking", "Book a table for {count} on {date}.", "book a table"),
    ("invoice", "Send the invoice for {code} to {email} again.", "send an invoice"),
    ("address", "Change my address to {place}.", "change an address"),
    ("membership", "Sign me up as a member, my name is {person}.", "sign you up"),
    ("basic plan", "Upgrade me to the next plan.", "change a plan"),
    ("support phone", "Have somebody call me back at {phone}.", "arrange a call"),
    ("data export", "Delete my account {email}.", "delete an account"),
    ("repairs", "Send somebody to repair my {thing} on {date}.", "send somebody"),
    ("transfer time", "Send {money} to {person}.", "send money"),
)
"""(the topic that helps, what is asked, what cannot be done by talking)"""


def _topics() -> tuple[Topic, ...]:
    more = dict(_cells(line) for line in topics_more.QUESTIONS.strip().splitlines())
    found: list[Topic] = []
    for line in (_TABLE + topics_more.TABLE).strip().splitlines():
        if line:
            key, kinds, statement, questions = (cell.strip() for cell in line.split("|"))
            questions += f" ; {more[key]}" if key in more else ""
            split = tuple(part.strip() for part in questions.split(" ; "))
            found.append(Topic(key, tuple(kinds.split(", ")), statement, split))
    return tuple(found)


def _cells(line: str) -> tuple[str, str]:
    key, _, rest = line.partition("|")
    return key.strip(), rest.strip()


TOPICS = _topics()
RELATED = (
    {"opening hours", "Sunday hours", "vacation", "pickup"},
    {"returns", "refund time", "cancellation", "order changes", "damaged items", "warranty"},
    {"shipping cost", "free shipping", "delivery time", "express delivery", "minimum order", "insurance"},
    {"support phone", "support email", "response time", "lost card", "invoice", "job openings", "damaged items"},
    {"storage", "file size"},
    {"basic plan", "pro plan", "membership", "trial", "student discount", "newsletter discount"},
    {"contract", "notice period", "cancellation"},
    {"repairs", "warranty", "spare parts", "installation"},
    {"battery", "charging"},
    {"manager", "owner", "allergens"},
    {"tickets", "tours", "age limit", "student discount", "group size", "booking"},
    {"check-in", "check-out", "late fee"},
    {"countries", "shipping cost", "foreign fee"},
    {"vegan food", "allergens"},
    {"daily limit", "foreign fee", "transfer time", "deposit"},
    {"weight", "file size", "insurance"},
    {"gift cards", "gift wrapping"},
    {"sizes", "colours", "materials"},
    *topics_more.RELATED,
)
"""A question on one of these is not taken for a question without an answer while another is in the list."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_COUNTRIES = ("France", "Germany", "Spain", "Italy", "Portugal", "Poland", "Ireland", "Austria", "Belgium", "Sweden")
_COUNTRIES += (
    "Norway",
    "Denmark",
    "Finland",
    "Greece",
    "Japan",
    "Canada",
    "Mexico",
    "Brazil",
    "Chile",
    "Kenya",
    "Ghana",
)
_COUNTRIES += ("India", "Iceland", "Estonia", "Latvia", "Croatia", "Hungary", "Turkey")
_PAYMENTS = ("Visa", "Mastercard", "PayPal", "bank transfer", "cash", "Apple Pay", "Klarna", "invoice", "gift cards")
_MATERIALS = ("oak", "steel", "cotton", "wool", "recycled plastic", "glass", "bamboo", "leather", "linen", "cork")
_PARKING = (
    "behind the building",
    "in front of the shop for {0} cars",
    "in the garage at {1} for {2} an hour",
    "for {0} cars, free for customers",
    "only on {3}",
)


def draw_topic_value(random: Random, kind: str) -> str:
    """A value as businesses write it."""
    if kind == "hours":
        days = random.choice(("every day", "Monday to Friday", "Tuesday to Saturday", "on weekdays", "daily"))
        start, end = random.randint(6, 11), random.randint(4, 10)
        return random.choice(
            (f"from {start} am to {end} pm", f"{days} from {start} to {end}", f"{start}:00-{end + 12}:00")
        )
    if kind == "days":
        return random.choice(("{} days", "{} days", "{} working days", "{} business days", "{} weeks")).format(
            random.choice((2, 3, 4, 5, 6, 7, 10, 14, 21, 28, 30, 45, 60, 90))
        )
    if kind == "years":
        return f"{random.choice((1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 18, 21))} years".replace("1 years", "one year")
    if kind == "span":
        unit = random.choice(("minutes", "hours", "hours", "days", "weeks", "months"))
        return f"{random.choice((2, 3, 4, 6, 8, 10, 12, 15, 24, 30, 36, 45, 48))} {unit}"
    if kind == "percent":
        number = random.choice((1, 2, 3, 5, 8, 10, 12, 15, 20, 25, 30, 40, 99, 99.5, 99.9))
        return f"{number}{random.choice(('%', '%', ' percent'))}"
    if kind in _CHOICES:
        some = random.sample(_CHOICES[kind], random.randint(2, 4))
        return ", ".join(some[:-1]) + " and " + some[-1]
    return _draw_measure(random, kind)


_CHOICES: dict[str, tuple[str, ...]] = {
    "countries": _COUNTRIES,
    "payments": _PAYMENTS,
    "materials": _MATERIALS,
    "colours": ("red", "blue", "green", "black", "white", "silver", "yellow", "purple", "grey", "orange", "beige"),
}


def _draw_measure(random: Random, kind: str) -> str:
    if kind == "street":
        name, kind = draw_word(random, syllables=2).title(), random.choice(("Street", "Road", "Lane", "Square"))
        return f"{random.randint(1, 190)} {name} {kind}"
    if kind == "parking":
        street = draw_word(random, syllables=2).title()
        money = draw_value(random, "money").text
        return random.choice(_PARKING).format(random.randint(3, 80), f"{street} Street", money, random.choice(_DAYS))
    if kind in ("day", "version"):
        return random.choice(_DAYS) if kind == "day" else f"{random.randint(1, 20)}.{random.randint(0, 12)}"
    if kind == "storage":
        return (
            f"{random.choice((2, 5, 10, 15, 20, 25, 50, 100, 200, 250, 500))} {random.choice(('MB', 'GB', 'GB', 'TB'))}"
        )
    if kind == "format":
        return random.choice(("CSV", "JSON", "PDF", "XML", "a ZIP file", "an Excel file", "Parquet"))
    if kind == "sizes":
        return random.choice(
            ("XS to XL", "S to XXL", f"{random.randint(30, 38)} to {random.randint(42, 50)}", "XXS to M")
        )
    if kind == "age":
        return str(random.randint(3, 16))
    if kind == "weight":
        return f"{random.choice((2, 5, 10, 15, 20, 25, 30, 31.5, 40))} {random.choice(('kg', 'kilos', 'pounds'))}"
    if kind == "depth":
        return f"{random.choice((1, 2, 3, 5, 10, 20, 30, 50, 100))} {random.choice(('metres', 'm', 'feet'))}"
    return draw_value(random, kind).text


def draw_fact(random: Random, topic: Topic) -> Fact:
    """Fill a topic with values."""
    parts = tuple(draw_topic_value(random, kind) for kind in topic.kinds)
    return Fact(topic, topic.statement.format(*parts), ", ".join(parts), parts)


def draw_missing(random: Random, present: list[Fact]) -> str:
    """A question that these facts do not answer, on a topic that none of them is near to."""
    keys = {fact.topic.key for fact in present}
    near = keys.union(*(group for group in RELATED if keys & group))
    if random.random() < 0.15:
        return random.choice(OUTSIDE)
    return random.choice(random.choice([topic for topic in TOPICS if topic.key not in near]).questions)


OUTSIDE = (
    "Who won the match last night?",
    "What is the capital of Sweden?",
    "how do i cook rice",
    "What is the meaning of life?",
    "Which film should I watch?",
    "Is it going to rain tomorrow?",
    "What do you think of the government?",
    "Can you recommend a hotel in Rome?",
    "how tall is the eiffel tower",
    "What does your competitor charge?",
    "Who is the best singer?",
    "What are my neighbours doing?",
)


def draw_company(random: Random) -> str:
    kinds = (
        "Shop",
        "Store",
        "Hotel",
        "Bank",
        "Books",
        "Bikes",
        "Cafe",
        "Outdoor",
        "Software",
        "Museum",
        "",
        "",
        "& Sons",
    )
    return f"{draw_word(random, syllables=2).title()} {random.choice(kinds)}".strip()
