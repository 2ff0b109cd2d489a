"""Instagram's messages: the threads of an Instagram export, in JSON or HTML. They are those of Messenger (messenger.py), elsewhere.

    your_instagram_activity/messages/inbox/theo.bakes_17842/message_1.json      since 2023; before, messages/inbox/...
    {"participants": [{"name": "Theo Berg"}, {"name": "mara"}],
     "messages": [{"sender_name": "mara", "timestamp_ms": 1579294140000, "content": "Liked a message"},
                  {"sender_name": "Theo Berg", "timestamp_ms": 1579294100000, "content": "sp\\u00c3\\u00a4ter!"}],
     "title": "Theo Berg", "thread_path": "inbox/theo.bakes_17842"}

- 'Liked a message' and 'Reacted ❤ to your message' are lines that Instagram writes, and so is 'Theo sent an attachment.'
- A shared post has its author's words in share_text, not the sender's.
- Where the path does not tell the two apart, links to instagram.com do, and threads without participants.
"""
from . import READABLE, messenger
from .messenger import read                             # noqa: F401: it is this format's, too

NAME = 'instagram'


def sniff(source):
    score, why = messenger.recognise(source)
    match messenger.is_instagram(source) if score >= READABLE else None:
        case False:
            return 0.3, 'a thread of Messenger'
        case None:
            return min(score, 0.55), why.replace('Facebook', 'Instagram')
    return score, why


def group(source):
    return NAME
