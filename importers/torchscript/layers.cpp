// Convolutions, products, normalisations, pools and attention. Signatures: torch's native_functions.yaml.

#include <cmath>

#include "importers/torchscript/call.h"

namespace pith::importers {
namespace {

std::vector<int64_t> both_ends(const std::vector<int64_t>& pads) {
  std::vector<int64_t> all = pads;
  all.insert(all.end(), pads.begin(), pads.end());
  return all;
}

struct Window {
  std::vector<int64_t> stride, padding, dilation, output_padding;
  int64_t groups = 1;
  bool transposed = false;
  std::string automatic;  // padding by name: "same" or "valid"
};

void convolve(Call& c, const Window& w) {
  std::vector<std::string> in{c.tensor(0), c.tensor(1)};
  if (c.has(2)) in.push_back(c.tensor(2));
  std::map<std::string, SourceAttribute> attributes{{"strides", w.stride}, {"dilations", w.dilation}, {"group", w.groups}};
  if (w.automatic == "same") {
    attributes["auto_pad"] = std::string("SAME_UPPER");
  } else if (w.automatic.empty()) {
    attributes["pads"] = both_ends(w.padding);
  }
  if (w.transposed) attributes["output_padding"] = w.output_padding;
  c.give(c.script.add(w.transposed ? "ConvTranspose" : "Conv", in, attributes));
}

size_t spatial(const Call& c, size_t weight = 1) { return static_cast<size_t>(c.value(weight).dim() - 2); }

void conv(Call& c) {  // input, weight, bias, stride, padding, dilation, groups
  const size_t n = spatial(c);
  Window w{c.sizes(3, n), {}, c.sizes(5, n), {}, c.integer(6, 1), false, {}};
  if (c.in[4].isString()) {
    w.automatic = c.in[4].toStringRef();
  } else {
    w.padding = c.sizes(4, n);
  }
  convolve(c, w);
}
void conv_transpose(Call& c) {  // input, weight, bias, stride, padding, output_padding, groups, dilation
  const size_t n = spatial(c);
  convolve(c, {c.sizes(3, n), c.sizes(4, n), c.sizes(7, n), c.sizes(5, n), c.integer(6, 1), true, {}});
}
void convolution(Call& c) {  // input, weight, bias, stride, padding, dilation, transposed, output_padding, groups
  const size_t n = spatial(c);
  convolve(c, {c.sizes(3, n), c.sizes(4, n), c.sizes(5, n), c.sizes(7, n), c.integer(8, 1), c.flag(6), {}});
}

void linear(Call& c) {
  const std::string weights = c.names[1].empty() ? c.script.constant(c.value(1).t()) : c.script.add("Transpose", {c.tensor(1)}, {{"perm", std::vector<int64_t>{1, 0}}});
  std::string y = c.script.add("MatMul", {c.tensor(0), weights});
  if (c.has(2)) y = c.script.add("Add", {y, c.tensor(2)});
  c.give(y);
}
void addmm(Call& c) {  // bias, a, b, beta, alpha
  c.give(c.script.add("Gemm", {c.tensor(1), c.tensor(2), c.tensor(0)}, {{"beta", c.number(3, 1)}, {"alpha", c.number(4, 1)}}));
}
void matmul(Call& c) { c.give(c.script.add("MatMul", {c.tensor(0), c.tensor(1)})); }

// A parameter of a normalisation, or what stands for one that there isn't.
std::string parameter(Call& c, size_t i, int64_t count, double otherwise) { return c.has(i) ? c.tensor(i) : c.script.constant(at::full({count}, otherwise)); }

void batch_norm(Call& c) {  // input, weight, bias, mean, variance, training, momentum, eps
  if (c.flag(5) || !c.has(3) || !c.has(4)) {
    c.why = "it normalises by its batch; call eval() before saving";
    return;
  }
  const int64_t n = c.value(0).size(1);
  c.give(c.script.add("BatchNormalization", {c.tensor(0), parameter(c, 1, n, 1), parameter(c, 2, n, 0), c.tensor(3), c.tensor(4)}, {{"epsilon", c.number(7, 1e-5)}}));
}
void instance_norm(Call& c) {  // input, weight, bias, mean, variance, use_input_stats, momentum, eps
  const int64_t n = c.value(0).size(1);
  if (!c.flag(5)) {
    c.why = "it keeps statistics of training, which isn't known";
    return;
  }
  c.give(c.script.add("InstanceNormalization", {c.tensor(0), parameter(c, 1, n, 1), parameter(c, 2, n, 0)}, {{"epsilon", c.number(7, 1e-5)}}));
}
void group_norm(Call& c) {  // input, groups, weight, bias, eps
  const int64_t n = c.value(0).size(1);
  c.give(c.script.add("GroupNormalization", {c.tensor(0), parameter(c, 2, n, 1), parameter(c, 3, n, 0)}, {{"num_groups", c.integer(1)}, {"epsilon", c.number(4, 1e-5)}}));
}
void layer_norm(Call& c) {  // input, normalized_shape, weight, bias, eps
  const std::vector<int64_t> shape = c.sizes(1);
  const std::string scale = c.has(2) ? c.tensor(2) : c.script.constant(at::ones(shape));
  std::vector<std::string> in{c.tensor(0), scale};
  if (c.has(3)) in.push_back(c.tensor(3));
  c.give(c.script.add("LayerNormalization", in, {{"axis", -static_cast<int64_t>(shape.size())}, {"epsilon", c.number(4, 1e-5)}}));
}

void max_pool(Call& c, size_t n) {  // input, kernel, stride, padding, dilation, ceil_mode
  const std::vector<int64_t> kernel = c.sizes(1, n), stride = c.sizes(2, n);
  c.give(c.script.add("MaxPool", {c.tensor(0)}, {{"kernel_shape", kernel}, {"strides", stride.empty() ? kernel : stride}, {"pads", both_ends(c.sizes(3, n))}, {"dilations", c.sizes(4, n)}, {"ceil_mode", int64_t{c.flag(5)}}}));
}
void average_pool(Call& c, size_t n) {  // input, kernel, stride, padding, ceil_mode, count_include_pad, divisor
  if (c.has(6)) {
    c.why = "its divisor is given, which isn't known";
    return;
  }
  const std::vector<int64_t> kernel = c.sizes(1, n), stride = c.sizes(2, n);
  c.give(c.script.add("AveragePool", {c.tensor(0)}, {{"kernel_shape", kernel}, {"strides", stride.empty() ? kernel : stride}, {"pads", both_ends(c.sizes(3, n))}, {"ceil_mode", int64_t{c.flag(4)}}, {"count_include_pad", int64_t{c.flag(5, true)}}}));
}
// To a given size: one window for all, or windows that divide the input evenly.
void adaptive_pool(Call& c, bool average) {
  const at::Tensor x = c.value(0), y = c.result();
  const size_t n = c.sizes(1).size();
  std::vector<int64_t> kernel;
  bool one = true;
  for (size_t i = static_cast<size_t>(x.dim()) - n; i < static_cast<size_t>(x.dim()); ++i) {
    const int64_t from = x.size(static_cast<int64_t>(i)), to = y.size(static_cast<int64_t>(i));
    if (to < 1 || from % to != 0) {
      c.why = "its windows have several sizes; choose a size that divides the input's";
      return;
    }
    kernel.push_back(from / to);
    one = one && to == 1;
  }
  const std::string kind = average ? "AveragePool" : "MaxPool";
  c.give(one ? c.script.add("Global" + kind, {c.tensor(0)}) : c.script.add(kind, {c.tensor(0)}, {{"kernel_shape", kernel}, {"strides", kernel}}));
  if (!average) c.y.push_back({""});
}

void attention(Call& c) {  // query, key, value, mask, dropout, is_causal, scale
  const at::Tensor q = c.value(0), k = c.value(1);
  std::vector<int64_t> swapped;
  for (int64_t i = 0; i < k.dim(); ++i) swapped.push_back(i);
  std::swap(swapped[swapped.size() - 1], swapped[swapped.size() - 2]);
  const double scale = c.number(6, 1 / std::sqrt(static_cast<double>(q.size(-1))));
  std::string scores = c.script.add("MatMul", {c.tensor(0), c.script.add("Transpose", {c.tensor(1)}, {{"perm", swapped}})});
  scores = c.script.add("Mul", {scores, c.script.constant(at::scalar_tensor(scale))});
  constexpr double kHidden = -1e30;
  if (c.has(3)) {
    scores = c.value(3).scalar_type() == at::kBool ? c.script.add("Where", {c.tensor(3), scores, c.script.constant(at::scalar_tensor(kHidden))}) : c.script.add("Add", {scores, c.tensor(3)});
  } else if (c.flag(5)) {
    scores = c.script.add("Add", {scores, c.script.constant(at::full({q.size(-2), k.size(-2)}, kHidden).triu(1))});
  }
  c.give(c.script.add("MatMul", {c.script.add("Softmax", {scores}, {{"axis", int64_t{-1}}}), c.tensor(2)}));
}

// LSTM and GRU with all their layers. torch's gates are i f g o and r z n, ONNX's i o f c and z r h; W is (gates x hidden) x inputs in both.
at::Tensor reordered(const at::Tensor& t, bool lstm) {
  const std::vector<at::Tensor> g = t.chunk(lstm ? 4 : 3, 0);
  return lstm ? at::cat({g[0], g[3], g[1], g[2]}) : at::cat({g[1], g[0], g[2]});
}
void recurrent(Call& c, bool lstm) {  // input, state (LSTM: h and c), parameters, has_biases, layers, dropout, train, bidirectional, batch_first
  if (!c.in[0].isTensor() || !c.in[2].isTensorList()) {
    c.why = "packed sequences aren't known";
    return;
  }
  const std::vector<at::Tensor> parameters = c.in[2].toTensorVector();
  const bool biases = c.flag(3), both = c.flag(7), batch_first = c.flag(8);
  const int64_t layers = c.integer(4), directions = both ? 2 : 1, each = biases ? 4 : 2;
  if (static_cast<int64_t>(parameters.size()) != layers * directions * each) {
    c.why = "it projects its state, which isn't known";
    return;
  }
  const std::vector<int64_t> swap{1, 0, 2};
  std::string x = c.tensor(0);
  if (batch_first) x = c.script.add("Transpose", {x}, {{"perm", swap}});
  const std::vector<std::string> states = lstm ? c.tensors(1) : std::vector<std::string>{c.tensor(1)};
  std::vector<std::vector<std::string>> last(states.size());
  const at::Tensor first = c.result(1);  // layers * directions x batch x hidden
  const int64_t batch = first.size(1), hidden = first.size(2), steps = c.value(0).size(batch_first ? 1 : 0);
  for (int64_t layer = 0; layer < layers; ++layer) {
    std::vector<at::Tensor> w, r, b;
    for (int64_t d = 0; d < directions; ++d) {
      const auto at = [&](int64_t i) { return reordered(parameters[static_cast<size_t>((layer * directions + d) * each + i)], lstm); };
      w.push_back(at(0)), r.push_back(at(1));
      if (biases) b.push_back(at::cat({at(2), at(3)}));
    }
    std::vector<std::string> in{x, c.script.constant(at::stack(w)), c.script.constant(at::stack(r)), biases ? c.script.constant(at::stack(b)) : "", ""};
    for (const std::string& s : states) {
      in.push_back(layers == 1 ? s : c.script.add("Slice", {s, c.script.integers({layer * directions}), c.script.integers({(layer + 1) * directions}), c.script.integers({0})}));
    }
    std::map<std::string, SourceAttribute> attributes{{"hidden_size", hidden}, {"direction", std::string(both ? "bidirectional" : "forward")}};
    if (!lstm) attributes["linear_before_reset"] = int64_t{1};
    const std::vector<std::string> y = c.script.add_several(states.size() + 1, lstm ? "LSTM" : "GRU", in, attributes);
    x = c.reshaped(c.script.add("Transpose", {y[0]}, {{"perm", std::vector<int64_t>{0, 2, 1, 3}}}), {steps, batch, directions * hidden});
    for (size_t i = 0; i < last.size(); ++i) last[i].push_back(y[i + 1]);
  }
  if (batch_first) x = c.script.add("Transpose", {x}, {{"perm", swap}});
  c.y = {{x}};
  for (const auto& l : last) c.y.push_back({l.size() == 1 ? l[0] : c.script.add("Concat", l, {{"axis", int64_t{0}}})});
}

}  // namespace

void add_layer_rules(Rules& rules) {
  for (const char* name : {"conv1d", "conv2d", "conv3d"}) rules[name] = conv;
  for (const char* name : {"conv_transpose1d", "conv_transpose2d"}) rules[name] = conv_transpose;
  for (const char* name : {"_convolution", "convolution"}) rules[name] = convolution;
  rules["linear"] = linear;
  rules["addmm"] = addmm;
  for (const char* name : {"matmul", "mm", "bmm", "mv"}) rules[name] = matmul;
  rules["batch_norm"] = batch_norm;
  rules["instance_norm"] = instance_norm;
  rules["group_norm"] = group_norm;
  rules["layer_norm"] = layer_norm;
  rules["max_pool1d"] = [](Call& c) { max_pool(c, 1); };
  rules["max_pool2d"] = [](Call& c) { max_pool(c, 2); };
  rules["avg_pool1d"] = [](Call& c) { average_pool(c, 1); };
  rules["avg_pool2d"] = [](Call& c) { average_pool(c, 2); };
  for (const char* name : {"adaptive_avg_pool1d", "adaptive_avg_pool2d"}) rules[name] = [](Call& c) { adaptive_pool(c, true); };
  for (const char* name : {"adaptive_max_pool1d", "adaptive_max_pool2d"}) rules[name] = [](Call& c) { adaptive_pool(c, false); };
  rules["scaled_dot_product_attention"] = attention;
  rules["lstm"] = [](Call& c) { recurrent(c, true); };
  rules["gru"] = [](Call& c) { recurrent(c, false); };
}

}  // namespace pith::importers
