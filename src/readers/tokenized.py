"""Text that was cut into tokens -> as people write it. The dialogue datasets come like this:

    Not now , I ’ m late . It ' s $ 3 . 50 at 6 p . m .             -> Not now, I’m late. It's $3.50 at 6 p.m.

What is right already, a number, a link, an acronym, stays as it is.
"""
import re

# The tokenizer's spaces. It puts one around a mark, so one is taken away, never a run of them. Each pattern begins with what is
# rare, and looks around itself from there: that is what makes it fast.
APOSTROPHE = re.compile(r" ?(['’‘]) ?(?=(?:[stmdSTMD]|re|ve|ll|Re|Ve|Ll|clock|am)\b(?!['’]))")                  # don ’ t, It' s, five o ’ clock, ma ’ am
STOP = re.compile(r' \. (?:(?=(?:com|net|org|edu)\b)|(?<=\bwww \. )'
                  r'|(?<=\b[A-Za-z] \. )(?=[A-Za-z] ?\.(?!\.))'                                         # p . m .
                  r'|(?:(?<=\b\d \. )|(?<=\b\d\d \. )|(?<=\b\d\d\d \. ))(?=\d\d?\b))')                  # 3 . 50
TIME = re.compile(r' : (?<=\d : )(?=[0-5]\d\b)')
DOUBLE, SINGLE = re.compile('(")'), re.compile(r"(?<!\S)(['’‘])(?!\S)")
PLURAL = re.compile(r" (?=['’](?!\S))(?<=s )")                                                          # five minutes ' walk
SPACE = re.compile(r' (?:(?=[,.?!](?!\w)|[:;](?! ?\)|[\w(/\\|*-])|[)\]”])|(?<=[(\[“] )|(?<=\d )(?=%)|(?<=[$£€¥] )(?=\d))')


def untokenize(text):
    """As people would write it: `I ’ m late , it ' s $ 5 .` -> `I’m late, it's $5.`"""
    text = TIME.sub(':', STOP.sub('.', text))
    if '"' in text:
        text = _quoted(text, DOUBLE)
    if "'" in text or '’' in text or '‘' in text:
        text = PLURAL.sub('', _quoted(APOSTROPHE.sub(r'\1', text), SINGLE))
    return SPACE.sub('', text)


def _quoted(text, mark):
    """`say " hello " .` -> `say "hello" .`; as it is where the marks do not come in pairs."""
    pieces = mark.split(text)                           # outside, mark, inside, mark, outside, mark, inside, mark, outside
    if len(pieces) % 4 == 1:
        pieces[2::4] = [inside.strip(' ') for inside in pieces[2::4]]
    return ''.join(pieces)
