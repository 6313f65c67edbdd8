#!/usr/bin/env python3
"""The command line from end to end on the embedded default network: what must work, what must fail, and how.

    tests/e2e/cli_test.py build/default/cli/pith
"""
import json
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ZOO, EXAMPLES = ROOT / "zoo/line_reader", ROOT / "examples/line_reader"
PITH = sys.argv.pop(1)
PREPROCESS = "image:gray:512x32:line=255:pil_bilinear:mean=127.5:std=127.5"


def pith(*arguments, code=0):
    done = subprocess.run([PITH, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != code:
        raise AssertionError(f"pith {' '.join(map(str, arguments))}: exit code {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done


def floats(path):
    """The values of a float32 .npy file (version 1)."""
    data = path.read_bytes()
    start = 10 + struct.unpack_from("<H", data, 8)[0]
    return struct.unpack(f"<{(len(data) - start) // 4}f", data[start:])


class CommandLine(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        cls.model = cls.out / "reader.pith"
        cls.compressed = json.loads(pith("compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--data-count", "48", "--held-back", "8", "--preprocess", PREPROCESS,
                                         "--labels", ZOO / "labels.txt", "--head", "ctc", "-o", cls.model, "--json").stdout)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_file_is_small_and_agrees(self):
        self.assertEqual(self.compressed["bytes"], os.path.getsize(self.model))
        self.assertGreater(self.compressed["ratio"], 4.2)
        self.assertGreater(self.compressed["held_back"]["cosine"], 0.995)

    def test_reads_pictures(self):
        lines = dict(line.split("\t", 1) for line in (EXAMPLES / "lines.txt").read_text().splitlines())
        names = ["line1.png", "line2.png", "line4.png"]
        out = pith("run", self.model, *[EXAMPLES / n for n in names], "--json")
        self.assertEqual([r["text"] for r in json.loads(out.stdout)["results"]], [lines[n] for n in names])

    def test_quality_on_held_out_lines(self):
        out = json.loads(pith("eval", self.model, "--samples", EXAMPLES / "heldout_clean.npz", "--texts", EXAMPLES / "heldout_clean.txt", "--data-count", "80", "--json").stdout)
        self.assertGreater(out["metrics"]["characters"], 98.5)

    def test_every_mode_and_instruction_set_agrees(self):
        # the last layer computes in float, so the comparison is one of floats; interpreter_runtime_test compares integers
        saved = []
        for memory in ("smallest", "fastest"):
            for isa in ("reference", "avx2", "avx512", "neon"):
                stem = self.out / f"{memory}_{isa}"
                done = subprocess.run([PITH, "run", self.model, EXAMPLES / "line3.png", "--memory", memory, "--isa", isa, "--save", stem], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
                if done.returncode == 0:
                    saved.append(floats(stem.with_suffix(".npy")))
        self.assertGreaterEqual(len(saved), 2)
        for other in saved[1:]:
            self.assertEqual(len(other), 128 * 96)
            self.assertLess(max(abs(a - b) for a, b in zip(saved[0], other)), 1e-3)

    def test_threads_change_nothing(self):
        for threads in (1, 2, 3):
            pith("run", self.model, EXAMPLES / "line5.png", "-t", threads, "--save", self.out / f"threads{threads}")
        contents = {(self.out / f"threads{t}.npy").read_bytes() for t in (1, 2, 3)}
        self.assertEqual(len(contents), 1)

    def test_same_seed_same_file(self):
        for name in ("a", "b"):
            pith("compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--data-count", "6", "--held-back", "2", "--preprocess", PREPROCESS, "--seed", "7", "-o", self.out / f"{name}.pith", "-q")
        self.assertEqual((self.out / "a.pith").read_bytes(), (self.out / "b.pith").read_bytes())

    def test_info_names_memory_before_running(self):
        info = json.loads(pith("info", self.model, "--json").stdout)
        self.assertEqual(info["bytes"], os.path.getsize(self.model))
        self.assertLessEqual(info["arena_bytes"], info["smallest"]["instance_bytes"])
        self.assertLess(info["smallest"]["model_bytes"], info["fastest"]["model_bytes"])
        self.assertEqual(sum(layer["coded_bytes"] for layer in info["layers"]) + info["structure_bytes"] + info["metadata_bytes"] + info["header_bytes"], info["bytes"])
        pith("info", self.model, "--svg", self.out / "memory.svg")
        self.assertTrue((self.out / "memory.svg").read_text().startswith("<svg"))

    def test_bench_and_text_forms(self):
        bench = json.loads(pith("bench", self.model, "-r", "3", "--warmup", "1", "--json").stdout)
        self.assertGreater(bench["metrics"]["median_ms"], 0)
        self.assertIn("Conv2d", pith("info", self.model, "--text").stdout)
        self.assertIn("Conv", pith("import", ZOO / "line_reader.onnx").stdout)
        table = pith("supported-ops").stdout
        names = re.findall(r"^PITH_OP\((\w+),", (ROOT / "ir/ops.inc").read_text(), re.M)
        self.assertGreater(len(names), 100)
        self.assertEqual([n for n in names if not re.search(rf"\b{n}\b", table)], [])

    def test_command_reference_is_current(self):
        self.assertEqual((ROOT / "docs/commands.md").read_text(), pith("docs").stdout, "run `build/default/cli/pith docs > docs/commands.md`")

    def test_chip(self):
        out = json.loads(pith("chip", self.model, "--fps", "30", "--battery", "1000", "--layers", self.out / "layers.csv", "--trace", self.out / "trace.json", "--svg", self.out / "memory.svg", "--json").stdout)
        self.assertTrue(out["fits"] and out["keeps_up"])
        self.assertAlmostEqual(sum(out["energy_uJ"].values()), out["energy_uJ_total"], places=6)
        self.assertAlmostEqual(out["cluster_busy"] + sum(out["stalls"].values()), 1, places=6)
        self.assertAlmostEqual(out["battery_days"], 1000 * 3.7 / out["mW"] / 24, places=6)
        lines = (self.out / "layers.csv").read_text().splitlines()
        self.assertEqual({line.count(",") for line in lines}, {lines[0].count(",")})
        self.assertGreater(len(json.loads((self.out / "trace.json").read_text())["traceEvents"]), len(lines))
        self.assertIn("</svg>", (self.out / "memory.svg").read_text())
        self.assertIn("0 differ from the reference kernels", pith("chip", self.model, "--check").stdout)  # its outputs are floats
        self.assertIn("0 differ from the reference kernels", pith("chip", "--structure", "kws", "--check").stdout)

    def test_chip_structures_share_and_sweep(self):
        yolo = json.loads(pith("chip", "--structure", "yolov5s", "--fps", "30", "--json").stdout)
        self.assertAlmostEqual(yolo["inferences_per_s"], 115, delta=0.05)  # what the calibration was fitted to
        self.assertAlmostEqual(yolo["mW"], 75, delta=0.05)
        slow = json.loads(pith("chip", "--structure", "yolov5s", "--fps", "30", "--dvfs", "--json").stdout)
        self.assertLess(slow["MHz"], yolo["MHz"])
        self.assertLess(slow["mW"], yolo["mW"])
        self.assertTrue(slow["keeps_up"])
        capped = json.loads(pith("chip", "--structure", "yolov5s", "--cap", "120", "--json").stdout)
        self.assertLessEqual(capped["mW"], 120)
        self.assertGreater(capped["fps"], 30)
        both = json.loads(pith("chip", self.model, "--structure", "kws", "--fps", "10,20", "--camera", "1920x1080@30", "--json").stdout)
        self.assertEqual(len(both["networks"]), 2)
        sweep = json.loads(pith("chip", self.model, "--sweep", "sram=4..8MB,cores=8..16", "--pareto", self.out / "front.svg", "--json").stdout)
        self.assertEqual(len(sweep["points"]), 4)
        self.assertTrue(any(p["front"] for p in sweep["points"]))
        self.assertIn("on chip", pith("chip", self.model, "--set", "sram=512", code=4).stderr)

    def test_chip_refusals(self):
        for arguments, words, code in [((), "--structure", 2), (("--structure", "yolov9"), "yolov5s", 2), ((self.model, "--target", "ergo3"), "skeleton", 2), ((self.model, "--set", "cores"), "NAME=NUMBER", 2),
                                       ((self.model, "--set", "cores=0"), "1..256", 2), ((self.model, "--camera", "big"), "1920x1080@30", 2), ((self.model, "--fps", "0"), "positive", 2),
                                       ((self.model, "--sweep", "sram"), "FIRST..LAST", 2), ((self.model, "--camera", "9000x9000@30"), "beyond", 4),
                                       ((self.model, "--camera", "640x480@30", "--camera", "4672x3506@24"), "second pipeline", 4), ((self.model, self.model, self.model, self.model, self.model, "--fps", "1,1,1,1,1", "--camera", "640x480@30"), "feed 4", 4), ((self.model, "--cap", "1"), "raise --cap", 4),
                                       (("--structure", "roberta", "--density", "0.01", "--target", "ergo"), "activation x activation", 3), ((self.model, self.model), "--fps", 2)]:
            with self.subTest(arguments=arguments):
                self.assertIn(words, pith("chip", *arguments, code=code).stderr)

    def test_plan(self):
        table = self.out / "buffers.csv"
        table.write_text("id,lower,upper,size\na,0,2,64\nb,1,3,64\nc,2,4,64\n")
        out = pith("plan", table, "--capacity", "128").stdout.splitlines()
        self.assertEqual(out[0], "id,lower,upper,size,offset")
        self.assertEqual(len(out), 4)
        self.assertIn("capacity", pith("plan", table, "--capacity", "100", code=4).stderr)

    def refused(self, code, *arguments, names):
        done = pith(*arguments, code=code)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        self.assertEqual(len(errors), 1, done.stderr)
        for name in names:
            self.assertIn(name, errors[0])
        self.assertEqual(done.stdout, "")

    def test_video_frames_are_lines_of_json(self):
        video, raw = self.out / "street.y4m", self.out / "street.nv12"
        frames = [bytes([16 + 20 * k]) * (64 * 32) + bytes([128]) * (64 * 32 // 2) for k in range(5)]
        video.write_bytes(b"YUV4MPEG2 W64 H32 F25:1 Ip C420jpeg XCOLORRANGE=LIMITED\n" + b"".join(b"FRAME\n" + f for f in frames))
        raw.write_bytes(b"".join(frames))
        lines = [json.loads(line) for line in pith("run", self.model, video, "--frames", "1::2", "--json").stdout.splitlines()]
        self.assertEqual([(line["input"], line["frame"], "text" in line) for line in lines], [(str(video), 1, True), (str(video), 3, True)])
        self.assertEqual(len(pith("run", self.model, raw, "--frame-size", "64x32", "--json").stdout.splitlines()), 5)
        cut = self.out / "cut.y4m"
        cut.write_bytes(video.read_bytes()[:-5])
        done = pith("run", self.model, cut, "--json", code=2)
        self.assertEqual(len(done.stdout.splitlines()), 4, "what was whole is answered")
        self.assertIn("cut.y4m' ends inside frame 4", done.stderr)
        self.refused(2, "run", self.model, raw, names=["--frame-size"])
        self.refused(2, "run", self.model, raw, "--frame-size", "63x32", names=["even"])
        self.refused(2, "run", self.model, video, "--frames", "3:2", names=["--frames"])
        self.refused(2, "run", self.model, video, EXAMPLES / "line1.png", names=["videos"])
        self.refused(2, "run", self.model, EXAMPLES / "line1.png", "--frames", "2", names=["--frames"])

    def test_refusals_name_the_culprit_and_the_mend(self):
        cut, other = self.out / "cut.pith", self.out / "other.pith"
        data = self.model.read_bytes()
        cut.write_bytes(data[: len(data) // 2])
        other.write_bytes(b"hello world, no network")
        old = self.out / "old.pith"
        old.write_bytes(data[:1] + b"\x01" + data[2:])
        self.refused(2, "run", cut, EXAMPLES / "line1.png", names=["cut.pith"])
        self.refused(2, "info", cut, names=["truncated or damaged"])
        self.refused(2, "info", other, names=["not a .pith file"])
        for verb in ("info", "chip"):
            self.refused(2, verb, old, names=["version 1", "versions 2 to 3", "write the file again"])
        self.refused(2, "run", old, EXAMPLES / "line1.png", names=["old.pith", "version 1"])
        self.refused(2, "run", self.out / "absent.pith", EXAMPLES / "line1.png", names=["absent.pith", "check the path"])
        self.refused(2, "run", self.model, self.out / "absent.png", names=["absent.png"])
        self.refused(2, "run", self.model, other, names=["other.pith"])
        self.refused(2, "eval", self.model, "--samples", EXAMPLES / "heldout_clean.npz", names=["no labels", "--texts"])
        self.refused(2, "compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--preprocess", "image:purple", names=["purple"])
        self.refused(2, "compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--bits", "9", "--preprocess", PREPROCESS, names=["9 bits", "2 to 8"])
        self.refused(2, "compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--preprocess", PREPROCESS, "--explain", names=["--no-retrain"])
        self.refused(2, "import", other, names=["other.pith"])

    def test_usage_errors(self):
        self.assertIn("--samples", pith("compress", ZOO / "line_reader.onnx", code=2).stderr)
        self.refused(2, "nonsense", names=["nonsense", "compress"])
        self.refused(2, "bench", self.model, "--format", "xml", names=["--format", "md"])
        pith(code=2)

    def test_quality_gate(self):
        self.refused_gate = pith("compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--data-count", "8", "--held-back", "4", "--bits", "2", "--max-drop", "0.1", "--preprocess", PREPROCESS,
                                 "--head", "ctc", "-o", self.out / "coarse.pith", code=5)
        self.assertIn("--max-drop", self.refused_gate.stderr)
        # what can't be measured is refused before the samples are looked at
        for head, more in (("tensor", []), ("ctc", ["--held-back", "0"])):
            self.refused(2, "compress", ZOO / "line_reader.onnx", "--samples", "/nonexistent", "--max-drop", "1", "--preprocess", PREPROCESS, "--head", head, *more, names=["--max-drop", "--he"])

    def test_nothing_is_written_when_it_fails(self):
        pith("compress", ZOO / "line_reader.onnx", "--samples", ZOO / "samples.npz", "--data-count", "4", "--held-back", "1", "--preprocess", PREPROCESS, "-o", "/nonexistent/folder/x.pith", code=2)

    def test_second_reader_agrees(self):
        out = subprocess.run([sys.executable, ROOT / "tools/read_pith.py", self.out / "b.pith" if (self.out / "b.pith").exists() else self.model], stdout=subprocess.PIPE, text=True, check=True).stdout
        self.assertIn("Conv2d", out)


if __name__ == "__main__":
    unittest.main(verbosity=2)
