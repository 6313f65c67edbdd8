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
MASKED_LM = ROOT / "zoo/masked_lm/masked_lm.pith"
SENTENCES = ["he opened the [MASK] and looked out .", "she had never [MASK] so happy in her life .", "the king of [MASK] was dead ."]
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
    say("1. compress the float network to 8 bits, calibrating on 256 unlabelled lines")
    compressed = pith("compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--preprocess", PREPROCESS, "--labels", ZOO / "labels.txt", "--head", "ctc", "-o", small)
    say("2. what it will need, before anything runs")
    subprocess.run([pith.program, "info", str(small), "--svg", str(out / "memory.svg")], check=True, stdout=subprocess.DEVNULL)
    say("3. the same network in float, compiled by the same compiler")
    big = out / "line_reader_float.pith"
    pith("compile", ZOO / "line_reader.onnx", "--preprocess", PREPROCESS, "--labels", ZOO / "labels.txt", "--head", "ctc", "-o", big)
    say("4. read the held-out lines with both and with the retrained file of zoo/line_reader, and measure the time")
    files = [big, small, ZOO / "line_reader.pith"]
    return {
        "compressed": compressed, "files": files, "info": [pith("info", f) for f in files], "quality": [quality(pith, f) for f in files],
        "ms": [pith("bench", f, "-r", 20)["metrics"]["median_ms"] for f in files],
    }


def rows(m):
    def sizes(name, values):
        return name, *map(kilobytes, values), values[0] / values[2]

    def ram(mode):
        return [info[mode]["model_bytes"] + info[mode]["instance_bytes"] for info in m["info"]]

    return [
        sizes("file", [os.path.getsize(f) for f in m["files"]]),
        sizes("arena (activations, buffers)", [info["arena_bytes"] for info in m["info"]]),
        sizes("RAM, weights coded in the file", ram("smallest")),
        sizes("RAM, weights decoded at load", ram("fastest")),
        ("time per line", *(f"{t:.2f} ms" for t in m["ms"]), m["ms"][0] / m["ms"][2]),
        ("characters read right", *(f"{q[0]:.2f} %" for q in m["quality"]), None),
        ("lines read right", *(f"{q[1]:.1f} %" for q in m["quality"]), None),
    ]


def completions(pith):
    """(sentence, [(word, probability), ...]) of the masked language model of zoo/masked_lm, which is shipped compressed only."""
    flags = [f for sentence in SENTENCES for f in ("--text", sentence)]
    return [(r["text"], [(c["text"].strip(), c["probability"]) for c in r["completions"][:4]]) for r in pith("run", MASKED_LM, *flags)["results"]]


def completed(pith):
    size, parameters = os.path.getsize(MASKED_LM), pith("info", MASKED_LM)["parameters"]
    body = "".join(f"<tr><td>{html.escape(text)}<td>{html.escape(', '.join(f'{word} {100 * p:.0f} %' for word, p in words))}" for text, words in completions(pith))
    return f"""<h2>And a language model, in {kilobytes(size)}</h2><p>{parameters:,} parameters, vocabulary included, {4 * parameters / size:.0f} times smaller than the float weights alone. It completes a sentence:</p>
<table class="lines">{body}</table>"""


def page(table, readings, memory_svg, compressed, retrained, language):
    def picture(path):
        return "data:image/png;base64," + base64.b64encode(pathlib.Path(path).read_bytes()).decode()

    body = "".join(f"<tr><td>{html.escape(a)}<td>{b}<td>{c}<td>{d}<td>{'' if e is None else f'{e:.1f}x'}" for a, b, c, d, e in table)
    lines = "".join(
        f'<tr><td><img src="{picture(p)}" alt="{html.escape(truth)}"><td><code>{html.escape(f)}</code>' + "".join(f'<td class="{"same" if f == s else "other"}"><code>{html.escape(s)}</code>' for s in others)
        for p, truth, f, *others in readings)
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>pith: the line reader</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1c2430;background:#fff}}h1{{font-size:1.6em}}table{{border-collapse:collapse;margin:1em 0}}
td,th{{padding:.35em .9em;border-bottom:1px solid #d8dee6;text-align:right}}td:first-child,th:first-child{{text-align:left}}.lines td{{text-align:left}}
img{{height:30px;max-width:24em;object-fit:contain;border:1px solid #d8dee6}}.other{{background:#fff3d6}}svg{{max-width:100%;height:auto}}</style>
<h1>A network that reads printed text, in {table[0][3]}</h1>
<p>{compressed["parameters"]:,} parameters. At 8 bits, calibrated on {compressed["calibration_samples"]} unlabelled lines in seconds, the file that executes is {compressed["ratio"]:.1f} times smaller than the
float weights, everything included; retrained on unlabelled lines, {4 * compressed["parameters"] / retrained:.1f} times.</p>
<table><tr><th>{"</th><th>".join(["", "float32", "8 bits", "retrained", ""])}</th></tr>{body}</table>
<h2>What it reads</h2><table class="lines"><tr><th>picture<th>float32<th>8 bits<th>retrained</tr>{lines}</table>
<h2>Its memory, known before it runs</h2>{memory_svg}
{language}</html>
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
    readings = [(p, truth, *texts) for (p, truth), *texts in zip(pictures, *(read_lines(pith, f, paths) for f in m["files"]))]
    print()
    for p, truth, f, s, r in readings:
        print(f"  {p.name:<12} float:     {f!r}\n  {'':<12} 8 bits:    {s!r}{'' if f == s else '   (differs)'}\n  {'':<12} retrained: {r!r}{'' if f == r else '   (differs)'}")
    print(f"\n  {'':<34}{'float32':>14}{'8 bits':>14}{'retrained':>14}")
    table = rows(m)
    for name, *values, factor in table:
        print(f"  {name:<34}{''.join(f'{v:>14}' for v in values)}{'' if factor is None else f'{factor:9.1f}x'}")
    print(f"\n  a masked language model in {kilobytes(os.path.getsize(MASKED_LM))}:")
    for text, words in completions(pith):
        print(f"  {text}\n  {'':<12} {', '.join(f'{word} {100 * p:.0f} %' for word, p in words)}")
    target = arguments.out / "index.html"
    beside = target.with_suffix(".partial")
    beside.write_text(page(table, readings, (arguments.out / "memory.svg").read_text(), m["compressed"], os.path.getsize(m["files"][2]), completed(pith)))
    beside.replace(target)
    print(f"\n  the page: {target}\n  the models: {m['files'][1]} {m['files'][2]}    try: {arguments.pith} run {m['files'][2]} YOUR_LINE.png")


if __name__ == "__main__":
    main()
