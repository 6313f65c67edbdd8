"""The coded vocabulary of docs/format.md section 9; part of read_pith.py."""
from read_codes import Bit, Damaged, Decoder, Integer


def vocabulary(block):
    """The block of section 9: every token decoded, told in one line."""
    d, fields = Decoder(block), {}
    number = lambda name: d.number(fields.setdefault(name, Integer()))
    signed = lambda name: d.signed(fields.setdefault(name, Integer()))
    bits = [Bit() for _ in range(3)]
    letters = [[Bit() for _ in range(256)] for _ in range(128)]
    if number("format") != 1:
        raise Damaged("a vocabulary of an unknown form")
    kind, flags, count, pool, pairs, added, max_word = (number(n) for n in ("kind", "flags", "count", "pool", "pairs", "added", "max_word"))
    roles = [number("role") - 1 for _ in range(5)]
    around = [[number("around") for _ in range(number("around"))] for _ in range(2)]

    def spell():
        text = bytearray()
        for _ in range(number("length")):
            node, context = 1, letters[text[-1] & 127 if text else 0]
            for _ in range(8):
                node = node << 1 | d.bit(context[node])
            text.append(node & 255)
        return bytes(text)

    tokens = {}
    if kind == 0:
        symbols, made = [], []
        for i in range(count):
            if d.bit(bits[0]):
                tokens[i] = spell()
                symbols.append(tokens[i])
        for _ in range(pairs):
            joined = symbols[number("left")] + symbols[number("right")]
            if d.bit(bits[1]):
                number("result")
            else:
                symbols.append(joined)
                made.append(joined)
        last = -1
        for token in made:
            last += 1 + signed("id")
            tokens[last] = token
    else:
        tokens = {i: spell() for i in range(count)}
        wide = d.bit(bits[2]) if kind == 2 else 0
        for _ in range(count if kind >= 2 else 0):
            signed("rank") if kind == 3 else d.raw(64 if wide else 32)
    last, names = -1, []
    for _ in range(added):
        last += 1 + number("added_id")
        number("added_flags")
        names.append(tokens[last].decode("utf-8", "replace"))
    if len(tokens) != count or sum(map(len, tokens.values())) != pool:
        raise Damaged("a vocabulary that contradicts itself")
    kinds = ("byte pairs", "word pieces", "unigrams", "scored pairs")
    return f"{count} {kinds[kind]}, {pairs} pairs, flags {flags:#x}, roles {roles}, around {around}, added {' '.join(names)}, in {len(block)} bytes"
