// The entropy decoders and the tokeniser on arbitrary bytes: what runtime and post decode of a file that the reader has let
// through. Each must end, write only what it was given, and keep its promises about values.
//
// The first byte chooses the decoder, the next its parameters, the rest is the stream. With PITH_FUZZ a libFuzzer target;
// otherwise codes_replay.cpp drives it.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "coding/decode/floats.h"
#include "coding/decode/weights.h"
#include "post/tokenizer.h"
#include "program/metadata.h"
#include "program/structure.h"
#include "tests/fuzz/seed_files.h"

namespace {

void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "%s\n", what);
  std::abort();
}

void weights(const uint8_t* parameters, const uint8_t* data, size_t size) {
  constexpr int kCodecs[] = {pith::coding::kCodecRaw, pith::coding::kCodecRans, pith::coding::kCodecAdaptive, pith::coding::kCodecMixed, pith::coding::kCodecClasses, pith::coding::kCodecGroups, pith::coding::kCodecMixedTrellis, pith::coding::kCodecClassesTrellis, pith::coding::kCodecLevels, pith::coding::kCodecVectors};
  const int codec = kCodecs[parameters[0] % 10], bits = 2 + parameters[0] / 10 % 7;
  const int64_t length = 1 + parameters[1] % 48, rows = 1 + parameters[2] % 8;
  static pith::coding::WeightDecoder in;  // of tens of kilobytes
  pith::coding::BookOwner owner;
  if (codec == pith::coding::kCodecVectors && parameters[2] >= 128) {  // two streams, of which the second uses the first one's book
    owner = {data, size / 2};
    data += size / 2, size -= size / 2;
  }
  if (!in.begin(data, size, codec, bits, parameters[1] >= 128, {1 + parameters[3] % 16, 1 + parameters[3] / 16}, owner)) return;
  const std::unique_ptr<int8_t[]> row(new int8_t[static_cast<size_t>(length)]());
  for (int64_t r = 0; r < rows && !in.overrun(); ++r) {
    if (pith::coding::in_any_order(data, size, codec) && parameters[2] >= 128) {  // as a table that is looked up is read: rows in any order
      const int64_t wanted = parameters[static_cast<size_t>(r) % 4] % 64, from = in.seek(wanted);
      check(from >= 0 && from <= wanted, "a group begins after the row that it holds");
    }
    const int scale = in.next_row(row.get(), length), limit = (1 << (bits - 1)) - 1;
    check(scale >= pith::numerics::kScaleCodeMin && scale <= pith::numerics::kScaleCodeMax, "a scale is out of range");
    for (int64_t k = 0; k < length; ++k) check(row[static_cast<size_t>(k)] >= -limit && row[static_cast<size_t>(k)] <= limit, "a weight is out of range");
  }
}

void floats(const uint8_t* parameters, const uint8_t* data, size_t size) {
  const int64_t n = parameters[0] + parameters[1] % 4 * 256;
  const std::unique_ptr<float[]> values(new float[static_cast<size_t>(n)]);
  static pith::coding::FloatCode code;
  pith::coding::FloatReader reader(data, size);
  code.code(reader, values.get(), n, parameters[2] % 32);
}

void integers(const uint8_t* parameters, const uint8_t* data, size_t size) {
  pith::coding::BinaryDecoder in(data, size);
  pith::coding::IntegerModel model;
  for (int i = 0; i < parameters[0] && !in.overrun(); ++i) pith::coding::decode_signed(in, model);
}

// As both readers do it, but for what they do with the texts.
void metadata(const uint8_t* data, size_t size) {
  pith::format::ReadingCoder coder(data, size);
  static const auto primed = [] {
    pith::format::MetadataModels m;
    pith::format::prime(m);
    return m;
  }();
  static pith::format::MetadataModels models;
  models = primed;
  uint32_t entries = 0;
  coder.number(models.length, entries);
  for (uint32_t i = 0; i < 2 * entries && !coder.failed(); ++i) {
    uint32_t length = 0;
    coder.number(models.length, length);
    uint8_t letter = 0;
    for (uint32_t k = 0; k < length && !coder.failed(); ++k) letter = pith::format::code_letter(coder, models, letter, 0);
  }
}

void tokenizer(const uint8_t* data, size_t size) {
  size_t bytes = 0;
  if (size < 1 || pith_tokenizer_memory_bytes(data, size, &bytes) != PITH_POST_OK || bytes > 1 << 18) return;
  const std::unique_ptr<uint64_t[]> memory(new uint64_t[(bytes + 7) / 8]);
  pith_tokenizer* t = nullptr;
  if (pith_tokenizer_load(data, size, memory.get(), bytes, &t) != PITH_POST_OK) return;
  static constexpr char kText[] = " Hello, w\xc3\xb6rld\t\xe4\xb8\xad\xff 12 <s>mask";
  const size_t scratch = pith_tokenizer_scratch_bytes(t, sizeof kText - 1);
  const std::unique_ptr<uint64_t[]> work(new uint64_t[scratch / 8 + 1]);
  pith_text_token tokens[64];
  int32_t count = 0;
  const pith_post_status status = pith_tokenize(t, kText, sizeof kText - 1, 1, work.get(), scratch, tokens, 64, &count);
  if (status != PITH_POST_OK) return;
  int32_t ids[64];
  for (int32_t i = 0; i < count; ++i) {
    check(tokens[i].id >= 0 && tokens[i].id < pith_tokenizer_size(t), "a token is no token");
    check(tokens[i].begin <= tokens[i].end && tokens[i].end < sizeof kText, "a token lies outside its text");
    ids[i] = tokens[i].id;
  }
  char text[256];
  size_t length = 0;
  pith_detokenize(t, ids, count, 1, text, sizeof text, &length);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 5) return 0;
  const std::vector<uint8_t> stream(data + 5, data + size);  // ends where the sanitizer sees it
  switch (data[0] % 5) {
    case 0: weights(data + 1, stream.data(), stream.size()); break;
    case 1: floats(data + 1, stream.data(), stream.size()); break;
    case 2: integers(data + 1, stream.data(), stream.size()); break;
    case 3: metadata(stream.data(), stream.size()); break;
    default: tokenizer(stream.data(), stream.size());
  }
  return 0;
}

#ifdef PITH_FUZZ
#include "tests/fuzz/seed_mutator.h"

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned int seed) {
  static const auto seeds = pith::fuzz::seed_codes();
  return pith::fuzz::mutate_bytes(seeds, 6, data, size, most, seed);
}
#endif
