"""QDQ and QOperator files as onnxruntime.quantization writes them: quantized.py FOLDER KINDS
(needs PyPI's onnx and onnxruntime)

Of networks that export.py has written to KINDS at opset 17, calibrated on random inputs. Files and lists as export.py has
them, so that check_model_kinds.py takes them: three static forms, and dynamic quantisation.
"""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

NETWORKS = ("classifier_mobilenet_v3", "classifier_shufflenet", "keyword_spotting", "segmentation_unet", "vision_transformer", "detector_yolov8")
FORMS = {
    "qdq_u8s8": dict(quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True),
    "qdq_s8s8": dict(quant_format=QuantFormat.QDQ, activation_type=QuantType.QInt8, weight_type=QuantType.QInt8, per_channel=False),
    "qoperator": dict(quant_format=QuantFormat.QOperator, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=False),
}


class Samples(CalibrationDataReader):
    def __init__(self, given):
        rng = np.random.default_rng(3)
        self.left = [{name: (x + 0.1 * rng.standard_normal(x.shape)).astype(x.dtype) for name, x in given.items()} for _ in range(8)]

    def get_next(self):
        return self.left.pop() if self.left else None


def main():
    folder, kinds = Path(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    for name in NETWORKS:
        data = np.load(kinds / f"{name}.npz")
        given = {f"in{i}": data[key] for i, key in enumerate(sorted(data.files))}
        with tempfile.TemporaryDirectory() as scratch:
            ready = Path(scratch, "ready.onnx")
            quant_pre_process(str(kinds / f"{name}-17.onnx"), str(ready), skip_symbolic_shape=True)
            for form, options in FORMS.items():
                made = folder / f"{name}_{form}-17.onnx"
                quantize_static(str(ready), str(made), Samples(given), **options)
            quantize_dynamic(str(ready), str(folder / f"{name}_dynamic-17.onnx"), weight_type=QuantType.QUInt8)
        for form in [*FORMS, "dynamic"]:
            shutil.copy(kinds / f"{name}.npz", folder / f"{name}_{form}.npz")
            (folder / f"{name}_{form}.txt").write_text("\n")
        print(name, flush=True)


if __name__ == "__main__":
    main()
