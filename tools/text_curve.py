#!/usr/bin/env python3
"""Draws docs/text_curve.svg from tests/quality/text.csv: how all-MiniLM-L6-v2's similarities keep their order as it gets smaller.

    tools/text_curve.py

A point is a row without retraining: across, how many times smaller than float32, up, the rank correlation of the similarities of all
pairs of held-back sentences; the line joins those that no other point beats in both. Colours tell what was left out before rounding.
"""
import csv
import math
import pathlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
KINDS = [("--share-layers", "shared layers", "#8a3ffc"), ("--heads", "fewer heads", "#d12771"), ("--blocks", "fewer blocks", "#b28600"), ("--embedding-rank", "a thinner table", "#00757f"),
         ("--keep-tokens", "fewer tokens", "#0f62fe"), ("", "all parts", "#525252")]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 56, 20, 20, 48
RATIOS = (8, 10, 15, 20, 30, 40, 50, 60)


def main():
    with (ROOT / "tests/quality/text.csv").open() as f:
        rows = [r for r in csv.DictReader(f) if r["model"] == "all-MiniLM-L6-v2" and not r["retrained"]]
    points = sorted((float(r["ratio"]), float(r["rank_correlation"]), r["flags"]) for r in rows)
    best = [p for p in points if not any(q[0] >= p[0] and q[1] > p[1] for q in points)]

    def x(ratio):
        return LEFT + (WIDTH - LEFT - RIGHT) * math.log(ratio / RATIOS[0]) / math.log(RATIOS[-1] / RATIOS[0])

    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(0.0, value)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">', f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>']
    for ratio in RATIOS:
        out.append(f'<path d="M{x(ratio):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#e0e0e0"/><text x="{x(ratio):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{ratio}x</text>')
    for value in (0, 0.2, 0.4, 0.6, 0.8, 1):
        out.append(f'<path d="M{LEFT} {y(value):.1f}H{WIDTH - RIGHT}" stroke="#e0e0e0"/><text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">times smaller than float32, the whole file</text>')
    out.append(f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">rank correlation of similarities</text>')
    out.append('<polyline fill="none" stroke="#a8a8a8" points="' + " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b, _ in best) + '"/>')
    used = set()
    for ratio, value, flags in points:
        kind = next(k for k in KINDS if k[0] in flags)
        used.add(kind)
        out.append(f'<circle cx="{x(ratio):.1f}" cy="{y(value):.1f}" r="4" fill="{kind[2]}"><title>{ratio:.1f}x, {value:.3f}: {flags or "nothing left out"}</title></circle>')
    for i, (_, name, colour) in enumerate(k for k in KINDS if k in used):
        out.append(f'<circle cx="{LEFT + 14}" cy="{HEIGHT - BOTTOM - 14 - 16 * i}" r="4" fill="{colour}"/><text x="{LEFT + 24}" y="{HEIGHT - BOTTOM - 10 - 16 * i}">{name}</text>')
    (ROOT / "docs/text_curve.svg").write_text("\n".join(out) + "\n</svg>\n")


if __name__ == "__main__":
    main()
