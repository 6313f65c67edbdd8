"""Adaptive binary decoding of bits and integers as docs/format.md describes it; part of read_pith.py."""

FAST = [1, 2, 3, 3, 4, 4, 4, 4]
SLOW = [1, 2, 2, 3, 3, 3] + [4] * 6 + [5] * 8 + [6] * 19 + [7]


class Damaged(Exception):
    pass


class Bit:
    __slots__ = ("fast", "slow", "seen")

    def __init__(self):
        self.fast = self.slow = 32768
        self.seen = 0

    def update(self, bit):
        target = 65535 if bit else 0
        self.fast += (target - self.fast) >> FAST[min(self.seen, 7)]
        self.slow += (target - self.slow) >> SLOW[self.seen]
        self.seen = min(self.seen + 1, 39)


class Integer:
    def __init__(self):
        self.length = [Bit() for _ in range(16)]
        self.first = [Bit() for _ in range(8)]
        self.second = [[Bit(), Bit()] for _ in range(8)]


class Decoder:
    def __init__(self, data):
        self.data, self.at, self.missing = data, 0, 0
        self.range, self.code = 0xFFFFFFFF, 0
        for _ in range(4):
            self.code = self.code << 8 | self.byte()

    def byte(self):
        if self.at < len(self.data):
            self.at += 1
            return self.data[self.at - 1]
        self.missing += 1
        if self.missing > 4:
            raise Damaged("a stream ends early")
        return 0

    def normalize(self):
        while self.range < 1 << 24:
            self.range <<= 8
            self.code = self.code << 8 | self.byte()

    def bit(self, m):
        p = min(max((m.fast + m.slow) >> 2, 32), 32736)
        bound = (self.range >> 15) * p
        one = self.code < bound
        if one:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        m.update(one)
        self.normalize()
        return int(one)

    def chance(self, p):
        bound = (self.range >> 16) * p
        one = self.code < bound
        if one:
            self.range = bound
        else:
            self.code -= bound
            self.range -= bound
        self.normalize()
        return int(one)

    def raw(self, count):
        value = 0
        for _ in range(count):
            self.range >>= 1
            one = self.code < self.range
            if not one:
                self.code -= self.range
            value = value << 1 | int(one)
            self.normalize()
        return value

    def number(self, m):
        length = 0
        while length < 32 and self.bit(m.length[min(length, 15)]):
            length += 1
        if length <= 1:
            return length
        slot, left = min(length, 7), length - 1
        first = self.bit(m.first[slot])
        value, left = 2 | first, left - 1
        if left > 0:
            value, left = value << 1 | self.bit(m.second[slot][first]), left - 1
        return value << left | self.raw(left)

    def signed(self, m):
        n = self.number(m)
        return n >> 1 if n % 2 == 0 else -(n >> 1) - 1
