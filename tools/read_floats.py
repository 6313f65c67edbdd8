"""The predicted code of floats as docs/format.md describes it; part of read_pith.py."""
import struct

from read_codes import Bit, Damaged, Decoder, Integer

CONTEXTS = [0, 1, 2, 2] + [3] * 3 + [4] * 4 + [5] * 5 + [6] * 7 + [7] * 11


def real(bits):
    return struct.unpack("<f", struct.pack("<I", bits))[0]


def rounded(x):
    """The bits of the nearest float32: one operation on float32 in double and then rounded has a single rounding's result."""
    if x != x:
        return 0x7FC00000
    try:
        return struct.unpack("<I", struct.pack("<f", x))[0]
    except OverflowError:
        return 0x7F800000 if x > 0 else 0xFF800000


def exponent(bits):
    return bits >> 23 & 255


class Floats:
    def __init__(self, data, count, shift):
        self.d, self.shift, self.x = Decoder(data), shift, []
        head = Integer()
        self.predictor, self.lag = self.d.number(head), self.d.number(head)
        if self.predictor > 4 or self.lag < 1 or shift > 30:
            raise Damaged("the head of floats")
        self.sign, self.exponents, self.mantissa = Bit(), [Bit() for _ in range(256)], [Bit() for _ in range(8)]
        self.length, self.negative = [[Bit() for _ in range(64)] for _ in range(8)], [Bit() for _ in range(8)]
        self.leading = [[Bit() for _ in range(4)] for _ in range(34)]
        hit, run, followed = [(Bit(), Bit()) for _ in range(8)], 0, {}
        self.step, self.before = [0.0] * 64, [0] * 64
        for i in range(count):
            guess, context = self.predict(i)
            guess >>= shift
            mix = 0
            for k in range(1, 5):
                mix = (mix + (self.x[i - k * self.lag] >> shift if i >= k * self.lag else 0)) * 2654435761 & 0xFFFFFFFF
            value, slot = None, mix >> 22
            if slot in followed:
                candidate = self.x[followed[slot]] >> shift
                if self.d.bit(hit[run][self.predictor != 0 and candidate == guess]):
                    value, run = candidate, min(run + 1, 7)
                else:
                    run = 0
            if value is None:
                value = self.distance(i, guess, context) if self.predictor else self.fields()
            followed[slot] = i
            self.x.append(value << shift)
            if self.predictor == 2 and i >= self.lag:
                step = rounded(real(self.x[i]) - real(self.x[i - self.lag]))
                if step & 0x7FFFFFFF and exponent(step) != 255:
                    self.step[i % self.lag % 64] = real(step)
        self.values = [real(b) for b in self.x]

    def predict(self, i):
        """The predicted value's bits and the context of the distance."""
        column = i % self.lag
        context = CONTEXTS[self.before[column % 64]]
        if i < self.lag:
            return 0, context
        last = self.x[i - self.lag]
        guess = last
        if self.predictor == 2:
            guess = rounded(real(last) + self.step[column % 64])
        elif self.predictor > 2 and i >= 2 * self.lag:
            before, scaled = self.x[i - 2 * self.lag], rounded(2 * real(last))
            if self.predictor == 4 and i >= 3 * self.lag:
                total = rounded(real(self.x[column + 2 * self.lag]) + real(self.x[column]))
                divisor = real(self.x[column + self.lag])
                k = rounded(real(total) / divisor) if divisor else 0x7F800000
                scaled = rounded(real(k) * real(last))
            guess = rounded(real(scaled) - real(before))
            if self.predictor == 4:
                context = min(max(max(exponent(scaled), exponent(before)) - exponent(guess), 0), 7)
        return last if exponent(guess) == 255 else guess, context

    def fields(self):
        width = 31 - self.shift
        value, left = self.d.bit(self.sign), width
        for models, count in ((self.exponents, min(8, width)), (self.mantissa, min(3, max(width - 8, 0)))):
            node = 1
            for _ in range(count):
                bit = self.d.bit(models[node])
                node, value, left = node << 1 | bit, value << 1 | bit, left - 1
        return value << left | self.d.raw(left)

    def distance(self, i, guess, context):
        node = 1
        for _ in range(6):
            node = node << 1 | self.d.bit(self.length[context][node])
        length = min(node & 63, 33)
        self.before[i % self.lag % 64] = length
        if length == 0:
            return guess
        negative = self.d.bit(self.negative[context])
        size, left, known = 1, length - 1, 1
        for _ in range(min(2, left)):
            bit = self.d.bit(self.leading[length][known])
            known, size, left = known << 1 | bit, size << 1 | bit, left - 1
        size = size << left | self.d.raw(left)
        top = 1 << (31 - self.shift)
        place = -1 - (guess - top) if guess >= top else guess
        place = min(max(place - size if negative else place + size, -top), top - 1)
        return -1 - place | top if place < 0 else place
