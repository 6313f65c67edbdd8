#include "base/random.h"
#include "base/tokenizer.h"
#include "coding/decode/weights.h"
#include "coding/encode/binary.h"
#include "coding/encode/floats.h"
#include "coding/encode/levels.h"
#include "coding/encode/tokenizer.h"
#include "coding/encode/vectors.h"
#include "coding/encode/weights.h"
#include "tests/fuzz/seed_files.h"

namespace pith::fuzz {
namespace {

using Bytes = std::vector<uint8_t>;
constexpr int kCodecs = 10;  // as fuzz_codes counts them

Bytes with_head(Bytes head, const Bytes& stream) {
  head.insert(head.end(), stream.begin(), stream.end());
  return head;
}

// Multiples that stand for levels: of groups of rows, where they are read in any order.
Bytes leveled(const coding::CodedRows& rows, bool any_order) {
  coding::Levels levels;
  levels.count = 2, levels.of[1] = 1, levels.of[2] = 3, levels.tail = 2;
  return any_order ? coding::encode_levels(levels, coding::kCodecGroups, coding::encode_groups(rows, 2)) : coding::encode_levels(levels, rows.trellis ? coding::kCodecMixedTrellis : coding::kCodecRans, rows.trellis ? coding::encode_mixed(rows) : coding::encode_rans(rows));
}

Bytes encode(const coding::CodedRows& rows, uint8_t codec, bool any_order) {
  switch (codec) {
    case 0: return coding::encode_raw(rows);
    case 1: return coding::encode_rans(rows);
    case 2: return coding::encode_adaptive(rows);
    case 3: return coding::encode_mixed(rows);
    case 4: return coding::encode_classes(rows);
    case 5: return coding::encode_groups(rows, 2);
    case 6: return coding::encode_mixed(rows);
    case 7: return coding::encode_classes(rows);
    case 8: return leveled(rows, any_order);
    default: return *coding::encode_vectors(rows, *coding::book_of(rows, rows.bits), true, rows.bits == 4);  // runs of two, four, eight
  }
}

// Rows as fuzz_codes makes them of these parameters, indices where codecs 6 and 7 or others (`path`) have such;
// `any_order`: read as those of a table that is looked up.
Bytes weights(Random& random, uint8_t codec, int bits, bool row_scales, bool any_order, bool path = false) {
  const Bytes parameters = {0, static_cast<uint8_t>(codec + kCodecs * (bits - 2)), static_cast<uint8_t>(row_scales ? 144 : 19), static_cast<uint8_t>(any_order ? 133 : 5), 0x23};
  const int64_t length = 1 + parameters[2] % 48, rows = 1 + parameters[3] % 8;
  const bool trellis = path || codec == 6 || codec == 7;
  const int limit = trellis ? 1 << (bits - 2) : (1 << (bits - 1)) - 1;
  std::vector<int32_t> integers;
  std::vector<int16_t> scales;
  for (int64_t i = 0; i < rows * length; ++i) integers.push_back(random.integer(0, 1) == 0 ? 0 : static_cast<int32_t>(random.integer(-limit, limit)));
  for (int64_t r = 0; r < (row_scales ? rows : 1); ++r) scales.push_back(static_cast<int16_t>(random.integer(-120, -100)));
  const coding::CodedRows c{bits, rows, length, integers, scales, {1 + parameters[4] % 16, 1 + parameters[4] / 16}, trellis};
  return with_head(parameters, encode(c, codec, any_order));
}

Bytes floats(int kind) {
  std::vector<float> values;
  for (int i = 0; i < 200; ++i) values.push_back(kind == 0 ? 0.1f * static_cast<float>(i) : kind == 1 ? static_cast<float>(i % 7) * 0.3f : static_cast<float>((i * 7919) % 1000) * 1.7e-3f);
  const coding::CodedFloats coded = coding::encode_floats(values, std::vector<int32_t>{100, 2});
  return with_head({1, 200, 0, static_cast<uint8_t>(coded.shift), 0}, coded.bytes);
}

Bytes tokenizer(TokenModel model) {
  Tokenizer t;
  t.model = model;
  t.tokens = {"<unk>", "<s>", "a", "b", "ab", "\xe2\x96\x81"};
  if (model == TokenModel::kUnigrams || model == TokenModel::kScoredPairs) t.scores = {0, 0, -1, -2, -1.5, -3}, t.flags = kTextMetaspace | kTextFuseUnknown;
  t.unknown = 0, t.begin = 1;
  t.before = {1};
  t.added.push_back({1, false, false, true, false});
  const auto block = coding::encode_tokenizer(t);
  return block.ok() ? with_head({4, 0, 0, 0, 0}, *block) : Bytes{};
}

}  // namespace

std::vector<Bytes> seed_codes() {
  Random random(7);
  std::vector<Bytes> found;
  for (uint8_t codec = 0; codec < kCodecs; ++codec) {
    for (const int bits : {2, 4, 8}) found.push_back(weights(random, codec, bits, bits != 4, false));
  }
  for (const int bits : {2, 8}) {
    for (const bool path : {false, true}) {
      for (const uint8_t codec : {5, 8}) found.push_back(weights(random, codec, bits, true, true, path));
      found.push_back(weights(random, 8, bits, true, false, path));
    }
  }
  for (const int bits : {2, 8}) {  // books that a second stream uses
    Bytes two = weights(random, 9, bits, true, true);
    const Bytes stream(two.begin() + 5, two.end());
    const auto used = static_cast<ptrdiff_t>(stream.size());
    two.push_back(stream[0]);
    two.push_back(0);  // of no vectors: the rest is as long as the first
    two.insert(two.end(), static_cast<size_t>(used - 2), 0);
    found.push_back(std::move(two));
  }
  for (int kind = 0; kind < 3; ++kind) found.push_back(floats(kind));
  coding::BinaryEncoder out;
  coding::IntegerModel model;
  for (int i = 0; i < 60; ++i) coding::encode_signed(out, model, i * i - 300);
  found.push_back(with_head({2, 60, 0, 0, 0}, out.finish()));
  found.push_back({3, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8});
  for (const TokenModel kind : {TokenModel::kWordPieces, TokenModel::kUnigrams, TokenModel::kScoredPairs}) {
    const Bytes block = tokenizer(kind);
    if (!block.empty()) found.push_back(block);
  }
  return found;
}

}  // namespace pith::fuzz
