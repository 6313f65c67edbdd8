"""The line reader's network: a fully convolutional CTC recogniser, and its way out to ONNX.

Five convolutions shrink a 32 x W picture to one row of W/4 columns; two residual blocks, one in the plane and one along the row,
give each column about 90 pixels of context, in place of the recurrent layer of the usual CRNN (Shi, Bai, Yao 2015,
arXiv:1507.05717). Every layer is a plain convolution with a ReLU, so that eight-bit execution has nothing to approximate. Each column
yields 96 logits: index 0 is CTC's blank (Graves et al. 2006), index k is the character chr(0x1f + k).
"""

import torch
from torch import nn

CLASSES = 96


class ConvBlock(nn.Module):
    """Convolution without bias, batch normalisation, and a ReLU where `active`."""

    def __init__(self, inputs, outputs, kernel, stride=1, padding=None, active=True):
        super().__init__()
        kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        padding = (kernel[0] // 2, kernel[1] // 2) if padding is None else padding
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.active = active

    def forward(self, x):
        x = self.norm(self.conv(x))
        return torch.relu(x) if self.active else x

    def fold(self):
        """Moves the normalisation into the convolution, for good: y = g (conv(x) - mean) / sqrt(var + eps) + b."""
        self.conv = nn.utils.fusion.fuse_conv_bn_eval(self.conv, self.norm)
        self.norm = nn.Identity()


class Residual(nn.Module):
    def __init__(self, channels, kernel):
        super().__init__()
        self.first = ConvBlock(channels, channels, kernel)
        self.second = ConvBlock(channels, channels, kernel, active=False)

    def forward(self, x):
        return torch.relu(x + self.second(self.first(x)))


class LineReader(nn.Module):
    """float [N, 1, 32, W] with W a multiple of 4, values (pixel - 127.5) / 127.5 -> logits [N, W/4, 96]."""

    def __init__(self, widths=(16, 24, 48, 80, 160)):
        super().__init__()
        a, b, c, d, e = widths
        self.layers = nn.Sequential(
            ConvBlock(1, a, 3, stride=2),                  # 16 x W/2
            ConvBlock(a, b, 3), nn.MaxPool2d(2),           # 8 x W/4
            ConvBlock(b, c, 3), nn.MaxPool2d((2, 1)),      # 4 x W/4
            ConvBlock(c, d, 3), nn.MaxPool2d((2, 1)),      # 2 x W/4
            Residual(d, 3),
            ConvBlock(d, e, (2, 1), padding=0),            # 1 x W/4
            Residual(e, (1, 5)),
            nn.Conv2d(e, CLASSES, 1))

    def forward(self, x):
        return self.layers(x).squeeze(2).transpose(1, 2)


def export_onnx(model, path, width):
    """Writes `model` (eval mode, fixed input [1, 1, 32, width]) with its normalisations folded; the model itself is changed."""
    model.eval()
    for module in model.modules():
        if isinstance(module, ConvBlock):
            module.fold()
    torch.onnx.export(model, torch.zeros(1, 1, 32, width), path, opset_version=13, input_names=["picture"], output_names=["logits"])
