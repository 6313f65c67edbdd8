#!/usr/bin/env python3
"""The demonstration behind `make demo`, through the command line alone: compress, info, run, eval and bench.

Shows input, output, float against compressed, and bytes, RAM and time before and after: a table in the terminal and one
self-contained HTML page.
"""
import argparse
import base64
import html
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
ZOO, EXAMPLES = ROOT / "zoo/line_reader", ROOT / "examples/line_reader"
PREPROCESS = "image:gray:512x32:line=255:pil_bilinear:mean=127.5:std=127.5"


def say(text):
    print(f"\033[1m{text}\033[0m" if sys.stdout.isatty() else text, flush=True)


class Pith:
    def __init__(self, program):
        self.program = str(program)

    def __call__(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode != 0:
            sys.exit(f"pith {' '.join(map(str, arguments))}\n{done.stderr}")
        return json.loads(done.stdout)


def kilobytes(count):
    return f"{count / 1000:,.1f} kB" if count < 1e6 else f"{count / 1e6:,.2f} MB"


def read_lines(pith, model, pictures):
    return [r["text"] for r in pith("run", model, *pictures, "--preprocess", PREPROCESS, "--head", "ctc", "--labels", ZOO / "labels.txt")["results"]]


def quality(pith, model):
    m = pith("eval", model, "--samples", EXAMPLES / "heldout_clean.npz", "--texts", EXAMPLES / "heldout_clean.txt", "--preprocess", PREPROCESS,
             "--head", "ctc", *([] if str(model).endswith(".pith") else ["--labels", ZOO / "labels.txt"]))["metrics"]
    return m["characters"], m["lines"]


def measure(pith, out):
    small = out / "line_reader.pith"
    say("1. compress the float network, calibrating on 256 unlabelled lines")
    compressed = pith("compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--preprocess", PREPROCESS, "--labels", ZOO / "labels.txt", "--head", "ctc", "-o", small)
    say("2. what it will need, before anything runs")
    info = pith("info", small)
    subprocess.run([pith.program, "info", str(small), "--svg", str(out / "memory.svg")], check=True, stdout=subprocess.DEVNULL)
    say("3. the same network in float, compiled by the same compiler")
    big = out / "line_reader_float.pith"
    pith("compile", ZOO / "line_reader.onnx", "--preprocess", PREPROCESS, "--labels", ZOO / "labels.txt", "--head", "ctc", "-o", big)
    big_info = pith("info", big)
    say("4. read the held-out lines with both, and measure the time")
    return {
        "compressed": compressed, "info": info, "big_info": big_info, "small": small, "big": big,
        "small_quality": quality(pith, small), "big_quality": quality(pith, big),
        "small_ms": pith("bench", small, "-r", 20)["metrics"]["median_ms"], "big_ms": pith("bench", big, "-r", 20)["metrics"]["median_ms"],
    }


def rows(m):
    big, small = m["big_info"], m["info"]

    def ram(info, mode):
        return info[mode]["model_bytes"] + info[mode]["instance_bytes"]

    return [
        ("file", kilobytes(os.path.getsize(m["big"])), kilobytes(os.path.getsize(m["small"])), os.path.getsize(m["big"]) / os.path.getsize(m["small"])),
        ("arena (activations, buffers)", kilobytes(big["arena_bytes"]), kilobytes(small["arena_bytes"]), big["arena_bytes"] / small["arena_bytes"]),
        ("RAM, weights coded in the file", kilobytes(ram(big, "smallest")), kilobytes(ram(small, "smallest")), ram(big, "smallest") / ram(small, "smallest")),
        ("RAM, weights decoded at load", kilobytes(ram(big, "fastest")), kilobytes(ram(small, "fastest")), ram(big, "fastest") / ram(small, "fastest")),
        ("time per line", f"{m['big_ms']:.2f} ms", f"{m['small_ms']:.2f} ms", m["big_ms"] / m["small_ms"]),
        ("characters read right", f"{m['big_quality'][0]:.2f} %", f"{m['small_quality'][0]:.2f} %", None),
        ("lines read right", f"{m['big_quality'][1]:.1f} %", f"{m['small_quality'][1]:.1f} %", None),
    ]


def page(table, readings, memory_svg, compressed):
    def picture(path):
        return "data:image/png;base64," + base64.b64encode(pathlib.Path(path).read_bytes()).decode()

    body = "".join(f"<tr><td>{html.escape(a)}<td>{b}<td>{c}<td>{'' if d is None else f'{d:.1f}x'}" for a, b, c, d in table)
    lines = "".join(
        f'<tr><td><img src="{picture(p)}" alt="{html.escape(truth)}"><td><code>{html.escape(f)}</code><td class="{"same" if f == s else "other"}"><code>{html.escape(s)}</code>'
        for p, truth, f, s in readings)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>pith: the line reader</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}}h1{{font-size:1.6em}}table{{border-collapse:collapse;margin:1em 0}}
td,th{{padding:.35em .9em;border-bottom:1px solid #d8dee6;text-align:right}}td:first-child,th:first-child{{text-align:left}}.lines td{{text-align:left}}
img{{height:30px;max-width:24em;object-fit:contain;border:1px solid #d8dee6}}.other{{background:#fff3d6}}svg{{max-width:100%;height:auto}}</style>
<h1>A network that reads printed text, in {kilobytes(compressed["bytes"])}</h1>
<p>{compressed["parameters"]:,} parameters; the file that executes is {compressed["ratio"]:.1f} times smaller than its float weights ({compressed["bits_per_parameter"]:.2f} bits per parameter), everything included.
Calibrated on {compressed["calibration_samples"]} unlabelled lines.</p>
<table><tr><th>{"</th><th>".join(["", "float32", "compressed", ""])}</th></tr>{body}</table>
<h2>What it reads</h2><table class="lines"><tr><th>picture<th>float32<th>compressed</tr>{lines}</table>
<h2>Its memory, known before it runs</h2>{memory_svg}</html>
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pith", default=ROOT / "build/default/cli/pith", type=pathlib.Path)
    parser.add_argument("--out", default=ROOT / "build/demo", type=pathlib.Path)
    parser.add_argument("--picture", action="append", default=[], help="a picture of one line of printed text, also read; may be repeated")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    pith = Pith(arguments.pith)
    m = measure(pith, arguments.out)
    truths = [line.split("\t", 1) for line in (EXAMPLES / "lines.txt").read_text().splitlines() if "\t" in line]
    pictures = [(EXAMPLES / name, text) for name, text in truths] + [(pathlib.Path(p), "") for p in arguments.picture]
    paths = [p for p, _ in pictures]
    readings = [(p, truth, f, s) for (p, truth), f, s in zip(pictures, read_lines(pith, m["big"], paths), read_lines(pith, m["small"], paths))]
    print()
    for p, truth, f, s in readings:
        print(f"  {p.name:<12} float: {f!r}\n  {'':<12} pith:  {s!r}{'' if f == s else '   (differs)'}")
    print(f"\n  {'':<34}{'float32':>14}{'compressed':>14}")
    table = rows(m)
    for name, before, after, factor in table:
        print(f"  {name:<34}{before:>14}{after:>14}{'' if factor is None else f'{factor:9.1f}x'}")
    target = arguments.out / "index.html"
    beside = target.with_suffix(".partial")
    beside.write_text(page(table, readings, (arguments.out / "memory.svg").read_text(), m["compressed"]))
    beside.replace(target)
    print(f"\n  the page: {target}\n  the model: {m['small']}    try: {arguments.pith} run {m['small']} YOUR_LINE.png")


if __name__ == "__main__":
    main()
