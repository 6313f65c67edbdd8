#!/usr/bin/env python3
"""A second reader of .pith files, written from docs/format.md: lists and decodes every tensor and constant.

    tools/read_pith.py model.pith             what the file holds
    tools/read_pith.py model.pith --digest    one line per constant with a checksum of its values (for comparisons)

It shares no code with the C++ readers; it takes names and counts of operators from program/opcodes.inc, and the metadata's
letter classes and primer from program/metadata.h, which the specification refers to.
"""
import argparse
import math
import pathlib
import re
import struct
import sys
import zlib

import read_classes as classes
import read_mixed as mixed
import read_vectors as vectors
from read_codes import Bit, Damaged, Decoder, Integer
from read_floats import Floats
from read_vocabulary import vocabulary

ROOT = pathlib.Path(__file__).resolve().parent.parent


def words(text):
    count = 0
    for word in text.split():
        array = re.search(r"\[(\d+)\]", word)
        count += int(array.group(1)) if array else 1
    return count


def opcodes():
    rows = re.findall(r'^PITH_OPCODE\((\w+), "(.*?)", "(.*?)", "(.*?)", "(.*?)"\)', (ROOT / "program/opcodes.inc").read_text(), re.M)
    return [(r[0], len(r[1].split()), len(r[2].split()), words(r[3]), words(r[4])) for r in rows]


class DimsModels:
    def __init__(self):
        self.rank, self.size = Integer(), [Integer() for _ in range(6)]
        self.same_rank, self.same = Bit(), [Bit() for _ in range(6)]


class Reader:
    def __init__(self, data):
        if len(data) < 8 or data[0] != 0x50:
            raise Damaged("not a .pith file")
        if data[1] not in (2, 3):
            raise Damaged(f"format version {data[1]}; this reads versions 2 and 3")
        if zlib.crc32(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            raise Damaged("wrong checksum")
        at, self.sections = 2, []
        for _ in range(2):
            length, shift = 0, 0
            while True:
                byte = data[at]
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            self.sections.append(data[at:at + length])
            at += length
        self.payload = data[at:-4]
        self.used = 0
        self.ops_table = opcodes()
        self.structure()
        self.metadata()

    def structure(self):
        d = self.d = Decoder(self.sections[0])
        self.models = {}
        counts = self.model("counts")
        tensors, constants, ops, inputs, outputs, states = (d.number(counts) for _ in range(6))
        self.arena = 16 * d.number(self.model("arena"))
        self.tensors, self.constants, self.ops = [], [], []
        self.previous = {"tensor": (0, 0), "pre": (0, 0)}
        self.kernel, self.last_opcode = [0, 0, 0], 0
        self.inputs = [self.port() for _ in range(inputs)]
        self.states = [[self.state_tensor()] for _ in range(states)]
        for _ in range(ops):
            self.operator()
        self.outputs = [self.port() for _ in range(outputs)]
        for s in self.states:
            s.append(self.state_tensor())
        if (len(self.tensors), len(self.constants), self.used) != (tensors, constants, len(self.payload)):
            raise Damaged("counts or lengths")

    def model(self, *key):
        kind = Bit if key[0] in ("is_alias", "row_scales", "same_zero", "has_scratch") else DimsModels if key[0].endswith("_dims") else Integer
        if key not in self.models:
            self.models[key] = kind()
        return self.models[key]

    def reference(self, k):
        """(kind, id): kind 'none', 'new constant', 'new tensor', 'constant', 'tensor'."""
        code = self.d.number(self.model("references", k))
        if code == 0:
            return "none", -1
        if code == 1:
            return "new constant", len(self.constants)
        if code == 2:
            return "new tensor", len(self.tensors)
        if code == 3:
            return "constant", len(self.constants) - 1 - self.d.number(self.model("constant_age"))
        return "tensor", len(self.tensors) - 1 - (code - 4)

    def port(self):
        kind, tensor = self.reference(0)
        name = bytes(self.d.raw(8) for _ in range(self.d.number(self.model("name_length")))).decode("utf-8", "replace")
        permutation = [self.d.number(self.model("permutation")) for _ in range(self.d.number(self.model("rank")))]
        if kind == "new tensor":
            self.tensor(self.known(0))
        return {"name": name, "tensor": tensor, "permutation": permutation}

    def state_tensor(self):
        kind, tensor = self.reference(1 + (22 * 5) % 16)
        if kind == "new tensor":
            self.tensor(self.known(0))
        return tensor

    def known(self, tensor):
        n = len(self.tensors)
        if n == 0:
            return []
        return self.tensors[tensor]["dims"] if 0 <= tensor < n and n - 1 - tensor < 32 else self.tensors[-1]["dims"]

    def dims(self, models, predicted):
        d = self.d
        rank = len(predicted) if d.bit(models.same_rank) else d.number(models.rank)
        if rank > 6:
            raise Damaged("a rank")
        out = []
        for i in range(rank):
            guess = predicted[i] if i < len(predicted) else 1
            out.append(guess if d.bit(models.same[i]) else d.number(models.size[i]))
        return out

    def affine(self, kind):
        scale, zero = self.previous[kind]
        scale += self.d.signed(self.model("scale"))
        if not self.d.bit(self.model("same_zero")):
            zero = self.d.raw(8)
        self.previous[kind] = (scale, zero)
        return scale, zero

    def tensor(self, predicted):
        d = self.d
        if d.bit(self.model("is_alias")):
            root = len(self.tensors) - d.number(self.model("alias_age"))
            t = dict(self.tensors[root], alias=root)
            t["offset"] += 16 * d.number(self.model("alias_units"))
            t["dims"] = self.dims(self.model("alias_dims"), predicted)
        else:
            t = {"dtype": d.number(self.model("dtype")), "alias": None}
            t["dims"] = self.dims(self.model("tensor_dims"), predicted)
            t["affine"] = self.affine("tensor") if t["dtype"] == 0 else None
            t["offset"] = 16 * d.number(self.model("offset"))
        self.tensors.append(t)

    def real(self):
        kind = self.d.number(self.model("real_kind"))
        return float(kind) if kind < 2 else struct.unpack("<f", struct.pack("<I", self.d.raw(32)))[0]

    def operator(self):
        d = self.d
        opcode = d.number(self.model("opcode", self.last_opcode % 8))
        self.last_opcode = opcode
        name, inputs, outputs, ints, reals = self.ops_table[opcode]
        op = {"opcode": opcode, "name": name}
        op["ints"] = [d.signed(self.model("ints", (17 * opcode + i) % 53)) for i in range(ints)]
        op["reals"] = [self.real() for _ in range(reals)]
        op["activation"] = d.number(self.model("activation"))
        if op["activation"]:
            op["a"], op["b"] = self.real(), self.real()
            if op["activation"] > 2:
                op["pre"] = self.affine("pre")
        op["scratch"] = 16 * d.number(self.model("scratch")) if d.bit(self.model("has_scratch")) else 0
        op["inputs"], op["outputs"] = [], []
        first = 0 if inputs == 0 else -1
        for i in range(inputs):
            kind, index = self.reference(1 + (opcode * 5 + i) % 16)
            if i == 0:
                first = index if "tensor" in kind else -1
            if kind == "new constant":
                self.constant(self.predict_constant(op, i, first))
            if kind == "new tensor":
                self.tensor(self.known(0))
            if i == 1 and "constant" in kind:
                self.kernel = (self.constants[index]["dims"] + [0, 0, 0])[:3]
            op["inputs"].append(f"c{index}" if "constant" in kind else f"t{index}" if index >= 0 else "-")
        for i in range(outputs):
            kind, index = self.reference(1 + (opcode * 5 + i + 3) % 16)
            if kind == "new tensor":
                self.tensor(self.predict_output(op, first))
            op["outputs"].append(f"t{index}" if index >= 0 else "-")
        self.ops.append(op)

    def predict_constant(self, op, slot, first):
        before = list(self.constants[-1]["dims"]) if self.constants else []
        x = self.known(first)
        depth = x[-1] if x else 0
        padded = before + [0] * 6
        if slot == 1 and op["name"] == "Conv2d":
            groups = op["ints"][8]
            return padded[:3] + [depth // groups if groups > 0 else depth]
        if slot == 1 and op["name"] == "Dense":
            return padded[:1] + [depth]
        if slot == 2 and op["name"] in ("Conv2d", "Dense"):
            return padded[:1]
        return before

    def predict_output(self, op, first):
        p = list(self.known(first))
        conv, pool = op["name"] == "Conv2d", op["name"] == "Pool2d"
        if (conv or pool) and len(p) == 4:
            s = op["ints"][0 if conv else 3:]
            for i in range(2):
                kernel = self.kernel[1 + i] if conv else op["ints"][1 + i]
                reach, padded = s[2 + i] * (kernel - 1) + 1, p[1 + i] + s[4 + i] + s[6 + i]
                p[1 + i] = (padded - reach) // s[i] + 1 if s[i] > 0 and padded >= reach else 0
            if conv:
                p[3] = self.kernel[0]
        elif op["name"] == "Dense" and p:
            p[-1] = self.kernel[0]
        return p

    def constant(self, predicted):
        d = self.d
        k = {"dtype": d.number(self.model("constant_dtype"))}
        k["codec"] = d.number(self.model("codec", k["dtype"]))
        if k["dtype"] == 3:
            k["bits"], k["row_scales"] = d.number(self.model("bits")), d.bit(self.model("row_scales"))
            age = d.number(self.model("book")) if k["codec"] == 11 else 0
            if age > len(self.constants):
                raise Damaged("a book of a constant that isn't there")
            k["owner"] = len(self.constants) - age if age else None
        else:
            k["shift"] = d.number(self.model("shift"))
            if k["dtype"] == 0:
                k["affine"] = self.affine("tensor")
        k["dims"] = self.dims(self.model("constant_dims"), predicted)
        k["bytes"] = d.number(self.model("bytes"))
        data = self.payload[self.used:self.used + k["bytes"]]
        self.used += k["bytes"]
        count = math.prod(k["dims"])
        if k["codec"] == 5:
            k["values"] = Floats(data, count, k["shift"]).values
        elif k["dtype"] == 1:
            k["values"] = list(struct.unpack(f"<{count}f", data))
        elif k["dtype"] == 3:
            self.rows(k, data)
        else:
            stream, model = Decoder(data), Integer()
            k["values"] = [stream.signed(model) << k["shift"] for _ in range(count)]
        self.constants.append(k)

    @staticmethod
    def scale_reader(d, row_scales):
        """A function of (the row is empty) that reads the next row's scale code."""
        models, total, rows, last_empty = (Integer(), Integer()), 0, 0, 0
        shift = d.raw(2) if row_scales else 0
        first = d.signed(models[0])

        def row(empty=False):
            nonlocal total, rows, last_empty
            if not row_scales:
                return first
            expected = last_empty if empty else (2 * total + rows) // (2 * rows) if rows else 0
            steps = expected + d.signed(models[empty])
            if empty:
                last_empty = steps
            else:
                total, rows = total + steps, rows + 1
            return first + (steps << shift)

        return row

    def mixed_rows(self, k, data, rows, length):
        d = Decoder(data)
        read_scale = self.scale_reader(d, k["row_scales"])
        largest = d.raw(k["bits"] - 1)
        dims = k["dims"]
        inner, width = dims[-1] if len(dims) >= 2 else 1, dims[-2] if len(dims) >= 3 else 1
        trellis = k["codec"] >= 8
        model = mixed.Rows(d, largest, inner, width, trellis) if k["codec"] in (4, 8) else classes.Rows(d, largest, d.raw(1), inner, width, trellis)
        scales, values, row, empty_model = [], [], [0] * length, Bit()
        for _ in range(rows):
            empty = not largest or bool(d.bit(empty_model))
            scales.append(read_scale(empty))
            if not empty and trellis:
                row = mixed.to_values(model.row(mixed.to_indices(row)), (1 << k["bits"] - 1) - 1)
            else:
                row = [0] * length if empty else model.row(row)
            values += row
        return scales if k["row_scales"] else scales[:1], values

    def plain_rows(self, codec):
        return {0: self.raw_rows, 1: self.rans_rows, 2: self.adaptive_rows, 4: self.mixed_rows, 6: self.mixed_rows, 8: self.mixed_rows, 9: self.mixed_rows}[codec]

    def rows(self, k, data):
        rows = k["dims"][0] if k["dims"] else 1
        length = math.prod(k["dims"]) // rows if rows else 0
        codec, levels = k["codec"], None
        if codec == 11:
            return self.vector_rows(k, data, rows, length)
        if codec == 10:
            codec, levels, data = self.levels(data)
        decode = self.grouped_rows if codec == 7 else self.plain_rows(codec)
        k["scales"], k["values"] = decode({**k, "codec": codec}, data, rows, length)
        if levels:
            limit = (1 << k["bits"] - 1) - 1
            k["values"] = [min(limit, levels(abs(m))) * (-1 if m < 0 else 1) for m in k["values"]]

    @staticmethod
    def levels(data):
        """The inner codec, the size that a multiple stands for, and the inner stream."""
        codec, count = data[0] & 15, data[0] >> 4
        steps, tail = data[1:count + 1], data[count + 1]
        if not count or not all(steps) or sum(steps) > 127 or not 1 <= tail <= 127:
            raise Damaged("levels are malformed")
        return codec, lambda m: sum(steps[:m]) + max(0, m - count) * tail, data[count + 2:]

    def vector_rows(self, k, data, rows, length):
        lent = None if k["owner"] is None else self.constants[k["owner"]].get("book")
        if k["owner"] is not None and lent is None:
            raise Damaged(f"constant {k['owner']} has no book")
        book = vectors.Book(data, lent is None)
        if lent is None:
            k["book"] = book
        scales, k["values"] = vectors.read(data, book, lent, (1 << k["bits"] - 1) - 1, rows, length, lambda d: self.scale_reader(d, k["row_scales"]))
        k["scales"] = scales if k["row_scales"] else scales[:1]

    def grouped_rows(self, k, data, rows, length):
        def varint(data):
            value = shift = 0
            while True:
                value |= (data[0] & 127) << shift
                last, data, shift = data[0] < 128, data[1:], shift + 7
                if last:
                    return value, data
        group_rows, data = varint(data)
        codec, data = data[0], data[1:]
        table_bytes, data = varint(data)
        table, data = data[:table_bytes], data[table_bytes:]
        decode = self.plain_rows(codec)
        scales, values = [], []
        for first in range(0, rows, group_rows):
            size, table = varint(table)
            some, integers = decode({**k, "codec": codec}, data[:size], min(group_rows, rows - first), length)
            scales += some
            values += integers
            data = data[size:]
        return scales if k["row_scales"] else scales[:1], values

    def adaptive_rows(self, k, data, rows, length):
        d = Decoder(data)
        read_scale = self.scale_reader(d, k["row_scales"])
        nonzero = [Bit() for _ in range(16)]
        longer = [[Bit() for _ in range(8)] for _ in range(16)]
        mantissa = [[Bit() for _ in range(8)] for _ in range(8)]
        scales, values, mean, above = [], [], 0, [0] * length
        for _ in range(rows):
            scales.append(read_scale())
            left = left2 = 0
            row = []
            for i in range(length):
                t = 6 * left + 3 * left2 + 5 * abs(above[i]) + mean + (mean >> 3)
                if t < 6:
                    c = t >> 1
                else:
                    octave = t.bit_length() - 1
                    c = min(15, 2 * octave + (t >> (octave - 1) & 1) - 2)
                magnitude, q = 0, 0
                if d.bit(nonzero[c]):
                    negative, bits = d.raw(1), 1
                    while bits < k["bits"] - 1 and d.bit(longer[c][bits - 1]):
                        bits += 1
                    magnitude, prefix = 1, 1
                    for known in range(bits - 1):
                        b = d.bit(mantissa[bits - 1][prefix]) if known < 3 else d.raw(1)
                        if known < 2:
                            prefix = prefix << 1 | b
                        magnitude = magnitude << 1 | b
                    q = -magnitude if negative else magnitude
                row.append(q)
                left, left2 = magnitude, left
                mean += (256 * magnitude - 16 * mean + 256) >> 9
            above = row
            values += row
        return scales if k["row_scales"] else scales[:1], values

    @staticmethod
    def side(data):
        length = shift = at = 0
        while True:
            length |= (data[at] & 127) << shift
            shift, at = shift + 7, at + 1
            if data[at - 1] < 128:
                break
        return data[at:at + length], data[at + length:]

    def rans_rows(self, k, data, rows, length):
        side, body = self.side(data)
        d, scales = Decoder(side), []
        read_scale = self.scale_reader(d, k["row_scales"])
        family, limit, count = d.raw(2), d.raw(k["bits"] - 1), d.raw(2) + 1
        tables = [self.table(family, d.raw(6), limit) for _ in range(count)]
        choice, at = [Bit() for _ in range(4)], 8
        states, turn, values = list(struct.unpack("<2I", body[:8])), 0, []
        for _ in range(rows):
            scales.append(read_scale())
            chosen = 0
            while chosen < count - 1 and d.bit(choice[chosen]):
                chosen += 1
            symbols, start = tables[chosen]
            for _ in range(length):
                s = states[turn]
                slot = s & 16383
                symbol = symbols[slot]
                s = (start[symbol + 1] - start[symbol]) * (s >> 14) + slot - start[symbol]
                if s < 1 << 16:
                    s = s << 16 | struct.unpack_from("<H", body, at)[0]
                    at += 2
                states[turn] = s
                turn ^= 1
                values.append(symbol - limit)
        return scales if k["row_scales"] else scales[:1], values

    @staticmethod
    def table(family, width, limit):
        b = 2.0 ** (width / 4 - 2)

        def below(x):
            if family == 0:
                return 0.5 * math.exp(x / b) if x < 0 else 1 - 0.5 * math.exp(-x / b)
            if family == 1:
                return 1 / (1 + math.exp(-x / b)) if x >= 0 else math.exp(x / b) / (1 + math.exp(x / b))
            return 0.5 * (1 + math.erf(x / b * 0.7071067811865476))

        spare = 16384 - (2 * limit + 1)
        total = below(limit + 0.5) - below(-limit - 0.5)
        frequency = [0] + [1 + int((below(q + 0.5) - below(q - 0.5)) / total * spare) for q in range(1, limit + 1)]
        frequency[0] = 16384 - 2 * sum(frequency)
        start, symbols = [0], []
        for i in range(2 * limit + 1):
            f = frequency[abs(i - limit)]
            symbols += [i] * f
            start.append(start[-1] + f)
        return symbols, start

    def raw_rows(self, k, data, rows, length):
        side, body = self.side(data)
        read_scale = self.scale_reader(Decoder(side), k["row_scales"])
        scales = [read_scale() for _ in range(rows if k["row_scales"] else 1)]
        bits, number = k["bits"], int.from_bytes(body, "little")
        mask = (1 << bits) - 1
        return scales, [(number >> (bits * i) & mask) - (1 << (bits - 1)) for i in range(rows * length)]

    def metadata(self):
        self.texts = {}
        if not self.sections[1]:
            return
        source = (ROOT / "program/metadata.h").read_text()
        classes = {}
        for cases, number in re.findall(r"((?:case '.': ?)+)return (\d+);", source):
            for letter in re.findall(r"'(.)'", cases):
                classes[ord(letter)] = int(number)

        def context(p):
            if p | 0x20 in classes:
                return classes[p | 0x20]
            if 48 <= p <= 57:
                return 16
            for letters, number in ((" _", 17), ("\n", 18), (":=", 19), (".,-/", 20)):
                if chr(p) in letters:
                    return number
            return 0 if p == 0 else 23 if p >= 128 else 21 if p >= 97 else 22

        models = [[Bit() for _ in range(256)] for _ in range(24)]
        primer = re.search(r"kPrimer\[\] =\s*((?:\".*\"\s*)+);", source).group(1)
        previous = 0
        for letter in "".join(re.findall(r'"(.*)"', primer)).encode().decode("unicode_escape").encode():
            node = 1
            for i in range(7, -1, -1):
                models[context(previous)][node].update(letter >> i & 1)
                node = node << 1 | (letter >> i & 1)
            previous = letter
        d, length = Decoder(self.sections[1]), Integer()
        for _ in range(d.number(length)):
            pair = []
            for _ in range(2):
                text, previous = bytearray(), 0
                for _ in range(d.number(length)):
                    node = 1
                    for _ in range(8):
                        node = node << 1 | d.bit(models[context(previous)][node])
                    previous = node & 255
                    text.append(previous)
                pair.append(bytes(text))
            key = pair[0].decode("utf-8", "replace")
            self.texts[key] = vocabulary(pair[1]) if key == "tokenizer" else pair[1].decode("utf-8", "replace")


def digest(values, reals):
    return zlib.crc32(struct.pack(f"<{len(values)}{'f' if reals else 'i'}", *values))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file")
    parser.add_argument("--digest", action="store_true", help="one line per constant: index, type, dimensions, CRC-32 of the values and scales")
    arguments = parser.parse_args()
    try:
        r = Reader(pathlib.Path(arguments.file).read_bytes())
    except (Damaged, IndexError, struct.error, OSError) as e:
        sys.exit(f"error: '{arguments.file}': {e or 'truncated'}")
    if arguments.digest:
        for i, k in enumerate(r.constants):
            print(i, k["dtype"], "x".join(map(str, k["dims"])), f"{digest(k['values'], k['dtype'] == 1):08x}", f"{digest(k.get('scales', []), False):08x}")
        return
    types, codecs = ["u8", "f32", "i32", "i8"], ["raw", "rans", "adaptive", "float", "mixed", "predicted", "classes", "groups", "mixed trellis", "classes trellis", "levels", "vectors"]
    print(f"arena {r.arena} bytes; {len(r.ops)} operators, {len(r.tensors)} tensors, {len(r.constants)} constants")
    for key, text in r.texts.items():
        print(f"metadata {key} = {text[:200 if key == 'tokenizer' else 70]!r}")
    for kind, ports in (("input", r.inputs), ("output", r.outputs)):
        for p in ports:
            print(f"{kind} t{p['tensor']} {p['name']!r} axes {p['permutation']}")
    for i, t in enumerate(r.tensors):
        place = f"is t{t['alias']}" if t["alias"] is not None else f"at {t['offset']}"
        print(f"t{i} {types[t['dtype']]} {'x'.join(map(str, t['dims']))} {place}", t["affine"] or "")
    for i, k in enumerate(r.constants):
        values = k["values"]
        shape = "" if k["codec"] != 11 else f" of c{k['owner']}" if k["owner"] is not None else f" {k['book'].count} of {k['book'].length}"
        print(f"c{i} {types[k['dtype']]} {'x'.join(map(str, k['dims']))} {codecs[k['codec']]}{shape} {k['bytes']} bytes, {len(values)} values in {min(values, default=0):g}..{max(values, default=0):g}")
    for i, op in enumerate(r.ops):
        print(f"{i} {' '.join(op['outputs'])} = {op['name']} {' '.join(op['inputs'])} {op['ints']} {op['reals']} activation {op['activation']}")


if __name__ == "__main__":
    main()
