"""Chats for language models: OpenAI's and ShareGPT's, an object a line (JSONL) or all in one JSON array.

    {"messages": [{"role": "system", "content": "You are a helpful assistant."},
                  {"role": "user", "content": "Which platform does the train leave from?"},
                  {"role": "assistant", "content": [{"type": "text", "text": "Platform 4."}]}]}               (on one line)
    {"id": "q1", "conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Hello! How can I help?"}]}

- A content may be a list of parts, of which only those with text are words; it is null where the assistant calls a tool.
- What systems and tools say is no conversation.
"""
import re

from ..dialogue import Turn
from . import EMPTY, MEDIA, SYSTEM, UNREADABLE, Thread
from .records import first_objects, json_lines, json_start

NAME = 'chat_jsonl'

SPEAKERS = {'user': 'User', 'human': 'User', 'assistant': 'Assistant', 'gpt': 'Assistant'}
SYSTEMS = {'system', 'developer', 'tool', 'function', 'function_call', 'observation'}
CUT = re.compile(r'\{\s*"(?:messages|conversations)"\s*:\s*\[\s*\{\s*"(?:role|content|from|value)"\s*:')


def sniff(source):
    if source.suffix not in ('.json', '.jsonl', '.ndjson', '.txt'):
        return 0, 'not a .json or .jsonl'
    start = source.start.lstrip()
    if start.startswith('['):
        start = start[1:].lstrip()
        records = [json_start(start)]
    else:
        records = first_objects(start)
    for record in records:
        messages = _messages(record)
        if messages and isinstance(messages[0], dict) and ({'role', 'content'} <= messages[0].keys() or {'from', 'value'} <= messages[0].keys()):
            return 1, 'messages with role and content'
    if CUT.match(start):                                # an object longer than what is looked at, or over many lines
        if start.startswith('{"') or source.start.lstrip().startswith('['):
            return 0.8, 'messages with role and content'
        return 0.3, 'messages with role and content, but in an object over many lines: write an object a line, or an array'
    return 0, 'no messages with role and content'


def read(sources, tally):
    for source in sources:
        is_array = source.start.lstrip().startswith('[')
        for record in source.json_items('item') if is_array else json_lines(source):
            messages = _messages(record)
            if messages is None:
                tally.drop(UNREADABLE)
                continue
            thread = Thread()
            for message in messages:
                reason, turn = _turn(message)
                if turn:
                    thread.turns.append(turn)
                else:
                    tally.drop(reason)
            yield thread


def _messages(record):
    """The list of messages in a record, or None."""
    if not isinstance(record, dict):
        return None
    messages = record.get('messages', record.get('conversations'))
    return messages if isinstance(messages, list) else None


def _turn(message):
    """A message -> (why it is dropped, None) or (None, Turn)."""
    if not isinstance(message, dict):
        return UNREADABLE, None
    role, content = message.get('role', message.get('from')), message.get('content', message.get('value'))
    if not isinstance(role, str) or not role.strip():
        return UNREADABLE, None
    role = role.strip()
    if role.lower() in SYSTEMS or content is None and message.get('tool_calls'):
        return SYSTEM, None
    if isinstance(content, list):
        texts = [part.get('text') if isinstance(part, dict) else part for part in content]
        content = '\n'.join(text for text in texts if isinstance(text, str))
        if texts and not content.strip():
            return MEDIA, None
    if content is not None and not isinstance(content, str):
        return UNREADABLE, None
    if not content or not content.strip():
        return EMPTY, None
    return None, Turn(SPEAKERS.get(role.lower(), role[0].upper() + role[1:]), content)
