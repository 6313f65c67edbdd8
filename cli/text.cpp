// See text.h; and `pith tokenize`.
#include "cli/text.h"

#include <fmt/format.h>

#include "base/file.h"
#include "cli/cli.h"
#include "coding/encode/tokenizer.h"
#include "importers/tokenizer/tokenizer.h"
#include "program/program.h"

namespace pith::cli {

Result<std::string> coded_tokenizer(const Tokenizer& tokenizer) {
  PITH_TRY(const std::vector<uint8_t> block, coding::encode_tokenizer(tokenizer));
  return std::string(block.begin(), block.end());
}

Result<Vocabulary> Vocabulary::load(const std::string& block) {
  Vocabulary v;
  pith_post_status s = pith_tokenizer_memory_bytes(block.data(), block.size(), &v.memory_bytes_);
  if (s == PITH_POST_OK) {
    v.memory_ = std::shared_ptr<uint64_t[]>(new uint64_t[v.memory_bytes_ / 8 + 1]);
    s = pith_tokenizer_load(block.data(), block.size(), v.memory_.get(), v.memory_bytes_, &v.tokenizer_);
  }
  if (s != PITH_POST_OK) return usage_error("the vocabulary in the file is damaged; compress the model again");
  return v;
}

Result<Vocabulary> Vocabulary::open(const std::string& path) {
  if (path.ends_with(".pith")) {
    PITH_TRY(const std::vector<uint8_t> file, read_file(path));
    PITH_TRY(const Program program, read_program(file));
    const auto block = program.metadata.find("tokenizer");
    if (block == program.metadata.end()) return usage_error(fmt::format("'{}' has no vocabulary; compress it from a folder that has one", path));
    return load(block->second);
  }
  PITH_TRY(const Tokenizer t, importers::read_tokenizer(path));
  PITH_TRY(const std::string block, coded_tokenizer(t));
  return load(block);
}

Result<std::vector<pith_text_token>> Vocabulary::encode(const std::string& text, bool specials) const {
  const size_t bytes = pith_tokenizer_scratch_bytes(tokenizer_, text.size());
  if (bytes == 0) return usage_error("the text is too long; give it in parts below 256 MB");
  const std::unique_ptr<uint64_t[]> scratch(new uint64_t[bytes / 8 + 1]);
  std::vector<pith_text_token> tokens(3 * text.size() + 16);
  int32_t count = 0;
  const pith_post_status s = pith_tokenize(tokenizer_, text.data(), text.size(), specials, scratch.get(), bytes, tokens.data(), static_cast<int32_t>(tokens.size()), &count);
  if (s != PITH_POST_OK) return internal_error(pith_post_message(s));
  tokens.resize(static_cast<size_t>(count));
  return tokens;
}

std::string Vocabulary::decode(const std::vector<int32_t>& ids, bool skip_specials) const {
  size_t length = 0;
  const int32_t count = static_cast<int32_t>(ids.size());
  if (pith_detokenize(tokenizer_, ids.data(), count, skip_specials, nullptr, 0, &length) != PITH_POST_OK) return "";
  std::string text(length + 1, '\0');
  pith_detokenize(tokenizer_, ids.data(), count, skip_specials, text.data(), text.size(), &length);
  text.resize(length);
  return text;
}

std::string Vocabulary::token(int32_t id) const {
  size_t length = 0;
  const char* text = pith_tokenizer_token(tokenizer_, id, &length);
  return std::string(text, length);
}

namespace {

struct Flags {
  std::string model, input;
  bool plain = false;
};

// One line per line of the input: id:begin-end for each token.
Result<void> tokenize(const Flags& f, const Global& global) {
  PITH_TRY(const Vocabulary v, Vocabulary::open(f.model));
  PITH_TRY(const std::string text, read_text_file(f.input));
  nlohmann::json lines = nlohmann::json::array();
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    PITH_TRY(const std::vector<pith_text_token> tokens, v.encode(text.substr(at, end - at), !f.plain));
    nlohmann::json line = nlohmann::json::array();
    for (const pith_text_token& t : tokens) {
      if (global.json) line.push_back({t.id, t.begin, t.end});
      else fmt::format_to(std::back_inserter(out), "{}:{}-{} ", t.id, t.begin, t.end);
    }
    if (global.json) lines.push_back(std::move(line));
    else out += '\n';
    at = end + 1;
  }
  if (global.json) {
    print_json("tokenize", {{"vocabulary", v.size()}, {"memory_bytes", v.memory_bytes()}, {"lines", lines}});
  } else {
    std::fwrite(out.data(), 1, out.size(), stdout);
  }
  return {};
}

}  // namespace

void add_tokenize(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "tokenize", "the tokens of each line of a file, with the bytes that they stand for",
                            "  pith tokenize model.pith lines.txt\n  pith tokenize tokenizer.json lines.txt --json");
  verb->add_option("model", f.model, ".pith, tokenizer.json, vocab.json (with merges.txt), vocab.txt, sentencepiece .model, or a folder with one")->required();
  verb->add_option("input", f.input, "text file; any bytes")->required();
  verb->add_flag("--plain", f.plain, "without the tokens that the model wants around a text");
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return tokenize(f, global); }; });
}

}  // namespace pith::cli
