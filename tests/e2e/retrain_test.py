#!/usr/bin/env python3
"""Retraining from the command line: the size asked for is reached, a seed repeats the file, and beginning with what the
allocator ends with keeps its size: a few steps on the embedded default, so quality isn't looked at. Fewer operations and retraining
in one run, on a network of random weights that learns in seconds."""
import base64
import json
import math
import os
import pathlib
import random
import re
import signal
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZOO = ROOT / "zoo" / "line_reader"
PROGRAM = sys.argv.pop(1)
MODEL = ["compress", str(ZOO / "line_reader.onnx"), "--samples", str(ZOO / "samples.npz"), "--preprocess", "image:gray:512x32:line=255:pil_bilinear:mean=127.5:std=127.5", "--labels", str(ZOO / "labels.txt"),
         "--head", "ctc", "--data-count", "4", "--held-back", "4", "--batch", "2", "--variants", "1"]


class Retraining(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def pith(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *MODEL, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_a_seed_repeats_the_file(self):
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            self.pith("--lambda", "1e-7", "--steps", "3", "--seed", seed, "-o", self.out / f"{name}.pith")
        self.assertEqual((self.out / "a.pith").read_bytes(), (self.out / "b.pith").read_bytes())
        self.assertNotEqual((self.out / "a.pith").read_bytes(), (self.out / "c.pith").read_bytes())

    def test_what_is_not_for_text_is_refused_there(self):
        sizes = dim, hidden, layers, heads, kv_heads, vocabulary, length = 8, 16, 1, 2, 2, 260, 16  # a checkpoint of llama2.c
        count = vocabulary * dim + layers * (2 * dim + 4 * dim * dim + 3 * dim * hidden) + dim + length * (dim // heads)
        model, tokens, lines = (self.out / n for n in ("tiny.bin", "tokens.bin", "lines.txt"))
        model.write_bytes(struct.pack("<7i", *sizes) + struct.pack(f"<{count}f", *(0.01 * (i % 17 - 8) for i in range(count))))
        words = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{i:02X}>".encode() for i in range(256)] + [b"a"]
        tokens.write_bytes(struct.pack("<i", 8) + b"".join(struct.pack("<fi", 0, len(w)) + w for w in words))
        lines.write_text("a\n" * 80)
        for flag in (["--low-rank", "0.9"], ["--sparse", "0.9"], ["--macs", "0.5"], ["--no-retrain", "--ratio", "8"]):
            done = subprocess.run([PROGRAM, "compress", model, "--vocabulary", tokens, "--samples", lines, *flag, "-o", self.out / "tiny.pith"], stderr=subprocess.PIPE, text=True, timeout=300)
            self.assertEqual(done.returncode, 2, done.stderr)
            self.assertIn("models that don't read text", done.stderr)

    def test_from_the_allocation_at_its_size(self):
        made = json.loads(self.pith("--allocate", "--ratio", "12", "--rate", "0.005", "--steps", "4", "-o", self.out / "d.pith", "--json").stdout)
        self.assertEqual(made["bytes"], (self.out / "d.pith").stat().st_size)
        self.assertGreater(made["ratio"], 11)
        self.assertLess(made["ratio"], 14)

    def test_operations_are_saved_in_the_way_that_costs_least(self):
        whole = json.loads(subprocess.run([PROGRAM, "import", MODEL[1], "--json"], stdout=subprocess.PIPE, text=True, check=True, timeout=300).stdout)["macs"]
        done = self.pith("--macs", "0.8", "-o", self.out / "f.pith", "--json")
        ways = json.loads(done.stdout)["ways"]
        self.assertGreaterEqual({w["moves"] for w in ways}, {"channels", "low rank", "block sparsity"})
        self.assertEqual([w["loss"] for w in ways], sorted(w["loss"] for w in ways))
        for way in ways:
            self.assertLess(way["multiply_accumulates"], 0.85 * whole)
        self.assertIn(f"taken: {ways[0]['moves']}", done.stderr)
        self.assertIn("give it alone", self.pith("--macs", "0.8", "--channels", "0.9", "-o", self.out / "never.pith", code=2).stderr)

    def test_training_sees_the_codec_of_the_file(self):
        done = self.pith("--lambda", "1e-7", "--ramp", "0.1", "--steps", "4", "--activation-bits", "4", "--code-all", "-o", self.out / "e.pith", "--json")
        coded = json.loads(done.stdout)["coded_activations"]
        self.assertRegex(done.stderr, rf"[1-9][0-9]* of {len(coded['tensors'])} activations that wait in coded form go through the codec")
        self.assertLess(coded["bytes"], 0.51 * coded["values"])
        for refused, why in ((["--activation-bits", "4"], "--ram"), (["--activation-bits", "lossless", "--code-all"], "--activation-samples"), (["--code-all"], "--activation-bits")):
            self.assertIn(why, self.pith("--lambda", "1e-7", "--steps", "4", *refused, "-o", self.out / "never.pith", code=2).stderr)

    def test_refusals_come_before_the_work(self):
        for more in (["--allocate", "--steps", "4"], ["--allocate", "--ratio", "12", "--no-retrain"]):
            refused = self.pith(*more, "-o", self.out / "never.pith", code=2)
            self.assertIn("--allocate", refused.stderr)
            self.assertFalse((self.out / "never.pith").exists())


def floats(values):
    return struct.pack(f"<{len(values)}f", *values)


def residual_network(path, draw):
    """A picture of 3x8x8 to ten logits, by one convolution, a residual block of two, and a product; as text."""
    values, nodes = ['value %0 "x" f32 1x3x8x8'], []

    def node(op, shape, inputs, weights, attributes="", relu=True):
        names = list(inputs)
        for role, dims, deviation in weights:
            count = math.prod(dims)
            names.append(len(values))
            values.append(f'value %{len(values)} "{op}{len(nodes)}.{role}" f32 {"x".join(map(str, dims))} = f32 base64:' + base64.b64encode(floats([draw.gauss(0, deviation) for _ in range(count)])).decode())
        values.append(f'value %{len(values)} "y{len(nodes)}" f32 {shape}')
        nodes.append(f'node %{len(values) - 1} = {op} "{op}{len(nodes)}" ({", ".join(f"%{n}" for n in names)}){attributes}' + (" activation(Relu 0.0 0.0)" if relu else ""))
        return len(values) - 1

    pads = " pads=[1, 1, 1, 1]"
    first = node("Conv", "1x16x8x8", [0], [("w", (16, 3, 3, 3), 0.25), ("b", (16,), 0.2)], pads)
    inner = node("Conv", "1x16x8x8", [first], [("w", (16, 16, 3, 3), 0.12), ("b", (16,), 0.2)], pads)
    inner = node("Conv", "1x16x8x8", [inner], [("w", (16, 16, 3, 3), 0.08), ("b", (16,), 0.2)], pads, relu=False)
    joined = node("Add", "1x16x8x8", [first, inner], [])
    pooled = node("GlobalAveragePool", "1x16x1x1", [joined], [], relu=False)
    flat = node("Flatten", "1x16", [pooled], [], relu=False)
    last = node("Gemm", "1x10", [flat], [("w", (10, 16), 1.0), ("b", (10,), 0.1)], " transB=1", relu=False)
    path.write_text("\n".join(['graph "small"', *values, *nodes, "inputs %0", f"outputs %{last}"]) + "\n")


class FewerOperations(unittest.TestCase):
    """--macs and retraining in one run: the original teaches, and its bytes count."""
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        draw, count = random.Random(3), 160
        residual_network(cls.out / "small.txt", draw)
        header = str({"descr": "<f4", "fortran_order": False, "shape": (count, 3, 8, 8)}).encode()
        header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
        pictures = []
        for _ in range(count):  # each channel with a mean of its own, or all samples would have one answer
            for _ in range(3):
                mean = draw.gauss(0, 1)
                pictures += [draw.gauss(mean, 0.7) for _ in range(64)]
        (cls.out / "samples.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + floats(pictures))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def command(self, *arguments):
        return [PROGRAM, "compress", *map(str, (self.out / "small.txt", "--samples", self.out / "samples.npy", "--head", "classifier", "--data-count", 64, "--held-back", 32, "--batch", 32, "--json", *arguments))]

    def pith(self, *arguments, code=0):
        """What it prints as JSON, and what it says beside."""
        done = subprocess.run(self.command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return json.loads(done.stdout) if code == 0 else None, done.stderr

    def macs(self, file):
        return json.loads(subprocess.run([PROGRAM, "info", str(file), "--json"], stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout)["macs"]

    def test_they_are_retrained_towards_the_original(self):
        whole, learned, smaller = (self.out / f"{n}.pith" for n in ("whole", "learned", "smaller"))
        before, _ = self.pith("-o", whole)
        after, said = self.pith("--macs", "0.5", "--steps", "100", "-o", learned)  # in 8 bits
        first, apart = (float(re.search(p, said).group(1)) for p in (r"retraining .*?distortion ([0-9.]+)", r"on samples held apart: distortion ([0-9.]+)"))
        self.assertLess(apart, 0.95 * first)  # than before training, by answers alone
        self.assertGreater(after["held_back"]["cosine"], before["held_back"]["cosine"] - 0.005)
        self.assertLessEqual(self.macs(learned), 0.5 * self.macs(whole))
        self.assertLess(after["bytes"], before["bytes"])
        made, _ = self.pith("--macs", "0.5", "--ratio", "10", "--allocate", "--steps", "20", "--rate", "0.005", "--explain", "-o", smaller)
        self.assertEqual(made["ways"], after["ways"])
        self.assertLessEqual(self.macs(smaller), 0.5 * self.macs(whole))
        self.assertEqual(made["parameters"], before["parameters"])
        self.assertGreater(made["ratio"], 9)  # of the original's bytes
        self.assertGreater(len(made["layers"]), 0)

    def test_they_compete_with_coarser_weights(self):
        whole, taken = self.out / "all.pith", self.out / "taken.pith"
        self.pith("-o", whole)
        made, said = self.pith("--macro", "--macs", "0.9", "--ratio", "9", "--no-retrain", "--explain", "-o", taken)
        ways, target = made["ways"], 4 * made["parameters"] / 9
        self.assertEqual(len(ways), 3)
        self.assertEqual([w["loss"] for w in ways], sorted(w["loss"] for w in ways))
        self.assertIn(f"taken: {ways[0]['moves']}", said)
        for way, share in zip(sorted(ways, key=lambda w: -w["multiply_accumulates"]), (0.9, 0.765, 0.63)):
            self.assertLessEqual(way["multiply_accumulates"], share * self.macs(whole))
            self.assertLess(abs(way["bytes"] / target - 1), 0.05)  # all at one size
        self.assertEqual(self.macs(taken), ways[0]["multiply_accumulates"])
        made, _ = self.pith("--macro", "--max-drop", "20", "--no-retrain", "-o", taken)
        self.assertEqual([w["bytes"] for w in made["ways"]], sorted(w["bytes"] for w in made["ways"]))
        self.assertLessEqual(100 - made["held_back"]["same_answer"], 20)

    def test_an_interrupted_run_ends_the_same(self):
        flags = ("--channels", "0.6", "--ratio", "8", "--steps", "80", "--features", "0.2", "--shift", "1")
        self.pith(*flags, "-o", self.out / "once.pith")
        kept = ("--checkpoint", self.out / "run", "-o", self.out / "twice.pith")
        run = subprocess.Popen(self.command(*flags, *kept), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        measured = 0
        for line in run.stderr:
            measured += ": the file has" in line
            if measured == 7:  # once activations are rounded
                run.send_signal(signal.SIGINT)
                break
        said = run.stderr.read()
        run.stderr.close()
        self.assertEqual(run.wait(300), 0)
        self.assertIn("interrupted", said)
        self.assertNotEqual((self.out / "once.pith").read_bytes(), (self.out / "twice.pith").read_bytes())
        self.pith(*flags, *kept)
        self.assertEqual((self.out / "once.pith").read_bytes(), (self.out / "twice.pith").read_bytes())

    def test_refusals_come_before_the_work(self):
        for more, why in ((["--macs", "0.5", "--ratio", "8"], "--steps or --time"), (["--macs", "0.5", "--steps", "9", "--bits", "4"], "--bits"), (["--macs", "0.5", "--steps", "9", "--curve", "c.csv"], "--curve"),
                          (["--macro", "--ratio", "9", "--no-retrain", "--write-graph", "g.txt"], "--write-graph"), (["--macro", "--ratio", "9", "--no-retrain", "--curve", "c.csv"], "--curve"), (["--macro", "--macs", "0.5"], "--no-retrain or --allocate")):
            self.assertIn(why, self.pith(*more, "-o", self.out / "never.pith", code=2)[1])


if __name__ == "__main__":
    unittest.main()
