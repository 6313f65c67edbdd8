#!/usr/bin/env python3
"""A TorchScript file from the command line: what it is, what is missing, and a compressed file that answers as PyTorch did.

small.pt is a traced convolution, batch norm, ReLU, mean and linear layer with random weights; what it gave for the picture
below stands here."""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
PROGRAM = sys.argv.pop(1)
ANSWER = [-0.33065560, 0.40260899, -0.01459773, -0.39462209]


def picture(path, values, shape):
    """A float32 .npy file (version 1)."""
    header = str({"descr": "<f4", "fortran_order": False, "shape": shape}).encode()
    header += b" " * (63 - (10 + len(header)) % 64) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + struct.pack(f"<{len(values)}f", *values))


class TorchScript(unittest.TestCase):
    def pith(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def test_import(self):
        found = json.loads(self.pith("import", HERE / "small.pt", "--input-shape", "picture:1x3x8x8", "--json").stdout)
        self.assertEqual(found["inputs"], [{"name": "picture", "shape": [1, 3, 8, 8], "type": "f32"}])
        self.assertEqual(found["operators"]["Conv"], 1)
        self.assertNotIn("BatchNormalization", found["operators"])

    def test_its_size_must_be_given(self):
        self.assertIn("--input-shape picture:", self.pith("import", HERE / "small.pt", code=2).stderr)

    def test_compressed_it_answers_as_before(self):
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            one = [i / 96 - 1 for i in range(192)]
            picture(folder / "samples.npy", one + [x * 0.9 for x in one] + [-x for x in one] + [x * 0.5 for x in one], (4, 3, 8, 8))
            picture(folder / "one.npy", one, (1, 3, 8, 8))
            self.pith("compress", HERE / "small.pt", "--input-shape", "picture:1x3x8x8", "--samples", folder / "samples.npy", "--held-back", 1, "-o", folder / "small.pith")
            answer = json.loads(self.pith("run", folder / "small.pith", folder / "one.npy", "--json").stdout)["results"][0]["outputs"][0]["values"]
            for got, wanted in zip(answer, ANSWER):
                self.assertAlmostEqual(got, wanted, delta=0.03)


if __name__ == "__main__":
    unittest.main()
