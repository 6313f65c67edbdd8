#!/usr/bin/env python3
"""Limits of memory from end to end on the committed keyword spotter: what is met, what is refused, and what a refusal says.

    tests/e2e/memory_test.py build/default/cli/pith
"""
import json
import pathlib
import random
import re
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "zoo/kws/kws0.pith"
PITH = sys.argv.pop(1)


def pith(*arguments, code=0):
    done = subprocess.run([PITH, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != code:
        raise AssertionError(f"pith {' '.join(map(str, arguments))}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done


class Limits(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.out = pathlib.Path(self.folder.name) / "placed.pith"

    def tearDown(self):
        self.folder.cleanup()

    def place(self, ram, *flags):
        return json.loads(pith("compile", MODEL, "--ram", ram, *flags, "-o", self.out, "--json").stdout)["arena_bytes"]

    def test_a_refusal_names_what_least_reaches_and_that_is_accepted(self):
        for flags in ((), ("--rows",), ("--rows", "--max-macs-overhead", 20), ("--activation-bits", 4)):
            least = self.place("least", *flags)
            self.out.unlink()
            for ram in (1000, least // 2, least - 1):
                said = pith("compile", MODEL, "--ram", ram, *flags, "-o", self.out, code=4).stderr
                needs, more, limit, layer, name, used, advice, flag_advice = re.search(r"needs (\d+) bytes, (\d+) more than --ram (\d+): layer (\d+ )?'([^']+)' can't do with less \(in use there: (.+)\); give --ram (\d+)(.*), or a smaller input", said).groups()
                self.assertEqual((int(needs), int(more), int(limit), int(advice)), (least, least - ram, ram, least))
                self.assertLessEqual(max(int(b) for b in re.findall(r" (\d+)(?:,|$)", used)), least)
                for flag in ("--rows", "--max-macs-overhead"):
                    self.assertEqual(flag in flag_advice, flag not in flags)  # what was given isn't advised
                self.assertEqual(said.count("\n"), 1)
                self.assertFalse(self.out.exists())
            self.assertLessEqual(self.place(least, *flags), least)
            self.assertEqual(json.loads(pith("info", self.out, "--json").stdout)["arena_bytes"], least)

    def test_a_refusal_advises_what_can_help(self):
        dense = pith("compile", ROOT / "zoo/lenet/lenet300.pith", "--ram", 100, "-o", self.out, code=4).stderr  # no pictures inside
        self.assertNotIn("--activation-bits", dense)
        self.assertIn("--activation-bits", pith("compile", MODEL, "--ram", 100, "-o", self.out, code=4).stderr)

    def test_multiplications_beyond_the_network_s_are_bounded_and_bought_with_memory(self):
        place = lambda *flags: json.loads(pith("compile", MODEL, "--ram", "least", "--rows", *flags, "-o", self.out, "--json").stdout)["memory"]
        least, same, more = place(), place("--max-macs-overhead", 0), place("--max-macs-overhead", 20)
        self.assertEqual(least, same)
        self.assertEqual(least["more_macs"], 0)
        self.assertLessEqual(more["arena_bytes"], least["arena_bytes"])
        self.assertEqual(more["macs"] - more["more_macs"], least["macs"])
        self.assertLessEqual(more["more_macs"], least["macs"] // 5)
        coded = ["--activation-bits", 4]
        self.assertLessEqual(place(*coded, "--max-macs-overhead", 20)["arena_bytes"], place(*coded)["arena_bytes"])
        said = pith("compile", MODEL, "--ram", "least", "--max-macs-overhead", "-1", "-o", self.out, code=2).stderr
        self.assertIn("--max-macs-overhead", said)

    def noise(self, name, seed, size):
        """A sample of the spotter's shape, uniform within +-size."""
        draw, path = random.Random(seed), pathlib.Path(self.folder.name) / name
        path.parent.mkdir(exist_ok=True)
        header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 49, 10, 1), }"
        header += " " * (63 - (10 + len(header)) % 64) + "\n"
        path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack("<490f", *(draw.uniform(-size, size) for _ in range(490))))
        return path

    def run_on(self, model, sample, *flags):
        saved = pathlib.Path(self.folder.name) / "saved.npy"
        done = pith("run", model, sample, "--preprocess", "tensor", "--save", saved.with_suffix(""), *flags, "--json")
        return saved.read_bytes(), json.loads(done.stdout)["stored_rows"], done.stderr

    def test_lossless_activations_are_exact_on_what_they_were_made_for_and_say_where_not(self):
        samples = [self.noise(f"quiet/{i}.npy", i, 0.01 * i) for i in range(4)]
        flags = ["--activation-bits", "lossless", "--activation-samples", samples[0].parent]
        self.assertIn("--activation-samples", pith("compile", MODEL, "--activation-bits", "lossless", "--code-all", "-o", self.out, code=2).stderr)
        self.assertIn("--activation-bits", pith("compile", MODEL, "--activation-bits", "loss", "--code-all", "-o", self.out, code=2).stderr)
        made = json.loads(pith("compile", MODEL, *flags, "--code-all", "-o", self.out, "--json").stdout)["coded_activations"]
        self.assertLess(made["bytes"], made["values"])
        for sample in samples:
            expected, none, _ = self.run_on(MODEL, sample)
            got, rows, said = self.run_on(self.out, sample)
            self.assertEqual(got, expected)
            self.assertEqual(none["all"], 0)
            self.assertGreater(rows["all"], 100)
            self.assertEqual(rows["coarse"], 0)
            self.assertNotIn("coarser", said)
        _, rows, said = self.run_on(self.out, self.noise("loud.npy", 9, 50))
        self.assertGreater(rows["coarse"], 0)
        self.assertIn(f"{rows['coarse']} of {rows['all']} rows of activations that wait had more in them", said)
        # lossy files are meant to be coarse, and say nothing
        pith("compile", MODEL, "--activation-bits", 3, "--code-all", "-o", self.out.with_name("lossy.pith"))
        _, rows, said = self.run_on(self.out.with_name("lossy.pith"), samples[0])
        self.assertGreater(rows["coarse"], 0)
        self.assertNotIn("coarser", said)

    def test_a_lifting_makes_lossless_rows_smaller_and_changes_no_answer(self):
        samples = [self.noise(f"quiet/{i}.npy", i, 0.01 * i) for i in range(4)]
        flags = ["--activation-bits", "lossless", "--activation-samples", samples[0].parent, "--code-all"]
        made = {}
        for lifting in ((), ("--activation-lifting", samples[0].parent)):
            made[lifting] = json.loads(pith("compile", MODEL, *flags, *lifting, "-o", self.out, "--json").stdout)["coded_activations"]
            for sample in samples:
                self.assertEqual(self.run_on(self.out, sample, "--isa", "reference")[0], self.run_on(MODEL, sample, "--isa", "reference")[0])
                got, rows, _ = self.run_on(self.out, sample)
                self.assertEqual(got, self.run_on(MODEL, sample)[0])
                self.assertEqual(rows["coarse"], 0)
        plain, lifted = made.values()
        self.assertFalse(any(t["lifted"] for t in plain["tensors"]))
        self.assertTrue(any(t["lifted"] for t in lifted["tensors"]))
        without = {t["name"]: t["bytes"] for t in plain["tensors"]}
        for t in lifted["tensors"]:
            self.assertLessEqual(t["bytes"], without.get(t["name"], t["values"]))
            self.assertEqual(t["lifted"], t["bytes"] != without.get(t["name"], t["values"]))
        self.assertIn("--activation-bits", pith("compile", MODEL, "--activation-lifting", samples[0].parent, "--code-all", "-o", self.out, code=2).stderr)

    def test_products_that_take_coded_rows_are_the_same_by_changes_and_by_whole_pixels(self):
        report, sample = self.out.with_name("report.json"), self.noise("loud.npy", 3, 40)
        self.place("least", "--rows", "--activation-bits", 4, "--report-json", report)
        made = json.loads(report.read_text())
        self.assertIn("CodedConv2d", [o["op"] for o in made["operators"]])
        self.assertIn("coded", {b["kind"] for b in made["buffers"]})
        values = lambda *flags: struct.unpack("<12f", self.run_on(self.out, sample, *flags)[0][-48:])  # a layer in floats comes last
        first = values()
        for flags in (("--isa", "reference"), ("--isa", "reference", "--memory", "smallest"), ("--memory", "smallest"), ("--threads", 2)):
            for a, b in zip(values(*flags), first):
                self.assertAlmostEqual(a, b, delta=1e-5, msg=flags)


if __name__ == "__main__":
    unittest.main()
