"""Kinds of values: what a field that holds one is called, and how a person says one without naming the field.

No name here has a word of the held-out vocabulary of renga.services.evals: that `752 dollars` belongs to a `fee` has
to be known from such values in fields called `price`, `fare` and `deposit`.
"""


def _names(table: str) -> dict[str, tuple[str, ...]]:
    """Paragraphs of `kind: name name`."""
    return {kind: tuple(names.split()) for kind, names in _paragraphs(table)}


def _phrases(table: str) -> dict[str, tuple[str, ...]]:
    """Paragraphs of `kind: phrase ; phrase`."""
    return {kind: tuple(" ".join(part.split()) for part in said.split(";")) for kind, said in _paragraphs(table)}


def _paragraphs(table: str) -> list[tuple[str, str]]:
    return [(kind, rest) for kind, _, rest in (part.strip().partition(":") for part in table.split("\n\n"))]


KIND_WORDS = _names(
    """
    person: owner guest driver patient author agent client member sender host teacher customer employee buyer
    seller manager tenant passenger assignee visitor keeper maker user speaker leader player bearer receiver
    borrower lender renter reader writer doctor nurse lawyer contact_person relative friend colleague
    supervisor applicant candidate student parent child neighbour partner witness inspector_name reporter
    reviewer approver requester signer beneficiary recipient_name attendee organiser captain editor founder
    director worker trainer singer artist bride groom pilot cook carer

    place: location village region airport station site district venue country address street city state area
    branch office warehouse terminal destination county province island harbour port square market suburb
    neighbourhood zone spot locality municipality settlement hometown capital resort valley coast hall building
    campus depot shop stop platform birthplace headquarters meeting_point pickup_point drop_off where park
    beach border land territory camp

    date: day start_date end_date deadline since expiry birthday week date due effective_date available_from
    last_day first_day month year anniversary holiday weekend date_of_birth arrival_date departure_date
    delivery_date closing_date opening_date renewal_date expires runs_out ends begins cutoff last_date
    final_day payment_day moving_day travel_date issue_date event_date term_end hired_on due_by period_end
    best_before next_visit

    time: hour start moment pickup_time begin finish arrival time opening closing departure wake_up clock
    minute start_time end_time o_clock morning noon evening check_in check_out call_time meeting_time alarm
    curfew bedtime dinner lunch breakfast landing takeoff boarding showtime kickoff time_of_day window
    appointment_time shift break session

    code: id key serial identifier tracking case_number number pin file_number code ticket order_number
    invoice_id barcode record_number account_id token voucher_code booking_number confirmation licence plate
    passport registration membership_number policy_number claim_number customer_number contract_number
    part_number model_number sku batch lot docket dossier receipt_number transaction parcel_number
    shipment_number coupon password_code entry_number index signature tag_number folio case

    money: price cost budget payment charge rate sum deposit total amount tip refund salary balance fare
    premium wage rent toll fine tax bill expense income pay bonus discount debt loan credit donation price_paid
    earnings spending bid offer offer_price subsidy allowance pension penalty interest commission dues tuition
    ransom reward value worth estimate purchase_price upfront instalment limit ceiling funds cash money

    thing: article goods device gift tool equipment subject piece item product part accessory material
    merchandise belongings possession property purchase appliance machine instrument furniture garment toy
    souvenir luggage package supply stock ware component unit what thing matter concerned asset commodity cargo
    content present prize model replacement sample_item

    title: caption subject headline label theme topic name title summary subtitle slogan header banner motto
    inscription subject_line entry chapter section_name section work_title project_name page_title tagline
    wording sign text line name_of_it designation message_title article_name

    email: address contact inbox sender mail reply_to email notify account_email recipient_mail e_mail postbox
    mail_address reply_address correspondence post login_mail work_email private_email cc copy_to forward_to
    send_to answer_address contact_mail electronic_mail newsletter_address

    phone: telephone mobile hotline contact number phone callback fax cell landline call dial phone_line
    telephone_number mobile_number ring call_back handset extension work_phone home_phone whatsapp
    emergency_contact voice reach_at

    count: number total persons copies places units rows people quantity guests pages nights items tickets
    chairs beds rooms tables participants attendees passengers adults children boxes bottles pieces days weeks
    hours copies_wanted headcount party_size how_many participants_count repetitions attempts times spaces lots
    pairs dozens portions servings cups desks bags miles players members visitors players_count

    colour: hue tint paint tone finish color colour dye pigment ink colouring varnish palette skin coat stain
    fabric_colour wall_colour paintwork light_colour background complexion lacquer tinge hair_colour
    cover_colour

    level: importance severity rank grade status priority level risk danger pressure intensity stage class
    weighting gravity seriousness speed attention emphasis hurry need tier criticality alert degree difficulty
    stress rush_level necessity

    size: format dimension fit size length width height volume scale extent capacity measure measurement
    clothing_size dimensions bulk portion magnitude cut_size shirt_size box_size
    """
)
"""What fields of a kind are called; a kind's values can be told by their form."""
KIND_PHRASES = _phrases(
    """
    person: by {} ; from {} ; owned by {} ; signed {} ; of {} ; that {} has ; with {} ; assigned to {} ;
    on behalf of {} ; asked for by {} ; {} takes care of it ; run by {} ; it is for {} ; {} owns it ;
    {} has it ; handled by {} ; given to {} ; in the name of {} ; made by {} ; kept by {} ; carried by {} ;
    sent by {} ; together with {} ; as {} wished ; {} will be there ; let {} know ; which {} bought ;
    {} being responsible ; brought by {} ; led by {} ; working with {} ; looked after by {}

    place: at {} ; close to {} ; around {} ; over in {} ; towards {} ; by {} ; based in {} ; somewhere in {} ;
    not far from {} ; within {} ; outside {} ; next to {} ; situated in {} ; found in {} ; lying in {} ;
    for people in {} ; beside {} ; arriving in {} ; all over {} ; on the way to {} ; coming from {} ;
    it happens in {} ; up in {} ; we live in {} ; delivered to {} ; staying in {} ; opposite {} ;
    living in {} ; back in {}

    date: before {} ; after {} ; not later than {} ; from {} on ; since {} ; it ends {} ; as of {} ; ending {} ;
    no earlier than {} ; that runs out {} ; lasting to {} ; by {} at the latest ; running to {} ;
    good through {} ; up to {} ; no later than {} ; beginning {} ; it starts {} ; over on {} ; lapsing {} ;
    which ends {} ; through {} ; it stops {} ; works till {} ; planned for {} ; put off to {} ; closing {} ;
    not after {} ; for the whole of {} ; to be done {} ; born {} ; happening {}

    time: from {} ; at about {} ; after {} ; not before {} ; beginning {} ; at {} sharp ; when it is {} ;
    opening at {} ; set for {} ; just after {} ; from {} onwards ; the one at {} ; to begin at {} ;
    by {} sharp ; taking place at {} ; since {} ; at exactly {} ; no later than {} ; before {} ;
    closing at {} ; it opens {} ; towards {} ; some time past {} ; it begins {} ; ringing at {} ;
    leaving at {} ; up at {}

    code: number {} ; see {} ; no. {} ; under {} ; known as {} ; quoting {} ; listed as {} ; which is {} ; nr {} ;
    filed under {} ; identified by {} ; with number {} ; registered as {} ; stamped {} ; which reads {} ; #{} ;
    ({}) ; numbered {} ; file {} ; it says {} ; under the number {} ; that has {} on it ; look up {} ;
    given as {} ; bearing {} ; mine is {} ; the one with {} ; entered as {}

    money: costing {} ; at {} ; paying {} ; it costs {} ; for no less than {} ; billing {} ; priced {} ;
    totalling {} ; that makes {} ; taking {} for it ; spending {} ; asking {} ; worth {} ; earning {} ;
    that is {} ; which comes to {} ; setting them back {} ; and take {} ; it should be {} ; owing {} ;
    with {} to pay ; they want {} ; collecting {} ; giving {} ; for {} ; no more than {} ; adding {} ;
    amounting to {} ; they owe {} ; a matter of {} ; debiting {}

    thing: regarding the {} ; on the {} ; this is for a {} ; along with the {} ; as to the {} ;
    it has to do with the {} ; namely the {} ; including the {} ; touching the {} ; for the {} ; it is the {} ;
    because of the {} ; the {} is meant ; I mean the {} ; it is on account of the {} ; involving the {} ;
    to do with the {} ; as regards the {} ; dealing with the {} ; bringing the {} ; with a {} ; only the {} ;
    to get the {} ; respecting the {} ; our {} it is

    title: which says {} ; with "{}" on top ; under {} ; on {} ; entitled {} ; saying {} ; that reads {} ;
    with the words {} ; topped {} ; called {} ; named {} ; with {} as its name ; beginning {} ; it says {} ;
    known as {} ; printed {} ; that is called {} ; bearing the words {} ; under the name {} ; announced as {} ;
    the one that says {} ; with {} above it ; labelled {} ; described as {}

    email: reach me at {} ; copy {} ; mail goes to {} ; contact {} ; drop a line to {} ; reply to {} ; cc {} ;
    replies go to {} ; post it to {} ; my address is {} ; use {} ; send everything to {} ; to be sent to {} ;
    notify {} ; inform {} ; and let {} know ; by mail to {} ; we read {} ; confirm to {} ; results go to {} ;
    forward it to {} ; I can be written to at {} ; with a copy to {}

    phone: ring {} ; dial {} ; reach us on {} ; text {} ; on the line {} ; phoning {} ; call {} ; on {} ;
    my line is {} ; message {} ; give me a ring on {} ; I pick up on {} ; ask at {} ; reachable on {} ;
    call back on {} ; telephoning {}

    count: with {} in all ; a total of {} ; for {} ; {} altogether ; made out for {} ; making {} ; {} in number ;
    that is {} times ; {} of these ; {} please ; for all {} ; there are {} ; we are {} ; we need {} ;
    it takes {} ; exactly {} ; as many as {} ; up to {} ; {} or so ; no fewer than {} ; we want {} ;
    to hold {} ; with room for {}

    colour: painted {} ; all {} ; it is {} ; rather {} ; preferably {} ; in a {} tone ; dyed {} ; the {} one ;
    coloured {} ; looking {} ; in {} ; something {} ; in {} if possible ; made {} ; turned {} ; {} all over ;
    with {} on it ; finished in {} ; something in {}

    level: this is {} ; rated {} ; it counts as {} ; treat it as {} ; flagged {} ; considered {} ; seen as {} ;
    it is {} ; clearly {} ; handled as {} ; ranked {} ; set to {} ; counted as {} ; that is {} for us ;
    make it {} ; judged {} ; called {} ; put it at {} ; with {} importance ; taken as {}

    size: a {} one ; it is {} ; the {} one ; cut {} ; made {} ; in {} ; something {} ; {} will do ; sized {} ;
    of {} build ; the {} kind ; taking {} ; wearing {} ; fitting {}
    """
)
"""How a person says such a value without naming the field."""
SCHEMA_WORDS = _names(
    """
    schema: type string integer number boolean array items properties required description title format default
    name arguments parameters function tool system user value key label text input output json
    """
)["schema"]
"""What stands in every schema: a field of such a name has to be told from that."""
