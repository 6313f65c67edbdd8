#!/usr/bin/env python3
"""A frame of 16 million pixels through a network line by line: the same result as from the whole picture, in line buffers.

    tests/e2e/frame_test.py build/default/cli/pith build/default/tests/frame_rows
"""
import pathlib
import random
import re
import subprocess
import sys
import tempfile
import unittest

FRAME_ROWS = sys.argv.pop(2)
PITH = sys.argv.pop(1)
WIDTH, HEIGHT = 4672, 3506


class Frame(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        for name, flags in (("whole", []), ("rows", ["--ram", "400kB", "--rows"])):
            source = "structure:mobilenetv2" if name == "whole" else cls.out / "whole.pith"
            subprocess.run([PITH, "compile", source, *flags, "--codec", "fastest", "-o", cls.out / f"{name}.pith"], check=True, stdout=subprocess.DEVNULL)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_one(self, model, frame, kind):
        done = subprocess.run([FRAME_ROWS, self.out / f"{model}.pith", frame, kind, str(WIDTH), str(HEIGHT)], stdout=subprocess.PIPE, text=True, check=True)
        held, where, arena, result = re.search(r"of which (\d+) are held; the network's input, \d+ bytes, (.*); arena (\d+); result (\w+)", done.stdout).groups()
        return int(held), where, int(arena), result

    def test_raw_and_nv12(self):
        draw = random.Random(4)
        results = set()
        for kind, line, lines in (("raw10", WIDTH * 5 // 4, HEIGHT), ("nv12", WIDTH, HEIGHT * 3 // 2)):
            base = draw.randbytes(2 * line)
            frame = self.out / f"frame.{kind}"
            frame.write_bytes(b"".join(base[i * 37 % line:][:line] for i in range(lines)))
            whole, rows = self.run_one("whole", frame, kind), self.run_one("rows", frame, kind)
            self.assertEqual(whole[3], rows[3])
            self.assertEqual((whole[1], rows[1]), ("lies in the arena", "goes by rows"))
            self.assertLess(rows[0], 100_000)
            self.assertLessEqual(rows[2], 400_000)
            results.add(rows[3])
        self.assertEqual(len(results), 2, "results depend on the frame")

    def test_a_short_frame_is_noticed(self):
        short = self.out / "short.raw10"
        short.write_bytes(bytes(WIDTH * 5 // 4 * 100))
        done = subprocess.run([FRAME_ROWS, self.out / "rows.pith", short, "raw10", str(WIDTH), str(HEIGHT)], stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("shorter", done.stderr)


if __name__ == "__main__":
    unittest.main()
