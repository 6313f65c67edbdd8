// tokenizer.json of the library `tokenizers` (Hugging Face): a model, and what is done to the text before and after it. Every
// setting is either translated into a flag or named in an error; nothing is passed over in silence.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "importers/tokenizer/tokenizer.h"

namespace pith::importers {
namespace {

using nlohmann::json;

const char kMetaspace[] = "\xe2\x96\x81";

struct Reader {
  const json& file;
  const std::string& path;
  Tokenizer t;

  Error unsupported(const std::string& what) const { return error(ErrorCode::kUnsupported, fmt::format("'{}': {} isn't supported", path, what)); }
  static std::string type_of(const json& j) { return j.is_object() ? j.value("type", std::string()) : std::string(); }
  static bool flag(const json& j, const char* key, bool otherwise) {
    const auto found = j.find(key);
    return found == j.end() || !found->is_boolean() ? otherwise : found->get<bool>();
  }
  void set(uint32_t flags, bool on = true) {
    if (on) t.flags |= flags;
  }

  Result<void> normalizer(const json& n) {
    const std::string type = type_of(n);
    if (n.is_null()) return {};
    if (type == "Sequence") {
      for (const json& part : n.at("normalizers")) PITH_CHECK_OK(normalizer(part));
      return {};
    }
    if (type == "BertNormalizer") {
      const bool lower = flag(n, "lowercase", true);
      set(kTextClean, flag(n, "clean_text", true));
      set(kTextIdeographs, flag(n, "handle_chinese_chars", true));
      set(kTextStripMarks, flag(n, "strip_accents", lower));
      set(kTextLower, lower);
      return {};
    }
    if (type == "Prepend" && n.value("prepend", "") == kMetaspace) {
      set(kTextMetaspace | kTextPrepend);
      return {};
    }
    if (type == "Replace" && n.value("content", "") == kMetaspace && n.at("pattern").value("String", "") == " ") {
      set(kTextMetaspace);
      return {};
    }
    return unsupported(fmt::format("the normalizer {}", type));
  }

  Result<void> pre_tokenizer(const json& p) {
    const std::string type = type_of(p);
    if (p.is_null()) return {};
    if (type == "Sequence") {
      for (const json& part : p.at("pretokenizers")) PITH_CHECK_OK(pre_tokenizer(part));
      return {};
    }
    if (type == "BertPreTokenizer") {
      set(kTextBertWords);
    } else if (type == "ByteLevel") {
      set(kTextByteLevel);
      set(kTextGpt2Words, flag(p, "use_regex", true));
      set(kTextPrefixSpace, flag(p, "add_prefix_space", true));
    } else if (type == "WhitespaceSplit") {
      set(kTextSplitSpaces);
    } else if (type == "Metaspace") {
      if (p.value("replacement", kMetaspace) != kMetaspace) return unsupported("a Metaspace replacement other than U+2581");
      const std::string scheme = p.contains("prepend_scheme") ? p.at("prepend_scheme").get<std::string>() : flag(p, "add_prefix_space", true) ? "always" : "never";
      set(kTextMetaspace);
      set(kTextSplitMetaspace, flag(p, "split", true));
      set(kTextPrependMissing | (scheme == "first" ? kTextPrependFirst : kTextPrepend), scheme != "never");
    } else {
      return unsupported(fmt::format("the pre-tokenizer {}", type));
    }
    return {};
  }

  Result<void> post_processor(const json& p) {
    const std::string type = type_of(p);
    if (p.is_null()) return {};
    if (type == "Sequence") {
      for (const json& part : p.at("processors")) PITH_CHECK_OK(post_processor(part));
      return {};
    }
    if (type == "BertProcessing" || type == "RobertaProcessing") {
      t.before = {p.at("cls").at(1).get<uint32_t>()};
      t.after = {p.at("sep").at(1).get<uint32_t>()};
      set(kTextTrim, type == "RobertaProcessing" && flag(p, "trim_offsets", true));
    } else if (type == "ByteLevel") {
      set(kTextTrim, flag(p, "trim_offsets", true));
    } else if (type == "TemplateProcessing") {
      bool after = false;
      for (const json& piece : p.at("single")) {
        if (piece.contains("Sequence")) {
          after = true;
          continue;
        }
        for (const json& id : p.at("special_tokens").at(piece.at("SpecialToken").at("id").get<std::string>()).at("ids")) (after ? t.after : t.before).push_back(id.get<uint32_t>());
      }
    } else {
      return unsupported(fmt::format("the post-processor {}", type));
    }
    return {};
  }

  void place(uint64_t id, const std::string& token) {
    if (id > (uint64_t{1} << 22)) return;
    if (t.tokens.size() <= id) t.tokens.resize(id + 1);
    t.tokens[id] = token;
  }

  Result<void> vocabulary(const json& m) {
    std::string type = type_of(m);
    if (type.empty()) type = m.contains("merges") ? "BPE" : m.at("vocab").is_array() ? "Unigram" : "WordPiece";
    const bool bytes = (t.flags & kTextByteLevel) != 0;
    if (type == "Unigram") {
      t.model = TokenModel::kUnigrams;
      set(kTextFuseUnknown);
      for (const json& entry : m.at("vocab")) {
        t.tokens.push_back(entry.at(0).get<std::string>());
        t.scores.push_back(entry.at(1).get<double>());
      }
      if (m.contains("unk_id") && m.at("unk_id").is_number()) t.unknown = m.at("unk_id").get<int32_t>();
      set(kTextByteFallback, flag(m, "byte_fallback", false));
      return {};
    }
    for (const auto& [token, id] : m.at("vocab").items()) place(id.get<uint64_t>(), bytes ? bytes_of_printable(token) : token);
    const std::string unknown = m.contains("unk_token") && m.at("unk_token").is_string() ? m.at("unk_token").get<std::string>() : "";
    if (!unknown.empty() && m.at("vocab").contains(unknown)) t.unknown = m.at("vocab").at(unknown).get<int32_t>();
    const std::string prefix = m.contains("continuing_subword_prefix") && m.at("continuing_subword_prefix").is_string() ? m.at("continuing_subword_prefix").get<std::string>() : "";
    if (type == "WordPiece") {
      t.model = TokenModel::kWordPieces;
      t.max_word = m.value("max_input_chars_per_word", 100u);
      return prefix == "##" ? Result<void>() : Result<void>(unsupported("a prefix of continued words other than ##"));
    }
    if (type != "BPE") return unsupported(fmt::format("the model {}", type));
    const std::string suffix = m.contains("end_of_word_suffix") && m.at("end_of_word_suffix").is_string() ? m.at("end_of_word_suffix").get<std::string>() : "";
    if (!prefix.empty() || !suffix.empty()) return unsupported("a prefix or suffix of words in byte pairs");
    t.model = TokenModel::kBytePairs;
    set(kTextByteFallback, flag(m, "byte_fallback", false));
    set(kTextFuseUnknown, flag(m, "fuse_unk", false));
    set(kTextWholeWords, flag(m, "ignore_merges", false));
    std::vector<std::pair<std::string, std::string>> merges;
    for (const json& entry : m.at("merges")) {
      std::string left, right;
      if (entry.is_array()) {
        left = entry.at(0).get<std::string>();
        right = entry.at(1).get<std::string>();
      } else {
        const std::string line = entry.get<std::string>();
        const size_t space = line.find(' ');
        left = line.substr(0, space);
        right = space == std::string::npos ? "" : line.substr(space + 1);
      }
      merges.emplace_back(bytes ? bytes_of_printable(left) : left, bytes ? bytes_of_printable(right) : right);
    }
    return add_merges(t, merges, path);
  }

  Result<void> added_tokens() {
    if (!file.contains("added_tokens")) return {};
    for (const json& a : file.at("added_tokens")) {
      const uint64_t id = a.at("id").get<uint64_t>();
      place(id, a.at("content").get<std::string>());
      if (t.model == TokenModel::kUnigrams && t.scores.size() < t.tokens.size()) t.scores.resize(t.tokens.size(), 0.0);
      if (flag(a, "single_word", false)) return unsupported("an added token that is a single word");
      t.added.push_back({static_cast<uint32_t>(id), flag(a, "lstrip", false), flag(a, "rstrip", false), flag(a, "special", false), false});
    }
    std::sort(t.added.begin(), t.added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
    return {};
  }

  Result<void> read() {
    const auto part = [&](const char* key) { return file.contains(key) ? file.at(key) : json(); };
    PITH_CHECK_OK(normalizer(part("normalizer")));
    PITH_CHECK_OK(pre_tokenizer(part("pre_tokenizer")));
    PITH_CHECK_OK(post_processor(part("post_processor")));
    PITH_CHECK_OK(vocabulary(file.at("model")));
    PITH_CHECK_OK(added_tokens());
    set(kTextStripFirstSpace, (t.flags & kTextMetaspace) && (t.flags & (kTextPrepend | kTextPrependFirst)));
    find_roles(t);
    return {};
  }
};

}  // namespace

Result<Tokenizer> read_tokenizer_json(const std::string& path) {
  PITH_TRY(const json file, read_json(path));
  Reader reader{file, path, {}};
  try {  // a missing key or a wrong type anywhere
    PITH_CHECK_OK(reader.read());
  } catch (const json::exception& e) {
    return usage_error(fmt::format("'{}' isn't a tokenizer.json as it should be: {}", path, e.what()));
  }
  return std::move(reader.t);
}

}  // namespace pith::importers
