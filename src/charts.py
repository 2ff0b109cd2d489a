"""Numbers -> pictures for a page: SVG that scales, takes its colours from the page (--s0, --s1, ...), and tells each number when it is pointed at.

    bars     shares of groups, a colour for each series        lines    a curve for each        dots    a number with its interval for each
"""
import html
import math

WIDTH = 360                                             # of the drawing; the page scales it
TICKS = 4                                               # on an axis, or about so many


def svg(height, body, title):
    """A drawing; title is what it says to those who do not see it."""
    return (f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img" aria-label="{html.escape(title)}"><title>{html.escape(title)}</title>{body}</svg>')


def text(x, y, said, kind='', anchor='start'):
    """Words at a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{html.escape(said)}</text>'


def ticks(low, high):
    """Round numbers from low to high, about TICKS of them."""
    step = 10 ** math.floor(math.log10((high - low) / TICKS))
    step *= min((1, 2, 5, 10), key=lambda k: abs((high - low) / TICKS / (k * step) - 1))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 10) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def number(x):
    """As short as it is clear."""
    return f'{x:,.0f}' if x == round(x) else f'{x:.3g}'


def percent(x):
    """0.25 -> 25 %"""
    return f'{number(100 * x)} %'


def bars(groups, series, title):
    """groups: names; series: [(name, colour's number, [a value for each group])]."""
    top, bottom, left = 8, 150, 38
    largest = max([value for _, _, values in series for value in values] + [1e-9])
    marks = ticks(0, largest)
    largest = max(largest, marks[-1])
    body = []
    for mark in marks:
        y = bottom - (bottom - top) * mark / largest
        body.append(f'<line x1="{left}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>' + text(left - 5, y + 3.5, percent(mark), 'tick', 'end'))
    room = (WIDTH - left) / len(groups)
    width = room * 0.8 / len(series)
    for g, group in enumerate(groups):
        for s, (name, colour, values) in enumerate(series):
            height = (bottom - top) * values[g] / largest
            body.append(f'<rect x="{left + room * (g + 0.1) + width * s:.1f}" y="{bottom - height:.1f}" width="{width * 0.92:.1f}" height="{height:.1f}" '
                        f'fill="var(--s{colour})"><title>{html.escape(f"{name}, {group}: {percent(values[g])}")}</title></rect>')
        body.append(text(left + room * (g + 0.5), bottom + 14, group, 'tick', 'middle'))
    return svg(bottom + 20, ''.join(body), title)


def lines(series, title):
    """series: [(name, colour's number, [(x, y)])], x on a logarithmic scale."""
    top, bottom, left, right = 8, 150, 38, WIDTH - 14
    points = [point for _, _, values in series for point in values]
    low_x, high_x = (f(math.log2(x) for x, _ in points) for f in (min, max))
    low, high = (f(y for _, y in points) for f in (min, max))
    low, high = max(0, low - 0.15 * (high - low) - 1e-6), high + 0.05 * (high - low) + 1e-6

    def at(x, y):
        return left + 8 + (right - left - 16) * ((math.log2(x) - low_x) / max(1e-9, high_x - low_x)), bottom - (bottom - top) * (y - low) / (high - low)

    body = []
    for mark in ticks(low, high):
        y = at(points[0][0], mark)[1]
        body.append(f'<line x1="{left}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>' + text(left - 5, y + 3.5, number(mark), 'tick', 'end'))
    for x in sorted({x for x, _ in points})[::1 if high_x - low_x < 6 else 2]:
        body.append(text(at(x, low)[0], bottom + 14, f'{x:,}', 'tick', 'middle'))
    for name, colour, values in series:
        places = [at(*point) for point in values]
        body.append(f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}" fill="none" stroke="var(--s{colour})" stroke-width="2"/>')
        for (x, y), (px, py) in zip(values, places):
            body.append(f'<circle cx="{px:.1f}" cy="{py:.1f}" r="3" fill="var(--s{colour})"><title>{html.escape(f"{name}, {x:,}: {number(y)}")}</title></circle>')
    return svg(bottom + 20, ''.join(body), title)


def dots(rows, title):
    """rows: [(name, [(series' name, colour's number, (value, low, high))])], all on one scale from 0; low and high may be None."""
    left, right, step, head = 6, WIDTH - 8, 11, 17
    largest = max([end for _, series in rows for _, _, found in series for end in found if end is not None] + [1e-9])
    marks = ticks(0, largest)

    def at(value):
        return left + (right - left) * min(max(value, 0), largest) / largest

    body, y = [], 4
    for name, series in rows:
        body.append(text(left, y + 10, name, 'row'))
        y += head
        for said, colour, (value, low, high) in series:
            told = f'{name}, {said}: {percent(value)}' + (f' ({percent(low)} to {percent(high)})' if low is not None else '')
            line = '' if low is None else f'<line x1="{at(low):.1f}" x2="{at(high):.1f}" y1="{y}" y2="{y}" stroke="var(--s{colour})" stroke-width="2"/>'
            body.append(f'<g><title>{html.escape(told)}</title>{line}<circle cx="{at(value):.1f}" cy="{y}" r="4" fill="var(--s{colour})"/></g>')
            y += step
        y += 5
    grid = ''.join(f'<line x1="{at(mark):.1f}" x2="{at(mark):.1f}" y1="4" y2="{y}" class="grid"/>'
                   + text(at(mark), y + 12, percent(mark), 'tick', 'start' if mark == 0 else 'end' if at(mark) > right - 12 else 'middle') for mark in marks)
    return svg(y + 18, grid + ''.join(body), title)
