// See shrink_language.h.
#include "cli/shrink_language.h"

#include <fmt/format.h>

#include "base/log.h"
#include "cli/text.h"
#include "macro/prune_tokens.h"
#include "macro/prune_vocabulary.h"

namespace pith::cli {
namespace {

Result<std::vector<double>> count_tokens(const Vocabulary& vocabulary, const std::vector<std::string>& lines) {
  std::vector<double> counts(static_cast<size_t>(vocabulary.size()), 0.0);
  for (const std::string& line : lines) {
    PITH_TRY(const std::vector<pith_text_token> tokens, vocabulary.encode(line, true));
    for (const pith_text_token& t : tokens) counts[static_cast<size_t>(t.id)] += 1;
  }
  return counts;
}

}  // namespace

void add_shrink_flags(CLI::App* verb, ShrinkFlags& f) {
  const char* group = "Fewer parts, of models that read text";
  verb->add_option("--keep-tokens", f.tokens, "so many tokens of the vocabulary stay: what every text needs, then those that the samples read most often; other words are read as shorter ones")
      ->check(CLI::PositiveNumber)
      ->group(group);
}

Result<std::vector<uint32_t>> leave_out_tokens(TextForms& forms, const Tokenizer& tokenizer, const Vocabulary& vocabulary, const std::vector<std::string>& lines, const ShrinkFlags& f,
                                               nlohmann::json& moves) {
  if (f.tokens == 0 || f.tokens >= static_cast<int64_t>(tokenizer.tokens.size())) return std::vector<uint32_t>();
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

}  // namespace pith::cli
