"""Files of a record a line: JSON lines and tables (CSV).

    {"role": "user", "content": "hi"}                   json_object(line)    -> {'role': 'user', 'content': 'hi'}
    5,mara,"two ""lines""                               rows(source)         -> ['5', 'mara', 'two "lines"\nhere'], ...
    here"
"""
import csv
import io
import itertools
import json

LOOK = 10                                               # lines by which a file is known
END = '<end of the table>'


def json_object(line):
    """The object in a text, None where there is none."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def first_objects(text):
    """The objects among the first lines of a text."""
    return filter(None, map(json_object, text.split('\n', LOOK)[:LOOK]))


def json_start(text, at=0):
    """The value that starts at a place in a text, whatever follows; None where there is none."""
    try:
        return json.JSONDecoder().raw_decode(text, at)[0]
    except (ValueError, RecursionError):
        return None


def json_lines(source):
    """Yield the object of every line that is not blank, None where there is none."""
    with source.text() as file:
        for line in file:
            if line.strip():
                yield json_object(line)


def rows(source, delimiter=','):
    """Yield the rows of a table that are not empty. Raises ValueError, behind the last whole one, where the file ends within a cell."""
    with source.text(newline='') as file:
        for row in filter(None, csv.reader(itertools.chain(file, [END]), delimiter=delimiter)):
            if not row[-1].endswith(END):
                yield row
            elif row != [END]:
                raise ValueError('it ends within a cell: a quotation mark is missing')


def first_rows(source, delimiter=','):
    """The header of a table and the row below it, [] where there are none, by the start of the file."""
    table = csv.reader(io.StringIO(source.start, newline=''), delimiter=delimiter)
    try:
        return next(table, []), next(table, [])
    except csv.Error:
        return [], []
