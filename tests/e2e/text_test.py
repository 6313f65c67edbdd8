#!/usr/bin/env python3
"""Fewer parts of models that read text, from the command line: what is left out is gone from the file, every text still has
tokens, and what can't be done is refused in one line. On random networks made here, so quality isn't looked at."""
import json
import os
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest

PROGRAM = sys.argv.pop(1)
LETTERS = "abcdefghijklmnopqrstuvwxyz."
WORDS = ["the", "sea", "was", "calm", "and", "a", "ship", "went", "by", "night", "##s", "##ly", "##ing"]


def write_safetensors(path, tensors):
    header, blob = {}, b""
    for name, (shape, values) in tensors.items():
        data = struct.pack(f"<{len(values)}f", *values)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def bert(folder, head, layers=2, width=16, heads=4, hidden=24):
    """A folder with a seeded random BERT of so many layers."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS, *("##" + c for c in LETTERS), *WORDS]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    config = {"model_type": "bert", "hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers, "intermediate_size": hidden, "hidden_act": "gelu", "layer_norm_eps": 1e-12,
              "vocab_size": len(vocabulary), "max_position_embeddings": 32, "architectures": ["BertForMaskedLM" if head == "fill-mask" else "BertModel"]}
    (folder / "config.json").write_text(json.dumps(config))
    chance = random.Random(1)
    tensors = {}

    def add(name, *shape, around=0.0):
        count = 1
        for n in shape:
            count *= n
        tensors[name] = (list(shape), [around + chance.gauss(0, 0.3) for _ in range(count)])

    def norm(name):
        add(name + ".weight", width, around=1.0)
        add(name + ".bias", width)

    def linear(name, outputs, inputs):
        add(name + ".weight", outputs, inputs)
        add(name + ".bias", outputs)

    add("embeddings.word_embeddings.weight", len(vocabulary), width)
    add("embeddings.position_embeddings.weight", 32, width)
    add("embeddings.token_type_embeddings.weight", 2, width)
    norm("embeddings.LayerNorm")
    for i in range(layers):
        at = f"encoder.layer.{i}."
        for part in ("query", "key", "value"):
            linear(at + f"attention.self.{part}", width, width)
        linear(at + "attention.output.dense", width, width)
        norm(at + "attention.output.LayerNorm")
        linear(at + "intermediate.dense", hidden, width)
        linear(at + "output.dense", width, hidden)
        norm(at + "output.LayerNorm")
    if head == "fill-mask":
        linear("cls.predictions.transform.dense", width, width)
        norm("cls.predictions.transform.LayerNorm")
        add("cls.predictions.bias", len(vocabulary))
    else:
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    write_safetensors(folder / "model.safetensors", tensors)
    return folder


def llama(path, layers=2, dim=16, heads=4, key_heads=2, hidden=24, positions=256):
    """A seeded random checkpoint of llama2.c, and its tokens: bytes, letters, and words out of pairs."""
    words = [b"<unk>", b"<s>", b"</s>"] + [f"<0x{i:02X}>".encode() for i in range(256)] + [b"\xe2\x96\x81"] + [c.encode() for c in LETTERS] + [b"th", b"the", b"se", b"sea", b"wa", b"was"]
    chance = random.Random(2)
    count = len(words) * dim + layers * (2 * dim + 2 * dim * dim + 2 * dim * dim // heads * key_heads + 3 * dim * hidden) + dim + positions * (dim // heads)
    path.write_bytes(struct.pack("<7i", dim, hidden, layers, heads, key_heads, len(words), positions) + struct.pack(f"<{count}f", *(chance.gauss(0, 0.3) for _ in range(count))))
    tokens = path.with_suffix(".tokens.bin")
    tokens.write_bytes(struct.pack("<i", 8) + b"".join(struct.pack("<fi", -float(i), len(w)) + w for i, w in enumerate(words)))
    return tokens, len(words)


class Text(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.out = pathlib.Path(cls.folder.name)
        cls.mlm, cls.sentences = bert(cls.out / "mlm", "fill-mask"), bert(cls.out / "sentences", "embedding")
        cls.tokens, cls.token_count = llama(cls.out / "llama.bin")
        cls.lines = cls.out / "lines.txt"
        chance = random.Random(3)
        words = ["the", "sea", "was", "calm", "ship", "by", "quiz", "ships"]
        cls.lines.write_text("".join(" ".join(chance.choices(words, k=6)) + f" {'abcdefgh'[i % 8]} .\n" for i in range(60)))

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def pith(self, *arguments, code=0):
        done = subprocess.run([PROGRAM, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace", env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300)
        self.assertEqual(done.returncode, code, done.stderr)
        return done

    def compress(self, model, *arguments, code=0):
        more = ["--vocabulary", self.tokens] if model.suffix == ".bin" else ["--dimension", "sequence=16"]
        done = self.pith("compress", model, "--samples", self.lines, "--data-count", "12", "--held-back", "8", *more, *arguments, "-o", self.out / "made.pith", *([] if code else ["--json"]), code=code)
        return done if code else json.loads(done.stdout)

    def test_tokens_are_left_out_and_every_text_still_has_some(self):
        for model, kept, total in ((self.mlm, 64, 72), (self.sentences, 64, 72), (self.out / "llama.bin", self.token_count - 3, self.token_count)):
            made = self.compress(model, "--keep-tokens", kept)
            move = made["moves"][0]
            self.assertEqual(move["kept"], kept)
            self.assertLess(move["bytes"], -4 * 16 * (total - kept) + 1)
            self.assertGreater(move["covered"], 0.7)
            read = json.loads(self.pith("tokenize", self.out / "made.pith", self.lines, "--json").stdout)
            self.assertEqual(read["vocabulary"], kept)
            self.assertNotIn(1 if model.is_dir() else 0, [t[0] for line in read["lines"] for t in line], "no token is unknown")

    def test_a_smaller_vocabulary_is_retrained(self):
        for model in (self.mlm, self.out / "llama.bin"):
            made = self.compress(model, "--keep-tokens", 64 if model.is_dir() else self.token_count - 3, "--lambda", "1e-6", "--steps", "3", "--batch", "2", "--window", "8")
            self.assertEqual(made["bytes"], (self.out / "made.pith").stat().st_size)

    def test_tables_have_lower_rank(self):
        for model, total in ((self.mlm, 72), (self.sentences, 72), (self.out / "llama.bin", self.token_count)):
            made = self.compress(model, "--embedding-rank", 4, *([] if model.is_dir() else ["--bits-per-weight", 4]))
            more = 4 * 16 * 2 if model != self.sentences else 4 * 16 + 16
            self.assertEqual(made["moves"], [{"move": "factor the table of tokens", "rank": 4, "bytes": 4 * (total * 4 + more - total * 16), "lost": made["moves"][0]["lost"], "multiplications": made["moves"][0]["multiplications"]}])
            self.assertTrue(0.1 < made["moves"][0]["lost"] < 0.9, made["moves"])

    def test_blocks_are_left_out(self):
        for model in (self.mlm, self.sentences, self.out / "llama.bin"):
            made = self.compress(model, "--blocks", "0.8")
            self.assertGreaterEqual(len(made["moves"][0]["blocks"]), 1)
            self.assertLess(made["moves"][0]["multiplications"], 0)
            text = "the sea was [MASK] ." if model == self.mlm else "the sea was calm"
            self.pith("run", self.out / "made.pith", "--text", text, "--tokens", 3)
        self.assertIn("without any of its residual blocks", self.compress(self.mlm, "--blocks", "0.0001", code=4).stderr)

    def test_attention_heads_are_removed(self):
        for model in (self.mlm, self.sentences, self.out / "llama.bin"):
            made = self.compress(model, "--heads", "0.5")["moves"][0]
            total = 8 if model.is_dir() else 4  # of keys, in both layers together
            self.assertEqual((made["heads"], made["of"]), (total // 2, total))
            self.assertEqual(made["bytes"], -4 * total // 2 * (4 * (4 * 16 + 3) if model.is_dir() else 2 * 16 * 4 * 2 + 2 * 16 * 4))
            text = "the sea was [MASK] ." if model == self.mlm else "the sea was calm"
            self.pith("run", self.out / "made.pith", "--text", text, "--tokens", 3)

    def test_layers_share_matrices(self):
        for model in (self.sentences, self.out / "llama.bin"):
            sizes = [self.compress(model, "--bits-per-weight", 4, *more)["bytes"] for more in ((), ("--share-layers", 1))]
            matrices = 4 * 16 * 16 + 2 * 16 * 24 if model.is_dir() else 3 * 16 * 16 + 3 * 16 * 24
            self.assertLess(sizes[1], sizes[0] - 0.8 * matrices * 4 / 8, "a layer's matrices are held once")
        sizes = [self.compress(self.mlm, "--lambda", "1e-6", "--steps", "3", "--batch", "2", *more)["bytes"] for more in ((), ("--share-layers", 1))]
        self.assertLess(sizes[1], 0.9 * sizes[0], "and are one while they are trained")
        self.assertIn("--bits-per-weight", self.compress(self.sentences, "--share-layers", 1, code=2).stderr)

    def test_all_at_once_and_retrained(self):
        for model in (self.mlm, self.sentences, self.out / "llama.bin"):
            tokens = 64 if model.is_dir() else self.token_count - 3
            made = self.compress(model, "--keep-tokens", tokens, "--embedding-rank", 6, "--blocks", "0.9", "--heads", "0.8", "--share-layers", 2, "--lambda", "1e-6", "--steps", "3", "--batch", "2", "--window", "8")
            self.assertEqual([m["move"] for m in made["moves"]], ["leave out tokens", "leave out blocks", "remove attention heads", "share matrices", "factor the table of tokens"])

    def test_windows_and_bands_are_kept_to(self):
        llama_file, made = self.out / "llama.bin", self.out / "made.pith"
        states = {}
        for bits in ([], ["--cache-bits", "8"], ["--cache-bits", "4"]):
            self.compress(llama_file, "--dimension", "context=10", "--dimension", "sinks=2", *bits)
            states[len(states)] = json.loads(self.pith("info", made, "--json").stdout)["state_bytes"]
            self.pith("run", made, "--text", "the sea", "--tokens", 14)  # the window rolls
        tensors, rows = 2 * 2, 2 * 10  # of layers, keys and values; heads times slots: rows of 4 values in float, 8 and 4 bits
        positions = 48  # with keys in 4 bits, of 10 slots
        self.assertEqual(list(states.values()), [tensors * -(-rows * width // 16) * 16 + (positions if width == 3 else 0) for width in (16, 5, 3)])
        self.assertIn("leaves none for the latest", self.compress(llama_file, "--dimension", "context=4", "--dimension", "sinks=4", code=2).stderr)
        embeddings = []
        for band in ([], ["--dimension", "band=16"], ["--dimension", "band=1"]):
            self.compress(self.sentences, "--bits", 8, *band)
            embeddings.append(json.loads(self.pith("run", made, "--text", "the sea was calm by the ship", "--json").stdout)["results"][0]["embeddings"][0]["embedding"])
        for whole, wide, narrow in zip(*embeddings):
            self.assertAlmostEqual(whole, wide, 4)
        self.assertNotEqual(embeddings[0], embeddings[2])

    def test_a_file_learns_the_levels_of_its_keys_from_text_of_its_own(self):
        made, coded = self.out / "made.pith", self.out / "coded.pith"
        self.compress(self.out / "llama.bin", "--dimension", "context=32")
        self.pith("compile", made, "--cache-bits", 4, "-o", coded)
        program = self.pith("info", coded).stdout
        self.assertIn("TurnedAttention", program)
        nats = [json.loads(self.pith("run", f, "--text-file", self.lines, "--nats", "--json").stdout)["results"][0]["nats_per_token"] for f in (made, coded)]
        self.assertAlmostEqual(nats[0], nats[1], delta=0.2)
        self.assertIn("in 4 bits already", self.pith("compile", coded, "--cache-bits", 8, "-o", made, code=2).stderr)

    def test_few_positions_are_kept_to(self):
        tokens, _ = llama(self.out / "short.bin", positions=12)
        made = self.out / "made.pith"
        for bits in ([], ["--bits-per-weight", "4"]):
            done = self.pith("compress", self.out / "short.bin", "--vocabulary", tokens, "--samples", self.lines, "--data-count", 12, "--held-back", 8, "--cache-bits", 4, *bits, "-o", made)
            self.assertIn("nats_per_token_compressed", done.stdout)
        self.assertEqual(len(json.loads(self.pith("run", made, "--text", "a", "--tokens", 99, "--json").stdout)["results"]), 1)
        self.assertIn("positions for 12", self.pith("run", made, "--text", "the sea was calm and a ship went by", code=2).stderr)

    def test_blocks_of_models_that_read_text_need_no_libtorch(self):
        alone = self.out / "alone" / "pith"
        alone.parent.mkdir()
        shutil.copy(PROGRAM, alone)
        (alone.parent / "pith-retrain").write_text("#!/bin/sh\nexit 9\n")
        (alone.parent / "pith-retrain").chmod(0o755)
        done = subprocess.run([alone, "compress", self.mlm, "--samples", self.lines, "--data-count", "12", "--held-back", "8", "--dimension", "sequence=16", "--blocks", "0.8", "-o", self.out / "made.pith"],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_table_that_is_looked_up_and_multiplied_with_is_in_the_file_once(self):
        made = self.compress(self.mlm, "--bits", 8)
        coded = [layer["coded_bytes"] for layer in json.loads(self.pith("info", self.out / "made.pith", "--json").stdout)["layers"] if "coded_bytes" in layer]
        self.assertLess(sum(coded) + made["vocabulary_bytes"], made["bytes"] + 1)
        self.assertLess(sum(coded), 1.3 * made["parameters"], "a second table of 72 x 16 would make it 1.43")

    def test_everything_in_integers_stays_near(self):
        self.assertGreater(self.compress(self.sentences, "--integers", "--rate-weight", 0)["held_back"]["mean_cosine"], 0.97)

    def test_what_cannot_be_is_refused(self):
        self.assertIn("saves nothing", self.compress(self.mlm, "--embedding-rank", 16, code=2).stderr)
        self.assertIn("tokens must stay", self.compress(self.mlm, "--keep-tokens", 40, code=4).stderr)
        line_reader = pathlib.Path(__file__).resolve().parents[2] / "zoo" / "line_reader"
        done = self.pith("compress", line_reader / "line_reader.onnx", "--samples", line_reader / "samples.npz", "--keep-tokens", 100, "-o", self.out / "never.pith", code=2)
        self.assertIn("for models that read text", done.stderr)
        self.assertFalse((self.out / "never.pith").exists())


if __name__ == "__main__":
    unittest.main()
