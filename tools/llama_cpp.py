"""llama.cpp as a peer of tools/decoding_speed.py: a GGUF file of the same weights, and the milliseconds of a decoding step.

The library is the one inside PyPI's `xllamacpp`, whose C interface (llama.h) it exports; the file is written by PyPI's `gguf`
(Q8_0 or Q4_0 for every matrix whose rows are a multiple of 32 long, which is what their blocks ask for; others and norms in F16
and F32, as llama.cpp's own quantiser leaves them). No vocabulary goes into the file, since tokens are given as numbers.
"""
import ctypes
import time

import numpy as np

NAMES = {"norm1": "attn_norm", "wq": "attn_q", "wk": "attn_k", "wv": "attn_v", "wo": "attn_output", "norm2": "ffn_norm", "w1": "ffn_gate", "w2": "ffn_down", "w3": "ffn_up"}


def write_gguf(path, c, weights, bits):
    """llama2.c's weights: rows of queries and keys are turned by neighbours, as llama.cpp turns a Llama's."""
    import gguf
    kind = {8: gguf.GGMLQuantizationType.Q8_0, 4: gguf.GGMLQuantizationType.Q4_0}[bits]
    w = gguf.GGUFWriter(path, "llama")
    w.add_context_length(c["positions"])
    w.add_embedding_length(c["dim"])
    w.add_block_count(c["layers"])
    w.add_feed_forward_length(c["hidden"])
    w.add_head_count(c["heads"])
    w.add_head_count_kv(c["kv_heads"])
    w.add_layer_norm_rms_eps(1e-5)
    w.add_rope_dimension_count(c["dim"] // c["heads"])
    w.add_vocab_size(c["vocab"])
    w.add_tokenizer_model("no_vocab")

    def add(name, values):
        values = np.ascontiguousarray(values, np.float32)
        if values.ndim == 1:
            w.add_tensor(name, values)
        elif values.shape[-1] % 32:
            w.add_tensor(name, values.astype(np.float16))
        else:
            w.add_tensor(name, gguf.quants.quantize(values, kind), raw_dtype=kind)

    add("token_embd.weight", weights["words"])
    for i in range(c["layers"]):
        for name, theirs in NAMES.items():
            add(f"blk.{i}.{theirs}.weight", weights[name][i])
    add("output_norm.weight", weights["norm"])
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32)] + [(name, ctypes.c_void_p) for name in ("token", "embd", "pos", "n_seq_id", "seq_id", "logits")]


class Parameters(ctypes.Structure):
    """Of a model or a context, which the library fills in and which grow from version to version: large enough for any. A context's first number is its positions."""
    _fields_ = [("words", ctypes.c_uint32 * 512)]


class Decoder:
    """One context of 256 positions on so many threads."""

    def __init__(self, path, threads):
        import xllamacpp.xllamacpp
        self.lib = lib = ctypes.CDLL(xllamacpp.xllamacpp.__file__)
        for name in ("llama_model_default_params", "llama_context_default_params"):
            getattr(lib, name).restype = Parameters
        lib.llama_model_load_from_file.argtypes, lib.llama_model_load_from_file.restype = [ctypes.c_char_p, Parameters], ctypes.c_void_p
        lib.llama_init_from_model.argtypes, lib.llama_init_from_model.restype = [ctypes.c_void_p, Parameters], ctypes.c_void_p
        lib.llama_batch_get_one.argtypes, lib.llama_batch_get_one.restype = [ctypes.c_void_p, ctypes.c_int32], Batch
        lib.llama_decode.argtypes = [ctypes.c_void_p, Batch]
        lib.llama_get_logits.argtypes, lib.llama_get_logits.restype = [ctypes.c_void_p], ctypes.POINTER(ctypes.c_float)
        lib.llama_get_memory.argtypes, lib.llama_get_memory.restype = [ctypes.c_void_p], ctypes.c_void_p
        lib.llama_memory_clear.argtypes = [ctypes.c_void_p, ctypes.c_bool]
        lib.llama_set_n_threads.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_int32]
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        lib.llama_log_set(self.quiet, None)
        lib.llama_backend_init()
        self.model = lib.llama_model_load_from_file(str(path).encode(), lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp can't load {path}")
        parameters = lib.llama_context_default_params()
        parameters.words[0] = 256
        self.context = lib.llama_init_from_model(self.model, parameters)
        if not self.context:
            raise SystemExit("llama.cpp makes no context")
        lib.llama_set_n_threads(self.context, threads, threads)

    def reset(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def step(self, token):
        """The address of the logits after the token."""
        one = (ctypes.c_int32 * 1)(token)
        if self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(one, 1)) != 0:
            raise SystemExit("llama.cpp failed to decode")
        return self.lib.llama_get_logits(self.context)

    def median_ms(self, tokens, vocabulary):
        self.reset()
        times = []
        for position in range(tokens):
            started = time.perf_counter()
            self.step(position % vocabulary)
            times.append(time.perf_counter() - started)
        return 1000 * float(np.median(times))
