#!/usr/bin/env python3
"""Which code for weights would make files smaller than the one there is? Measured on real weights at equal squared error.

    tools/code_vocabulary.py [--weights 40000] [--tensors 3] NAME=MODEL.onnx [NAME=model.safetensors:TENSOR] ...    needs numpy, and onnx or nothing

Each of the largest tensors of products is divided by its deviation, so that one step (in deviations) serves all and errors add up, and some of its middle rows (at most --weights numbers)
stand for all of it: tables are paid once for all of it, frequencies are learned on the sample (which is hard on codes of many symbols), and codebooks are made from as many other rows where not all are taken. Each code is run at several prices of a bit (Lagrangian assignment: squared error + price x bits, bits by the code's own frequencies, in turns), and its bits at the error of
the grid are read off between neighbouring points. Bits are empirical: the entropy of a symbol given the sum of the magnitudes left of it and above it (five classes) and both signs,
plus half a logarithm of a class's count for each frequency learned (what an adaptive coder pays to learn them); and every table: 16 bits for a step, 8 for each
number of a codebook. That stands in for pith's adaptive binary coder, which mixes more contexts; what matters is that all codes are given the same.

  grid       integers times one step: what files hold today, rounded at a price of a bit
  codebook   the same number of levels, each where its weights' mean is (entropy-constrained Lloyd and Max; Chou, Lookabaugh and Gray 1989)
  pairs      a codebook of two neighbours at once (entropy-constrained vector quantisation), 256 entries; contexts without signs
  shared     the pairs' codebook made once for all layers
  outliers   levels -1, 0, 1 (or -3..3) of the grid; what lies beyond is kept apart, by place and in 8 bits
  trellis    two grids, even and odd multiples of half a step; an automaton of 8 states, driven by the parities of what came before, says which holds (dependent
             quantisation; Fischer, Marcellin and Wang 1991; Schwarz et al. 2021); Viterbi's path through it

Writes tests/quality/code_vocabulary.csv: bits a weight of the grid, and what each code takes beside it in percent at the same error.
"""
import argparse
import json
import pathlib
import struct

import numpy as np

from quality import write_table

TABLE = pathlib.Path(__file__).resolve().parent.parent / "tests" / "quality" / "code_vocabulary.csv"
CODES = ["codebook", "pairs", "shared", "outliers", "trellis"]
PATH = 64             # weights of a row that Viterbi goes through at once
STEPS = [2.4, 1.7, 1.2, 0.85, 0.6, 0.42]  # of the grid, in deviations
PRICE = 0.11          # of a bit, in squared steps: near the best for a Laplacian
BITS = [0.8, 1.2, 2]  # of the grid, at which codes are compared
NEXT = np.array([[0, 2], [5, 7], [1, 3], [6, 4], [2, 0], [4, 6], [3, 1], [7, 5]])  # state by state and parity; which of the two grids: state & 1


def matrices(source, most, count):
    """The products' tensors as rows x width, standardised: what is coded, what codebooks are made from, the share of the tensor that the first is."""
    if ":" in source:
        path, name = source.rsplit(":", 1)
        data = pathlib.Path(path).read_bytes()
        size = struct.unpack("<Q", data[:8])[0]
        entry = json.loads(data[8:8 + size])[name]
        begin, end = entry["data_offsets"]
        found = [np.frombuffer(data[8 + size + begin:8 + size + end], "<f4").reshape(entry["shape"])]
    else:
        import onnx
        graph = onnx.load(source).graph
        constants = {t.name: t for t in graph.initializer}
        found = []
        for node in graph.node:
            if node.op_type in ("Conv", "Gemm", "MatMul") and len(node.input) > 1 and node.input[1] in constants:
                w = onnx.numpy_helper.to_array(constants[node.input[1]])
                if w.dtype == np.float32 and w.ndim > 1:
                    transposed = node.op_type == "MatMul" or (node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute))
                    found.append(w.T if transposed else w)
    for w in sorted(found, key=lambda w: -w.size)[:count]:
        size, w = w.size, w.reshape(len(w), -1).astype(np.float64)
        if size < 64 or w.std() == 0:
            continue
        w, rows = w / w.std(), max(1, most // w.shape[1])
        first = (len(w) - 2 * rows) // 2
        coded, other = (w, w) if len(w) < 2 * rows else (w[first:first + 2 * rows:2], w[first + 1:first + 2 * rows:2])
        yield coded, other, coded.size / size


def around(values, unit=1):
    """Classes: by the sum of the magnitudes left and above (five), and by both signs."""
    left, above = np.zeros_like(values), np.zeros_like(values)
    left[:, 1:], above[1:] = values[:, :-1], values[:-1]
    magnitude = np.minimum(np.rint((np.abs(left) + np.abs(above)) / unit), 4)
    return ((magnitude * 3 + np.sign(left) + 1) * 3 + np.sign(above) + 1).astype(np.int64)


def coded_bits(symbols, classes):
    """As every code gives: bits paid once for a tensor, bits of these weights (conditional entropy and the price of learning it), squared error."""
    _, symbols = np.unique(symbols, return_inverse=True)
    width = symbols.max() + 1
    counts = np.bincount(classes.ravel() * width + symbols.ravel()).astype(np.float64)
    counts = np.pad(counts, (0, -len(counts) % width)).reshape(-1, width)
    total = counts.sum(1, keepdims=True)
    p = counts / np.maximum(total, 1)
    learned = (0.5 * np.log2(total + 1)[:, 0] * np.maximum((counts > 0).sum(1) - 1, 0)).sum()
    return np.array([0, learned - (counts * np.log2(np.where(p > 0, p, 1))).sum(), 0])


def lengths(symbols, size):
    counts = np.bincount(symbols.ravel(), minlength=size) + 0.1
    return -np.log2(counts / counts.sum())


def grid_rounded(x, step, limit=127):
    """Integers at the price of a bit."""
    q = np.clip(np.rint(x / step), -limit, limit).astype(np.int64)
    for _ in range(3):
        bits = lengths(q + limit, 2 * limit + 1)
        nearest = np.clip(np.rint(x / step), -limit, limit).astype(np.int64)
        options = np.stack([nearest, nearest - np.sign(nearest), np.zeros_like(nearest)])
        q = np.take_along_axis(options, ((x / step - options) ** 2 + PRICE * bits[options + limit]).argmin(0)[None], 0)[0]
    return q


def grid(x, step, _=None):
    q = grid_rounded(x, step)
    return coded_bits(q, around(q)) + [16, 0, ((x - q * step) ** 2).sum()]


def vectors_of(x, n):
    return x[:, :x.shape[1] // n * n].reshape(-1, n)


def lloyd(v, step, size, rounds=4):
    """Codewords and assignment of entropy-constrained quantisation; begun with the most frequent points of the grid."""
    points, counts = np.unique(np.rint(v / step), axis=0, return_counts=True)
    words = points[np.argsort(-counts)[:size]] * step
    price, bits = PRICE * step * step, np.zeros(len(words))
    for _ in range(rounds):
        at = nearest(v, words, price * bits)
        counts = np.bincount(at, minlength=len(words))
        used = counts > 0
        words = np.stack([np.bincount(at, v[:, k], len(words)) for k in range(v.shape[1])], 1)[used] / counts[used, None]
        bits = -np.log2(counts[used] / counts.sum())
    return words, bits


def nearest(v, words, cost):
    at = np.empty(len(v), np.int64)
    for i in range(0, len(v), 8192):
        part = v[i:i + 8192]
        at[i:i + 8192] = ((words ** 2).sum(1) + cost - 2 * part @ words.T).argmin(1)
    return at


def vector_coded(x, n, step, words, bits, table):
    rest = x[:, x.shape[1] // n * n:]
    v = vectors_of(x, n)
    at = nearest(v, words, PRICE * step * step * bits)
    size = np.abs(words[at]).mean(1).reshape(len(x), -1)  # contexts without signs: they are many symbols already
    total = coded_bits(at.reshape(len(x), -1), around(size, step)) + [table, 0, ((v - words[at]) ** 2).sum()]
    return total + grid(rest, step) if rest.size else total


def codebook(n, size):
    def code(x, step, other):
        if x.shape[1] < n:
            return grid(x, step)
        words, bits = lloyd(vectors_of(other, n), step, size)
        return vector_coded(x, n, step, words, bits, 8 * words.size)
    return code


def outliers(x, step, limit):
    q = grid_rounded(x, step, limit)
    far = np.abs(x) > (limit + 0.7) * step
    count, n = int(far.sum()), x.size
    p = max(count, 1) / n
    places = n * -(p * np.log2(p) + (1 - p) * np.log2(1 - p)) if 0 < count < n else 0
    fine = step / 8
    kept = np.where(far, np.rint(x / fine) * fine, q * step)
    return coded_bits(np.where(far, 0, q), around(q)) + [16, places + 8 * count, ((x - kept) ** 2).sum()]


def trellis(x, step, _=None):
    """Every PATH weights begin in state 0. Numbers k of grid g stand for (2|k| - g) half steps with k's sign, so that both grids hold zero."""
    half, limit = step / 2 * 1.33, 127  # the union is finer than the grid of the same step
    price = PRICE * step * step * 0.8
    def value(k, g):
        return (2 * np.abs(k) - g * (k != 0)) * np.sign(k) * half
    tables = [lengths(grid_rounded(x, 2 * half) + limit, 2 * limit + 1)] * 2
    whole = x
    padded = np.pad(x.ravel(), (0, -x.size % PATH))
    x = padded.reshape(-1, PATH)
    rows, width = x.shape
    for _ in range(3):
        cost = np.full((rows, 8), np.inf)
        cost[:, 0] = 0
        came = np.zeros((width, rows, 8), np.int8)
        chosen = np.zeros((width, rows, 8), np.int16)
        for j in range(width):
            then = np.full((rows, 8), np.inf)
            for g in (0, 1):
                base = np.rint((np.abs(x[:, j]) / half + g) / 2)
                options = (np.stack([np.maximum(base - 1, 0), base, base + 1, np.zeros(rows)]) * np.sign(x[:, j])).clip(-limit, limit).astype(np.int64)
                price_of = (x[:, j] - value(options, g)) ** 2 + price * tables[g][options + limit]
                for parity in (0, 1):
                    local = np.where(options % 2 == parity, price_of, np.inf)
                    best = local.argmin(0)
                    best_cost, best_k = local[best, np.arange(rows)], options[best, np.arange(rows)]
                    for s in range(g, 8, 2):
                        t, c = NEXT[s, parity], cost[:, s] + best_cost
                        better = c < then[:, t]
                        then[better, t], came[j, better, t], chosen[j, better, t] = c[better], s, best_k[better]
            cost = then
        state, k, grids = cost.argmin(1), np.zeros((rows, width), np.int64), np.zeros((rows, width), np.int64)
        for j in reversed(range(width)):
            at = np.arange(rows), state
            k[:, j], state = chosen[j][at], came[j][at].astype(np.int64)
            grids[:, j] = state & 1
        tables = [lengths(k[grids == g] + limit, 2 * limit + 1) for g in (0, 1)]
    k, grids = (t.ravel()[:whole.size].reshape(whole.shape) for t in (k, grids))
    return coded_bits(k, around(k) * 2 + grids) + [16, 0, ((whole - value(k, grids)) ** 2).sum()]


def point(parts, tensors, more=0):
    """(bits a weight, relative error) of all tensors."""
    weights = sum(x.size / share for x, _, share in tensors)
    bits = sum(once + each / share for (once, each, _), (_, _, share) in zip(parts, tensors))
    return (bits + more) / weights, sum(p[2] / share for p, (_, _, share) in zip(parts, tensors)) / weights


def curve(code, tensors):
    return [point([code(x, s, other) for x, other, _ in tensors], tensors) for s in STEPS]


def shared(tensors, n=2, size=256):
    points = []
    for s in STEPS:
        words, bits = lloyd(np.concatenate([vectors_of(other, n) for x, other, _ in tensors if x.shape[1] >= n]), s, size)
        parts = [vector_coded(x, n, s, words, bits, 16) if x.shape[1] >= n else grid(x, s) for x, _, _ in tensors]
        points.append(point(parts, tensors, 8 * words.size))
    return points


def read_off(points, error):
    """Bits at an error: straight in its logarithm between neighbouring points; None beyond them."""
    bits, errors = np.array(sorted(points)).T
    if not errors.min() <= error <= errors.max():
        return None
    order = np.argsort(np.log(errors))
    return float(np.interp(np.log(error), np.log(errors)[order], bits[order]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=40000, help="of a tensor, at most")
    parser.add_argument("--tensors", type=int, default=3, help="the largest ones")
    parser.add_argument("models", nargs="+")
    a = parser.parse_args()
    rows = []
    for name, source in (m.split("=", 1) for m in a.models):
        tensors = list(matrices(source, a.weights, a.tensors))
        plain = curve(grid, tensors)
        curves = {"codebook": curve(codebook(1, 255), tensors), "pairs": curve(codebook(2, 256), tensors), "shared": shared(tensors),
                  "trellis": curve(trellis, tensors)}
        few = [curve(lambda x, s, _, m=m: outliers(x, s, m), tensors) for m in (1, 3)]
        by_bits = sorted(plain)
        for bits in BITS:
            error = float(np.exp(np.interp(bits, [b for b, _ in by_bits], [np.log(e) for _, e in by_bits])))
            if not by_bits[0][0] <= bits <= by_bits[-1][0]:
                continue
            row = {"network": name, "tensors": len(tensors), "weights": round(sum(x.size / share for x, _, share in tensors)), "grid_bits": f"{bits:.1f}", "relative_error": f"{error:.4f}"}
            for code in CODES:
                found = [f for c in (few if code == "outliers" else [curves[code]]) if (f := read_off(c, error)) is not None]
                row[code] = f"{100 * (min(found) / bits - 1):+.1f}" if found else ""
            rows.append(row)
            print(row, flush=True)
    write_table(TABLE, ["network", "tensors", "weights", "grid_bits", "relative_error", *CODES], rows)


if __name__ == "__main__":
    main()
