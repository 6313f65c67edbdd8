"""Runs inside nncodec's own environment (it wants numpy < 2): codes the arrays of IN.npz, decodes them into OUT.npz and
prints the size of the bit stream.

    nncodec_child.py IN.npz OUT.npz QP

Only the codec is used. The package imports its training side too (torch, torchvision and ten more, gigabytes from PyPI);
those names are answered with empty stand-ins, and nothing that is measured passes through them.
"""

import importlib.abc
import importlib.machinery
import json
import sys
import tempfile
from unittest.mock import MagicMock

TRAINING_SIDE = {"torch", "torchvision", "h5py", "pandas", "sklearn", "cv2", "ptflops", "torchmetrics", "tensorflow", "tqdm"}


class StandIn(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in TRAINING_SIDE or name.startswith(("nncodec.framework.applications", "nncodec.framework.use_case")):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        module = MagicMock(name=spec.name)
        module.__path__, module.__spec__ = [], spec
        return module

    def exec_module(self, module):
        pass


def main() -> None:
    sys.meta_path.insert(0, StandIn())
    import numpy as np
    from nncodec import nnc

    arrays = {name: array.astype(np.float32) for name, array in np.load(sys.argv[1]).items()}
    shaped = {name: array.reshape(1) if array.ndim == 0 else array for name, array in arrays.items()}
    with tempfile.TemporaryDirectory() as folder:
        stream = nnc.compress(shaped, bitstream_path=f"{folder}/net.nnc", qp=int(sys.argv[3]), return_bitstream=True)
    decoded = nnc.decompress(stream)
    np.savez(sys.argv[2], **decoded)
    print(json.dumps({"bytes": len(stream)}))


if __name__ == "__main__":
    main()
