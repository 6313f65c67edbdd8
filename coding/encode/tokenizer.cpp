// See tokenizer.h. Of byte pairs only those tokens are spelled that no pair makes; a pair is two numbers of symbols, which
// count the spelled tokens first and then the pairs' results in their order. So 50,000 tokens of GPT-2 with their merges take
// about 3 bytes each, where the text files that they come from take 30.
#include "coding/encode/tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>

#include "coding/encode/binary.h"

namespace pith::coding {
namespace {

enum Field { kFormat, kKind, kFlags, kCount, kPool, kPairs, kAdded, kMaxWord, kRole, kAround, kLength, kLeft, kRight, kResult, kId, kRank, kAddedId, kAddedFlags, kFields };
constexpr int kLetterContexts = 128;

class TokenizerWriter {
 public:
  explicit TokenizerWriter(const Tokenizer& t) : t_(t), letters_(std::make_unique<BitModel[]>(kLetterContexts * 256)) {}

  std::vector<uint8_t> write() {
    head();
    if (t_.model == TokenModel::kBytePairs) {
      pairs();
    } else {
      for (const std::string& token : t_.tokens) text(token);
      scores();
    }
    int64_t last = -1;
    for (const AddedToken& a : t_.added) {
      number(kAddedId, static_cast<uint32_t>(static_cast<int64_t>(a.id) - last - 1));
      number(kAddedFlags, (a.strip_left ? 1u : 0u) | (a.strip_right ? 2u : 0u) | (a.special ? 4u : 0u) | (a.hidden ? 8u : 0u));
      last = a.id;
    }
    return out_.finish();
  }

 private:
  void number(Field field, uint32_t x) { encode_unsigned(out_, numbers_[field], x); }
  void difference(Field field, int64_t x) { encode_signed(out_, numbers_[field], static_cast<int32_t>(x)); }

  void head() {
    size_t pool = 0;
    for (const std::string& token : t_.tokens) pool += token.size();
    number(kFormat, 1);
    number(kKind, static_cast<uint32_t>(t_.model));
    number(kFlags, t_.flags);
    number(kCount, static_cast<uint32_t>(t_.tokens.size()));
    number(kPool, static_cast<uint32_t>(pool));
    number(kPairs, static_cast<uint32_t>(t_.pairs.size()));
    number(kAdded, static_cast<uint32_t>(t_.added.size()));
    number(kMaxWord, t_.max_word);
    for (int32_t role : {t_.unknown, t_.padding, t_.mask, t_.begin, t_.end}) number(kRole, static_cast<uint32_t>(role + 1));
    for (const auto* around : {&t_.before, &t_.after}) {
      number(kAround, static_cast<uint32_t>(around->size()));
      for (uint32_t id : *around) number(kAround, id);
    }
  }

  void text(const std::string& s) {
    number(kLength, static_cast<uint32_t>(s.size()));
    uint32_t previous = 0;
    for (char letter : s) {
      BitModel* context = &letters_[(previous & 127) * 256];
      const uint32_t byte = static_cast<uint8_t>(letter);
      uint32_t node = 1;
      for (int i = 7; i >= 0; --i) {
        const uint32_t bit = (byte >> i) & 1;
        out_.bit(context[node], bit);
        node = node << 1 | bit;
      }
      previous = byte;
    }
  }

  // Tokens that must be spelled: those that no pair makes, and those that a pair needs before another one makes them.
  std::vector<bool> spelled_tokens() const {
    std::vector<bool> spelled(t_.tokens.size(), true);
    for (const TokenPair& p : t_.pairs) spelled[p.result] = false;
    for (bool again = true; again;) {
      again = false;
      std::vector<bool> known = spelled;
      for (const TokenPair& p : t_.pairs) {
        for (uint32_t part : {p.left, p.right}) {
          again = again || !known[part];
          if (!known[part]) spelled[part] = known[part] = true;
        }
        known[p.result] = true;
      }
    }
    return spelled;
  }

  void pairs() {
    const std::vector<bool> spelled = spelled_tokens();
    std::vector<int64_t> symbol(t_.tokens.size(), -1);
    int64_t next = 0;
    for (size_t id = 0; id < t_.tokens.size(); ++id) {
      out_.bit(bits_[0], spelled[id]);
      if (!spelled[id]) continue;
      text(t_.tokens[id]);
      symbol[id] = next++;
    }
    std::vector<uint32_t> made;
    for (const TokenPair& p : t_.pairs) {
      number(kLeft, static_cast<uint32_t>(symbol[p.left]));
      number(kRight, static_cast<uint32_t>(symbol[p.right]));
      out_.bit(bits_[1], symbol[p.result] >= 0);
      if (symbol[p.result] >= 0) {
        number(kResult, static_cast<uint32_t>(symbol[p.result]));
      } else {
        symbol[p.result] = next++;
        made.push_back(p.result);
      }
    }
    int64_t last = -1;
    for (uint32_t id : made) {
      difference(kId, static_cast<int64_t>(id) - last - 1);
      last = id;
    }
  }

  void scores() {
    if (t_.model == TokenModel::kUnigrams) {
      const bool wide = std::any_of(t_.scores.begin(), t_.scores.end(), [](double s) { return static_cast<double>(static_cast<float>(s)) != s; });
      out_.bit(bits_[2], wide);
      for (double s : t_.scores) {
        const float narrow = static_cast<float>(s);
        uint64_t long_bits;
        uint32_t bits;
        std::memcpy(&long_bits, &s, 8);
        std::memcpy(&bits, &narrow, 4);
        if (wide) out_.raw_bits(static_cast<uint32_t>(long_bits >> 32), 32);
        out_.raw_bits(wide ? static_cast<uint32_t>(long_bits) : bits, 32);
      }
    } else if (t_.model == TokenModel::kScoredPairs) {
      std::map<double, int64_t, std::greater<>> ranks;
      for (double s : t_.scores) ranks[s] = 0;
      int64_t rank = 0, last = -1;
      for (auto& entry : ranks) entry.second = rank++;
      for (double s : t_.scores) {
        difference(kRank, ranks[s] - last - 1);
        last = ranks[s];
      }
    }
  }

  const Tokenizer& t_;
  BinaryEncoder out_;
  IntegerModel numbers_[kFields];
  BitModel bits_[4];
  std::unique_ptr<BitModel[]> letters_;
};

}  // namespace

Result<std::vector<uint8_t>> encode_tokenizer(const Tokenizer& t) {
  const size_t count = t.tokens.size();
  if (count == 0 || count > (size_t{1} << 22)) return usage_error(fmt::format("a vocabulary of {} tokens; 1 to 4 million are supported", count));
  for (const std::string& token : t.tokens) {
    if (token.size() > 65535) return usage_error(fmt::format("the vocabulary has a token of {} bytes; 65535 are supported", token.size()));
  }
  for (const TokenPair& p : t.pairs) {
    if (std::max({p.left, p.right, p.result}) >= count || t.tokens[p.left] + t.tokens[p.right] != t.tokens[p.result])
      return usage_error("the vocabulary has a merge that doesn't spell its result");
  }
  const bool scored = t.model == TokenModel::kUnigrams || t.model == TokenModel::kScoredPairs;
  if (scored && t.scores.size() != count) return usage_error("the vocabulary has tokens without scores");
  for (int32_t role : {t.unknown, t.padding, t.mask, t.begin, t.end}) {
    if (role >= static_cast<int32_t>(count)) return usage_error("the vocabulary names a special token that it doesn't have");
  }
  if (t.before.size() > 8 || t.after.size() > 8) return usage_error("more than 8 tokens around a text");
  for (const auto* around : {&t.before, &t.after}) {
    for (uint32_t id : *around) {
      if (id >= count) return usage_error("the vocabulary names a special token that it doesn't have");
    }
  }
  int64_t last = -1;
  for (const AddedToken& a : t.added) {
    if (a.id >= count || static_cast<int64_t>(a.id) <= last || t.tokens[a.id].empty()) return usage_error("the vocabulary's added tokens have wrong ids");
    last = a.id;
  }
  return TokenizerWriter(t).write();
}

}  // namespace pith::coding
