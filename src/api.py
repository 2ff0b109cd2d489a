"""What a request over HTTP may hold, written once: the tables below are JSON Schema, which `check` reads and /openapi.json shows.

    {"model": "run1", "messages": [{"role": "user", "content": "hi mara"}], "temperature": 0.7, "stream": true}
    {"model": "run1", "prompt": "Theo: hi mara", "max_tokens": 40, "n": 2}

The names and their meaning are OpenAI's (its API reference, "Create chat completion" and "Create completion"), so its clients work; top_k,
min_p, typical_p, repetition_penalty, no_repeat_ngram_size, speaker and candidates are ours. What changes nothing here is taken and left
alone; what we cannot do is refused, by name. null is as good as not said, whatever it is said of.
"""
import difflib
import functools
import json
from typing import NamedTuple


class Refused(Exception):
    """A request that gets no answer but an error: a status, a sentence, and which parameter it is about."""
    TYPES = {401: 'authentication_error', 429: 'rate_limit_error', 408: 'timeout_error', 500: 'server_error', 503: 'server_error'}

    def __init__(self, status, message, param=None, code=None, headers=None):
        super().__init__(message)
        self.status, self.headers = status, headers
        self.content = {'error': {'message': message, 'type': self.TYPES.get(status, 'invalid_request_error'), 'param': param, 'code': code}}


class Limits(NamedTuple):
    """What bounds a request: the model's sizes, the longest reply, how many texts are made at once."""
    n_ctx: int
    n_vocab: int
    max_tokens: int
    places: int


# ---- the tables

def _text(least=0, most=None):
    return {'type': 'string'} | ({'minLength': least} if least else {}) | ({'maxLength': most} if most else {})


def _whole(least, most):
    return {'type': 'integer', 'minimum': least, 'maximum': most}


def _number(least, most):
    return {'type': 'number', 'minimum': least, 'maximum': most}


def _list(items, least=0, most=None):
    return {'type': 'array', 'items': items} | ({'minItems': least} if least else {}) | ({'maxItems': most} if most is not None else {})


def _object(properties, required=(), more=False):
    return {'type': 'object', 'properties': properties, 'required': list(required), 'additionalProperties': more}


def _one_of(*values):
    return {'enum': list(values)}


def _request(properties, required):
    """The schema of an object in a request: what is not required, or not known, may be null too."""
    def optional(schema):
        if 'type' in schema:
            return schema | {'type': [schema['type'], 'null']}
        return {key: [*values, NULL if key == 'anyOf' else None] for key, values in schema.items()}
    return _object({name: schema if name in required else optional(schema) for name, schema in properties.items()}, required, NULL)


FLAG, ANYTHING, NULL = {'type': 'boolean'}, {'type': 'object'}, {'type': 'null'}
NAME = _text(1, 256)


@functools.lru_cache
def requests(limits):
    """{'ChatRequest': schema, 'CompletionRequest': schema}"""
    ids = _list(_whole(0, limits.n_vocab - 1), 1)
    both = {
        'model': _text(),
        'n': _whole(1, limits.places),
        'max_tokens': _whole(1, limits.max_tokens),
        'stop': {'anyOf': [_text(1, 200), _list(_text(1, 200), most=4)]},
        'seed': _whole(-2 ** 63, 2 ** 63 - 1),
        'stream': FLAG,
        'stream_options': _request({'include_usage': FLAG, 'include_obfuscation': FLAG}, []),
        'logit_bias': {'type': 'object', 'additionalProperties': _number(-100, 100), 'propertyNames': {'pattern': '^[0-9]{1,9}$'}, 'maxProperties': 1024},
        'temperature': _number(0, 2), 'top_p': _number(0, 1), 'top_k': _whole(0, limits.n_vocab), 'min_p': _number(0, 1), 'typical_p': _number(0, 1),
        'presence_penalty': _number(-2, 2), 'frequency_penalty': _number(-2, 2), 'repetition_penalty': _number(0.01, 10),
        'no_repeat_ngram_size': _whole(0, limits.n_ctx),
        'user': _text()}                                                                            # the last one changes nothing
    part = _request({'type': _one_of('text'), 'text': _text()}, ['type', 'text'])
    message = _request({'role': _one_of('system', 'developer', 'user', 'assistant'), 'content': {'anyOf': [_text(), _list(part, 1)]}, 'name': NAME,
                        'refusal': _text()}, ['role', 'content'])
    chat = both | {
        'messages': _list(message, 1),
        'max_completion_tokens': both['max_tokens'],
        'speaker': NAME,
        'candidates': both['n'],
        'logprobs': _one_of(False), 'top_logprobs': _one_of(0), 'tools': _list(ANYTHING, most=0), 'tool_choice': _one_of('none', 'auto'),
        'functions': _list(ANYTHING, most=0), 'function_call': _one_of('none', 'auto'), 'reasoning_effort': _text(),
        'modalities': _list(_one_of('text'), 1), 'response_format': _request({'type': _one_of('text')}, ['type']),
        'store': FLAG, 'metadata': ANYTHING, 'service_tier': _text(), 'safety_identifier': _text(), 'prompt_cache_key': _text(),
        'parallel_tool_calls': FLAG}
    completion = both | {
        'prompt': {'anyOf': [_text(), _list(_text(), 1), ids, _list(ids, 1)]},
        'max_tokens': _whole(0, limits.max_tokens), 'echo': FLAG,
        'best_of': _one_of(1), 'suffix': _one_of(''), 'logprobs': _one_of(False)}
    return {'ChatRequest': _request(chat, ['messages']), 'CompletionRequest': _request(completion, [])}


# ---- value -> checked

KINDS = {'string': (str, 'text'), 'boolean': (bool, 'true or false'), 'integer': (int, 'a whole number'), 'number': (float, 'a number'),
         'array': (list, 'a list'), 'object': (dict, 'an object'), 'null': (type(None), 'null')}


def _is(value, kind):
    if kind in ('integer', 'number'):                   # JSON Schema: true is no number, and 1.0 is a whole one
        return not isinstance(value, bool) and (isinstance(value, int) or isinstance(value, float) and (kind == 'number' or value.is_integer()))
    return isinstance(value, KINDS[kind][0])


def _kinds(schema):
    return [schema['type']] if isinstance(schema['type'], str) else schema['type']


def needs(schema):
    """What a schema takes, in words."""
    if 'enum' in schema:
        return ' or '.join(json.dumps(value) for value in schema['enum'] if value is not None)
    if 'anyOf' in schema:
        return ', or '.join(needs(some) for some in schema['anyOf'] if some != NULL)
    kind = _kinds(schema)[0]
    said = KINDS[kind][1]
    if kind in ('integer', 'number'):
        said += f' from {schema["minimum"]} to {schema["maximum"]}'
    elif kind == 'string' and 'maxLength' in schema:
        said += f' of {schema.get("minLength", 0)} to {schema["maxLength"]} characters'
    elif kind == 'array':
        most = schema.get('maxItems')
        said = 'an empty list' if most == 0 else (f'a list of up to {most} of these: ' if most else 'a list of one or more of these: ') + needs(schema['items'])
    elif kind == 'object' and schema.get('properties'):
        said += ' with ' + ', '.join(schema['properties'])
    return said


def fits(value, schema):
    """Whether a value is what a schema takes."""
    try:
        check(value, schema)
        return True
    except Refused:
        return False


def check(value, schema, name=''):
    """Raise Refused where a value is not what its schema takes; name: of the parameter, '' for the body itself."""
    def refuse():
        shown = next((said for kind, said in KINDS.values() if isinstance(value, kind)), '') if isinstance(value, (list, dict, type(None))) else ascii(value)
        shown = shown if len(shown) < 40 else shown[:36] + '...'
        raise Refused(400, f'{name or "the body"} is {shown}: it takes {needs(schema)}.', name or None, 'invalid_value')

    if 'anyOf' in schema:
        return any(fits(value, some) for some in schema['anyOf']) or refuse()
    if 'enum' in schema:
        return any(type(value) is type(some) and value == some for some in schema['enum']) or refuse()
    kind = next((kind for kind in _kinds(schema) if _is(value, kind)), None)
    if kind is None:
        refuse()
    if kind in ('integer', 'number') and not schema['minimum'] <= value <= schema['maximum']:
        refuse()
    if kind == 'string' and not schema.get('minLength', 0) <= len(value) <= schema.get('maxLength', len(value)):
        refuse()
    if kind == 'array':
        if not schema.get('minItems', 0) <= len(value) <= schema.get('maxItems', len(value)):
            refuse()
        for i, item in enumerate(value):
            check(item, schema['items'], f'{name}[{i}]')
    if kind == 'object':
        _check_object(value, schema, name)
    return True


def _check_object(value, schema, name):
    known, more, prefix = schema.get('properties', {}), schema.get('additionalProperties', True), name + '.' if name else ''
    for key, item in value.items():
        if key in known:
            check(item, known[key], prefix + key)
        elif more == NULL:
            if item is None:
                continue
            shown = ascii(key)[1:-1][:40]
            near = difflib.get_close_matches(shown, known, 1)
            way_out = f', did you mean {near[0]}?' if near else '; /openapi.json lists those there are.'
            raise Refused(400, f'there is no parameter {prefix}{shown} here{way_out}', prefix + shown, 'unknown_parameter')
        elif more is not True:
            if not (key.isascii() and key.isdigit() and len(key) < 10):
                raise Refused(400, f'{prefix}{ascii(key)[1:-1][:40]} names no token: it takes a token id, such as "50256".', name, 'invalid_value')
            check(item, more, prefix + key)
    if len(value) > schema.get('maxProperties', len(value)):
        raise Refused(400, f'{name} has {len(value)} entries: it takes {schema["maxProperties"]} at most.', name, 'invalid_value')
    for key in schema.get('required', ()):
        if key not in value:
            raise Refused(400, f'{prefix}{key} is missing: it takes {needs(known[key])}.', prefix + key, 'missing_required_parameter')


def read(body, schema):
    """The bytes of a body -> {name: value} of what is said in it. Raises Refused."""
    def constant(word):
        raise ValueError(f'{word} is no JSON')
    try:
        said = json.loads(body.decode('utf-8'), parse_constant=constant)
    except UnicodeDecodeError:
        raise Refused(400, 'the body is not UTF-8.', code='invalid_json') from None
    except RecursionError:
        raise Refused(400, 'the body is nested too deeply.', code='invalid_json') from None
    except ValueError as error:
        raise Refused(400, f'the body is not JSON: {error}.'[:200], code='invalid_json') from None
    check(said, schema)
    return {name: value for name, value in said.items() if value is not None}


# ---- /openapi.json

ERRORS = {400: 'something in the request cannot be: error.param says what', 401: 'the token is missing or another', 404: 'there is no such model or address',
          405: 'this address takes another method', 408: 'the body did not come in time', 413: 'the body is too large', 415: 'the body is not application/json',
          429: 'too many requests are waiting: Retry-After says when to come again', 503: 'the server is stopping, or no place became free in time'}


def _answers():
    """The schemas of what we answer."""
    count, text = {'type': 'integer', 'minimum': 0}, {'type': 'string'}
    usage = _object({'prompt_tokens': count, 'completion_tokens': count, 'total_tokens': count}, ['prompt_tokens', 'completion_tokens', 'total_tokens'])
    choice = {'index': count, 'finish_reason': _one_of('stop', 'length'), 'logprobs': NULL}
    message = _object({'role': _one_of('assistant'), 'content': text, 'refusal': NULL}, ['role', 'content'])

    def made(kind, words, **more):
        return _object({'id': text, 'object': _one_of(kind), 'created': count, 'model': text, 'usage': usage,
                        'choices': _list(_object(choice | words, ['index', 'finish_reason', *[name for name in words if name != 'score']]), 1)} | more,
                       ['id', 'object', 'created', 'model', 'choices', 'usage'])
    talk = _object({name: text for name in ('me', 'answerer')} | {'people': _list(text)} |
                   {name: count for name in ('n_ctx', 'length', 'max_tokens', 'max_choices', 'top_k')} |
                   {name: {'type': 'number'} for name in ('temperature', 'top_p')})
    model = _object({'id': text, 'object': _one_of('model'), 'created': count, 'owned_by': text, 'chat': talk}, ['id', 'object', 'created', 'owned_by', 'chat'])
    maybe = {'type': ['string', 'null']}
    error = _object({'message': text, 'type': text, 'param': maybe, 'code': maybe}, ['message', 'type', 'param', 'code'])
    return {'ChatCompletion': made('chat.completion', {'message': message, 'score': {'type': 'number'}}, left_out=count),
            'Completion': made('text_completion', {'text': text}),
            'Model': model, 'Models': _object({'object': _one_of('list'), 'data': _list(model)}, ['object', 'data']),
            'Error': _object({'error': error}, ['error'])}


def openapi(limits, token):
    """The description of the API as OpenAPI 3.1 has it; token: whether one is needed."""
    def named(name):
        return {'$ref': f'#/components/schemas/{name}'}

    def answers(schema, media, *errors):
        refusals = {str(status): {'description': ERRORS[status], 'content': {'application/json': {'schema': named('Error')}}}
                    for status in (400, *[401] * token, *errors, 503)}
        return {'200': {'description': 'as asked', 'content': {kind: {'schema': schema} for kind in media}}} | refusals

    def post(summary, asked, made):
        media = {'application/json': {'schema': named(asked)}}
        done = answers(named(made), ['application/json'], 404, 408, 413, 415, 429)
        done['200']['content']['text/event-stream'] = {'schema': {'type': 'object', 'properties': {'data': {'type': 'string'}}, 'required': ['data']}}
        return {'post': {'summary': summary, 'operationId': made, 'requestBody': {'required': True, 'content': media}, 'responses': done}}

    def get(summary, schema, media='application/json', *errors, **more):
        return {'get': {'summary': summary, 'responses': answers(schema, [media], *errors)} | more}

    anything = {'type': 'string'}
    name = {'name': 'model', 'in': 'path', 'required': True, 'schema': _text(1)}
    paths = {
        '/v1/chat/completions': post('The next turn of a conversation', 'ChatRequest', 'ChatCompletion'),
        '/v1/completions': post('How a text goes on', 'CompletionRequest', 'Completion'),
        '/v1/models': get('The model that answers', named('Models')),
        '/v1/models/{model}': get('The same by its name', named('Model'), 'application/json', 404, parameters=[name]),
        '/health': get('Whether the server is there', _object({'status': _one_of('ok')}, ['status']), security=[]),
        '/metrics': get("Numbers for Prometheus", anything, 'text/plain'),
        '/': get('The page', anything, 'text/html', security=[])}
    schemes = {'securitySchemes': {'token': {'type': 'http', 'scheme': 'bearer'}}} if token else {}
    return {'openapi': '3.1.0', 'info': {'title': 'GPT-2 that talks like your chats', 'version': '1'}, 'paths': paths,
            'components': {'schemas': requests(limits) | _answers()} | schemes} | ({'security': [{'token': []}]} if token else {})
