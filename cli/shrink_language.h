// Models that read text made smaller before their weights are coded: fewer tokens, thinner tables, fewer heads and layers (macro/).
//
// A model may have two forms with constants of the same names: the one that is used, and one that answers for many tokens at
// once, on which retraining learns. What is decided on one is done to both.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "base/tokenizer.h"
#include "cli/cli.h"
#include "cli/language.h"
#include "ir/graph.h"

namespace pith::cli {

struct ShrinkFlags {
  int64_t tokens = 0;  // of the vocabulary that stay; 0: all
  int64_t rank = 0;    // of the table of tokens; 0: whole
  double blocks = 0;   // share of the multiplications (or their number) that stay where residual blocks are left out; 0: all
  double heads = 1;    // share of the attention heads that stay
  int64_t sets = 0;    // of matrices that all layers share; 0: each has its own
  bool parts() const { return rank > 0 || blocks > 0 || heads < 1 || sets > 0; }
  bool wanted() const { return tokens > 0 || parts(); }
};
void add_shrink_flags(CLI::App* verb, ShrinkFlags& flags);

struct TextForms {
  ir::Graph used;
  std::optional<ir::Graph> whole;
  // Parts are measured on a decoder's whole form where it is there; the other form, if there is one, follows.
  bool on_whole(const std::string& head) const { return whole && head == "generate"; }
  ir::Graph& measured(const std::string& head) { return on_whole(head) ? *whole : used; }
  ir::Graph* following(const std::string& head) { return on_whole(head) ? &used : whole ? &*whole : nullptr; }
};

// Leaves tokens out of both forms and of the vocabulary that travels in `used`; returns the original ids of those that stay, empty where
// nothing was asked for. `lines`: what tokens are counted in. What was done is added to `moves`.
Result<std::vector<uint32_t>> leave_out_tokens(TextForms& forms, const Tokenizer& tokenizer, const Vocabulary& vocabulary, const std::vector<std::string>& lines, const ShrinkFlags& flags,
                                               nlohmann::json& moves);

using TextSamples = std::vector<std::vector<ir::Tensor>>;

// Makes both forms smaller inside. `counts`: how often each row of the table of tokens is read. `samples` are inputs of `whole` where a
// decoder has it, else of `used`.
Result<void> leave_out_parts(TextForms& forms, const std::string& head, const std::vector<double>& counts, const TextSamples& samples, const ShrinkFlags& flags, nlohmann::json& moves);

// How often each token is read in lines.
Result<std::vector<double>> count_tokens(const Vocabulary& vocabulary, const std::vector<std::string>& lines);

}  // namespace pith::cli
