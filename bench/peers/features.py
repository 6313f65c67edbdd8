"""Turns pictures and clips into what each net was trained on.

Pictures: centre crop, plain resize, and the YOLO letterbox (Ultralytics v6.0: scale to fit, centre, fill with 114).
Sound: the MFCC and log-mel front ends of MLPerf Tiny, restated in numpy from TensorFlow's documented `tf.signal`
operations (stft with a periodic Hann window, HTK mel scale, orthonormal DCT-II) and from librosa's documented defaults
(zero-padded centred frames, Slaney mel scale with area normalisation).
"""

import functools

import numpy as np
from PIL import Image


def planar(picture: np.ndarray) -> np.ndarray:
    """H,W,3 bytes -> 1,3,H,W float32."""
    return np.ascontiguousarray(picture.transpose(2, 0, 1)[None], np.float32)


def centre_crop(picture: np.ndarray, side: int) -> np.ndarray:
    """The middle square; where the margin is odd, the smaller half is on the left and on top."""
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]


def resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with the filter widened when shrinking (PIL's BILINEAR), aspect ratio not kept."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))


def letterbox(picture: np.ndarray, side: int) -> tuple[np.ndarray, float, int, int]:
    """Fits the picture into a square, centred, the rest filled with 114. Returns it with scale, left and top margin."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    inner_h, inner_w = round(height * scale), round(width * scale)
    top, left = round((side - inner_h) / 2 - 0.1), round((side - inner_w) / 2 - 0.1)
    canvas = np.full((side, side, 3), 114, np.uint8)
    canvas[top : top + inner_h, left : left + inner_w] = resize(picture, inner_h, inner_w)
    return canvas, scale, left, top


def frames(samples: np.ndarray, length: int, step: int) -> np.ndarray:
    """Overlapping frames without padding, count x length."""
    count = 1 + (len(samples) - length) // step
    index = np.arange(length)[None] + step * np.arange(count)[:, None]
    return samples[index]


def periodic_hann(length: int) -> np.ndarray:
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def htk_mel(hertz):
    return 1127.0 * np.log1p(np.asarray(hertz, np.float64) / 700.0)


@functools.cache
def htk_filters(bands: int, bins: int, rate: int, low: float, high: float) -> np.ndarray:
    """`tf.signal.linear_to_mel_weight_matrix`: triangles that are linear in mel, bins x bands, DC row zero."""
    position = htk_mel(np.linspace(0.0, rate / 2, bins)[1:])[:, None]
    edges = np.linspace(htk_mel(low), htk_mel(high), bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (position - lower) / (centre - lower), (upper - position) / (upper - centre)
    return np.vstack([np.zeros((1, bands)), np.maximum(0.0, np.minimum(rising, falling))])


def dct2(rows: np.ndarray) -> np.ndarray:
    """Unnormalised DCT-II times sqrt(2/N): what `tf.signal.mfccs_from_log_mel_spectrograms` computes."""
    n = rows.shape[-1]
    basis = np.cos(np.pi / n * (np.arange(n)[:, None] + 0.5) * np.arange(n)[None])
    return rows @ basis * np.sqrt(2.0 / n)


def mfcc(samples: np.ndarray, scale: str = "peak") -> np.ndarray:
    """49 x 10 MFCC of one second at 16 kHz: 480-sample frames every 320, FFT of 512, magnitudes, 40 HTK mel bands
    from 20 to 4000 Hz, log(x + 1e-6), first 10 coefficients.

    `scale`: "peak" divides by the largest sample (not the largest magnitude), as MLPerf Tiny's training did;
    "int16" divides by 32768.
    """
    divisor = 32768.0
    if scale == "peak":
        divisor = float(samples.max()) or 1.0
    clip = np.zeros(16000)
    clip[: min(16000, len(samples))] = samples[:16000] / divisor
    spectrum = np.abs(np.fft.rfft(frames(clip, 480, 320) * periodic_hann(480), 512))
    bands = spectrum @ htk_filters(40, 257, 16000, 20.0, 4000.0)
    return dct2(np.log(bands + 1e-6))[:, :10].astype(np.float32)


def slaney_mel(hertz):
    """Linear below 1 kHz, logarithmic above."""
    hertz = np.asarray(hertz, np.float64)
    return np.where(hertz < 1000.0, hertz * 3 / 200, 15 + 27 * np.log(np.maximum(hertz, 1.0) / 1000) / np.log(6.4))


def slaney_hertz(mel):
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


@functools.cache
def slaney_filters(bands: int, fft: int, rate: int) -> np.ndarray:
    """librosa's default mel filters: triangles linear in hertz, each scaled by 2 / its width; bins x bands."""
    edges = slaney_hertz(np.linspace(0.0, slaney_mel(rate / 2), bands + 2))
    hertz = np.linspace(0.0, rate / 2, fft // 2 + 1)[:, None]
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hertz - lower) / (centre - lower), (upper - hertz) / (upper - centre)
    return np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (upper - lower))


def log_mel_windows(samples: np.ndarray) -> np.ndarray:
    """MLPerf Tiny's anomaly front end: 128 mel bands of the power spectrum (FFT 1024, hop 512, zero-padded centred
    frames), 10 log10, then every 5 frames in a row as one vector of 640. Samples in -1..1; windows x 640."""
    padded = np.pad(samples.astype(np.float64), 512)
    power = np.abs(np.fft.rfft(frames(padded, 1024, 512) * periodic_hann(1024))) ** 2
    level = 10 * np.log10(power @ slaney_filters(128, 1024, 16000) + np.finfo(np.float64).eps)
    count = len(level) - 4
    return np.stack([level[i : i + 5].reshape(-1) for i in range(count)]).astype(np.float32)
