// `pith run` on text: completions of a mask, embeddings and their similarity, continued text, nats per token.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/run_language.h"
#include "data/metrics.h"

namespace pith::cli {
namespace {

std::string with_completion(const std::string& text, const std::string& mask, std::string word) {
  const size_t at = text.find(mask);
  if (at == std::string::npos) return text;
  const bool glued = at > 0 && text[at - 1] == ' ' && word.starts_with(' ');
  return text.substr(0, at) + (glued ? word.substr(1) : word) + text.substr(at + mask.size());
}

Result<nlohmann::json> fill_mask(const Language& model, const std::string& text, int top, bool quiet) {
  PITH_TRY(const std::vector<Array> inputs, model.inputs(text));
  PITH_TRY(const std::vector<float> logits, model.run(inputs));
  const double total = log_sum_exp(logits);
  const std::string mask = model.vocabulary().token(model.vocabulary().role(PITH_TOKEN_MASK));
  nlohmann::json list = nlohmann::json::array();
  for (size_t id : top_k(logits, static_cast<size_t>(top))) {
    const double p = std::exp(static_cast<double>(logits[id]) - total);
    const std::string word = model.vocabulary().decode({static_cast<int32_t>(id)}, false);
    list.push_back({{"token", id}, {"text", word}, {"probability", p}});
    if (!quiet) fmt::print("{:5.1f} %  {:<16} {}\n", 100 * p, word, with_completion(text, mask, word));
  }
  return nlohmann::json{{"text", text}, {"completions", list}};
}

Result<nlohmann::json> embeddings(const Language& model, const std::vector<std::string>& texts, bool quiet) {
  std::vector<std::vector<float>> vectors;
  nlohmann::json list = nlohmann::json::array();
  for (const std::string& text : texts) {
    PITH_TRY(const std::vector<Array> inputs, model.inputs(text));
    PITH_TRY(std::vector<float> v, model.run(inputs));
    list.push_back({{"text", text}, {"embedding", v}});
    vectors.push_back(std::move(v));
  }
  nlohmann::json similarity = nlohmann::json::array();
  for (size_t i = 0; i < vectors.size(); ++i) {
    nlohmann::json row = nlohmann::json::array();
    for (size_t k = 0; k < vectors.size(); ++k) {
      row.push_back(cosine_of(vectors[i], vectors[k]));
      if (!quiet) fmt::print("{:7.4f}", row.back().get<double>());
    }
    if (!quiet) fmt::print("  {}\n", texts[i].substr(0, 80));
    similarity.push_back(std::move(row));
  }
  return nlohmann::json{{"embeddings", list}, {"similarity", similarity}};
}

Result<nlohmann::json> score_file(const Language& model, const std::vector<std::string>& lines, int64_t most, uint64_t seed, bool quiet) {
  Language::Score sum;
  Random random(seed);
  Progress bar("scoring", lines.size());
  for (const std::string& line : lines) {
    bar.step();
    PITH_TRY(const Language::Score s, model.head() == "fill-mask" ? model.score_masks(line, random) : model.score(line, most));
    sum.nats += s.nats;
    sum.tokens += s.tokens;
  }
  const double mean = sum.tokens > 0 ? sum.nats / static_cast<double>(sum.tokens) : 0;
  if (!quiet) fmt::print("{:.4f} nats per token over {} tokens\n", mean, sum.tokens);
  return nlohmann::json{{"nats_per_token", mean}, {"tokens", sum.tokens}};
}

}  // namespace

Result<void> run_language(Engine& engine, const LanguageFlags& f, const std::string& path, int top, const Global& global) {
  const std::string block = engine.metadata("tokenizer");
  PITH_TRY(Vocabulary vocabulary, !f.vocabulary.empty() ? Vocabulary::open(f.vocabulary) : block.empty() ? Vocabulary::open(path) : Vocabulary::load(block));
  PITH_TRY(const Language model, Language::open(engine, std::move(vocabulary)));
  std::vector<std::string> texts = f.texts;
  if (!f.file.empty()) {
    PITH_TRY(const std::vector<std::string> lines, text_lines(f.file));
    texts.insert(texts.end(), lines.begin(), lines.end());
  }
  nlohmann::json results = nlohmann::json::array();
  const auto started = std::chrono::steady_clock::now();
  if (f.score) {
    if (model.head() == "embedding") return usage_error("--nats is for models that continue text or complete it; this one doesn't");
    PITH_TRY(nlohmann::json j, score_file(model, texts, f.sampling.tokens, global.seed, global.json));
    results.push_back(std::move(j));
  } else if (model.head() == "embedding") {
    PITH_TRY(nlohmann::json j, embeddings(model, texts, global.json));
    results.push_back(std::move(j));
  } else {
    for (const std::string& text : texts) {
      if (model.head() == "fill-mask") {
        PITH_TRY(nlohmann::json j, fill_mask(model, text, top, global.json));
        results.push_back(std::move(j));
        continue;
      }
      engine.reset();
      const auto emit = [&](const std::string& piece) {
        if (global.json) return;
        std::fwrite(piece.data(), 1, piece.size(), stdout);
        std::fflush(stdout);
      };
      PITH_TRY(const std::string whole, generate(model, text, f.sampling, global.seed, emit));
      emit("\n");
      results.push_back({{"prompt", text}, {"text", whole}});
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  if (global.json) print_json("run", {{"model", path}, {"head", model.head()}, {"seconds", seconds}, {"results", results}});
  return {};
}

void add_language_flags(CLI::App* verb, LanguageFlags& f) {
  verb->add_option("--text", f.texts, "a text instead of inputs: with a mask to complete, to embed, or to continue; may be repeated");
  verb->add_option("--text-file", f.file, "texts, one a line");
  verb->add_option("--vocabulary", f.vocabulary, "tokenizer.json, vocab.txt ... instead of the model's own");
  verb->add_flag("--nats", f.score, "nats per token of the texts instead of continuing them; of a masked-language model: of every eighth token, each masked alone");
  verb->add_option("--tokens", f.sampling.tokens, "continue by at most so many tokens, score at most so many a line")->capture_default_str();
  verb->add_option("--temperature", f.sampling.temperature, "0 takes the most probable token, 1 draws from the model's distribution")->capture_default_str();
  verb->add_option("--top-k", f.sampling.top_k, "draw from the k most probable tokens; 0 = all")->capture_default_str();
  verb->add_option("--top-p", f.sampling.top_p, "draw from the fewest tokens that hold so much probability")->capture_default_str();
}

}  // namespace pith::cli
