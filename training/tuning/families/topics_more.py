# ruff: noqa: E501 - tables
"""More topics, of schools, clinics, offices, gyms, towns and software, and more ways to ask for those of topics.py."""

TABLE = """
appointment | hours | Appointments are given {0}. | When can I get an appointment? ; can i come by today ; I would like to see a doctor. When is that possible? ; What are the times for appointments?
waiting time | span | The usual wait is {0}. | How long do I have to wait? ; is there a long queue ; Will it take long until it is my turn? ; What is the usual wait?
emergency number | phone | In an emergency call {0}. | What number do I call in an emergency? ; it is urgent, who do i call ; Somebody is hurt! Whom can I call at night?
vaccination | money | A vaccination costs {0}. | How much is a vaccination? ; what does a shot cost ; Do I pay to be vaccinated?
visiting hours | hours | Patients can be visited {0}. | When can I visit my mother? ; visiting hours please ; Until when may visitors stay?
sick leave | days, email | Sick leave is reported within {0} to {1}. | I am ill. Where do I report that? ; how do i call in sick ; Until when must I report sick leave?
paid leave | days | Employees have {0} of paid leave a year. | How much holiday do I get? ; how many days off do we have ; What is my yearly leave?
remote work | days | You may work from home {0} a month. | Can I work from home? ; how often is home office ok ; What are the rules for working remotely?
pay day | day | Salaries are paid on the last {0} of each month. | When do we get paid? ; pay day? ; On which day does the money come?
expenses | days, email | Receipts for expenses go to {1} within {0}. | Where do I send my receipts? ; how do i get my travel costs back ; I paid for a taxi for work. What now?
dress code | colours | At events staff wear {0}. | What should I wear? ; is there a dress code ; Which clothes are expected at events?
training budget | money | Everybody has {0} a year for courses. | Is there money for courses? ; what is the training budget ; I want to take a class. How much is paid?
parental leave | span | Parental leave is {0}. | How long is parental leave? ; we are having a baby, how long can i stay home ; What leave do new parents get?
office address | street, place | The office is at {0}, {1}. | Where is the office? ; office address ; I am coming to see you tomorrow. Where do I have to go?
printer | code | The printer's code is {0}. | What is the code of the printer? ; how do i print ; I cannot print, it asks for a code. Which one?
meeting room | title, count | The largest meeting room is {0}, for {1} people. | Which is the largest meeting room? ; where can we meet with many people ; We need space for a workshop. What is there?
canteen | hours, money | The canteen is open {0}; lunch costs {1}. | When can I eat in the canteen? ; what does lunch cost ; Where do I get food at noon and for how much?
door code | code | The door code is {0}. | How do I get in? ; door code? ; I am in front of the building and it is locked. What do I type?
term dates | date, date | The term runs from {0} to {1}. | When does the term begin? ; term dates ; Until when are there classes?
school fees | money | The fee is {0} a term. | What does the school cost? ; how high are the fees ; What do parents pay?
homework help | hours | Help with homework is given {0}. | When is homework help? ; my son needs help with maths, when can he come ; Is there somebody who helps with homework?
class size | count | A class has at most {0} pupils. | How large are the classes? ; class size ; How many children are in a class?
head teacher | person | The head teacher is {0}. | Who is the head teacher? ; who runs the school ; To whom do I complain about a teacher?
school bus | time, street | The school bus leaves at {0} from {1}. | When does the school bus leave? ; where do the kids get on the bus ; How do the children get to school?
exam fee | money | An exam costs {0}. | What does an exam cost? ; is the exam free ; How much do I pay to take the test?
library card | money | A library card costs {0} a year. | What does a library card cost? ; how do i become a reader and what is it ; Do I have to pay to borrow books?
loan period | span | Books are lent for {0}. | How long can I keep a book? ; when do i have to bring it back ; For how long do you lend books?
renewal | count | A loan can be renewed {0} times. | How often can I renew a book? ; can i extend my loan ; I have not finished it yet. Can I keep it longer?
gym fee | money, span | The gym costs {0} a month for a contract of {1}. | What does the gym cost? ; how much is training here ; What do I pay each month, and for how long?
trial training | money | A trial training costs {0}. | Can I train once to try it? ; is a trial training free ; What is the price of a first visit?
sauna | hours | The sauna is open {0}. | When can I use the sauna? ; is the sauna on now ; At what times is the sauna warm?
lockers | money | A locker costs {0}. | Where can I leave my things? ; are lockers free ; What do lockers cost?
trainer | person, phone | The trainer is {0}, phone {1}. | Who is the trainer? ; how do i reach the trainer ; I would like personal training. Whom do I call?
pool depth | depth | The pool is {0} deep. | How deep is the pool? ; can my kid stand in the pool ; What is the depth of the water?
waste collection | day | Waste is collected on {0}. | When is the waste collected? ; bin day? ; On which day do I put out the bins?
recycling | place, hours | Glass and paper can be brought to {0}, {1}. | Where do I bring old glass? ; where is recycling ; What do I do with old paper?
passport | money, span | A passport costs {0} and takes {1}. | What does a passport cost? ; how long does a new passport take ; I need a passport. What do I have to know?
registration | span, street | After moving you have {0} to register, at {1}. | I moved here. Where do I register? ; how long do i have to register ; What must I do after moving?
dog tax | money | The tax for a dog is {0} a year. | How much is the tax for a dog? ; do i pay for my dog ; What does it cost to own a dog here?
market day | day | The market is on {0}. | When is the market? ; market day? ; On which day can I buy from farmers in town?
mayor | person | The mayor is {0}. | Who is the mayor? ; who leads the town ; What is the name of our mayor?
noise | hours | Loud work is only allowed {0}. | When may I drill? ; is it ok to mow the lawn now ; At what times is noise allowed?
bus ticket | money | A bus ticket costs {0}. | What does a bus ticket cost? ; how much is the bus ; What do I pay to ride the bus?
night bus | time | The last bus leaves at {0}. | When is the last bus? ; is there a bus at night ; Until when can I get home by bus?
bicycle rental | money, span | A bicycle costs {0} for {1}. | Can I rent a bike? ; what is a bike per day ; How much is it to borrow a bicycle?
luggage | weight, money | Luggage up to {0} is free, more costs {1}. | How much luggage can I take? ; is luggage included ; My suitcase is heavy. What does that cost?
seat | money | Choosing a seat costs {0}. | Can I choose my seat? ; is it free to sit at the window ; What does it cost to pick a seat?
boarding | span | Boarding ends {0} before departure. | When does boarding end? ; how early must i be at the gate ; Until when can I board?
rebooking | money | Rebooking costs {0}. | Can I change my flight? ; what does it cost to change the date ; I must travel a day later. What do I pay?
room service | hours | Room service is available {0}. | Can I eat in my room? ; when is room service ; Until when do you bring food to the room?
late check-out | money | A late check-out costs {0}. | May I stay in the room longer? ; can we leave later ; What is the price for leaving in the afternoon?
airport shuttle | money, span | The shuttle to the airport costs {0} and goes every {1}. | How do I get to the airport? ; is there a shuttle ; What does the ride to the airport cost?
city tax | money | The city tax is {0} a night. | Is there a city tax? ; why is there an extra charge ; What comes on top of the price of the room?
dish of the day | thing, money | The dish of the day is {0} for {1}. | What is the dish of the day? ; what can i eat today ; What do you recommend today, and how much is it?
happy hour | hours, percent | Drinks are {1} cheaper {0}. | When is happy hour? ; are drinks cheaper some time ; How much can I save on drinks?
private party | money, count | The room for parties costs {0} and holds {1} guests. | Can I have my birthday with you? ; what does the party room cost ; We want to celebrate. How large is your room?
catering | email | For catering write to {0}. | Do you also deliver food for events? ; who do i ask about catering ; I need food for a wedding. Where do I ask?
backup | span, days | Backups are made every {0} and kept for {1}. | How often do you make backups? ; can you restore my data ; I deleted a file. For how long do you have copies?
two-factor login | phone | Login codes are sent from {0}. | From which number do login codes come? ; i dont get a code, who sends it ; Where does the second factor come from?
session timeout | span | You are signed out after {0} without activity. | Why am I signed out? ; how long does a session last ; After what time does it log me out?
password length | count | A password must have at least {0} characters. | How long must a password be? ; why is my password not accepted ; What are the rules for passwords?
supported version | version | The oldest supported version is {0}. | Which versions are supported? ; is my old version still ok ; Do I have to update?
status page | email | Outages are announced by {0}. | Is there an outage? ; where do you announce problems ; It is down! Where can I see what happened?
security contact | email | Report security issues to {0}. | I found a security hole. Where do I report it? ; security contact ; Whom do I tell about a leak?
release day | day, time | Releases come on {0} at {1}. | When is the next release? ; when do you deploy ; At what time do new versions come?
seats | money | An extra seat costs {0} a month. | How much is another user? ; can i add people ; What does one more seat cost?
annual billing | percent | Who pays for a year saves {0}. | Is it cheaper by the year? ; discount for annual payment ; What do I save when I pay for twelve months?
log retention | days | Logs are kept for {0}. | How long do you keep logs? ; can i see logs from last month ; For how long is the history stored?
webhook retries | count, span | A webhook is tried {0} times within {1}. | What happens when my webhook fails? ; how many retries ; How often do you try to deliver an event?
delivery area | place, money | Delivery is free in {0}, elsewhere it costs {1}. | What do you charge to bring it to a village? ; i live outside the city, what is delivery ; Do I pay for the transport? ; Would you bring a heavy thing to me, and for how much?
assembly | money | Assembly costs {0} for each piece. | Can somebody put it together for me? ; i cannot build this myself ; Do you screw the shelves together too? ; What is it if your people set up the bed?
returns of used goods | days | Returns are accepted within {0}, unused and in the original packing. | I tried it for a while and don't like it. Can I give it back? ; i threw the box away, can i return it ; Do you take back what has been used?
warranty on parts | years, years | The warranty is {0} on frames and {1} on fabrics. | The seat has a hole, is that covered? ; the leg broke off, who pays ; For how long is the cloth guaranteed?
instalments | count, money | You can pay in {0} instalments from {1} on. | Can I pay later? ; i dont have all the money now ; Is it possible to pay a bit each month?
samples | count | Up to {0} samples are sent by post for free. | How can I see the colours before I buy? ; can you send me a bit of the cloth ; I am not sure about the material. Can I touch it first?
weekend service | title, hours | At weekends only {0} is open, {1}. | Is anybody there on Saturday? ; i only have time on sunday ; Can I come at the weekend?
children's menu | age, money | Children under {0} eat for {1}. | What does my daughter pay to eat? ; do you have something for kids ; Is there a price for small eaters?
group discount | count, percent | Groups of {0} or more get {1} off. | We are coming with the whole class. Is it cheaper? ; what if we are many ; Do you make a price for a large party?
pickup point | street, hours | Parcels wait for you at {0}, {1}. | I was not at home. Where is my parcel? ; the postman left a note, where do i go ; Where can I fetch what I missed?
old device | money | We take your old device and pay up to {0} for it. | What do I do with my old phone? ; can i trade mine in ; Is my used one still worth something?
spare key | money, days | A spare key costs {0} and takes {1}. | I lost my key. What now? ; can you make me another key ; What would a second key be?
cleaning | money | Final cleaning costs {0}. | Do we have to clean up before we go? ; who tidies the flat ; What is charged for cleaning?
language course levels | count, span | Courses have {0} levels of {1} each. | How long until I speak it? ; how many steps are there ; What does a whole course look like?
fuel | place | Cars must be returned with a full tank; the nearest station is in {0}. | Do I have to fill it up? ; can i bring the car back empty ; Where do I get fuel before I return it?
second driver | money | A second driver costs {0} a day. | May my wife drive too? ; we want to take turns driving ; What is it if two of us use the car?
rain plan | place | When it rains, we meet in {0}. | What if the weather is bad? ; does it take place in the rain ; Where do we go if it pours?
meeting point | street, time | We meet at {0} at {1}. | Where do we start? ; when should i be there ; How do I find the group?
what to bring | thing | Please bring a {0}. | What do I need with me? ; should i pack anything ; Is there anything I must not forget?
contact abroad | phone | From abroad call {0}. | I am on holiday and need help. Which number? ; how do i call you from spain ; Is there a number that works in other countries?
data location | place | All data is stored in {0}. | Where is my data stored? ; in which country are your servers ; Is our data kept in Europe?
"""
QUESTIONS = """
opening hours | Is the shop still open now? ; how late can i come ; what time do you close ; From when to when can I shop with you?
returns | It does not fit, may I give it back? ; return window? ; Do you take things back? ; until when may i exchange it
refund time | Where is my refund? ; when do you pay back ; I sent it back last week and see no money yet.
shipping cost | What will it cost to send it to me? ; postage? ; Is there a charge for delivery?
free shipping | How can I avoid paying for shipping? ; when is delivery free
delivery time | how many days until it arrives ; When can I expect my order? ; Is it going to be here by the weekend?
payment methods | may i pay by card ; Which cards do you take? ; Can I use PayPal?
warranty | For how long do you guarantee it? ; what if it breaks next year ; Do you repair it for free if it stops working?
support phone | I want to talk to somebody. ; can i ring you ; Is there a hotline?
support email | Can I write to you? ; email? ; To which address do I send my question?
address | How do I find you? ; which street are you in ; Where can I visit you?
parking | where do i leave my car ; Do you have a car park?
student discount | i study, is it cheaper ; Do you give anything off for students?
order changes | i typed the wrong address in my order ; May I add something to my order?
cancellation | i dont want it any more ; How can I get out of my order? ; Does it cost anything to cancel?
damaged items | it came broken ; There is a scratch on it. What should I do?
repairs | can you fix it ; What would it cost to mend it?
membership | what do members pay ; I would like to join. What is the price?
trial | do i have to pay right away ; Is there a way to test before buying?
storage | is there enough space for my photos ; How many gigabytes do I have?
response time | nobody answers me, how long does it take ; When do you write back?
contract | am i tied to you for long ; What is the minimum term?
deposit | do you keep some money until i leave ; Is there a security deposit?
check-in | from when may we arrive ; What is the earliest time to get into the room?
check-out | when must we be gone ; What time do we hand back the room?
pets | my cat travels with me, ok? ; Are animals welcome?
wifi | i need internet ; How do I connect my laptop?
tickets | how much to get in ; What is the entrance fee?
manager | who is the boss ; Please give me the name of whoever runs this place.
owner | who set this up ; Since when does the company exist?
gift cards | can i buy a voucher ; Do you have something to give away as a present?
lost card | i cant find my card ; Somebody stole my wallet with the card!
booking | can i reserve a table weeks before ; How long in advance may we book?
countries | i live abroad can i order ; Is my country on your list?
battery | how many hours does it run ; When do I have to charge it again?
pickup | may i fetch it myself ; How long will you hold my order for me?
"""
RELATED = (
    {"appointment", "waiting time", "visiting hours", "opening hours", "emergency number"},
    {"paid leave", "sick leave", "parental leave", "remote work", "notice period"},
    {"office address", "address", "door code", "meeting room", "printer"},
    {"term dates", "vacation", "class size", "homework help", "school bus", "school fees", "exam fee"},
    {"head teacher", "manager", "mayor", "owner", "trainer"},
    {"library card", "loan period", "renewal", "membership", "late fee"},
    {"gym fee", "trial training", "membership", "trial", "contract", "trainer", "lockers", "sauna", "pool depth"},
    {"passport", "registration", "dog tax", "city tax", "pets", "waste collection", "recycling"},
    {"bus ticket", "night bus", "airport shuttle", "school bus", "tickets", "bicycle rental"},
    {"luggage", "weight", "seat", "boarding", "rebooking", "seats"},
    {
        "check-out",
        "late check-out",
        "check-in",
        "room service",
        "breakfast",
        "canteen",
        "dish of the day",
        "vegan food",
    },
    {"private party", "catering", "group size", "meeting room", "happy hour"},
    {"backup", "storage", "log retention", "data location", "data export", "session timeout", "file size"},
    {"two-factor login", "password reset", "password length", "door code", "wifi", "printer"},
    {"status page", "security contact", "support email", "uptime", "response time", "webhook retries", "api limit"},
    {"release day", "supported version", "pay day", "market day"},
    {
        "delivery area",
        "shipping cost",
        "free shipping",
        "delivery time",
        "express delivery",
        "assembly",
        "installation",
    },
    {
        "returns of used goods",
        "returns",
        "warranty on parts",
        "warranty",
        "damaged items",
        "repairs",
        "samples",
        "materials",
    },
    {"instalments", "payment methods", "deposit"},
    {"weekend service", "Sunday hours", "opening hours"},
    {"children's menu", "tickets", "age limit", "dish of the day", "group discount", "group size", "student discount"},
    {"pickup point", "pickup", "address", "meeting point"},
    {"contact abroad", "support phone", "emergency number", "lost card", "countries"},
    {"annual billing", "student discount", "basic plan", "pro plan", "seats", "newsletter discount", "price match"},
    {"expenses", "training budget", "daily limit", "damaged items", "invoice"},
    {"order changes", "address", "support phone", "support email", "emergency number", "lost card"},
)
"""As in topics.py: a question on one of these is not asked as one without an answer while another is in the list."""
