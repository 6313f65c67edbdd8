"""One task per net: its samples, the preprocessing in words, what is kept of the outputs, and how quality is judged.

A task knows nothing of any inference engine. It is handed `run`, which takes {input name: array} and returns the outputs
in the net's order, one sample at a time, so that every engine computes on exactly the same numbers. Calibration samples
and measured samples are disjoint: pictures nets calibrate on 150 ImageNet pictures whatever they are measured on, the
CIFAR nets on training pictures, the sound nets on 120 clips of their own.

Where no labels fit the net, quality is agreement with the float original in ONNX Runtime, 100 meaning identical.
"""

from typing import Callable, Iterator

import numpy as np

import boxes
import datasets
import features

Run = Callable[[dict[str, np.ndarray]], list[np.ndarray]]

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)


def percent_equal(a, b) -> float:
    return 100.0 * float(np.mean(np.asarray(a) == np.asarray(b)))


class Task:
    """The base: `keys` to measure on, `feed` to make one input, `keep` to reduce one output, `score` to judge.

    `fixed` and `outputs` give the static shapes of inputs and outputs, `constants` the inputs that are folded away,
    `state` the inputs that outputs are fed back to.
    `float_until` names the last operator of a front end that 8-bit quantisers must not touch."""

    net = ""
    outputs: dict[str, list[int]] = {}
    fixed: dict[str, list[int]] = {}
    constants: dict[str, np.ndarray] = {}
    state: dict[str, str] = {}
    float_until = ""
    metric = ""
    preprocessing = ""
    data = ""
    labelled = True

    def keys(self) -> list:
        raise NotImplementedError

    def calibration_keys(self) -> list:
        raise NotImplementedError

    def feed(self, key) -> dict[str, np.ndarray]:
        raise NotImplementedError

    def static(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The inputs that the prepared graph has, in its order: without those that are constants there."""
        return {name: feed[name] for name in self.fixed}

    def keep(self, key, outputs: list[np.ndarray]):
        return outputs[0][0]

    def score(self, keys: list, kept: list) -> dict[str, float]:
        raise NotImplementedError

    def agreement(self, kept: list, reference: list) -> float:
        """Per cent of samples with the same first choice as the float original."""
        return percent_equal([k.argmax() for k in kept], [r.argmax() for r in reference])

    def calibration(self, run: Run) -> Iterator[dict[str, np.ndarray]]:
        for key in self.calibration_keys():
            yield self.feed(key)

    def evaluate(self, run: Run, keys: list | None = None) -> list:
        return [self.keep(key, run(self.feed(key))) for key in (self.keys() if keys is None else keys)]


class MobileNet(Task):
    net, metric = "mobilenetv2-1.0-224", "top1"
    fixed, outputs = {"input": [1, 3, 224, 224]}, {"logits": [1, 1001]}
    data = "imagenet/: 500 pictures not calibrated on"
    preprocessing = "RGB; centre 224 of 227 without resizing, offset floor(3/2) = 1; x/127.5 - 1; NCHW; class = label + 1"

    def keys(self):
        return datasets.imagenet_split()[1]

    def calibration_keys(self):
        return [(path, -1) for path in datasets.imagenet_split()[0]]

    def feed(self, key):
        crop = features.centre_crop(datasets.read_picture(key[0]), 224)
        return {"input": features.planar(crop) / np.float32(127.5) - np.float32(1)}

    def score(self, keys, kept):
        order = np.argsort(-np.stack(kept), axis=1, kind="stable")[:, :5]
        hit = order == np.array([label + 1 for _, label in keys])[:, None]
        return {"top1": 100 * float(hit[:, 0].mean()), "top5": 100 * float(hit.any(1).mean())}


class Yolo(Task):
    net, metric = "yolov5n", "AP"
    fixed, outputs = {"images": [1, 3, 640, 640]}, {"output": [1, 25200, 85]}
    data = "coco/: 79 val2017 pictures, 624 boxes"
    preprocessing = (
        "RGB; long side to 640 (bilinear), centred on 640 x 640 filled with 114; x/255; NCHW; candidates (box, class) with "
        "objectness > .001 and objectness x class > .001, NMS within a class at IoU .6, at most 300 (multi-label)"
    )
    selection = boxes.Selection()

    def keys(self):
        return datasets.coco_pictures()

    def calibration_keys(self):
        return [(0, path) for path in datasets.imagenet_split()[0]]

    def feed(self, key):
        canvas, *_ = features.letterbox(datasets.read_picture(key[1]), 640)
        return {"images": features.planar(canvas) / np.float32(255)}

    def keep(self, key, outputs):
        picture = datasets.read_picture(key[1])
        height, width = picture.shape[:2]
        _, scale, left, top = features.letterbox(picture, 640)
        found = boxes.detect_yolo(outputs[0][0], self.selection)
        found[:, [0, 2]] = np.clip((found[:, [0, 2]] - left) / scale, 0, width)
        found[:, [1, 3]] = np.clip((found[:, [1, 3]] - top) / scale, 0, height)
        return found

    def score(self, keys, kept):
        ap, ap50 = boxes.coco_ap(datasets.coco(), {key[0]: found for key, found in zip(keys, kept)})
        return {"AP": 100 * ap, "AP50": 100 * ap50}

    def agreement(self, kept, reference):
        """F1 of the detections above 0.25, same class and IoU >= .5, in per cent."""
        sure = lambda found: found[found[:, 4] > 0.25]
        apart = lambda found: np.hstack([found[:, :4] + found[:, 5:6] * 8192.0, found[:, 4:]])
        return 100 * boxes.matched_f1([apart(sure(k)) for k in kept], [apart(sure(r)) for r in reference])


class Cifar(Task):
    metric = "top1"
    fixed, outputs = {"input": [1, 3, 32, 32]}, {"logits": [1, 10]}
    data = "cifar10/test1000.bin"

    def keys(self):
        pictures, labels = datasets.cifar10("test1000.bin")
        return list(zip(pictures, labels))

    def calibration_keys(self):
        return [(picture, -1) for picture in datasets.shuffled(list(datasets.cifar10("train4000.bin")[0]))[:512]]

    def score(self, keys, kept):
        return {"top1": percent_equal([k.argmax() for k in kept], [label for _, label in keys])}


class ResNet20(Cifar):
    net = "cifar-resnet20"
    preprocessing = "RGB/255, minus (.485 .456 .406), over (.229 .224 .225); NCHW, 32 x 32 as stored"

    def feed(self, key):
        return {"input": (key[0][None].astype(np.float32) / np.float32(255) - IMAGENET_MEAN) / IMAGENET_STD}


class ResNet8(Cifar):
    net = "mlperf-tiny-resnet8"
    preprocessing = "RGB 0..255 as float; NCHW, 32 x 32 as stored"

    def feed(self, key):
        return {"input": key[0][None].astype(np.float32)}


class VisualWakeWords(Task):
    net, metric = "mlperf-tiny-vww", "accuracy"
    fixed, outputs = {"input": [1, 3, 96, 96]}, {"logits": [1, 2]}
    data = "coco/: 79 val2017 pictures, person = a box of at least 0.5 % of the picture"
    preprocessing = "RGB; resized to 96 x 96 bilinear with antialiasing, aspect not kept; x/255; NCHW; class 1 = person"

    def keys(self):
        return datasets.coco_pictures()

    def calibration_keys(self):
        return [(0, path) for path in datasets.imagenet_split()[0]]

    def feed(self, key):
        return {"input": features.planar(features.resize(datasets.read_picture(key[1]), 96, 96)) / np.float32(255)}

    def score(self, keys, kept):
        said = [k.argmax() for k in kept]
        return {
            "accuracy": percent_equal(said, [datasets.persons_present(0.005)[i] for i, _ in keys]),
            "accuracy, boxes of at least 2.5 %": percent_equal(said, [datasets.persons_present(0.025)[i] for i, _ in keys]),
        }


class Keywords(Task):
    net, metric = "mlperf-tiny-kws", "accuracy"
    fixed, outputs = {"input": [1, 1, 49, 10]}, {"logits": [1, 12]}
    data = "speech/: 480 clips not calibrated on"
    preprocessing = (
        "16 kHz samples over the clip's largest sample (max, not max |x|), zero-padded to 16000; frames of 480 every 320, "
        "periodic Hann, FFT 512, magnitude; 40 HTK mel bands 20-4000 Hz; log(x + 1e-6); DCT-II times "
        "sqrt(2/40), coefficient 0 too; first 10; 1,1,49,10"
    )

    def keys(self):
        return datasets.speech_split()[1]

    def calibration_keys(self):
        return [(path, -1) for path in datasets.speech_split()[0]]

    def feed(self, key):
        return {"input": features.mfcc(datasets.read_wav(key[0]))[None, None]}

    def score(self, keys, kept):
        return {"accuracy": percent_equal([k.argmax() for k in kept], [label for _, label in keys])}


class Anomaly(Task):
    net, metric, labelled = "mlperf-tiny-ad", "agreement", False
    fixed, outputs = {"input": [1, 640]}, {"reconstruction": [1, 640]}
    data = "speech/: 480 clips not calibrated on, 7 windows of each"
    preprocessing = (
        "x/32768; frames of 1024 every 512 over the clip zero-padded by 512 at both ends, periodic Hann, power; 128 Slaney mel "
        "bands 0-8000 Hz with area normalisation; 10 log10(x + 2.2e-16); 5 frames in a row, oldest first, as 640; every 4th window"
    )

    @staticmethod
    def windows(paths) -> list[np.ndarray]:
        return [w for path in paths for w in features.log_mel_windows(datasets.read_wav(path) / 32768.0)[::4]]

    def keys(self):
        return self.windows(path for path, _ in datasets.speech_split()[1])

    def calibration_keys(self):
        return self.windows(datasets.speech_split()[0])

    def feed(self, key):
        return {"input": key[None]}

    def score(self, keys, kept):
        error = np.mean((np.stack(keys) - np.stack(kept)) ** 2, axis=1)
        return {"mean squared reconstruction error": float(error.mean())}

    def agreement(self, kept, reference):
        """100 (1 - relative L2 error of the reconstruction)."""
        a, b = np.stack(kept).astype(np.float64), np.stack(reference).astype(np.float64)
        return 100 * (1 - float(np.linalg.norm(a - b) / np.linalg.norm(b)))


class SileroVad(Task):
    net, metric, labelled = "silero_vad_16k", "agreement", False
    fixed, outputs = {"input": [1, 576], "state": [2, 1, 128]}, {"output": [1, 1], "stateN": [2, 1, 128]}
    constants = {"sr": np.array(16000, np.int64)}
    state = {"state": "stateN"}
    float_until = "Sqrt"  # the Fourier transform and its magnitude: 8 bits there leave 61 % agreement
    data = "speech/silero_test.wav: 1875 chunks of 32 ms"
    preprocessing = (
        "x/32768; chunks of 512 samples, each preceded by the last 64 of the chunk before (zeros at first): 1,576; state "
        "2,1,128 starts at zero and is fed back; sr = 16000 (int64 scalar); speech = probability > .5"
    )

    @staticmethod
    def chunks(samples: np.ndarray) -> list[np.ndarray]:
        padded = np.concatenate([np.zeros(64, np.float32), samples / np.float32(32768)])
        return [padded[i : i + 576] for i in range(0, len(padded) - 575, 512)]

    def stream(self, run: Run, chunks: list[np.ndarray]):
        """Feeds the chunks in turn; yields (feed, probability)."""
        state = np.zeros((2, 1, 128), np.float32)
        for chunk in chunks:
            feed = {"input": chunk[None], "state": state, **self.constants}
            probability, state = run(feed)
            yield feed, float(np.ravel(probability)[0])

    def keys(self):
        return self.chunks(datasets.read_wav(datasets.folder() / "speech" / "silero_test.wav"))

    def calibration_keys(self):
        clips = [datasets.read_wav(path) for path in datasets.speech_split()[0]]
        return self.chunks(np.concatenate(clips))[:512]

    def feed(self, key):
        return {"input": key[None], "state": np.zeros((2, 1, 128), np.float32), **self.constants}

    def calibration(self, run):
        for feed, _ in self.stream(run, self.calibration_keys()):
            yield feed

    def evaluate(self, run, keys=None):
        return [np.array(p) for _, p in self.stream(run, self.keys() if keys is None else keys)]

    def score(self, keys, kept):
        return {
            "speech, % of chunks": 100 * float(np.mean(np.array(kept) > 0.5)),
            "mean speech probability": float(np.mean(kept)),
        }

    def agreement(self, kept, reference):
        """Per cent of chunks with the same decision at .5."""
        return percent_equal(np.array(kept) > 0.5, np.array(reference) > 0.5)


class UltraFace(Task):
    net, metric, labelled = "ultraface-rfb-320", "agreement", False
    fixed, outputs = {"input": [1, 3, 240, 320]}, {"scores": [1, 4420, 2], "boxes": [1, 4420, 4]}
    data = "coco/: 79 val2017 pictures"
    preprocessing = (
        "RGB; resized to 320 wide x 240 high bilinear with antialiasing, aspect not kept; (x - 127)/128; NCHW; faces = score > .7 "
        "after NMS of those over .05 at IoU .3"
    )

    def keys(self):
        return datasets.coco_pictures()

    def calibration_keys(self):
        return [(0, path) for path in datasets.imagenet_split()[0]]

    def feed(self, key):
        small = features.resize(datasets.read_picture(key[1]), 240, 320)
        return {"input": (features.planar(small) - np.float32(127)) / np.float32(128)}

    def keep(self, key, outputs):
        return boxes.detect_faces(outputs[0][0], outputs[1][0], 0.05, 0.3)

    def score(self, keys, kept):
        return {"faces found": float(sum((k[:, 4] > 0.7).sum() for k in kept))}

    def agreement(self, kept, reference):
        """AP50 in per cent, the float original's faces with a score over .7 being the truth."""
        return 100 * boxes.average_precision(kept, [faces[faces[:, 4] > 0.7] for faces in reference])


TASKS: dict[str, Task] = {
    task.net: task
    for task in (
        MobileNet(), Yolo(), ResNet20(), ResNet8(), VisualWakeWords(), Keywords(), Anomaly(), SileroVad(), UltraFace(),
    )
}  # fmt: skip
