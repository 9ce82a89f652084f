"""A front desk's answers: what each support intent is answered with, and the rule that checks an answer.

Owns:   the answers, their placeholders, and `missing_from`, the rule-based check of the support suite.
Knows:  nothing of who asks; training fills the same answers with other values and other questions.
"""

from dataclasses import dataclass

ANSWERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "cancel_order": ("Order {order} can be cancelled until it ships. I have cancelled it.", ("cancelled",)),
    "change_order": ("I can change order {order} for you. Which items should I swap?", ("change order", "swap")),
    "change_shipping_address": (
        "Please send me the new address and I will update the delivery address of order {order}.",
        ("new address", "update"),
    ),
    "check_cancellation_fee": (
        "The cancellation fee is {fee}. It applies only after order {order} has shipped.",
        ("cancellation fee",),
    ),
    "check_invoice": ("You can see the invoice for order {order} at {site} under Invoices.", ("see the invoice",)),
    "check_payment_methods": (
        "We accept card, bank transfer and wallet payments. The list is at {site}.",
        ("accept card",),
    ),
    "check_refund_policy": ("You can return goods within {days} days for a full refund.", ("return", "full refund")),
    "complaint": ("I am sorry, {name}. I have filed your complaint as case {case}.", ("sorry", "filed your complaint")),
    "contact_customer_service": ("You can call us on {phone}, {hours}.", ("call us",)),
    "contact_human_agent": ("I will connect you with a colleague. You can also call {phone}.", ("connect you",)),
    "create_account": ("To open an account, go to {site} and choose Sign up.", ("open an account", "sign up")),
    "delete_account": (
        "I can close your account, {name}. Please confirm that it may be deleted.",
        ("close your account",),
    ),
    "delivery_options": ("We offer standard and express delivery. Express costs {fee}.", ("standard and express",)),
    "delivery_period": ("Order {order} should arrive on {date}.", ("should arrive",)),
    "edit_account": ("You can edit your details at {site} under Profile.", ("edit your details",)),
    "get_invoice": ("I have sent the invoice for order {order} to {email}.", ("sent the invoice",)),
    "get_refund": ("I have started the refund of {amount} for order {order}.", ("started the refund",)),
    "newsletter_subscription": ("You can change your newsletter settings at {site}.", ("newsletter",)),
    "payment_issue": (
        "I am sorry the payment failed. Please try again at {site} or call {phone}.",
        ("payment failed",),
    ),
    "place_order": ("To buy something, put it in the basket at {site} and choose Checkout.", ("basket", "checkout")),
    "recover_password": ("I have sent a link for a new password to {email}.", ("new password",)),
    "registration_problems": (
        "I am sorry that signing up failed. Please try again at {site} or call {phone}.",
        ("signing up failed",),
    ),
    "review": ("Thank you, {name}. You can leave a review at {site}.", ("leave a review",)),
    "set_up_shipping_address": (
        "You can add a delivery address at {site} under Addresses.",
        ("add a delivery address",),
    ),
    "switch_account": ("You can switch to another account type at {site} under Plans.", ("switch", "account type")),
    "track_order": ("Order {order} is on its way with {carrier} and should be with you on {date}.", ("on its way",)),
    "track_refund": (
        "The refund of {amount} was sent on {date}. It takes {days} days to show.",
        ("refund of", "was sent"),
    ),
}
"""Intent -> (answer with placeholders, words that must stand in it). Intents are Bitext's names."""

PLACEHOLDERS: dict[str, str] = {
    "order": "code",
    "fee": "money",
    "amount": "money",
    "site": "site",
    "days": "count",
    "name": "person",
    "case": "code",
    "phone": "phone",
    "hours": "hours",
    "date": "date",
    "email": "email",
    "carrier": "title",
}
"""Placeholder -> kind of value (renga.services.evals.suites.values, or `site` and `hours`, drawn by whoever writes
the dialogue)."""


@dataclass(frozen=True, slots=True)
class FrontDesk:
    """One invented company and the facts that its support answers are filled with."""

    company: str
    facts: dict[str, str]

    def system(self, order: list[str]) -> str:
        """The system text, with the facts in the given order."""
        lines = "\n".join(f"{name}: {self.facts[name]}" for name in order)
        return f"You answer customers of {self.company}. Use these facts.\n{lines}"

    def answer(self, intent: str) -> str:
        """The right answer with its placeholders filled."""
        return ANSWERS[intent][0].format(**self.facts)


def placeholders(intent: str) -> list[str]:
    """The placeholders of an intent's answer."""
    return [name for name in PLACEHOLDERS if f"{{{name}}}" in ANSWERS[intent][0]]


def missing_from(answer: str, intent: str, facts: dict[str, str]) -> list[str]:
    """What the rule misses in an answer: the intent's words, a value, or a placeholder left open.

    The intent is right if its words are there; the placeholders are filled if every value stands in the answer.
    """
    lowered = answer.lower()
    missing = [words for words in ANSWERS[intent][1] if words not in lowered]
    missing += [name for name in placeholders(intent) if facts[name].lower() not in lowered]
    if "{" in answer or "}" in answer:
        missing.append("an open placeholder")
    return missing
