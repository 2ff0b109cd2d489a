"""The HTML pages of Facebook and Instagram exports -> messages. The way is: text -> tags -> a small tree a message -> Message.

Class names change from year to year, the structure does not: sender, body, date, in this order, in one element.

    <div class="pam _3-95 _2ph- _a6-g uiBoxWhite noborder">
      <h2 class="_3-95 _2pim _a6-h _a6-i">Mara Lind</h2>
      <div class="_3-95 _a6-p"><div>
        <div></div><div>You sound tired.</div><div></div>         the words are the second; then shared links, media
        <div><ul><li>&#10084;Theo Berg</li></ul></div>            reactions
      </div></div>
      <div class="_3-94 _a6-o">Oct 19, 2019, 2:37 PM</div>
    </div>

Before 2018 all threads stood in one messages.htm, the words beside their header (and times had a zone):

    <div class="thread">Mara Lind, Theo Berg
      <div class="message"><div class="message_header">
        <span class="user">Mara Lind</span><span class="meta">Wednesday, November 12, 2008 at 8:53pm UTC+01</span></div></div>
      <p>You sound tired.</p>

- A body may itself be a date, or hold a block of the same shape (a quoted post): the outermost one is the message.
- The first element of a message names the sender even if it is empty: then the account has been deleted.
- Times are to the minute, or to the second, and local; without a zone they are taken as UTC. Newest first.
- The tags are split off by a regular expression: the pages are made by a machine, a damaged one is read in linear time (html.parser's
  is quadratic for some), the result is the same in every version of Python, and it takes a fifth of the time.
"""
import html
import re
from typing import NamedTuple

from . import times

BLOCK, LONG, DEPTH = 1 << 20, 1 << 16, 100              # characters read at a time, and of the longest tag; elements within elements
TOKEN = re.compile(r'<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*>|<[!?][^<>]*>|([^<]+|<)')
VOID = frozenset('area base br col embed hr input link meta param source track wbr'.split())
MEDIA_TAGS = frozenset('a img video audio'.split())             # a: a link that is shared
HIDDEN = frozenset('style script title head'.split())
LINES = frozenset('div p li h1 h2 h3 section table tr'.split())

ZONES = {'PST': '-8', 'PDT': '-7', 'MST': '-7', 'MDT': '-6', 'CST': '-6', 'CDT': '-5', 'EST': '-5', 'EDT': '-4'}
HALVES = {'madrugada': 'a', 'manhã': 'a', 'tarde': 'p', 'noite': 'p'}
DATE = re.compile(r'''(?:[^\W\d]+[.,]*\ )?                                                         # Saturday,
    (?:(?P<month>[^\W\d]+)\.?\ (?P<day>\d\d?),?\ (?P<year>\d{4})                                    # Oct 19, 2019
      |(?P<day2>\d\d?)\.?\ (?:de\ )?(?P<month2>[^\W\d]+)\.?,?\ (?:de\ )?(?P<year2>\d{4})            # 19 de octubre de 2019
      |(?P<day3>\d\d?)\.(?P<month3>\d\d?)\.(?P<year3>\d{4})                                         # 19.10.2019
      |(?P<year4>\d{4})-(?P<month4>\d\d)-(?P<day4>\d\d))                                            # 2019-10-19
    ,?(?:\ (?:at|um|à|a\ las|alle|alle\ ore|às|om|o|kl\.),?)?
    \ (?P<hour>\d\d?)[:.](?P<minute>\d\d)(?::(?P<second>\d\d))?(?:\ ?(?P<half>[ap])\.?\ ?m\.?|\ da\ (?P<part>\w+))?     # 2:37 PM, 2:37 da tarde
    (?:\ (?:UTC|GMT)(?P<shift>[+-]\d\d?)?(?::?(?P<minutes>\d\d))?|\ (?P<zone>[A-Z]{3,4}))?''', re.VERBOSE | re.IGNORECASE)


class Message(NamedTuple):
    """thread: who takes part, as messages.htm has it, else ''. time: None where no date can be read. media: more than words."""
    thread: str
    sender: str
    text: str
    time: int | None
    media: bool


def to_time(text):
    """A date in words or digits -> milliseconds since 1970, or None: 'Oct 19, 2019, 2:37 PM' -> 1571495820000."""
    match = DATE.fullmatch(' '.join(text.split()))
    if not match:
        return None
    found = match.groupdict()
    year, month, day = (found[name] or found[name + '2'] or found[name + '3'] or found[name + '4'] for name in ('year', 'month', 'day'))
    if not month.isdecimal():
        month = times.month(month)
    ahead = times.minutes_ahead(found['shift'] or ZONES.get((found['zone'] or '').upper()), found['minutes'])
    half = found['half'] or HALVES.get((found['part'] or '').lower())
    if found['part'] and not half:
        return None
    time = times.milliseconds(year, month, day, found['hour'], found['minute'], found['second'], half=half, ahead=ahead)
    return time if time is not None and time >= 0 else None


def messages(stream):
    """A page -> its Messages, in the order of the page."""
    page = _Page()
    for token in _tokens(stream):
        closing, tag, text = token.groups()
        if text:
            page.write(text)
        elif not tag:                                   # <!DOCTYPE html>
            continue
        elif closing:
            page.close(tag.lower())
            if page.done:
                yield from page.done
                page.done = []
        else:
            page.open(tag.lower(), token[0])
    page.end()
    yield from page.done


def _tokens(stream):
    """A text stream -> matches of TOKEN; neither a tag nor a text is cut by the end of a block."""
    rest = ''
    while block := stream.read(BLOCK):
        block = rest + block
        cut = block.rfind('<')
        if cut < len(block) - LONG:
            cut = len(block)
        yield from TOKEN.finditer(block, 0, cut)
        rest = block[cut:]
    yield from TOKEN.finditer(rest)


class _Node:
    """An element: its opening tag; texts and elements in it; the time, if the last text in it is a date; messages not yet given away."""
    __slots__ = ('tag', 'opening', 'items', 'full', 'time', 'found', 'is_page')

    def __init__(self, tag, opening=''):
        self.tag, self.opening, self.items, self.full, self.time, self.found, self.is_page = tag, opening, [], False, None, [], False

    @property
    def nodes(self):
        return [item for item in self.items if type(item) is _Node]

    @property
    def own_text(self):
        return html.unescape(''.join(item for item in self.items if type(item) is str)).strip()

    @property
    def text(self):
        return html.unescape(''.join(self._texts())).strip()

    def _texts(self):
        """Its texts, an element with lines of its own on a new one; a list is reactions."""
        for place, item in enumerate(self.items):
            if type(item) is str:
                yield item
            elif item.full and item.tag != 'ul':
                if place and item.tag in LINES:
                    yield '\n'
                yield from item._texts()

    @property
    def has_media(self):
        return self.tag in MEDIA_TAGS or any(node.has_media for node in self.nodes)

    @property
    def is_message(self):
        """[sender, ..., date]"""
        if self.time is None or self.is_page:
            return False
        nodes = self.nodes
        return len(nodes) > 1 and nodes[-1].time is not None and not nodes[0].has_media

    @property
    def is_undated(self):
        """[sender, ..., what may be a date in a language that is not known here]"""
        nodes = self.nodes
        return len(nodes) > 1 and nodes[-1].time is None and len(nodes[-1].text) < 80 and any(map(str.isdecimal, nodes[-1].text))

    def with_undated(self):
        """Its messages, and the elements in it that look like them but for the date."""
        shape = self.found[0].opening
        return [node for node in self.nodes if '=' in shape and node.opening == shape and node not in self.found and node.is_undated] + self.found

    def message(self):
        """[sender, body, what else there is, date] -> Message."""
        sender, *bodies, date = self.nodes
        words = bodies[0] if bodies else _Node('div')
        while lines := [node for node in words.nodes if node.tag in LINES]:
            if words.own_text:
                break
            elif len(lines) > 1 and not lines[0].full:  # what stands before the words is empty
                words = lines[1]
            else:
                words = lines[0]
        return Message('', sender.text, words.text, date.time, any(body.has_media for body in bodies))


class _Page:
    """The elements that are open, from the page down to where we read; and the messages that are sure to be no part of a greater one."""

    def __init__(self):
        self.stack, self.done = [_Node('html')], []
        self.header = None                              # of messages.htm: a Message whose words come in the next <p>
        self.shape = None                               # the opening tag of a message

    def write(self, text):
        top = self.stack[-1]
        if not text.isspace():
            top.full, top.time = True, None
        if not top.is_page:                             # of a page, nothing but its messages is kept
            top.items.append(text)

    def open(self, tag, opening):
        if tag == 'br':
            self.stack[-1].items.append('\n')
        elif tag == 'img':
            self.stack[-1].items.append(_Node(tag))
        elif tag not in VOID and len(self.stack) < DEPTH:
            self.stack.append(_Node(tag, opening))

    def close(self, tag):
        """Close the innermost such element and those that are open in it."""
        depth = len(self.stack) - 1
        while depth and self.stack[depth].tag != tag:
            depth -= 1
        while 0 < depth < len(self.stack):
            node, parent = self.stack.pop(), self.stack[-1]
            if not node.full and not parent.is_page:
                parent.items.append(node)
            elif node.tag not in HIDDEN:
                self._closed(node, parent)

    def end(self):
        while len(self.stack) > 1:
            self.close(self.stack[-1].tag)
        self.done += [node.message() for node in self.stack[0].found]
        if self.header:
            self.done.append(self.header)

    def _closed(self, node, parent):
        if len(node.items) == 1 and type(node.items[0]) is str and len(node.items[0]) < 80:
            node.time = to_time(html.unescape(node.items[0]))
        is_known = node.opening == self.shape and '=' in node.opening
        if (node.time is not None or is_known) and [item.tag for item in node.nodes] == ['span', 'span']:
            self._header(node)
            return
        if node.tag == 'p' and self.header:
            text, media = self.header.text or node.text, self.header.media or node.has_media
            self.header = self.header._replace(text=text, media=media)
        if is_message := node.is_message:
            node.found = [node]
        elif len(node.found) == 1 and node.found[0] in node.items:
            node.found = node.with_undated()
        elif is_known and parent.is_page:               # its date cannot be read
            self.done.append(Message('', '', node.text, None, False))
        if node.full:
            parent.full, parent.time = True, None if is_message else node.time
        parent.found += node.found
        if not parent.is_page and (node.is_page or len(parent.found) > 1):
            parent.found = parent.found and parent.with_undated()
            parent.is_page = True
        if not parent.is_page:
            parent.items.append(node)
        elif parent.found:
            self.shape = parent.found[0].opening
            self.done += [found.message() for found in parent.found]
            parent.found = []

    def _header(self, node):
        """A message of messages.htm begins: thread > message > header > (user, meta)."""
        if self.header:
            self.done.append(self.header)
        thread = self.stack[max(len(self.stack) - 2, 0)]
        user, meta = node.nodes
        self.header = Message(thread.own_text, user.text, '', meta.time, False)
        self.shape, thread.is_page = node.opening, True
