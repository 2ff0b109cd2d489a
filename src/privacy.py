"""What leads to a person, in names and messages -> what leads to nobody.

    Redaction    telephone numbers, addresses, links, ... become [phone], [address], [link]
    Pseudonyms   every name becomes another one, everywhere the same
"""
import json
import re
from collections import Counter

import regex

from .console import UserError
from .corpus import caseless, composed
from .words import UNSPACED


class Redaction:
    """Text -> the same without what leads to a person: [email] [link] [account] [card] [address] [phone]. What is dropped is counted.

    Card numbers are told by their check digit (ISO/IEC 7812-1), bank accounts by theirs (ISO 13616, mod 97), telephone numbers by
    how they are grouped, by how they begin, and by the words in front of them; dates, prices, scores and other numbers stay.
    It finds what is written in the usual ways, not everything: read the result before you give it away.
    """
    SUSPECT = re.compile(r'\d|@|://|\w\.\w|[(\[]at[)\]]', re.I)

    def __init__(self):
        self.counts = Counter()
        self._names, self._hidden = {}, 0

    def __call__(self, text):
        """The text without them; `counts` counts."""
        return self._clean(text, self.counts) if self.SUSPECT.search(text) else text

    def name(self, speaker):
        """A speaker's name; where it is a telephone number or an address, `Someone 1`, `Someone 2`, ..."""
        if speaker not in self._names:
            self._names[speaker] = speaker
            if self._clean(speaker, Counter()) != speaker or re.fullmatch(r'Someone \d+', speaker) or NUMBER_ALONE.fullmatch(speaker):
                self._hidden += 1
                self._names[speaker] = f'Someone {self._hidden}'
        return self._names[speaker]

    def rest(self, name):
        """What is left of a speaker's name, '' of a number."""
        return re.sub(r'\[(?:email|link|phone|card|account|address)\]', '', self._clean(name, Counter()))

    @staticmethod
    def _clean(text, counts):
        def hide(kind):
            counts[kind] += 1
            return f'[{kind}]'

        def link(match):
            kept = match[0].rstrip('.,;:!?)\'"*_~]')
            return hide('link') + match[0][len(kept):]

        def account(match):
            cuts = [cut.start() for cut in re.finditer(r'[ -]|$', match[0]) if cut.start() >= 15]
            cut = next((cut for cut in reversed(cuts) if _is_iban(match[0][:cut])), None)       # words may follow it
            return match[0] if cut is None else hide('account') + match[0][cut:]

        def number(match):
            if match['date']:
                return match[0]
            return numbers(match[0], text[max(0, match.start() - 40):match.start()], text[match.end():match.end() + 12])

        def numbers(found, before, after, cuts=0):      # one number, or where it is of no kind several: 0170 1234567 / 0170 1234568
            if len(DIGIT.findall(found)) < 6 or DATE.fullmatch(found):
                return found
            if kind := number_kind(found, before, after):
                opened = found.startswith('(') and ')' not in found
                return '(' * opened + hide(kind)
            for cuts, between in enumerate(BETWEEN[cuts:], cuts + 1):
                ends = [match.span() for match in between(found)]
                if ends:
                    starts, stops = [0] + [end for _, end in ends], [start for start, _ in ends] + [len(found)]
                    parts = [numbers(found[start:stop], before, after, cuts) for start, stop in zip(starts, stops)]
                    return parts[0] + ''.join(found[start:end] + part for (start, end), part in zip(ends, parts[1:]))
            return found

        if '@' in text or ')' in text or ']' in text:
            text = EMAIL.sub(lambda match: hide('email'), text)
        if '.' in text or '://' in text:
            text = LINK.sub(link, text)
        if DIGIT.search(text):
            text = IBAN.sub(account, text)
            text = CARD.sub(lambda match: hide('card') if _is_card(match[0]) else match[0], text)
            text = ADDRESS.sub(lambda match: hide('address'), text)
            text = NUMBER.sub(number, text)
        return text


# ---- what leads to a person, as people write it. Each pattern is linear in the length of the text: none can start inside its own match.

LETTERS = 'A-Za-z\u00aa-\u024f\u0370-\u052f'            # of the scripts that put blanks between words
DIGIT = re.compile(r'\d')
EMAIL = re.compile(rf'(?<![{LETTERS}\d_.+%-])[{LETTERS}\d_.+%-]+(?:@|\s?[(\[](?:at|AT)[)\]]\s?)'
                   rf'(?:[{LETTERS}\d-]+(?:\.|\s?[(\[](?:dot|DOT)[)\]]\s?))+[{LETTERS}]{{2,}}')
IN_LINK = r'[^\s<>"\u3000-\u303f\uff01-\uff0f\uff1a-\uff20]'
LINK = re.compile(                                      # https://..., www..., and bare names under endings that are no words: those that are need a path
    rf'(?<![{LETTERS}\d+.-])[a-z][a-z0-9+.-]{{1,20}}://{IN_LINK}+|(?<![{LETTERS}\d.-])www\.{IN_LINK}+'
    rf'|(?<![{LETTERS}\d_.@-])(?:[{LETTERS}\d-]+\.)+(?:'
    rf'(?:com|org|net|edu|gov|info|biz|app|dev|tv|gl|ly|eu|uk|de|fr|nl|pl|dk|fi|cz|ch|ru|ua|br|jp|cn|kr|tr|gr|hu|ie|nz|com?\.[a-z]{{2}})'
    rf'(?![{LETTERS}\d_-]|\.[{LETTERS}\d])(?::\d+)?(?:[/?#]{IN_LINK}*)?'
    rf'|[a-z]{{2,4}}/{IN_LINK}*[{LETTERS}\d]{IN_LINK}*)', re.I)
IBAN = re.compile(r'(?<![A-Za-z0-9])(?:[A-Z]{2}|[a-z]{2})\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?(?![A-Za-z0-9])')
CARD = re.compile(r'(?<![\d.,])(?:[2-6]\d{3}[ -]?(?:\d{4}[ -]?){2}\d{4}(?:\d{3})?|3[47]\d\d[ -]?\d{6}[ -]?\d{5})(?!\d)')

# 3 May Dr. Smith, 17 March St. Patrick: a day, and then somebody
_DAY, _MONTH = r'(?:0?[1-9]|[12]\d|3[01])', r'(?:0?[1-9]|1[0-2])'
_NO_DAY = (rf'(?!{_DAY} (?:Jan(?:uar[yi]?)?|Feb(?:ruary?)?|M(?:ar|arch|är|ärz|ay|ai)|Apr(?:il)?|Jun[ei]?|Jul[yi]?|Aug(?:ust)?|Sept?(?:ember)?|O[ck]t(?:ober)?'
           r'|Nov(?:ember)?|De[cz](?:ember)?)\.? (?:(?:Frau|Herrn?|Prof)\.? )?(?:Dr|St)\.? \p{Lu})')
# Words between a number and `street`, `road` that make it no address: 20 minutes by road
_NO_STREET = ('of the in on at to from per and or a an by is are was were minute minutes min mins hour hours km miles meters metres people cars more times day days '
              'week weeks year years month months lane way side dead dirt busy long quiet whole other one two big bis ter').replace(' ', '|')
_OF = (r"(?:(?:de las?|de los|del|dell[aeo]|dei|degli|des?|das?|dos?|du|di|all[aeo]|ai|agli|al|aux?|las?|los|el|les?|e|y"
       r"|(?:l|d|dell|all)['’]) ?)")
_HOUSE = r'\d{1,4} ?[a-zA-Z]?\b(?!:|[.,]\d| ?(?:km|Uhr|%|€))'          # a number that counts nothing
_ONE_LETTER = (r'(?:(?<=\b(?i:in|at|to|from|near|post ?code(?: is)?|London|Birmingham|Glasgow|Liverpool|Manchester|Sheffield)[,:]? )[A-Z]'
               r'|[A-Z](?=\d\w? \d\w\w(?! (?!(?:now|then|and|or|is|if|but|please|thanks|by|near|in|at)\b)\p{Ll})))')
_TOWN = r'(?:,? (?:[A-Z]{1,2}-)?\d{4,5} \p{Lu}[\p{L}-]+)?'
ADDRESS = regex.compile('|'.join((
    # 12 Baker Street, 1600 Pennsylvania Ave NW, 5 Elm Court, Apt 4, 350 5th Ave, New York, NY 10118
    rf'(?<![\w.,:/#$€£-]){_NO_DAY}'
    r'\d{1,5}[a-zA-Z]?(?:[-/]\d{1,4}[a-z]?)?,? (?:(?:[NSEW]|North|South|East|West)\.? )?'
    r'(?:(?:\p{Lu}[\w\'’.-]*|\d{1,3}(?:st|nd|rd|th)) ){1,4}'
    r'(?:Street|St|Avenue|Ave|Road|Rd|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Way|Place|Pl|Square|Sq|Terrace|Crescent|Close|Parkway|Highway|Gardens|Grove'
    r'|Mews)\b\.?(?: [NS]?[EW]\b)?(?:,? (?:Apt|Apartment|Unit|Flat|Suite)\.? ?\w{1,5})?'
    r'(?:, \p{Lu}[\p{L}.-]+(?: \p{Lu}[\p{L}.-]+)?,? [A-Z]{2} \d{5}(?:-\d{4})?)?',
    # 221b baker st
    rf'(?<![\w.,:/#$€£-])\d{{1,5}}[a-z]? (?:(?!(?i:{_NO_STREET})\b)[\p{{L}}\'’-]{{2,20}} ){{1,2}}(?:street|st|avenue|ave|road|rd|boulevard|blvd)\b\.?',
    # Lindenstraße 12, hauptstr. 5a, Kerkstraat 12, Storgatan 5; Heideweg 4, 24105 Kiel, Marienplatz 1; Berliner Straße 45
    rf'(?<![\w-])\p{{L}}[\w-]{{1,30}}?(?:stra(?:ß|ss)e|str\.|gasse|straat|gracht|gatan|vägen|(?<![Bb]ri)gade|veien) ?{_HOUSE}{_TOWN}',
    r'(?<![\w-])(?!(?:Park|Sitz|Steh|Stell|Arbeits|Spiel|Tabellen|Lehr|Schlaf)platz)\p{Lu}[\w-]{1,30}?'
    rf'(?:str|platz|allee|weg|ufer|damm|laan|plein|vej|gata|katu|ntie) {_HOUSE}{_TOWN}',
    rf'(?<![\w-])(?:\p{{Lu}}[\w.]{{0,30}}[ -]){{1,3}}(?:Straße|Strasse|Str\.|Allee|Chaussee|Gasse|(?<=er )(?:Platz|Weg|Ring|Damm|Ufer)) {_HOUSE}{_TOWN}',
    # 12 rue de la paix, 3 bis avenue Victor Hugo, 75002 Paris
    rf'(?<![\w.,:/-])\d{{1,4}},? (?:bis |ter )?(?:(?i:rue|boulevard|bd|impasse|chemin|quai)\.? {_OF}{{0,3}}[\p{{L}}\'’-]{{2,30}}'
    rf'|(?i:avenue|av\.|place|square|route|allée|cours) {_OF}{{0,3}}\p{{Lu}}[\p{{L}}\'’-]+)(?:[ -]{_OF}?\p{{Lu}}[\p{{L}}\'’-]*){{0,3}}{_TOWN}',
    # Calle Mayor 5, C/ Alcalá, 20, Via Garibaldi 12, Rua Augusta, 1500
    r'(?<!\w)(?:C/|(?i:calle)|Avenida|Avda\.?|Av\.|Plaza|Paseo|Carrera|Carrer|Via|Viale|Piazza|Corso|Vicolo|Largo'
    r'|Rua|Travessa|Praça|Praceta|Alameda|Estrada|Calçada|Beco) ?'
    rf'{_OF}{{0,3}}\p{{Lu}}[\p{{L}}\'’.-]+(?: {_OF}?\p{{Lu}}[\p{{L}}\'’.-]*){{0,3}},? (?:n[.º°]{{1,2}} ?)?\d{{1,4}}\b(?![:.,]\d| ?(?:h|am|pm|km|Uhr|%|€))',
    # ul. Długa 3, ул. Ленина, 12; Atatürk Caddesi No: 5
    r'(?<!\w)(?i:ул\.|улица|проспект|пр-т|вул\.|вулиця|ulica|ul\.|al\.|aleja|os\.) ?\p{Lu}[\w-]+\.?(?: \p{Lu}[\w-]+){0,2},? '
    r'(?:д\.? ?|дом )?\d{1,4}(?:/\d+)?(?:[а-яa-z]\b)?',
    r'(?<!\w)\p{Lu}\p{L}+ (?:Caddesi|Cad\.|Sokak|Sokağı|Sok\.|Mahallesi|Bulvarı),? (?:No ?[:.]? ?)?\d{1,4}\b',
    # 建国路88号, 渋谷区神南1-2-3
    r'\p{Han}{1,12}(?:路|街|巷|弄|大道|胡同)\d{1,5}(?:号|號|弄)(?:\d{1,4}[号栋楼室单元层-]*){0,3}',
    r'\p{Han}{0,8}[都道府県市区町村]\p{Han}{0,8}\d{1,3}(?:丁目(?:\d{1,3}番?(?:地|\d{1,3}号)?)?|-\d{1,3}-\d{1,3})(?!\d)',
    # SW1A 2AA (no code ends in C I K M O V); E10 5AB, but no E10 5AB fuel; PO Box 123
    rf'(?<!\w)(?!(?:M|PS)\d \d[GT]B)(?:[A-Z]{{2}}|{_ONE_LETTER})\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{{2}}(?!\w)',
    r'(?<!\w)(?i:p\.? ?o\.? box|postfach|postbus|apartado|casella postale) \d{2,7}\b')))

_BLANK, _DASH = r'[ \u00a0\u202f\u2009]', r'[\u2010\u2011\u2013\uff0d-]'
_GAP = r'[ ()/.\u00a0\u202f\u2009\u2010\u2011\u2013\uff0d-]'           # what stands between the digits of a number
_WHOLE = rf'(?:[+＋]|0?0[1-9])(?:{_GAP}{{0,3}}\d){{8}}'                 # how a telephone number begins, and as long as one
DATE = re.compile(rf'(?<!\d)(?<!\d[./-])(?:\d{{4}}[./-]{_MONTH}[./-]{_DAY}|{_DAY}(?P<dot>[./-]) ?{_MONTH}(?P=dot) ?(?:19|20)?\d\d'
                  rf'|{_MONTH}(?P<line>[/-]){_DAY}(?P=line)(?:19|20)?\d\d)(?![./-]?\d)')
NUMBER = re.compile(
    rf'(?P<date>{DATE.pattern})'
    rf'|(?:(?<![{LETTERS}\d_#@=&])|(?<=[#@=])(?<![{LETTERS}\d_/][#@])(?={_WHOLE})|(?<=@)(?<![{LETTERS}\d_]@)(?=\d{{10,15}}(?!\d)))'     # @491701234567
    rf'(?<!\d[.,:/-])[+(＋]{{0,2}}\d(?:{_GAP}{{0,3}}\d){{5,}}(?: ?(?:ext\.? ?|x)\d{{1,5}})?(?![{LETTERS}\d_]|:\d)')
NUMBER_ALONE = re.compile(r'\W*\d(?:\W{0,3}\d){5,}\W*')

_PHONE_WORDS = re.compile(r'(?:\b(?:tele?(?:phone|fono?|fon)?|phone|mobile?|handy|cell(?:ulare)?|call|text|whatsapp|sms|numbers?|nummer|nr'
                          r'|numéro|número|numero|m[oó]vil|téléphone|teléfono|телефон|тел|номер)\b|电话|手机|号码|號碼|電話|番号|전화|번호|هاتف|رقم|טלפון)[^\d\n]{0,20}$', re.I)
_ACCOUNT_WORDS = re.compile(r'(?:\b(?:accounts?|acct|konto(?:nummer)?|kontonr|iban|compte|cuenta|conta|conto|rekening|sort ?code|routing|bsb'
                            r'|ssn|passport|сч[её]т|сч[её]та)\b|账号|账户|口座|계좌)[^\d\n]{0,25}$', re.I)
YEAR = re.compile(r'(?:19|20)\d\d')
HOURS = re.compile('T ?- ?T(?: T ?- ?T)*'.replace('T', r'(?:[01]\d|2[0-4])[0-5][05]'))           # 0900-1700
_MONEY_BEFORE = re.compile(r'(?:[$€£¥₹₽₺₩]|\b(?:usd|eur|gbp|chf|rs|inr))\.? ?$', re.I)
_COUNTED = re.compile(r' ?(?:[$€£¥₹₽₺₩%‰°]|(?:euros?|eur|usd|dollars?|bucks|pounds|kr|zł|руб\w*|chf|yen|won|km|kg|m|people|times|steps|views|years'
                      r'|jahre|円|元|원|人|次)\b)|,\d', re.I)
ACCOUNT = re.compile(r'\d{3}-\d\d-\d{4}|\d{3}\.\d{3}\.\d{3}-\d\d|\d\d-\d\d-\d\d \d{8}')                  # SSN; CPF; sort code and account
PHONE = re.compile('|'.join((
    r'(?:1[ .-]?)?\(?[2-9]\d\d\)?[ .-]{0,2}[2-9]\d\d[ .-]\d{4}',                                         # (555) 234-5678
    r'[2-9]\d\d-\d\d(?!00|50)\d\d',                                                                       # 555-2345
    r'[5-9]\d\d([ -])\d{3}\1(?!000)\d{3}',                                                                # 612 345 678
    r'[6-9]\d\d(?: \d\d){3}',                                                                             # 612 34 56 78
    r'[78][ -]?\(?\d{3}\)?[ -]?\d{3}[ -]\d\d[ -]\d\d',                                                    # 8 (912) 345-67-89
    r'[689]\d{3}[ -](?!\d\d00)\d{4}',                                                                     # 9123 4567
    r'\(\d{2,5}\) ?\d[\d -]{4,}\d')))                                                                     # (11) 91234-5678


def _next_numbers(found):
    """The blanks behind which the next number begins, as 0171 does in 0170 1234567 0171 7654321."""
    start, n, at = 0, 0, 0                              # of the number so far: where it starts, its digits up to `at`
    for blank in re.finditer(_BLANK, found):
        n, at = n + len(DIGIT.findall(found, at, blank.start())), blank.end()
        if found[start] == found[at] == '0' and n >= 8 or blank.start() - start <= 20 and PHONE.fullmatch(found, start, blank.start()):
            yield blank
            start, n = at, 0


# What may stand between two numbers, what parts them most first.
BETWEEN = [*(re.compile(between).finditer for between in (
    rf'{_BLANK}?{DATE.pattern}{_BLANK}?', rf'{_BLANK}(?:/|{_DASH}){_BLANK}?|(?:/|{_DASH}){_BLANK}', rf'\.{_BLANK}', '/', rf'{_BLANK}(?=\()')),
    _next_numbers, *(re.compile(between).finditer for between in (_BLANK, _DASH))]


def number_kind(found, before, after):
    """What a number of six digits or more is: 'phone', 'account', or None for one that leads to nobody. before, after: what stands around it."""
    found = re.sub(r'[\u00a0\u202f\u2009]', ' ', re.sub(r'[\u2010\u2011\u2013\uff0d]', '-', found))
    found = re.sub(r'\d', lambda digit: str(int(digit[0])), re.sub(r' ?[ex].*', '', found))             # ٣ is 3
    groups = re.findall(r'\d+', found)
    digits = ''.join(groups)
    n, longest, parted = len(digits), max(map(len, groups)), len(groups) > 1
    steps = {int(b) - int(a) for a, b in zip(groups, groups[1:])} if longest < 3 and len(groups) > 3 else ()
    told, round_numbers = bool(_PHONE_WORDS.search(before)), parted and all(int(group) % 50 == 0 for group in groups)
    if ACCOUNT.fullmatch(found) or _ACCOUNT_WORDS.search(before):
        return 'account'
    if len(set(digits)) == 1 or digits in '01234567890123456789' or n < 10 and digits in '9876543210':
        return None                                     # 1111111, 123456789: nobody's
    if before.endswith('@'):                            # WhatsApp's mention of somebody
        return 'phone'
    if found.startswith(('+', '(+', '＋')) or re.match(r'00[1-9]', digits):
        return 'phone' if 7 <= n <= 17 and (told or n >= 10 or not digits.endswith('000')) else None
    if (_MONEY_BEFORE.search(before) or _COUNTED.match(after)) and not digits.startswith('0'):
        return None
    if all(YEAR.fullmatch(group) for group in groups) or _is_day(digits) and len(groups[0]) in (8, 12, 14):
        return None
    if PHONE.fullmatch(found):
        return 'phone'
    if told and 7 <= n <= 15 and longest > 1 and not (len(groups) > 4 and steps and min(steps) > 0 and found[0] != '0'):     # 3 17 22 28 41 49
        return None if digits.endswith('000') and (round_numbers or re.fullmatch(r'\d\d?0+|\d{1,3}(?:\.\d{3})+', found)) else 'phone'
    if len(steps) == 1 or HOURS.fullmatch(found):       # 01 02 03 04 05
        return None
    if digits.startswith('0'):
        return 'phone' if 8 - parted <= n <= 15 and (longest > 2 or n == 10 and longest == 2) and not re.match(r'0[.]\d', found) else None
    if not parted:
        return None if n < 9 or digits.endswith('000') else 'phone' if n <= 15 else 'account'
    if n > 15:
        return 'account' if n < 35 and min(map(len, groups[:-1])) >= 4 and not round_numbers else None
    ordinary = (re.search(r'[./]', found) or n == 13 and digits.startswith(('978', '979')) or re.fullmatch(r'\d{1,3}(?: \d{3})+', found)
                or all(int(group) % 50 == 0 for group in groups if len(group) > 2))
    return 'phone' if n >= 9 and longest >= 4 and len(groups) <= 5 and not ordinary else None


def _is_day(digits):
    """20240531, 31052024, and with a time behind."""
    return bool(re.match(r'(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])|(?:0[1-9]|[12]\d|3[01])(?:0[1-9]|1[0-2])(?:19|20)\d\d$', digits))


def _is_iban(text):
    text = re.sub('[ -]', '', text).upper()
    return 15 <= len(text) <= 34 and int(''.join(str(int(c, 36)) for c in text[4:] + text[:4])) % 97 == 1


def _is_card(text):
    """Whether the check digit is right, and the groups are not four years, or four round numbers."""
    digits, groups = re.sub(r'\D', '', text), re.split('[ -]', text)
    if groups[1:] and (all(YEAR.fullmatch(group) for group in groups) or all(int(group) % 50 == 0 for group in groups)):
        return False
    return len(set(digits)) > 1 and sum(int(d) if i % 2 == 0 else sum(divmod(2 * int(d), 10)) for i, d in enumerate(reversed(digits))) % 10 == 0


class Pseudonyms:
    """Every part of a speaker's name -> an invented one, in names and wherever a message has the word: `key`, {part: pseudonym}.

    First parts become first names, later parts last names, so that two people called Theo still share their first name. In scripts
    without blanks between words a name is found within them. Not found: nicknames, misspelt names, names with an ending but -s.

    Some names are words too. Of these the following stay:

        written small: WORDS, and what the texts use as a word (`weigh`), behind `the` or `my` one time in five; so names of WORDS that
                       chatters write small are not found
        with a capital: last parts that stand behind `mein` as often (Mama Handy: mein Handy)
        function words (Can, Al; NAMES_TOO get a pseudonym only where they begin a speaker's name): at the start of a sentence and all in
                       capitals, if the texts write them small more often than with a capital elsewhere (`Can you come?`), unless what
                       follows shows the name (`Can, come!`, `Can's`, `Can Demir`)
    """
    FIRST = ('Alex Robin Sam Kim Charlie Jamie Morgan Riley Quinn Casey Avery Rowan Taylor Jordan Skyler Eden Remy Noor Sasha Toni '
             'Micah Jules Lou Parker Harper Emery Finley Reese Sage Blair Dana Drew Ellis Frankie Hollis Indigo Kit Lane Marlow Nico').split()
    LAST = ('Moss Reed Hale Brook Vale Lark Stone Fern Marsh Wells Birch Frost Field Heath Ford Dale Ash Wren Holt Thorn '
            'Glen Pike Rowe Sutton Tate Underhill Vance Wilder York Abbott Bell Carver Dunn Ellery Fox Gray Hart Ives Kerr Lowe').split()
    # names that are also words: written small, they are left alone
    WORDS = frozenset('will mark may rose grace hope bill art faith joy dawn june april august rich jack frank pat sue drew chase hunter sunny '
                      'summer autumn love young long white black brown green gray king bishop page day best good more little small strong wise '
                      'rice wood woods stone field fields hill west east north south mom mum dad angel bell bush cook fox hall hand hart '
                      'boss baby papa mama sky star moon sun pizza taxi home work phone klein gross lang kurz wolf winter sommer engel '
                      'gym car auto handy office school uni club bar shop luz sol mar flor cielo al bin can di du el le lui mac van'.split())
    # parts of names, and names, that are nobody's own: they stay
    NOBODYS = frozenset('van von der den de del della di da dos du la le les el al bin ibn ben abu zu zur zum und and the of mac mc st mr mrs ms dr prof sir '
                        'i me you he she it we they us my your his her who not are was but all can had him how now new old see has did its let say too '
                        'use ich du er sie wir ihr es je tu il elle yo tú io lui lei '
                        'user users human assistant system bot gpt speaker listener poster replier someone somebody unknown anonymous '
                        'deleted account facebook instagram whatsapp telegram discord member guest admin from with mit everyone alle todos tous tutti'.split())
    NAMES_TOO = frozenset('abu al ben bin can della di du el le lui mac van'.split())            # of NOBODYS
    STARTERS = frozenset('bin can du lui'.split())      # begin sentences so often that they do where the texts do not tell
    STARTS = re.compile(r'(?:^|[.!?…\n])[^\w@#,]*$')
    SHOWN = re.compile(r"['’]s\b|\s*(?:[^\w\s'’]|$)")
    # articles and the like that names do not have: not der, la, o, which they have here and there
    DETERMINER = re.compile(r'\b(?:the|my|your|his|our|their|this|un|una|une|mon|uno|mio|uma|meu|minha'
                            r'|ein|eine[nmr]?|kein|keine[nm]?|mein|meine[nm]?|dein|deine[nm]?) +$', re.I)
    WORD = regex.compile(rf'(?V1)[\p{{L}}--[{UNSPACED}]][[\p{{L}}\p{{M}}\u200c\u200d]--[{UNSPACED}]]*')
    PART = regex.compile(rf'{WORD.pattern}|[{UNSPACED}]+')

    def __init__(self, key=None):
        """key: that of an earlier import, so that the same people get the same pseudonyms."""
        self.key = dict(key or {})
        self._small, self._capital, self._common, self._things = Counter(), Counter(), set(), set()     # see `weigh`
        self._index()

    def learn(self, names):
        """Take these people's names into the key."""
        names = [composed(name.partition('@')[0] or name) for name in names if name]
        parts = {name: self.PART.findall(name) for name in names}
        used = {new.casefold() for new in self.key.values()}
        taken = used | {caseless(part) for found in parts.values() for part in found}        # nobody gets the name of somebody
        for name in names:
            for i, part in enumerate(parts[name] or [name]):
                if caseless(part) not in self._by_word and self._is_own(parts[name] or [name], i):
                    pool = self.FIRST if i == 0 else self.LAST
                    new = next((new for new in pool if new.casefold() not in taken), None)
                    number = len(used)
                    while new is None or new.casefold() in taken:
                        new, number = f'{pool[number % len(pool)]}{number}', number + 1
                    taken.add(new.casefold())
                    used.add(new.casefold())
                    self.key[part] = self._by_word[caseless(part)] = new
        self._index()

    def _is_own(self, parts, i):
        """Whether part i of a name gets a pseudonym: neither the `from` of Ben from Gym nor the `van` of Ludwig van Beethoven."""
        part, folded = parts[i], caseless(parts[i])
        between = part.islower() and any(other[0].isupper() for other in parts[1:])
        if folded in self.NOBODYS:
            return i == 0 and folded in self.NAMES_TOO and not between and (folded != 'du' or len(parts) > 1)      # Du: who exported
        return i == 0 or len(part) > 1 and not between

    def weigh(self, texts):
        """See in all texts which parts of names are common words there. Call it when all names are learnt."""
        words, mine, others = 0, Counter(), Counter()   # behind a determiner, small and with a capital
        for text in texts:
            found = self.WORD.findall(text)
            words += len(found)
            if self._by_word.keys().isdisjoint(map(str.casefold, found)):
                continue
            for match in self.WORD.finditer(text):
                word, before = match[0].casefold(), text[max(0, match.start() - 10):match.start()]
                if word not in self._by_word or len(word) > 1 and match[0].isupper():
                    continue
                small = match[0].islower()
                if small or not self.STARTS.search(before):
                    (self._small if small else self._capital)[word] += 1
                    (mine if small else others)[word] += bool(self.DETERMINER.search(before))
        self._common = {word for word, n in self._small.items() if mine[word] > 2 and 5 * mine[word] >= n
                        or word in self.NAMES_TOO and n >= 50 and 200 * n > words}              # Ben: ik ben
        self._things = {word for word, n in self._capital.items() if others[word] > 2 and 5 * others[word] >= n
                        and re.sub(r'\d', '', self._by_word[word]) in self.LAST}        # Mama Handy: mein Handy

    def _index(self):
        """What is looked for in texts."""
        self._by_word = {caseless(part): new for part, new in self.key.items()}
        within = {}                                     # parts that are found within a run of letters or digits
        for part, new in self.key.items():
            if regex.fullmatch(rf'[{UNSPACED}]+', part):
                halves = [part[:2], part[2:]] if len(part) == 4 else [part[1:]] if len(part) == 3 else []      # 山田 太郎; 김 민수
                for name in [part] + (halves if regex.fullmatch(r'\p{Han}+|\p{Hangul}+', part) else []):
                    if len(name) > 1:
                        within.setdefault(name, new)
            elif len(digits := ''.join(re.findall(r'\d', part))) >= 5:
                within[part] = new
                if part.startswith('+'):                # WhatsApp writes @491701234567 for the person called +49 170 1234567
                    within.update({digits: new, '+' + digits: new})
        self._within, self._inside = within, None
        if within:
            names = '|'.join(regex.escape(name) for name in sorted(within, key=lambda name: (-len(name), name)))
            # numbers and katakana end where they end; Korean names begin where a word begins
            self._inside = regex.compile(rf'(?<!\d(?=\d)|\p{{Katakana}}(?=\p{{Katakana}})|\p{{Hangul}}(?=\p{{Hangul}}))(?:{names})'
                                         r'(?!(?<=\d)\d|(?<=\p{Katakana})[\p{Katakana}ー])')

    def name(self, name):
        """A speaker's name. One that is nobody's own (`Me`, `Speaker`) stays as it is."""
        name = composed(name)
        if not self.PART.search(name):
            return self._by_word.get(caseless(name), name)
        return self.PART.sub(lambda match: self._new(match[0]) or match[0], name)

    def __call__(self, text):
        """A message with the names in it replaced."""
        if self._inside and (not text.isascii() or DIGIT.search(text)):
            text = self._inside.sub(lambda match: self._within[match[0]], text)
        return self.WORD.sub(self._word, text)

    def _new(self, word):
        """The pseudonym of a part of a name, in the case of the word; None where it has none."""
        new = self._by_word.get(word.casefold() if word.isascii() else caseless(word))
        return new and (new.lower() if word.islower() else new.upper() if len(word) > 1 and word.isupper() else new)

    def _word(self, match):
        word = match[0]
        new, ending = self._new(word), ''
        if new is None and word[-1] in 'sS':            # of Theo's: Theos
            word, ending = word[:-1], word[-1]
            new = word and self._new(word)
        if new is None and word[-3:] == 3 * word[-1:]:  # Theooo
            stem, drawn, ending = word.rstrip(word[-1]), word[-1], ''
            word = stem + drawn if self._new(stem + drawn) else stem + 2 * drawn
            new = self._new(word)
        if not new or len(word) < 2 or self._is_word(word, match):
            return match[0]
        return new + ending

    def _is_word(self, word, match):
        """Whether a part of a name is the word and not the name where `match` has it."""
        folded, text, start, end = caseless(word), match.string, match.start(), match.end()
        if word.islower():
            return word in self.WORDS or folded in self._common
        if folded not in self.NAMES_TOO:
            return folded in self._things
        if word != match[0] and word.lower() in self.WORDS:             # Als, Les, Vans
            return True
        if self._small[folded] + (folded in self.STARTERS) <= self._capital[folded]:
            return False
        if word.isupper():
            return True
        following = self.WORD.match(text, end + 1)
        named = self.SHOWN.match(text, end) or following and following[0][0].isupper() and self._new(following[0])
        return bool(self.STARTS.search(text[max(0, start - 10):start])) and not named

    @classmethod
    def read(cls, path):
        """The Pseudonyms of a key file."""
        try:
            with open(path, encoding='utf-8') as file:
                key = json.load(file)
            if not isinstance(key, dict) or not all(isinstance(value, str) for value in key.values()):
                raise ValueError
        except ValueError:
            raise UserError(f'{path} is no key of pseudonyms ({{"Theo": "Alex", ...}}): name another file to write.') from None
        return cls(key)
