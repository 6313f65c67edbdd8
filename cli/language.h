// Language models behind an Engine: text in, and completions, embeddings or more text out.
//
//   fill-mask   input_ids, attention_mask, mask_position -> logits of the masked place
//   embedding   input_ids, attention_mask -> one vector
//   generate    token, position, and the keys and values of earlier tokens as state -> logits of the next token
#pragma once

#include <functional>
#include <span>

#include "base/random.h"
#include "cli/engine.h"
#include "cli/text.h"

namespace pith::cli {

bool is_language_head(const std::string& head);

// Lines of a file that aren't blank.
Result<std::vector<std::string>> text_lines(const std::string& path);

// Positions that a decoder knows, of the metadata entry "positions"; any number where it is empty.
int64_t known_positions(const std::string& entry);

// The integer inputs of one step of a decoder.
std::vector<Array> step_inputs(int32_t token, int64_t position);

class Language {
 public:
  // Errors name what the model lacks: a vocabulary, a head for text, inputs by these names.
  static Result<Language> open(Engine& engine, Vocabulary vocabulary);

  const std::string& head() const { return head_; }
  const Vocabulary& vocabulary() const { return vocabulary_; }
  int64_t length() const { return length_; }  // tokens of an encoder's input, positions that a decoder knows (the file's metadata; else any number)

  // An encoder's inputs for a text, cut at its length. fill-mask: the place of the mask, or of token `masked` if that is given.
  Result<std::vector<Array>> inputs(const std::string& text, int64_t masked = -1) const;
  // How many tokens of a text are no specials and can be masked.
  Result<std::vector<int64_t>> maskable(const std::string& text) const;
  // A decoder's inputs for one step.
  std::vector<Array> step(int32_t token, int64_t position) const;

  Result<std::vector<float>> run(const std::vector<Array>& inputs) const;  // the first output

  // Nats and tokens of a text under a decoder, which begins anew for each and ends with its positions.
  struct Score {
    double nats = 0;
    int64_t tokens = 0;
  };
  Result<Score> score(const std::string& text, int64_t most_tokens) const;
  // Of a masked-language model: every eighth token of the text, from one that chance picks, is masked alone and asked for.
  Result<Score> score_masks(const std::string& text, Random& random) const;

 private:
  Engine* engine_ = nullptr;
  Vocabulary vocabulary_;
  std::string head_;
  int64_t length_ = 0;
};

struct Sampling {
  int64_t tokens = 100;
  double temperature = 0;  // 0: the most probable
  int64_t top_k = 0;       // 0: all
  double top_p = 1;
};
// The next token from logits.
int32_t choose_token(std::span<const float> logits, const Sampling& sampling, Random& random);
// Continues a text as far as the model's positions go; `emit` receives it piece by piece, whole characters only. kUsage: the prompt has more.
Result<std::string> generate(const Language& model, const std::string& prompt, const Sampling& sampling, uint64_t seed, const std::function<void(const std::string&)>& emit);

double log_sum_exp(std::span<const float> x);
double cosine_of(std::span<const float> a, std::span<const float> b);
// Spearman's rank correlation.
double rank_correlation(const std::vector<double>& a, const std::vector<double>& b);

}  // namespace pith::cli
