"""Threads become conversations: what is chosen, what counts twice, where a conversation ends, what is taken out, how it is divided."""
import collections
import itertools
import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import corpus
from src.console import UsageError, UserError
from src.corpus import HOUR, Aliases, Builder, Division, Duplicates, Names, Pseudonyms, Redaction, Selection
from src.dialogue import Conversation, Turn
from src.readers import Thread

often = settings(deadline=None, derandomize=True, max_examples=200)

# ---- redaction: [what must go, in its sentence] and [what must stay]

GO = """
    phone | call me: {+49 170 1234567}
    phone | {+1 (555) 010-4477}, ask for Jo
    phone | {+4366012345678}
    phone | {0049 30 123456}
    phone | {0170 1234567} or {0171/7654321}
    phone | {0170-123 45 67}!
    phone | {(030) 901820}
    phone | {030/901820-12}
    phone | {06 12 34 56 78}
    phone | {06.12.34.56.78}
    phone | {06-12345678} bellen
    phone | {070-123 45 67}
    phone | {079 123 45 67}
    phone | {07700 900123}
    phone | {020 7946 0018}
    phone | {555-234-5678}
    phone | {555.234.5678}
    phone | {555 234 5678}
    phone | {(555) 234-5678}
    phone | {1-800-555-0199}
    phone | {555-234-5678 ext. 12}
    phone | it was {555-2368}
    phone | {5552345678}
    phone | {612 345 678}
    phone | {612 34 56 78}
    phone | {612345678}
    phone | {912 345 678}, liga-me
    phone | {501-234-567}
    phone | {8 (912) 345-67-89}
    phone | {8 912 345 67 89}
    phone | {(11) 91234-5678}
    phone | {98764 43215}
    phone | {9123 4567}
    phone | {138 1234 5678}
    phone | 我的电话{13812345678}，谢谢
    phone | {090-1234-5678}に電話して
    phone | {010-1234-5678}로 전화해
    phone | {۰۹۱۲ ۳۴۵ ۶۷۸۹}
    phone | رقمي {٠١٠١٢٣٤٥٦٧٨}
    phone | my number is {91234567}
    phone | tlf nummer {22 34 56 78}
    phone | on 31.12.2024 call {0170 1234567}
    phone | Tel.:{030 1234567}
    phone | {+49\u00a0170\u202f1234567}
    phone | {+44‑20‑7946‑0018}
    phone | ({0170 1234567})
    phone | hi @{491701234567}, and you?
    phone | @{491701235000} @{12025550142}
    phone | @{+49 170 1234567}
    phone | #{07700900123}
    phone | number={07700900123}
    phone | tel={+49 170 1234567}
    phone | {+91 98765 43210} / {9876543210}
    phone | {0176 1234567} - {0176 1234568}
    phone | {020 7946 0000} / {020 7946 0001}
    phone | {07700900123}/{07700900456}
    phone | {01761234567} {01769876543}
    phone | {01761234567}-{01769876543}
    phone | {0170 1234567} {0171 7654321} {0172 1111222}
    phone | {06 12 34 56 78} {06 87 65 43 21}
    phone | {020 7946 0958} {020 7946 0999}
    phone | {555 234 5678} {555 765 4321}
    phone | {06 12 34 56 78} ({06 98 76 54 32})
    phone | {06.12.34.56.78} / {06.98.76.54.32}
    phone | {+44 7700 900123} / {07700 900124}
    phone | {555-234-5678}/{555-234-5679}
    phone | {(030) 1234567} / {(030) 1234568}
    phone | {0176 1234567} – {0176 1234568} – {0176 1234569}
    phone | 12.03. {0176 1234567}
    phone | {0176 1234567} 12.03.2024
    phone | {0176 1234567} / 2019-2020
    phone | my number is {13812345000}
    phone | call {5552345000}, or tel {2345000}
    phone | call {20 30 40 50}, tel {33 6 12 34 56 78}
    phone | call {0900-1700}
    email | mail {mara.lind@example.com}.
    email | {theo+chats@mail.example.co.uk}
    email | ({a_b%c-d@x.io})
    email | 我的邮箱{mara@example.com}谢谢
    email | {jörg.müller@bücher.example}
    email | {mara (at) example (dot) com}
    email | {мария@почта.рф}
    link | look: {https://example.com/a?b=c#d}.
    link | {http://10.0.0.1:8080/x}
    link | ({https://example.com/a(b)c}), good
    link | {www.example.org/path}!
    link | {ftp://files.example/x}
    link | {spotify://track/12}
    link | see {example.com}, thanks
    link | {sub.example.co.uk/x}
    link | {youtu.be/dQw4w9}
    link | {t.me/mara_l}
    link | {müller.de}
    link | 看{https://example.cn/a}。好
    card | {4111 1111 1111 1111}
    card | {4111111111111111}, 12/26
    card | {5500-0000-0000-0004}
    card | {3782 822463 10005}
    card | {4000 0000 0000 0002}
    account | {DE89 3704 0044 0532 0130 00}
    account | {de89370400440532013000}
    account | {GB29 NWBK 6016 1331 9268 19}
    account | {BE68 5390 0754 7034} please
    account | {NO9386011117947}
    account | {FR14 2004 1010 0505 0001 3M02 606}
    account | SSN {123-45-6789}
    account | {123.456.789-09}
    account | account number {12345678}
    account | Kontonummer: {1234567}
    account | {1234 5678 9012 3456 7890}
    address | {12 Baker Street}
    address | {221b Baker St.}, come up
    address | {1600 Pennsylvania Avenue NW}
    address | {742 Evergreen Terrace}
    address | {10 St. James's Square}
    address | we are at {42 elm street} now
    address | {5 Elm Court, Apt 4B}
    address | {350 5th Ave, New York, NY 10118}
    address | {SW1A 2AA}
    address | {B33 8TH}, {EC1A 1BB} and {CR2 6XH}
    address | I live in {E10 5AB} now
    address | my postcode is {N1 9GU} ok
    address | {12 May St}, Boston, not {45 May St.} Louis
    address | {PO Box 1234}
    address | {Lindenstraße 12}
    address | {Lindenstr. 12a}
    address | {lindenstrasse 12}
    address | {Heideweg 4, 24105 Kiel}
    address | {Berliner Straße 45}
    address | {Karl-Marx-Allee 34}
    address | {Marienplatz 1}
    address | {Keizersgracht 123}
    address | {Kerkstraat 12}
    address | {Storgatan 5}
    address | {Vesterbrogade 10}
    address | {12 rue de la Paix}
    address | {12 rue de la paix} ce soir
    address | {3 bis avenue Victor Hugo}, code 12
    address | {Calle Mayor 5}
    address | {C/ Alcalá, 20}
    address | {Avda. de la Constitución, 12}
    address | {Via Garibaldi 12}
    address | {Piazza del Popolo 3}
    address | {Rua Augusta, 1500}
    address | {Rua das Flores 12}
    address | {Avenida das Américas, 500}
    address | {Praceta das Rosas e Lírios 4}
    address | {Estrada da Luz 50}
    address | {Calle los Olivos 5}
    address | {Calle Ramón y Cajal 3}
    address | {Carrer de la Pau 12}
    address | {Via degli Ulivi 12}
    address | {Via dello Statuto 3}
    address | {Via alla Porta 4}
    address | {Via ai Monti 2}
    address | {12 rue aux Ours}
    address | {ul. Długa 3}
    address | {ул. Ленина, 12}
    address | {Atatürk Caddesi No: 5}
    address | {建国路88号}
    address | 住所は{東京都渋谷区神南1-2-3}です
"""

STAY = """
    10 000 000 20 000 000 30 000 000
    02 03 04 05 06 07 08 09 10 11 12
    3.14159 2.71828 1.41421 0.57721
    2024-05-31 | 31.05.2024 | 31/5/24 | 5/31/2024 | 31-05-2024 18:30 | 2024-05-31 18.30 | 20240531 | 31052024
    20240531 10:30 | 31. 12. 2024
    2019-2023 | 2019/2020/2021 | 1914-1918 1939-1945 | the years 2019 2020 2021 | 2023/24 | born 1987, 1989 and 1990
    2019/2020 | 10-12 | 12.03. - 15.03.2024 | 06.05.2021-08.05.2021 | 06.05.2021 - 08.05.2021 / 09.06.2021 | 2019/2020 - 2023/2024 | 100-200 / 300-400
    1.500.000/2.000.000 | 5.000.000 - 6.000.000 | 12 500 000 - 13 500 000 kr | 302-1234567-1234567 | 08.30-12.45 13.15-17.00 | 21-19 / 21-17 / 15-21
    2010 2014 2018 2022 | 1998 2002 2006 2010 | the world cups 2006 2010 2014 2018 | 1000 2000 3000 4000 | 2000 2500 3000 3500
    10000 12500 15000 17500 | score 1000 1500 2000 2500 | numbers 1000 2000 3000 | number 1000000 | numero 1.500.000
    weeks 01 02 03 04 05 | lotto numbers 3 17 22 28 41 49 | open 0900-1700 mo-fr | 0900-1200 1300-1700
    appointment on 3 May Dr. Smith | Am 3 Mai Dr Meier | on 17 March St. Patrick | on 5 January Prof. Dr. Meier
    B12 3CD vitamins | E10 5AB fuel | M3 4GB ram | Macbook M1 8GB | PS5 2TB
    10:30 | 10.30-12.45 | 10:30-12:45 | 18h30 | 7:45 - 8:15 Uhr | at 10:30:15.250 | 10.30-12.45 14.00-15.30
    room 12 at 10:30
    1,000,000 | 1.000.000 | 1 000 000 | 1 234 567,89 | 1.299.000 € | $1,250.50 | €12500000 | 12 500 000 kr | 1000000
    10000000000 | 123456789 km | £1234567890
    3-2 | 21-19 21-17 15-21 | 6-4 6-3 7-6 | 123-119 98-104 | 0:0 | 100-98 | 24/7 | 9/11 | 50/50
    1.2.3 | v2.10.14 | 3.11.0-rc1 | Python 3.12.4 | 192.168.0.1 | iOS 17.4.1 | 10.0.19045.4291
    3.14159265358979 | 0.1234567 | 52.520008 | 2.718281828 | 1e10 | 1234567
    1 2 3 4 5 6 7 8 9 10 | 10 20 30 40 50 60 | 100 200 300 400 | 10-20-30 | 1111111 | 000000000 | 123456789 | 1234567890
    0123456789 | 987654321
    1500-2000 kcal | 12000-13500 steps | 10000-15000 | 1920x1080 | 3840 x 2160 | ISBN 978-3-16-148410-0
    5,000,000 people | 200-300 km | LH 1234 | 1000 2000 3000
    :) | :-) | ;) | ^_^ | <3 | 8) | :3 | xD | ¯\\_(ツ)_/¯ | 👍🏽 | 1️⃣ 2️⃣ 3️⃣ | 👨‍👩‍👧 | 🇩🇪 | (◕‿◕) | @_@ | o.O | -.- | T_T
    @mara | @ home | 2@9.99 | 3 @ 4.50 | me@ | #1234567 | e.g. | i.e. | U.S.A. | node.js | README.md | main.py
    report.pdf | Dr.Who | ok...fine | hm.so | late.it was | home.me too | wait.in | no.at all | either/or | and/or
    #123456789012 | #00112233 | #07700900a1 | #20240531 | page#07700900123 | id=4915123456789 | x=0.1234567891 | @2024 | @123456
    10 minutes drive | 5 people on the road | 2 lane road | 20 minutes by road | I am 3 streets away | 1st place
    2 times a day way | the 3 of them close | 100 metres road | 4 big roads
    Via alle 10 | Rua das 10 às 12 | via per Milano 5 | Via al 5 | Largo e alto 5
    via Zoom at 10 | Via Skype um 10 Uhr | plaza at 10 | bring 5 beers | während 5 Tagen | unterwegs 3 Stunden
    Parkplatz 12 | im Januar 2024 | am Samstag 10 Uhr | Platz 3 | auf dem Weg 5 km
    Brigade 3 | il reste 3 places | 2 cours de maths | 12 rues | la calle tiene 5 casas | Mara Winter | ab 12
    no12 this that what | 第3回 | 2024年5月31日 | 3月12日 | 10点30分 | 100元 | 5000000人 | ٣١/٥/٢٠٢٤ | ١٠:٣٠ | à 18h | 25 %
    37.2 °C | 2/3 | ½
"""

GO = [tuple(part.strip() for part in line.split('|')) for line in GO.strip().split('\n')]
STAY = [thing.strip() for line in STAY.strip().split('\n') for thing in line.split(' | ')]


@pytest.mark.parametrize('kind, sentence', GO)
def test_what_leads_to_a_person_goes(kind, sentence):
    assert Redaction()(sentence.replace('{', '').replace('}', '')) == re.sub('{.*?}', f'[{kind}]', sentence)


@pytest.mark.parametrize('text', STAY)
def test_what_leads_to_nobody_stays(text):
    redaction = Redaction()
    assert redaction(text) == text and redaction(f'so {text} then') == f'so {text} then' and not redaction.counts


def test_the_tables_are_large():
    assert len(GO) >= 60 and len(STAY) >= 60


def test_what_goes_is_counted_and_what_stands_around_it_stays():
    redaction = Redaction()
    text = 'on 31.12.2024 at 18:30, 0170 1234567 or mara@example.com :-) 3-2, see https://example.com/x, 12 Baker Street'
    assert redaction(text) == 'on 31.12.2024 at 18:30, [phone] or [email] :-) 3-2, see [link], [address]'
    assert redaction.counts == {'phone': 1, 'email': 1, 'link': 1, 'address': 1}
    assert redaction(redaction(text)) == redaction(text)


@pytest.mark.parametrize('piece', ['7', 'a.', '@', '1 ', 'a@', 'a-', 'A.', '.', '1.', '1-', '(1', '+1', 'a@a.', 'AB12', '1 A ', 'Aa ', '市', '市1', '路1', 'https://', 'www.', 'der ',
                                   '1 rue de ', '12 della', 'Via del ', 'Rua das ', 'Via e ', '0170 ', '4111 1111 ', 'tel ', ') ', '\u0663', '١ ',
                                   '1 / ', '1/', '12.03. ', '1.1.2024 ', '1 (1', '0170 1234567 / ', '0170 1234567 ', '07 '])
def test_long_messages_take_no_longer_than_many_short_ones(piece):
    for text in (piece * (100_000 // len(piece)), piece * (100_000 // len(piece)) + 'x', 'http://' + piece * (100_000 // len(piece)) + '!'):
        start = time.process_time()
        Redaction()(text)
        assert time.process_time() - start < 20, piece      # 3 at most on a slow machine; squared, minutes


def test_speakers_who_are_numbers():
    redaction = Redaction()
    names = ['Mara', '+49 170 1234567', 'mara@example.com', '+49 170 1234568', 'Someone 1', '123456', 'Theo 2', 'R2-D2', '🌸']
    assert [redaction.name(name) for name in names] == ['Mara', 'Someone 1', 'Someone 2', 'Someone 3', 'Someone 4', 'Someone 5', 'Theo 2', 'R2-D2', '🌸']
    assert redaction.name('+49 170 1234567') == 'Someone 1' and not redaction.counts


@often
@given(st.text(st.sampled_from('0123456789 .,-/()+@:ab№٣é市\n€#_'), max_size=60))
def test_whatever_is_written_lines_stay_lines(text):
    once = Redaction()(text)
    assert once.count('\n') == text.count('\n')


# ---- pseudonyms

def pseudonyms(*names):
    new = Pseudonyms()
    new.learn(names)
    return new


def test_names_are_replaced_the_same_way_everywhere():
    new = pseudonyms('Theo Lang', 'Mara', 'Theo')
    theo, lang, mara = (new.key[name] for name in ('Theo', 'Lang', 'Mara'))
    assert len({theo, lang, mara}) == 3
    assert new.name('Theo Lang') == f'{theo} {lang}' and new.name('Theo') == theo
    assert new('Theo! theo? THEO... @theo #Theo theo_93 Theo-ish (Theo) "Theo" Theo\'s Theo’s Theos') == (
        f'{theo}! {theo.lower()}? {theo.upper()}... @{theo.lower()} #{theo} {theo.lower()}_93 {theo}-ish ({theo}) "{theo}" {theo}\'s {theo}’s {theo}s')
    assert new('Theodor, theology, Marathon, Langley, slang') == 'Theodor, theology, Marathon, Langley, slang'
    assert new('Theoooo maraaa') == f'{theo} {mara.lower()}'


def test_one_person_in_two_cases_is_one_name():
    new = pseudonyms('Theo', 'theo', 'THEO')
    theo = new.key['Theo']
    assert list(new.key) == ['Theo'] and new('Theo theo THEO') == f'{theo} {theo.lower()} {theo.upper()}'
    assert len({new.name(name) for name in ('Theo', 'theo', 'THEO')}) == 3              # still three speakers


@pytest.mark.parametrize('name, text, gone', [
    ('Jörg Müller', 'jörg, MÜLLERS Haus', 'jörg müller'), ('José', 'Jose\u0301 y JOSÉ', 'jos'), ('Anne-Marie', 'Anne, Marie, anne-marie', 'anne marie'),
    ("Tadhg O'Brien", "O'Brien's, Tadhg", 'brien tadhg'), ('मीरा', 'मीरा, तुम मीराs', 'मीरा'), ('Мара', 'Мара, мара!', 'мара'), ('Ελένη', 'ΕΛΈΝΗ ελένη', 'ελένη'),
    ('山田太郎', '山田太郎さん、山田さん、太郎', '山田 太郎'), ('山田 太郎', '昨日山田さんと太郎が', '山田 太郎'), ('王小明', '小明你好，王小明', '小明'), ('김민수', '민수야 김민수씨', '민수'),
    ('タロウ', 'タロウと', 'タロウ'), ('สมชาย', 'คุณสมชายครับ', 'สมชาย'), ('Theo', 'Theo在吗，我在等theo', 'theo'), ('مريم', 'مريم، كيف', 'مريم'), ('مارا\u200cجان', 'مارا\u200cجان', 'مارا'),
    ('+49 170 1234567', 'it was +49 170 1234567', '1234567'),
])
def test_names_of_all_scripts(name, text, gone):
    new = pseudonyms(name)
    for word in gone.split():
        assert word not in new(text).casefold() and word not in new.name(name).casefold(), new(text)
    assert new.name(name) != name


def test_a_mention_of_a_number_is_of_the_person_it_stands_for():
    new = pseudonyms('+49 170 1234567', 'Mara')
    person = new.name('+49 170 1234567')
    assert new('@491701234567 +491701234567, +49 170 1234567!') == f'@{person} {person}, {person}!'
    assert new('@4917012345678 @49170123456 1491701234567') == '@4917012345678 @49170123456 1491701234567'


def test_what_is_no_name_of_anybody_stays():
    new = pseudonyms('Me', 'You', 'Speaker', 'Facebook user', 'Deleted Account', 'Ludwig van Beethoven', 'Will', 'Unknown', 'A', 'タロ')
    for text in ('let me know', 'You know me', 'a van, the van', 'I will', 'the speaker', 'an account', 'a b c A', 'タロイモ'):
        assert new(text) == text
    assert new.name('Me') == 'Me' and new.name('Facebook user') == 'Facebook user' and ' van ' in new.name('Ludwig van Beethoven')
    assert new('Will, come') != 'Will, come' and new('ludwig') != 'ludwig' and new.name('A') != 'A'


def test_names_that_are_function_words():
    new = pseudonyms('Ben Carter', 'Can Demir', 'Al', 'Jan', 'Du Wei', 'Du', 'Van Nguyen', 'Vincent van Gogh', 'Omar Al Sayed')
    ben, can, al, du = (new.key[name] for name in ('Ben', 'Can', 'Al', 'Du'))
    assert new.name('Can Demir') == f'{can} {new.key["Demir"]}' and new.name('Al') == al
    assert new('hi ben, Ben! Bens Al is here. Ask Can, or Du?') == f'hi {ben.lower()}, {ben}! {ben}s {al} is here. Ask {can}, or {du}?'
    for text in ('can you, du, al fine, a van', 'Can you come? So: I CAN. Can\'t you', 'Well. Can we?', 'Als ich kam', 'Du bist'):
        assert new(text) == text
    assert new("Can, come! Can's car. Can Demir is here") == f"{can}, come! {can}'s car. {can} {new.key['Demir']} is here"
    new.weigh(['ask Can', 'Can kommt'])                 # no small can: no word of theirs
    assert new('Can kommt') == f'{can} kommt'
    new.weigh(['yes you can', 'so can I', 'ask Can', 'ik ben thuis', *50 * ['ik ben hier']])
    assert new('Can we? ik ben') == 'Can we? ik ben' and new('Ask Ben') == f'Ask {ben}'


def test_words_in_names_of_contacts():
    new = pseudonyms('Ben from Gym', 'Luz', 'Anna with Guitar', 'Mama Handy', 'Theo lang', 'ana lima', 'Ben of the Chess Club')
    assert set(new.key) == {'Ben', 'Gym', 'Luz', 'Anna', 'Guitar', 'Mama', 'Handy', 'Theo', 'lang', 'ana', 'lima', 'Chess', 'Club'}
    texts = ['from the gym with la luz', 'my guitar', 'the guitar', 'his guitar', 'guitar?', 'mein Handy', 'dein Handy', 'kein Handy', 'Handy?']
    new.weigh([*texts, 'hi ben', 'hi anna', 'my anna'])
    assert [new(text) for text in texts] == texts
    assert new('hi ben, Anna: LUZ; anna') == f'hi {new.key["Ben"].lower()}, {new.key["Anna"]}: {new.key["Luz"].upper()}; {new.key["Anna"].lower()}'
    assert new.name('Ben from Gym') == f'{new.key["Ben"]} from {new.key["Gym"]}'


def test_nobody_gets_the_name_of_somebody():
    friends = ['Theo', 'alex', 'Robin Moss', 'Sam']
    new = pseudonyms(*friends)
    assert not {word.casefold() for word in new.key.values()} & {'theo', 'alex', 'robin', 'moss', 'sam'}
    assert len(set(new.key.values())) == len(new.key) == 5


def test_more_people_than_names():
    names = [''.join(letters) for letters in itertools.product('bdfg', 'aeiou', 'klmn', 'aeiou')]
    new = pseudonyms(*names)
    assert len(set(new.key.values())) == len(names) == 400
    again = Pseudonyms(new.key)
    again.learn([*names, 'Somebodynew'])
    assert {name: again.key[name] for name in names} == new.key and len(set(again.key.values())) == 401


@often
@given(st.lists(st.one_of(st.sampled_from(['Theo', 'theo', 'Theo Lang', 'Lang', 'Mara', '山田', '🌸', '12345', ' ', "O'B", 'Σας', 'ΣΑΣ', 'İ', 'ß', 'SS']), st.text(min_size=1, max_size=8)),
                min_size=1, max_size=6), st.text(max_size=30))
def test_any_names_can_be_learnt_and_used_again(names, text):
    new = pseudonyms(*names)
    again = Pseudonyms(new.key)
    again.learn(names)
    assert again.key == new.key
    assert [again.name(name) for name in names] == [new.name(name) for name in names] and again(text) == new(text)


# ---- selection

def turns(*said, step=60_000):
    """'A: hi' ... -> Turns, a minute apart; a number in between is the time of what follows, None takes the times away."""
    found, now = [], 0
    for words in said:
        if not isinstance(words, str):
            now = words
        else:
            speaker, _, text = words.partition(': ')
            found.append(Turn(speaker, text, now))
            now = now if now is None else now + step
    return found


def built(*threads, export=None, redaction=None, aliases=(), gap=6 * HOUR, join=True, min_turns=2, you=None, you_answer=False, **selection):
    """Threads -> (what is said in each conversation, the Builder)."""
    names = {key: Names(selection.pop(key, [])) for key in ('only', 'exclude')}
    builder = Builder(Selection(**names, **selection), Aliases(aliases), gap=gap, join=join, min_turns=min_turns, you=you, you_answer=you_answer, redaction=redaction)
    found = [[(turn.speaker, turn.text) for turn in conversation.turns]
             for i, thread in enumerate(threads) for conversation in builder.conversations(thread, i if export is None else export)]
    return found, builder


def thread(*said, title='', **more):
    return Thread(turns(*said), title, format='test', **more)


def dropped(builder):
    """All reasons, once it is sure that nothing is lost."""
    for stats in builder.threads.values():
        assert stats.read == stats.kept + sum(stats.dropped.values())
    assert sum(builder.people.values()) == sum(stats.kept for stats in builder.threads.values())
    return dict(sum((stats.dropped for stats in builder.threads.values()), start=collections.Counter()))


def test_only_keeps_whole_threads_and_exclude_takes_out_people():
    group = thread('Mara: a', 'Theo: b', 'Ola: c', 'Mara: d', title='Choir')
    found, builder = built(group, thread('Theo: x', 'Ola: y', title='Ola'), only=['mara'], exclude=['OLA'])
    assert found == [[('Mara', 'a'), ('Theo', 'b'), ('Mara', 'd')]]
    assert dropped(builder) == {'threads not chosen': 2, 'people excluded': 1}
    builder.check()


def test_a_person_called_like_a_thread():
    found, builder = built(thread('Mara: a', 'Theo: b', title='Ola'), thread('Ola: c', 'Theo: d', 'Mara: e', title='Choir'), exclude=['Ola'])
    assert found == [[('Theo', 'd'), ('Mara', 'e')]] and dropped(builder) == {'threads excluded': 2, 'people excluded': 1}


@pytest.mark.parametrize('name, pattern', [('José', 'Jose\u0301'), ('Mara [work]', 'mara [work]'), ('Mara Winter', 'mara*'), ('What?', 'what?'), ('\u200eمارا\u202c', 'مارا'),
                                           ('a\nb', 'a\nb'), ('Straße', 'STRASSE'), ('x, y: "z"', 'x, y: "z"'), ('🌸', '🌸')])
def test_names_are_found_as_people_type_them(name, pattern):
    assert name in Names([pattern]) and 'someone else' not in Names([pattern])


def test_nobody_of_that_name_is_told_with_who_is_there():
    _, builder = built(thread('Mara: a', 'Theo\nX: b', title='Choir'), only=['Marra'])
    with pytest.raises(UserError, match=r'--only Marra: there is nobody and no thread of this name; there are Mara, Theo X, and the threads Choir\.'):
        builder.check()
    _, builder = built(thread('Mara: a', 'Theo: b'), aliases=['Teho=Theo'])
    with pytest.raises(UserError, match='--alias Teho: there is nobody of this name; there are Theo, Mara'):
        builder.check()


def test_dates_choose_messages():
    day = 24 * HOUR
    found, builder = built(thread('A: 0', 'B: 1', day, 'A: 2', 'B: 3', 2 * day, 'A: 4', 'B: 5', None, 'A: 6'), since=day, until=2 * day)
    assert found == [[('A', '2'), ('B', '3')]] and dropped(builder) == {'before --since': 2, 'after --until': 2, 'without a time': 1}
    with pytest.raises(UsageError, match='--since is later than --until'):
        Selection(since=5, until=5)


def test_one_to_one_or_groups_scores_and_scripts():
    pair, group, claimed = (lambda: thread('A: 1', 'B: 2')), (lambda: thread('A: 1', 'B: 2', 'C: 3')), (lambda: thread('A: 1', 'B: 2', group=True))
    assert dropped(built(pair(), group(), claimed(), chats='groups', export=0)[1]) == {'one-to-one chats': 2}
    assert dropped(built(pair(), group(), claimed(), chats='one_to_one', export=0)[1]) == {'group chats': 5}
    assert dropped(built(thread('A: 1', 'B: 2', score=0.0), min_score=1)[1]) == {'score below 1': 2}
    assert dropped(built(thread('A: да', 'B: no', 'A: ή', 'B: yes', 'A: well'), scripts=' Cyrillic, Greek,')[1]) == {'in Cyrillic, Greek': 2}
    for scripts in ('Klingon', 'a}b', 'Latin]'):
        with pytest.raises(UsageError, match='Unicode has no script called'):
            Selection(scripts=scripts)
    assert built(pair(), scripts=',')[0] == [[('A', '1'), ('B', '2')]]


def test_aliases_chain_and_never_collide():
    said = thread('T. Lang: a', 'Theodor: b', 'Lang, Jo: c', 'theo: d', 'Mara=x: e')
    found, builder = built(said, aliases=['T. Lang,Theodor=Theo', 'Theo=T', r'Lang\, Jo=Jo', 'Mara=x=Mara'])
    assert found == [[('T', 'a\nb'), ('Jo', 'c'), ('T', 'd'), ('Mara', 'e')]]
    builder.check()
    for definitions, words in ((['a=b', 'b=a'], 'circle'), (['a=b', 'A=c'], 'both b and c'), (['a'], 'must read'), (['=b'], 'must read'), ([',=b'], 'must read'), (['a= '], 'must read')):
        with pytest.raises(UsageError, match=words):
            Aliases(definitions)
    assert Aliases(['A=a', 'b=B'])([Turn('A', ''), Turn('B', '')]) == [Turn('a', ''), Turn('B', '')]


def test_one_name_in_two_normal_forms_is_one_person():
    found, _ = built(thread('José: a', 'Jose\u0301: b', ' José\u200e: c', 'B: d', ': e'))
    assert found == [[('José', 'a\nb\nc'), ('B', 'd'), ('Unknown', 'e')]]


# ---- duplicates

def keep(*exports):
    """[(export, thread, turns)] -> what is kept of each, and how many are dropped."""
    duplicates, drop = Duplicates(), collections.Counter()
    return [[turn.text for turn in duplicates.keep(said, export, drop, title)] for export, title, said in exports], drop['duplicates']


CHAT = turns(*(f'{"AB"[i % 2]}: {i}' for i in range(10)))


@pytest.mark.parametrize('title', [None, 'Mara'])
def test_an_export_twice_and_exports_that_overlap(title):
    whole = [str(i) for i in range(10)]
    assert keep((0, title, CHAT), (1, title, CHAT)) == ([whole, []], 10)
    assert keep((0, title, CHAT[:6]), (1, title, CHAT[3:])) == ([whole[:6], whole[6:]], 3)
    assert keep((0, title, CHAT[3:6]), (1, title, CHAT)) == ([whole[3:6], whole[:3] + whole[6:]], 3)
    assert keep((0, title, CHAT), (0, title, CHAT)) == ([whole, whole], 0)              # an export is no duplicate of itself


def test_an_overlap_of_one_message_counts_where_the_thread_has_a_name():
    assert keep((0, 'Mara', CHAT[:6]), (1, 'Mara', CHAT[5:]))[1] == 1
    assert keep((0, None, CHAT[:6]), (1, None, CHAT[5:]))[1] == 0


def test_what_goes_to_two_friends_at_once_is_not_a_duplicate():
    mara, theo = (turns(f'{name}: and you?', 'Me: ok', f'{name}: fine') for name in ('Mara', 'Theo'))
    assert keep((0, None, mara), (1, None, theo))[1] == 0
    wishes = [turns(f'{name}: hi', 'Me: Happy new year!', 'Me: 🎉', f'{name}: thanks {name}') for name in ('Mara', 'Theo')]
    assert keep((0, 'Mara', wishes[0]), (1, 'Theo', wishes[1]))[1] == 0
    assert keep((0, None, wishes[0]), (1, None, wishes[1]))[1] == 0


def test_threads_without_times_are_duplicates_as_a_whole():
    said = turns(None, 'A: hi', 'B: yo')
    assert keep((0, None, said), (1, None, said), (2, None, said[:1])) == ([['hi', 'yo'], [], ['hi']], 2)
    assert keep((0, None, said), (0, None, said))[1] == 0


# ---- sessions

def test_sessions_end_where_hours_are_silent():
    said = turns('A: 1', 'B: 2', 7 * HOUR, 'A: 3', 7 * HOUR, 'B: 4', 5 * HOUR, 'A: 5', None, 'B: 6', 30 * HOUR, 'A: 7', 1 * HOUR, 'B: 8', -10 ** 18, 'A: 9', 10 ** 18, 'B: 10')
    assert [[turn.text for turn in run] for run in corpus.sessions(said, 6 * HOUR)] == [['1', '2'], ['3', '4', '5', '6'], ['7'], ['8'], ['9'], ['10']]
    assert [len(run) for run in corpus.sessions(said, 0)] == [10] and list(corpus.sessions([], 0)) == list(corpus.sessions([], 1)) == []
    assert len(list(corpus.sessions(turns('A: 1', 6 * HOUR, 'B: 2'), 6 * HOUR))) == 2                    # exactly the gap
    assert len(list(corpus.sessions(turns('A: 1', 6 * HOUR - 1, 'B: 2'), 6 * HOUR))) == 1


def test_bursts():
    said = lambda: thread('A: 1', 'A: 2', 'B: 3', 'A: 4')
    assert built(said())[0] == [[('A', '1\n2'), ('B', '3'), ('A', '4')]]
    assert built(said(), join=False)[0] == [[('A', '1'), ('A', '2'), ('B', '3'), ('A', '4')]]


def test_min_turns_and_you():
    short, long, alone = (lambda: thread('A: 1', 'B: 2', title='short')), (lambda: thread('A: 1', 'C: 2', 'A: 3', title='long')), (lambda: thread('A: 1', 'A: 2', title='alone'))
    assert dropped(built(short(), long(), alone(), min_turns=3)[1]) == {'in conversations of fewer than 3 turns': 2, 'in conversations where only one person speaks': 2}
    assert dropped(built(short(), long(), alone(), min_turns=1)[1]) == {}
    assert dropped(built(short(), long(), you='B')[1]) == {'in conversations where --you is silent': 3}
    with pytest.raises(UserError, match='--you D: there is nobody of this name; there are A, B'):
        built(short(), you='D')[1].check()


def test_where_order_alone_tells_who_speaks_you_never_begin():
    talk = thread('B: 0', 'B: 1', 'A: 2', 'B: 3', 7 * HOUR, 'A: 4', 'B: 5', 14 * HOUR, 'B: 6', 21 * HOUR, 'B: 7', 'A: 8')
    found, builder = built(talk, you='B', you_answer=True)
    assert found == [[('A', '2'), ('B', '3')], [('A', '4'), ('B', '5')]]
    assert dropped(builder) == {'by --you, before anybody else speaks': 4, 'in conversations where only one person speaks': 1}
    assert built(thread('B: 0', 'A: 1', 'B: 2'), you='B')[0] == [[('B', '0'), ('A', '1'), ('B', '2')]]


def test_days_of_times_that_cannot_be():
    assert [corpus.date(time) for time in (0, -1, 86_400_000, 10 ** 20, -10 ** 20)] == ['1970-01-01', '1969-12-31', '1970-01-02', '9999-12-31', '0001-01-01']
    assert corpus.milliseconds('1970-01-02T01:00+01:00') == 86_400_000 and corpus.milliseconds('1969-12-31') == -86_400_000
    with pytest.raises(UsageError, match='is no date'):
        corpus.milliseconds('31.12.2020')


# ---- nothing is lost

someone = st.sampled_from(['A', 'B', 'C', 'Mara', 'mara', '', ' ', 'x, y', '+49 170 1234567', '<|endoftext|>', 'ا', '🌸'])
saying = st.builds(Turn, someone, st.sampled_from(['ok', 'hi', 'да', '0170 1234567', '<|endoftext|>', '<sp1>', '', '\n']),
                   st.one_of(st.none(), st.sampled_from([0, 0, 60_000, 60_000, 7 * HOUR, 48 * HOUR, -HOUR, 10 ** 18])))
some_threads = st.lists(st.builds(lambda said, title, group, score: Thread(said, title, group, score=score, format='test'), st.lists(saying, min_size=1, max_size=12),
                                  st.sampled_from(['', 'Mara', 'Choir', 'A']), st.sampled_from([None, True, False]), st.sampled_from([None, 0.0, 5.0])), min_size=1, max_size=5)


@often
@given(threads=some_threads, only=st.sampled_from([[], ['Mara'], ['A', 'Choir']]), exclude=st.sampled_from([[], ['mara'], ['B']]), since=st.sampled_from([None, 0, HOUR]),
       until=st.sampled_from([None, 24 * HOUR]), chats=st.sampled_from(['all', 'groups', 'one_to_one']), scripts=st.sampled_from(['', 'Cyrillic']), gap=st.sampled_from([0, 6 * HOUR]),
       join=st.booleans(), min_turns=st.integers(1, 4), you=st.sampled_from([None, 'A']), you_answer=st.booleans(), export=st.sampled_from([None, 0]), aliases=st.sampled_from([[], ['A,C=B'], ['A=B', 'B=C']]))
def test_read_is_kept_and_dropped(threads, join, export, **options):
    read = sum(len(thread.turns) for thread in threads)
    found, builder = built(*threads, export=export, join=join, redaction=Redaction(), **options)
    gone = dropped(builder)
    kept = sum(stats.kept for stats in builder.threads.values())
    assert read == kept + sum(gone.values())
    if not join:
        assert kept == sum(map(len, found))
    assert all(len(conversation) >= options['min_turns'] for conversation in found)


# ---- division

@pytest.mark.parametrize('n', [10, 100, 1000])
@pytest.mark.parametrize('share', [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_share_comes_out(n, share):
    choose = random.Random(n)
    sizes = [round(choose.lognormvariate(5, 1.5)) + 1 for _ in range(n)]
    division = Division(share)
    held_out = sum(size for size in sizes if division(Thread(), Conversation([Turn('A', size * 'x')])) == 'validation')
    assert abs(held_out - share * sum(sizes)) <= max(sizes)
    if n == 1000:
        assert abs(held_out / sum(sizes) - share) < 0.03


@pytest.mark.parametrize('unit', [None, 'a post'])
def test_conversations_that_begin_alike_are_on_one_side(unit):
    division, found = Division(0.5), collections.defaultdict(set)
    for i in range(200):
        said = turns(*(f'{"AB"[k % 2]}: {i} {k}' for k in range(6)))
        for conversation in (said, said[:2], said[:4], said, said[:4] + turns('A: so', 'B: no')):
            found[i].add(division(Thread(unit=unit and f'{unit} {len(found)}', format='test'), Conversation(conversation)))
    assert all(len(splits) == 1 for splits in found.values()) and 80 < sum(splits == {'validation'} for splits in found.values()) < 120


def test_units_and_splits_are_kept_together():
    division, choose, found = Division(0.2), random.Random(1), collections.defaultdict(set)
    sizes = collections.Counter()
    for i in range(2000):
        unit = str(choose.randrange(200))
        conversation = Conversation([Turn('A', 'x' * choose.randrange(1, 200))])
        split = division(Thread(unit=unit, format='reddit'), conversation)
        found[unit].add(split)
        sizes[split] += len(conversation.turns[0].text)
    assert all(len(splits) == 1 for splits in found.values())
    assert sizes['validation'] / sum(sizes.values()) == pytest.approx(0.2, abs=0.03)
    assert division(Thread(split='test'), conversation) == 'test' and Division(0)(Thread(), conversation) == 'train'
