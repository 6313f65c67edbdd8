"""Small networks of each kind of sequence model, with seeded random weights: sound, and transformers of each family."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class KeywordSpotter(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 16, (10, 4), (2, 2), (4, 1)), nn.BatchNorm2d(16), nn.ReLU())
        self.body = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, 12)

    def forward(self, x):
        return F.softmax(self.head(F.avg_pool2d(self.body(self.stem(x)), (24, 5)).flatten(1)), 1)


class TemporalConvolutions(nn.Module):
    """One-dimensional, dilated, causal, gated."""

    def __init__(self):
        super().__init__()
        self.filters = nn.ModuleList(nn.Conv1d(8, 16, 3, dilation=d) for d in (1, 2, 4))
        self.head = nn.Conv1d(8, 4, 1)

    def forward(self, x):
        for c in self.filters:
            a, b = c(F.pad(x, (2 * c.dilation[0], 0))).chunk(2, 1)
            x = x + torch.tanh(a) * torch.sigmoid(b)
        return self.head(x)


class StatefulLstm(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(10, 12, 2), nn.Linear(12, 10)

    def forward(self, x, h, c):
        y, (h, c) = self.rnn(x, (h, c))
        return torch.sigmoid(self.head(y)), h, c


class StatefulGru(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.rnn, self.head = nn.Linear(8, 10), nn.GRU(10, 12, batch_first=True), nn.Linear(12, 8)

    def forward(self, x, h):
        y, h = self.rnn(torch.tanh(self.up(x)), h)
        return x * torch.sigmoid(self.head(y)), h


def heads(x, n):
    b, t, d = x.shape
    return x.view(b, t, n, d // n).transpose(1, 2)


def joined(x):
    b, n, t, d = x.shape
    return x.transpose(1, 2).reshape(b, t, n * d)


class BertLayer(nn.Module):
    def __init__(self, d, n):
        super().__init__()
        self.n = n
        self.q, self.k, self.v, self.o = (nn.Linear(d, d) for _ in range(4))
        self.up, self.down, self.norm1, self.norm2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d), nn.LayerNorm(d), nn.LayerNorm(d)

    def forward(self, x, mask):
        q, k, v = heads(self.q(x), self.n), heads(self.k(x), self.n), heads(self.v(x), self.n)
        s = torch.matmul(q, k.transpose(-1, -2)) / math.sqrt(q.shape[-1]) + mask
        x = self.norm1(x + self.o(joined(torch.matmul(s.softmax(-1), v))))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    def __init__(self):
        super().__init__()
        self.words, self.places, self.types, self.norm = nn.Embedding(50, 32), nn.Embedding(24, 32), nn.Embedding(2, 32), nn.LayerNorm(32)
        self.layers, self.pool = nn.ModuleList(BertLayer(32, 4) for _ in range(2)), nn.Linear(32, 32)
        self.register_buffer("positions", torch.arange(24)[None])

    def embed(self, ids, types):
        return self.norm(self.words(ids) + self.types(types) + self.places(self.positions[:, : ids.shape[1]]))

    def forward(self, ids, mask, types):
        x, bias = self.embed(ids, types), (1.0 - mask[:, None, None, :].float()) * torch.finfo(torch.float32).min
        for layer in self.layers:
            x = layer(x, bias)
        return x, torch.tanh(self.pool(x[:, 0]))


class Roberta(Bert):
    """Positions count the words that aren't padding."""

    def forward(self, ids, mask):
        kept = ids.ne(1).int()
        place = (torch.cumsum(kept, 1).type_as(kept) * kept).long() + 1
        x = self.norm(self.words(ids) + self.places(place))
        bias = (1.0 - mask[:, None, None, :].float()) * -10000.0
        for layer in self.layers:
            x = layer(x, bias)
        return x


def tanh_gelu(x):
    return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * torch.pow(x, 3.0))))


class Gpt2(nn.Module):
    """One layer with its keys and values of before as inputs and outputs; matrices as x W + b."""

    def __init__(self, d=32, n=4):
        super().__init__()
        self.n, self.words, self.places = n, nn.Embedding(50, d), nn.Embedding(24, d)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(d), nn.LayerNorm(d), nn.LayerNorm(d)
        self.qkv, self.out, self.up = (nn.Parameter(torch.randn(d, m) * 0.1) for m in (3 * d, d, 4 * d))
        self.qkv_bias, self.down = nn.Parameter(torch.randn(3 * d) * 0.1), nn.Parameter(torch.randn(4 * d, d) * 0.1)
        self.register_buffer("causal", torch.tril(torch.ones(24, 24)).bool()[None, None])

    def forward(self, ids, past_k, past_v):
        before, now = past_k.shape[2], ids.shape[1]
        x = self.words(ids) + self.places(torch.arange(before, before + now))[None]
        y = self.norm1(x)
        q, k, v = torch.addmm(self.qkv_bias, y.view(-1, y.shape[-1]), self.qkv).view(1, now, -1).split(32, 2)
        q, k, v = heads(q, self.n), torch.cat((past_k, heads(k, self.n)), 2), torch.cat((past_v, heads(v, self.n)), 2)
        s = torch.matmul(q, k.transpose(-1, -2)) / (float(v.shape[-1]) ** 0.5)
        s = torch.where(self.causal[:, :, before : before + now, : before + now], s, torch.tensor(torch.finfo(torch.float32).min))
        x = x + torch.matmul(joined(torch.matmul(s.softmax(-1), v)), self.out)
        x = x + torch.matmul(tanh_gelu(torch.matmul(self.norm2(x), self.up)), self.down)
        return torch.matmul(self.norm3(x), self.words.weight.t()), k, v


class RmsNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(d) + 0.5)

    def forward(self, x):
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat((-x[..., half:], x[..., :half]), -1) * sin


class Llama(nn.Module):
    """Rotary positions, grouped heads, gated feed-forward."""

    def __init__(self, d=32, n=4, kv=2, longest=16):
        super().__init__()
        self.n, self.kv, self.words = n, kv, nn.Embedding(50, d)
        self.norm1, self.norm2, self.norm3, m = RmsNorm(d), RmsNorm(d), RmsNorm(d), d // n
        self.q, self.k, self.v, self.o = nn.Linear(d, d, False), nn.Linear(d, kv * m, False), nn.Linear(d, kv * m, False), nn.Linear(d, d, False)
        self.gate, self.up, self.down, self.head = nn.Linear(d, 64, False), nn.Linear(d, 64, False), nn.Linear(64, d, False), nn.Linear(d, 50, False)
        angle = torch.outer(torch.arange(longest).float(), 1.0 / (10000.0 ** (torch.arange(0, m, 2).float() / m)))
        self.register_buffer("cos", torch.cat((angle, angle), -1).cos())
        self.register_buffer("sin", torch.cat((angle, angle), -1).sin())

    def attend(self, x):
        t = x.shape[1]
        q, k, v = heads(self.q(x), self.n), heads(self.k(x), self.kv), heads(self.v(x), self.kv)
        cos, sin = self.cos[:t][None, None], self.sin[:t][None, None]
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        repeat = self.n // self.kv
        k, v = (z[:, :, None].expand(1, self.kv, repeat, t, z.shape[-1]).reshape(1, self.n, t, z.shape[-1]) for z in (k, v))
        s = torch.matmul(q, k.transpose(2, 3)) / math.sqrt(q.shape[-1])
        s = s + torch.triu(torch.full((t, t), torch.finfo(torch.float32).min), diagonal=1)
        return self.o(joined(torch.matmul(F.softmax(s, -1), v)))

    def forward(self, ids):
        x = self.words(ids)
        x = x + self.attend(self.norm1(x))
        y = self.norm2(x)
        x = x + self.down(F.silu(self.gate(y)) * self.up(y))
        return self.head(self.norm3(x))


class PreNormLayer(nn.Module):
    def __init__(self, d, n, key_bias=True):
        super().__init__()
        self.n, self.norm1, self.norm2 = n, nn.LayerNorm(d), nn.LayerNorm(d)
        self.q, self.k, self.v, self.o = nn.Linear(d, d), nn.Linear(d, d, key_bias), nn.Linear(d, d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x):
        y = self.norm1(x)
        q, k, v = heads(self.q(y) * (x.shape[-1] // self.n) ** -0.5, self.n), heads(self.k(y), self.n), heads(self.v(y), self.n)
        x = x + self.o(joined(torch.matmul(F.softmax(torch.matmul(q, k.transpose(-1, -2)), -1), v)))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class VisionTransformer(nn.Module):
    """One matrix for queries, keys and values, as the usual implementations have it."""

    def __init__(self, d=32, n=4):
        super().__init__()
        self.n, self.patch, self.token, self.places = n, nn.Conv2d(3, d, 8, 8), nn.Parameter(torch.randn(1, 1, d)), nn.Parameter(torch.randn(1, 17, d))
        self.norm1, self.qkv, self.o, self.norm2, self.up, self.down = nn.LayerNorm(d), nn.Linear(d, 3 * d), nn.Linear(d, d), nn.LayerNorm(d), nn.Linear(d, 64), nn.Linear(64, d)
        self.norm, self.head = nn.LayerNorm(d), nn.Linear(d, 10)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.places
        b, t, d = x.shape
        q, k, v = self.qkv(self.norm1(x)).reshape(b, t, 3, self.n, d // self.n).permute(2, 0, 3, 1, 4).unbind(0)
        s = (q @ k.transpose(-2, -1)) * (d // self.n) ** -0.5
        x = x + self.o((s.softmax(-1) @ v).transpose(1, 2).reshape(b, t, d))
        x = x + self.down(F.gelu(self.up(self.norm2(x))))
        return self.head(self.norm(x)[:, 0])


class WhisperEncoder(nn.Module):
    def __init__(self, d=32):
        super().__init__()
        self.a, self.b, self.norm = nn.Conv1d(20, d, 3, padding=1), nn.Conv1d(d, d, 3, 2, 1), nn.LayerNorm(d)
        self.layers = nn.ModuleList(PreNormLayer(d, 4, key_bias=False) for _ in range(2))
        rates = torch.exp(-math.log(10000) / (d // 2 - 1) * torch.arange(d // 2))
        angles = torch.arange(15)[:, None] * rates[None]
        self.register_buffer("places", torch.cat([angles.sin(), angles.cos()], 1))

    def forward(self, x):
        x = F.gelu(self.b(F.gelu(self.a(x)))).permute(0, 2, 1) + self.places
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)


def models():
    """name -> (module, inputs, whole operators that fusion must find)"""
    ids, mask = torch.randint(2, 50, (1, 12)), torch.ones(1, 12, dtype=torch.long)
    mask[0, 9:], padded = 0, ids.clone()
    padded[0, 9:] = 1
    return {
        "keyword_spotting": (KeywordSpotter(), (torch.randn(1, 1, 49, 10),), ["Softmax"]),
        "temporal_convolutions": (TemporalConvolutions(), (torch.randn(1, 8, 30),), []),
        "lstm_with_state": (StatefulLstm(), (torch.randn(5, 1, 10), torch.randn(2, 1, 12), torch.randn(2, 1, 12)), ["LSTM"]),
        "gru_with_state": (StatefulGru(), (torch.randn(1, 6, 8), torch.randn(1, 1, 12)), ["GRU"]),
        "bert": (Bert(), (ids, mask, torch.zeros(1, 12, dtype=torch.long)), ["Attention", "LayerNormalization", "gelu"]),
        "roberta": (Roberta(), (padded, mask), ["Attention", "LayerNormalization", "gelu"]),
        "gpt2": (Gpt2(), (ids[:, :4], torch.randn(1, 4, 6, 8), torch.randn(1, 4, 6, 8)), ["Attention", "LayerNormalization", "gelu"]),
        "llama": (Llama(), (ids,), ["Attention", "RMSNormalization", "RotaryEmbedding", "silu"]),
        "vision_transformer": (VisionTransformer(), (torch.rand(1, 3, 32, 32),), ["Attention", "LayerNormalization", "gelu"]),
        "whisper_encoder": (WhisperEncoder(), (torch.randn(1, 20, 30),), ["Attention", "LayerNormalization", "gelu"]),
    }
