"""Codec 6 of docs/format.md: rows of weights under mixed distributions of classes."""
from read_mixed import NEXT, Estimate, Lazy, balance, neighbours, octave_class, sign, signed_class, squash, stretch


class Distribution:
    """P(symbol > j) in 1/32768, j = 0..6."""

    def __init__(self, symbols=1):
        self.above = [32768 * (symbols - 1 - j) // symbols if j + 1 < symbols else 0 for j in range(7)]
        self.seen = 0

    def update(self, symbol, most):
        rate = min(32767, 655360 // (10 * self.seen + 16))
        self.above = [a + (((32767 if symbol > j else 0) - a) * rate >> 16) for j, a in enumerate(self.above)]
        self.seen = min(self.seen + 1, most)

    def start_as(self, other, seen=1):
        self.above, self.seen = list(other.above), seen


class Kinds(dict):
    def __missing__(self, key):
        self[key] = Distribution()
        return self[key]


def read_symbol(d, above, symbols):
    """A symbol of the decoder, and its share."""
    ends = [a - (a >> 10) + 4 * (symbols - 1 - j) if j + 1 < symbols else 0 for j, a in enumerate(above)]
    unit = d.range >> 15
    place = min(d.code // unit, 32767)
    symbol = sum(place < end for end in ends)
    low, high = ends[symbol] if symbol < 7 else 0, ends[symbol - 1] if symbol else 32768
    d.code -= low * unit
    d.range = (high - low) * unit
    d.normalize()
    return symbol, high - low


def read_bits(d, count):
    d.range >>= count
    value = min(d.code // d.range, (1 << count) - 1)
    d.code -= value * d.range
    d.normalize()
    return value


def quarter_class(t):
    octave = (t + 4).bit_length() - 1
    return min(63, 4 * (octave - 2) + ((t + 4) >> (octave - 2) & 3))


class Rows:
    def __init__(self, decoder, largest, raw_signs, inner, width, trellis=False):
        self.d, self.largest, self.raw_signs, self.inner, self.line, self.trellis = decoder, largest, raw_signs, inner, inner * width, trellis
        self.classes = largest.bit_length() + 1
        self.kinds, self.wholes = Kinds(), [Distribution(self.classes), Distribution(self.classes)]
        self.below = [Distribution(min(8, 1 << max(0, length - 1))) for length in range(8)]
        self.pools = [[32767 - 6 * 4681] + [4681] * 6 for _ in range(2)]
        self.estimates, self.sign_weights = Lazy(), [900] * 5
        self.channel_mean, self.column_balance, self.mean = [0] * 1024, [0] * 1024, 0

    def row(self, before):
        row, length, kinds = list(before), len(before), self.kinds
        for grid, whole in enumerate(self.wholes):
            kinds["row", grid].start_as(whole, min(whole.seen, 4))
        self.row_balance = passed = state = 0
        for k in range(length):
            grid = state & 1 if self.trellis else 0
            left, left2, above, following, tap_side, side, upper, one_tap = neighbours(row, k, self.inner, self.line)
            tap, column, channel = min(63, k // self.inner), k & 1023, k % self.inner & 1023
            near, over = 2 * abs(left) + abs(left2) + 2 * abs(tap_side), 2 * abs(above) + abs(following) + abs(passed)
            m = self.channel_mean[channel] >> 4
            last = ("tap", grid, tap)
            if one_tap:
                density = (kinds["column", (k - 1) & 1023].above[0] + kinds["column", (k + 1) & 1023].above[0]) >> 12
                last = ("dense", density, octave_class(2 * abs(above) + abs(left)))
            speaking = [kinds[key] for key in (
                ("expected", grid, quarter_class(4 * (near + over) + 2 * m + 3 * self.mean)), ("spread", octave_class(m), octave_class(self.mean)),
                ("around", grid, octave_class(near), octave_class(over)), ("row", grid), last, ("column", column),
                ("sides", octave_class(abs(side)), octave_class(abs(upper))))]
            c = self.read_class(speaking, self.wholes[grid], self.pools[grid])
            value = self.element(c, (side, upper, above, left, tap, column)) if c else 0
            row[k], passed, m, state = value, above, abs(value), NEXT[state][value & 1]
            self.mean += (256 * m - 16 * self.mean + 256) >> 9
            self.channel_mean[channel] += (256 * m - self.channel_mean[channel]) * 3 >> 4
        return row

    def read_class(self, speaking, whole, weights):
        for distribution in speaking:
            if distribution.seen == 0:
                distribution.start_as(whole)
        mixed = [sum(w * s.above[j] for w, s in zip(weights, speaking)) >> 15 for j in range(7)]
        c, share = read_symbol(self.d, mixed, self.classes)
        inverse = (1 << 21) // max(65, share)
        for i in range(1, 7):
            ends = [32767] + speaking[i].above + [0]
            gain = (min(1024, (ends[c] - ends[c + 1]) * inverse >> 14) - 128) * 16
            w = weights[i]
            weights[i] = max(0, w + (w * gain >> 16) + ((4681 - w) >> 9))
        weights[0] = 32767 - sum(weights[1:])
        for i, distribution in enumerate(speaking):
            distribution.update(c, 62 if i == 3 else 255)
        whole.update(c, 255)
        return c

    def element(self, c, places):
        negative = 0 if self.raw_signs else self.sign(c, places)
        modelled = min(c - 1, 3)
        raw, value = c - 1 - modelled, 1
        if modelled:
            top, _ = read_symbol(self.d, self.below[c].above, 1 << modelled)
            self.below[c].update(top, 255)
            value = value << modelled | top
        low = read_bits(self.d, raw + self.raw_signs) if raw + self.raw_signs else 0
        if self.raw_signs:
            negative, low = low & 1, low >> 1
        value = min(self.largest, value << raw | low)
        column, s = places[5], -1 if negative else 1
        self.row_balance += s
        self.column_balance[column] = max(-100, min(100, self.column_balance[column] + s))
        return s * value

    def sign(self, c, places):
        side, upper, above, left, tap, column = places
        e = [self.estimates[key] for key in (
            ("taps", c, sign(side), sign(upper), sign(above)), ("sizes", c, signed_class(side), signed_class(upper)),
            ("balance", balance(self.row_balance), balance(self.column_balance[column])), ("tap", tap, sign(side)),
            ("row", signed_class(above), signed_class(left)))]
        logits = [stretch(x.p) for x in e]
        p = squash(max(-2047, min(2047, sum(x * w for x, w in zip(logits, self.sign_weights)) >> 12)))
        bit = self.d.chance(p)
        error = ((65535 if bit else 0) - p) * 14 >> 7
        self.sign_weights = [max(-32768, min(32767, w + (((x * error >> 16) + 1) >> 1))) for w, x in zip(self.sign_weights, logits)]
        for x in e:
            x.update(bit)
        return bit
