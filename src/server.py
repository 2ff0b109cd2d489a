"""OpenAI's API in front of a model, and the page that speaks it.

    POST /v1/chat/completions -> read (api.py) -> ChatSession.prompt -> Text -> Scheduler -> Piece -> one JSON object, or as it comes:
    POST /v1/completions      -> read          -> ids               -> Text

        data: {"id": "chatcmpl-5d0c...", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": "Hello"}, ...}], ...}
        data: [DONE]

Errors are OpenAI's objects: {"error": {"message", "type", "param", "code"}}. What may wait or run is bounded: bodies (413, and 408 when they do
not come), texts that wait (429), time: a text whose time is over ends where it is, with finish_reason "length"; one that never got a place is
refused (503). A client that leaves frees its places at once. No text of anybody comes into logs or numbers, and no request names a file.
"""
import asyncio
import contextlib
import hmac
import ipaddress
import json
import os
import re
import time
import uuid
from dataclasses import dataclass
from typing import Any

import anyio
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, Response
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

from . import api, chat
from .api import Refused
from .console import UserError
from .scheduler import Closing, Full, Text, expire
from .settings import Settings

PAGE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'web', 'index.html')
POLICY = "frame-ancestors 'none'"                       # what the page's own policy, a meta tag, cannot say
OPEN = ('/', '/health')                                 # what needs no token
COMPLETION = 16                                         # tokens of a completion, unless told: OpenAI's
ARRIVING = 30                                           # seconds in which a body must come
SILENT = 30                                             # seconds, twice at most, without a request on a connection
READING = 60                                            # seconds beyond a request's time that its reader has to take what was made
GRACE = 30                                              # seconds that what runs has to its end when the server stops
DISCARDED = 16                                          # times max_body: of a body too large so much is taken, so that its sender reads the refusal
CONNECTIONS = 512                                       # at a time


@dataclass
class Served:
    """The model that answers, and what it answers with unless told."""
    name: str
    session: Any                                        # chat.ChatSession: its people, style, settings and length are those of every request
    people: list                                        # who may speak
    limits: api.Limits


class Continuation:
    """What follows a text, as it is: driven as chat.Reply is. `text` never holds a stop string, nor what may become one."""
    wrong = None

    def __init__(self, enc, length, stop):
        self.text, self.ids, self.over, self.reason = '', [], False, None
        self._decoder, self._eot, self._length, self._stop, self._all = enc.stream_decoder(), enc.eot, length, stop, ''

    def push(self, ids):
        """The ids made next -> the words that are settled now and were not before."""
        ids = ids[:self._length]
        ended = ids[-1:] == [self._eot]
        ids = ids[:len(ids) - ended]
        self.ids += ids
        self._all += self._decoder.push(ids)
        self.over = ended or len(self.ids) >= self._length
        if self.over:
            self._all += self._decoder.finish()
        given, end = len(self.text), len(self._all)
        found = [at for at in (self._all.find(stop, given) for stop in self._stop) if at >= 0]
        if found:
            end, ended, self.over = min(found), True, True
        elif not self.over:
            end -= max((n for stop in self._stop for n in range(1, len(stop)) if self._all.endswith(stop[:n], given)), default=0)
        self.reason = ('stop' if ended else 'length') if self.over else None
        self.text = self._all[:end]
        return self.text[given:]


# ---- request -> what to make

@dataclass
class Job:
    """What one request asks for."""
    chat: bool
    texts: list                                         # of Text; all but the best `n` are candidates
    n: int                                              # choices
    prompt_tokens: int
    stream: bool
    usage: bool                                         # whether a stream ends with it
    before: list                                        # what is said in front of each (echo), or ''
    left_out: int = 0                                   # tokens of the last message that the model cannot see


def drawing(asked, served):
    """What texts of a request have in common, as Text's arguments."""
    bias = {int(i): value for i, value in asked.get('logit_bias', {}).items()}
    if bias and max(bias) >= served.limits.n_vocab:
        raise Refused(400, f'logit_bias names token {max(bias)}: this vocabulary has {served.limits.n_vocab}.', 'logit_bias', 'invalid_value')
    settings = served.session.settings._replace(**{name: asked[name] for name in Settings._fields if name in asked})
    if asked.get('top_p') == 0:                         # the likeliest alone, as OpenAI has it; in Settings it means off
        settings = settings._replace(temperature=0.0, top_p=1.0)
    return {'settings': settings, 'seed': None if 'seed' not in asked else int(asked['seed']), 'bias': bias, 'pieces': asyncio.Queue()}


def stops(asked):
    stop = asked.get('stop', ())
    return (stop,) if isinstance(stop, str) else tuple(stop)


def named(asked, served):
    """Raise Refused where another model is asked for."""
    if asked.get('model', served.name) != served.name:
        raise Refused(404, f'there is no model {ascii(asked["model"])[:60]} here: the one that answers is "{served.name}".', 'model', 'model_not_found')


def streams(asked):
    """Job's arguments stream and usage."""
    return {'stream': asked.get('stream', False), 'usage': asked.get('stream_options', {}).get('include_usage', False)}


def words_of(message):
    """A message's content: text, or the texts of its parts."""
    content = message['content']
    return content if isinstance(content, str) else ''.join(part['text'] for part in content)


def chat_job(body, served):
    """The bytes of a chat request -> Job. Raises Refused."""
    asked = api.read(body, api.requests(served.limits)['ChatRequest'])
    named(asked, served)
    model, n = served.session, int(asked.get('n', 1))
    candidates = int(asked.get('candidates', n))
    if candidates < n:
        raise Refused(400, f'candidates is {candidates}, n is {n}: of so few no {n} best can be chosen.', 'candidates', 'invalid_value')
    length = int(asked.get('max_completion_tokens', asked.get('max_tokens', model.length)))
    drawn = drawing(asked, served)
    names = {'user': model.me, 'assistant': model.answerer}
    persona = '\n'.join(words_of(message) for message in asked['messages'] if message['role'] not in names)
    try:
        session = model.anew(length=length, persona=persona, **drawn['settings']._asdict())
        turns = [message for message in asked['messages'] if message['role'] in names]
        most = served.limits.n_ctx // 2                 # that fit: each has words and an end; so many leave at once, so that the others stay
        for turn in turns[max(0, len(turns) // most - 1) * most:]:
            own = turn.get('name') if model.style.speakers is None else None
            session.say(own or names[turn['role']], words_of(turn))
        speaker = asked.get('speaker', model.answerer)
        session.retrace(speaker)
        context = session.prompt(speaker)
    except UserError as error:
        raise Refused(400, str(error), 'messages', 'invalid_value') from None
    stop, names = stops(asked), {*session.names(), speaker}
    judge = (lambda score, words: session.candidate(score, context, words, speaker)) if 'candidates' in asked and candidates > 1 else None
    behind = (lambda words: session.behind(words, speaker)) if candidates == 1 else None
    texts = [Text(context, length, reply=chat.Reply(model.enc, model.style, length, stop=stop, names=names), index=i,
                  stops=tuple(sorted(model.style.stop_ids(model.enc))), judge=judge, behind=behind, **drawn) for i in range(candidates)]
    return Job(True, texts, n, len(context), before=[''] * candidates, left_out=session.cut, **streams(asked))


def completion_job(body, served):
    """The bytes of a completion request -> Job. Raises Refused."""
    asked = api.read(body, api.requests(served.limits)['CompletionRequest'])
    named(asked, served)
    enc, prompts, n = served.session.enc, asked.get('prompt', ''), int(asked.get('n', 1))
    if isinstance(prompts, str) or not isinstance(prompts[0], (str, list)):
        prompts = [prompts]
    if len(prompts) * n > served.limits.places:
        raise Refused(400, f'{len(prompts)} prompts with n {n} are {len(prompts) * n} texts: at most {served.limits.places} are made for one request.',
                      'prompt', 'invalid_value')
    contexts = [enc.encode(prompt) if isinstance(prompt, str) else [int(i) for i in prompt] for prompt in prompts]
    contexts = [context or [i for i in [enc.eot] if i is not None] for context in contexts]
    length, n_ctx = int(asked.get('max_tokens', min(COMPLETION, served.limits.max_tokens))), served.limits.n_ctx
    for context in contexts:
        if not context:
            raise Refused(400, 'prompt is empty, and this vocabulary has no <|endoftext|> to begin with: say a word.', 'prompt', 'invalid_value')
        if len(context) + length > n_ctx:
            raise Refused(400, f'prompt has {len(context)} tokens and max_tokens is {length}: this model sees {n_ctx} tokens in all.', 'prompt',
                          'context_length_exceeded')
    drawn, stop = drawing(asked, served), stops(asked)
    texts = [Text(context, max(length, 1), reply=Continuation(enc, length, stop), index=n * i + k, stops=() if enc.eot is None else (enc.eot,), **drawn)
             for i, context in enumerate(contexts) for k in range(n)]
    before = [enc.decode(text.context) if asked.get('echo') else '' for text in texts]
    return Job(False, texts, len(texts), sum(map(len, contexts)), before=before, **streams(asked))


# ---- what was made -> response

class Json(Response):
    media_type = 'application/json'

    def render(self, content):
        return json.dumps(content, ensure_ascii=False).encode('utf-8', 'replace')


class Answer:
    """The response to a Job, an ASGI application."""

    def __init__(self, job, served, scheduler, numbers, timeout):
        self.job, self.served, self.scheduler, self.numbers, self.timeout = job, served, scheduler, numbers, timeout
        self.head = {'id': ('chatcmpl-' if job.chat else 'cmpl-') + uuid.uuid4().hex, 'created': int(time.time()), 'model': served.name}
        self.head |= {'left_out': job.left_out} if job.left_out else {}
        self.kind = 'chat.completion' if job.chat else 'text_completion'

    async def __call__(self, scope, receive, send):
        try:
            self.scheduler.enter(self.job.texts)
        except Full:
            there = f'{len(self.scheduler.running)} texts are being made and {len(self.scheduler.waiting)} wait'
            raise Refused(429, f'{there}, {len(self.job.texts)} more are too many: come again in a second.',
                          code='rate_limit_exceeded', headers={'Retry-After': '1'}) from None
        except Closing:
            raise Refused(503, 'the server is stopping and takes no new requests.', headers={'Retry-After': '5'}) from None
        try:
            work = self._stream(send) if self.job.stream and len(self.job.texts) == self.job.n else self._whole(scope, receive, send)
            with anyio.move_on_after(self.timeout + READING):            # then uvicorn closes the connection
                await until_gone(receive, work)
        finally:
            self.scheduler.leave(self.job.texts)
            self.numbers.made.inc(sum(len(text.reply.ids) for text in self.job.texts))

    async def _pieces(self):
        """Yield lists of Pieces, as they come together, until each text is at its end. Raises Refused when there will be no text."""
        left, queue, start, first = set(self.job.texts), self.job.texts[0].pieces, time.monotonic(), None
        timer = asyncio.get_running_loop().call_later(self.timeout, expire, self.job.texts)
        try:
            while left:
                come, found = [await queue.get()], []
                while not queue.empty():
                    come.append(queue.get_nowait())
                now = time.monotonic()
                for piece in come:
                    if piece.reason == 'error':
                        raise Refused(503, 'the model failed while it wrote this: ask again.', headers={'Retry-After': '1'})
                    if piece.reason == 'late' and not any(text.begun for text in self.job.texts):
                        raise Refused(503, 'no place became free in time: ask again later.', headers={'Retry-After': '5'})
                    if piece.text not in left:
                        continue
                    if first is None:
                        first = now
                        self.numbers.first.observe(now - start)
                    if piece.reason:
                        left.remove(piece.text)
                        if now > first:
                            self.numbers.speed.observe(len(piece.text.reply.ids) / (now - first))
                    found.append(piece._replace(reason='length') if piece.reason == 'late' else piece)
                yield found
        finally:
            timer.cancel()

    def _usage(self):
        made = sum(len(text.reply.ids) for text in self.job.texts)
        return {'prompt_tokens': self.job.prompt_tokens, 'completion_tokens': made, 'total_tokens': self.job.prompt_tokens + made}

    # ---- in one piece

    async def _whole(self, scope, receive, send):
        words, reasons = {text: '' for text in self.job.texts}, {}
        async with contextlib.aclosing(self._pieces()) as pieces:
            async for found in pieces:
                for piece in found:
                    words[piece.text] += piece.words
                    reasons[piece.text] = piece.reason
        choices, best = [], self._best()
        for index, text in enumerate(best):
            said = self.job.before[text.index] + words[text]
            body = {'message': {'role': 'assistant', 'content': said, 'refusal': None}} if self.job.chat else {'text': said}
            choices.append({'index': index, **body, 'logprobs': None, 'finish_reason': reasons[text], **_score(text)})
        if not self.job.stream:
            return await Json(self.head | {'object': self.kind, 'choices': choices, 'usage': self._usage()})(scope, receive, send)
        await self._begin(send)
        for text, choice in zip(best, choices):
            await self._send(send, self._chunk(text, choice['index'], choice['message']['content'], choice['finish_reason']))
        await self._end(send)

    def _best(self):
        """The `n` texts that are wanted, best first: what was said before is worth least, nothing less than that."""
        if not self.job.texts[0].judge:
            return self.job.texts
        ranked, seen = [], {''}
        for text in sorted(self.job.texts, key=lambda text: -text.candidate.score if text.candidate else float('inf')):
            ranked.append((text.reply.text in seen, text))
            seen.add(text.reply.text)
        return [text for _, text in sorted(ranked, key=lambda found: found[0])][:self.job.n]

    # ---- as it comes

    async def _stream(self, send):
        begun = False
        try:
            async with contextlib.aclosing(self._pieces()) as pieces:
                async for found in pieces:
                    if not begun:
                        begun = True
                        await self._begin(send)
                    await self._send(send, b''.join(self._chunk(piece.text, piece.text.index, piece.words, piece.reason) for piece in found))
        except Refused as refused:
            if not begun:
                raise
            await self._send(send, event(refused.content), last=True)
        else:
            await self._end(send)

    def _chunk(self, text, index, words, reason=''):
        """The events of a piece: its words, and why it is over; then, of one to choose from, what it is worth."""
        found = b''
        if words:
            found += self._event(index, {'delta': {'content': words}} if self.job.chat else {'text': words}, None)
        if reason:
            found += self._event(index, {'delta': {}} if self.job.chat else {'text': ''}, reason, _score(text))
        return found

    def _event(self, index, body, reason, score={}):
        return self._object([{'index': index, **body, 'logprobs': None, 'finish_reason': reason, **score}], None)

    def _object(self, choices, usage):
        return event(self.head | {'object': self.kind + '.chunk' * self.job.chat, 'choices': choices} | ({'usage': usage} if self.job.usage else {}))

    async def _begin(self, send):
        """The head of the response, and what stands at the beginning of each choice."""
        headers = [(b'content-type', b'text/event-stream; charset=utf-8'), (b'cache-control', b'no-cache'), (b'x-accel-buffering', b'no')]
        await send({'type': 'http.response.start', 'status': 200, 'headers': headers})
        starts = [{'delta': {'role': 'assistant', 'content': '', 'refusal': None}} if self.job.chat else {'text': before} for before in self.job.before]
        await self._send(send, b''.join(self._event(i, start, None) for i, start in enumerate(starts[:self.job.n]) if self.job.chat or start['text']))

    async def _end(self, send):
        await self._send(send, (self._object([], self._usage()) if self.job.usage else b'') + b'data: [DONE]\n\n', last=True)

    async def _send(self, send, data, last=False):
        await send({'type': 'http.response.body', 'body': data, 'more_body': not last})


def _score(text):
    return {'score': text.candidate.score} if text.candidate else {}


def event(content):
    """A server-sent event."""
    return b'data: ' + json.dumps(content, ensure_ascii=False).encode('utf-8', 'replace') + b'\n\n'


async def until_gone(receive, work):
    """Await `work`, but no longer than the client is there."""
    async def gone():
        while (await receive())['type'] != 'http.disconnect':
            pass
    tasks = [asyncio.ensure_future(work), asyncio.ensure_future(gone())]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            tasks[0].result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


# ---- the door

class Numbers:
    """What /metrics tells."""

    def __init__(self, scheduler):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter('serve_requests', 'Requests by address and status; 499: the client left before there was one', ['route', 'status'],
                                registry=self.registry)
        self.made = Counter('serve_tokens', 'Tokens made for requests that are over', registry=self.registry)
        self.first = Histogram('serve_first_words_seconds', 'From a request to its first words', registry=self.registry,
                               buckets=(.02, .05, .1, .2, .5, 1, 2, 5, 10, 30, 60))
        self.speed = Histogram('serve_tokens_per_second', 'Of a text, behind its first words', registry=self.registry,
                               buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500))
        Gauge('serve_running', 'Texts that are being made', registry=self.registry).set_function(lambda: len(scheduler.running))
        Gauge('serve_waiting', 'Texts that wait for a place', registry=self.registry).set_function(lambda: len(scheduler.waiting))


class Door:
    """Counts who comes, and lets in who may. Without a token only those are let in who call this machine by a name of its own: a page from
    elsewhere whose name was made to point here (DNS rebinding) calls it by another."""

    def __init__(self, app, *, token, numbers, routes):
        self.app, self.token, self.numbers, self.routes = app, token, numbers, routes

    async def __call__(self, scope, receive, send):
        if scope['type'] != 'http':
            return await self.app(scope, receive, send)
        status = 499
        if absolute := re.match(r'https?://([^/]*)(.*)', scope['path'], re.I | re.S):        # RFC 9112, 3.2.2: its host counts, not the header's
            headers = [(name, value) for name, value in scope['headers'] if name != b'host']
            scope = scope | {'path': absolute[2] or '/', 'headers': [*headers, (b'host', absolute[1].encode())]}

        async def counting(message):
            nonlocal status
            if message['type'] == 'http.response.start':
                status = message['status']
            await send(message)

        try:
            refused = self._refused(scope['path'], Headers(scope=scope))
            await (answer(refused) if refused else self.app)(scope, receive, counting)
        except ClientDisconnect:
            pass
        except Exception:
            status = 500
            raise
        finally:
            self.numbers.requests.labels(scope['path'] if scope['path'] in self.routes else 'other', status).inc()

    def _refused(self, path, headers):
        if self.token is None:
            if not loopback(re.sub(r':\d*\Z', '', headers.get('host', 'localhost')).strip('[]')):
                return Refused(400, 'without a token this server answers only to localhost and 127.0.0.1: start it with --token.', code='invalid_host')
        elif path not in OPEN:
            kind, _, given = headers.get('authorization', '').partition(' ')
            if kind.lower() != 'bearer' or not hmac.compare_digest(given.strip().encode(), self.token.encode()):
                return Refused(401, 'the token is missing or another: send Authorization: Bearer <token>.', code='invalid_api_key',
                               headers={'WWW-Authenticate': 'Bearer'})
        return None


def loopback(host):
    """Whether a host's name or address means this machine, and nobody else comes there."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == 'localhost'


def answer(refused):
    """Refused -> the response."""
    return Json(refused.content, refused.status, refused.headers)


def make_app(served, scheduler, *, token=None, timeout=300, max_body=1 << 20, cors_origin=()):
    """The Starlette application.

    token: what requests must show, but for OPEN; None: nothing. timeout: seconds that the texts of a request may take, their waiting included.
    max_body: bytes of a request. cors_origin: pages of which other sites may ask.
    """
    numbers = Numbers(scheduler)

    async def body(request):
        """The bytes of a request's body."""
        kind = request.headers.get('content-type', '').split(';')[0].strip().lower()
        packed = request.headers.get('content-encoding', 'identity')
        if packed != 'identity':
            raise Refused(415, f'the body must come as it is, not packed by {ascii(packed)[:60]}; leave out Content-Encoding.')
        if kind != 'application/json':
            raise Refused(415, f'the body must be application/json, not {ascii(kind or "nothing")[:60]}; send that Content-Type.')
        found, size = bytearray(), 0
        with anyio.move_on_after(ARRIVING):
            async for data in request.stream():
                size += len(data)
                if size <= max_body:
                    found += data
                elif size > DISCARDED * max_body:
                    break
            if size > max_body:
                raise Refused(413, f'the body is larger than {max_body} bytes: send less of the conversation.')
            return bytes(found)
        raise Refused(408, f'the body did not come within {ARRIVING:g} seconds.', headers={'Connection': 'close'})

    def making(job):
        async def endpoint(request):
            data = await body(request)
            return Answer(await anyio.to_thread.run_sync(job, data, served), served, scheduler, numbers, timeout)
        return endpoint

    model = served.session
    described = {'id': served.name, 'object': 'model', 'created': int(time.time()), 'owned_by': 'you', 'chat': {
        'me': model.me, 'answerer': model.answerer, 'people': served.people, 'n_ctx': served.limits.n_ctx, 'length': model.length,
        'max_tokens': served.limits.max_tokens, 'max_choices': served.limits.places, 'temperature': model.settings.temperature,
        'top_p': model.settings.top_p, 'top_k': model.settings.top_k}}
    description = api.openapi(served.limits, token is not None)

    async def one_model(request):
        named({'model': request.path_params['model']}, served)
        return Json(described)

    def always(make):
        async def endpoint(request):
            return make()
        return endpoint

    async def told(request, error):
        path = ascii(request.scope['path'])[1:-1][:60]
        message = f'there is nothing at {path}; /openapi.json lists what there is.'
        if error.status_code == 405:
            message = f'{path} takes {" or ".join(sorted(error.headers["Allow"].split(", ")))}, not {request.method}.'
        return answer(Refused(error.status_code, message, headers=error.headers))

    async def refusal(request, refused):
        return answer(refused)

    async def failed(request, error):                   # which Starlette raises again, for the log
        return answer(Refused(500, 'something failed here that must not: the terminal of serve.py shows what; ask again.'))

    page = {'Content-Security-Policy': POLICY, 'X-Content-Type-Options': 'nosniff', 'Referrer-Policy': 'no-referrer', 'Cache-Control': 'no-cache'}
    routes = [Route('/', always(lambda: FileResponse(PAGE, headers=page))),
              Route('/health', always(lambda: Json({'status': 'ok'}))),
              Route('/metrics', always(lambda: Response(generate_latest(numbers.registry), media_type=CONTENT_TYPE_LATEST))),
              Route('/openapi.json', always(lambda: Json(description))),
              Route('/v1/models', always(lambda: Json({'object': 'list', 'data': [described]}))),
              Route('/v1/models/{model:path}', one_model),
              Route('/v1/chat/completions', making(chat_job), methods=['POST']),
              Route('/v1/completions', making(completion_job), methods=['POST'])]

    @contextlib.asynccontextmanager
    async def lifespan(app):
        scheduler.start()
        yield
        scheduler.close()

    middleware = [Middleware(Door, token=token, numbers=numbers, routes={route.path for route in routes})]
    if cors_origin:
        middleware.insert(0, Middleware(CORSMiddleware, allow_origins=list(cors_origin), allow_methods=['GET', 'POST'],
                                        allow_headers=['*'], expose_headers=['Retry-After']))        # OpenAI's clients send x-stainless-...
    app = Starlette(routes=routes, middleware=middleware, exception_handlers={HTTPException: told, Refused: refusal, Exception: failed},
                    lifespan=lifespan)
    app.router.redirect_slashes = False
    return app


class Protocol(H11Protocol):
    """A connection over which no request comes for a while is closed: those who come and say nothing take nobody's place for long."""

    def connection_made(self, transport):
        super().connection_made(transport)
        self._wait(None)

    def _wait(self, silent):
        """silent: (the last request,) where it is answered; () where there was none; None where one is being answered."""
        self._silent, self._look = silent, self.loop.call_later(SILENT, self._end_silence)

    def _end_silence(self):
        if self.transport.is_closing():
            return
        silent = () if self.cycle is None else (self.cycle,) if self.cycle.response_complete else None
        if silent is not None and silent == self._silent:
            self.transport.close()
        else:
            self._wait(silent)

    def connection_lost(self, error):
        self._look.cancel()
        super().connection_lost(error)


class Server(uvicorn.Server):
    """On SIGTERM or Ctrl-C nothing new begins, and what there is has GRACE seconds to its end; the second Ctrl-C ends it at once."""

    def __init__(self, app, scheduler, verbose=False):
        super().__init__(uvicorn.Config(app, http=Protocol, ws='none', lifespan='on', log_level='info' if verbose else 'warning', access_log=verbose,
                                        server_header=False, proxy_headers=False, limit_concurrency=CONNECTIONS, timeout_keep_alive=30,
                                        timeout_graceful_shutdown=GRACE + 5))
        self.scheduler = scheduler

    async def shutdown(self, sockets=None):
        self.scheduler.drain(GRACE)
        await super().shutdown(sockets)
