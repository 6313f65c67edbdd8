#!/usr/bin/env python3
"""Trains a small masked language model (a BERT) on plain text, and writes the folder that `pith import` reads.

One token in seven is asked for; it is replaced by [MASK], by another token or by itself in shares of 80, 10 and 10 % (Devlin et
al., 2019). The embedding also gives the logits, only at the places that are asked for. Every run of `--length` tokens begins with
[CLS] and ends with [SEP]. The learning rate warms up and falls to zero with the clock, so that `--minutes` fits a machine. The last
line of each text file in fifty is never trained on; the loss on those lines is printed and goes into the folder's README.

    ./train.py DATA/text --minutes 60 --output masked_lm     # config.json, vocab.txt, pytorch_model.bin, held_out.txt
"""

import argparse
import collections
import json
import math
import pathlib
import time

import torch
import torch.nn.functional as F

from vocabulary import learn, read, tokens_of, words_of


class Layer(torch.nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (torch.nn.Linear(width, width) for _ in range(4))
        self.up, self.down = torch.nn.Linear(width, hidden), torch.nn.Linear(hidden, width)
        self.first, self.second = torch.nn.LayerNorm(width, eps=1e-12), torch.nn.LayerNorm(width, eps=1e-12)

    def forward(self, x):
        n, length, width = x.shape
        q, k, v = (f(x).view(n, length, self.heads, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        scores = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(q.shape[-1]), dim=-1)
        x = self.first(x + self.out((scores @ v).transpose(1, 2).reshape(n, length, width)))
        return self.second(x + self.down(F.gelu(self.up(x))))


def look_at_neighbours(model, offsets):
    """Starts heads on the words beside: without it, thousands of steps go by before attention finds that neighbours matter.

    Positions begin as waves in as many numbers as a head has. A query is its own position's wave; a key is its wave moved back
    by the head's offset, so that the product is largest where the key stands so many places from the query.
    """
    size = model.positions.weight.shape[1] // model.layers[0].heads
    frequency = math.pi / torch.logspace(0, math.log10(model.positions.weight.shape[0] / 2), size // 2)
    angle = torch.arange(model.positions.weight.shape[0])[:, None] * frequency
    with torch.no_grad():
        model.positions.weight[:, :size] = 0.04 * torch.cat([angle.cos(), angle.sin()], 1)
        for layer, places in zip(model.layers, offsets):
            for head, offset in enumerate(places[: layer.heads]):
                rows = slice(head * size, (head + 1) * size)
                turn = torch.cat([torch.cat([(offset * frequency).cos().diag(), (offset * frequency).sin().diag()], 1), torch.cat([-(offset * frequency).sin().diag(), (offset * frequency).cos().diag()], 1)])
                layer.query.weight[rows, :size] += torch.eye(size)
                layer.key.weight[rows, :size] += turn


class MaskedLM(torch.nn.Module):
    def __init__(self, c):
        super().__init__()
        self.words, self.positions = torch.nn.Embedding(c.vocabulary, c.width), torch.nn.Embedding(c.length, c.width)
        self.norm = torch.nn.LayerNorm(c.width, eps=1e-12)
        self.layers = torch.nn.ModuleList(Layer(c.width, c.heads, c.hidden) for _ in range(c.layers))
        self.transform, self.transform_norm = torch.nn.Linear(c.width, c.width), torch.nn.LayerNorm(c.width, eps=1e-12)
        self.bias = torch.nn.Parameter(torch.zeros(c.vocabulary))
        for p in (self.words, self.positions):
            torch.nn.init.normal_(p.weight, std=0.02)
        look_at_neighbours(self, ((-1, 1, -2, 2), (-3, 1, 3, -1)))

    def forward(self, ids, asked):
        """Logits at the places where `asked` is true."""
        x = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x)
        x = self.transform_norm(F.gelu(self.transform(x[asked])))
        return x @ self.words.weight.T + self.bias


def masked(ids, vocabulary, mask, generator):
    """(input, asked): `ids` with one token in seven changed; the first five ids are specials and stay."""
    asked = (torch.rand(ids.shape, generator=generator) < 1 / 7) & (ids >= 5)
    asked[:, 1] |= ~asked.any(1)  # at least one
    kind = torch.rand(ids.shape, generator=generator)
    changed = torch.where(kind < 0.8, torch.full_like(ids, mask), torch.where(kind < 0.9, torch.randint(5, vocabulary, ids.shape, generator=generator), ids))
    return torch.where(asked, changed, ids), asked


def encode(lines, index, length):
    cache, stream = {}, []
    for line in lines:
        for word in words_of(line):
            stream += tokens_of(word, index, cache)
    body = length - 2
    rows = len(stream) // body
    ids = torch.tensor(stream[: rows * body]).view(rows, body)
    edge = torch.ones(rows, 1, dtype=torch.long)
    return torch.cat([edge * index["[CLS]"], ids, edge * index["[SEP]"]], 1)


def loss_on(model, rows, c, index):
    generator, total, count = torch.Generator().manual_seed(7), 0.0, 0
    with torch.no_grad():
        for at in range(0, min(len(rows), 512), c.batch):
            given, asked = masked(rows[at : at + c.batch], c.vocabulary, index["[MASK]"], generator)
            logits = model(given, asked)
            total += F.cross_entropy(logits, rows[at : at + c.batch][asked], reduction="sum").item()
            count += int(asked.sum())
    return total / count


def save(model, c, vocabulary, held, folder):
    """As Hugging Face's BertForMaskedLM stores it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_type": "bert", "architectures": ["BertForMaskedLM"], "hidden_size": c.width, "num_hidden_layers": c.layers, "num_attention_heads": c.heads,
              "intermediate_size": c.hidden, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "max_position_embeddings": c.length, "vocab_size": c.vocabulary, "pad_token_id": 0}
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": True, "tokenizer_class": "BertTokenizer"}))
    (folder / "held_out.txt").write_text("\n".join(held) + "\n")
    e, out = "bert.embeddings.", {}
    names = {"words": e + "word_embeddings", "positions": e + "position_embeddings", "norm": e + "LayerNorm", "transform": "cls.predictions.transform.dense",
             "transform_norm": "cls.predictions.transform.LayerNorm"}
    parts = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value", "out": "attention.output.dense", "first": "attention.output.LayerNorm",
             "up": "intermediate.dense", "down": "output.dense", "second": "output.LayerNorm"}
    for name, value in model.state_dict().items():
        if name == "bias":
            out["cls.predictions.bias"] = value
            continue
        *path, kind = name.split(".")
        stem = names[path[0]] if path[0] != "layers" else f"bert.encoder.layer.{path[1]}.{parts[path[2]]}"
        out[f"{stem}.{kind}"] = value
    torch.save(out, folder / "pytorch_model.bin")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("masked_lm"))
    parser.add_argument("--minutes", type=float, default=60)
    for name, value in (("vocabulary", 4096), ("width", 128), ("layers", 4), ("heads", 4), ("hidden", 512), ("length", 64), ("batch", 32), ("seed", 1)):
        parser.add_argument("--" + name, type=int, default=value)
    parser.add_argument("--lines", type=pathlib.Path, help="only write the lines to learn from, and beside them those held out (.held_out)")
    c = parser.parse_args()
    torch.manual_seed(c.seed)
    kept, held = read(c.text)
    if c.lines:
        c.lines.write_text("\n".join(kept) + "\n")
        c.lines.with_suffix(".held_out").write_text("\n".join(held) + "\n")
        return
    vocabulary = learn(collections.Counter(w for line in kept for w in words_of(line)), c.vocabulary)
    c.vocabulary = len(vocabulary)
    index = {piece: i for i, piece in enumerate(vocabulary)}
    rows, others = encode(kept, index, c.length), encode(held, index, c.length)
    model = MaskedLM(c)
    print(f"{sum(p.numel() for p in model.parameters())} parameters, {rows.numel()} tokens to learn from, {others.numel()} held out", flush=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    generator, started, step, mean = torch.Generator().manual_seed(c.seed), time.time(), 0, None
    while (progress := (time.time() - started) / (60 * c.minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (step + 1) / 200) * (1 - progress)
        batch = rows[torch.randint(len(rows), (c.batch,), generator=generator)]
        given, asked = masked(batch, c.vocabulary, index["[MASK]"], generator)
        loss = F.cross_entropy(model(given, asked), batch[asked])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        step += 1
        if step % 200 == 0:
            print(f"{step} steps, {100 * progress:.0f} %: {mean:.3f} nats per masked token", flush=True)
    model.eval()
    figure = loss_on(model, others, c, index)
    save(model, c, vocabulary, held, c.output)
    print(f"{step} steps in {time.time() - started:.0f} s; on held-out lines {figure:.3f} nats per masked token", flush=True)


if __name__ == "__main__":
    main()
