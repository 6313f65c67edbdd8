#include "ir/recurrent.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

namespace pith::ir {
namespace {

struct Entry {
  const char* name;
  RecurrentFunction::Kind kind;
  double alpha, beta;  // ONNX's defaults
  int parameters;
};
constexpr Entry kFunctions[] = {
    {"sigmoid", RecurrentFunction::kSigmoid, 0, 0, 0},
    {"tanh", RecurrentFunction::kTanh, 0, 0, 0},
    {"relu", RecurrentFunction::kRelu, 0, 0, 0},
    {"affine", RecurrentFunction::kAffine, 1, 0, 2},
    {"leakyrelu", RecurrentFunction::kLeakyRelu, 0.01, 0, 1},
    {"thresholdedrelu", RecurrentFunction::kThresholdedRelu, 1, 0, 1},
    {"scaledtanh", RecurrentFunction::kScaledTanh, 1, 1, 2},
    {"hardsigmoid", RecurrentFunction::kHardSigmoid, 0.2, 0.5, 2},
    {"elu", RecurrentFunction::kElu, 1, 0, 1},
    {"softsign", RecurrentFunction::kSoftsign, 0, 0, 0},
    {"softplus", RecurrentFunction::kSoftplus, 0, 0, 0},
};

std::vector<std::string> split_names(const std::string& text) {
  std::vector<std::string> names(1);
  for (char c : text) {
    if (c == ',') {
      names.emplace_back();
    } else if (c != ' ') {
      names.back().push_back(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
  }
  return names;
}

}  // namespace

float RecurrentFunction::operator()(float x) const {
  const auto a = static_cast<float>(alpha), b = static_cast<float>(beta);
  switch (kind) {
    case kSigmoid:
      return 1 / (1 + std::exp(-x));
    case kTanh:
      return std::tanh(x);
    case kRelu:
      return std::max(x, 0.0f);
    case kAffine:
      return a * x + b;
    case kLeakyRelu:
      return x < 0 ? a * x : x;
    case kThresholdedRelu:
      return x > a ? x : 0;
    case kScaledTanh:
      return a * std::tanh(b * x);
    case kHardSigmoid:
      return std::clamp(a * x + b, 0.0f, 1.0f);
    case kElu:
      return x < 0 ? a * std::expm1(x) : x;
    case kSoftsign:
      return x / (1 + std::abs(x));
    case kSoftplus:
      return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  }
  return x;
}

Result<std::vector<RecurrentFunction>> recurrent_functions(const Node& node, int64_t directions) {
  const bool lstm = node.op == Op::kLSTM, gru = node.op == Op::kGRU;
  const size_t each = lstm ? 3 : gru ? 2 : 1, count = each * static_cast<size_t>(directions);
  std::string text = node.text("activations", "");
  if (text.empty()) {
    const std::string one = lstm ? "sigmoid,tanh,tanh" : gru ? "sigmoid,tanh" : "tanh";
    text = directions == 2 ? one + "," + one : one;
  }
  const auto names = split_names(text);
  if (names.size() != count)
    return usage_error(fmt::format("attribute activations names {} functions, {} are needed", names.size(), count));
  // alphas and betas are given in order for the functions that take them
  const auto alphas = node.reals("activation_alpha"), betas = node.reals("activation_beta");
  size_t next_alpha = 0, next_beta = 0;
  std::vector<RecurrentFunction> functions;
  for (const std::string& name : names) {
    const auto* entry =
        std::find_if(std::begin(kFunctions), std::end(kFunctions), [&](const Entry& e) { return name == e.name; });
    if (entry == std::end(kFunctions)) return usage_error("attribute activations names the unknown function " + name);
    RecurrentFunction f{entry->kind, entry->alpha, entry->beta};
    if (entry->parameters > 0 && next_alpha < alphas.size()) f.alpha = alphas[next_alpha++];
    if (entry->parameters > 1 && next_beta < betas.size()) f.beta = betas[next_beta++];
    functions.push_back(f);
  }
  return functions;
}

}  // namespace pith::ir
