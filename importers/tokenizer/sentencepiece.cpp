// A sentencepiece model: one protobuf message (sentencepiece_model.proto of google/sentencepiece), read as wire format by hand.
//
//   1  pieces (repeated): 1 text, 2 score (float), 3 type (2 unknown, 3 control, 4 user defined, 6 byte)
//   2  trainer: 3 model type (1 unigram, 2 pairs), 35 byte fallback
//   3  normaliser: 2 compiled character map, 3 dummy prefix, 4 remove extra spaces
#include <fmt/format.h>

#include <cstring>
#include <span>

#include "base/file.h"
#include "importers/tokenizer/tokenizer.h"

namespace pith::importers {
namespace {

struct Field {
  uint32_t number = 0;
  uint64_t value = 0;              // varints and fixed numbers
  std::span<const uint8_t> bytes;  // texts and messages
};

class Message {
 public:
  explicit Message(std::span<const uint8_t> bytes) : left_(bytes) {}
  bool bad() const { return bad_; }

  bool next(Field& f) {
    if (left_.empty() || bad_) return false;
    const uint64_t key = varint();
    f = {};
    f.number = static_cast<uint32_t>(key >> 3);
    switch (key & 7) {
      case 0:
        f.value = varint();
        break;
      case 1:
        f.value = fixed(8);
        break;
      case 2: {
        const uint64_t length = varint();
        if (length > left_.size()) bad_ = true;
        if (bad_) return false;
        f.bytes = left_.first(length);
        left_ = left_.subspan(length);
        break;
      }
      case 5:
        f.value = fixed(4);
        break;
      default:
        bad_ = true;
    }
    return !bad_;
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (left_.empty()) break;
      const uint8_t b = left_[0];
      left_ = left_.subspan(1);
      value |= static_cast<uint64_t>(b & 127) << shift;
      if (b < 128) return value;
    }
    bad_ = true;
    return 0;
  }
  uint64_t fixed(size_t bytes) {
    uint64_t value = 0;
    if (left_.size() < bytes) {
      bad_ = true;
      return 0;
    }
    std::memcpy(&value, left_.data(), bytes);
    left_ = left_.subspan(bytes);
    return value;
  }
  std::span<const uint8_t> left_;
  bool bad_ = false;
};

struct Settings {
  uint64_t model = 1, byte_fallback = 0, prefix = 1, trim = 1;
  bool character_map = false;
};

bool read_piece(std::span<const uint8_t> bytes, Tokenizer& t) {
  Message piece(bytes);
  std::string text;
  float score = 0;
  uint64_t type = 1;
  for (Field f; piece.next(f);) {
    if (f.number == 1) text.assign(f.bytes.begin(), f.bytes.end());
    if (f.number == 2) {
      const uint32_t bits = static_cast<uint32_t>(f.value);
      std::memcpy(&score, &bits, 4);
    }
    if (f.number == 3) type = f.value;
  }
  const uint32_t id = static_cast<uint32_t>(t.tokens.size());
  if (type == 2) t.unknown = static_cast<int32_t>(id);
  if (type >= 2 && type <= 4) t.added.push_back({id, false, false, type != 4, type != 4});
  t.tokens.push_back(text);
  t.scores.push_back(static_cast<double>(score));
  return !piece.bad() && !text.empty() && score - score == 0;
}

}  // namespace

Result<Tokenizer> read_sentencepiece(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  Tokenizer t;
  Settings s;
  Message model(file);
  bool good = true;
  for (Field f; model.next(f);) {
    if (f.number == 1) good = good && read_piece(f.bytes, t);
    if (f.number != 2 && f.number != 3) continue;
    Message part(f.bytes);
    for (Field inner; part.next(inner);) {
      if (f.number == 2 && inner.number == 3) s.model = inner.value;
      if (f.number == 2 && inner.number == 35) s.byte_fallback = inner.value;
      if (f.number == 3 && inner.number == 2) s.character_map = !inner.bytes.empty();
      if (f.number == 3 && inner.number == 3) s.prefix = inner.value;
      if (f.number == 3 && inner.number == 4) s.trim = inner.value;
    }
    good = good && !part.bad();
  }
  if (!good || model.bad() || t.tokens.empty()) return usage_error(fmt::format("'{}' is no sentencepiece model; fetch it again", path));
  if (s.model != 1 && s.model != 2) return error(ErrorCode::kUnsupported, fmt::format("'{}' splits into words or characters; unigrams and pairs are supported", path));
  if (s.character_map) return error(ErrorCode::kUnsupported, fmt::format("'{}' normalises by a compiled character map; only the identity is supported", path));
  if (s.trim) return error(ErrorCode::kUnsupported, fmt::format("'{}' removes extra spaces, which isn't supported", path));
  t.model = s.model == 1 ? TokenModel::kUnigrams : TokenModel::kScoredPairs;
  t.flags = kTextMetaspace | kTextFuseUnknown;
  if (s.model == 1) t.flags |= kTextFloatSums;
  if (s.byte_fallback) t.flags |= kTextByteFallback;
  if (s.prefix) t.flags |= kTextPrepend | kTextStripFirstSpace;
  find_roles(t);
  if (t.begin >= 0) t.before = {static_cast<uint32_t>(t.begin)};
  return t;
}

}  // namespace pith::importers
