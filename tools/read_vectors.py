"""Rows of vectors out of books as docs/format.md describes them (codec 11); part of read_pith.py."""
import struct

from read_codes import Damaged, Decoder, Integer


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 128:
            return value, at


class Book:
    """The head of a stream: length of vectors, how many are used, whether indices are coded; the vectors, where they are its own."""

    def __init__(self, data, own):
        if data[0] > 7 or data[0] & 3 == 3:
            raise Damaged("a book's head")
        self.length, self.coded = 2 << (data[0] & 3), bool(data[0] >> 2)
        self.count, self.end = varint(data, 1)
        self.vectors = []
        if own:
            size = self.count * self.length
            if self.end + size > len(data):
                raise Damaged("a book ends early")
            numbers = struct.unpack_from(f"<{size}b", data, self.end)
            self.vectors = [numbers[i:i + self.length] for i in range(0, size, self.length)]
            self.end += size


def symbols(data, frequencies, count):
    """rANS of 12 bits, two states in turns."""
    size = [4096 - 2 * sum(frequencies)] + [f for f in frequencies for _ in (0, 1)]
    start, slots = [0], []
    for i, f in enumerate(size):
        start.append(start[-1] + f)
        slots += [i] * f
    states, at, found = list(struct.unpack_from("<2I", data)), 8, []
    for i in range(count):
        s = states[i & 1]
        symbol = slots[s & 4095]
        s = size[symbol] * (s >> 12) + (s & 4095) - start[symbol]
        if s < 1 << 16:
            s = s << 16 | struct.unpack_from("<H", data, at)[0]
            at += 2
        states[i & 1] = s
        found.append(symbol)
    return found


def read(data, book, lent, limit, rows, length, scale_reader):
    """(scale codes, values); `lent`: the Book whose vectors are used, None where they are its own."""
    vectors = (lent or book).vectors[:book.count]
    if lent and (lent.length != book.length or len(lent.vectors) < book.count):
        raise Damaged("a book of another shape")
    by_index = [(0,) * book.length]
    for v in vectors:
        v = [min(max(x, -limit), limit) for x in v]
        by_index += [v, [-x for x in v]]
    side_bytes, at = varint(data, book.end)
    side, body = Decoder(data[at:at + side_bytes]), data[at + side_bytes:]
    read_scale = scale_reader(side)
    per_row = -(-length // book.length)
    if book.coded:
        model, frequencies = Integer(), []
        for _ in vectors:
            frequencies.append((frequencies[-1] if frequencies else 0) + side.signed(model))
        indices = symbols(body, frequencies, rows * per_row)
    else:
        width, number = (2 * book.count).bit_length(), int.from_bytes(body, "little")
        if 8 * len(body) < width * rows * per_row:
            raise Damaged("indices end early")
        indices = [number >> width * i & (1 << width) - 1 for i in range(rows * per_row)]
    scales, values = [], []
    for r in range(rows):
        scales.append(read_scale())
        row = [x for i in indices[r * per_row:(r + 1) * per_row] for x in (by_index[i] if i < len(by_index) else by_index[0])]
        values += row[:length]
    return scales, values
