#!/usr/bin/env python3
"""Retraining from the command line: the size asked for is reached, a seed repeats the file, and beginning with what the
allocator ends with keeps its size. A few steps on the embedded default, so quality isn't looked at."""
import json
import os
import pathlib
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
        for flag in (["--low-rank", "0.9"], ["--macs", "0.5"], ["--no-retrain", "--ratio", "8"]):
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
        self.assertGreaterEqual({"channels", "low rank", "channels and low rank"} & {w["moves"] for w in ways}, {"channels", "low rank"})
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


if __name__ == "__main__":
    unittest.main()
