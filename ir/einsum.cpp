#include "ir/einsum.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

namespace pith::ir {
namespace {

constexpr int kEllipsis = -1;

// A term's labels as characters, an ellipsis as kEllipsis.
Result<std::vector<int>> parse_term(std::string_view term) {
  std::vector<int> labels;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term.substr(i, 3) == "...") {
      if (std::find(labels.begin(), labels.end(), kEllipsis) != labels.end())
        return usage_error("two ellipses in a term");
      labels.push_back(kEllipsis);
      i += 2;
    } else if (std::isalpha(static_cast<unsigned char>(term[i])) != 0) {
      labels.push_back(term[i]);
    } else {
      return usage_error(fmt::format("the equation has the character '{}'", term[i]));
    }
  }
  return labels;
}

Result<std::vector<std::vector<int>>> parse_terms(std::string_view text) {
  std::vector<std::vector<int>> terms;
  for (;;) {
    const size_t comma = text.find(',');
    PITH_TRY(auto term, parse_term(text.substr(0, comma)));
    terms.push_back(std::move(term));
    if (comma == std::string_view::npos) return terms;
    text.remove_prefix(comma + 1);
  }
}

// Numbers the labels: the ellipsis' dimensions first, then characters as they appear.
class Numbering {
 public:
  explicit Numbering(size_t ellipsis_rank) : ellipsis_rank_(ellipsis_rank), count_(static_cast<int>(ellipsis_rank)) {}
  int of(int character) {
    const auto [it, fresh] = numbers_.try_emplace(character, count_);
    if (fresh) ++count_;
    return it->second;
  }
  bool knows(int character) const { return numbers_.count(character) != 0; }
  // An ellipsis of `rank` dimensions is aligned at the right.
  std::vector<int> expand(const std::vector<int>& term, size_t rank) {
    std::vector<int> labels;
    for (int c : term) {
      if (c != kEllipsis) {
        labels.push_back(of(c));
        continue;
      }
      for (size_t i = ellipsis_rank_ - rank; i < ellipsis_rank_; ++i) labels.push_back(static_cast<int>(i));
    }
    return labels;
  }
  int count() const { return count_; }

 private:
  size_t ellipsis_rank_;
  int count_;
  std::map<int, int> numbers_;
};

bool has_ellipsis(const std::vector<int>& term) { return std::find(term.begin(), term.end(), kEllipsis) != term.end(); }

// Without "->": the ellipsis, then the labels that appear once, in alphabetical order.
std::vector<int> implicit_result(const std::vector<std::vector<int>>& terms) {
  std::map<int, int> uses;
  for (const auto& term : terms) {
    for (int c : term) ++uses[c];
  }
  std::vector<int> result;
  for (const auto& [c, n] : uses) {
    if (c == kEllipsis || n == 1) result.push_back(c);
  }
  return result;
}

}  // namespace

Result<EinsumPlan> plan_einsum(const std::string& equation, const std::vector<Shape>& shapes) {
  std::string text;
  std::copy_if(equation.begin(), equation.end(), std::back_inserter(text), [](char c) { return c != ' '; });
  const size_t arrow = text.find("->");
  PITH_TRY(const auto terms, parse_terms(std::string_view(text).substr(0, arrow)));
  if (terms.size() != shapes.size()) {
    return usage_error(
        fmt::format("the equation \"{}\" has {} terms for {} inputs", equation, terms.size(), shapes.size()));
  }
  size_t ellipsis_rank = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    const size_t named = terms[i].size() - (has_ellipsis(terms[i]) ? 1 : 0);
    if (named > shapes[i].size() || (named < shapes[i].size() && !has_ellipsis(terms[i]))) {
      return usage_error(fmt::format("the equation \"{}\" gives input {} {} dimensions", equation, i, named));
    }
    ellipsis_rank = std::max(ellipsis_rank, shapes[i].size() - named);
  }

  Numbering numbering(ellipsis_rank);
  EinsumPlan plan;
  for (size_t i = 0; i < terms.size(); ++i) {
    const size_t named = terms[i].size() - (has_ellipsis(terms[i]) ? 1 : 0);
    plan.operands.push_back(numbering.expand(terms[i], shapes[i].size() - named));
  }
  std::vector<int> result_term = implicit_result(terms);
  if (arrow != std::string::npos) {
    PITH_TRY(result_term, parse_term(std::string_view(text).substr(arrow + 2)));
  }
  for (size_t i = 0; i < result_term.size(); ++i) {
    const int c = result_term[i];
    if (c != kEllipsis && !numbering.knows(c))
      return usage_error(fmt::format("no input has the label {}", static_cast<char>(c)));
    if (std::count(result_term.begin(), result_term.end(), c) != 1) {
      return usage_error(fmt::format("the equation \"{}\" repeats a label in its result", equation));
    }
  }
  plan.result = numbering.expand(result_term, ellipsis_rank);

  plan.sizes.assign(static_cast<size_t>(numbering.count()), 1);
  for (size_t i = 0; i < shapes.size(); ++i) {
    for (size_t d = 0; d < shapes[i].size(); ++d) {
      int64_t& size = plan.sizes[static_cast<size_t>(plan.operands[i][d])];
      if (size != 1 && shapes[i][d] != 1 && size != shapes[i][d]) {
        return usage_error(
            fmt::format("the equation \"{}\" gives one label the sizes {} and {}", equation, size, shapes[i][d]));
      }
      if (shapes[i][d] != 1) size = shapes[i][d];
    }
  }
  return plan;
}

}  // namespace pith::ir
