// See prune_tokens.h.
#include "macro/prune_tokens.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>

namespace pith {
namespace {

// How many bytes the character at the front of `text` takes; malformed ones take one.
size_t character(std::string_view text) {
  const auto c = static_cast<uint8_t>(text[0]);
  const size_t bytes = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
  return std::min(bytes, text.size());
}

class Chooser {
 public:
  Chooser(const Tokenizer& t, const std::vector<double>& counts) : t_(t), counts_(counts), must_(t.tokens.size(), false) {
    std::vector<bool> hidden(t.tokens.size(), false);
    for (const AddedToken& a : t.added) hidden[a.id] = a.hidden;
    for (size_t i = 0; i < t.tokens.size(); ++i) {  // the first of equal ones is found
      if (!hidden[i]) ids_.emplace(t.tokens[i], static_cast<uint32_t>(i));
    }
    for (size_t i = 0; i < t.pairs.size(); ++i) ranks_.emplace(key(t.pairs[i].left, t.pairs[i].right), i);
    require();
  }

  Result<TokenChoice> choose(int64_t most) {
    TokenChoice choice;
    const size_t count = t_.tokens.size();
    std::vector<bool> kept = must_;
    choice.required = std::count(kept.begin(), kept.end(), true);
    if (choice.required > most) return error(ErrorCode::kDoesNotFit, fmt::format("{} tokens must stay, so that every text has tokens; keep at least so many, not {}", choice.required, most));
    int64_t left = most - choice.required;
    for (uint32_t id : order()) {
      if (left == 0) break;
      if (kept[id]) continue;
      std::vector<uint32_t> wanted = parts(id);
      wanted.push_back(id);
      std::sort(wanted.begin(), wanted.end());
      wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
      std::erase_if(wanted, [&](uint32_t part) { return kept[part]; });
      if (static_cast<int64_t>(wanted.size()) > left) continue;
      for (uint32_t part : wanted) kept[part] = true;
      left -= static_cast<int64_t>(wanted.size());
    }
    double all = 0, covered = 0;
    for (size_t i = 0; i < count; ++i) {
      if (kept[i]) choice.kept.push_back(static_cast<uint32_t>(i));
      choice.read += count_of(i) > 0;
      all += count_of(i);
      covered += kept[i] ? count_of(i) : 0;
    }
    choice.covered = all > 0 ? covered / all : 1;
    return choice;
  }

 private:
  static uint64_t key(uint32_t left, uint32_t right) { return uint64_t{left} << 32 | right; }
  double count_of(size_t id) const { return id < counts_.size() ? counts_[id] : 0; }
  bool by_bytes() const { return (t_.flags & kTextByteLevel) != 0; }
  bool pieces() const { return t_.model == TokenModel::kWordPieces; }
  bool continued(const std::string& token) const { return pieces() && token.size() > 2 && token.starts_with("##"); }

  // Of a token, what it stands for.
  std::string_view text_of(const std::string& token) const { return std::string_view(token).substr(continued(token) ? 2 : 0); }
  bool single(const std::string& token) const {
    const std::string_view text = text_of(token);
    return !text.empty() && (by_bytes() ? text.size() == 1 : character(text) == text.size());
  }
  bool stands_for_byte(const std::string& token) const {
    return (t_.flags & kTextByteFallback) != 0 && token.size() == 6 && token.starts_with("<0x") && token.back() == '>';
  }

  // BERT's, which no text holds.
  static bool spare(const std::string& token) { return token.empty() || token.starts_with("[unused"); }

  // Whether every character of a token has one of its own: of pieces both at the beginning of a word and inside.
  bool spelled(const std::string& token) const {
    std::string_view text = text_of(token);
    while (!by_bytes() && !text.empty()) {
      const std::string letter(text.substr(0, character(text)));
      if (ids_.count(letter) == 0 || (pieces() && ids_.count("##" + letter) == 0)) return false;
      text.remove_prefix(letter.size());
    }
    return true;
  }

  void require() {
    for (const AddedToken& a : t_.added) must_[a.id] = true;
    for (int32_t role : {t_.unknown, t_.padding, t_.mask, t_.begin, t_.end}) {
      if (role >= 0) must_[static_cast<size_t>(role)] = true;
    }
    for (const auto* around : {&t_.before, &t_.after}) {
      for (uint32_t id : *around) must_[id] = true;
    }
    for (size_t i = 0; i < t_.tokens.size(); ++i) {
      const std::string& token = t_.tokens[i];
      must_[i] = must_[i] || single(token) || stands_for_byte(token) || (!spelled(token) && !spare(token));
    }
    if (t_.model == TokenModel::kUnigrams && !t_.scores.empty()) must_[static_cast<size_t>(std::min_element(t_.scores.begin(), t_.scores.end()) - t_.scores.begin())] = true;
  }

  std::vector<uint32_t> order() const {
    std::vector<uint32_t> ids(t_.tokens.size());
    std::iota(ids.begin(), ids.end(), 0u);
    std::stable_sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return count_of(a) != count_of(b) ? count_of(a) > count_of(b) : !spare(t_.tokens[a]) && spare(t_.tokens[b]); });
    return ids;
  }

  // The rank at which two neighbours are joined, lowest first, and what they become; false if they aren't.
  bool joined(uint32_t a, uint32_t b, double& rank, uint32_t& result) const {
    if (t_.model == TokenModel::kBytePairs) {
      const auto found = ranks_.find(key(a, b));
      if (found == ranks_.end()) return false;
      rank = static_cast<double>(found->second), result = t_.pairs[found->second].result;
      return true;
    }
    const auto found = ids_.find(t_.tokens[a] + t_.tokens[b]);
    if (found == ids_.end()) return false;
    rank = -t_.scores[found->second], result = found->second;
    return true;
  }

  // What pairs make on the way to a token.
  std::vector<uint32_t> parts(uint32_t id) const {
    std::vector<uint32_t> made, symbols;
    if (t_.model != TokenModel::kBytePairs && t_.model != TokenModel::kScoredPairs) return made;
    for (std::string_view text = t_.tokens[id]; !text.empty();) {
      const size_t bytes = by_bytes() ? 1 : character(text);
      const auto found = ids_.find(std::string(text.substr(0, bytes)));
      if (found == ids_.end()) return {};
      symbols.push_back(found->second);
      text.remove_prefix(bytes);
    }
    while (symbols.size() > 1) {
      double best = 0;
      size_t at = symbols.size();
      uint32_t result = 0;
      for (size_t i = 0; i + 1 < symbols.size(); ++i) {
        double rank = 0;
        uint32_t token = 0;
        if (!joined(symbols[i], symbols[i + 1], rank, token) || (at < symbols.size() && rank >= best)) continue;
        best = rank, at = i, result = token;
      }
      if (at == symbols.size()) return {};  // pairs don't come to it
      symbols[at] = result;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(at) + 1);
      made.push_back(result);
    }
    return made;
  }

  const Tokenizer& t_;
  const std::vector<double>& counts_;
  std::vector<bool> must_;
  std::unordered_map<std::string, uint32_t> ids_;
  std::unordered_map<uint64_t, size_t> ranks_;
};

}  // namespace

Result<TokenChoice> choose_tokens(const Tokenizer& t, const std::vector<double>& counts, int64_t most) { return Chooser(t, counts).choose(most); }

Tokenizer cut_tokenizer(const Tokenizer& t, const std::vector<uint32_t>& kept) {
  std::vector<int64_t> place(t.tokens.size(), -1);
  for (size_t i = 0; i < kept.size(); ++i) place[kept[i]] = static_cast<int64_t>(i);
  const auto role = [&](int32_t id) { return id < 0 ? id : static_cast<int32_t>(place[static_cast<size_t>(id)]); };
  const auto id_of = [&](uint32_t id) { return static_cast<uint32_t>(place[id]); };
  Tokenizer cut = t;
  cut.tokens.clear(), cut.scores.clear(), cut.pairs.clear();
  for (uint32_t id : kept) {
    cut.tokens.push_back(t.tokens[id]);
    if (!t.scores.empty()) cut.scores.push_back(t.scores[id]);
  }
  for (const TokenPair& p : t.pairs) {
    if (place[p.left] >= 0 && place[p.right] >= 0 && place[p.result] >= 0) cut.pairs.push_back({id_of(p.left), id_of(p.right), id_of(p.result)});
  }
  for (AddedToken& a : cut.added) a.id = id_of(a.id);
  for (auto* around : {&cut.before, &cut.after}) {
    for (uint32_t& id : *around) id = id_of(id);
  }
  cut.unknown = role(t.unknown), cut.padding = role(t.padding), cut.mask = role(t.mask), cut.begin = role(t.begin), cut.end = role(t.end);
  return cut;
}

}  // namespace pith
