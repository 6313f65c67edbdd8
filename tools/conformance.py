"""Runs ONNX's own backend tests against pith and tabulates them by operator: tests/conformance.csv.

    tools/conformance.sh [--only Conv,Resize] [--jobs 2] [--verbose]

The cases come with PyPI's `onnx`, pinned to 1.18.0: the last release whose node cases lie in the package as files, and
whose newest opset is 23, which is the newest that pith reads. Cases that a later release added for these opsets come from
there (conformance_later.py), and so do the few whose data 1.18 has wrong: tests/conformance_errata.csv names them with
the reason; the table counts them. Each case is a model with input and output tensors as .pb files;
`pith_node_runner MODEL.onnx IN.pb... OUT.pb...` imports it, runs the float interpreter, compares, and prints one line,
"pass", "fail: why" or "unsupported: why" (status 0, 6, 3). Anything else (a crash, a timeout) counts as failed.

A case belongs to its operator, Constant aside; a case named `..._expanded` (an operator as its function body) to the
operator of the case that it expands; other cases with several operators share one row. The light_* networks have a row
each; their input is made here as the package's runner makes it, arange(n) / n, their expected outputs come with it.

Must pass: what `pith supported-ops` lists. Its cases may be unsupported, with a reason that the table shows (a data type,
say), but not one of them may fail; outside the list too, refusing is right and failing is a bug. Ends with status 1 where
any case failed.
"""

import argparse
import collections
import concurrent.futures
import csv
import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(onnx.__file__).parent / "backend" / "test" / "data"
WORK = ROOT / "build" / "conformance"
LATER = WORK / "later" / "cases"
TABLE = ROOT / "tests" / "conformance.csv"
ERRATA = ROOT / "tests" / "conformance_errata.csv"
COLUMNS = ["operator", "supported", "cases", "corrected", "passed", "failed", "unsupported", "why"]
VERDICTS = {0: "passed", 6: "failed", 3: "unsupported"}
SEVERAL = "(several operators)"
GROUPS = ("node", "simple", "pytorch-operator", "pytorch-converted")


@dataclasses.dataclass
class Case:
    name: str
    operator: str
    model: Path
    tensors: list[Path]
    corrected: bool = False
    verdict: str = ""
    why: str = ""


def numbered(folder: Path, kind: str) -> list[Path]:
    return sorted(folder.glob(f"{kind}_*.pb"), key=lambda path: int(path.stem.rsplit("_", 1)[1]))


def operator_of(model: onnx.ModelProto) -> str:
    names = {f"{node.domain}.{node.op_type}" if node.domain else node.op_type for node in model.graph.node}
    names = names - {"Constant"} or names
    return names.pop() if len(names) == 1 else SEVERAL


def stored_cases(group: Path) -> list[Case]:
    """The cases of one folder, each with all its data sets (in practice one)."""
    cases = []
    for folder in sorted(path for path in group.iterdir() if (path / "model.onnx").exists()):
        operator = operator_of(onnx.load(folder / "model.onnx"))
        for data in sorted(folder.glob("test_data_set_*")):
            cases.append(Case(folder.name, operator, folder / "model.onnx", numbered(data, "input") + numbered(data, "output")))
    return cases


def retyped(case: Case) -> list[Path]:
    """Copies of the tensors with the element types that the model declares, where both are two bytes wide."""
    graph = onnx.load(case.model).graph
    copies = []
    for path, value in zip(case.tensors, [*graph.input, *graph.output], strict=True):
        tensor = onnx.load_tensor(path)
        if tensor.data_type == onnx.TensorProto.UINT16:
            tensor.data_type = value.type.tensor_type.elem_type
        copies.append(WORK / case.name / path.name)
        copies[-1].parent.mkdir(parents=True, exist_ok=True)
        onnx.save_tensor(tensor, copies[-1])
    return copies


def correct(cases: list[Case]) -> list[Case]:
    """The cases with the errata applied and the later release's additions."""
    later = {case.name: case for case in stored_cases(LATER)}
    with ERRATA.open(newline="") as file:
        errata = list(csv.DictReader(file))
    for case in cases:
        found = next((row for row in errata if re.fullmatch(row["cases"], case.name)), None)
        if found is None:
            continue
        case.corrected = True
        if found["taken from"] == "later release":
            case.model, case.tensors = later[case.name].model, later[case.name].tensors
        else:
            case.tensors = retyped(case)
    names = {case.name for case in cases}
    return cases + [case for case in later.values() if case.name not in names]


def adopt_expansions(cases: list[Case]) -> None:
    """Gives `test_x_expanded...` the operator of `test_x`."""
    operators = {case.name: case.operator for case in cases}
    for case in cases:
        whole = re.sub(r"_expanded(_ver\d+|_function_\w+)?$", "", case.name)
        if whole != case.name and whole in operators:
            case.operator = operators[whole]


def light_cases() -> list[Case]:
    cases = []
    for path in sorted((DATA / "light").glob("light_*.onnx")):
        model = onnx.load(path)
        given = {tensor.name for tensor in model.graph.initializer}
        folder = WORK / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        tensors = []
        for value in (value for value in model.graph.input if value.name not in given):
            shape = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
            count = int(np.prod(shape))
            ramp = (np.arange(count).reshape(shape) / count).astype(np.float32)
            tensors.append(folder / f"input_{len(tensors)}.pb")
            tensors[-1].write_bytes(numpy_helper.from_array(ramp, value.name).SerializeToString())
        tensors += [path.with_name(f"{path.stem}_output_{i}.pb") for i in range(len(model.graph.output))]
        cases.append(Case(path.stem, path.stem, path, tensors))
    return cases


def run_case(case: Case, runner: Path, seconds: float) -> Case:
    try:
        done = subprocess.run([runner, case.model, *case.tensors], capture_output=True, text=True, timeout=seconds, errors="replace")
    except subprocess.TimeoutExpired:
        case.verdict, case.why = "failed", f"no answer in {seconds:.0f} s"
        return case
    said = (done.stdout.strip() or done.stderr.strip()).splitlines()
    case.verdict = VERDICTS.get(done.returncode, "failed")
    case.why = said[-1].split(": ", 1)[-1].replace(f"{DATA}/", "") if said else ""
    if done.returncode not in VERDICTS:
        ended = f"signal {-done.returncode}" if done.returncode < 0 else f"status {done.returncode}"
        case.why = f"ended with {ended}: {case.why}"
    return case


def supported_operators(program: Path) -> set[str]:
    """The ONNX operators that `pith supported-ops` lists as read from files, domain aside."""
    listed = subprocess.run([program, "supported-ops"], capture_output=True, text=True)
    if listed.returncode:
        raise SystemExit(f"{program} supported-ops failed: {listed.stderr.strip()}")
    names = re.search(r"^read from ONNX files \(\d+\): (.*)$", listed.stdout, re.MULTILINE)
    if names is None:
        raise SystemExit(f"{program} supported-ops doesn't say which operators it reads")
    return {name for name in names[1].split() if "." not in name}


def reasons(cases: list[Case]) -> str:
    """The three commonest reasons of failure, then of refusal."""
    text = []
    for verdict in ("failed", "unsupported"):
        whys = collections.Counter(case.why for case in cases if case.verdict == verdict)
        text += [f"{verdict} {count}: {why[:120]}" for why, count in whys.most_common(3)]
    return "; ".join(text)


def tabulate(cases: list[Case], supported: set[str]) -> list[dict]:
    """One row an operator in alphabetical order, the networks last."""
    grouped = collections.defaultdict(list)
    for case in cases:
        grouped[case.operator].append(case)
    rows = []
    for operator in sorted(grouped, key=lambda name: (name.startswith("light_"), name)):
        mine = grouped[operator]
        counts = collections.Counter(case.verdict for case in mine)
        must = operator in supported or operator.startswith("light_") or operator == SEVERAL
        rows.append({
            "operator": operator, "supported": "yes" if must else "no", "cases": len(mine),
            "corrected": sum(case.corrected for case in mine), "passed": counts["passed"], "failed": counts["failed"], "unsupported": counts["unsupported"], "why": reasons(mine),
        })  # fmt: skip
    return rows


def report(rows: list[dict], supported: set[str]) -> int:
    """Prints the table and its sums; returns the number of rows with a failure."""
    for row in rows:
        if row["supported"] == "yes" or row["passed"] or row["failed"]:
            print(f"{row['operator']:28} {row['cases']:4} cases {row['passed']:4} passed {row['failed']:3} failed "
                  f"{row['unsupported']:3} unsupported  {row['why'][:90]}")  # fmt: skip
    must = [row for row in rows if row["supported"] == "yes"]
    total = {key: sum(row[key] for row in must) for key in ("cases", "passed", "failed", "unsupported")}
    broken = [row["operator"] for row in rows if row["failed"]]
    untested = sorted(supported - {row["operator"] for row in rows})
    others = [row for row in rows if row["supported"] == "no"]
    print(f"\n{len(must)} supported operators and networks: {total['cases']} cases, {total['passed']} passed, "
          f"{total['failed']} failed, {total['unsupported']} unsupported; "
          f"{len(others)} operators outside the list with {sum(row['cases'] for row in others)} cases")  # fmt: skip
    if untested:
        print("listed, but only in cases of several operators or none: " + ", ".join(untested))
    if broken:
        print("with failures: " + ", ".join(broken))
    return len(broken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", type=Path, default=ROOT / "build" / "default" / "tests" / "pith_node_runner")
    parser.add_argument("--pith", type=Path, default=ROOT / "build" / "default" / "cli" / "pith")
    parser.add_argument("--only", help="comma-separated operators; the table is then printed, not written")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for one case")
    parser.add_argument("--verbose", action="store_true", help="print every case that does not pass")
    options = parser.parse_args()
    for program in (options.runner, options.pith):
        if not program.exists():
            raise SystemExit(f"{program} is missing: build it first (make all)")
    cases = correct([case for group in GROUPS for case in stored_cases(DATA / group)])
    adopt_expansions(cases)
    cases += light_cases()
    supported = supported_operators(options.pith)
    if options.only:
        cases = [case for case in cases if case.operator in options.only.split(",")]
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for number, case in enumerate(pool.map(lambda case: run_case(case, options.runner, options.timeout), cases), 1):
            if options.verbose and case.verdict != "passed":
                print(f"{case.name}: {case.verdict}: {case.why}", flush=True)
            if sys.stderr.isatty():
                print(f"\r{number}/{len(cases)}", end="", file=sys.stderr)
    rows = tabulate(cases, supported)
    if not options.only:
        with TABLE.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    raise SystemExit(1 if report(rows, supported) else 0)


if __name__ == "__main__":
    main()
