#!/usr/bin/env python3
"""The ratchets of tools/quality.py and tools/memory_table.py: what is as good passes, what is worse is named, on rows made here."""
import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools"))
import memory_table  # noqa: E402
import quality  # noqa: E402
import quality_data  # noqa: E402

ROW = {"network": "net", "samples": "500", "metric": "top-1", "float": "80.00", "compressed": "79.80", "drop": "0.20", "file_bytes": "1000", "original_bytes": "4000", "ratio": "4.00", "arena_bytes": "640"}


class Ratchet(unittest.TestCase):
    def complaints(self, **changes):
        return quality.complaints([ROW], [{**ROW, **changes}])

    def test_equal_or_better_passes(self):
        self.assertEqual(self.complaints(), [])
        self.assertEqual(self.complaints(drop="-1.00", file_bytes="900", arena_bytes="600"), [])

    def test_a_drop_within_two_samples_passes_and_beyond_fails(self):
        self.assertEqual(self.complaints(drop="0.60"), [])
        self.assertEqual(len(self.complaints(drop="0.61")), 1)

    def test_small_sets_have_wide_tolerance_and_large_ones_a_floor(self):
        self.assertAlmostEqual(quality.tolerance({"samples": "100"}), 2.0)
        self.assertAlmostEqual(quality.tolerance({"samples": "5000"}), 0.3)

    def test_bytes_and_arena_are_held(self):
        self.assertIn("file_bytes", self.complaints(file_bytes="1011")[0])
        self.assertIn("arena_bytes", self.complaints(arena_bytes="704")[0])

    def test_lost_and_unknown_rows_are_named(self):
        self.assertIn("no longer measured", self.complaints(metric="top-5")[0])
        self.assertIn("not in the baseline", quality.complaints([ROW], [{**ROW, "network": "other"}])[0])

    def test_networks_that_were_not_measured_are_left_alone(self):
        self.assertEqual(quality.complaints([ROW], []), [])


class MemoryRatchet(unittest.TestCase):
    ROW = {"network": "net", "whole": "5000", "least": "900", "met": "must", "macs": "+0.0", "least_10": "800", "macs_10": "+9.0", "identical": "yes"}

    def complaints(self, **changes):
        return memory_table.complaints([self.ROW], [{**self.ROW, **changes}])

    def test_equal_or_better_passes(self):
        self.assertEqual(self.complaints(), [])
        self.assertEqual(self.complaints(least=800, least_10=700, macs_10="+1.0", met="aim"), [])

    def test_more_bytes_or_multiplications_are_named(self):
        for key, value in (("whole", 5001), ("least", 901), ("macs", "+0.1"), ("least_10", 801), ("macs_10", "+9.1"), ("least_10", "")):
            self.assertIn(key, self.complaints(**{key: value})[0])

    def test_other_results_and_lost_goals_are_named(self):
        self.assertIn("differ", self.complaints(identical="NO")[0])
        self.assertIn("the table has must", self.complaints(met="no")[0])
        self.assertIn("isn't in", self.complaints(network="other")[0])

    def test_the_committed_table_reaches_what_it_must(self):
        rows = quality.read_table(memory_table.TABLE)
        self.assertGreater(len(rows), 8)
        for row in rows:
            self.assertIn(row["met"], ("must", "aim"), row)
            self.assertNotEqual(row["identical"], "NO", row)


class Measures(unittest.TestCase):
    def test_average_precision(self):
        box, far = [0, 0, 10, 10], [50, 50, 60, 60]
        self.assertAlmostEqual(quality_data.average_precision([[(0.9, box)]], [[(1, box)]]), 100)
        self.assertAlmostEqual(quality_data.average_precision([[(0.9, box)]], [[(1, box), (1, far)]]), 50)
        self.assertAlmostEqual(quality_data.average_precision([[(0.9, far), (0.8, box)]], [[(1, box)]]), 50)

    def test_power_spectrum_of_a_tone(self):
        tone = [quality_data.math.cos(2 * quality_data.math.pi * 5 * i / 64) for i in range(64)]
        power = quality_data.power_spectrum(tone)
        self.assertAlmostEqual(power[5], 32**2)
        self.assertAlmostEqual(sum(power) - power[5], 0)


if __name__ == "__main__":
    unittest.main()
