#!/usr/bin/env python3
"""What a decoder loses and gains by attending to a window of the latest tokens and the first few; writes tests/quality/window.csv.

    tools/window_table.py build/default/cli/pith DATA [--patterns 512 64 64+4 32+4] [--cache 8] [--text-rows 40] [--turns 3] [--most 0.02]

stories260K, 8-bit weights (`pith compress --dimension context=68 --dimension sinks=4` is the pattern 64+4). Paragraphs of its text are joined by
sevens, about 470 tokens a row, so that windows roll. The pattern is chosen on rows of the first half of the text: the smallest state that
costs at most --most nats per token more than the widest; nats in the table are of the later half. Times: median step over positions
0 to 499, one thread, turn by turn, the least disturbed turn. Needs PyPI's numpy.
"""
import argparse
import pathlib
import tempfile

from quality import ROOT, Bench, write_table

TABLE = ROOT / "tests" / "quality" / "window.csv"
COLUMNS = ["pattern", "cache_bits", "state_bytes", "arena_bytes", "nats_per_token", "tokens_per_second", "chosen"]
PARAGRAPHS, POSITIONS = 7, 500


def rows_of(lines, count):
    return [" ".join(lines[i:i + PARAGRAPHS]) for i in range(0, len(lines) - PARAGRAPHS + 1, PARAGRAPHS)][:count]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pith", type=pathlib.Path)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--patterns", nargs="+", default=["512", "64", "64+4", "32+4", "16+4"], help="tokens of the window, + first tokens that stay")
    parser.add_argument("--cache", type=int, nargs="*", default=[8], help="also with keys and values in so many bits")
    parser.add_argument("--text-rows", type=int, default=40, help="of either half of the text")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--most", type=float, default=0.02, help="nats per token that the chosen pattern may cost")
    a = parser.parse_args()
    source = a.data / "stories260K"
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        pith = Bench(a.pith, a.data, folder).pith
        lines = [line for line in (source / "tinystories_niklas.txt").read_text().split("\n") if line.strip()]
        (folder / "few.txt").write_text("\n".join(line[:60] for line in lines[:8]) + "\n")
        for name, half in (("first", lines[:len(lines) // 2]), ("later", lines[len(lines) // 2:])):
            (folder / f"{name}.txt").write_text("\n".join(rows_of(half, a.text_rows)) + "\n")
        models, rows, losses = {}, [], {}
        for pattern in a.patterns:
            window, _, sinks = pattern.partition("+")
            for bits in [0, *a.cache]:
                file = folder / f"{pattern}_{bits}.pith"
                pith("compress", source / "stories260K.bin", "--vocabulary", source / "tok512.bin", "--dimension", f"context={int(window) + int(sinks or 0)}", *(["--dimension", f"sinks={sinks}"] if sinks else []),
                     *(["--cache-bits", bits] if bits else []), "--samples", folder / "few.txt", "--data-count", 2, "--held-back", 1, "--bits", 8, "--codec", "fastest", "-o", file)
                models[pattern, bits] = file
        nats = lambda file, half: pith("run", file, "--text-file", folder / f"{half}.txt", "--nats", "--tokens", POSITIONS)["results"][0]["nats_per_token"]
        bench = lambda file: pith("bench", file, "--threads", 1, "--memory", "fastest", "--counts", "position", "-r", POSITIONS)["metrics"]["median_ms"]
        turns = [{key: bench(file) for key, file in models.items()} for _ in range(a.turns)]
        for (pattern, bits), file in models.items():
            info = pith("info", file)
            losses[pattern, bits] = nats(file, "first")
            rows.append({"pattern": pattern, "cache_bits": bits or "float", "state_bytes": info["state_bytes"], "arena_bytes": info["arena_bytes"], "nats_per_token": f"{nats(file, 'later'):.4f}",
                         "tokens_per_second": f"{1000 / min(turn[pattern, bits] for turn in turns):.0f}", "chosen": ""})
            print(rows[-1], f"first half {losses[pattern, bits]:.4f}", flush=True)
        widest = losses[max(a.patterns, key=lambda p: int(p.partition("+")[0])), 0]
        allowed = [row for row, loss in zip(rows, losses.values()) if loss <= widest + a.most]
        min(allowed, key=lambda row: row["state_bytes"])["chosen"] = "yes"
    write_table(TABLE, COLUMNS, rows)


if __name__ == "__main__":
    main()
