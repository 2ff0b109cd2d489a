"""Dates as exports write them -> milliseconds since 1970, the time of a Turn.

    iso_time('2020-08-09T14:30:00.123+02:00')                       -> 1596976200123
    milliseconds(2020, month('août'), 9, '12', '30', half='PM')     -> 1596976200000

Without a zone a time is taken as UTC, and nothing here looks at the machine's own zone or language: two machines read the same.
"""
import functools
import re
import unicodedata
from datetime import datetime, timedelta

EPOCH, MILLISECOND = datetime(1970, 1, 1), timedelta(milliseconds=1)
ISO = re.compile(r'(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(?:Z|([+-]\d\d):?(\d\d))?', re.A)
ENGLISH = 'Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec'
MONTHS = {name: number for number, names in enumerate((             # how they begin, without accents, in eight languages
    'jan gen ene sty', 'feb fev lut', 'mar maa mrt', 'apr abr avr kwi', 'may mai mei mag maj', 'jun juin giu cze', 'jul juil lug lip',
    'aug ago aou sie', 'sep set wrz', 'oct okt ott out paz', 'nov lis', 'dec dez dic gru'), 1) for name in names.split()}


@functools.lru_cache(1000)
def month(name):
    """'Oct', 'octobre', 'paź.' -> 10; 0 for no month."""
    letters = ''.join(c for c in unicodedata.normalize('NFKD', name.lower()) if c.isalpha())
    return MONTHS.get(letters[:4]) or MONTHS.get(letters[:3], 0)


def milliseconds(year, month, day, hour, minute, second=0, *, half='', ahead=0):
    """Numbers, or their digits -> milliseconds, None when there is no such time. half: AM or PM, if so written; ahead: minutes ahead of UTC."""
    hour = int(hour)
    if half:
        hour = hour % 12 + 12 * (half[0] in 'pP')
    try:
        moment = datetime(int(year), int(month), int(day), hour, int(minute), int(second or 0))
    except ValueError:                                  # a 31st of February
        return None
    return (moment - EPOCH) // MILLISECOND - 60_000 * ahead


def iso_time(text):
    """2020-08-09T12:30:00.123+00:00 -> milliseconds, None for anything else."""
    found = ISO.fullmatch(text) if isinstance(text, str) else None
    if not found:
        return None
    *moment, fraction, zone, minutes = found.groups()
    time = milliseconds(*moment, ahead=minutes_ahead(zone, minutes))
    return None if time is None else time + int((fraction or '').ljust(3, '0')[:3])


def minutes_ahead(hours, minutes):
    """Of UTC: '+05', '30' -> 330; '-03', '30' -> -210; None, None -> 0."""
    return int(hours or 0) * 60 + int(minutes or 0) * (-1 if hours and hours.startswith('-') else 1)
