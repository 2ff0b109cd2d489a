"""A million messages through import_chats.py, as WhatsApp, Telegram and Messenger export them: time and peak memory, beside chat-miner.

    python benchmarks/imports.py [--messages 1000000] [--runs 3] [--peer path/to/python]

chat-miner (github.com/joweich/chat-miner) parses the same files into a table of messages and stops there; import_chats.py also drops
duplicates, cuts sessions, joins bursts and writes the corpus. --peer names a Python that has it (pip install chat-miner); without one
ours are measured alone. Medians of the runs, which take turns; measure on a quiet machine.
"""
import argparse
import datetime
import json
import os
import random
import statistics
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]
from road import measure                                                # noqa: E402

from src import console, readers                                        # noqa: E402

PEER = ('import sys, chatminer.chatparsers as parsers; parser = getattr(parsers, sys.argv[1])(sys.argv[2]); parser.parse_file(); '
        'print(len(parser.parsed_messages.get_df()))')


def messages(n):
    """n messages of the demo's people, in random order, seconds to hours apart, a million in eleven years: (milliseconds since 1970, name, text)."""
    texts = [turn.text for thread in readers.read(os.path.join(ROOT, 'demo', 'exports')) for turn in thread.turns]
    draw, time = random.Random(1), 1_400_000_000_000
    for _ in range(n):
        time += 25_200_000 if draw.random() < 0.01 else draw.choice((5_000, 20_000, 60_000, 300_000))
        yield time, draw.choice(('Theo Lang', 'Mara Winter')), draw.choice(texts) + draw.choice(('', '', ' 😊', ' ja, schön'))


def whatsapp(path, n):
    with open(path, 'w', encoding='utf-8') as file:
        for time, name, text in messages(n):
            when = datetime.datetime.fromtimestamp(time / 1000, datetime.timezone.utc)
            file.write(f'{when:%d.%m.%y, %H:%M} - {name}: {text}\n')


def telegram(path, n):
    with open(path, 'w', encoding='utf-8') as file:
        file.write('{"name": "Mara Winter", "type": "personal_chat", "id": 7, "messages": [')
        for i, (time, name, text) in enumerate(messages(n)):
            when = datetime.datetime.fromtimestamp(time / 1000, datetime.timezone.utc)
            message = {'id': i, 'type': 'message', 'date': f'{when:%Y-%m-%dT%H:%M:%S}', 'date_unixtime': str(time // 1000), 'from': name,
                       'from_id': f'user{len(name)}', 'text': text, 'text_entities': [{'type': 'plain', 'text': text}]}
            file.write((',\n' if i else '\n') + json.dumps(message, ensure_ascii=False, indent=1))
        file.write(']}')


def messenger(path, n, part=10_000):
    """A zip of message_N.json, newest first, UTF-8 bytes as Latin-1 characters, as Facebook writes them."""
    found = list(messages(n))[::-1]
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for number, start in enumerate(range(0, n, part), 1):
            data = {'participants': [{'name': 'Mara Winter'}, {'name': 'Theo Lang'}], 'title': 'Mara Winter', 'thread_path': 'inbox/mara_7', 'messages': [
                {'sender_name': name, 'timestamp_ms': time, 'content': text.encode().decode('latin-1'), 'is_geoblocked_for_viewer': False}
                for time, name, text in found[start:start + part]]}
            archive.writestr(f'your_facebook_activity/messages/inbox/mara_7/message_{number}.json', json.dumps(data, indent=2))


FORMATS = (('WhatsApp', 'WhatsApp Chat with Mara.txt', whatsapp, 'WhatsAppParser'), ('Telegram', 'result.json', telegram, 'TelegramJsonParser'),
           ('Messenger', 'facebook.zip', messenger, None))        # the peer reads one message_N.json at a time


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=console.HelpFormatter)
    parser.add_argument('--messages', type=console.positive_int, default=1_000_000, metavar='N', help='messages in each export')
    parser.add_argument('--runs', type=console.positive_int, default=3, metavar='N', help='runs whose median is shown')
    parser.add_argument('--peer', metavar='PYTHON', help='a Python that has chat-miner')
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        print(f'{"":12}{"export, MB":>12}{"seconds":>10}{"peak MB":>10}{"chat-miner: seconds":>22}{"peak MB":>10}{"times as fast":>15}')
        for name, file, write, peer in FORMATS:
            path = os.path.join(work, file)
            write(path, args.messages)
            ours, theirs = [], []
            for _ in range(args.runs):
                ours.append(measure('import_chats.py', path, '--out', os.path.join(work, 'corpus.txt'), cwd=ROOT))
                if args.peer and peer:
                    theirs.append(measure('-c', PEER, peer, path, python=args.peer))
            seconds, peak = (statistics.median(run[i] for run in ours) for i in (0, 1))
            print(f'{name:12}{os.path.getsize(path) / 1e6:12.0f}{seconds:10.1f}{peak:10.0f}', end='')
            if theirs:
                other, memory = (statistics.median(run[i] for run in theirs) for i in (0, 1))
                print(f'{other:22.1f}{memory:10.0f}{other / seconds:15.1f}', end='')
            print(flush=True)
            os.remove(path)


if __name__ == '__main__':
    console.run(main)
