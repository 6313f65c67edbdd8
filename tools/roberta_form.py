#!/usr/bin/env python3
"""RoBERTa-base by structure in a few megabytes, all in: made, described, and run in a process that may take no more.

    tools/roberta_form.py build/default/cli/pith build/default/tests/fill_mask TEXTS [--density 0.065] [--memory 16] [--folder OUT]

TEXTS are plain text files to make a vocabulary of 50,265 byte-level pairs from. The weights (125 M: table of words, 12 layers,
head) are seeded random ternary codes, zero except with probability DENSITY: what such a network says means nothing, but its
bytes, memory and time are those of a network compressed so far. Checks that the limited process (weights coded, rows of the
table of words decoded when they are read) says what `pith run` says without limit and with decoded weights. Needs PyPI's
tokenizers; writes a JSON line of figures at the end.
"""
import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import time

TEXT = "The capital of France is <mask>, and the river that flows through it is the Seine."


def vocabulary(texts, folder):
    """A tokenizer.json of RoBERTa's kind."""
    from tokenizers import ByteLevelBPETokenizer, processors
    t = ByteLevelBPETokenizer()
    t.train([str(p) for p in texts], vocab_size=50265, min_frequency=1, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"], show_progress=False)
    t._tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    folder.mkdir(exist_ok=True)
    t.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "roberta"}))
    return t.get_vocab_size()


def run(*command, **options):
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"error: {' '.join(map(str, command[:3]))} ...: {done.stderr.strip() or done.returncode}")
    return done.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pith", type=pathlib.Path)
    parser.add_argument("fill_mask", type=pathlib.Path)
    parser.add_argument("texts", type=pathlib.Path, nargs="+")
    parser.add_argument("--density", type=float, default=0.065)
    parser.add_argument("--memory", type=float, default=16, help="MiB that the process may take beyond its code")
    parser.add_argument("--ram", default="least", help="of the arena, as pith compile takes it")
    parser.add_argument("--folder", type=pathlib.Path, help="keeps the model there")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = a.folder or pathlib.Path(temporary)
        folder.mkdir(exist_ok=True)
        words = vocabulary(a.texts, folder / "vocabulary")
        model = folder / "roberta.pith"
        started = time.time()
        run(a.pith, "compile", f"structure:roberta-mlm@{a.density}", "--vocabulary", folder / "vocabulary" / "tokenizer.json", "--ram", a.ram, "-o", model)
        made = time.time() - started
        print(run(a.pith, "info", model))
        started = time.time()
        small = run(a.fill_mask, model, TEXT, int(a.memory * 1048576))
        limited = time.time() - started
        print(small)
        started = time.time()
        wide = json.loads(run(a.pith, "run", model, "--text", TEXT, "--memory", "fastest", "--top", "5", "--json"))
        unlimited = time.time() - started
        expected = [c["token"] for c in wide["results"][0]["completions"]]
        said = [int(line.split()[2]) for line in small.splitlines()[:5]]
        if said != expected:
            sys.exit(f"error: the limited process says {said}, pith run {expected}")
        all_bytes = int(re.search(r"= (\d+) bytes", small).group(1))
        peak, resident = (int(x) for x in re.search(r"VmPeak (\d+) kB.*VmHWM (\d+) kB", small).groups())
        print(json.dumps({"words": words, "density": a.density, "file_bytes": model.stat().st_size, "all_bytes": all_bytes, "limit_mib": a.memory, "vm_peak_kb_above_start": peak,
                          "vm_hwm_kb_above_start": resident, "seconds_to_make": round(made, 1), "seconds_limited": round(limited, 2), "seconds_unlimited": round(unlimited, 2)}))


if __name__ == "__main__":
    main()
