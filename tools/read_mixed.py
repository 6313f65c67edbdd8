"""Rows of weights under mixed contexts, decoded as docs/format.md section 6 describes them; part of read_pith.py."""

KNOTS = [32768, 36843, 40793, 44511, 47911, 50941, 53581, 55834, 57724, 59287, 60565, 61598, 62428, 63090, 63615, 64030, 64357,
         64614, 64816, 64974, 65097, 65194, 65269, 65328, 65374, 65410, 65438, 65459, 65476, 65489, 65500, 65508, 65514]


NEXT = [(0, 2), (5, 7), (1, 3), (6, 4), (2, 0), (4, 6), (3, 1), (7, 5)]  # of a trellis, by state and the index's parity


def to_indices(row):
    return [(v + 1) // 2 if v > 0 else -((1 - v) // 2) for v in row]


def to_values(row, limit):
    state, values = 0, []
    for index in row:
        value = 2 * abs(index) - (state & 1) if index else 0
        values.append(min(limit, value) * (-1 if index < 0 else 1))
        state = NEXT[state][index & 1]
    return values


def neighbours(row, k, inner, line):
    """left, left2, above, following, tapside, side, upper of element k, and whether there is one tap. `row` holds the row before from k on."""
    left, left2 = row[k - 1] if k else 0, row[k - 2] if k > 1 else 0
    above, following = row[k], row[k + 1] if k + 1 < len(row) else 0
    tap_side, one_tap = row[k - inner] if k >= inner else 0, inner >= len(row)
    side = above if one_tap else tap_side
    upper = left if one_tap else row[k - line] if k >= line else 0
    return left, left2, above, following, tap_side, side, upper, one_tap


def squash(logit):
    a = min(abs(logit), 2047)
    p = KNOTS[a >> 6] + (((KNOTS[(a >> 6) + 1] - KNOTS[a >> 6]) * (a & 63) + 32) >> 6)
    return 65536 - p if logit < 0 else p


def stretch_table():
    table, s = [], -2047
    for i in range(4096):
        while s < 2047 and squash(s) < 16 * i + 8:
            s += 1
        table.append(s)
    return table


STRETCH = stretch_table()


def stretch(p):
    return STRETCH[p >> 4]


class Estimate:
    def __init__(self, p=32768, seen=0):
        self.p, self.seen = p, seen

    def update(self, bit):
        self.p += ((65535 if bit else 0) - self.p) * (327680 // (10 * self.seen + 16)) >> 15
        self.seen = min(self.seen + 1, 255)


class Mixer:
    def __init__(self, inputs):
        self.weights = [72000 // inputs] * inputs

    def bit(self, d, estimates):
        logits = [stretch(e.p) for e in estimates]
        p = squash(max(-2047, min(2047, sum(x * w for x, w in zip(logits, self.weights)) >> 16)))
        bit = d.chance(p)
        error = ((65535 if bit else 0) - p) >> 4
        for i, e in enumerate(estimates):
            self.weights[i] = max(-1 << 19, min(1 << 19, self.weights[i] + ((logits[i] * error * 14 + 32768) >> 16)))
            e.update(bit)
        return bit


def octave_class(t):
    if t < 3:
        return t
    octave = t.bit_length() - 1
    return min(15, 2 * octave + (t >> (octave - 1) & 1))


def sign(v):
    return (v > 0) - (v < 0) + 1


def signed_class(v):
    c = min(3, octave_class(abs(v)) // 4 + 1) if v else 0
    return 3 - c if v < 0 else 3 + c


def agreement(v, s):
    a = v * s
    return octave_class(a) // 2 + 8 if a > 0 else 7 - octave_class(-a) // 2


def balance(x):
    return max(-4, min(4, int(x / 2))) + 4


class Lazy(dict):
    """Estimates by context, made when first asked for."""

    def __missing__(self, key):
        self[key] = Estimate()
        return self[key]


class Rows:
    def __init__(self, decoder, largest, inner, width, trellis=False):
        self.d, self.largest, self.inner, self.line, self.trellis = decoder, largest, inner, inner * width, trellis
        self.lengths = largest.bit_length()
        self.estimates, self.mixers, self.sign_mixer = Lazy(), [Mixer(6) for _ in range(14)], Mixer(5)
        self.columns = [Estimate() for _ in range(1024)]
        self.column_mean, self.column_balance = [0] * 1024, [0] * 1024
        self.mean = 0

    def row(self, before):
        e, row, length = self.estimates, list(before), len(before)
        for i in range(self.lengths):
            whole = e["whole", 0, i]
            e["row", i] = Estimate(whole.p, min(whole.seen, 4))
        self.row_balance = passed = state = 0
        for k in range(length):
            grid = state & 1 if self.trellis else 0
            left, left2, above, following, tap_side, side, upper, one_tap = neighbours(row, k, self.inner, self.line)
            sides = 2 * abs(left) + abs(left2) + 2 * abs(tap_side)
            around = grid, octave_class(sides), octave_class(2 * abs(above) + abs(following) + abs(passed))
            level = octave_class(4 * abs(left) + 2 * abs(left2) + 2 * abs(tap_side) + 2 * abs(above) + self.mean // 4)
            tap, column, channel = min(63, k // self.inner), k & 1023, k % self.inner & 1023
            last = ("tap", 0, tap)
            if one_tap:
                c = self.columns
                logits = stretch(c[(k - 1) & 1023].p) + stretch(c[(k + 1) & 1023].p) + 2 * stretch(c[column].p)
                last = ("dense", (logits + 8192) >> 9, octave_class(2 * abs(above) + abs(left)))
            spread = octave_class(self.column_mean[channel] >> 4), octave_class(self.mean)
            places = (side, upper, above, left, tap, column)
            value = self.element(grid, around, level, last, spread, places)
            row[k], passed, m, state = value, above, abs(value), NEXT[state][value & 1]
            self.mean += (256 * m - 16 * self.mean + 256) >> 9
            self.column_mean[channel] += (256 * m - self.column_mean[channel]) * 3 >> 4
            if value:
                s = -1 if value < 0 else 1
                self.row_balance += s
                self.column_balance[column] = max(-100, min(100, self.column_balance[column] + s))
        return row

    def element(self, grid, around, level, last, spread, places):
        e, column, tap = self.estimates, self.columns[places[5]], places[4]
        if column.seen == 0:
            column.p, column.seen = e["whole", grid, 0].p, 1
        length = agree = negative = 0
        while length < self.lengths:
            fine = min(length, 4)
            common = [e["whole", grid, length], e["row", length]]
            if length == 0:
                inputs = common + [column, e["around", around], e["level", grid, 0, level], e[last]]
            else:
                inputs = common + [e["spread", fine, spread], e["agree", fine, agree], e["level", grid, length, level], e["tap", length, tap]]
            if not self.mixers[7 * grid + length].bit(self.d, inputs):
                break
            if length == 0:
                negative = self.sign(places)
                s = -1 if negative else 1
                agree = agreement(places[0], s), agreement(places[1], s)
            length += 1
        if length == 0:
            return 0
        value = prefix = 1
        for known, i in enumerate(range(length - 2, -1, -1)):
            bit = 0
            if (value << 1 | 1) << i <= self.largest:
                estimate = e["below", length, prefix]
                bit = self.d.chance(32768 if known >= 3 else max(64, min(65472, estimate.p)))
                if known < 3:
                    estimate.update(bit)
            value = value << 1 | bit
            if known < 2:
                prefix = prefix << 1 | bit
        return -value if negative else value

    def sign(self, places):
        side, upper, above, left, tap, column = places
        e = self.estimates
        return self.sign_mixer.bit(self.d, [
            e["sign taps", sign(side), sign(upper), sign(above)],
            e["sign sizes", signed_class(side), signed_class(upper)],
            e["sign balance", balance(self.row_balance), balance(self.column_balance[column])],
            e["sign tap", tap, sign(side)],
            e["sign row", signed_class(above), signed_class(left)]])
