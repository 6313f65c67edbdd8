#!/usr/bin/env python3
"""Writes post/unicode_tables.inc: what the tokenisers need to know of Unicode.

    tools/make_unicode_tables.py > post/unicode_tables.inc

The source is Python's own unicodedata, version 14. Trained vocabularies, however, were made by a library whose tables are of
other years: it knows the letters and digits of Unicode 16, but the punctuation and the combining marks of Unicode 8. The
differences below were found by asking it about every code point, and are stated here as facts.

Runs of equal classes become one number each, (first code point << 8 | class), for a binary search; class bits are
1 letter, 2 digit, 4 white space, 8 punctuation, 16 control, 32 combining mark, 64 ideograph. Lower case and decomposition are lists of
(code point, result); Hangul is left to arithmetic.
"""
import sys
import unicodedata

LETTERS_SINCE_15 = """1c89-1c8a a7cb-a7cd a7da-a7dc 105c0-105f3 10d4a-10d65 10d6f-10d85 10ec2-10ec4 1123f-11240 11380-11389 1138b 1138e
11390-113b5 113b7 113d1 113d3 11bc0-11be0 11f02 11f04-11f10 11f12-11f33 1342f 13441-13446 13460-143fa 16100-1611d 16d40-16d6c
18cff 1b132 1b155 1df25-1df2a 1e030-1e06d 1e4d0-1e4eb 1e5d0-1e5ed 1e5f0 2b739 2ebf0-2ee5d 31350-323af"""
DIGITS_SINCE_15 = "10d40-10d49 116d0-116e3 11bf0-11bf9 11f50-11f59 16130-16139 16d70-16d79 1ccf0-1ccf9 1d2c0-1d2d3 1e4f0-1e4f9 1e5f1-1e5fa"
NO_CONTROL = "9-a d 890-891 8e2 110cd 13430-13438"
NO_MARK = """7fd 898-89f 8ca-8e1 9fe afa-aff b55 c04 c3c d00 d3b-d3c d81 eba 1734 180f 1885-1886 1abf-1ace 1df6-1dfb a82c a8c5 a8ff a9bd
10d24-10d27 10eab-10eac 10f46-10f50 10f82-10f85 11070 11073-11074 110c2 111c9 111cf 1123e 1133b 11438-1143f 11442-11444 11446 1145e
1182f-11837 11839-1183a 11938 1193b-1193c 1193e 11943 119d4-119d7 119da-119db 119e0 11a01-11a0a 11a33-11a38 11a3b-11a3e 11a47
11a51-11a56 11a59-11a5b 11a8a-11a96 11a98-11a99 11c30-11c36 11c38-11c3d 11c3f 11c92-11ca7 11caa-11cb0 11cb2-11cb3 11cb5-11cb6
11d31-11d36 11d3a 11d3c-11d3d 11d3f-11d45 11d47 11d90-11d91 11d95 11d97 11ef3-11ef4 16f4f 16fe4 1cf00-1cf2d 1cf30-1cf46
1e000-1e006 1e008-1e018 1e01b-1e021 1e023-1e024 1e026-1e02a 1e130-1e136 1e2ae 1e2ec-1e2ef 1e944-1e94a"""
PUNCTUATION = "166d 111c9"
NO_PUNCTUATION = """61d 9fd a76 c77 c84 1b7d-1b7e 2e43-2e4f 2e52-2e5d 10ead 10f55-10f59 10f86-10f89 1144b-1144f 1145a-1145b 1145d 11660-1166c
116b9 1183b 11944-11946 119e2 11a3f-11a46 11a9a-11a9c 11a9e-11aa2 11c41-11c45 11c70-11c71 11ef7-11ef8 11fff 12ff1-12ff2 16e97-16e9a
16fe2 1e95e-1e95f"""
SPACE = "9-d 20 85 a0 1680 2000-200a 2028-2029 202f 205f 3000"
IDEOGRAPHS = "3400-4dbf 4e00-9fff f900-faff 20000-2a6df 2a700-2b81f 2b920-2ceaf 2f800-2fa1f"
LOWER_SINCE_15 = {0x1C89: 0x1C8A, 0xA7CB: 0x264, 0xA7CC: 0xA7CD, 0xA7CE: 0xA7CF, 0xA7D2: 0xA7D3, 0xA7D4: 0xA7D5, 0xA7DA: 0xA7DB,
                  0xA7DC: 0x19B, **{c: c + 32 for c in range(0x10D50, 0x10D66)}, **{c: c + 27 for c in range(0x16EA0, 0x16EB9)}}
ASCII_PUNCTUATION = set(map(ord, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"))


def points(text):
    found = set()
    for part in text.split():
        low, _, high = part.partition("-")
        found.update(range(int(low, 16), int(high or low, 16) + 1))
    return found


SETS = {name: points(globals()[name]) for name in (
    "LETTERS_SINCE_15", "DIGITS_SINCE_15", "NO_CONTROL", "NO_MARK", "PUNCTUATION", "NO_PUNCTUATION", "SPACE", "IDEOGRAPHS")}


def is_mark(c):
    return unicodedata.category(chr(c)) == "Mn" and c not in SETS["NO_MARK"]


def classes(c):
    category = unicodedata.category(chr(c))
    bits = 1 * (category[0] == "L" or c in SETS["LETTERS_SINCE_15"]) | 2 * (category[0] == "N" or c in SETS["DIGITS_SINCE_15"])
    bits |= 4 * (c in SETS["SPACE"])
    punctuation = category[0] == "P" and c not in SETS["NO_PUNCTUATION"] or c in SETS["PUNCTUATION"] or c in ASCII_PUNCTUATION
    bits |= 8 * punctuation | 16 * (category in ("Cc", "Cf", "Co") and c not in SETS["NO_CONTROL"] or c == 0xFFFD)
    return bits | 32 * is_mark(c) | 64 * (c in SETS["IDEOGRAPHS"])


def table(name, kind, numbers, comment):
    print(f"// {comment}\nstatic const {kind} {name}[{len(numbers)}] = {{")
    line = ""
    for n in numbers:
        word = f"{n:#x},"
        if len(line) + len(word) > 150:
            print(line)
            line = ""
        line += word
    print(line + "\n};")


def main():
    print(f"// Written by tools/make_unicode_tables.py from unicodedata {unicodedata.unidata_version}.")
    runs, last = [], None
    for c in range(0x110000):
        if classes(c) != last:
            last = classes(c)
            runs.append(c << 8 | last)
    table("kClassRuns", "uint32_t", runs, "first code point << 8 | class bits")
    lower = {c: [ord(x) for x in chr(c).lower()] for c in range(128, 0x110000) if not 0xD800 <= c < 0xE000}
    lower.update({c: [x] for c, x in LOWER_SINCE_15.items()})
    # runs of a constant difference and a step of 1 or 2
    changes = sorted((c, x[0] - c) for c, x in lower.items() if x != [c] and len(x) == 1)
    groups = []
    for c, d in changes:
        g = groups[-1] if groups else None
        if g and g[2] == d and (c - g[1] == g[3] or g[3] == 0 and c - g[1] in (1, 2)):
            g[1], g[3] = c, c - g[1]
        else:
            groups.append([c, c, d, 0])
    flat = [v & 0xFFFFFFFF for g in groups for v in (g[0], g[1], g[2], max(g[3], 1))]
    table("kLowerRuns", "uint32_t", flat, "first, last, difference, step; U+0130 alone has two letters and stands in the code")
    assert [c for c, x in lower.items() if len(x) > 1] == [0x130]
    parts = []
    for c in range(128, 0x110000):
        if 0xAC00 <= c <= 0xD7A3 or 0xD800 <= c < 0xE000:
            continue
        whole = [ord(x) for x in unicodedata.normalize("NFD", chr(c))]
        if whole == [c]:
            continue
        kept = [x for x in whole if not is_mark(x)]
        assert 1 <= len(kept) <= 3 or not kept, (hex(c), kept)
        parts.append([c] + kept)
    ones = [p for p in parts if len(p) == 2]
    table("kBase", "uint32_t", [v for p in ones for v in p], "code point, what its decomposition leaves without marks")
    longer = [p + [0] * (4 - len(p)) for p in parts if len(p) != 2]
    table("kBases", "uint32_t", [v for p in longer for v in p], "likewise where that is none, two or three code points")


if __name__ == "__main__":
    sys.exit(main())
