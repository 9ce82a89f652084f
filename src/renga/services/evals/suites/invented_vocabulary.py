"""The two vocabularies of the invented tools. tests/evals checks that they share nothing."""

from renga.services.evals.suites.invented import InventedVocabulary, Parameter


def _split(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _parameters(table: str) -> tuple[Parameter, ...]:
    """Rows of `name | kind | description | phrase ; phrase`."""
    rows = [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]
    return tuple(Parameter(row[0], row[1], row[2], tuple(part.strip() for part in row[3].split(";"))) for row in rows)


TRAINING = InventedVocabulary(
    verbs=_split(
        "create update delete cancel book find search get list send open close start stop check track return "
        "refund pay add remove change move schedule assign print export import download share lock unlock "
        "renew approve reject call order ship rate review translate convert enable disable rename archive "
        "restore sync"
    ),
    nouns=_split(
        "order invoice ticket account booking flight room table meeting reminder note task file folder "
        "message email payment card parcel delivery subscription report contract device user password address "
        "profile playlist song recipe event product coupon claim policy appointment document photo alarm "
        "light car taxi hotel loan budget team project printer server backup newsletter"
    ),
    parameters=_parameters(
        """
        order_id | code | Order number | for order {} ; with order number {} ; (order {}) ; order id {}
        customer_name | person | Name of the customer | for {} ; under the name {} ; customer {} ; the customer is {}
        city | place | City | in {} ; the city is {} ; in the city of {}
        date | date | Date | on {} ; for {} ; dated {} ; date: {}
        time | time | Time of day | at {} ; around {} ; by {}
        amount | money | Amount of money | of {} ; for {} ; amount {} ; worth {}
        item | thing | Item | with the {} ; it is the {} ; the item is a {} ; for the {}
        quantity | count | How many | {} of them ; quantity {} ; {} units ; {} pieces
        email | email | E-mail address | email {} ; my email is {} ; to {} ; send it to {}
        phone_number | phone | Phone number | call me on {} ; phone {} ; my number is {}
        title | title | Title | called {} ; titled {} ; named {} ; with the title {}
        color | colour | Colour | in {} ; coloured {} ; make it {}
        size | size | Size | size {} ; in {} size ; make it {}
        priority | level | Priority | priority {} ; with {} priority ; it is {}
        destination | place | Where to | to {} ; going to {} ; destination {}
        origin | place | Where from | from {} ; leaving {} ; starting in {}
        recipient | person | Who receives it | to {} ; for {} ; recipient {}
        guests | count | Number of guests | for {} guests ; {} guests ; guests: {}
        code | code | Code | with code {} ; code {} ; using the code {}
        due_date | date | Due date | due {} ; due on {} ; by {}
        name | person | Name | my name is {} ; name {} ; I am {}
        product | thing | Product | product {} ; a {} ; the product is the {}
        price_limit | money | Highest price | under {} ; at most {} ; no more than {}
        account_number | code | Account number | account {} ; account number {} ; from account {}
        """
    ),
    frames=(
        "please {act} {details}",
        "I want to {act} {details}",
        "can you {act} {details}?",
        "{act} {details}",
        "{act} {details}, please",
        "hi, I need to {act} {details}.",
        "could you {act} {details}? thanks",
        "I'd like to {act} {details}",
        "hello! {act} {details} for me",
        "we have to {act} {details}.",
        "{details}, {act}",
        "help me {act} {details}",
    ),
    descriptions=("{verb} a {noun}", "{verb} the {noun}", "Used to {verb} {noun}s", "{act}", "Tool: {act}."),
)

HELD_OUT = InventedVocabulary(
    verbs=_split("reserve fetch publish revoke inspect merge pause transfer record dispatch register escalate"),
    nouns=_split(
        "warranty shipment voucher permit locker survey badge vehicle sample lesson clinic garden telescope "
        "recording petition"
    ),
    parameters=_parameters(
        """
        reference | code | Reference of the case | reference {} ; with the reference {} ; ref {}
        holder | person | Person who holds it | held by {} ; the holder is {} ; belonging to {}
        town | place | Town | near {} ; town {} ; located in {}
        valid_until | date | Last valid day | valid until {} ; until {} ; expiring {}
        slot | time | Time slot | in the slot {} ; slot {} ; starting at {}
        fee | money | Fee to charge | charging {} ; with a fee of {} ; fee {}
        object | thing | Object concerned | concerning the {} ; about the {} ; object {}
        seats | count | Number of seats | seats {} ; having {} seats ; {} seats
        mailbox | email | Mailbox for the answer | mailbox {} ; answer to {} ; write to {}
        heading | title | Heading | headed {} ; with heading {} ; heading {}
        urgency | level | Urgency | urgency {} ; with {} urgency ; marked {}
        shade | colour | Shade | shade {} ; in the shade {} ; of shade {}
        """
    ),
    frames=(
        "would you {act} {details}",
        "my task today is to {act} {details}",
        "good morning, kindly {act} {details}.",
        "it is time to {act} {details}",
        "someone has to {act} {details}.",
        "the next step: {act} {details}",
    ),
    descriptions=("Lets the assistant {verb} a {noun}", "For when a {noun} is to be {verb}ed", "{verb} one {noun}"),
)
