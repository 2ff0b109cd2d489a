"""Does --learn_from learn one person's habits and not the other's? Trains the demo model twice and counts.

    python benchmarks/habits.py             about 5 minutes on two cores

In the demo's chats Theo writes small letters only and ends no message with a full stop; Mara writes whole sentences. A model that
learnt from one of them answers what the other said in conversations held out of training; what is counted are its answers, and the
real ones beside them. Both models are trained on the same windows of the same text: only whose words count in the loss differs.
"""
import os
import re
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from src import console                                                 # noqa: E402
from src.dialogue import STYLES                                         # noqa: E402

PEOPLE = ('Theo', 'Mara')
HABITS = {
    'small letters only': lambda text: text == text.lower(),
    'a capital in front': lambda text: text[:1].isupper(),
    '. ? or ! behind': lambda text: text.rstrip()[-1:] in ('.', '?', '!'),
    'haha, oh man, small i': lambda text: bool(re.search(r'\bhaha|\boh man\b|\bi\b', text)),
}
TRAIN = ('--model_name demo --restore_from scratch --windows turns --learning_rate 3e-3 --schedule cosine --warmup_steps 100 --beta2 0.99 '
         '--batch_size 12 --noise 0.1 --stop_after 1001 --save_every 0 --sample_every 0 --print_every 250 --seed 1').split()


def run(*command):
    print('$ python', *command, flush=True)
    subprocess.run([sys.executable, *command], cwd=ROOT, check=True)


def answers(session_of, conversations, name):
    """What the model says as `name`, and what that person said, wherever the other one of the two spoke before."""
    made, real = [], []
    for conversation in conversations:
        for before, turn in zip(conversation.turns, conversation.turns[1:]):
            if turn.speaker == name and before.speaker != name and {before.speaker, turn.speaker} == set(PEOPLE):
                session = session_of(before.speaker, name)
                made.append(''.join(session.reply(before.text)))
                real.append(turn.text)
    return made, real


def main():
    console.import_tensorflow()
    from src import chat, checkpoint, encoder, sample
    with tempfile.TemporaryDirectory() as folder:
        text = os.path.join(folder, 'chats.txt')
        run('import_chats.py', 'demo/exports', '--out', text, '--validation', '0.07')
        with open(os.path.join(folder, 'chats.validation.txt'), encoding='utf-8') as file:
            conversations = list(STYLES['name'].parse(file.read()))
        rows = {}
        for name in PEOPLE:
            run('train.py', '--dataset', text, '--run_name', name, '--checkpoint_dir', folder, '--learn_from', name, *TRAIN)
            place = os.path.join(folder, name)
            generator, enc = sample.Generator(*checkpoint.load(place)), encoder.get_encoder(place)
            made, real = answers(lambda me, answerer: chat.ChatSession(generator, enc, STYLES['name'], me=me, answerer=answerer, temperature=0.6, seed=1),
                                 conversations, name)
            rows[f'answers of a model that learnt from {name} ({len(made)})'] = made
            rows[f'what {name} wrote ({len(real)})'] = real
    print(f'\n{"share of messages with":60}' + ''.join(f'{habit[:24]:>26}' for habit in HABITS))
    for title, texts in rows.items():
        print(f'{title:60}' + ''.join(f'{100 * sum(map(has, texts)) / len(texts):25.0f} %' for has in HABITS.values()))


if __name__ == '__main__':
    console.run(main)
