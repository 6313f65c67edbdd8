#!/usr/bin/env python3
"""docs/chip_predictions.csv is what the program says: the cheap rows of it are made again and compared.

    chip_test.py PITH

The whole table takes a minute (`pith chip --predictions FILE`). Here: the fit on YOLOv5-S holds (rate, both powers), and
ResNet-50's inferences/s and images/s/W on ergo2 are the committed ones. Who changes the model makes the fit
(`pith chip --calibrate chip/devices/calibration.yaml`) and the table again, and says so in docs/chip.md.
"""
import csv
import json
import pathlib
import subprocess
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PITH = "build/default/cli/pith"


def chip(*arguments):
    done = subprocess.run([PITH, "chip", *arguments, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Predictions(unittest.TestCase):
    def setUp(self):
        with (ROOT / "docs" / "chip_predictions.csv").open() as table:
            self.rows = list(csv.DictReader(table))

    def value(self, check, target, note=""):
        found = [float(r["value"]) for r in self.rows if r["check"] == check and r["target"] == target and note in r["note"]]
        self.assertTrue(found, f"no row '{check}' for {target}; make docs/chip_predictions.csv again")
        return found[0]

    def close(self, got, expected, what):
        self.assertLess(abs(got / expected - 1), 0.005, f"{what}: {got:.4g}, the table has {expected:.4g}; calibrate and make the table again")

    def test_fit(self):
        fast, slow = chip("--structure", "yolov5s"), chip("--structure", "yolov5s", "--fps", "30")
        for got, check in ((fast["inferences_per_s"], "YOLOv5-S rate"), (fast["mW"], "YOLOv5-S flat out"), (slow["mW"], "YOLOv5-S at 30/s")):
            self.close(got, self.value(check, "ergo2"), check)
        self.close(fast["inferences_per_s"], 115, "published rate")
        self.close(slow["mW"], 75, "published power at 30/s")
        self.assertLess(slow["bottom_up_mW"], slow["mW"])
        for side in (fast, slow):
            self.close(sum(side["energy_uJ"].values()), side["energy_uJ_total"], "sum of components")

    def test_resnet50(self):
        got = chip("--structure", "resnet50")
        self.close(got["inferences_per_s"], self.value("resnet50 rate", "ergo2"), "ResNet-50 rate")
        self.close(got["inferences_per_s_per_W"], self.value("ResNet-50 images/s/W", "ergo2", "200 mW flat out assumed; 8-bit"), "ResNet-50 images/s/W")


if __name__ == "__main__":
    PITH = sys.argv.pop(1) if len(sys.argv) > 1 else PITH
    unittest.main()
