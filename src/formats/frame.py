"""How a run's turns look, for runtimes that know only text: what stands around the words of each.

    <|endoftext|>Theo: hi mara          begin, opening of the user, words, closing
    Mara: Hi Theo.                      opening of the assistant, words, closing
    Theo: bad day
    Mara:                               prompt of the assistant: the model goes on from here

`template` makes of it a chat template in Jinja, which renders messages (role: system, user, assistant; content; and name, where the style has names)
to the text whose ids are those of ChatSession.prompt: with the words' escapes (dialogue.py), and with the times of the style timestamp.
A system message is the persona in front. Answers come back as the model wrote them, with blanks and, in the style said, quotes around.
"""
import json
import re
from typing import NamedTuple

import numpy as np

from ..chat import PAUSE, READING, TYPING
from ..dialogue import MarkedStyle, SeatStyle, Turn, _escape_name
from ..encoder import END_OF_TEXT
from ..settings import Settings


class Frame(NamedTuple):
    """openings, prompts: of the roles user and assistant, with TIME where a time stands, in milliseconds since 1970. stops: ids of tokens that end a turn.
    next: what closes a turn whose words the model made, with all that is directly around them. marks: what a message must not hold as it is. persona: what stands in front of a system message, and behind it."""
    begin: str
    openings: dict
    closing: str
    next: str
    prompts: dict
    stops: list
    marks: list
    persona: tuple


TIME, NAME, WORDS = '\ue000', '\ue001', '\ue002'        # of Unicode's private use: nobody has them in a name


def frame(session):
    """The Frame of a ChatSession."""
    style, enc = session.style, session.enc
    openings, prompts = {}, {}
    for role, name in (('user', session.me), ('assistant', session.answerer)):
        prompts[role], around = _header(session, name)
        openings[role] = prompts[role] + around[0]
    marked, seats = isinstance(style, MarkedStyle), isinstance(style, SeatStyle)
    special = {i: name for name, i in enc.special_tokens.items()}
    behind = '' if seats else style.close               # which in ids is no token of its own there
    return Frame(begin=''.join(special[i] for i in style.begin_ids(enc)), openings=openings, closing=around[1] + behind, next=behind, prompts=prompts,
                 stops=sorted(style.stop_ids(enc) | (set() if marked else _lines(enc))), marks=list(dict.fromkeys([*getattr(style, 'marks', ()), END_OF_TEXT])),
                 persona=(' ', '') if seats else ('', END_OF_TEXT) if marked else ('', '\n'))


def _header(session, name):
    """(what stands in front of the turns of `name`, what is directly around their words)"""
    style = session.style
    header, body, _ = style.pieces(Turn(session._seat(name), WORDS, 0))
    return header.replace(style.time_header(0), style.time_header(TIME), 1) if style.time_header(0) else header, body.split(WORDS)


def _lines(enc):
    """The ids of the tokens that hold a line break. Where turns end by one, these runtimes end a reply at its first line."""
    return {int(i) for i in np.flatnonzero(enc.lengths) if b'\n' in enc.decode_bytes([i])}


class Ends(NamedTuple):
    """The ids of what stands in front of a text, of what ends it, and of all that end a reply."""
    bos: int
    eos: int
    stops: list


def ends(source):
    """The Ends of a formats.Source; None in place of an id that its vocabulary does not have."""
    special, session = source.enc.special_tokens, source.session
    bos, eos = (special.get(name) for name in (getattr(session.style, name, '') or END_OF_TEXT for name in ('begin', 'end'))) if session else [source.enc.eot] * 2
    return Ends(bos, eos, frame(session).stops if session else [eos] if eos is not None else [])


def about(source):
    """What a chat needs to know beside the vocabulary of a formats.Source, for chat.json. Special tokens stand in it by their names, which tokenizer.json knows.

    {"begin": "<|endoftext|>", "user": "Theo: ", "closing": "\\n", "prompt": "Mara:", "next": "\\n", "stops": [0, 10], "names": ["Theo", "Mara"], ...}

    begin, user, words, closing, prompt: behind that the model answers, until one of `stops` comes; next, user, words, closing, prompt: and again.
    Of plain text, which goes on behind any words, there is nothing around them, and nobody speaks.
    """
    session, eot = source.session, source.enc.eot
    if session is None:
        return dict.fromkeys(('user', 'closing', 'prompt', 'next'), '') | {'begin': '' if eot is None else END_OF_TEXT, 'stops': ends(source).stops, 'names': [],
                                                                           'length': source.hparams.n_ctx // 4} | sampling(Settings(top_k=40))
    f = frame(session)
    user, prompt = (text.replace(TIME, str(session._start)) for text in (f.openings['user'], f.prompts['assistant']))
    return {'begin': f.begin, 'user': user, 'closing': f.closing, 'prompt': prompt, 'next': f.next, 'stops': f.stops, 'names': [session.me, session.answerer],
            'length': session.length} | sampling(session.settings)


def sampling(settings):
    """How the next token is drawn, for those who know temperature, top_k (0: all) and top_p (1: all)."""
    return {'temperature': settings.temperature, 'top_k': settings.top_k, 'top_p': settings.top_p or 1.0}


TEMPLATE = r"""
{%- macro marked(text, mark) -%}
  {%- for part in text.split(mark) -%}
    {{- part -}}
    {%- if not loop.last -%}{{- ('\\' if part.rstrip('\\').endswith('<') else '') + mark -}}{%- endif -%}
  {%- endfor -%}
{%- endmacro -%}
{%- macro doubled(text, before, after) -%}
  {%- for part in text.split(before) -%}
    {{- part -}}
    {%- if not loop.last -%}{{- part[part.rstrip('\\') | length:] + after -}}{%- endif -%}
  {%- endfor -%}
{%- endmacro -%}
{%- macro words(text) -%}
  {%- set ns = namespace(text=text) -%}
  {%- for mark in <marks> -%}{%- set ns.text = marked(ns.text, mark) -%}{%- endfor -%}
  {{- doubled(doubled(ns.text, 'r', 'r'), '\r', '\\r') | replace('\n', '\n ') -}}
{%- endmacro -%}
{%- macro named(name) -%}
  {%- set text = name | replace('\\', '\\\\') | replace(':', '\\:') | replace('\n', '\\n') | replace('\r', '\\r') -%}
  {{- marked(('\\' if text != text.lstrip() or text[:1] in ['(', '\ufeff'] else '') + text, '|endoftext|>') -}}
{%- endmacro -%}
{%- macro lines(text) -%}
  {%- for line in text.split('\n') -%}
    {{- (' ' if ':' in line else '') + line + ('' if loop.last else '\n') -}}
  {%- endfor -%}
{%- endmacro -%}
{%- set ns = namespace(time=<start>, behind=0) -%}
{{- <begin> -}}
{%- for message in messages -%}
  {%- set text = message['content'] | trim if message['role'] == 'assistant' else message['content'] -%}
  {%- if <quotes> and message['role'] == 'assistant' and text | length > 1 and text[:1] == '"' and text[-1:] == '"' -%}
    {%- set text = text[1:-1] -%}
  {%- endif -%}
  {%- if message['role'] == 'system' -%}
    {{- <before> ~ marked(<persona>, '|endoftext|>') ~ <behind> -}}
  {%- else -%}
    {%- set ns.time = ns.time + ns.behind + (<typing> * (text | length) if ns.behind and message['role'] != 'assistant' else 0) -%}
    {%- set ns.behind = <pause> + <reading> * (text | length) -%}
    {%- set who = <who> -%}
    {{- <opening> ~ words(text) ~ <closing> -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {%- set ns.time = ns.time + ns.behind -%}
  {{- <prompt> -}}
{%- endif -%}
"""


def template(session):
    """The chat template of a ChatSession, in Jinja."""
    f = frame(session)
    named = session.style.speakers is None
    opening = _expression(_header(session, NAME)[0] + _header(session, NAME)[1][0]) if named else 'who'
    who = _by_role(*(_escape_name(name) for name in (session.me, session.answerer))) if named else _by_role(*f.openings.values())
    holes = {'marks': json.dumps([mark[1:] for mark in f.marks]), 'start': str(session._start),
             'pause': str(PAUSE), 'reading': str(READING), 'typing': str(TYPING), 'begin': _literal(f.begin), 'closing': _literal(f.closing),
             'before': _literal(f.persona[0]), 'behind': _literal(f.persona[1]), 'persona': "lines(text.rstrip('\\n'))" if f.persona[1] == '\n' else 'text',
             'quotes': 'true' if f.closing != f.next else 'false', 'who': "named(message['name']) if message['name'] else " * named + who, 'opening': opening, 'prompt': _expression(f.prompts['assistant'])}
    return re.sub(r'<(\w+)>', lambda hole: holes[hole[1]], TEMPLATE.strip())


def _by_role(user, assistant):
    return f"({_literal(assistant)} if message['role'] == 'assistant' else {_literal(user)})"


def _expression(text):
    """A text with TIME and NAME in it -> an expression of Jinja."""
    parts = re.split(f'([{TIME}{NAME}])', text)
    return ' ~ '.join({TIME: 'ns.time', NAME: 'who'}.get(part) or _literal(part) for part in parts if part) or "''"


def _literal(text):
    return json.dumps(text, ensure_ascii=False)
