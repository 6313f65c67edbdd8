// See shrink_language.h.
#include "cli/shrink_language.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/log.h"
#include "cli/text.h"
#include "macro/drop_blocks.h"
#include "macro/factor_embedding.h"
#include "macro/measure.h"
#include "macro/prune_heads.h"
#include "macro/prune_tokens.h"
#include "macro/prune_vocabulary.h"
#include "macro/share_layers.h"

namespace pith::cli {
namespace {

constexpr double kMeasuredMacs = 8e9;  // of all samples together, once: what leaving parts out is measured on, many times
constexpr size_t kFewestSamples = 12;

Result<void> factor(TextForms& forms, const std::vector<double>& counts, int64_t rank, nlohmann::json& moves) {
  PITH_TRY(const EmbeddingFactors f, factor_embedding(forms.used, counts, rank));
  PITH_TRY(const FactorChange change, replace_embedding(forms.used, f));
  if (forms.whole) PITH_CHECK_OK(replace_embedding(*forms.whole, f));
  log_info(fmt::format("the table of tokens has rank {}: {} of float32 weights less, {:+.2f} million multiplications; {:.2f} % of its squares are lost", rank, bytes_text(-change.bytes),
                       static_cast<double>(change.macs) / 1e6, 100 * f.lost));
  moves.push_back({{"move", "factor the table of tokens"}, {"rank", rank}, {"lost", f.lost}, {"bytes", change.bytes}, {"multiplications", change.macs}});
  return {};
}

Result<void> drop(TextForms& forms, const std::string& head, const TextSamples& samples, double asked, nlohmann::json& moves) {
  ir::Graph& measured = forms.measured(head);
  const int64_t parameters = ir::parameter_count(measured);
  DropOptions o;
  o.macs_share = macs_share(measured, asked);
  o.distribution = head != "embedding";
  PITH_TRY(const DropReport r, drop_blocks(measured, samples, o));
  if (ir::Graph* following = forms.following(head)) PITH_CHECK_OK(leave_out_blocks(*following, r.dropped));
  for (size_t i = 0; i < r.dropped.size(); ++i) log_info(fmt::format("left out the block of '{}': distortion {:.4g}", r.dropped[i], r.losses[i]));
  const int64_t bytes = 4 * (ir::parameter_count(measured) - parameters);
  log_info(fmt::format("{:.1f} of {:.1f} million multiplications stay; {} of float32 weights less", static_cast<double>(r.macs_after) / 1e6, static_cast<double>(r.macs_before) / 1e6, bytes_text(-bytes)));
  moves.push_back({{"move", "leave out blocks"}, {"blocks", r.dropped}, {"distortion", r.losses.empty() ? 0 : r.losses.back()}, {"bytes", bytes}, {"multiplications", r.macs_after - r.macs_before}});
  return {};
}

Result<void> prune(TextForms& forms, const std::string& head, const TextSamples& samples, double share, nlohmann::json& moves) {
  ir::Graph& measured = forms.measured(head);
  HeadOptions o;
  o.share = share;
  o.distribution = head != "embedding";
  for (ir::ValueId id : measured.inputs) {
    if (measured.value(id).name == "attention_mask") o.row_mask = id;
  }
  PITH_TRY(const HeadReport r, prune_heads(measured, samples, o));
  if (ir::Graph* following = forms.following(head)) PITH_CHECK_OK(cut_heads(*following, r));
  nlohmann::json kept = nlohmann::json::object();
  for (const HeadCut& c : r.cuts) kept[c.attention] = c.kept;
  log_info(fmt::format("{} of {} attention heads stay: {} of float32 weights and {:.2f} million multiplications less; distortion {:.4g}", r.heads_after, r.heads_before, bytes_text(r.bytes), static_cast<double>(r.macs) / 1e6,
                       r.loss));
  moves.push_back({{"move", "remove attention heads"}, {"heads", r.heads_after}, {"of", r.heads_before}, {"kept", kept}, {"distortion", r.loss}, {"bytes", -r.bytes}, {"multiplications", -r.macs}});
  return {};
}

Result<void> share(TextForms& forms, const std::string& head, const TextSamples& samples, int64_t sets, nlohmann::json& moves) {
  PITH_TRY(const ShareReport r, share_layers(forms.measured(head), samples, {sets, head != "embedding"}));
  if (ir::Graph* following = forms.following(head)) PITH_CHECK_OK(share_as(*following, r));
  const double loss = r.losses.empty() ? 0 : r.losses.back();
  log_info(fmt::format("{} layers share {} sets of matrices: {} of float32 weights less; distortion {:.4g}", r.layers, r.sets.size(), bytes_text(r.bytes), loss));
  moves.push_back({{"move", "share matrices"}, {"sets", r.sets}, {"distortion", loss}, {"bytes", -r.bytes}, {"multiplications", 0}});
  return {};
}

}  // namespace

Result<std::vector<double>> count_tokens(const Vocabulary& vocabulary, const std::vector<std::string>& lines) {
  std::vector<double> counts(static_cast<size_t>(vocabulary.size()), 0.0);
  for (const std::string& line : lines) {
    PITH_TRY(const std::vector<pith_text_token> tokens, vocabulary.encode(line, true));
    for (const pith_text_token& t : tokens) counts[static_cast<size_t>(t.id)] += 1;
  }
  return counts;
}

void add_shrink_flags(CLI::App* verb, ShrinkFlags& f) {
  const char* group = "Fewer parts, of models that read text";
  verb->add_option("--keep-tokens", f.tokens, "so many tokens of the vocabulary stay: what every text needs, then those that the samples read most often; other words are read as shorter ones")
      ->check(CLI::PositiveNumber)
      ->group(group);
  verb->add_option("--embedding-rank", f.rank, "the table of tokens becomes a product of two with so many numbers a token, as near as the samples' tokens need")->check(CLI::PositiveNumber)->group(group);
  verb->add_option("--heads", f.heads, "share of the attention heads that stay, of all layers together: those go whose absence the answers to samples show least")->check(CLI::Range(0.0, 1.0))->capture_default_str()->group(group);
  verb->add_option("--share-layers", f.sets, "so many sets of matrices serve all layers, neighbours that are most alike together; the file holds a set once. With --bits-per-weight or --ratio")->check(CLI::PositiveNumber)->group(group);
}

Result<std::vector<uint32_t>> leave_out_tokens(TextForms& forms, const Tokenizer& tokenizer, const Vocabulary& vocabulary, const std::vector<std::string>& lines, const ShrinkFlags& f,
                                               nlohmann::json& moves) {
  if (f.tokens == 0) return std::vector<uint32_t>();
  if (f.tokens >= static_cast<int64_t>(tokenizer.tokens.size())) {
    log_info(fmt::format("the vocabulary has {} tokens, and --keep-tokens {} leaves none out", tokenizer.tokens.size(), f.tokens));
    return std::vector<uint32_t>();
  }
  PITH_TRY(const std::vector<double> counts, count_tokens(vocabulary, lines));
  PITH_TRY(const TokenChoice choice, choose_tokens(tokenizer, counts, f.tokens));
  PITH_TRY(const VocabularyCut cut, cut_vocabulary(forms.used, choice.kept));
  if (forms.whole) PITH_CHECK_OK(cut_vocabulary(*forms.whole, choice.kept));
  PITH_TRY(forms.used.metadata["tokenizer"], coded_tokenizer(cut_tokenizer(tokenizer, choice.kept)));
  log_info(fmt::format("{} of {} tokens stay ({} have to; {} are read in {} lines, and {:.2f} % of what is read stays as it is): {} of float32 weights and {:.2f} million multiplications less", choice.kept.size(),
                       tokenizer.tokens.size(), choice.required, choice.read, lines.size(), 100 * choice.covered, bytes_text(cut.bytes), static_cast<double>(cut.macs) / 1e6));
  moves.push_back({{"move", "leave out tokens"}, {"kept", choice.kept.size()}, {"required", choice.required}, {"read", choice.read}, {"covered", choice.covered}, {"bytes", -cut.bytes}, {"multiplications", -cut.macs}});
  return choice.kept;
}

Result<void> leave_out_parts(TextForms& forms, const std::string& head, const std::vector<double>& counts, const TextSamples& all, const ShrinkFlags& f, nlohmann::json& moves) {
  const double run = static_cast<double>(std::max<int64_t>(1, total_macs(forms.measured(head))));
  const size_t count = std::min(all.size(), std::max(kFewestSamples, static_cast<size_t>(kMeasuredMacs / run)));
  const TextSamples samples(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count));
  if (f.blocks > 0) PITH_CHECK_OK(drop(forms, head, samples, f.blocks, moves));
  if (f.heads < 1) PITH_CHECK_OK(prune(forms, head, samples, f.heads, moves));
  if (f.sets > 0) PITH_CHECK_OK(share(forms, head, samples, f.sets, moves));
  if (f.rank > 0) PITH_CHECK_OK(factor(forms, counts, f.rank, moves));
  return {};
}

}  // namespace pith::cli
