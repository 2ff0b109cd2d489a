"""Conversations to and from text, JSON, and a page of speech bubbles.

    txt     Mara: You sound tired.
    json    [{"turns": [{"speaker": "Mara", "text": "You sound tired.", "time": 1349680884843}, ...]}, ...]
    html    one file that needs nothing else
"""
import datetime
import html
import json

from . import dialogue

PAGE = '''<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>
<style>
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 42rem; margin: 2rem auto; padding: 0 1rem; background: #f4f1ec; color: #222 }}
section {{ margin: 0 0 3rem }}
h2 {{ font-size: 1rem; color: #777; font-weight: 500 }}
.turn {{ margin: .35rem 0; display: flex; flex-direction: column; align-items: flex-start }}
.turn.first {{ align-items: flex-end }}
.name {{ font-size: .8rem; color: #777; margin: .4rem .8rem 0 }}
.words {{ white-space: pre-wrap; overflow-wrap: anywhere; padding: .5rem .8rem; border-radius: 1rem; background: #fff; max-width: 85%; border-left: .25rem solid hsl(var(--hue) 55% 55%) }}
.first .words {{ background: #dcebdd }}
@media (prefers-color-scheme: dark) {{ body {{ background: #1c1b19; color: #eee }} .words {{ background: #2b2a27 }} .first .words {{ background: #26372a }} }}
</style></head><body>
{body}</body></html>
'''


def to_text(conversations):
    """Conversations -> text, as hands write it (dialogue.STYLES['name'])."""
    return ''.join(map(dialogue.STYLES['name'].render, conversations))


def from_text(text):
    """Text in any style -> its Conversations, as hands write it if in none."""
    return list((dialogue.sniff(text) or dialogue.STYLES['name']).parse(text))


def to_json(conversations):
    """Conversations -> JSON text; times are left out where there are none."""
    return json.dumps([{'turns': [{key: value for key, value in turn._asdict().items() if value is not None} for turn in conversation.turns]}
                       for conversation in conversations], ensure_ascii=False, indent=1)


def from_json(text):
    """What to_json made -> Conversations, without times. Raises ValueError, TypeError, KeyError or RecursionError for anything else."""
    found = [dialogue.Conversation([dialogue.Turn(turn['speaker'], turn['text']) for turn in each['turns']]) for each in json.loads(text)]
    if not all(isinstance(turn.speaker, str) and turn.speaker and isinstance(turn.text, str) for each in found for turn in each.turns):
        raise ValueError('a turn is a speaker and a text')
    return found


def to_html(conversations, title='Conversations'):
    """Conversations -> a page; each speaker has a colour, the first one stands on the right."""
    names = list(dict.fromkeys(turn.speaker for conversation in conversations for turn in conversation.turns))
    sections = []
    for number, conversation in enumerate(conversations, 1):
        rows, before = [], None
        for turn in conversation.turns:
            hue = names.index(turn.speaker) * 137 % 360             # the golden angle: neighbours differ
            when = '' if turn.time is None else ' · ' + moment(turn.time)
            name = f'<div class="name"><bdi>{html.escape(turn.speaker)}</bdi>{when}</div>' if turn.speaker != before else ''
            side = ' first' if turn.speaker == names[0] else ''
            rows.append(f'<div class="turn{side}" style="--hue:{hue}">{name}<div class="words" dir="auto">{html.escape(turn.text)}</div></div>')
            before = turn.speaker
        sections.append(f'<section><h2>Conversation {number}</h2>\n' + '\n'.join(rows) + '\n</section>\n')
    return PAGE.format(title=html.escape(title), body=''.join(sections))


FORMATS = {'.txt': (to_text, from_text), '.json': (to_json, from_json), '.html': (to_html, None)}          # how they are written and read


def moment(time):
    """Milliseconds since 1970 -> '31 May 2024, 18:30', UTC, in every locale. Beyond the years 1 to 9999: the number itself."""
    try:
        when = datetime.datetime(1970, 1, 1) + datetime.timedelta(milliseconds=time)
    except OverflowError:
        return str(time)
    months = 'January February March April May June July August September October November December'.split()
    return f'{when.day} {months[when.month - 1]} {when.year}, {when:%H:%M}'


def line(turn, style):
    """A turn as text begins, up to its words: 'Mara:', '(1349680884843) Mara:'."""
    style = style if style.speakers is None else dialogue.STYLES['name']
    return style.header(turn.speaker, turn.time)
