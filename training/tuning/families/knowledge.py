# ruff: noqa: E501 - tables
"""Common knowledge in short: tables of pairs with ways to ask, and single questions. Written for this project."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Table:
    """Facts of one kind as pairs, and the forms in which one is asked for and answered."""

    rows: tuple[tuple[str, str], ...]
    forms: tuple[tuple[str, str], ...]
    "(question, answer) with {left} and {right}"


def _rows(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [part.split(":") for part in text.replace("\n", ";").split(";") if part.strip()]
    return tuple((left.strip(), right.strip()) for left, right in pairs)


def _forms(text: str) -> tuple[tuple[str, str], ...]:
    pairs = [line.split("=>") for line in text.strip().splitlines()]
    return tuple((left.strip(), right.strip()) for left, right in pairs)


_CAPITALS = """
France: Paris; Germany: Berlin; Spain: Madrid; Italy: Rome; Portugal: Lisbon; Poland: Warsaw; Ireland: Dublin
Austria: Vienna; Belgium: Brussels; Sweden: Stockholm; Norway: Oslo; Denmark: Copenhagen; Finland: Helsinki
Greece: Athens; Japan: Tokyo; China: Beijing; India: New Delhi; Canada: Ottawa; Mexico: Mexico City; Brazil: Brasília
Argentina: Buenos Aires; Chile: Santiago; Peru: Lima; Cuba: Havana; Kenya: Nairobi; Egypt: Cairo; Nigeria: Abuja
Ghana: Accra; Morocco: Rabat; Ethiopia: Addis Ababa; Turkey: Ankara; Iran: Tehran; Iraq: Baghdad; Russia: Moscow
Ukraine: Kyiv; Hungary: Budapest; Romania: Bucharest; Bulgaria: Sofia; Croatia: Zagreb; Serbia: Belgrade
Iceland: Reykjavik; Estonia: Tallinn; Latvia: Riga; Lithuania: Vilnius; Thailand: Bangkok; Vietnam: Hanoi
Indonesia: Jakarta; the Philippines: Manila; South Korea: Seoul; Australia: Canberra; New Zealand: Wellington
the United Kingdom: London; the United States: Washington, D.C.; the Netherlands: Amsterdam; Switzerland: Bern
the Czech Republic: Prague; Slovakia: Bratislava; Slovenia: Ljubljana; Tunisia: Tunis; Venezuela: Caracas
Colombia: Bogotá; Ecuador: Quito; Uruguay: Montevideo; Nepal: Kathmandu; Pakistan: Islamabad; Malta: Valletta
"""
_LANGUAGES = """
Brazil: Portuguese; Mexico: Spanish; Austria: German; France: French; Japan: Japanese; Egypt: Arabic; China: Chinese
Argentina: Spanish; Italy: Italian; Poland: Polish; Turkey: Turkish; Iran: Persian; Greece: Greek; Sweden: Swedish
Russia: Russian; Portugal: Portuguese; Germany: German; Peru: Spanish; Hungary: Hungarian; Australia: English
"""
_CURRENCIES = """
Japan: the yen; the United Kingdom: the pound; the United States: the dollar; Germany: the euro; India: the rupee
Switzerland: the franc; Russia: the rouble; China: the yuan; Mexico: the peso; Poland: the zloty; France: the euro
Turkey: the lira; South Korea: the won; Brazil: the real; Denmark: the krone; Italy: the euro; Hungary: the forint
"""
_OPPOSITES = """
hot: cold; big: small; tall: short; fast: slow; up: down; day: night; good: bad; happy: sad; rich: poor; old: new
light: dark; open: closed; early: late; hard: soft; full: empty; wet: dry; strong: weak; high: low; left: right
inside: outside; love: hate; begin: end; buy: sell; win: lose; true: false; clean: dirty; near: far; loud: quiet
heavy: light; deep: shallow; thick: thin; wide: narrow; sharp: blunt; cheap: expensive; easy: difficult; first: last
"""
_PLURALS = """
mouse: mice; child: children; foot: feet; tooth: teeth; man: men; woman: women; goose: geese; knife: knives
leaf: leaves; wife: wives; box: boxes; city: cities; potato: potatoes; sheep: sheep; person: people; wolf: wolves
party: parties; bus: buses; shelf: shelves; fish: fish; ox: oxen; loaf: loaves; baby: babies; half: halves
"""
_PASTS = """
go: went; see: saw; eat: ate; drink: drank; write: wrote; run: ran; sing: sang; buy: bought; think: thought
bring: brought; take: took; give: gave; come: came; make: made; find: found; know: knew; speak: spoke; swim: swam
fly: flew; begin: began; break: broke; choose: chose; drive: drove; fall: fell; grow: grew; leave: left; sleep: slept
"""
_SYMBOLS = """
gold: Au; silver: Ag; iron: Fe; oxygen: O; hydrogen: H; carbon: C; sodium: Na; helium: He; copper: Cu; lead: Pb
nitrogen: N; calcium: Ca; potassium: K; chlorine: Cl; zinc: Zn; tin: Sn; mercury: Hg; neon: Ne; sulphur: S; uranium: U
"""
_CONTINENTS = """
France: Europe; Kenya: Africa; Japan: Asia; Brazil: South America; Canada: North America; Egypt: Africa; India: Asia
Peru: South America; Norway: Europe; China: Asia; Nigeria: Africa; Mexico: North America; Spain: Europe; Iran: Asia
Argentina: South America; Morocco: Africa; Thailand: Asia; Poland: Europe; Chile: South America; Ghana: Africa
"""
_CITIES = """
Tokyo: Japan; Munich: Germany; Barcelona: Spain; Milan: Italy; Lyon: France; Kyoto: Japan; Mumbai: India
Shanghai: China; Toronto: Canada; Sydney: Australia; Chicago: the United States; Manchester: the United Kingdom
Porto: Portugal; Cape Town: South Africa; Rio de Janeiro: Brazil; Istanbul: Turkey; Geneva: Switzerland
Krakow: Poland; Rotterdam: the Netherlands; Antwerp: Belgium; Marrakesh: Morocco; Osaka: Japan; Hamburg: Germany
"""
_AUTHORS = """
Romeo and Juliet: William Shakespeare; Hamlet: William Shakespeare; Pride and Prejudice: Jane Austen
Emma: Jane Austen; Oliver Twist: Charles Dickens; Great Expectations: Charles Dickens; Moby-Dick: Herman Melville
War and Peace: Leo Tolstoy; Anna Karenina: Leo Tolstoy; Crime and Punishment: Fyodor Dostoevsky
Don Quixote: Miguel de Cervantes; The Odyssey: Homer; The Divine Comedy: Dante Alighieri; Dracula: Bram Stoker
Frankenstein: Mary Shelley; Jane Eyre: Charlotte Brontë; Wuthering Heights: Emily Brontë; 1984: George Orwell
Animal Farm: George Orwell; The Hobbit: J. R. R. Tolkien; Alice's Adventures in Wonderland: Lewis Carroll
Treasure Island: Robert Louis Stevenson; The Adventures of Tom Sawyer: Mark Twain; Faust: Johann Wolfgang von Goethe
Les Misérables: Victor Hugo; The Metamorphosis: Franz Kafka; The Picture of Dorian Gray: Oscar Wilde
"""
_YOUNG = """
cat: kitten; dog: puppy; cow: calf; horse: foal; sheep: lamb; goat: kid; pig: piglet; duck: duckling; hen: chick
lion: cub; bear: cub; deer: fawn; frog: tadpole; swan: cygnet; goose: gosling; kangaroo: joey; owl: owlet
"""
_SOUNDS = "dog: bark; cat: meow; cow: moo; duck: quack; lion: roar; sheep: bleat; horse: neigh; pig: oink; bee: buzz; snake: hiss"
_COUNTS = """
days in a week: 7; months in a year: 12; hours in a day: 24; minutes in an hour: 60; seconds in a minute: 60
days in a year: 365; days in a leap year: 366; letters in the English alphabet: 26; weeks in a year: 52
legs of a spider: 8; legs of an insect: 6; sides of a triangle: 3; sides of a square: 4; sides of a hexagon: 6
centimetres in a metre: 100; metres in a kilometre: 1,000; grams in a kilogram: 1,000; millimetres in a centimetre: 10
years in a century: 100; years in a decade: 10; planets in the solar system: 8; strings of a violin: 4
players in a football team: 11; colours in a rainbow: 7; wheels of a bicycle: 2; cents in a dollar: 100
degrees in a right angle: 90; degrees in a circle: 360; bits in a byte: 8; continents on Earth: 7; inches in a foot: 12
"""
_TRANSLATIONS = """
hello: bonjour, hola, hallo; good morning: bonjour, buenos días, guten Morgen; thank you: merci, gracias, danke
goodbye: au revoir, adiós, auf Wiedersehen; yes: oui, sí, ja; no: non, no, nein; please: s'il vous plaît, por favor, bitte
good night: bonne nuit, buenas noches, gute Nacht; water: eau, agua, Wasser; bread: pain, pan, Brot; house: maison, casa, Haus
dog: chien, perro, Hund; cat: chat, gato, Katze; book: livre, libro, Buch; friend: ami, amigo, Freund; day: jour, día, Tag
night: nuit, noche, Nacht; sun: soleil, sol, Sonne; tree: arbre, árbol, Baum; red: rouge, rojo, rot; one: un, uno, eins
two: deux, dos, zwei; three: trois, tres, drei; time: temps, tiempo, Zeit; world: monde, mundo, Welt; milk: lait, leche, Milch
"""


def _translations() -> tuple[Table, ...]:
    words = [(word, others.split(", ")) for word, others in _rows(_TRANSLATIONS)]
    forms = "Translate to {0}: {left} => {right}\nWhat is '{left}' in {0}? => {right}\nHow do you say {left} in {0}? => {right}"
    return tuple(
        Table(tuple((word, others[index]) for word, others in words), _forms(forms.replace("{0}", language)))
        for index, language in enumerate(("French", "Spanish", "German"))
    )


TABLES: tuple[Table, ...] = (
    Table(
        _rows(_CAPITALS),
        _forms(
            "What is the capital of {left}? => The capital of {left} is {right}.\n"
            "What is the capital of {left}? => {right}\n"
            "Name the capital of {left}. => {right}\n"
            "{right} is the capital of which country? => {right} is the capital of {left}."
        ),
    ),
    Table(
        _rows(_LANGUAGES),
        _forms("What language is spoken in {left}? => {right}\nWhich language do people speak in {left}? => {right}."),
    ),
    Table(
        _rows(_CURRENCIES),
        _forms(
            "What is the currency of {left}? => The currency of {left} is {right}.\nWhat do people pay with in {left}? => With {right}."
        ),
    ),
    Table(
        _rows(_OPPOSITES),
        _forms(
            "What is the opposite of {left}? => {right}\nGive me the opposite of '{left}'. => {right}\n"
            "Name an antonym of {right}. => {left}"
        ),
    ),
    Table(
        _rows(_PLURALS), _forms("What is the plural of {left}? => {right}\nWrite the plural of '{left}'. => {right}")
    ),
    Table(
        _rows(_PASTS),
        _forms("What is the past tense of {left}? => {right}\nPut '{left}' into the past tense. => {right}"),
    ),
    Table(
        _rows(_SYMBOLS),
        _forms(
            "What is the chemical symbol for {left}? => {right}\nWhich element has the symbol {right}? => {right} is {left}.\n"
            "chemical symbol of {left} => The symbol of {left} is {right}."
        ),
    ),
    Table(
        _rows(_CONTINENTS),
        _forms("On which continent is {left}? => {left} is in {right}.\nWhat continent is {left} in? => {right}"),
    ),
    Table(
        _rows(_CITIES),
        _forms(
            "In which country is {left}? => {left} is in {right}.\nWhere is {left}? => {left} is in {right}.\nIn which country is {left}? => {right}"
        ),
    ),
    Table(
        _rows(_AUTHORS),
        _forms(
            "Who wrote {left}? => {right}\nWho is the author of {left}? => {left} was written by {right}.\nWho wrote {left}? => {left} was written by {right}."
        ),
    ),
    Table(
        _rows(_YOUNG),
        _forms(
            "What is a young {left} called? => A young {left} is called a {right}.\nWhat do you call a baby {left}? => {right}"
        ),
    ),
    Table(
        _rows(_SOUNDS),
        _forms("What sound does a {left} make? => {right}\nWhat does a {left} say? => A {left} goes {right}."),
    ),
    Table(
        _rows(_COUNTS),
        _forms(
            "How many {left}? => {right}\nHow many {left}? => There are {right} {left}.\nWhat is the number of {left}? => {right}"
        ),
    ),
    *_translations(),
)

_KNOWN = """
Which planet is known as the Red Planet? => Mars
Which is the largest planet in the solar system? => Jupiter is the largest planet in the solar system.
Which planet is closest to the sun? => Mercury is closest to the sun.
What is the largest ocean? => The Pacific Ocean is the largest ocean.
What is the longest river in South America? => The Amazon
What is the highest mountain on Earth? => Mount Everest is the highest mountain on Earth.
What is the largest country by area? => Russia is the largest country by area.
What is the smallest country? => Vatican City is the smallest country.
What is the largest animal? => The blue whale is the largest animal.
What is the fastest land animal? => The cheetah is the fastest land animal.
What is the tallest animal? => The giraffe is the tallest animal.
Is a whale a fish? => No, a whale is a mammal.
Is a spider an insect? => No, a spider is an arachnid.
Is a tomato a fruit? => Yes, botanically a tomato is a fruit.
Can penguins fly? => No, penguins cannot fly.
Do fish breathe with lungs? => No, fish breathe with gills.
Is the sun a star? => Yes, the sun is a star.
Is the Earth flat? => No, the Earth is round.
Does the Earth go around the sun? => Yes, the Earth goes around the sun.
What gas do plants take from the air? => Plants take carbon dioxide from the air.
Which gas do we breathe in to live? => Oxygen
What do bees make? => Bees make honey.
What is H2O? => H2O is water.
At what temperature does water boil? => Water boils at 100 degrees Celsius.
At what temperature does water freeze? => Water freezes at 0 degrees Celsius.
What is frozen water called? => Ice
What colour is the sky on a clear day? => Blue
What colour do you get from blue and yellow? => Green
What colour do you get from red and white? => Pink
What colour do you get from red and yellow? => Orange
What are the primary colours? => The primary colours are red, yellow and blue.
What are the colours of a traffic light? => Red, yellow and green.
What is the first month of the year? => January
Which month comes after June? => July
Which day comes after Monday? => Tuesday
What are the four seasons? => Spring, summer, autumn and winter.
In which season does it usually snow? => In winter.
In which direction does the sun rise? => The sun rises in the east.
Where does the sun set? => In the west.
What is the freezing point of water in Fahrenheit? => 32 degrees Fahrenheit.
What is the hardest natural material? => Diamond is the hardest natural material.
Which metal is liquid at room temperature? => Mercury
What is the main gas in the air? => Nitrogen is the main gas in the air.
What force pulls things to the ground? => Gravity
Which organ pumps blood? => The heart pumps blood.
Which organ do we think with? => With the brain.
How many teeth does an adult have? => An adult has 32 teeth.
What do you use to see? => Your eyes.
What do cows drink? => Cows drink water.
What do caterpillars become? => Caterpillars become butterflies or moths.
What is the study of living things called? => Biology
What is the study of stars called? => Astronomy
Who painted the Mona Lisa? => Leonardo da Vinci painted the Mona Lisa.
Who composed the Ninth Symphony with the Ode to Joy? => Ludwig van Beethoven
Who developed the theory of relativity? => Albert Einstein developed the theory of relativity.
Who was the first person on the moon? => Neil Armstrong was the first person on the moon.
Who invented the telephone? => Alexander Graham Bell is credited with inventing the telephone.
Who was the first president of the United States? => George Washington
In what year did the Second World War end? => It ended in 1945.
In what year did the First World War begin? => It began in 1914.
When did the Berlin Wall fall? => The Berlin Wall fell in 1989.
What is a noun? => A noun is a word for a person, place, thing or idea.
What is a verb? => A verb is a word for an action or a state.
What is an adjective? => An adjective is a word that describes a noun.
What is a synonym? => A synonym is a word that means nearly the same as another word.
What is a synonym for big? => Large
What is a synonym for happy? => Glad
What is a synonym for fast? => Quick
What is photosynthesis? => Photosynthesis is how plants make sugar and oxygen from light, water and carbon dioxide.
What is gravity? => Gravity is the force that pulls masses towards each other.
What is a database? => A database is an organised store of data that programs can search and change.
What is an API? => An API is a way for programs to talk to each other.
What is a variable in programming? => A variable is a name for a value that a program can read and change.
What is a loop in programming? => A loop repeats some instructions until a condition is met.
What does CPU stand for? => CPU stands for central processing unit.
What does URL stand for? => URL stands for uniform resource locator.
What does HTML stand for? => HTML stands for HyperText Markup Language.
What does PDF stand for? => PDF stands for Portable Document Format.
What does FAQ stand for? => FAQ stands for frequently asked questions.
What is JSON? => JSON is a text format for data made of objects, lists, strings, numbers, true, false and null.
What is Python? => Python is a programming language.
What is an email? => An email is a message that is sent over a computer network.
What is inflation? => Inflation is a general rise in prices over time.
What is a budget? => A budget is a plan of income and spending.
What is an invoice? => An invoice is a bill for goods or services.
What is a refund? => A refund is money that is paid back.
What is a haiku? => A haiku is a short poem of three lines with five, seven and five syllables.
What is a mammal? => A mammal is a warm-blooded animal that feeds its young with milk.
What is a vegetarian? => A vegetarian is a person who eats no meat.
Name three colours. => Red, blue and green.
Name three fruits. => Apples, bananas and oranges.
Name three animals. => Dog, cat and horse.
Name two planets. => Mars and Venus.
Name a mammal that lives in the sea. => The dolphin.
Name three European countries. => France, Spain and Italy.
Name five vegetables. => Carrots, peas, onions, potatoes and cabbage.
Name four musical instruments. => Piano, violin, guitar and flute.
What rhymes with cat? => Hat rhymes with cat.
What rhymes with house? => Mouse rhymes with house.
How do you make tea? => Boil water, pour it over the tea, let it steep for three to five minutes, and take the tea out.
How do you boil an egg? => Put the egg into boiling water for six to ten minutes, then cool it in cold water.
How can I sleep better? => Go to bed at the same time every day, keep the room dark and cool, and avoid screens and coffee late.
How do I stay healthy? => Eat varied food, move every day, sleep enough and do not smoke.
How can I learn a language? => Practise a little every day, listen and speak often, and read easy texts.
Give me a tip for saving money. => Write down what you spend for a month, then cut the largest thing that you do not need.
Give me three tips for a good presentation. => Know your audience, say one thing on each slide, and practise aloud.
"""
KNOWN = _forms(_KNOWN)
