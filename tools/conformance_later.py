"""Writes what a later release of ONNX adds to or corrects in its backend tests: build/conformance/later/cases/.

    conformance_later.py RELEASE_1_18_CASES FOLDER

Later releases make their node cases by program instead of carrying them as files. Taken are those of opset 24 or older
that 1.18's folder lacks, and those that tests/conformance_errata.csv names, where 1.18's own data were wrong. Each is a
folder as 1.18 has it: model.onnx, test_data_set_0/input_<i>.pb and output_<i>.pb.
"""

import csv
import re
import shutil
import sys
import warnings
from pathlib import Path

import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases

ERRATA = Path(__file__).resolve().parents[1] / "tests" / "conformance_errata.csv"
NEWEST_OPSET = 24  # 23 is the newest that pith reads; 24 brings Swish


def errata() -> list[str]:
    with ERRATA.open(newline="") as file:
        return [row["cases"] for row in csv.DictReader(file) if row["taken from"] == "later release"]


def write_case(case, folder: Path) -> None:
    data = folder / "test_data_set_0"
    data.mkdir(parents=True)
    onnx.save(case.model, folder / "model.onnx")
    inputs, outputs = case.data_sets[0]
    for kind, arrays in (("input", inputs), ("output", outputs)):
        for i, array in enumerate(arrays):
            tensor = array if isinstance(array, onnx.TensorProto) else numpy_helper.from_array(array)
            (data / f"{kind}_{i}.pb").write_bytes(tensor.SerializeToString())


def plain_tensors(case) -> bool:
    return all(value.type.HasField("tensor_type") for value in [*case.model.graph.input, *case.model.graph.output])


def main() -> None:
    known, folder = Path(sys.argv[1]), Path(sys.argv[2])
    warnings.filterwarnings("ignore")
    shutil.rmtree(folder, ignore_errors=True)
    patterns = errata()
    for case in collect_testcases(None):
        opset = next((entry.version for entry in case.model.opset_import if entry.domain == ""), 0)
        wanted = not (known / case.name).exists() or any(re.fullmatch(pattern, case.name) for pattern in patterns)
        if wanted and 0 < opset <= NEWEST_OPSET and plain_tensors(case):
            write_case(case, folder / case.name)


if __name__ == "__main__":
    main()
