#!/usr/bin/env python3
"""Every network of a data folder on painted memory: does what is written agree with what was planned?

    tools/painted_table.py DATA [--nets yolov5n,mobilenetv2] [--work FOLDER] [--pith build/default/cli/pith] [--painted build/default/tests/pith_painted]

Each network runs in 8 bits with whole tensors, under the least memory that bands reach, and under the least memory with
activations in coded form; each of them in every memory mode with every set of kernels (tests/painted.cpp has the method).
Writes tests/quality/painted.csv: planned and highest are bytes of the arena, outside what was changed beyond it.
"""
import argparse
import csv
import pathlib
import subprocess
import sys
import tempfile

from memory_table import noise
from quality import Bench, read_table, write_table
from quality_data import silero_chunks, wav_samples

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "quality" / "painted.csv"
COLUMNS = ["network", "placement", "mode", "isa", "planned", "highest", "outside", "same", "verdict"]
PLACEMENTS = {"whole": [], "least": ["--ram", "least", "--rows"], "least, coded": ["--ram", "least", "--rows", "--activation-bits", "4"]}


def networks(d):
    pictures = d / "imagenet" / "images.tar"
    picture = lambda preprocess, *more: (pictures, ["--preprocess", preprocess, *more])
    return {
        "cifar-resnet20": (d / "cifar10" / "test1000.bin", ["--preprocess", "image:rgb:32x32"]),
        "mlperf-tiny-resnet8": (d / "cifar10" / "test1000.bin", ["--preprocess", "image:rgb:32x32"]),
        "mlperf-tiny-vww": picture("image:rgb:96x96:stretch:scale=1/255"),
        "mobilenetv2-1.0-224": picture("image:rgb:224x224:crop:mean=127.5:std=127.5"),
        "ultraface-rfb-320": picture("image:rgb:320x240:stretch:mean=127:std=128"),
        "yolov5n": picture("image:rgb:640x640:letterbox=114:scale=1/255", "--cut-head", "--head", "yolov5-raw"),
        "mlperf-tiny-kws": ("noise:1x49x10x1", []),
        "mlperf-tiny-ad": ("noise:1x640", []),
        "silero_vad_16k": (d / "speech" / "silero_test.wav", ["--input-shape", "input:1x576", "--dimension", "batch=1", "--state", "state=stateN"]),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--nets", default="")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--pith", default=ROOT / "build/default/cli/pith")
    parser.add_argument("--painted", default=ROOT / "build/default/tests/pith_painted")
    args = parser.parse_args()
    rows = {(r["network"], r["placement"], r["mode"], r["isa"]): r for r in read_table(TABLE)}
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or pathlib.Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        pith = Bench(args.pith, args.data, work).pith
        for name, (samples, flags) in networks(args.data).items():
            if args.nets and name not in args.nets.split(","):
                continue
            base = work / f"{name}.pith"
            if not base.exists():
                if str(samples).startswith("noise:"):
                    shape = tuple(int(n) for n in str(samples)[6:].split("x"))
                    samples = work / f"{name}_samples"
                    samples.mkdir(exist_ok=True)
                    for i in range(8):
                        noise(samples / f"{i}.npy", shape, i)
                if str(samples).endswith(".wav"):
                    samples = silero_chunks(wav_samples(str(samples)), work / "chunks.npz", 16)
                pith("compress", args.data / "nets" / f"{name}.onnx", *flags, "--samples", samples, "--data-count", 8, "--held-back", 2, "--codec", "fastest", "-o", base)
            for placement, how in PLACEMENTS.items():
                file = base
                if how:
                    file = work / "placed.pith"
                    pith("compile", base, *how, "--codec", "fastest", "-o", file)
                done = subprocess.run([str(args.painted), str(file)], stdout=subprocess.PIPE, text=True)
                for r in csv.DictReader(done.stdout.splitlines()):
                    r = {"network": name, "placement": placement, **{k: v for k, v in r.items() if k != "file"}}
                    rows[(name, placement, r["mode"], r["isa"])] = r
                print(f"{name:22} {placement:14} {'as planned' if done.returncode == 0 else 'NOT AS PLANNED'}", flush=True)
                write_table(TABLE, COLUMNS, rows.values())
    return 0 if all(r["verdict"] == "as planned" for r in rows.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
