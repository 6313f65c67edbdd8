#!/usr/bin/env python3
"""The shell snippets of README.md and docs/tutorial.md, run as a reader would run them.

    tests/e2e/snippets_test.py build/default/cli/pith

Every indented `pith` command runs in an empty folder beside links to zoo/ and examples/. Where a snippet uses a network
or pictures that a reader brings, STAND_INS names what the repository has instead; each of them must still occur, so that
text and test can't drift apart. Commands inside a sentence (in backquotes) must name verbs and options that exist.
"""

import os
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PITH = pathlib.Path(sys.argv.pop(1)).resolve()
READER = "image:gray:512x32:line=255:pil_bilinear:mean=127.5:std=127.5"

STAND_INS = {
    "README.md": [
        ("yolov5n.onnx --samples photos/", "zoo/line_reader/line_reader.onnx --samples zoo/line_reader/samples.npz"),
        ("--cut-head --head yolov5-raw", "--head ctc --labels zoo/line_reader/labels.txt"),
        ("image:rgb:640x640:letterbox=114:scale=1/255", READER),
        ("bus.jpg --draw boxes.png", "examples/line_reader/line1.png"),
    ],
    "docs/tutorial.md": [],
}
# the samples of the repository are many; a few are enough to see that a command works
FEWER = {"compress": ["--data-count", "24", "--held-back", "4"], "eval": ["--data-count", "20"], "bench": ["-r", "3"]}


def snippets(path):
    """Indented blocks as lists of commands; a backslash continues a line, and so does deeper indentation."""
    commands = []
    for line in (ROOT / path).read_text().splitlines():
        if not line.startswith("    "):
            continue
        text = line[4:]
        if commands and (commands[-1].endswith("\\") or text.startswith(" ")):
            commands[-1] = commands[-1].rstrip("\\").rstrip() + " " + text.strip()
        else:
            commands.append(text)
    return [command for command in commands if command.startswith(("pith ", "make "))]


def inline_commands(path):
    text = (ROOT / path).read_text()
    return [command.replace("\n", " ") for command in re.findall(r"`(pith [^`]+)`", text)]


class Snippets(unittest.TestCase):
    def run_page(self, path):
        commands = snippets(path)
        for given, stand_in in STAND_INS[path]:
            self.assertTrue(any(given in command for command in commands), f"{path} no longer says '{given}': mend STAND_INS")
            commands = [command.replace(given, stand_in) for command in commands]
        targets = re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        ran = 0
        with tempfile.TemporaryDirectory() as folder:
            for name in ("zoo", "examples"):
                os.symlink(ROOT / name, pathlib.Path(folder, name))
            os.symlink(PITH, pathlib.Path(folder, "pith"))
            environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
            for command in commands:
                words = shlex.split(command, comments=True)
                if words[0] == "make":
                    self.assertIn(words[1], targets)
                    continue
                words += FEWER.get(words[1], [])
                done = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.assertEqual(done.returncode, 0, f"{path}: {command}\n{done.stdout}{done.stderr}")
                for option in ("-o", "--svg"):
                    if option in words:
                        self.assertTrue(pathlib.Path(folder, words[words.index(option) + 1]).stat().st_size > 0, command)
                ran += 1
        return ran

    def test_readme(self):
        self.assertEqual(self.run_page("README.md"), 3)

    def test_tutorial(self):
        self.assertGreaterEqual(self.run_page("docs/tutorial.md"), 6)

    def test_commands_in_sentences(self):
        for path in STAND_INS:
            for command in inline_commands(path):
                words = command.split()
                done = subprocess.run([PITH, words[1], "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                self.assertEqual(done.returncode, 0, f"{path}: `{command}`: no such verb")
                known = set(re.findall(r"(?<![\w-])--?[a-z][\w-]*", done.stdout))
                for word in words[2:]:
                    if word.startswith("-"):
                        self.assertIn(word, known, f"{path}: `{command}`")


if __name__ == "__main__":
    unittest.main(verbosity=2)
