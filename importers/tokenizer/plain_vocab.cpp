// Vocabularies in plain files, and what all readers share. See tokenizer.h.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "base/file.h"
#include "importers/tokenizer/tokenizer.h"

namespace pith::importers {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    size_t end = text.find('\n', at);
    if (end == std::string::npos) end = text.size();
    std::string line = text.substr(at, end - at);
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

// Code points of well-formed UTF-8.
std::vector<uint32_t> code_points(const std::string& text) {
  std::vector<uint32_t> points;
  for (size_t i = 0; i < text.size();) {
    const uint8_t c = static_cast<uint8_t>(text[i]);
    const int more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : c >= 0xc0 ? 1 : 0;
    uint32_t value = more == 0 ? c : c & (0x3fu >> more);
    for (int k = 1; k <= more && i + static_cast<size_t>(k) < text.size(); ++k) value = value << 6 | (static_cast<uint8_t>(text[i + static_cast<size_t>(k)]) & 0x3f);
    points.push_back(value);
    i += static_cast<size_t>(more) + 1;
  }
  return points;
}

}  // namespace

std::string bytes_of_printable(const std::string& text) {
  static const std::vector<int> kByte = [] {  // by code point
    std::vector<int> table(512, -1);
    int next = 256;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      table[static_cast<size_t>(printable ? b : next++)] = b;
    }
    return table;
  }();
  std::string bytes;
  for (uint32_t c : code_points(text)) {
    if (c >= kByte.size() || kByte[c] < 0) return text;
    bytes += static_cast<char>(kByte[c]);
  }
  return bytes;
}

Result<nlohmann::json> read_json(const std::string& path) {
  PITH_TRY(const std::string text, read_text_file(path));
  nlohmann::json parsed = nlohmann::json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return usage_error(fmt::format("'{}' is no JSON; fetch it again", path));
  return parsed;
}

Result<void> add_merges(Tokenizer& t, const std::vector<std::pair<std::string, std::string>>& merges, const std::string& path) {
  std::unordered_map<std::string, uint32_t> ids;
  for (size_t i = 0; i < t.tokens.size(); ++i) ids.emplace(t.tokens[i], static_cast<uint32_t>(i));
  for (const auto& [left, right] : merges) {
    const auto a = ids.find(left), b = ids.find(right), c = ids.find(left + right);
    if (a == ids.end() || b == ids.end() || c == ids.end())
      return usage_error(fmt::format("'{}' joins '{}' and '{}', which its vocabulary doesn't have; the files don't belong together", path, left, right));
    t.pairs.push_back({a->second, b->second, c->second});
  }
  return {};
}

void find_roles(Tokenizer& t) {
  const auto find = [&](int32_t& role, std::initializer_list<const char*> names) {
    for (const char* name : names) {
      for (size_t i = 0; i < t.tokens.size() && role < 0; ++i) {
        if (t.tokens[i] == name) role = static_cast<int32_t>(i);
      }
    }
  };
  find(t.unknown, {"[UNK]", "<unk>"});
  find(t.padding, {"[PAD]", "<pad>"});
  find(t.mask, {"[MASK]", "<mask>"});
  find(t.begin, {"[CLS]", "<s>", "<|begin_of_text|>", "<|endoftext|>"});
  find(t.end, {"[SEP]", "</s>", "<|end_of_text|>", "<|endoftext|>"});
}

Result<Tokenizer> read_vocab_merges(const std::string& vocab, const std::string& merges) {
  PITH_TRY(const nlohmann::json words, read_json(vocab));
  PITH_TRY(const std::string text, read_text_file(merges));
  if (!words.is_object() || words.empty()) return usage_error(fmt::format("'{}' is no vocabulary: not a JSON object of tokens and numbers", vocab));
  Tokenizer t;
  t.model = TokenModel::kBytePairs;
  t.flags = kTextByteLevel | kTextGpt2Words;
  t.tokens.resize(words.size());
  for (const auto& [token, id] : words.items()) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() >= words.size()) return usage_error(fmt::format("'{}' gives '{}' no number below {}", vocab, token, words.size()));
    t.tokens[id.get<size_t>()] = bytes_of_printable(token);
  }
  std::vector<std::pair<std::string, std::string>> pairs;
  for (const std::string& line : lines_of(text)) {
    const size_t space = line.find(' ');
    if (line.starts_with("#version") || space == std::string::npos) continue;
    pairs.emplace_back(bytes_of_printable(line.substr(0, space)), bytes_of_printable(line.substr(space + 1)));
  }
  PITH_CHECK_OK(add_merges(t, pairs, merges));
  find_roles(t);
  for (const char* name : {"<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>"}) {
    const auto found = std::find(t.tokens.begin(), t.tokens.end(), name);
    if (found == t.tokens.end()) continue;
    t.added.push_back({static_cast<uint32_t>(found - t.tokens.begin()), std::string_view(name) == "<mask>", false, true, false});
  }
  std::sort(t.added.begin(), t.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  if (t.mask >= 0 && t.begin >= 0 && t.end >= 0) {  // RoBERTa's form
    t.before = {static_cast<uint32_t>(t.begin)};
    t.after = {static_cast<uint32_t>(t.end)};
    t.flags |= kTextTrim;
  }
  return t;
}

Result<Tokenizer> read_vocab_txt(const std::string& path) {
  PITH_TRY(const std::string text, read_text_file(path));
  Tokenizer t;
  t.model = TokenModel::kWordPieces;
  t.flags = kTextClean | kTextIdeographs | kTextBertWords;
  t.tokens = lines_of(text);
  bool lower = true;
  const fs::path config = fs::path(path).parent_path() / "tokenizer_config.json";
  if (fs::exists(config)) {
    PITH_TRY(const nlohmann::json c, read_json(config.string()));
    lower = c.value("do_lower_case", true);
  }
  if (lower) t.flags |= kTextLower | kTextStripMarks;
  find_roles(t);
  if (t.begin < 0 || t.end < 0 || t.unknown < 0) return usage_error(fmt::format("'{}' has no [CLS], [SEP] and [UNK]; it is no vocabulary of word pieces", path));
  t.before = {static_cast<uint32_t>(t.begin)};
  t.after = {static_cast<uint32_t>(t.end)};
  for (int32_t id : {t.unknown, t.padding, t.mask, t.begin, t.end}) {
    if (id >= 0) t.added.push_back({static_cast<uint32_t>(id), false, false, true, false});
  }
  std::sort(t.added.begin(), t.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return t;
}

Result<Tokenizer> read_llama2c_tokens(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  const Error bad = usage_error(fmt::format("'{}' is no vocabulary of llama2.c: a number, then score, length and bytes of each piece", path));
  Tokenizer t;
  t.model = TokenModel::kScoredPairs;
  t.flags = kTextMetaspace | kTextPrepend | kTextByteFallback | kTextFuseUnknown | kTextStripFirstSpace;
  for (size_t at = 4; at < file.size();) {
    float score;
    int32_t length;
    if (file.size() - at < 8) return bad;
    std::memcpy(&score, file.data() + at, 4);
    std::memcpy(&length, file.data() + at + 4, 4);
    at += 8;
    if (length < 0 || static_cast<size_t>(length) > file.size() - at || !(score == score)) return bad;
    std::string token;
    for (int32_t i = 0; i < length; ++i) {  // its spaces are sentencepiece's U+2581
      const char c = static_cast<char>(file[at + static_cast<size_t>(i)]);
      token += c == ' ' ? "\xe2\x96\x81" : std::string(1, c);
    }
    at += static_cast<size_t>(length);
    t.tokens.push_back(token);
    t.scores.push_back(static_cast<double>(score));
  }
  if (t.tokens.size() < 259) return bad;
  // as its reader takes for granted: unknown, begin, end, then the 256 bytes
  t.tokens[1] = "<s>";
  t.tokens[2] = "</s>";
  t.unknown = 0;
  t.begin = 1;
  t.end = 2;
  t.before = {1};
  for (uint32_t id : {0u, 1u, 2u}) t.added.push_back({id, false, false, true, true});
  return t;
}

bool has_tokenizer(const std::string& folder) {
  for (const char* name : {"tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
    if (fs::exists(fs::path(folder) / name)) return true;
  }
  return false;
}

Result<Tokenizer> read_tokenizer(const std::string& path) {
  if (fs::is_directory(path)) {
    for (const char* name : {"tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model", "sentencepiece.bpe.model"}) {
      const fs::path file = fs::path(path) / name;
      if (fs::exists(file)) return read_tokenizer(file.string());
    }
    return usage_error(fmt::format("'{}' has no vocabulary: none of tokenizer.json, vocab.txt, vocab.json with merges.txt, tokenizer.model", path));
  }
  if (path.ends_with(".txt")) return read_vocab_txt(path);
  if (path.ends_with(".model")) return read_sentencepiece(path);
  if (path.ends_with(".bin")) return read_llama2c_tokens(path);
  if (path.ends_with("vocab.json")) return read_vocab_merges(path, (fs::path(path).parent_path() / "merges.txt").string());
  return read_tokenizer_json(path);
}

}  // namespace pith::importers
