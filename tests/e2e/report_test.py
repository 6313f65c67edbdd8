#!/usr/bin/env python3
"""The memory report in a browser: headless Chromium opens the page, and no script may fail in it.

    tests/e2e/report_test.py build/default/cli/pith

The page says `data-ready` when it has drawn everything; script errors appear in its `errors` element. JSON, trace and page must tell the same.
"""
import html
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = ROOT / "zoo/line_reader/line_reader.onnx"
PITH = sys.argv.pop(1)
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")


def pith(*arguments):
    subprocess.run([PITH, *map(str, arguments)], check=True, stdout=subprocess.PIPE)


def dom(page, profile):
    """The page's document after its scripts have run."""
    done = subprocess.run([BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom",
                           f"file://{page}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=240)
    return done.stdout


class Report(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        page, data, trace = cls.out / "report.html", cls.out / "report.json", cls.out / "trace.json"
        whole = json.loads(subprocess.run([PITH, "compile", MODEL, "-o", cls.out / "whole.pith", "--json"], check=True, stdout=subprocess.PIPE).stdout)
        pith("compile", MODEL, "-o", cls.out / "reader.pith", "--ram", whole["arena_bytes"] * 3 // 4, "--report", page, "--report-json", data, "--trace", trace, "--target", "ergo2")
        cls.page, cls.report, cls.trace = page.read_text(), json.loads(data.read_text()), json.loads(trace.read_text())

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def test_buffers_lie_in_the_arena_and_never_on_each_other(self):
        buffers = self.report["buffers"]
        for b in buffers:
            self.assertLessEqual(b["offset"] + b["bytes"], self.report["arena_bytes"])
        self.assertEqual({b["owner"] for b in buffers}, {"frame", "network", "result"})
        self.assertEqual(max(o["bytes_in_use"] for o in self.report["operators"]), self.report["peak"]["bytes_in_use"])

    def test_moves_say_what_they_gained(self):
        self.assertTrue(self.report["moves"])
        for move in self.report["moves"]:
            self.assertLess(move["bytes_after"], move["bytes_before"])
            self.assertEqual(move["macs"], 0)

    def test_banks_are_awake_where_memory_is_touched(self):
        power = self.report["power"]
        self.assertEqual(len(power["operators"]), len(self.report["operators"]))
        for op in power["operators"]:
            self.assertTrue(op["awake"])
            for first, last in op["awake"] + op["held"]:
                self.assertTrue(0 <= first < last)
        self.assertGreater(sum(power["energy_uJ"].values()), 0)
        for step in power["steps"]:
            self.assertEqual(step["awake"] + step["asleep"] + step["off"], power["banks"])

    def test_planned_figures_need_no_run(self):
        data = self.out / "planned.json"
        pith("info", self.out / "reader.pith", "--report-json", data)
        planned = json.loads(data.read_text())
        self.assertNotIn("us", planned["operators"][0])
        self.assertEqual(planned["arena_bytes"], self.report["arena_bytes"])

    def test_trace_has_a_true_time_axis(self):
        slices = [e for e in self.trace["traceEvents"] if e["ph"] == "X"]
        self.assertEqual(len(slices), len(self.report["operators"]))
        end = 0
        for s in slices:
            self.assertGreaterEqual(s["ts"], end - 1e-6)
            end = s["ts"] + s["dur"]
        self.assertGreater(end, 0)

    def test_page_holds_the_report_and_nothing_from_elsewhere(self):
        data = re.search(r'<script type="application/json" id="data">(.*?)</script>', self.page, re.S).group(1)
        self.assertEqual(json.loads(data), self.report)
        self.assertNotRegex(self.page, r'(src|href)=["\']')

    @unittest.skipUnless(BROWSER, "Chromium isn't installed (Debian: chromium)")
    def test_browser_draws_it_without_a_script_error(self):
        for view in ("", "#time"):
            text = dom(str(self.out / "report.html") + view, self.out / "profile")
            self.assertRegex(text, r'<body[^>]*data-ready="true"')
            self.assertRegex(text, r'<pre id="errors"></pre>')
            self.assertEqual(text.count("<title>"), 1)
            self.assertGreaterEqual(len(re.findall("<rect", text)), len(self.report["buffers"]) + len(self.report["operators"]))
            self.assertIn(html.escape(self.report["model"]), text)

    @unittest.skipUnless(BROWSER, "Chromium isn't installed (Debian: chromium)")
    def test_a_script_error_would_be_seen(self):
        broken = self.out / "broken.html"
        broken.write_text(self.page.replace("const R = JSON.parse(", "const R = JSON.parse('{' + "))
        text = dom(broken, self.out / "profile")
        self.assertNotRegex(text, r'<body[^>]*data-ready="true"')
        self.assertNotRegex(text, r'<pre id="errors"></pre>')


if __name__ == "__main__":
    unittest.main(verbosity=2)
