#!/usr/bin/env python3
"""Holds the include law: reads every #include "folder/..." and fails where CONTRIBUTING.md's table is broken.

The table itself is the data: its rows are parsed from CONTRIBUTING.md, so that the law is written once.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent


def read_law():
    law = {}
    for line in (ROOT / "CONTRIBUTING.md").read_text().splitlines():
        row = re.match(r"\| (`.*?) \| (.*) \|$", line)
        if not row:
            continue
        allowed = row.group(2)
        names = {n.strip("`/ ") for n in re.findall(r"`?[a-z_]+(?:/[a-z_.]+)*/?`?", allowed.split(";")[0].split("(")[0])}
        for folder in re.findall(r"`([a-z_/]+)/`", row.group(1)):
            law[folder] = None if allowed.startswith("all") else names - {"nothing", "of", "pith"}
    return law


def allowed(target, folder, names):
    if names is None or target == folder or target.startswith(folder + "/"):
        return True
    return any(target == n or target.startswith(n + "/") for n in names)


def main():
    law = read_law()
    if len(law) < 10:
        sys.exit("check_includes: the table in CONTRIBUTING.md could not be read")
    broken, seen = [], 0
    for path in sorted(ROOT.rglob("*")):
        parts = path.relative_to(ROOT).parts
        if path.suffix not in {".h", ".hpp", ".c", ".cpp", ".inc"} or parts[0] not in law:
            continue
        folder = parts[0]
        is_test = re.search(r"_test\.(c|cpp)$", path.name) or "testing" in parts
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include "([^"]+)"', line)
            if not include or "/" not in include.group(1):
                continue
            target = include.group(1)
            top = target.split("/")[0]
            if top not in law or is_test:
                continue
            seen += 1
            if not allowed(target, folder, law[folder]):
                broken.append(f"{path.relative_to(ROOT)}:{number}: {folder}/ may not include {target}")
    # the freestanding decode side; SSE2's intrinsics are the compiler's, and <new> is there without a hosted library
    for path in sorted((ROOT / "coding" / "decode").glob("*.h")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            include = re.match(r'\s*#\s*include ["<]([^">]+)', line)
            if include and not include.group(1).startswith(("coding/decode/", "numerics/", "stdint", "emmintrin", "new")):
                broken.append(f"{path.relative_to(ROOT)}:{number}: coding/decode/ is freestanding, it may not include {include.group(1)}")
    print("\n".join(broken) if broken else f"include law: {seen} includes between folders, all allowed")
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
