"""Exports the networks of vision.py and sequence.py: export.py FOLDER [NAME...] (Debian's python3-torch).

Each becomes NAME-OPSET.onnx with NAME.npz, its inputs in order, and NAME.txt, the operators that fusion must find.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import sequence
import torch
import vision

OPSETS = (11, 13, 17)  # the oldest that is asked for, the commonest, the newest that this torch writes


def settle(module):
    """Batch normalisation with statistics other than 0 and 1."""
    for m in module.modules():
        if isinstance(m, torch.nn.BatchNorm2d):
            m.running_mean.normal_(0, 0.2)
            m.running_var.uniform_(0.5, 1.5)
            m.weight.data.uniform_(0.7, 1.3)
            m.bias.data.normal_(0, 0.1)


def main():
    folder, wanted = Path(sys.argv[1]), sys.argv[2:]
    folder.mkdir(parents=True, exist_ok=True)
    warnings.filterwarnings("ignore")
    torch.manual_seed(5)
    for name, (module, inputs, operators) in {**vision.models(), **sequence.models()}.items():
        if wanted and name not in wanted:
            continue
        settle(module)
        module.eval()
        np.savez(folder / f"{name}.npz", **{f"{i:02}": x.numpy() for i, x in enumerate(inputs)})
        (folder / f"{name}.txt").write_text(" ".join(operators) + "\n")
        for opset in OPSETS:
            path, names = folder / f"{name}-{opset}.onnx", [f"in{i}" for i in range(len(inputs))]
            try:
                torch.onnx.export(module, inputs, str(path), opset_version=opset, input_names=names, do_constant_folding=opset != 13)
            except torch.onnx.errors.UnsupportedOperatorError as error:
                path.unlink(missing_ok=True)
                print(f"{path.name}: not written by this exporter: {str(error).splitlines()[0][:90]}", flush=True)
        print(name, flush=True)


if __name__ == "__main__":
    main()
