"""The page in a real browser, in front of a server that says what the test wants, and once in front of serve.py."""
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT

from src import dialogue

api = pytest.importorskip('playwright.sync_api', reason='the page is tested with playwright')
expect = api.expect
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason='there is no chromium to show the page')
PAGE = os.path.join(ROOT, 'src', 'web', 'index.html')
TALK = {'me': 'Theo', 'answerer': 'Mara', 'people': ['Mara', 'Theo'], 'n_ctx': 1024, 'length': 100, 'max_tokens': 512, 'max_choices': 16,
        'temperature': 0.95, 'top_p': 0.9, 'top_k': 40}
FRIENDS = ['Mara', 'Theo', 'Priya', 'Lena']


# ---- a server that says what the test wants

class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        if self.path == '/':
            with open(PAGE, 'rb') as file:
                return self.answer(200, file.read(), 'text/html; charset=utf-8')
        if self.path != '/v1/models':
            return self.answer(404)
        self.may() and self.answer(200, {'data': [{'id': 'run1', 'chat': self.server.talk}]})

    def do_POST(self):
        server, body = self.server, json.loads(self.rfile.read(int(self.headers['Content-Length'])))
        if not self.may():
            return
        server.asked.append(body)
        fault = server.faults.pop(0) if server.faults else ()
        if fault and fault[0] != 'cut':
            return self.answer(*fault)
        self.send_response(200)
        self.send_header('Content-Type', 'text/event-stream')
        self.send_header('Connection', 'close')
        self.end_headers()
        said = server.says if server.says is not None else f'{body["speaker"]} hears {body["messages"][-1]["content"]}'
        with contextlib.suppress(OSError):
            for i, words in enumerate(re.findall(r'\s*\S+', said)):
                if i == 2:
                    server.go.wait(10)                  # a reply halts behind two words, where a test asks for it
                if i == 1 and fault:
                    return                              # the line breaks
                for k in range(body['n']):
                    self.say(server.head | {'choices': [{'index': k, 'delta': {'content': words + f' ({k})' * (i == 0 and k > 0 and said != 'the same')}}]})
            for k, score in enumerate(server.scores[:body.get('candidates', 0)]):
                self.say({'choices': [{'index': k, 'delta': {}, 'finish_reason': 'stop', 'score': score}]})
            self.wfile.write(b'data: [DONE]\n\n')
            return
        server.left.set()

    def say(self, event):
        data = b'data: ' + json.dumps(event).encode() + b'\n\n'
        self.wfile.write(data[:9])                      # a reader must put halves together
        self.wfile.flush()
        self.wfile.write(data[9:])
        self.wfile.flush()

    def may(self):
        fine = self.server.token is None or self.headers['Authorization'] == 'Bearer ' + self.server.token
        fine or self.answer(401, {'error': {'message': 'the token is missing or another.'}})
        return fine

    def answer(self, status, content=b'', kind='application/json', headers=()):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {'Content-Type': kind, 'Content-Length': len(content), **dict(headers)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class StandIn(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(('127.0.0.1', port), Handler)
        self.url = f'http://127.0.0.1:{self.server_port}/'
        self.talk, self.says, self.token, self.faults, self.asked, self.complaints = dict(TALK), None, None, [], [], []
        self.head = {}                                  # of each event
        self.scores = []                                # of what there is to choose from
        self.go, self.left = threading.Event(), threading.Event()
        self.go.set()


@pytest.fixture
def server():
    with StandIn() as server:
        threading.Thread(target=server.serve_forever, kwargs={'poll_interval': 0.01}, daemon=True).start()
        yield server
        server.go.set()
        server.shutdown()


@pytest.fixture(scope='module')
def browser():
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


class Page:
    """The page, and what a person does with it."""

    def __init__(self, context, url, complaints):
        self.page = page = context.new_page()
        page.set_default_timeout(5000)
        page.on('console', lambda said: said.type in ('error', 'warning') and not said.text.startswith('Failed to load resource') and complaints.append(said.text))
        page.on('pageerror', lambda error: complaints.append(str(error)))
        page.on('request', lambda asked: asked.url.startswith((url, 'data:', 'blob:' + url)) or complaints.append(asked.url))
        page.goto(url)
        expect(self('#pair')).to_contain_text('with')

    def __call__(self, selector):
        return self.page.locator(selector)

    def press(self, name):
        self.page.get_by_role('button', name=name, exact=True).last.click()

    def say(self, text, answered=True):
        self('#box').fill(text)
        self('#box').press('Enter')
        if answered:
            expect(self('#send')).to_have_text('Send')

    def words(self):
        return self('.words').all_text_contents()

    def kept(self):
        """The conversations in the browser's store."""
        return self.page.evaluate('Object.keys(localStorage).filter(key => key.startsWith("chat:")).map(key => JSON.parse(localStorage[key]))')

    def reload(self):
        self.page.reload()
        expect(self('#pair')).to_contain_text('with')

    def saved(self, name):
        with self.page.expect_download() as download:
            self.press(name)
        with open(download.value.path(), encoding='utf-8') as file:
            return file.read()


@pytest.fixture
def open_page(browser, server):
    """-> a function that opens the page in a browser nobody has used; at the end nobody complained, and nothing went elsewhere."""
    contexts, complaints = [], server.complaints

    def opened(url=server.url, before=None, **options):
        context = browser.new_context(**{'viewport': {'width': 1100, 'height': 700}, 'reduced_motion': 'reduce'} | options)
        contexts.append(context)
        if before:
            context.add_init_script(before)
        return Page(context, url, complaints)
    yield opened
    for context in contexts:
        context.close()
    assert not complaints


# ---- talking

def test_a_conversation_streams_and_is_there_after_reload(open_page, server):
    page = open_page()
    server.go.clear()
    page.say('hi mara', answered=False)
    expect(page('.words').last).to_have_text('Mara hears')                  # what there is by now
    assert page('#said').text_content() == ''                               # said to nobody before it is whole
    server.go.set()
    expect(page('.words').last).to_have_text('Mara hears hi mara')
    expect(page('#said')).to_have_text('Mara: Mara hears hi mara')
    page.say('again')
    page.reload()
    assert page.words() == ['hi mara', 'Mara hears hi mara', 'again', 'Mara hears again']
    assert server.asked[-1] == {'messages': [
        {'role': 'user', 'name': 'Theo', 'content': 'hi mara'}, {'role': 'assistant', 'name': 'Mara', 'content': 'Mara hears hi mara'},
        {'role': 'user', 'name': 'Theo', 'content': 'again'}], 'speaker': 'Mara', 'stream': True, 'n': 1}
    assert page.page.title() == 'hi mara'


@pytest.mark.parametrize('how', ['button', 'Escape'])
def test_stop_keeps_what_there_is_and_the_server_hears_of_it(open_page, server, how):
    page = open_page()
    server.go.clear()
    server.says = 'one two ' + 'three ' * 10000
    page.say('count', answered=False)
    expect(page('.words').last).to_have_text('one two')
    expect(page('#send')).to_have_text('Stop')
    page('#send').click() if how == 'button' else page('#box').press('Escape')
    expect(page('#send')).to_have_text('Send')
    server.go.set()
    assert server.left.wait(5)
    assert page.words() == ['count', 'one two'] and page('.problem').count() == 0
    page.reload()
    assert page.words() == ['count', 'one two']


def test_leaving_in_the_middle_loses_nothing(open_page, server):
    page = open_page()
    server.go.clear()
    page.say('hi', answered=False)
    expect(page('.words').last).to_have_text('Mara hears')
    page('#box').fill('half a thou')
    page.reload()
    assert page.words() == ['hi', 'Mara hears'] and page('#box').input_value() == 'half a thou'
    assert 'cut' not in page.kept()[0]['turns'][1]                          # the line did not break, we left


def test_a_reply_comes_to_its_conversation_whatever_is_shown(open_page, server):
    page = open_page()
    server.go.clear()
    page.say('hi', answered=False)
    expect(page('.words').last).to_have_text('Mara hears')
    page.press('New')
    expect(page('.words')).to_have_count(0)
    expect(page('#list')).to_contain_text('Mara is writing')
    server.go.set()
    page.say('elsewhere')
    assert page.words() == ['elsewhere', 'Mara hears elsewhere']
    page('#list button').filter(has_text='hi').last.click()
    expect(page('.words')).to_have_text(['hi', 'Mara hears hi'])


def test_retry_replaces_the_newest_reply_and_its_failure_does_not(open_page, server):
    page = open_page()
    page.say('hi')
    server.says = 'Something else entirely'
    server.go.clear()
    page.press('Retry')
    expect(page('.words')).to_have_text(['hi', 'Something else'])
    server.go.set()
    expect(page('.words').last).to_have_text(server.says)
    assert server.asked[1] == server.asked[0] and len(page.words()) == 2
    server.faults = [(500, {'error': {'message': 'the model failed.'}})]
    page.press('Retry')
    expect(page('.problem')).to_contain_text('The server says: the model failed.')
    assert page.words() == ['hi', server.says] == [turn['text'] for turn in page.kept()[0]['turns']]


def test_my_own_words_are_changed_and_answered_anew(open_page, server):
    page = open_page()
    page.say('first')
    page.say('second')
    page('#box').press('ArrowUp')                                           # the last message of my own
    expect(page('#editor')).to_have_value('second')
    page('#editor').press('Escape')
    assert len(page.words()) == 4
    page('li.own').first.hover()
    page('#more-0').click()
    page.press('Edit')
    expect(page('.editor')).to_contain_text('What follows goes')
    page('#editor').fill('one\ntwo')
    page('#editor').press('Enter')
    expect(page('.words')).to_have_text(['one\ntwo', 'Mara hears one two'], use_inner_text=True)
    assert [turn['text'] for turn in page.kept()[0]['turns']] == ['one\ntwo', 'Mara hears one\ntwo']
    server.go.clear()
    server.says = 'one two ' + 'three ' * 10000
    page('#box').press('ArrowUp')
    page.press('Retry')
    expect(page('.words').last).to_have_text('one two')
    server.says = None
    page('#editor').fill('other')                                           # while they are answered
    page('#editor').press('Enter')
    server.go.set()
    assert server.left.wait(5)                                              # nobody waits for the first answer any more
    expect(page('.words')).to_have_text(['other', 'Mara hears other'])


def test_others_words_are_put_right_and_rated(open_page, server):
    page = open_page()
    page.say('first')
    page.say('second')
    page.press('Good')
    expect(page('#good-3')).to_have_attribute('aria-pressed', 'true')
    expect(page('#good-3')).to_be_focused()                                 # drawing anew takes no focus away
    page('li').filter(has_text='hears first').hover()
    page('#more-1').click()
    page('#edit-1').click()
    page('#editor').fill('Better words')
    page.press('Save')
    page('#more-1').click()
    page('#bad-1').click()
    page.reload()
    assert page.words() == ['first', 'Better words', 'second', 'Mara hears second']
    turns = page.kept()[0]['turns']
    assert (turns[1]['was'], turns[1]['rating'], turns[3]['rating']) == ('Mara hears first', -1, 1)
    page.press('Good')                                                      # once more: not rated
    assert 'rating' not in page.kept()[0]['turns'][3]


def test_one_of_several_is_chosen(open_page, server):
    page = open_page()
    page.say('hi')
    server.go.clear()
    page.press('Choose')
    expect(page('.card')).to_have_count(4)
    expect(page('.card').nth(3)).to_be_disabled()                           # while they are written
    server.go.set()
    expect(page('.card')).to_have_text(['Mara hears hi', 'Mara (1) hears hi', 'Mara (2) hears hi', 'Mara (3) hears hi'])
    assert server.asked[-1]['n'] == 4 and page.words() == ['hi', 'Mara hears hi']
    server.scores = [-2.5, 0, -3, 1.5]
    page('#box').press('Escape')
    page.press('Choose')
    expect(page('.card')).to_have_text(['Mara (3) hears hi', 'Mara (1) hears hi', 'Mara hears hi', 'Mara (2) hears hi'])        # the best first
    page('.card').nth(3).click()
    assert page.words() == ['hi', 'Mara (2) hears hi'] and page('.card').count() == 0
    page.press('Settings')
    page.page.get_by_label('Offer four').check()
    page.press('Done')
    page.say('and now', answered=False)
    expect(page('#card-0')).to_be_enabled()
    page('#box').press('Escape')                                            # none of them
    expect(page('#after')).to_contain_text('Mara has not answered.')
    page.press('Ask again')
    page('#card-1:enabled').click()
    assert page.words()[2:] == ['and now', 'Mara (1) hears and now']
    server.talk['max_choices'] = 2
    page.reload()
    server.go.clear()
    server.says = 'one two three'
    page.press('Choose')
    expect(page('.card')).to_have_text(['one two', 'one (1) two'])          # no more than the server makes at once
    server.go.set()
    expect(page('#card-0')).to_be_enabled()
    assert server.asked[-1]['n'] == 2
    server.says = 'the same'
    page.press('Choose')
    expect(page('#card-0')).to_be_enabled()
    expect(page('.card')).to_have_text(['the same'])


# ---- who speaks, and how

def test_a_group_chat(open_page, server):
    server.talk['people'] = FRIENDS
    page = open_page()
    expect(page('#people button')).to_have_text(['Mara', 'Priya', 'Lena'])
    page.press('Priya speaks')                                              # begins
    expect(page('.words')).to_have_text(['Priya hears'])
    page.press('Settings')
    page.page.get_by_label('I am').select_option('Lena')
    page.page.get_by_label('Answers').select_option('anyone')
    page.press('Done')
    expect(page('#pair')).to_contain_text('Lena with anyone')
    page.say('Theo, where are you?')
    assert server.asked[-1]['speaker'] == 'Theo'                            # who was called
    assert [(m['role'], m.get('name')) for m in server.asked[-1]['messages']] == [('assistant', 'Priya'), ('assistant', 'Lena')]
    page.page.evaluate('Math.random = () => .5')
    page.say('and the others?')
    assert server.asked[-1]['speaker'] == 'Priya'                           # of Mara and Priya: neither me nor the one who spoke last
    page.press('Mara speaks')
    expect(page('.name bdi').last).to_have_text('Mara')
    page.press('Settings')
    page.page.get_by_label('Answers').select_option('Priya')
    page.page.get_by_label('I am').select_option('Priya')                   # nobody answers herself
    page.press('Done')
    expect(page('#pair')).to_contain_text('Priya with Mara')


def test_settings_are_sent_and_kept(open_page, server):
    page = open_page()
    page.press('Let Mara begin')
    expect(page('.words')).to_have_count(1)
    expect(page('#send')).to_have_text('Send')
    assert server.asked[-1]['messages'] == [{'role': 'system', 'content': ''}] and server.asked[-1]['speaker'] == 'Mara'
    page.press('Settings')
    expect(page('#settings')).to_contain_text('0.95')
    page.page.get_by_label('Persona').fill('Mara is a baker.')
    for name, value in (('Temperature', '0.5'), ('Top p', '0.8'), ('Length', '20')):
        page.page.get_by_label(name).fill(value)
    expect(page('[name=max_tokens] + span')).to_have_text('20')
    page.press('Done')
    page.reload()
    page.say('hi')
    asked = server.asked[-1]
    assert (asked['temperature'], asked['top_p'], asked['max_tokens'], asked['messages'][0]) == (0.5, 0.8, 20, {'role': 'system', 'content': 'Mara is a baker.'})
    page.press('Settings')
    page.press('As the model has it')
    page.press('Done')
    page.say('hi')
    assert not {'temperature', 'top_p', 'max_tokens'} & set(server.asked[-1])


# ---- conversations

def test_conversations_are_listed_found_renamed_deleted(open_page, server):
    page = open_page()
    page.say('about the cat')
    page.press('New')
    page.say('about the garden')
    expect(page('#list button')).to_have_count(2)
    expect(page('#list [aria-current]')).to_contain_text('about the garden')
    page('#search').fill('HEARS ABOUT THE CAT')
    expect(page('#list button')).to_have_count(1)
    page('#list button').click()
    assert page.words()[0] == 'about the cat'
    page('#search').fill('submarine')
    expect(page('#list')).to_have_text('Nothing found.')
    page('#search').fill('')
    page.press('Settings')
    page.page.get_by_label('Title').fill('The cat & <b>I</b>')
    page.press('Done')
    page.reload()
    page('#list button', ).filter(has_text='The cat').click()
    expect(page('#title')).to_have_text('The cat & <b>I</b>')
    page.press('Settings')
    page.press('Delete')
    page.press('Keep it')
    expect(page('#list button')).to_have_count(2)
    page.press('Settings')
    page.press('Delete')
    expect(page('#sure')).to_contain_text('Delete “The cat & <b>I</b>”?')
    page.press('Delete')
    expect(page('#list button')).to_have_count(1)
    assert [chat['turns'][0]['text'] for chat in page.kept()] == ['about the garden']


def test_export_and_import(open_page, server, tmp_path):
    server.says = 'a line\nTheo: no turn <|endoftext|> <\\|endoftext|> C:\\readme \\\\r one'
    server.talk['answerer'] = server.talk['people'][0] = '(Mara: the first)'
    server.talk['me'] = server.talk['people'][1] = 'a<|endoftext|>b<\\|endoftext|>\r'
    page = open_page()
    page.say('hi')
    page.press('Bad')
    page.press('Settings')
    text, made = page.saved('Export text'), json.loads(page.saved('Export JSON'))
    page.press('Done')
    parsed = next(dialogue.get_style('name').parse(text))                   # as import_chats.py reads it
    assert [(turn.speaker, turn.text) for turn in parsed.turns] == [(server.talk['me'], 'hi'), ('(Mara: the first)', server.says)]
    assert made == page.kept() == json.loads(page.saved('Export all')) and made[0]['turns'][1]['rating'] == -1
    foreign = {'turns': [{'speaker': 'Priya', 'text': 'from elsewhere', 'time': 1e300}]}       # as our samplers write it, but for the time
    (tmp_path / 'some.json').write_text(json.dumps([foreign, *made]))
    page('#file').set_input_files(tmp_path / 'some.json')
    expect(page('#notice')).to_contain_text('2 conversations came in.')
    expect(page('#list button')).to_have_count(3)
    assert page.words() == ['from elsewhere']
    (tmp_path / 'wrong.json').write_text('[{"turns": [{"speaker": "Priya"}]}]')
    page('#file').set_input_files(tmp_path / 'wrong.json')
    expect(page('#notice')).to_contain_text('wrong.json holds no conversations')
    assert len(page.kept()) == 3


def test_what_is_damaged_is_kept_aside(open_page, server):
    page = open_page(before="localStorage.length || (localStorage['chat:a'] = '{\"turns\": [', localStorage['chat:b'] = '{\"turns\": [{\"speaker\": 1}]}')")
    expect(page('#notice')).to_contain_text('2 conversations could not be read. What was there is kept aside.')
    assert 'chat:a\n{"turns": [' in page.saved('Save it as a file')
    page.say('hi')
    page.reload()
    assert page('#notice').text_content() == '' and page.words()[0] == 'hi'
    assert page.page.evaluate('localStorage["damaged-chat:a"]') == '{"turns": ['


def test_a_full_store_is_said_and_loses_nothing(open_page, server):
    page = open_page()
    page.say('hi')
    page.page.evaluate("""() => {
        for (let size = 1 << 22; size; size >>= 1) try { for (;;) localStorage['x' + size + Math.random()] = 'x'.repeat(size) } catch {}
    }""")
    page.press('New')
    page.say('no room')
    expect(page('#notice')).to_contain_text('There is no room left in this browser')
    assert page.words() == ['no room', 'Mara hears no room'] and len(page.kept()) == 1
    assert len(json.loads(page.saved('Export all'))) == 2
    leave = "dispatchEvent(new Event('beforeunload', {cancelable: true}))"
    assert page.page.evaluate(leave) is False                               # the browser asks whether one really wants to leave
    page.page.evaluate("() => Object.keys(localStorage).filter(key => key[0] == 'x').forEach(key => localStorage.removeItem(key))")
    page.say('room again')
    assert len(page.kept()) == 2 and page('#notice').text_content() == '' and page.page.evaluate(leave) is True


def test_a_browser_that_keeps_nothing(open_page, server):
    page = open_page(before="""for (const name of ['localStorage', 'sessionStorage'])
        Object.defineProperty(window, name, {get() { throw new DOMException('no', 'SecurityError') }})""")
    expect(page('#notice')).to_contain_text('This browser keeps nothing')
    page.say('hi')
    assert page.words() == ['hi', 'Mara hears hi']
    page('#box').fill('not sent')
    page.press('New')
    page('#list button').click()
    expect(page('#box')).to_have_value('not sent')


def test_two_tabs_show_the_same(open_page, server):
    page = open_page()
    page.say('hi')
    other = Page(page.page.context, server.url, [])
    other.say('from the other tab')
    expect(page('.words')).to_have_text(['hi', 'Mara hears hi', 'from the other tab', 'Mara hears from the other tab'])


@pytest.mark.parametrize('again', [False, True])
def test_two_tabs_speak_at_once_and_nothing_is_lost(open_page, server, again):
    """While one has its reply made, for the first time or once more, the other says something."""
    page = open_page()
    page.say('first')
    other = Page(page.page.context, server.url, [])
    server.go.clear()
    page.press('Retry') if again else page.say('mine', answered=False)
    expect(page('#send')).to_have_text('Stop')
    expect(page('.words').last).to_have_text('Mara hears')
    other.say('theirs', answered=False)
    expect(page('.words').filter(has_text='theirs')).to_have_count(1)
    server.go.set()
    wanted = ['first', 'Mara hears first', *['mine', 'Mara hears mine'] * (not again), 'theirs', 'Mara hears theirs']
    for tab in (page, other):
        expect(tab('#send')).to_have_text('Send')
        for text in wanted:
            expect(tab('.words').get_by_text(text, exact=True)).not_to_have_count(0)
    for tab in (page, other):
        tab.reload()
        assert set(tab.words()) == set(wanted)


def test_what_is_changed_by_hand_meanwhile_goes_on_from_what_the_other_tab_has_kept(open_page, server):
    """Whether or not this tab was told (one that comes back by the browser's Back was not)."""
    page = open_page()
    page.say('first')
    page.page.evaluate("addEventListener('storage', event => event.stopImmediatePropagation(), true)")
    page.page.evaluate("""() => {
        const [key] = Object.keys(localStorage).filter(key => key.startsWith('chat:')), kept = JSON.parse(localStorage[key])
        kept.turns.push({speaker: 'Theo', text: 'theirs', time: Date.now()})
        localStorage[key] = JSON.stringify(kept)
    }""")
    page.press('Good')
    assert page.words() == ['first', 'Mara hears first', 'theirs'] and page.kept()[0]['turns'][1]['rating'] == 1
    page.say('mine')
    assert [turn['text'] for turn in page.kept()[0]['turns']] == ['first', 'Mara hears first', 'theirs', 'mine', 'Mara hears mine']


def test_an_open_editor_outlasts_the_other_tabs_doings(open_page, server):
    page = open_page()
    page.say('first')
    page.say('second')
    other = Page(page.page.context, server.url, [])
    page('#box').press('ArrowUp')
    page('#editor').fill('half a th')
    page('#editor').press('ArrowLeft')
    other.press('Good')
    expect(page('#editor')).to_be_focused()
    page.page.keyboard.type('!')
    expect(page('#editor')).to_have_value('half a t!h')
    other('#box').press('ArrowUp')
    other('#editor').fill('changed elsewhere')
    other('#editor').press('Enter')
    expect(page('.words').last).to_have_text('Mara hears changed elsewhere')            # and the turn is gone
    expect(page('#editor')).to_have_count(0)


def test_what_is_not_sent_belongs_to_its_conversation(open_page, server):
    page = open_page()
    page('#box').fill('new, not sent')
    page.reload()
    expect(page('#box')).to_have_value('new, not sent')
    page.say('about the cat')
    page('#box').fill('more of the cat')
    page.press('New')
    expect(page('#box')).to_have_value('')
    page('#box').fill('a garden')
    page('#list button').click()
    expect(page('#box')).to_have_value('more of the cat')
    other = Page(page.page.context, server.url, [])
    other('#box').fill('sent at once')
    page('#box').fill('more of my cat')
    other('#box').press('Enter')
    expect(page('.words')).to_have_count(4)
    expect(page('#box')).to_have_value('more of my cat')
    page.reload()
    expect(page('#box')).to_have_value('more of my cat')
    page.press('New')
    expect(page('#box')).to_have_value('a garden')
    page.press('Settings')
    page.page.get_by_label('Title').fill('The garden')                      # now it is kept
    page.press('Done')
    page.reload()
    expect(page('#box')).to_have_value('a garden')
    page.press('Settings')
    page.press('Delete')
    page.press('Delete')
    expect(page('#box')).to_have_value('more of my cat')
    assert page.page.evaluate("Object.keys(localStorage).filter(key => key.startsWith('draft')).length") == 1


def test_what_was_found_is_seen(open_page, server):
    page = open_page()
    for text in ('about the cat', 'long ' * 300, 'long ' * 300):
        page.say(text)
    expect(page('.words').first).not_to_be_in_viewport()
    page('#search').fill('the cat')
    page('#list button').click()
    expect(page('.words').first).to_be_in_viewport()


# ---- what goes wrong

def test_a_token_is_asked_for_and_kept_in_the_tab(open_page, server):
    page = open_page()
    server.token = 'open sesame'
    page.say('hi', answered=False)
    expect(page('#door')).to_be_visible()
    page('#door input').fill('wrong')
    page.press('Go on')
    expect(page('#door')).to_contain_text('not the right one')
    page.press('Not now')
    expect(page('.problem')).to_contain_text('Without the token the server does not answer.')
    page.press('Try again')
    page('#door input').fill('open sesame')
    page.press('Go on')
    expect(page('.words')).to_have_text(['hi', 'Mara hears hi'])
    page.reload()
    page.say('still in')
    assert page.words()[-1] == 'Mara hears still in'
    assert page.page.evaluate('[sessionStorage.token, JSON.stringify(localStorage).includes("sesame")]') == ['open sesame', False]


def test_a_busy_server_is_waited_for(open_page, server):
    page = open_page()
    busy = (429, {'error': {'message': 'too many are waiting.'}}, 'application/json')
    server.faults = [busy]
    page.say('hi', answered=False)                                          # Retry-After is missing: two seconds
    expect(page('.words').last).to_have_text('The server is busy: asking again in 2 s.')
    expect(page('#said')).to_have_text('The server is busy: asking again in 2 s.')
    expect(page('.words').last).to_have_text('Mara hears hi')
    assert server.asked[0] == server.asked[1]
    server.faults = [(*busy, {'Retry-After': '30'})]
    page.say('more', answered=False)
    expect(page('.words').last).to_have_text('The server is busy: asking again in 30 s.')
    page('#send').click()                                                   # who does not want to wait
    expect(page('#after')).to_contain_text('Mara has not answered.')
    assert page.words() == ['hi', 'Mara hears hi', 'more']


def test_an_error_is_a_sentence_and_nothing_is_lost(open_page, server):
    page = open_page()
    server.faults = [(413, {'error': {'message': 'the body is larger than 9 bytes.'}})]
    page.say('hi', answered=False)
    expect(page('.problem')).to_contain_text('The server says: the body is larger than 9 bytes.')
    expect(page('#said')).to_contain_text('larger than 9 bytes')
    server.faults = [(502, b'<html>')]
    page.press('Try again')
    expect(page('.problem')).to_contain_text('it answered 502.')
    server.faults = [('cut',)]
    page.press('Try again')
    expect(page('.problem')).to_contain_text('The line broke')
    assert page.words() == ['hi', 'Mara']
    expect(page('#turns')).to_contain_text('broke off')
    page('#box').fill('typed meanwhile')
    page.press('Try again')
    expect(page('.words')).to_have_text(['hi', 'Mara hears hi'])
    assert page('.problem').count() == 0 and page('#box').input_value() == 'typed meanwhile'
    server.says = ''
    page.press('Retry')
    expect(page('.problem')).to_contain_text('Mara said nothing.')
    assert page.words() == ['hi', 'Mara hears hi']


def test_what_the_model_cannot_see_is_said_until_the_next_reply(open_page, server):
    page = open_page()
    server.head = {'left_out': 12}
    page.say('hi')
    expect(page('#notice')).to_contain_text('its first 12 tokens were left out.')
    server.head = {}
    page.say('hi')
    expect(page('#notice')).to_have_text('')


def test_no_server(open_page, server):
    page = open_page()
    page.page.route('**/v1/**', lambda route: route.abort())
    page.say('hi', answered=False)
    expect(page('.problem')).to_contain_text('The server does not answer')
    page.page.reload()
    expect(page('#notice')).to_contain_text('The server does not answer')
    assert page.words() == ['hi']
    page.page.evaluate('localStorage.clear()')
    page.page.reload()                                                      # who I am is not known
    page('#box').fill('kept')
    page('#box').press('Enter')
    expect(page('#box')).to_have_value('kept')
    page.page.unroute('**/v1/**')
    page.press('Try again')
    expect(page('#pair')).to_contain_text('Theo with Mara')
    page('#box').press('Enter')
    expect(page('.words')).to_have_text(['kept', 'Mara hears kept'])


# ---- any text, any screen, any person

HARD = ['<img src=x onerror="document.title=1"><script>document.title = 2</script>', 'שלום עולם', '💛👩‍👩‍👧 🧑🏽', 'w' * 3000,
        'ten thousand ' * 770, 'a\n\n\nb', '&lt;b&gt; ${1} {{2}}']



def test_words_are_content(open_page, server):
    page = open_page(viewport={'width': 360, 'height': 640})
    for text in HARD:
        page.say(text)
    assert page.words()[::2] == [text.strip() for text in HARD]
    assert page.words()[1] == 'Mara hears ' + HARD[0]
    assert page('img').count() == 0 and page('script').count() == 1 and page.page.title() == HARD[0][:80]
    assert page('.words').nth(2).evaluate('node => getComputedStyle(node).direction') == 'rtl'
    assert page('.words').nth(0).evaluate('node => getComputedStyle(node).direction') == 'ltr'
    assert page.page.evaluate('document.documentElement.scrollWidth') <= 360
    assert page('#scroll').evaluate('node => node.scrollWidth <= node.clientWidth')


def test_markup_cannot_become_script(open_page, server):
    page = open_page()
    refused = page.page.evaluate("() => { try { document.body.innerHTML = '<p>'; return 'taken' } catch (error) { return error.name } }")
    assert refused == 'TypeError'
    policy = page('meta[http-equiv]').get_attribute('content')
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy and 'http' not in policy
    page.page.evaluate("() => fetch('http://127.0.0.2:1/').catch(() => 0)")
    assert len(server.complaints) > 1 and all('Content Security Policy' in said or 'TrustedHTML' in said for said in server.complaints)
    server.complaints.clear()
    with open(PAGE, encoding='utf-8') as file:
        outside = re.findall(r'(?:src|href|url)\s*[=(]\s*["\']?(?!data:|#)[^"\'>)]*', file.read())
    assert not [link for link in outside if '//' in link]


def test_a_phone(open_page, server):
    server.talk['people'] = FRIENDS
    page = open_page(viewport={'width': 360, 'height': 640}, has_touch=True, is_mobile=True)
    page.say('hi')
    expect(page('#drawer')).to_be_hidden()
    page('#menu').tap()
    expect(page('#new')).to_be_focused()
    assert page('main').evaluate('node => node.inert') and page('#menu').get_attribute('aria-expanded') == 'true'
    page.page.keyboard.press('Escape')
    expect(page('#drawer')).to_be_hidden()
    expect(page('#menu')).to_be_focused()
    page('#menu').tap()
    page('#new').tap()
    expect(page('#drawer')).to_be_hidden()
    for text in ('hello', 'long ' * 60):
        page.say(text)
    server.go.clear()
    page('#scroll').evaluate('area => area.scrollTop = 0')
    page.say('bye', answered=False)                                         # shows what I said,
    expect(page('.words').last).to_be_in_viewport()
    page('#scroll').evaluate('area => new Promise(done => { area.addEventListener("scroll", done, {once: true}); area.scrollTop = 0 })')
    server.go.set()
    expect(page('#send')).to_have_text('Send')
    assert page('#scroll').evaluate('area => area.scrollTop') == 0          # but leaves alone who reads further up
    page('#scroll').evaluate('area => new Promise(done => { area.addEventListener("scroll", done, {once: true}); area.scrollTop = 9999 })')
    sizes = page.page.evaluate("""() => [...document.querySelectorAll('button, input:not([hidden]), textarea')]
        .filter(node => node.checkVisibility({visibilityProperty: true})).map(node => [node.id, node.getBoundingClientRect().toJSON()])""")
    assert len(sizes) > 8 and not [(name, box) for name, box in sizes if box['width'] < 44 or box['height'] < 44]
    # the keyboard is up, and the browser scrolls by itself before we know
    page('#scroll').evaluate("area => { area.parentNode.style.height = '300px'; area.dispatchEvent(new Event('scroll')) }")
    expect(page('#retry')).to_be_in_viewport()
    page.page.set_viewport_size({'width': 360, 'height': 300})
    box = page('#box').bounding_box()
    assert box['y'] + box['height'] <= 300 and page('#scroll').bounding_box()['height'] > 60
    expect(page('#retry')).to_be_in_viewport()                              # the newest words are still seen


def test_the_drawer_slides_in_and_takes_the_focus(open_page, server):
    page = open_page(viewport={'width': 360, 'height': 640}, reduced_motion='no-preference')
    page('#menu').click()
    expect(page('#new')).to_be_focused()


def test_what_is_focused_in_the_settings_is_seen(open_page, server):
    page = open_page(viewport={'width': 1100, 'height': 500})
    page.press('Settings')
    seen = """() => { const {x, y, width, height} = document.activeElement.getBoundingClientRect()
        return document.activeElement.contains(document.elementFromPoint(x + width / 2, y + height - 4)) }"""
    for _ in range(20):
        page.page.keyboard.press('Tab')
        if page.page.evaluate("document.activeElement !== document.body && document.activeElement.id !== 'settings'"):
            assert page.page.evaluate(seen), page.page.evaluate('document.activeElement.outerHTML')


def test_fields_grow_where_css_does_not_see_to_it(open_page, server):
    page = open_page()
    page.page.evaluate("""() => {
        const sheet = new CSSStyleSheet()
        sheet.replaceSync('textarea { field-sizing: fixed !important }')
        document.adoptedStyleSheets = [sheet]
        CSS.supports = () => false
    }""")
    before = page('#box').bounding_box()['height']
    page('#box').fill('\n'.join('12345678'))
    after = page('#box').bounding_box()['height']
    assert after > before + 100 and page('#box').evaluate('node => node.scrollHeight <= node.clientHeight + 1')
    page('#box').press('Enter')
    expect(page('.words')).to_have_count(2)
    assert page('#box').bounding_box()['height'] == before
    page('#box').press('ArrowUp')
    expect(page('#editor')).to_be_focused()
    assert page('#editor').bounding_box()['height'] > 150


def test_dark_and_light(open_page, server):
    page = open_page(color_scheme='dark')

    def look():
        return page.page.evaluate('getComputedStyle(document.body).backgroundColor')
    assert look() == 'rgb(28, 27, 25)' and page('#theme').get_attribute('aria-pressed') == 'true'
    page.press('Dark')
    assert look() == 'rgb(244, 241, 236)'
    page.reload()
    assert look() == 'rgb(244, 241, 236)' and page('#theme').get_attribute('aria-pressed') == 'false'
    page.page.evaluate("""() => {
        const dots = Object.assign(document.createElement('p'), {className: 'dots'})
        dots.append(document.createElement('i'))
        document.body.append(dots)
    }""")
    moves = "getComputedStyle(document.querySelector('.dots i')).animationName"
    assert page.page.evaluate(moves) == 'none'
    page.page.emulate_media(reduced_motion='no-preference')
    assert page.page.evaluate(moves) == 'beat'


def test_the_keyboard_alone(open_page, server):
    page, keys = open_page(), None
    keys = page.page.keyboard
    keys.press('Tab')
    expect(page('.skip')).to_be_focused()
    expect(page('.skip')).to_be_in_viewport()
    keys.press('Enter')
    keys.type('a')
    keys.press('Shift+Enter')
    keys.type('b')
    expect(page('#box')).to_have_value('a\nb')
    page('#box').dispatch_event('keydown', {'key': 'Enter', 'isComposing': True})      # the end of a word of an input method
    expect(page('#box')).to_have_value('a\nb')
    keys.press('Enter')
    expect(page('.words')).to_have_count(2)
    page.page.evaluate('document.activeElement.blur()')
    met = set()
    for _ in range(30):
        keys.press('Tab')
        met.add(page.page.evaluate('document.activeElement.id'))
        outline = page.page.evaluate('getComputedStyle(document.activeElement).outlineStyle')
        assert outline != 'none' or page.page.evaluate('document.activeElement === document.body')
    assert {'new', 'search', 'import', 'export', 'theme', 'about', 'scroll', 'more-0', 'retry', 'choose', 'edit-1', 'good-1', 'bad-1', 'box', 'send'} <= met


def test_the_focus_comes_back_to_what_was_gone_while_a_reply_was_made(open_page, server):
    page = open_page()
    page.say('a')
    for elsewhere in (False, False, True):
        page('#retry').focus()
        server.go.clear()
        page.page.keyboard.press('Enter')
        expect(page('#send')).to_have_text('Stop')
        expect(page('#send')).to_be_focused()
        if elsewhere:                                   # who goes there meanwhile stays there
            page('#box').focus()
        server.go.set()
        expect(page('#retry')).to_be_visible()
        expect(page('#box' if elsewhere else '#retry')).to_be_focused()


def test_who_just_begins_to_type_writes_a_message(open_page, server):
    page = open_page()
    page.page.keyboard.type('hi')
    expect(page('#box')).to_have_value('hi')


CONTRAST = """() => {
    const canvas = new OffscreenCanvas(1, 1).getContext('2d', {willReadFrequently: true})
    const rgb = (...colours) => {
        canvas.clearRect(0, 0, 1, 1)
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1) }
        return [...canvas.getImageData(0, 0, 1, 1).data]
    }
    const light = values => values.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0)
    const speaks = node => [...node.childNodes].some(child => child.nodeType === 3 && child.data.trim()) || node.matches('input, textarea, select')
    const seen = node => node.checkVisibility({visibilityProperty: true, opacityProperty: true}) && !node.closest('.hidden, script, option')
    return [...document.querySelectorAll('body *')].filter(node => speaks(node) && seen(node)).map(node => {
        const under = []
        for (let at = node; at; at = at.parentElement) under.unshift(getComputedStyle(at).backgroundColor)
        const ink = getComputedStyle(node, node.matches(':placeholder-shown') ? '::placeholder' : null).color
        const [a, b] = [light(rgb(...under)), light(rgb(...under, ink))].sort((x, y) => y - x)
        return [(a + .05) / (b + .05), node.outerHTML.slice(0, 80)]
    })
}"""


@pytest.mark.parametrize('scheme', ['light', 'dark'])
def test_who_does_not_see_well(open_page, server, scheme):
    page = open_page(color_scheme=scheme)
    page.say('hi')
    page.press('Good')
    server.faults = [(500, {'error': {'message': 'no.'}})]
    page.press('Retry')
    expect(page('.problem')).to_be_visible()
    found = page.page.evaluate(CONTRAST)
    page.press('Choose')
    expect(page('#card-0')).to_be_enabled()
    found += page.page.evaluate(CONTRAST)
    page('#box').press('ArrowUp')
    found += page.page.evaluate(CONTRAST)
    names = page('body').aria_snapshot()
    page.press('Settings')
    found += page.page.evaluate(CONTRAST)
    names += page('#settings').aria_snapshot()
    assert len(found) > 60 and not [(ratio, what) for ratio, what in found if ratio < 4.5]     # WCAG 2.2, 1.4.3
    assert not re.findall(r'^\s*- (?:button|textbox|slider|combobox|checkbox|searchbox)(?!.*").*$', names, re.M)     # each control has a name
    for role in ('navigation "Conversations"', 'main', 'heading "hi" [level=1]', 'region "Messages"', 'searchbox "Search conversations"',
                 'textbox "Your message"', 'textbox "Message"',
                 'dialog "This conversation"', 'slider "Temperature', 'combobox "I am"'):
        assert role in names, role
    assert page('#said').get_attribute('aria-live') == 'polite' and page('html').get_attribute('lang') == 'en'


# ---- serve.py itself

@pytest.fixture
def served(demo_models):
    """serve.py with a tiny model, on a port of its own -> its address."""
    pytest.importorskip('starlette')
    command = [sys.executable, 'serve.py', '--model_name', 'tiny', '--models_dir', demo_models, '--port', '0']
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE)
    line = process.stdout.readline()
    assert 'http://' in line, line
    yield re.search(r'http://\S+', line)[0] + '/'
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0


@pytest.mark.skipif(not os.path.exists(os.path.join(ROOT, 'serve.py')), reason='there is no serve.py yet')
def test_with_serve(open_page, served):
    page = open_page(served)
    expect(page('#pair')).to_contain_text('You with Friend · tiny')
    page.press('Settings')
    page.page.get_by_label('Persona').fill('A friend.')
    page.page.get_by_label('Length').fill('12')
    page.press('Done')
    page.say('hi there 💛 <|endoftext|>')
    expect(page('.words')).to_have_count(2)
    assert page.words()[1].strip() and page('.problem').count() == 0
    page.press('Choose')
    page('#card-0:enabled').click()
    page.press('Retry')
    expect(page('#send')).to_have_text('Send')
    assert len(page.kept()[0]['turns']) == 2 and page('.problem').count() == 0
