"""Run with `python3 ctc_test.py`."""

import unittest

from ctc import collapse, edit_distance, score


class Ctc(unittest.TestCase):
    def test_collapse(self):
        self.assertEqual(collapse([0, 0, 0]), "")
        self.assertEqual(collapse([34, 34, 0, 34, 35, 35]), "AAB")
        self.assertEqual(collapse([0, 1, 95, 0]), " ~")

    def test_edit_distance(self):
        for a, b, distance in [("", "abc", 3), ("kitten", "sitting", 3), ("flaw", "lawn", 2), ("same", "same", 0)]:
            self.assertEqual(edit_distance(a, b), distance)
            self.assertEqual(edit_distance(b, a), distance)

    def test_score(self):
        self.assertEqual(score(["abcd", "efgh"], ["abcd", "efgh"]), (1, 1))
        self.assertEqual(score(["abcd", "efgh"], ["abxd", "efgh"]), (0.875, 0.5))


if __name__ == "__main__":
    unittest.main()
