"""Where the measuring data lies and how it is read.

Every net is measured on public data that lives outside the repository (its licences are mixed). The folder is
`$PITH_DATA` or, failing that, `../shared/data/dev` beside the checkout. Nothing here resizes or normalises: a reader
returns pictures as RGB bytes and clips as float samples, exactly as stored; `features.py` does the rest.
"""

import functools
import json
import os
import tarfile
import wave
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "peers"
SEED = 20240607


def folder() -> Path:
    """The data folder; stops with one line when it is not there."""
    path = Path(os.environ.get("PITH_DATA", ROOT.parent / "shared" / "data" / "dev"))
    if not (path / "nets").is_dir():
        raise SystemExit(f"no nets/ under {path}: set PITH_DATA to the folder that holds nets/, imagenet/, coco/ ...")
    return path


def net_path(name: str) -> Path:
    return folder() / "nets" / f"{name}.onnx"


def unpacked(archive: Path) -> Path:
    """Unpacks a tar once under build/ and returns the folder."""
    target = WORK / "data" / archive.name.split(".")[0]
    done = target / ".done"
    if not done.exists():
        target.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive) as tar:
            tar.extractall(target, filter="data")
        done.touch()
    return target


def read_picture(path: Path) -> np.ndarray:
    """RGB bytes, height x width x 3; grey and CMYK files are converted."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


@functools.cache
def imagenet() -> list[tuple[Path, int]]:
    """The 650 validation pictures (227 x 227) with their class 0..999, in the order of labels.txt."""
    root = unpacked(folder() / "imagenet" / "images.tar")
    found = {path.name: path for path in root.rglob("*.JPEG")}
    lines = (folder() / "imagenet" / "labels.txt").read_text().split("\n")
    rows = [line.split() for line in lines if line.strip()]
    return [(found[name], int(label)) for name, label in rows]


def shuffled(items: list, seed: int = SEED) -> list:
    """A seeded permutation: the head of it serves as calibration set, so that every peer sees the same samples."""
    order = np.random.default_rng(seed).permutation(len(items))
    return [items[i] for i in order]


CALIBRATION_PICTURES = 150
CALIBRATION_CLIPS = 120


def imagenet_split() -> tuple[list, list]:
    """150 pictures to calibrate on, without their labels, and the other 500 to measure on."""
    rows = shuffled(imagenet())
    return [path for path, _ in rows[:CALIBRATION_PICTURES]], rows[CALIBRATION_PICTURES:]


def cifar10(name: str) -> tuple[np.ndarray, np.ndarray]:
    """CIFAR binary form: one label byte, then 3 x 32 x 32 planar RGB. Returns uint8 N,3,32,32 and N labels."""
    raw = np.frombuffer((folder() / "cifar10" / name).read_bytes(), np.uint8).reshape(-1, 3073)
    return raw[:, 1:].reshape(-1, 3, 32, 32), raw[:, 0].astype(np.int64)


@functools.cache
def coco() -> dict:
    return json.loads((folder() / "coco" / "instances.json").read_text())


def coco_pictures() -> list[tuple[int, Path]]:
    root = folder() / "coco" / "images"
    return [(image["id"], root / image["file_name"]) for image in coco()["images"]]


def persons_present(min_area: float) -> dict[int, int]:
    """Picture id -> 1 where some person's box covers at least `min_area` of the picture."""
    size = {image["id"]: image["width"] * image["height"] for image in coco()["images"]}
    present = dict.fromkeys(size, 0)
    for box in coco()["annotations"]:
        if box["category_id"] == 1 and box["bbox"][2] * box["bbox"][3] >= min_area * size[box["image_id"]]:
            present[box["image_id"]] = 1
    return present


def read_wav(path: Path) -> np.ndarray:
    """16-bit mono 16 kHz as float32 of the integer values, -32768..32767."""
    with wave.open(str(path)) as sound:
        if (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) != (1, 2, 16000):
            raise SystemExit(f"{path}: expected 16-bit mono at 16 kHz")
        return np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.float32)


# The order in which MLPerf Tiny's keyword net numbers its classes.
KEYWORDS = ["down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "_silence_", "_unknown_"]


@functools.cache
def speech_clips() -> list[tuple[Path, int]]:
    """The 600 one-second clips, 50 of each class, as (file, class number)."""
    root = unpacked(folder() / "speech" / "speech-commands-v2-test600.tar.xz")
    return [(path, KEYWORDS.index(path.parent.name)) for path in sorted(root.rglob("*.wav"))]


def speech_split() -> tuple[list, list]:
    """120 clips to calibrate on and the other 480 to measure on."""
    rows = shuffled(speech_clips())
    return [path for path, _ in rows[:CALIBRATION_CLIPS]], rows[CALIBRATION_CLIPS:]
