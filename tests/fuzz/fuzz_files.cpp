// What the toolchain reads beside ONNX and .pith files, on arbitrary bytes: checkpoints, vocabularies, arrays, sounds, the
// headers of pictures and videos, recipes of preprocessing. Each must answer with a value or with a user's error.
//
// The first byte chooses the format, the rest is the file. With PITH_FUZZ a libFuzzer target that begins from small sound
// files; otherwise files_replay.cpp drives it.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/tokenizer.h"
#include "cli/video.h"
#include "coding/encode/tokenizer.h"
#include "data/array.h"
#include "data/preprocess.h"
#include "data/source.h"
#include "importers/huggingface/huggingface.h"
#include "importers/onnx/state_dict.h"
#include "importers/tokenizer/tokenizer.h"
#include "tests/fuzz/seed_files.h"

namespace {

using pith::fuzz::FileKind;

// A file in memory, for readers that take a path.
class MemoryFile {
 public:
  MemoryFile() : descriptor_(memfd_create("pith_fuzz", 0)), path_("/proc/self/fd/" + std::to_string(descriptor_)) {
    if (descriptor_ < 0) std::abort();
  }
  const std::string& holding(const uint8_t* data, size_t size) {
    if (ftruncate(descriptor_, 0) != 0 || pwrite(descriptor_, data, size, 0) != static_cast<ssize_t>(size)) std::abort();
    return path_;
  }

 private:
  int descriptor_;
  std::string path_;
};

template <typename T>
bool check(const pith::Result<T>& r) {
  if (r.ok()) return true;
  const std::string& message = r.error().message;
  if (!message.empty() && r.error().code != pith::ErrorCode::kInternal) return false;
  std::fprintf(stderr, "no user's error: %s\n", message.c_str());
  std::abort();
}

// What was read must also be writable, or refused.
void tokenizer(const pith::Result<pith::Tokenizer>& t) {
  if (check(t)) check(pith::coding::encode_tokenizer(*t));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static MemoryFile file;
  if (size < 1) return 0;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  pith::importers::Weights weights;
  switch (static_cast<FileKind>(data[0] % static_cast<int>(FileKind::kCount))) {
    case FileKind::kSafetensors: check(pith::importers::read_safetensors(file.holding(bytes.data(), bytes.size()), weights)); break;
    case FileKind::kTorchArchive: check(pith::importers::read_torch_archive(file.holding(bytes.data(), bytes.size()), weights)); break;
    case FileKind::kTokenizerJson: tokenizer(pith::importers::read_tokenizer_json(file.holding(bytes.data(), bytes.size()))); break;
    case FileKind::kVocabulary: tokenizer(pith::importers::read_vocab_txt(file.holding(bytes.data(), bytes.size()))); break;
    case FileKind::kSentencepiece: tokenizer(pith::importers::read_sentencepiece(file.holding(bytes.data(), bytes.size()))); break;
    case FileKind::kLlama2c: tokenizer(pith::importers::read_llama2c_tokens(file.holding(bytes.data(), bytes.size()))); break;
    case FileKind::kNpy: check(pith::parse_npy(bytes, "fuzz.npy")); break;
    case FileKind::kWav: check(pith::parse_wav(bytes, "fuzz.wav")); break;
    case FileKind::kPnm:
      if (bytes.size() >= 2 && bytes[0] == 'P') check(pith::decode_image(bytes, "fuzz.ppm"));  // other codecs are libraries
      break;
    case FileKind::kVideo: check(pith::cli::parse_y4m_header(text, "fuzz.y4m")); break;
    case FileKind::kFrames: check(pith::cli::parse_frames(std::string(text))); break;
    default: check(pith::parse_preprocess(text));
  }
  return 0;
}

#ifdef PITH_FUZZ
#include "tests/fuzz/seed_mutator.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned int seed) {
  static const auto seeds = pith::fuzz::seed_files();
  return pith::fuzz::mutate_bytes(seeds, 2, data, size, most, seed);
}
#endif
