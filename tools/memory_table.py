#!/usr/bin/env python3
"""What the compiler makes of memory, network by network, as one table.

    tools/memory_table.py DATA [--nets mobilenetv2,kws] [--work FOLDER] [--pith build/default/cli/pith]
    tools/memory_table.py DATA --check                 measures, compares with the table, changes nothing

Each network is compressed to 8 bits (DATA/nets holds the real ones; structure:NAME has seeded random weights) and placed
in memory three times: whole tensors; under the least memory that bands of rows reach; and under the limit that it must
meet, with as little extra work as possible; three of them once more under the least memory with up to 10 % more
multiplications. All of them run on one picture of seeded noise and must give identical results. Writes tests/quality/memory.csv. --work keeps the compressed networks for another time.

float32_peak: layer by layer, every tensor in float32. whole, least: bytes of the arena, in which everything lies that a
run touches but weights in their coded form. macs: extra multiply-accumulates under the limit, percent. least_10: as least,
with --max-macs-overhead 10, of which macs_10 percent are used. --check fails where a network takes more bytes or
multiplications than the table says, reaches less, or gives other results. TFLM's arenas are
kTensorArenaSize of github.com/mlcommons/tiny, benchmark/reference_submissions; ExecuTorch's and TFLM's MobileNetV2 of
pytorch/executorch#17651.
"""
import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

from quality import read_table, write_table

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = ROOT / "tests" / "quality" / "memory.csv"
COLUMNS = ["network", "float32_peak", "whole", "least", "of_float32", "must", "aim", "met", "macs", "operators", "least_10", "macs_10", "identical", "seconds"]
OVERHEAD = ("mobilenetv2", "yolov5n", "yolov5s (structure)")


class Net:
    """How a network is made, and what its memory must be and should be: bytes, or a share of the float32 peak."""

    def __init__(self, model, samples, flags, must, aim, shape):
        self.model, self.samples, self.flags, self.must, self.aim, self.shape = model, samples, flags, must, aim, shape


def networks(d):
    pictures, nets = d / "imagenet" / "images.tar", d / "nets"
    yolo = ["--cut-head", "--preprocess", "image:rgb:640x640:letterbox=114:scale=1/255", "--head", "yolov5-raw"]
    return {
        "mobilenetv2": Net(nets / "mobilenetv2-1.0-224.onnx", pictures, ["--preprocess", "image:rgb:224x224:crop:mean=127.5:std=127.5"], 400_000, 190_000, (1, 3, 224, 224)),
        "yolov5n": Net(nets / "yolov5n.onnx", pictures, yolo, 1 / 12, 1 / 32, (1, 3, 640, 640)),
        "yolov5s (structure)": Net("structure:yolov5s", None, [], 1 / 12, 1 / 32, (1, 3, 640, 640)),
        "resnet8": Net(nets / "mlperf-tiny-resnet8.onnx", d / "cifar10" / "test1000.bin", ["--preprocess", "image:rgb:32x32"], 100 * 1024 // 2, 100 * 1024 // 4, (1, 3, 32, 32)),
        "kws": Net(nets / "mlperf-tiny-kws.onnx", "noise", [], 200 * 1024 // 2, 200 * 1024 // 4, (1, 49, 10, 1)),
        "vww": Net(nets / "mlperf-tiny-vww.onnx", pictures, ["--preprocess", "image:rgb:96x96:stretch:scale=1/255"], 200 * 1024 // 2, 200 * 1024 // 4, (1, 3, 96, 96)),
        "autoencoder": Net(nets / "mlperf-tiny-ad.onnx", "noise", [], 10 * 1024 // 2, 10 * 1024 // 4, (1, 640)),
        "autoencoder-u8 (8-bit outputs)": Net(nets / "mlperf-tiny-ad.onnx", "noise", ["--integer-outputs"], 10 * 1024 // 2, 10 * 1024 // 4, (1, 640)),
        "resnet50 (structure)": Net("structure:resnet50", None, [], 1 / 12, 1 / 32, (1, 3, 224, 224)),
        "roberta (structure)": Net("structure:roberta", None, [], 1 / 8, 1 / 16, (128, 768)),
    }


def write_npy(path, shape, values):
    header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + ", ".join(map(str, shape)) + ",), }"
    header += " " * (63 - (10 + len(header)) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + struct.pack(f"<{len(values)}f", *values))


def noise(path, shape, seed):
    count, draw = 1, random.Random(seed)
    for n in shape:
        count *= n
    write_npy(path, shape, [draw.uniform(-1, 1) for _ in range(count)])
    return path


class Table:
    def __init__(self, pith, folder, work):
        self.pith_path, self.data, self.work = str(pith), folder, pathlib.Path(work)

    def pith(self, *arguments):
        done = subprocess.run([self.pith_path, *map(str, arguments), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if done.returncode not in (0, 4):
            sys.exit(f"pith {' '.join(map(str, arguments))}\n{done.stderr}")
        return json.loads(done.stdout) if done.returncode == 0 else None

    def source(self, name, net):
        """The network at 8 bits, its tensors whole."""
        path = self.work / f"{name.split(' ')[0]}.pith"
        if path.exists():
            return path
        if net.samples is None:
            self.pith("compile", net.model, "--codec", "fastest", "-o", path)
            return path
        samples = net.samples
        if samples == "noise":
            samples = self.work / f"{name}_samples"
            samples.mkdir(exist_ok=True)
            for i in range(16):
                noise(samples / f"{i:02}.npy", net.shape, i)
        self.pith("compress", net.model, *net.flags, "--samples", samples, "--data-count", 24, "--held-back", 2, "--codec", "fastest", "-o", path)
        return path

    def outputs(self, model, sample):
        """All bytes of all outputs of one run."""
        stem = self.work / "out"
        for old in self.work.glob("out*.npy"):
            old.unlink()
        self.pith("run", model, sample, "--preprocess", "tensor", "--save", stem)
        return [p.read_bytes() for p in sorted(self.work.glob("out*.npy"))]

    def row(self, name, net):
        base = self.source(name, net)
        shape = net.shape if net.shape[0] == 1 else (1, *net.shape)  # the first dimension counts samples
        sample = noise(self.work / "sample.npy", shape, 7)
        started = time.monotonic()
        placed = {}
        for key, ram in (("whole", 0), ("least", "least")):
            path = self.work / f"placed_{key}.pith"
            placed[key] = self.pith("compile", base, "--ram", ram, "--rows", "--codec", "fastest", "-o", path)["memory"]
        whole, least = placed["whole"], placed["least"]
        peak = whole["float32_peak"]
        must, aim = (int(x * peak) if x < 1 else x for x in (net.must, net.aim))
        files = ["least"]
        limited = self.pith("compile", base, "--ram", must, "--rows", "--codec", "fastest", "-o", self.work / "placed_must.pith")
        more = None
        if name in OVERHEAD:
            more = self.pith("compile", base, "--ram", "least", "--rows", "--max-macs-overhead", 10, "--codec", "fastest", "-o", self.work / "placed_more.pith")["memory"]
            files.append("more")
        used = least
        if limited is not None:
            used = limited["memory"]
            files.append("must")
        expected = self.outputs(self.work / "placed_whole.pith", sample)
        identical = all(self.outputs(self.work / f"placed_{f}.pith", sample) == expected for f in files)
        least_bytes = min(least["arena_bytes"], used["arena_bytes"])
        return {"network": name, "float32_peak": peak, "whole": whole["arena_bytes"], "least": least_bytes, "of_float32": f"1/{peak / least_bytes:.1f}", "must": must, "aim": aim,
                "met": "aim" if least_bytes <= aim else "must" if least_bytes <= must else "no", "macs": f"{100 * (used['macs'] / whole['macs'] - 1):+.1f}", "operators": used["operators"],
                **({"least_10": more["arena_bytes"], "macs_10": f"{100 * (more['macs'] / whole['macs'] - 1):+.1f}"} if more else {}),
                "identical": "yes" if identical else "NO", "seconds": f"{time.monotonic() - started:.0f}"}


def frame_rows(table, example):
    """Of a frame of 4672 x 3506 into YOLOv5n: the bytes that hold input, camera lines and rows of the network's input."""
    width, height, rows = 4672, 3506, []
    base = table.source("yolov5n", networks(table.data)["yolov5n"])
    model, report = table.work / "frame.pith", table.work / "frame.json"
    table.pith("compile", base, "--ram", 1_200_000, "--rows", "--codec", "fastest", "-o", model, "--report-json", report)
    made = json.loads(report.read_text())
    name = table.pith("info", model)["inputs"][0]
    lines = max(b["bytes"] for b in made["buffers"] if b["name"] == name)
    for kind, size in (("raw10", width * 5 // 4 * height), ("nv12", width * height * 3 // 2)):
        frame = table.work / "frame.bytes"
        frame.write_bytes(random.Random(1).randbytes(1 << 20) * (size // (1 << 20) + 1))
        done = subprocess.run([example, model, frame, kind, str(width), str(height)], stdout=subprocess.PIPE, text=True, check=True)
        held = int(done.stdout.split("of which ")[1].split()[0]) + lines
        rows.append({"network": f"frame {width}x{height} {kind} into yolov5n", "whole": size, "least": held, "must": 2_000_000, "aim": 1_000_000, "met": "aim" if held <= 1_000_000 else "no"})
    return rows


def shared(table):
    """A detector and a classifier in one arena."""
    files = [table.source(n, networks(table.data)[n]) for n in ("yolov5n", "mobilenetv2")]
    made = table.pith("share", *files, "--ram", "1200000", "--rows", "--codec", "fastest", "--output-dir", table.work / "both")
    alone = [n["alone_bytes"] for n in made["networks"]]
    must = max(alone) * 11 // 10
    return [{"network": "yolov5n and mobilenetv2 in one arena", "whole": sum(alone), "least": made["arena_bytes"], "must": must, "aim": max(alone), "met": "aim" if made["arena_bytes"] <= max(alone) else "no"}]


def complaints(committed, measured):
    """What is worse than the table, one line each."""
    known, found = {r["network"]: r for r in committed}, []
    for row in measured:
        old = known.get(row["network"])
        if old is None:
            found.append(f"{row['network']} isn't in {TABLE.name}")
            continue
        for key in ("whole", "least", "macs", "least_10", "macs_10"):
            if old.get(key) and (row.get(key) in (None, "") or float(row[key]) > float(old[key])):
                found.append(f"{row['network']}: {key} is {row.get(key) or 'no longer measured'}, the table has {old[key]}")
        order = ["no", "must", "aim"]
        if order.index(row["met"]) < order.index(old["met"]):
            found.append(f"{row['network']}: reaches {row['met']}, the table has {old['met']}")
        if row.get("identical") == "NO":
            found.append(f"{row['network']}: results differ from whole tensors'")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--nets", default="")
    parser.add_argument("--work", type=pathlib.Path)
    parser.add_argument("--frame-rows", default=ROOT / "build/default/tests/frame_rows", help="the built example")
    parser.add_argument("--pith", default=ROOT / "build/default/cli/pith")
    parser.add_argument("--check", action="store_true", help="compare with the table instead of updating it")
    args = parser.parse_args()
    known = networks(args.data)
    wanted = args.nets.split(",") if args.nets else [*known, "frame", "shared"]
    committed = read_table(TABLE)
    old, measured = {r["network"]: r for r in committed}, []
    with tempfile.TemporaryDirectory() as folder:
        work = args.work or pathlib.Path(folder)
        work.mkdir(parents=True, exist_ok=True)
        table = Table(args.pith, args.data, work)
        makers = {n: (lambda n=n, net=net: [table.row(n, net)]) for n, net in known.items()}
        makers |= {"frame": lambda: frame_rows(table, args.frame_rows), "shared": lambda: shared(table)}
        for name, make in makers.items():
            if not any(name.startswith(w) for w in wanted):
                continue
            for row in make():
                old[row["network"]] = row
                measured.append(row)
                print(", ".join(f"{k} {v}" for k, v in row.items()), flush=True)
            if not args.check:
                write_table(TABLE, COLUMNS, old.values())
    worse = complaints(committed if args.check else measured, measured)
    for line in worse:
        print(f"worse: {line}", file=sys.stderr)
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
