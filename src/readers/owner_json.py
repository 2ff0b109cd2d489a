"""Conversations as another toolkit keeps them: a JSON array of conversations, each an array of messages, by the owner or not.

    [[{"owner": false, "content": "Are you on the train?"}, {"owner": true, "content": "Yes, platform 4"}],
     [{"owner": true, "content": "Happy birthday!"}]]

- There are no names and no times: the owner is `Me`, whoever else is `Them`.
"""
import re

from ..dialogue import Turn
from . import EMPTY, UNREADABLE, Thread
from .records import json_start

NAME = 'owner_json'


def sniff(source):
    if source.suffix != '.json':
        return 0, 'not a .json'
    before, brace, _ = source.start.partition('{')
    if not brace or not re.fullmatch(r'\s*\[[\[\],\s]*', before) or before.count('[') - before.count(']') != 2:
        return 0, 'not an array of arrays of objects'
    first = json_start(source.start, len(before))
    if first is None:
        return 0, 'an array of arrays, but of no objects that can be read'
    if first.keys() >= {'owner', 'content'}:
        return 1, 'arrays of {"owner", "content"}'
    return 0.2, 'an array of arrays of objects, but without owner and content'


def read(sources, tally):
    for source in sources:
        for conversation in source.json_items('item'):
            if not isinstance(conversation, list):
                tally.drop(UNREADABLE)
                continue
            thread = Thread()
            for message in conversation:
                owner, content = (message.get('owner'), message.get('content')) if isinstance(message, dict) else (None, None)
                if not isinstance(owner, bool) or not isinstance(content, str):
                    tally.drop(UNREADABLE)
                elif not content.strip():
                    tally.drop(EMPTY)
                else:
                    thread.turns.append(Turn('Me' if owner else 'Them', content))
            yield thread
