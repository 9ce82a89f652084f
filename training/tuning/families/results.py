"""Tools in a conversation: what a result says, in plain text as often as in JSON, ends in an answer.

Owns:   a table of everyday tools with requests, results and answers. A thing is only said to be done when a result says
        so; a result that is an error is told as one; a question that needs no tool gets an answer without a call.
"""

import json
from dataclasses import dataclass
from random import Random
from typing import Any

from renga.services.evals.suites.values import draw_value
from training.data.documents import Document, Tool, ToolCall, Turn
from training.generators.tools import SYSTEMS, invented
from training.tuning.families.topics import draw_topic_value


@dataclass(frozen=True, slots=True)
class Everyday:
    """A tool of everyday use. {a}, {b} are its arguments' values, {x}, {y} are what the result tells."""

    name: str
    description: str
    arguments: tuple[tuple[str, str], ...]
    "(name, kind)"
    told: tuple[tuple[str, str], ...]
    "(name, kind) of what comes back"
    requests: tuple[str, ...]
    answers: tuple[str, ...]
    results: tuple[str, ...]
    acts: bool


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.split(":") for part in text.split()]
    return tuple((name, kind) for name, kind in pairs)


_TABLE = """
get_weather | Weather of a city | city:place | sky:sky temperature:degrees | What's the weather in {a}? ; how is the weather in {a} ; Do I need a coat in {a}? ; Is it warm in {a} today? | In {a} it is {x} and {y}. ; It is {x} in {a}, with {y}. | {x}, {y} ; Weather in {a}: {x}, {y} ; {y} and {x} ; condition: {x}\\ntemperature: {y}
get_order_status | Look up an order | order_id:code | status:state eta:date | Where is my order {a}? ; status of {a} ; has {a} been shipped? ; Can you check order {a}? | Order {a} is {x} and should arrive on {y}. ; Your order {a} is {x}; expect it on {y}. | {x}, ETA {y} ; Order {a}: {x}. Expected {y}. ; status={x} eta={y} ; The order is {x}. It should arrive on {y}.
get_balance | Balance of an account | account:code | balance:money | How much is on account {a}? ; balance of {a} please ; What do I have on {a}? | The balance of account {a} is {x}. ; There is {x} on account {a}. | {x} ; Balance: {x} ; balance={x} ; Account {a} holds {x}.
get_price | Price of a product | product:thing | price:money stock:count | What does the {a} cost? ; price of a {a} ; How much is the {a} and is it in stock? | The {a} costs {x}; {y} are in stock. ; The price is {x}, and there are {y} in stock. | {x}, {y} in stock ; {a}: {x} (stock {y}) ; price: {x}\\nstock: {y} ; Costs {x}. {y} left.
find_contact | Find a person's contact | name:person | phone:phone email:email | How do I reach {a}? ; contact of {a} ; Give me the number and mail of {a}. | You can reach {a} at {x} or {y}. ; {a}: {x}, {y}. | {x}; {y} ; phone {x}, mail {y} ; {a} <{y}> {x}
get_opening_hours | Opening hours of a branch | branch:place | hours:hours | When is the branch in {a} open? ; opening hours {a} ; Until when is {a} open? | The branch in {a} is open {x}. ; In {a} we are open {x}. | {x} ; Open {x} ; {a}: {x}
convert_currency | Convert an amount | amount:money currency:currency | result:money | How much is {a} in {b}? ; convert {a} to {b} ; {a} in {b} please | {a} is {x} in {b}. ; That is {x}. | {x} ; {a} = {x} ; Result: {x}
search_flights | Find a flight | origin:place destination:place | time:time price:money | Find me a flight from {a} to {b}. ; flights {a} {b} ; When can I fly from {a} to {b}? | There is a flight from {a} to {b} at {x} for {y}. ; The flight leaves at {x} and costs {y}. | 1 flight: {x}, {y} ; {a}-{b} departs {x}, fare {y} ; departure: {x}\\nprice: {y}
get_calendar | Events on a day | date:date | event:title time:time | What do I have on {a}? ; my calendar for {a} ; Am I free on {a}? | On {a} you have {x} at {y}. ; There is one event on {a}: {x} at {y}. | {x} at {y} ; 1 event: {y} {x} ; - {y}: {x}
search_documents | Search the company's documents | query:title | file:title text:fact | What do our documents say about {a}? ; search for {a} ; Look up {a}. | {y} ; According to {x}: {y} | {x}: {y} ; Found 1 document.\\n{x}\\n{y} ; [{x}] {y}
get_stock_level | Count a product in a warehouse | product:thing warehouse:place | count:count | How many {a} are in {b}? ; stock of {a} in {b} ; Check the stock of {a} in {b}. | There are {x} in {b}. ; {b} has {x} of the {a}. | {x} ; {x} units ; count: {x}
get_user | Look up a customer | customer_id:code | name:person city:place | Who is customer {a}? ; look up customer {a} ; name of {a}? | Customer {a} is {x} from {y}. ; {a} belongs to {x} in {y}. | {x}, {y} ; name: {x}\\ncity: {y} ; {x} from {y}
track_parcel | Where a parcel is | tracking_number:code | place:place date:date | Where is parcel {a}? ; track {a} ; When does {a} arrive? | Parcel {a} is in {x} and arrives on {y}. ; It is in {x} now; delivery is on {y}. | in {x}, delivery {y} ; Last scan: {x}. Delivery: {y}. ; location={x};delivery={y}
run_query | Run a query on the sales database | question:title | rows:count total:money | How much did {a} make? ; sales of {a} ; Query the sales of {a}. | {a} made {y} in {x} sales. ; There were {x} sales of {a} for {y} in total. | {x} rows, total {y} ; rows: {x}\\nsum: {y}
read_file | Read a file | path:path | text:fact | What is in {a}? ; read {a} ; Open {a} and tell me what it says. | It says: {x} ; {x} | {x}
calculate | Work out a calculation | expression:sum | result:count | What is {a}? ; {a} = ? ; work out {a} | {a} is {x}. ; The result is {x}. | {x} ; {a} = {x} ; Result: {x}
get_time | Time in a city | city:place | time:time | What time is it in {a}? ; time in {a} ; how late is it in {a} | It is {x} in {a}. ; In {a} it is {x}. | {x} ; Local time: {x}
cancel_order | Cancel an order | order_id:code | refund:money | Cancel my order {a}. ; please cancel {a} ; I don't want {a} any more, cancel it. | Order {a} is cancelled. You get {x} back. ; I have cancelled order {a}; {x} will be refunded. | cancelled, refund {x} ; Order {a} cancelled. Refund: {x} ; ok refund={x}
book_table | Book a table | people:count date:date | code:code time:time | Book a table for {a} on {b}. ; table for {a} people, {b} ; We are {a} and would like to come on {b}. | Your table for {a} on {b} at {y} is booked. The code is {x}. ; Booked: {a} people on {b} at {y}, code {x}. | booked {y}, code {x} ; Reservation {x} confirmed for {y} ; code={x} time={y}
create_ticket | Open a support ticket | subject:title | ticket:code | Open a ticket about {a}. ; create a ticket: {a} ; I have a problem with {a}, please file it. | I have opened ticket {x} about {a}. ; Ticket {x} is open. | {x} ; Ticket {x} created ; created id={x}
send_email | Send an email | to:email subject:title | id:code | Send a mail about {b} to {a}. ; mail {a}, subject {b} ; Write to {a} about {b}. | I have sent the mail about {b} to {a}. ; The mail to {a} is sent. | sent ; Message {x} sent ; ok, id {x}
set_reminder | Set a reminder | text:title date:date | id:code | Remind me of {a} on {b}. ; reminder {b}: {a} ; Don't let me forget {a} on {b}. | I will remind you of {a} on {b}. ; The reminder for {b} is set. | ok ; reminder {x} set ; Saved as {x}.
refund_payment | Refund a payment | payment_id:code amount:money | days:days | Refund {b} of payment {a}. ; give back {b} for {a} ; Please refund {b}, payment {a}. | I have refunded {b} of payment {a}. It arrives within {x}. ; {b} is refunded and arrives within {x}. | refunded, arrives in {x} ; Refund started. Duration: {x} ; ok ({x})
change_address | Change a delivery address | order_id:code city:place | status:code | Send order {a} to {b} instead. ; new address for {a}: {b} ; Change the address of {a} to {b}. | Order {a} now goes to {b}. ; The address of order {a} is changed to {b}. | updated ; Address changed to {b} ; ok {x}
"""  # noqa: E501
FAILURES = (
    ("Error: {n} not found", "The tool found nothing for {a}, so I cannot say."),
    ("not found", "Nothing was found for {a}."),
    ("Error: timeout", "The tool did not answer in time. Shall I try again?"),
    ("", "The tool gave no result, so I do not know."),
    ("null", "The tool gave no result, so I do not know."),
    ("[]", "Nothing was found for {a}."),
    ("Permission denied", "The tool refused: permission denied."),
    ("Error 500: internal server error", "The tool failed with an internal error, so it was not done."),
    ("No results.", "There were no results for {a}."),
)
NOTES = (
    "closed on that day",
    "sold out",
    "no departures after 22:00",
    "none left",
    "not in service until Monday",
    "maintenance until 14:00",
    "fully booked",
    "the date is in the past",
    "too many requests, try again in a minute",
    "unknown id",
    "no data for this place",
    "access is limited to managers",
    "upstream timed out",
    "connection refused",
    "this number is not in use",
    "the account is locked",
    "nothing planned",
    "no entry",
    "the amount is over the limit",
    "already shipped, cannot be changed",
    "already refunded",
    "invalid date",
    "the file is empty",
    "two results, please be more exact",
    "only on weekdays",
    "cancelled because of the storm",
    "pending, a manager has to approve it",
    "not available in this country",
)
"""Results that are no result; an answer passes them on."""
_SKIES = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowing", "clear", "stormy", "partly cloudy")
_STATES = ("shipped", "packed", "on its way", "delayed", "being prepared", "at the depot", "out for delivery")
PLAIN = (
    ("hello", "Hello! How can I help you?"),
    ("thanks!", "You're welcome!"),
    ("What can you do?", "I can use my tools for you. Tell me what you need."),
    ("ok great", "Is there anything else I can help with?"),
    ("bye", "Goodbye!"),
)


def _everyday() -> tuple[Everyday, ...]:
    rows = [[cell.strip().replace("\\n", "\n") for cell in line.split("|")] for line in _TABLE.strip().splitlines()]
    split = [
        [row[0], row[1], *map(_pairs, row[2:4]), *(tuple(p.strip(" ") for p in c.split(" ; ")) for c in row[4:7])]
        for row in rows
    ]
    acting = ("cancel", "book", "create", "send", "set", "refund", "change")
    return tuple(Everyday(*row, acts=row[0].startswith(acting)) for row in split)  # type: ignore[arg-type]


EVERYDAY = _everyday()


def _draw(random: Random, kind: str) -> Any:
    if kind == "count":
        return draw_value(random, "count").value
    if kind in ("sky", "state"):
        return random.choice(_SKIES if kind == "sky" else _STATES)
    if kind == "degrees":
        return f"{random.randint(-12, 38)}{random.choice(('°C', ' degrees', ' °C', 'C'))}"
    if kind == "currency":
        return random.choice(("euros", "dollars", "pounds", "yen", "francs", "pesos"))
    if kind == "path":
        return (
            f"{draw_value(random, 'title').text.lower().replace(' ', '_')}.{random.choice(('txt', 'md', 'log', 'csv'))}"
        )
    if kind == "sum":
        return f"{random.randint(2, 999)} {random.choice('+-*')} {random.randint(2, 99)}"
    if kind == "fact":
        return _sentence(random)
    return draw_topic_value(random, kind)


def _sentence(random: Random) -> str:
    thing, person = draw_value(random, "thing").text, draw_value(random, "person").text
    forms = (
        "The {t} is kept in {p}.",
        "{n} looks after the {t}.",
        "The meeting with {n} moved to {d}.",
        "All {t} orders go to {p} from {d} on.",
        "The code for the {t} is {c}.",
        "{n} has signed the contract on {d}.",
        "The {t} costs {m} until {d}.",
    )
    place, date = draw_value(random, "place").text, draw_value(random, "date").text
    code, money = draw_value(random, "code").text, draw_value(random, "money").text
    return random.choice(forms).format(t=thing, n=person, p=place, d=date, c=code, m=money)


def _tool(one: Everyday, random: Random) -> Tool:
    types = {"count": "integer"}
    shape = random.choice(("described", "bare", "required"))
    properties: dict[str, Any] = {}
    for name, kind in one.arguments:
        properties[name] = {"type": types.get(kind, "string")}
        if shape == "described":
            properties[name]["description"] = name.replace("_", " ")
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if shape != "bare":
        schema["required"] = [name for name, _ in one.arguments]
    return Tool(one.name, one.description, schema)


def everyday(random: Random) -> Document:
    """Everyday tools: calls, results as people's tools write them, answers that end the turn."""
    picked = random.sample(EVERYDAY, random.choice((1, 2, 3, 4, 5)))
    tools = tuple(_tool(one, random) for one in picked)
    turns: list[Turn] = []
    for _ in range(random.choice((1, 2, 3, 4))):
        chance = random.random()
        if chance < 0.1:
            question, answer = random.choice(PLAIN)
            turns += [Turn("user", question), Turn("assistant", answer)]
        elif chance < 0.2 and len(picked) < len(EVERYDAY):
            turns += _no_tool(random, picked)
        else:
            turns += _exchange(random, random.choice(picked))
    return Document(tuple(turns), random.choice(SYSTEMS), tools, "everyday")


def _no_tool(random: Random, picked: list[Everyday]) -> list[Turn]:
    other = random.choice([one for one in EVERYDAY if one not in picked])
    words, _ = _words(random, other)
    said = random.choice(("I have no tool for that.", "I cannot do that: none of my tools fits."))
    return [Turn("user", random.choice(other.requests).format(**words)), Turn("assistant", said)]


def _words(random: Random, one: Everyday) -> tuple[dict[str, Any], dict[str, Any]]:
    arguments = {name: _draw(random, kind) for name, kind in one.arguments}
    told = {name: _draw(random, kind) for name, kind in one.told}
    words = dict(zip("ab", arguments.values(), strict=False)) | dict(zip("xy", told.values(), strict=False))
    return words, {"arguments": arguments, "told": told}


def _exchange(random: Random, one: Everyday) -> list[Turn]:
    words, parts = _words(random, one)
    call = ToolCall(one.name, parts["arguments"])
    turns = [Turn("user", random.choice(one.requests).format(**words)), Turn("assistant", "", (call,))]
    chance = random.random()
    if chance < 0.15:
        note = random.choice(NOTES)
        result = random.choice(
            ("{}", "{}.", "Error: {}", "error: {}", "Failed: {}", '{{"error": "{}"}}', "{}!")
        ).format(note)
        return [
            *turns,
            Turn("tool", result),
            Turn("assistant", f"{'That was not done' if one.acts else 'I could not get that'}: {note}."),
        ]
    if chance < 0.25:
        result, answer = random.choice(FAILURES)
        first = one.arguments[0][0].replace("_", " ")
        if one.acts and answer.endswith("say."):
            answer = "The tool did not find {a}, so nothing was changed."
        return [*turns, Turn("tool", result.format(n=first)), Turn("assistant", answer.format(**words))]
    style = random.random()
    if style < 0.65:
        result = random.choice(one.results).format(**words)
    elif style < 0.85:
        result = json.dumps(parts["told"], ensure_ascii=False, indent=random.choice((None, None, 2)))
    else:
        result = "\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in parts["told"].items())
    return [*turns, Turn("tool", result), Turn("assistant", _answer(random, one, result, words))]


def _answer(random: Random, one: Everyday, result: str, words: dict[str, Any]) -> str:
    """An answer that says only what the result says."""
    fitting = [
        answer for answer in one.answers if all(str(words[mark]) in result for mark in "xy" if f"{{{mark}}}" in answer)
    ]
    return (random.choice(fitting) if fitting else "It is done." if one.acts else result).format(**words)


def missing_argument(random: Random) -> Document:
    """A request that leaves out what the tool needs: the answer asks for it, and the call follows."""
    one = random.choice(EVERYDAY)
    words, parts = _words(random, one)
    name = one.arguments[0][0].replace("_", " ")
    asks = (
        f"I want to use {one.name.replace('_', ' ')}.",
        f"{one.description}, please.",
        f"Can you {one.name.replace('_', ' ')}?",
    )
    question = (
        f"Which {name}?"
        if len(one.arguments) == 1
        else f"Which {' and which '.join(n.replace('_', ' ') for n, _ in one.arguments)}?"
    )
    given = " and ".join(str(value) for value in parts["arguments"].values())
    result = random.choice(one.results).format(**words)
    turns = (
        Turn("user", random.choice(asks)),
        Turn("assistant", question),
        Turn("user", given),
        Turn("assistant", "", (ToolCall(one.name, parts["arguments"]),)),
        Turn("tool", result),
        Turn("assistant", _answer(random, one, result, words)),
    )
    others = [other for other in random.sample(EVERYDAY, 3) if other is not one]
    tools = [_tool(tool, random) for tool in (one, *others[: random.choice((0, 1, 2))])]
    random.shuffle(tools)
    return Document(turns, random.choice(SYSTEMS), tuple(tools), "missing_argument")


def calls(random: Random) -> Document:
    """The invented tools of the recipe from nothing, without its phrases of handing over."""
    while True:
        document = invented(random)
        if not any("specialist" in turn.text for turn in document.turns):
            return document
