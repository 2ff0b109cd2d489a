"""Conversations for reading: JSON that parses back, a page on which nothing that people write is markup."""
import html.parser
import json

import pytest

from src import dialogue, transcript
from src.console import UserError
from src.dialogue import Conversation, Turn

WILD = [Conversation([Turn('<script>alert(1)</script>', 'a < b & c\n"so"', 1349680884843), Turn('מרה', 'שלום {x} % \'', 1349680889843), Turn('מרה', '</div><script>', None)]),
        Conversation([Turn('Theo', '', 0)]), Conversation([])]


class Page(html.parser.HTMLParser):
    """The elements of a page, and the text of each class."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.within = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != 'meta':
            self.within.append(dict(attributes).get('class') or tag)
            self.texts.append([self.within[-1], '', dict(attributes)])

    def handle_endtag(self, tag):
        self.within.pop()

    def handle_data(self, text):
        if self.within:
            next(entry for entry in reversed(self.texts) if entry[0] == self.within[-1])[1] += text

    def of(self, name):
        return [text for kind, text, _ in self.texts if kind == name]


def test_json_parses_back():
    found = json.loads(transcript.to_json(WILD))
    assert [Conversation([Turn(**turn) for turn in conversation['turns']]) for conversation in found] == WILD
    assert 'time' not in found[0]['turns'][2] and found[1]['turns'][0]['time'] == 0           # 1970 is a time, None is none
    assert 'שלום' in transcript.to_json(WILD)                           # to be read as it is
    assert json.loads(transcript.to_json([])) == []
    assert transcript.from_json(transcript.to_json(WILD)) == [Conversation([turn._replace(time=None) for turn in each.turns]) for each in WILD]


def test_text_parses_back():
    talks = [Conversation([Turn('Theo', 'are you\nawake?'), Turn('Mara', 'yes: always')]), Conversation([Turn('Mara', 'hm'), Turn('Theo', 'ok')])]
    assert transcript.to_text(talks) == 'Theo: are you\n awake?\nMara: yes: always\n<|endoftext|>\nMara: hm\nTheo: ok\n<|endoftext|>\n'
    assert transcript.from_text(transcript.to_text(talks)) == talks
    assert transcript.from_text('Mara: nobody answers') == [Conversation([Turn('Mara', 'nobody answers')])]



def test_nothing_that_people_write_is_markup():
    page = Page(transcript.to_html(WILD, title='<b>Friends</b>'))
    assert set(page.tags) == {'html', 'head', 'meta', 'title', 'style', 'body', 'section', 'h2', 'div', 'bdi'}
    assert page.within == [] and page.of('title') == ['<b>Friends</b>']
    assert page.of('words') == ['a < b & c\n"so"', 'שלום {x} % \'', '</div><script>', '']
    assert page.of('bdi') == ['<script>alert(1)</script>', 'מרה', 'Theo']               # apart from the date, which a right-to-left name would turn
    assert page.of('name') == [' · 8 October 2012, 07:21', ' · 8 October 2012, 07:21', ' · 1 January 1970, 00:00']
    assert page.of('h2') == ['Conversation 1', 'Conversation 2', 'Conversation 3']


def test_sides_colours_and_directions():
    """The first to speak on the right throughout; a name where another begins; right-to-left text as it runs."""
    talks = [Conversation([Turn('A', '1'), Turn('A', '2'), Turn('B', '3'), Turn('A', '4')]), Conversation([Turn('B', '5'), Turn('A', '6')])]
    page = Page(transcript.to_html(talks))
    turns = [(kind, attributes['style']) for kind, _, attributes in page.texts if kind.startswith('turn')]
    right, left = ('turn first', '--hue:0'), ('turn', '--hue:137')
    assert turns == [right, right, left, right, left, right]
    assert page.of('bdi') == ['A', 'B', 'A', 'B', 'A'] and set(page.of('name')) == {''}         # no times, where there are none
    assert all(attributes['dir'] == 'auto' for kind, _, attributes in page.texts if kind == 'words')
    assert transcript.to_html([]).startswith('<!doctype html>')


@pytest.mark.parametrize('time, text', [
    (0, '1 January 1970, 00:00'), (1349680884843, '8 October 2012, 07:21'), (951782399999, '28 February 2000, 23:59'), (951782400000, '29 February 2000, 00:00'),
    (-1, '31 December 1969, 23:59'), (-62135596800000, '1 January 1, 00:00'), (-62135596800001, '-62135596800001'), (10 ** 15, '1000000000000000'), (10 ** 30, '1' + '0' * 30)])
def test_moments(time, text):
    assert transcript.moment(time) == text


def test_how_a_line_begins():
    """As the style writes it; of seats, which are no text, as a name."""
    turn = Turn('Ann: B', 'x', 1349680884843)
    lines = {name: transcript.line(turn, dialogue.get_style(name)) for name in ('name', 'timestamp', 'said')}
    assert lines == {'name': r'Ann\: B:', 'timestamp': r'(1349680884843) Ann\: B:', 'said': r'Ann\: B said:'}
    assert transcript.line(Turn('<sp1>', 'x'), dialogue.get_style('tokens')) == '<sp1>:' and transcript.line(Turn('A', 'x'), dialogue.get_style('dialogpt')) == 'A:'
    with pytest.raises(UserError, match='no time'):
        transcript.line(Turn('A', 'x'), dialogue.get_style('timestamp'))
