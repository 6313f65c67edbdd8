// See compare_language.h.
#include "cli/compare_language.h"

#include <algorithm>

#include "base/log.h"
#include "data/metrics.h"

namespace pith::cli {
namespace {

Result<nlohmann::json> compare_embeddings(const Language& a, const Language& b, const std::vector<std::string>& lines) {
  std::vector<std::vector<float>> x, y;
  double sum = 0, least = 1;
  Progress bar("comparing", lines.size());
  for (const std::string& line : lines) {
    PITH_TRY(const std::vector<Array> given, a.inputs(line));
    PITH_TRY(const std::vector<Array> own, b.inputs(line));
    PITH_TRY(std::vector<float> p, a.run(given));
    PITH_TRY(std::vector<float> q, b.run(own));
    const double c = cosine_of(p, q);
    sum += c;
    least = std::min(least, c);
    x.push_back(std::move(p));
    y.push_back(std::move(q));
    bar.step();
  }
  std::vector<double> s, t;
  for (size_t i = 0; i < x.size(); ++i) {
    for (size_t k = i + 1; k < x.size(); ++k) {
      s.push_back(cosine_of(x[i], x[k]));
      t.push_back(cosine_of(y[i], y[k]));
    }
  }
  return nlohmann::json{{"texts", lines.size()}, {"mean_cosine", sum / static_cast<double>(std::max<size_t>(1, lines.size()))}, {"least_cosine", least}, {"rank_correlation", rank_correlation(s, t)}};
}

// Where the small model has the token that the original has at a place; -1 where it reads that text as others.
Result<int64_t> same_place(const Language& b, const std::string& line, const pith_text_token& token, const std::string& spelled) {
  PITH_TRY(const std::vector<pith_text_token> tokens, b.vocabulary().encode(line, true));
  for (size_t i = 0; i < tokens.size() && static_cast<int64_t>(i) < b.length() - 1; ++i) {
    if (tokens[i].begin == token.begin && tokens[i].end == token.end && b.vocabulary().token(tokens[i].id) == spelled) return static_cast<int64_t>(i);
  }
  return -1;
}

Result<nlohmann::json> compare_masks(const Language& a, const Language& b, const std::vector<uint32_t>& kept, const std::vector<std::string>& lines, Random& random) {
  double nats[2] = {0, 0}, cosine = 0;
  int64_t same = 0, count = 0, left_out = 0;
  Progress bar("comparing", lines.size());
  for (const std::string& line : lines) {
    bar.step();
    PITH_TRY(const std::vector<int64_t> places, a.maskable(line));
    if (places.empty()) continue;
    const int64_t place = places[static_cast<size_t>(random.integer(0, static_cast<int64_t>(places.size()) - 1))];
    PITH_TRY(const std::vector<pith_text_token> tokens, a.vocabulary().encode(line, true));
    const pith_text_token& asked = tokens[static_cast<size_t>(place)];
    int64_t own_place = place;
    if (!kept.empty()) {
      PITH_TRY(own_place, same_place(b, line, asked, a.vocabulary().token(asked.id)));
    }
    if (own_place < 0) {
      ++left_out;
      continue;
    }
    PITH_TRY(const std::vector<Array> given, a.inputs(line, place));
    PITH_TRY(const std::vector<Array> own, b.inputs(line, own_place));
    PITH_TRY(const std::vector<float> p, a.run(given));
    PITH_TRY(const std::vector<float> q, b.run(own));
    std::vector<float> p_kept = p;
    int64_t own_id = asked.id;
    if (!kept.empty()) {
      p_kept.clear();
      for (uint32_t id : kept) p_kept.push_back(p[id]);
      own_id = std::lower_bound(kept.begin(), kept.end(), static_cast<uint32_t>(asked.id)) - kept.begin();
    }
    nats[0] += log_sum_exp(p) - static_cast<double>(p[static_cast<size_t>(asked.id)]);
    nats[1] += log_sum_exp(q) - static_cast<double>(q[static_cast<size_t>(own_id)]);
    cosine += cosine_of(p_kept, q);
    const size_t best = argmax(std::span<const float>(q));
    same += argmax(std::span<const float>(p)) == (kept.empty() ? best : kept[best]);
    ++count;
  }
  const double n = static_cast<double>(std::max<int64_t>(1, count));
  nlohmann::json body = {{"texts", count}, {"nats_float", nats[0] / n}, {"nats_compressed", nats[1] / n}, {"mean_cosine", cosine / n}, {"same_answer", 100.0 * static_cast<double>(same) / n}};
  if (!kept.empty()) body["masks_left_out"] = left_out;
  return body;
}

// A line's beginning that the original reads as so many tokens.
Result<std::string> beginning(const Language& a, const std::string& line, size_t most) {
  PITH_TRY(const std::vector<pith_text_token> tokens, a.vocabulary().encode(line, true));
  return tokens.size() <= most ? line : line.substr(0, tokens[most - 1].end);
}

Result<nlohmann::json> compare_scores(const Language& a, const Language& b, const std::vector<uint32_t>& kept, const std::vector<std::string>& lines) {
  Language::Score x, y;
  Progress bar("comparing", lines.size());
  for (const std::string& line : lines) {
    std::string text = line;
    if (!kept.empty()) {  // the same text, in more tokens perhaps
      PITH_TRY(text, beginning(a, line, static_cast<size_t>(kScoreTokens / 2)));
    }
    PITH_TRY(const Language::Score p, a.score(text, kScoreTokens));
    PITH_TRY(const Language::Score q, b.score(text, kept.empty() ? kScoreTokens : INT64_MAX));
    x.nats += p.nats;
    y.nats += q.nats;
    x.tokens += p.tokens;
    bar.step();
  }
  const double n = static_cast<double>(std::max<int64_t>(1, x.tokens));
  return nlohmann::json{{"tokens", x.tokens}, {"nats_per_token_float", x.nats / n}, {"nats_per_token_compressed", y.nats / n}};
}

}  // namespace

Result<nlohmann::json> compare_language(const Language& original, const Language& small, const std::vector<uint32_t>& kept, const std::vector<std::string>& lines, Random& random) {
  if (original.head() == "embedding") return compare_embeddings(original, small, lines);
  if (original.head() == "fill-mask") return compare_masks(original, small, kept, lines, random);
  return compare_scores(original, small, kept, lines);
}

}  // namespace pith::cli
