#!/usr/bin/env python3
"""Holds pith's tokenisers against PyPI's `tokenizers`: ids and offsets of many lines, byte for byte.

    tools/check_tokenizers.py PITH TEXT_FOLDER TOKENIZER... [--lines 100000] [--seed 1] [--csv results.csv]

TOKENIZER is a tokenizer.json, or a .model (then sentencepiece itself is the reference, ids only). The lines: half from the
texts of TEXT_FOLDER (pieces of random length), half generated: words of 30 scripts, any code points, white space of all
kinds, accents composed and not, contractions, special tokens, and malformed UTF-8. Malformed bytes reach the reference as
U+FFFD, one for each maximal subpart, as both Python and the Unicode standard do; its offsets count characters and are
turned into bytes here.
"""
import argparse
import csv
import json
import pathlib
import random
import subprocess
import sys
import tempfile

SCRIPTS = [(0x20, 0x7E), (0xA1, 0x24F), (0x250, 0x2FF), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x52F), (0x531, 0x586), (0x5D0, 0x5EA),
           (0x620, 0x6FF), (0x904, 0x97F), (0x980, 0x9FE), (0xB85, 0xBFA), (0xE01, 0xE5B), (0x10A0, 0x10FF), (0x1100, 0x11FF),
           (0x1E00, 0x1FFF), (0x2000, 0x206F), (0x20A0, 0x20C0), (0x2190, 0x21FF), (0x2200, 0x22FF), (0x2460, 0x24FF), (0x3041, 0x30FF),
           (0x3400, 0x34FF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0xF900, 0xFAFF), (0xFF01, 0xFFEE), (0x1D400, 0x1D7FF),
           (0x1F300, 0x1FAFF), (0x20000, 0x2A6DF)]
SPACES = " \t\u00a0\u1680\u2003\u2028\u3000\u0085\u000b"
PIECES = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "don't", " 's", "<mask>", "  <mask> ", "[MASK]", "<s>", "</s>", "[CLS]",
          "<|endoftext|>", "\u2581", "\u2581\u2581a", "##s", "I\u0307", "\u0130stanbul", "e\u0301", "\u1e69", "\ufb01", "\u200d", "\ufeff",
          "\ufffd", "\x00", "\x7f", "\u00ad", "0x1F", "3.14", "1,000", "x" * 120, "...", "\u3002", "\uff0c"]
BROKEN = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\x80", b"\xe0\x80\x80", b"\xf8\x88"]


def generated(rng):
    parts = []
    for _ in range(rng.randint(1, 12)):
        kind = rng.random()
        if kind < 0.45:
            low, high = rng.choice(SCRIPTS)
            parts.append("".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 9))).encode("utf-8", "surrogatepass"))
        elif kind < 0.6:
            parts.append(rng.choice(PIECES).encode())
        elif kind < 0.7:
            parts.append("".join(rng.choice(SPACES) for _ in range(rng.randint(1, 4))).encode())
        elif kind < 0.8:
            c = rng.randrange(0x110000)
            parts.append(chr(c if not 0xD800 <= c < 0xE000 else 0x41).encode())
        elif kind < 0.87:
            parts.append(rng.choice(BROKEN))
        else:
            parts.append(rng.choice(["the", "The quick", "running", "42", "a", "Z"]).encode())
        if rng.random() < 0.6:
            parts.append(b" ")
    return b"".join(parts)


def make_lines(folder, count, seed):
    rng = random.Random(seed)
    text = b"\n".join(p.read_bytes() for p in sorted(pathlib.Path(folder).glob("*.txt")))
    lines = []
    while len(lines) < count // 2:
        at, n = rng.randrange(len(text) - 400), rng.randint(1, 300)
        lines.append(text[at:at + n])  # cuts through characters too
    while len(lines) < count:
        lines.append(generated(rng))
    return [line.replace(b"\n", b" ").replace(b"\r", b" ") for line in lines]


def byte_offsets(raw):
    """The text that the reference sees, and where each of its characters begins in the bytes."""
    text, starts, at = [], [], 0
    while at < len(raw):
        for n in (1, 2, 3, 4):
            try:
                c = raw[at:at + n].decode()
                break
            except UnicodeDecodeError as e:
                c = None
        if c is None:
            try:
                raw[at:at + 4].decode()
            except UnicodeDecodeError as e:
                n, c = max(1, e.end - e.start if e.start == 0 else 1), "\ufffd"
        text.append(c)
        starts.append(at)
        at += n
    starts.append(len(raw))
    return "".join(text), starts


def reference(path, texts):
    if path.endswith(".model"):
        import sentencepiece
        model = sentencepiece.SentencePieceProcessor(model_file=path)
        first = [model.bos_id()] if model.bos_id() >= 0 else []
        return [[(i, None, None) for i in first + model.encode(t)] for t in texts]
    import tokenizers
    model = tokenizers.Tokenizer.from_file(path)
    model.no_truncation()
    model.no_padding()
    out = []
    for begin in range(0, len(texts), 5000):
        for e in model.encode_batch(texts[begin:begin + 5000]):
            out.append([(i, *o) for i, o in zip(e.ids, e.offsets)])
    return out


def check(pith, path, lines):
    decoded = [byte_offsets(line) for line in lines]
    for line, (text, _) in zip(lines, decoded):
        assert text == line.decode("utf-8", "replace"), line
    with tempfile.NamedTemporaryFile(suffix=".txt") as f:
        f.write(b"\n".join(lines) + b"\n")
        f.flush()
        out = subprocess.run([pith, "tokenize", path, f.name, "--json"], capture_output=True, check=True).stdout
    mine = json.loads(out)
    wrong, tokens = [], 0
    for line, (text, starts), got, want in zip(lines, decoded, mine["lines"], reference(path, [d[0] for d in decoded])):
        tokens += len(want)
        if path.endswith(".model"):
            same = [g[0] for g in got] == [w[0] for w in want]
        else:
            same = [tuple(g) for g in got] == [(i, starts[a], starts[b]) for i, a, b in want]
        if not same:
            wrong.append((line, got, [(i, a if a is None else starts[a], b if b is None else starts[b]) for i, a, b in want]))
    return mine, tokens, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pith")
    parser.add_argument("folder")
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--lines", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--csv")
    args = parser.parse_args()
    lines = make_lines(args.folder, args.lines, args.seed)
    rows, failed = [], False
    for path in args.tokenizers:
        mine, tokens, wrong = check(args.pith, path, lines)
        failed = failed or bool(wrong)
        rows.append([pathlib.Path(path).name, mine["vocabulary"], mine["memory_bytes"], len(lines), tokens, len(wrong)])
        print(f"{path}: {len(lines)} lines, {tokens} tokens, {len(wrong)} lines differ", flush=True)
        for line, got, want in wrong[:args.show]:
            print("  ", line, "\n   got ", got, "\n   want", want)
    if args.csv:
        with open(args.csv, "w", newline="") as f:
            writer = csv.writer(f, lineterminator="\n")
            writer.writerow(["vocabulary", "tokens_known", "memory_bytes", "lines", "tokens", "lines_that_differ"])
            writer.writerows(rows)
    return failed


if __name__ == "__main__":
    sys.exit(main())
