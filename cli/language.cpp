// See language.h.
#include "cli/language.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/file.h"

namespace pith::cli {
namespace {

Array integers(std::vector<int64_t> shape, const std::vector<int64_t>& values) {
  Array a = make_array(ArrayType::kI64, std::move(shape));
  std::memcpy(a.bytes.data(), values.data(), a.bytes.size());
  return a;
}

// Bytes at the end that begin a character without ending it.
size_t unfinished(const std::string& text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const uint8_t c = static_cast<uint8_t>(text[text.size() - back]);
    if ((c & 0xc0) == 0x80) continue;
    const size_t wanted = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
    return wanted > back ? back : 0;
  }
  return 0;
}

}  // namespace

bool is_language_head(const std::string& head) { return head == "fill-mask" || head == "embedding" || head == "generate"; }

Result<std::vector<std::string>> text_lines(const std::string& path) {
  PITH_TRY(const std::string text, read_text_file(path));
  std::vector<std::string> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    std::string line = text.substr(at, end - at);
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    while (!line.empty() && line.front() == ' ') line.erase(line.begin());
    if (!line.empty()) lines.push_back(std::move(line));
    at = end + 1;
  }
  return lines;
}

Result<Language> Language::open(Engine& engine, Vocabulary vocabulary) {
  Language m;
  m.engine_ = &engine;
  m.vocabulary_ = std::move(vocabulary);
  m.head_ = engine.metadata("head");
  if (!is_language_head(m.head_)) return usage_error(fmt::format("the model's head is '{}', which takes no text; fill-mask, embedding and generate do", m.head_));
  const std::vector<std::string> wanted = m.head_ == "generate" ? std::vector<std::string>{"token", "position"} : std::vector<std::string>{"input_ids", "attention_mask"};
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (engine.inputs().size() <= i || engine.inputs()[i].name != wanted[i]) return usage_error(fmt::format("the model has no input '{}'; import it from its folder", wanted[i]));
  }
  m.length_ = m.head_ == "generate" ? known_positions(engine.metadata("positions")) : engine.inputs()[0].dims.back();
  return m;
}

Result<std::vector<int64_t>> Language::maskable(const std::string& text) const {
  PITH_TRY(const std::vector<pith_text_token> tokens, vocabulary_.encode(text, true));
  std::vector<int64_t> places;
  for (size_t i = 0; i < tokens.size() && static_cast<int64_t>(i) < length_ - 1; ++i) {
    if (tokens[i].end > tokens[i].begin) places.push_back(static_cast<int64_t>(i));
  }
  return places;
}

Result<std::vector<Array>> Language::inputs(const std::string& text, int64_t masked) const {
  PITH_TRY(std::vector<pith_text_token> tokens, vocabulary_.encode(text, true));
  if (static_cast<int64_t>(tokens.size()) > length_) {  // the closing special stays
    tokens[static_cast<size_t>(length_) - 1] = tokens.back();
    tokens.resize(static_cast<size_t>(length_));
  }
  const int32_t mask = vocabulary_.role(PITH_TOKEN_MASK);
  if (masked >= 0 && masked < static_cast<int64_t>(tokens.size())) tokens[static_cast<size_t>(masked)].id = mask;
  std::vector<int64_t> ids(static_cast<size_t>(length_), std::max(0, vocabulary_.role(PITH_TOKEN_PADDING))), known(ids.size(), 0);
  int64_t place = -1;
  for (size_t i = 0; i < tokens.size(); ++i) {
    ids[i] = tokens[i].id;
    known[i] = 1;
    if (tokens[i].id == mask && place < 0) place = static_cast<int64_t>(i);
  }
  std::vector<Array> arrays = {integers({1, length_}, ids), integers({1, length_}, known)};
  if (head_ != "fill-mask") return arrays;
  if (place < 0) return usage_error(fmt::format("'{}' has no {} to complete (or it lies beyond token {})", text, mask < 0 ? "mask" : vocabulary_.token(mask), length_));
  arrays.push_back(integers({1}, {place}));
  return arrays;
}

std::vector<Array> Language::step(int32_t token, int64_t position) const { return step_inputs(token, position); }

int64_t known_positions(const std::string& entry) { return entry.empty() ? INT64_MAX : std::atoll(entry.c_str()); }

std::vector<Array> step_inputs(int32_t token, int64_t position) { return {integers({1, 1}, {token}), integers({1}, {position})}; }

Result<std::vector<float>> Language::run(const std::vector<Array>& inputs) const {
  PITH_TRY(std::vector<Output> outputs, engine_->run(inputs));
  return std::move(outputs[0].values);
}

Result<Language::Score> Language::score(const std::string& text, int64_t most_tokens) const {
  PITH_TRY(const std::vector<pith_text_token> tokens, vocabulary_.encode(text, true));
  Score s;
  engine_->reset();
  for (size_t i = 0; i + 1 < tokens.size() && static_cast<int64_t>(i) < std::min(most_tokens, length_); ++i) {
    PITH_TRY(const std::vector<float> logits, run(step(tokens[i].id, static_cast<int64_t>(i))));
    s.nats += log_sum_exp(logits) - static_cast<double>(logits[static_cast<size_t>(tokens[i + 1].id)]);
    ++s.tokens;
  }
  return s;
}

Result<Language::Score> Language::score_masks(const std::string& text, Random& random) const {
  constexpr int64_t kEvery = 8;
  Score s;
  PITH_TRY(const std::vector<int64_t> places, maskable(text));
  PITH_TRY(const std::vector<pith_text_token> tokens, vocabulary_.encode(text, true));
  const auto count = static_cast<int64_t>(places.size());
  if (count == 0) return s;
  for (int64_t i = random.integer(0, std::min(kEvery, count) - 1); i < count; i += kEvery) {
    const int64_t place = places[static_cast<size_t>(i)];
    PITH_TRY(const std::vector<Array> given, inputs(text, place));
    PITH_TRY(const std::vector<float> logits, run(given));
    s.nats += log_sum_exp(logits) - static_cast<double>(logits[static_cast<size_t>(tokens[static_cast<size_t>(place)].id)]);
    ++s.tokens;
  }
  return s;
}

int32_t choose_token(std::span<const float> logits, const Sampling& sampling, Random& random) {
  const int32_t best = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
  if (sampling.temperature <= 0) return best;
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)]; });
  if (sampling.top_k > 0 && static_cast<size_t>(sampling.top_k) < order.size()) order.resize(static_cast<size_t>(sampling.top_k));
  std::vector<double> weights;
  double total = 0;
  for (int32_t id : order) {
    weights.push_back(std::exp((static_cast<double>(logits[static_cast<size_t>(id)]) - static_cast<double>(logits[static_cast<size_t>(best)])) / sampling.temperature));
    total += weights.back();
  }
  double kept = 0;  // the fewest tokens that hold top_p of the mass
  size_t count = 0;
  while (count < weights.size() && (count == 0 || kept < sampling.top_p * total)) kept += weights[count++];
  double point = random.uniform() * kept;
  for (size_t i = 0; i < count; ++i) {
    point -= weights[i];
    if (point < 0) return order[i];
  }
  return order[count - 1];
}

Result<std::string> generate(const Language& model, const std::string& prompt, const Sampling& sampling, uint64_t seed, const std::function<void(const std::string&)>& emit) {
  PITH_TRY(const std::vector<pith_text_token> tokens, model.vocabulary().encode(prompt, true));
  Random random(seed);
  std::vector<int32_t> ids;
  for (const pith_text_token& t : tokens) ids.push_back(t.id);
  if (ids.empty() && model.vocabulary().role(PITH_TOKEN_BEGIN) >= 0) ids.push_back(model.vocabulary().role(PITH_TOKEN_BEGIN));
  if (ids.empty()) return usage_error("there is nothing to continue; give a text");
  if (static_cast<int64_t>(ids.size()) > model.length()) return usage_error(fmt::format("the text has {} tokens and the model positions for {}; give less", ids.size(), model.length()));
  std::string shown;
  const auto show = [&](bool all) {
    const std::string text = model.vocabulary().decode(ids);
    const size_t whole = text.size() - (all ? 0 : unfinished(text));
    if (whole > shown.size()) emit(text.substr(shown.size(), whole - shown.size()));
    shown = text.substr(0, std::max(whole, std::min(shown.size(), text.size())));
  };
  show(false);
  const int64_t steps = std::min(static_cast<int64_t>(ids.size()) + sampling.tokens - 1, model.length());
  for (int64_t i = 0; i < steps; ++i) {
    PITH_TRY(const std::vector<float> logits, model.run(model.step(ids[static_cast<size_t>(i)], i)));
    if (static_cast<size_t>(i) + 1 < ids.size()) continue;
    const int32_t next = choose_token(logits, sampling, random);
    if (next == model.vocabulary().role(PITH_TOKEN_END) || (next == model.vocabulary().role(PITH_TOKEN_BEGIN))) break;
    ids.push_back(next);
    show(false);
  }
  show(true);
  return shown;
}

double log_sum_exp(std::span<const float> x) {
  const double most = static_cast<double>(*std::max_element(x.begin(), x.end()));
  double sum = 0;
  for (float v : x) sum += std::exp(static_cast<double>(v) - most);
  return most + std::log(sum);
}

double cosine_of(std::span<const float> a, std::span<const float> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    ab += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return aa > 0 && bb > 0 ? ab / std::sqrt(aa * bb) : 0;
}

double rank_correlation(const std::vector<double>& a, const std::vector<double>& b) {
  const auto ranks = [](const std::vector<double>& x) {
    std::vector<size_t> order(x.size());
    std::iota(order.begin(), order.end(), size_t{0});
    std::sort(order.begin(), order.end(), [&](size_t i, size_t k) { return x[i] < x[k]; });
    std::vector<float> r(x.size());
    for (size_t i = 0; i < order.size(); ++i) r[order[i]] = static_cast<float>(i) - static_cast<float>(x.size() - 1) / 2;
    return r;
  };
  return cosine_of(ranks(a), ranks(b));
}

}  // namespace pith::cli
