"""Small networks of each kind of picture model, with seeded random weights: structure as the families have it."""

import torch
import torch.nn.functional as F
from torch import nn


def conv(i, o, k=3, s=1, g=1, act=nn.SiLU):
    layers = [nn.Conv2d(i, o, k, s, (k - 1) // 2, groups=g, bias=False), nn.BatchNorm2d(o)]
    return nn.Sequential(*layers, *([act()] if act else []))


class SqueezeExcite(nn.Module):
    def __init__(self, c, gate):
        super().__init__()
        self.down, self.up, self.gate = nn.Conv2d(c, c // 4, 1), nn.Conv2d(c // 4, c, 1), gate()

    def forward(self, x):
        return x * self.gate(self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1)))))


class Inverted(nn.Module):
    def __init__(self, i, o, s, act, gate):
        super().__init__()
        m = i * 4
        self.body = nn.Sequential(conv(i, m, 1, act=act), conv(m, m, 3, s, m, act), SqueezeExcite(m, gate), conv(m, o, 1, act=None))
        self.skip = s == 1 and i == o

    def forward(self, x):
        return x + self.body(x) if self.skip else self.body(x)


class MobileNetV3(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 8, 3, 2, act=nn.Hardswish), Inverted(8, 8, 1, nn.Hardswish, nn.Hardsigmoid), Inverted(8, 16, 2, nn.ReLU, nn.Hardsigmoid))
        self.head = nn.Sequential(nn.Linear(16, 32), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(32, 10))

    def forward(self, x):
        return self.head(self.body(x).mean([2, 3]))


class EfficientNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 8, 3, 2), Inverted(8, 8, 1, nn.SiLU, nn.Sigmoid), Inverted(8, 16, 2, nn.SiLU, nn.Sigmoid))
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        return self.head(torch.flatten(F.adaptive_avg_pool2d(self.body(x), 1), 1))


def shuffle(x, groups):
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


class ShuffleNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv(3, 16, 3, 2, act=nn.ReLU)
        self.branch = nn.Sequential(conv(8, 8, 1, act=nn.ReLU), conv(8, 8, 3, 1, 8, act=None), conv(8, 8, 1, act=nn.ReLU))
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = F.max_pool2d(self.stem(x), 3, 2, 1)
        a, b = x.chunk(2, 1)
        return self.head(shuffle(torch.cat([a, self.branch(b)], 1), 2).mean([2, 3]))


class ConvNext(nn.Module):
    """Layer normalisation over channels, written as the channels-last and the channels-first form."""

    def __init__(self):
        super().__init__()
        self.stem, self.depth = nn.Conv2d(3, 16, 4, 4), nn.Conv2d(16, 16, 7, 1, 3, groups=16)
        self.norm, self.up, self.down, self.gamma = nn.LayerNorm(16), nn.Linear(16, 64), nn.Linear(64, 16), nn.Parameter(torch.full((16,), 0.5))
        self.scale, self.shift, self.head = nn.Parameter(torch.ones(16)), nn.Parameter(torch.zeros(16)), nn.Linear(16, 10)

    def forward(self, x):
        x = self.stem(x)
        mean = x.mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt((x - mean).pow(2).mean(1, keepdim=True) + 1e-6)
        x = self.scale[:, None, None] * x + self.shift[:, None, None]
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        x = x + y.permute(0, 3, 1, 2)
        return self.head(x.mean([2, 3]))


class Bottleneck(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.a, self.b = conv(c, c, 1), conv(c, c)

    def forward(self, x):
        return x + self.b(self.a(x))


class Backbone(nn.Module):
    """Three scales, with spatial pyramid pooling and a top-down path."""

    def __init__(self, stem):
        super().__init__()
        self.stem, self.c2, self.c3, self.c4 = stem, conv(8, 16, 3, 2), conv(16, 24, 3, 2), conv(24, 32, 3, 2)
        self.b2, self.b3, self.spp = Bottleneck(16), Bottleneck(24), conv(128, 32, 1)
        self.up3, self.up2 = conv(56, 24, 1), conv(40, 16, 1)

    def forward(self, x):
        p2 = self.b2(self.c2(self.stem(x)))
        p3 = self.b3(self.c3(p2))
        p4 = self.c4(p3)
        pools = [p4]
        for _ in range(3):
            pools.append(F.max_pool2d(pools[-1], 5, 1, 2))
        p4 = self.spp(torch.cat(pools, 1))
        p3 = self.up3(torch.cat([F.interpolate(p4, scale_factor=2.0), p3], 1))
        p2 = self.up2(torch.cat([F.interpolate(p3, scale_factor=2.0), p2], 1))
        return p2, p3, p4


def grid(h, w):
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    return torch.stack((x, y), 2).view(1, 1, h, w, 2).float()


class YoloV5(nn.Module):
    classes = 5

    def __init__(self):
        super().__init__()
        self.backbone = Backbone(conv(3, 8, 6, 2))
        self.heads = nn.ModuleList(nn.Conv2d(c, 3 * (5 + self.classes), 1) for c in (16, 24, 32))
        self.register_buffer("anchors", torch.rand(3, 1, 3, 1, 1, 2) * 30 + 5)

    def forward(self, x):
        found = []
        for i, (head, p) in enumerate(zip(self.heads, self.backbone(x))):
            y = head(p)
            n, _, h, w = y.shape
            y = y.view(n, 3, 5 + self.classes, h, w).permute(0, 1, 3, 4, 2).contiguous().sigmoid()
            xy, wh, conf = y.split((2, 2, self.classes + 1), 4)
            xy = (xy * 2 + grid(h, w) - 0.5) * float(4 * 2**i)
            wh = (wh * 2) ** 2 * self.anchors[i]
            found.append(torch.cat((xy, wh, conf), 4).view(n, 3 * h * w, 5 + self.classes))
        return torch.cat(found, 1)


class YoloV8(nn.Module):
    classes, bins = 5, 8

    def __init__(self):
        super().__init__()
        self.backbone = Backbone(conv(3, 8, 3, 2))
        self.boxes = nn.ModuleList(nn.Sequential(conv(c, 16), nn.Conv2d(16, 4 * self.bins, 1)) for c in (16, 24, 32))
        self.scores = nn.ModuleList(nn.Sequential(conv(c, 16), nn.Conv2d(16, self.classes, 1)) for c in (16, 24, 32))
        self.dfl = nn.Conv2d(self.bins, 1, 1, bias=False).requires_grad_(False)
        self.dfl.weight.data[:] = torch.arange(self.bins, dtype=torch.float).view(1, self.bins, 1, 1)

    def forward(self, x):
        maps = [torch.cat((b(p), s(p)), 1) for p, b, s in zip(self.backbone(x), self.boxes, self.scores)]
        points = torch.cat([(grid(m.shape[2], m.shape[3]) + 0.5).view(-1, 2) for m in maps]).t()[None]
        strides = torch.cat([torch.full((m.shape[2] * m.shape[3],), 4.0 * 2**i) for i, m in enumerate(maps)])
        x = torch.cat([m.view(m.shape[0], 4 * self.bins + self.classes, -1) for m in maps], 2)
        box, score = x.split((4 * self.bins, self.classes), 1)
        n, _, a = box.shape
        box = self.dfl(box.view(n, 4, self.bins, a).transpose(2, 1).softmax(1)).view(n, 4, a)
        low, high = box.chunk(2, 1)
        low, high = points - low, points + high
        return torch.cat((torch.cat(((low + high) / 2, high - low), 1) * strides, score.sigmoid()), 1)


class YoloX(nn.Module):
    """Space-to-depth stem and a decoupled head without anchors."""

    classes = 5

    class Focus(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv(12, 8)

        def forward(self, x):
            return self.conv(torch.cat((x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]), 1))

    def __init__(self):
        super().__init__()
        self.backbone = Backbone(self.Focus())
        self.stems = nn.ModuleList(conv(c, 16, 1) for c in (16, 24, 32))
        self.scores, self.boxes = nn.ModuleList(nn.Conv2d(16, self.classes, 1) for _ in range(3)), nn.ModuleList(nn.Conv2d(16, 4, 1) for _ in range(3))
        self.objects = nn.ModuleList(nn.Conv2d(16, 1, 1) for _ in range(3))

    def forward(self, x):
        found = []
        for i, p in enumerate(self.backbone(x)):
            p = self.stems[i](p)
            y = torch.cat([self.boxes[i](p), self.objects[i](p).sigmoid(), self.scores[i](p).sigmoid()], 1)
            place, stride = grid(y.shape[2], y.shape[3]).view(1, -1, 2), 4.0 * 2**i
            y = y.flatten(2).permute(0, 2, 1)
            found.append(torch.cat([(y[..., :2] + place) * stride, torch.exp(y[..., 2:4]) * stride, y[..., 4:]], -1))
        return torch.cat(found, 1)


class DeepLab(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU6), conv(16, 24, 3, 2, act=nn.ReLU6))
        self.branches = nn.ModuleList(nn.Conv2d(24, 8, 3, padding=d, dilation=d) for d in (1, 2, 4))
        self.pool, self.head = nn.Conv2d(24, 8, 1), nn.Conv2d(32, 6, 1)

    def forward(self, x):
        y = self.body(x)
        pooled = F.interpolate(self.pool(F.adaptive_avg_pool2d(y, 1)), size=y.shape[2:], mode="bilinear", align_corners=False)
        y = self.head(torch.cat([b(y) for b in self.branches] + [pooled], 1))
        return F.interpolate(y, size=x.shape[2:], mode="bilinear", align_corners=False).argmax(1)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = conv(1, 8, act=nn.ReLU), conv(8, 16, act=nn.ReLU), conv(16, 32, act=nn.ReLU)
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, 2), nn.ConvTranspose2d(16, 8, 2, 2)
        self.d2, self.d1, self.head = conv(32, 16, act=nn.ReLU), conv(16, 8, act=nn.ReLU), nn.Conv2d(8, 2, 1)

    def forward(self, x):
        a = self.a(x)
        b = self.b(F.max_pool2d(a, 2))
        c = self.c(F.max_pool2d(b, 2))
        b = self.d2(torch.cat([self.up2(c), b], 1))
        return F.softmax(self.head(self.d1(torch.cat([self.up1(b), a], 1))), 1)


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c, self.slope = nn.Conv2d(3, 16, 5, padding=2), nn.Conv2d(16, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1), nn.PReLU(16)

    def forward(self, x):
        y = self.slope(self.b(F.leaky_relu(self.a(x), 0.1)))
        return torch.clamp(F.pixel_shuffle(self.c(y), 2) + F.interpolate(x, scale_factor=2.0, mode="bicubic", align_corners=False), 0, 1)


class Pose(nn.Module):
    """Heat maps read by the expectation of a soft maximum, and their highest places."""

    def __init__(self):
        super().__init__()
        self.body, self.up, self.head = nn.Sequential(conv(3, 16, 3, 2, act=nn.ReLU), conv(16, 16, 3, 2, act=nn.ReLU)), nn.ConvTranspose2d(16, 16, 4, 2, 1), nn.Conv2d(16, 5, 1)

    def forward(self, x):
        y = self.head(F.relu(self.up(self.body(x))))
        n, k, h, w = y.shape
        flat = y.view(n, k, h * w)
        p = flat.softmax(2).view(n, k, h, w)
        px, py = (p.sum(2) * torch.arange(w).float()).sum(2), (p.sum(3) * torch.arange(h).float()).sum(2)
        best, place = flat.max(2)
        return torch.stack([px, py], 2), best, place


class TextReader(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(conv(1, 8, act=nn.ReLU), nn.MaxPool2d(2), conv(8, 16, act=nn.ReLU), nn.MaxPool2d((2, 1), (2, 1)), nn.Conv2d(16, 24, (4, 1)))
        self.rnn, self.head = nn.LSTM(24, 16, bidirectional=True), nn.Linear(32, 20)

    def forward(self, x):
        y = self.body(x).squeeze(2).permute(2, 0, 1)
        return F.log_softmax(self.head(self.rnn(y)[0]), 2)


def models():
    """name -> (module, inputs, whole operators that fusion must find)"""
    image = torch.rand(1, 3, 64, 64)
    return {
        "classifier_mobilenet_v3": (MobileNetV3(), (image,), ["HardSigmoid", "hardswish"]),
        "classifier_efficientnet": (EfficientNet(), (image,), ["silu"]),
        "classifier_shufflenet": (ShuffleNet(), (image,), ["ChannelShuffle"]),
        "classifier_convnext": (ConvNext(), (image,), ["LayerNormalization", "gelu"]),
        "detector_yolov5": (YoloV5(), (image,), ["silu"]),
        "detector_yolov8": (YoloV8(), (image,), ["silu", "Softmax"]),
        "detector_yolox": (YoloX(), (image,), ["silu"]),
        "segmentation_deeplab": (DeepLab(), (image,), ["Resize", "ArgMax"]),
        "segmentation_unet": (UNet(), (torch.rand(1, 1, 32, 32),), ["ConvTranspose", "Softmax"]),
        "super_resolution": (SuperResolution(), (torch.rand(1, 3, 20, 16),), ["DepthToSpace", "Resize"]),
        "pose": (Pose(), (image,), ["ConvTranspose", "Softmax"]),
        "text_reading": (TextReader(), (torch.rand(1, 1, 16, 64),), ["LSTM", "LogSoftmax"]),
    }
