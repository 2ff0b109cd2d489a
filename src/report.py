"""What evaluate.py found -> a table for the terminal, and a page: one file that needs nothing else.

    {'data': {'path', 'kind', 'benchmark'}, 'train': path or None, 'settings': {...}, 'models': [
        {'name', 'weights', 'scores': scoring.evaluate's or last_words', 'who', 'likeness': likeness.compare's, 'pairs': [replies.Pair], 'leaks': leaks.check's}]}

Both show the same Sections. Chats are other people's words: all of them are escaped, and the page says that it holds them.
"""
import html
import os
from typing import NamedTuple

from . import charts, leaks, published

SHOWN = 24                                              # replies on the page
MEASURES = {'words': ('Words in a reply, mean', '{:.1f}', 1), 'median': ('Words in a reply, median', '{:.0f}', 1),
            'distinct_1': ('Different words among all (distinct-1)', '{:.1f} %', 100), 'distinct_2': ('Different pairs of words (distinct-2)', '{:.1f} %', 100),
            'repeated': ('Runs of 4 that came before in the reply', '{:.1f} %', 100), 'loops': ('Replies that loop', '{:.1f} %', 100),
            'emoji': ('Replies with an emoji', '{:.1f} %', 100), 'capitals': ('Replies that begin with a capital', '{:.1f} %', 100),
            'closed': ('Replies that end with . ! ? or …', '{:.1f} %', 100)}
SCORES = {'bleu': ('BLEU-4, 0 to 100', '{:.2f}', 1), 'meteor': ('METEOR, without synonyms, 0 to 1', '{:.3f}', 1), 'nist': ('NIST-5, 0 up', '{:.2f}', 1)}
LENGTHS = ('1', '2', '3–4', '5–7', '8–11', '12–17', '18–26', '27–39', '40+')
DRAWN = ('distinct_1', 'distinct_2', 'repeated', 'loops', 'emoji', 'capitals', 'closed')      # measures that are shares


class Section(NamedTuple):
    """A table. kind: scores, replies, published, likeness or leaks; columns: the names behind the first; rows [[what, a cell for each column]]; notes:
    sentences below it."""
    kind: str
    title: str
    columns: list
    rows: list
    notes: list


def estimate(found, form='{:.2f}', times=1):
    """An intervals.Estimate as '2.99 (2.91 to 3.07)'."""
    if found is None:
        return '–'
    value, low, high = found
    if high is not None and form.endswith('%'):         # of a few replies an interval may leave what a share can be
        low, high = max(0, low), min(1, high)
    said = form.format(times * value)
    if low is None:
        return said
    return f'{said} ({form.format(times * low).removesuffix(" %")} to {form.format(times * high).removesuffix(" %")})'


def large(x):
    """A perplexity: as many digits as tell something."""
    return '–' if x is None else f'{x:,.2f}' if x < 1000 else f'{x:,.0f}' if x < 1e9 else f'{x:.1e}'


def sections(result):
    """The Sections of a result."""
    models = result['models']
    columns = [model['name'] for model in models]
    found = [_words_section(result, columns) if result['data']['benchmark'] == 'lambada' else _scores_section(result, columns)]
    if any(model['scores'].get('replies') for model in models):
        found.append(_replies_section(models, columns))
    if result['data']['benchmark']:
        found.append(_published_section(result))
    if any(model.get('likeness') for model in models):
        found.append(_likeness_section(models))
    if any(model.get('leaks') for model in models):
        found.append(_leaks_section(result, models))
    return found


def _scores_section(result, columns):
    texts = [model['scores']['text'] for model in result['models']]
    rows = [['Tokens scored'] + [f'{text["tokens"]:,}' for text in texts],
            ['Loss, nats a token'] + [estimate([text['loss'], *(text['interval'] or (None, None))], '{:.3f}') for text in texts],
            ['Perplexity of a token'] + [large(text['perplexity']) for text in texts],
            ['Perplexity of a word'] + [large(text['word_perplexity']) for text in texts],
            ['Bits per byte'] + ['–' if text['bits_per_byte'] is None else f'{text["bits_per_byte"]:.3f}' for text in texts],
            ['Tokens guessed right'] + [f'{100 * text["accuracy"]:.1f} %' for text in texts],
            ['Stride, of n_ctx'] + [f'{model["scores"]["stride"]:,} of {model["scores"]["n_ctx"]:,}' for model in result['models']],
            ['Tokens/s'] + [f'{model["scores"]["tokens_per_s"]:,.0f}' for model in result['models']]]
    return Section('scores', f'{os.path.basename(os.path.normpath(result["data"]["path"]))}: {result["data"]["kind"]}', columns, rows,
                   ['Each token is scored once. Perplexity of a token compares models of one vocabulary only; that of a word, and bits per byte, any.'])


def _words_section(result, columns):
    found = [model['scores'] for model in result['models']]
    rows = [['Passages'] + [f'{scores["passages"]:,}' for scores in found],
            ['Last word right'] + [estimate([scores['accuracy'], *scores['accuracy_interval']], '{:.2f} %', 100) for scores in found],
            ['Perplexity of the last word'] + [large(scores['perplexity']) for scores in found],
            ['Tokens/s'] + [f'{scores["tokens_per_s"]:,.0f}' for scores in found]]
    return Section('scores', f'{os.path.basename(os.path.normpath(result["data"]["path"]))}: {result["data"]["kind"]}', columns, rows, [])


def _replies_section(models, columns):
    replies = [model['scores']['replies'] for model in models]
    rows = [['Whose'] + ['–' if found is None else 'everyone\'s' if found['who'] == 'replies' else found['who'] for found in replies]]
    for what, show in (('Turns', lambda found: f'{found["turns"]:,}'), ('Tokens scored', lambda found: f'{found["tokens"]:,}'),
                       ('Loss, nats a token', lambda found: estimate([found['loss'], *(found['interval'] or (None, None))], '{:.3f}')),
                       ('Perplexity of a token', lambda found: large(found['perplexity'])), ('Perplexity of a word', lambda found: large(found['word_perplexity'])),
                       ('Tokens guessed right', lambda found: f'{100 * found["accuracy"]:.1f} %')):
        rows.append([what] + ['–' if found is None else show(found) for found in replies])
    return Section('replies', 'What is said in reply', columns, rows, ['The words alone, with what ends them, behind the conversation as it was.'])


def _published_section(result):
    benchmark = published.BENCHMARKS[result['data']['benchmark']]
    columns, rows = list(published.SIZES) + [model['name'] for model in result['models']], []
    for what, label in (('word_perplexity', 'Perplexity'), ('perplexity', 'Perplexity'), ('accuracy', 'Accuracy'), ('bits_per_byte', 'Bits')):
        if what in benchmark.results:
            form = '{:.2f} %' if what == 'accuracy' else '{:.2f}'
            ours = [model['scores'].get('text', model['scores'])[what] for model in result['models']]
            rows.append([label] + [form.format(x * (100 if what == 'accuracy' else 1)) for x in benchmark.results[what]]
                        + [large(x) if 'erplexity' in what else form.format(x * (100 if what == 'accuracy' else 1)) for x in ours])
    return Section('published', f'{benchmark.title}, beside GPT-2 as published', columns, rows,
                   [f'Radford et al. 2019, table 3, zero-shot: {", ".join(published.SIZES)} are 124M, 355M, 774M and 1558M here. Ours is {benchmark.rule}.'])


def sides(models):
    """[(column, likeness, 'human' or 'model')] of the models that replied: each person in front of those who play them."""
    found, before = [], []
    for model in models:
        if model.get('likeness'):
            human = [model['who'], [pair.human for pair in model['pairs']]]
            if human not in before:
                before.append(human)
                found.append((f'{model["who"]} wrote' if model['who'] else 'as written', model['likeness'], 'human'))
            found.append((model['name'], model['likeness'], 'model'))
    return found


def _likeness_section(models):
    columns, rows = sides(models), []
    n = max(likeness['n'] for _, likeness, _ in columns)
    for key, (label, form, times) in MEASURES.items():
        rows.append([label] + [estimate(likeness['measures'][key][who], form, times) + (' ≠' if who == 'model' and likeness['measures'][key]['differs'] else '')
                               for _, likeness, who in columns])
    rows.append(['Words as often as the person (0 to 1)'] + [estimate(likeness['overlap'][who]) for _, likeness, who in columns])
    notes = ['The range beside a number: where it lies with 95 % confidence (bootstrap over replies). ≠: the model differs from the person by more than chance.']
    if any(likeness['overlap']['human'] for _, likeness, _ in columns):
        notes.append('The person\'s own overlap is of as many other turns of theirs with these.')
    if any(likeness['scores'] for _, likeness, _ in columns):
        rows += [[label] + ['' if who == 'human' else estimate(likeness['scores'][key], form, times) for _, likeness, who in columns]
                 for key, (label, form, times) in SCORES.items()]
        notes.append('BLEU, METEOR and NIST compare with the one reply that was written. A good reply may be another one: they are low for all who chat.')
    else:
        notes.append('BLEU, METEOR and NIST need two packages more: pip install -r requirements-evaluate.txt.')
    return Section('likeness', f'{n} replies in places where {" and ".join(dict.fromkeys(model["who"] or "the text" for model in models if model.get("likeness")))} went on',
                   [column for column, _, _ in columns], rows, notes)


def _leaks_section(result, models):
    found = [model for model in models if model.get('leaks')]
    columns = [(model['name'], model['leaks']['model']) for model in found]
    for model in found:                                 # people's are the same where the vocabularies are
        if model['leaks']['human'] not in [side for _, side in columns]:
            columns.append((f'people, as {model["name"]} reads them' if len(columns) > len(found) else 'people, held out', model['leaks']['human']))
    sides = [side for _, side in columns]
    rows = [['Longest run that stands in the training data'] + [f'{side["longest"]} tokens' for side in sides]]
    for key, k in (('long', leaks.LONG), ('short', leaks.SHORT)):
        rows.append([f'Runs of {k} tokens that stand there'] + [estimate(side[key].share, '{:.2f} %', 100) for side in sides])
        rows.append(['    of how many'] + [f'{side[key].runs:,}' for side in sides])
    rows.append([f'Replies of {leaks.SHORT} tokens or more that stand there whole'] + [f'{side["whole"].found} of {side["whole"].runs}' for side in sides])
    return Section('leaks', f'Word for word in {os.path.basename(os.path.normpath(result["train"]))}', [name for name, _ in columns], rows, [f'{model["name"]}: {model["leaks"]["verdict"]}' for model in found]
                   + ['Of the model: its replies, and what it makes up from the beginning. Of people: the held-out text. Names and marks of turns count as tokens.'])


# ---- the terminal

def table(result):
    """The Sections as text."""
    lines = []
    for section in sections(result):
        rows = [['', *section.columns], *section.rows]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines.append(section.title)
        lines += ['  ' + (row[0].ljust(widths[0]) + ''.join('  ' + cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))).rstrip() for row in rows]
        lines += [f'  {note}' for note in section.notes] + ['']
    return '\n'.join(lines)


# ---- the page

PAGE = '''<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex"><title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #23211d; --faint: #6f6a60; --paper: #faf8f4; --card: #fff; --line: #e4dfd5;
  --s0: #6f6a60; --s1: #2468c8; --s2: #c9541a; --s3: #12805c; --s4: #8c3fb0; --s5: #a8790a; --s6: #c03070; --s7: #3d8a99; --bad: #b3261e; --good: #12805c }}
@media (prefers-color-scheme: dark) {{ :root {{ --ink: #ece8e0; --faint: #a39d91; --paper: #191816; --card: #232220; --line: #3a3833;
  --s0: #b9b3a6; --s1: #74a7f5; --s2: #f08a55; --s3: #4cc399; --s4: #c58ae6; --s5: #e0b64a; --s6: #f07aac; --s7: #79c3d1; --bad: #ff8a80; --good: #4cc399 }} }}
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; background: var(--paper); color: var(--ink) }}
main {{ max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem }}
h1 {{ font-size: 1.5rem; line-height: 1.25; margin: .5rem 0; overflow-wrap: anywhere }} h2 {{ font-size: 1.15rem; margin: 2.5rem 0 .6rem; overflow-wrap: anywhere }} h3 {{ font-size: 1rem; margin: 0 0 .3rem }}
p {{ margin: .4rem 0; max-width: 46rem; overflow-wrap: anywhere }} .note, figcaption, .legend {{ color: var(--faint); font-size: .87rem }}
.holds {{ border-left: .25rem solid var(--s2); padding: .3rem .8rem; background: var(--card) }}
.verdict {{ border-left: .25rem solid var(--good); padding: .5rem .8rem; background: var(--card) }} .verdict.leaks {{ border-color: var(--bad) }}
.wide {{ overflow-x: auto; width: fit-content; max-width: 100%; background: var(--card); border: 1px solid var(--line); border-radius: .5rem }}
table {{ border-collapse: collapse; min-width: min(34rem, calc(100vw - 2.2rem)); font-size: .92rem }} th, td {{ padding: .35rem .8rem; text-align: right; border-top: 1px solid var(--line); font-variant-numeric: tabular-nums }}
thead th {{ border-top: 0; overflow-wrap: anywhere; vertical-align: bottom }} td span {{ white-space: nowrap }} td .sure {{ color: var(--faint); font-size: .85em }}
th:first-child {{ text-align: left; font-weight: 400; position: sticky; left: 0; background: var(--card); min-width: 9rem }}
.charts {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; margin-top: 1rem; align-items: start }}
figure {{ margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem; max-width: 34rem }} svg {{ width: 100%; display: block }}
svg text {{ font: 11px system-ui, sans-serif; fill: var(--ink) }} svg .tick {{ fill: var(--faint); font-size: 10px }} svg .grid {{ stroke: var(--line) }}
.legend span {{ white-space: nowrap; margin-right: .9rem }} .legend i {{ display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .35em }}
.words {{ list-style: none; margin: 0; padding: 0; font-size: .92rem }} .words li {{ display: grid; grid-template-columns: 8rem 1fr auto; gap: .5rem; align-items: center }}
.words b {{ font-weight: 500; overflow: hidden; text-overflow: ellipsis; white-space: nowrap }} .words i {{ height: .6rem; border-radius: .3rem }} .words small {{ color: var(--faint) }}
.pair {{ background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; margin: .6rem 0 }}
.pair p {{ margin: .15rem 0; white-space: pre-wrap; overflow-wrap: anywhere; max-width: none }} .pair .before {{ color: var(--faint) }} .pair .said {{ border-left: .2rem solid; padding-left: .6rem }}
.pair small {{ color: var(--faint) }} mark {{ background: none; color: var(--bad); font-weight: 600 }} 
@media (max-width: 40rem) {{ table {{ font-size: .84rem }} th, td {{ padding: .3rem .45rem }} th:first-child {{ min-width: 7rem; max-width: 8rem }} }}
</style></head><body><main>
{body}</main></body></html>
'''


def page(result):
    """The page as text."""
    models, data = result['models'], result['data']
    title = f'{" and ".join(model["name"] for model in models)} on {os.path.basename(os.path.normpath(data["path"]))}'
    body = [f'<h1>{html.escape(title)}</h1>',
            f'<p class="note">{html.escape(settings_line(result))}</p>']
    replied = [model for model in models if model.get('pairs')]
    if replied:
        body.append('<p class="holds">This page holds words from the conversations it was made of, and what models wrote in people\'s names. Show it to nobody whom the '
                    'people in them would not let read along.</p>')
    colours = {model['name']: 1 + i % 7 for i, model in enumerate(models)}
    for section in sections(result):
        body.append(f'<h2>{html.escape(section.title)}</h2>')
        notes = section.notes
        if section.kind == 'leaks':
            judged = [model for model in models if model.get('leaks')]
            body += [f'<p class="verdict{" leaks" if model["leaks"]["leaks"] else ""}">{html.escape(note)}</p>' for model, note in zip(judged, notes)]
            notes = notes[len(judged):]
        body.append(_table(section))
        body += [f'<p class="note">{html.escape(note)}</p>' for note in notes]
        body += _charts(section, models, colours)
    body += _typical(replied, colours) + _recited(replied) + _pairs(replied, colours)
    return PAGE.format(title=html.escape(title), body='\n'.join(body))


def settings_line(result):
    """How it was done."""
    settings = result['settings']
    said = [f'{model["name"]}: {model["weights"]}' for model in result['models']]
    if settings['replies']:
        length = f'up to {settings["length"]} tokens' if settings['length'] else 'the length that each run learnt'
        said.append(f'{settings["replies"]} replies of {length}, temperature {settings["temperature"]:g}, top_k {settings["top_k"]}, '
                    f'top_p {settings["top_p"]:g}, seed {settings["seed"]}')
    return '. '.join(said) + '.'


def _table(section):
    head = ''.join(f'<th scope="col">{html.escape(column)}</th>' for column in section.columns)
    rows = ''.join(f'<tr><th scope="row">{html.escape(row[0].strip())}</th>' + ''.join(f'<td>{_cell(cell)}</td>' for cell in row[1:]) + '</tr>' for row in section.rows)
    return f'<div class="wide"><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _cell(said):
    value, bracket, rest = html.escape(said).partition(' (')
    if not bracket:
        return f'<span>{value}</span>'
    interval, _, mark = rest.partition(')')
    return f'<span>{value}{mark}</span> <span class="sure">{interval}</span>'


def _figure(title, drawing, series, note=''):
    legend = ''.join(f'<span><i style="background:var(--s{colour})"></i><bdi>{html.escape(name)}</bdi></span>' for name, colour in dict.fromkeys(series))
    return (f'<figure><h3>{html.escape(title)}</h3>{drawing}<div class="legend">{legend}</div>' + (f'<figcaption>{html.escape(note)}</figcaption>' if note else '') + '</figure>')


def _charts(section, models, colours):
    """The pictures that belong below a section."""
    scored = [model for model in models if model['scores'].get('by_position')]
    found = []
    if section.kind == 'scores' and scored:
        series = [(model['name'], colours[model['name']], [(at, loss) for at, _, loss in model['scores']['by_position']]) for model in scored]
        found.append(_figure('Loss by how much the model has seen', charts.lines(series, 'Loss by tokens in front'), [part[:2] for part in series],
                             'Nats a token, by how many tokens stand in front: from each number to the next.'))
    elif section.kind == 'likeness':
        columns = [(name, 0 if who == 'human' else colours[name], likeness, who) for name, likeness, who in sides(models)]
        legend = [part[:2] for part in columns]
        found.append(_figure('Words in a reply', charts.bars(LENGTHS, [(name, colour, likeness['lengths'][who]) for name, colour, likeness, who in columns],
                                                             'Share of replies by their words'), legend))
        rows = [(MEASURES[key][0], [(name, colour, likeness['measures'][key][who]) for name, colour, likeness, who in columns if likeness['measures'][key][who]]) for key in DRAWN]
        found.append(_figure('How it is written', charts.dots(rows, 'Shares with their intervals'), legend))
    elif section.kind == 'leaks':
        leaking = [model for model in models if model.get('leaks')]
        series = [(model['name'], colours[model['name']], model['leaks']['model']) for model in leaking] + [('people, held out', 0, leaking[0]['leaks']['human'])]
        rows = [(f'Runs of {k} tokens', [(name, colour, side[key].share) for name, colour, side in series if side[key].share])
                for key, k in (('short', leaks.SHORT), ('long', leaks.LONG))]
        found.append(_figure('What stands in the training data', charts.dots(rows, 'Shares of runs in the training data'), [part[:2] for part in series]))
    return [f'<div class="charts">{"".join(found)}</div>'] if found else []


def _typical(models, colours):
    """The words that tell models from people."""
    found = []
    for model in models:
        for side, name, colour in (('human', model['who'] or 'the text', 0), ('model', model['name'], colours[model['name']])):
            words = model['likeness']['typical'][side]
            largest = max([z for _, z, _, _ in words], default=1)
            items = ''.join(f'<li><b><bdi>{html.escape(word)}</bdi></b><i style="background:var(--s{colour});width:{100 * z / largest:.0f}%"></i><small>{one} : {other}</small></li>'
                            for word, z, one, other in words)
            other = model['name'] if side == 'human' else model['who'] or 'the text'
            found.append(f'<figure><h3><bdi>{html.escape(name)}</bdi> rather than <bdi>{html.escape(other)}</bdi></h3>'
                         + (f'<ul class="words">{items}</ul>' if items else '<p class="note">No word tells them apart.</p>') + '</figure>')
    if not found:
        return []
    return ['<h2>Words that tell them apart</h2>', f'<div class="charts">{"".join(found)}</div>',
            '<p class="note">How often the one says it and the other, by log-odds with a Dirichlet prior (Monroe et al. 2008); longer bars tell more.</p>']


def _recited(models):
    """What models wrote that stands in the training data, marked; and the longest of it."""
    found = []
    for model in models:
        if not model.get('leaks'):
            continue
        side = model['leaks']['model']
        if side['longest']:
            found.append(f'<div class="pair"><small>The longest run of {html.escape(model["name"])}, {side["longest"]} tokens</small><p><bdi>{html.escape(side["said"])}</bdi></p></div>')
        for parts in model['leaks']['marked'][:SHOWN]:
            marked = ''.join(f'<mark>{html.escape(part)}</mark>' if held else html.escape(part) for part, held in parts)
            found.append(f'<div class="pair"><small>{html.escape(model["name"])}, with runs of {leaks.LONG} marked</small><p><bdi>{marked}</bdi></p></div>')
    return ['<h2>What stands in the training data</h2>', *found] if found else []


def _pairs(models, colours):
    """Some places, with what was written there and what the models write; models that answered in the same places stand together."""
    found, together = [], {}
    for model in models:
        together.setdefault((model['who'], *(pair.human for pair in model['pairs'])), []).append(model)
    for group in together.values():
        shown = []
        for places in list(zip(*(model['pairs'] for model in group)))[:SHOWN]:
            pair = places[0]
            before = (f'<p class="before"><bdi>… {html.escape(pair.before)}</bdi></p>' if isinstance(pair.before, str) else
                      ''.join(f'<p class="before"><bdi>{html.escape(turn.speaker)}: {html.escape(turn.text)}</bdi></p>' for turn in pair.before))
            written = [(group[0]['who'] or 'the text', 0, pair.human)] + [(model['name'], colours[model['name']], one.model) for model, one in zip(group, places)]
            said = ''.join(f'<p class="said" style="border-color:var(--s{colour})"><small>{html.escape(name)}</small>\n<bdi>{html.escape(words)}</bdi></p>'
                           for name, colour, words in written)
            shown.append(f'<div class="pair">{before}{said}</div>')
        more = len(group[0]['pairs']) - len(shown)
        found += shown + ([f'<p class="note">{more} more are in what --json writes.</p>'] if more else [])
    return ['<h2>Replies, side by side</h2>', *found] if found else []
