#!/usr/bin/env python3
"""A cascade: a detector, then a classifier on each box, both in one arena, give what each gives alone.

    tests/e2e/crops_test.py build/default/cli/pith

The detector is made here (ONNX, written by hand): a mean over the picture, a product that moves two boxes a little with it.
The classifier is the zoo's ResNet-20.
"""
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSIFIER = ROOT / "zoo/cifar/resnet20.pith"
PITH = sys.argv.pop(1)
SIDE = 64


def pith(*arguments, code=0):
    done = subprocess.run([PITH, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == code, f"{arguments}: exit {done.returncode}\n{done.stderr}"
    return done


def varint(n):
    return bytes([n & 127 | 128]) + varint(n >> 7) if n > 127 else bytes([n])


def field(number, value):
    """A field of a protocol buffer: an integer, or bytes or text with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def constant(name, kind, dims, raw):
    return b"".join(field(1, d) for d in dims) + field(2, kind) + field(8, name) + field(9, raw)


def port(name, dims):
    shape = b"".join(field(1, field(1, d)) for d in dims)
    return field(1, name) + field(2, field(1, field(1, 1) + field(2, shape)))


def node(op, inputs, output):
    return b"".join(field(1, i) for i in inputs) + field(2, output) + field(4, op)


def detector():
    """1 x 2 x 6: centre, width, height, objectness and one class of two boxes."""
    draw = random.Random(3)
    bias = [16, 20, 16, 12, 0.9, 0.95, 46, 36, 20, 24, 0.8, 0.9]
    weights = [draw.uniform(-1, 1) if k % 6 < 4 else 0 for k in range(12) for _ in range(3)]
    floats = lambda values: struct.pack(f"<{len(values)}f", *values)
    graph = [field(1, node("GlobalAveragePool", ["x"], "mean")), field(1, node("Conv", ["mean", "w", "b"], "flat")), field(1, node("Reshape", ["flat", "shape"], "boxes")), field(2, "detector")]
    graph += [field(5, constant("w", 1, (12, 3, 1, 1), floats(weights))), field(5, constant("b", 1, (12,), floats(bias))), field(5, constant("shape", 7, (3,), struct.pack("<3q", 1, 2, 6)))]
    graph += [field(11, port("x", (1, 3, SIDE, SIDE))), field(12, port("boxes", (1, 2, 6)))]
    return field(1, 8) + field(7, b"".join(graph)) + field(8, field(2, 13))


def ppm(rows):
    return f"P6 {len(rows[0]) // 3} {len(rows)} 255\n".encode() + b"".join(map(bytes, rows))


class Cascade(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        (cls.out / "detector.onnx").write_bytes(detector())
        cls.detector = cls.out / "detector.pith"
        pith("compile", cls.out / "detector.onnx", "--preprocess", f"image:rgb:{SIDE}x{SIDE}:letterbox=0:scale=1/255", "--head", "yolov5", "-o", cls.detector)
        draw = random.Random(4)
        cls.pictures, cls.rows = [], []
        for k in range(2):
            colours = [[draw.randrange(256) for _ in range(3)] for _ in range(12)]
            rows = [[c for x in range(96) for c in colours[x // 24 + y // 24 * 4]] for y in range(72)]
            cls.pictures.append(cls.out / f"{k}.ppm")
            cls.rows.append(rows)
            cls.pictures[k].write_bytes(ppm(rows))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_each_gives_what_it_gives_alone(self):
        for memory in ("smallest", "fastest"):
            told = json.loads(pith("run", self.detector, *self.pictures, "--crops", CLASSIFIER, "--memory", memory, "--json").stdout)
            alone = json.loads(pith("run", self.detector, *self.pictures, "--json").stdout)["results"]
            self.assertEqual([[dict(b, crop=None) for b in r["boxes"]] for r in told["results"]], [[dict(b, crop=None) for b in r["boxes"]] for r in alone])
            arenas = [json.loads(pith("info", model, "--json").stdout)["arena_bytes"] for model in (self.detector, CLASSIFIER)]
            self.assertEqual(told["arena_bytes"], max(arenas))
            answers = set()
            for rows, result in zip(self.rows, told["results"]):
                self.assertEqual(len(result["boxes"]), 2)
                for box in result["boxes"]:
                    left, top = (int(v) for v in box["box"][:2])
                    right, bottom = (-int(-v // 1) for v in box["box"][2:])
                    crop = self.out / "crop.ppm"
                    crop.write_bytes(ppm([row[3 * left:3 * right] for row in rows[top:bottom]]))
                    expected = json.loads(pith("run", CLASSIFIER, crop, "--json").stdout)["results"][0]
                    del expected["input"]
                    self.assertEqual(box["crop"], expected)
                    answers.add(json.dumps(expected))
            self.assertGreater(len(answers), 2, "answers depend on the crop")
        lines = pith("run", self.detector, self.pictures[0], "--crops", CLASSIFIER, "--top", 1).stdout.splitlines()
        self.assertEqual(len(lines), 2)

    def test_its_schedule(self):
        share = lambda *flags, code=0: pith("share", self.detector, CLASSIFIER, "--output-dir", self.out / "both", *flags, code=code)
        told = json.loads(share("--every", 60_000, "--crops", 5, "--json").stdout)["schedule"]
        self.assertEqual([s["network"] for s in told["slots"]], ["detector.pith"] + 5 * ["resnet20.pith"])
        self.assertEqual(told["slots"][-1]["end_us"], told["latency_us"][1])
        said = share("--every", 0.001, "--crops", 5, code=4).stderr
        for part in ("'resnet20.pith'", "5 crops", "there is time for 0"):
            self.assertIn(part, said)
        self.assertIn("--every", share("--crops", 5, code=2).stderr)

    def test_refusals(self):
        self.assertIn("a detector", pith("run", CLASSIFIER, self.pictures[0], "--crops", CLASSIFIER, code=2).stderr)
        self.assertIn(".pith", pith("run", self.detector, self.pictures[0], "--crops", self.out / "detector.onnx", code=2).stderr)
        self.assertIn("nowhere", pith("run", self.detector, self.pictures[0], "--crops", self.out / "nowhere.pith", code=2).stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
