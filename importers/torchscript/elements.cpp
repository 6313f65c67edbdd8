// Functions of single elements, arithmetic, comparisons and reductions. Signatures: torch's native_functions.yaml.

#include <limits>

#include "importers/torchscript/call.h"

namespace pith::importers {
namespace {

Rule function(const char* op) {
  return [op](Call& c) { c.give(c.script.add(op, {c.real(0, c.result())})); };
}
std::string number(Call& c, double x) { return c.script.constant(at::scalar_tensor(x, c.result().scalar_type())); }

void clip(Call& c, std::optional<double> low, std::optional<double> high) {
  std::vector<std::string> in{c.real(0, c.result()), low ? number(c, *low) : ""};
  if (high) in.push_back(number(c, *high));
  c.give(c.script.add("Clip", in));
}
std::optional<double> bound(const Call& c, size_t i) { return c.has(i) ? std::optional(c.number(i)) : std::nullopt; }
void clamp(Call& c) {
  if ((c.has(1) && c.in[1].isTensor()) || (c.has(2) && c.in[2].isTensor())) {
    c.why = "its bounds are tensors, which aren't known";
    return;
  }
  clip(c, bound(c, 1), bound(c, 2));
}

// a op b, with both as the result's type; `scaled`: b is multiplied by the third argument first.
void arithmetic(Call& c, const char* op, bool scaled, bool swapped) {
  const at::Tensor y = c.result();
  std::string a = c.real(0, y), b = c.real(1, y);
  if (scaled && c.has(2) && c.number(2, 1) != 1) (swapped ? a : b) = c.script.add("Mul", {swapped ? a : b, number(c, c.number(2))});
  c.give(c.script.add(op, swapped ? std::vector<std::string>{b, a} : std::vector<std::string>{a, b}));
}
void divide(Call& c) {
  if (!c.has(2)) return arithmetic(c, "Div", false, false);
  const std::string mode = c.in[2].toStringRef();
  arithmetic(c, "Div", false, false);
  if (!c.result().is_floating_point()) {
    if (mode == "floor") c.why = "whole numbers are rounded down, which isn't known";
    return;
  }
  if (mode == "floor") c.give(c.script.add("Floor", {c.y[0][0]}));
  if (mode == "trunc") c.why = "it rounds to zero, which isn't known";
}
void compare(Call& c, const char* op) {
  const bool real = (c.in[0].isTensor() && c.value(0).is_floating_point()) || (c.in[1].isTensor() ? c.value(1).is_floating_point() : c.in[1].isDouble());
  const at::Tensor like = at::empty({0}, real ? at::kFloat : c.value(0).scalar_type() == at::kBool ? at::kBool : at::kLong);
  c.give(c.script.add(op, {c.real(0, like), c.real(1, like)}));
}

// input, dims, keepdim
void reduce(Call& c, const char* op) {
  const at::Tensor x = c.value(0);
  std::vector<int64_t> dims;
  bool keep = false;
  if (c.in.size() > 2 && (c.in[1].isIntList() || c.in[1].isInt() || c.in[1].isNone()) && c.in[2].isBool()) {
    dims = c.sizes(1);
    keep = c.flag(2);
  } else if (c.in.size() > 1 && (c.in[1].isIntList() || c.in[1].isTensor())) {
    c.why = "this form of it isn't known";
    return;
  }
  if (dims.empty()) {
    for (int64_t i = 0; i < x.dim(); ++i) dims.push_back(i);
  }
  c.give(c.script.add(op, {c.real(0, c.result()), c.script.integers(dims)}, {{"keepdims", int64_t{keep}}}));
}
// The greatest or least, of two tensors or along an axis with its place.
void extreme(Call& c, bool greatest) {
  if (c.in.size() == 2 && c.in[1].isTensor()) return arithmetic(c, greatest ? "Max" : "Min", false, false);
  if (c.out.size() == 1) return reduce(c, greatest ? "ReduceMax" : "ReduceMin");
  const int64_t axis = c.axis(1, c.value(0).dim());
  const std::string x = c.tensor(0);
  c.y = {{c.script.add(greatest ? "ReduceMax" : "ReduceMin", {x, c.script.integers({axis})}, {{"keepdims", int64_t{c.flag(2)}}})},
         {c.script.add(greatest ? "ArgMax" : "ArgMin", {x}, {{"axis", axis}, {"keepdims", int64_t{c.flag(2)}}})}};
}
void place(Call& c, const char* op) {  // argmax: input, dim, keepdim
  std::string x = c.tensor(0);
  if (!c.has(1)) x = c.script.add("Reshape", {x, c.script.integers({-1})});
  c.give(c.script.add(op, {x}, {{"axis", c.has(1) ? c.axis(1, c.value(0).dim()) : int64_t{0}}, {"keepdims", int64_t{c.has(1) && c.flag(2)}}}));
}
void soft(Call& c, const char* op) { c.give(c.script.add(op, {c.tensor(0)}, {{"axis", c.axis(1, c.value(0).dim())}})); }

void silu(Call& c) {
  const std::string x = c.tensor(0);
  c.give(c.script.add("Mul", {x, c.script.add("Sigmoid", {x})}));
}
void glu(Call& c) {  // input, dim
  const auto halves = c.script.add_several(2, "Split", {c.tensor(0)}, {{"axis", c.axis(1, c.value(0).dim(), -1)}, {"num_outputs", int64_t{2}}});
  c.give(c.script.add("Mul", {halves[0], c.script.add("Sigmoid", {halves[1]})}));
}
void softplus(Call& c) {
  if (c.number(1, 1) != 1) {
    c.why = "its beta isn't 1";
    return;
  }
  c.give(c.script.add("Softplus", {c.tensor(0)}));
}
void prelu(Call& c) {
  const int64_t channels = c.value(1).numel();
  std::vector<int64_t> shape{channels};
  for (int64_t i = 2; i < c.value(0).dim() && channels > 1; ++i) shape.push_back(1);
  c.give(c.script.add("PRelu", {c.tensor(0), c.names[1].empty() ? c.script.constant(c.value(1).reshape(shape)) : c.reshaped(c.tensor(1), shape)}));
}
void gelu(Call& c) { c.give(c.script.add("Gelu", {c.tensor(0)}, {{"approximate", c.has(1) ? c.in[1].toStringRef() : std::string("none")}})); }
void where(Call& c) {  // condition, a, b
  const at::Tensor y = c.result();
  c.give(c.script.add("Where", {c.cast(c.tensor(0), c.value(0).scalar_type(), at::kBool), c.real(1, y), c.real(2, y)}));
}
void masked_fill(Call& c) {  // input, mask, value
  c.give(c.script.add("Where", {c.cast(c.tensor(1), c.value(1).scalar_type(), at::kBool), c.real(2, c.result()), c.tensor(0)}));
}
void identity(Call& c) { c.give(c.cast(c.tensor(0), c.value(0).scalar_type(), c.result().scalar_type())); }

void add_functions(Rules& rules) {
  for (const auto& [name, op] : std::map<std::string, const char*>{
           {"relu", "Relu"}, {"sigmoid", "Sigmoid"}, {"tanh", "Tanh"}, {"exp", "Exp"}, {"sqrt", "Sqrt"}, {"abs", "Abs"}, {"neg", "Neg"}, {"floor", "Floor"}, {"ceil", "Ceil"}, {"log", "Log"},
           {"erf", "Erf"}, {"sin", "Sin"}, {"cos", "Cos"}, {"reciprocal", "Reciprocal"}, {"mish", "Mish"}, {"selu", "Selu"}, {"hardswish", "HardSwish"}, {"logical_not", "Not"}, {"sign", "Sign"}, {"round", "Round"}, {"softsign", "Softsign"}}) {
    rules[name] = function(op);
  }
  rules["silu"] = silu;
  rules["glu"] = glu;
  rules["gelu"] = gelu;
  rules["prelu"] = prelu;
  rules["softplus"] = softplus;
  rules["hardsigmoid"] = [](Call& c) { c.give(c.script.add("HardSigmoid", {c.tensor(0)}, {{"alpha", 1.0 / 6}, {"beta", 0.5}})); };
  rules["leaky_relu"] = [](Call& c) { c.give(c.script.add("LeakyRelu", {c.tensor(0)}, {{"alpha", c.number(1, 0.01)}})); };
  rules["elu"] = [](Call& c) { c.give(c.script.add("Elu", {c.tensor(0)}, {{"alpha", c.number(1, 1)}})); };
  rules["log_sigmoid"] = [](Call& c) { c.give(c.script.add("Log", {c.script.add("Sigmoid", {c.tensor(0)})})); };
  rules["rsqrt"] = [](Call& c) { c.give(c.script.add("Reciprocal", {c.script.add("Sqrt", {c.tensor(0)})})); };
  rules["square"] = [](Call& c) { c.give(c.script.add("Mul", {c.tensor(0), c.tensor(0)})); };
  rules["relu6"] = [](Call& c) { clip(c, 0, 6); };
  rules["hardtanh"] = [](Call& c) { clip(c, c.number(1, -1), c.number(2, 1)); };
  rules["clamp"] = rules["clip"] = clamp;
  rules["clamp_min"] = [](Call& c) { clip(c, c.number(1), std::nullopt); };
  rules["clamp_max"] = [](Call& c) { clip(c, std::nullopt, c.number(1)); };
}

}  // namespace

void add_element_rules(Rules& rules) {
  add_functions(rules);
  rules["add"] = [](Call& c) { arithmetic(c, "Add", true, false); };
  rules["sub"] = [](Call& c) { arithmetic(c, "Sub", true, false); };
  rules["rsub"] = [](Call& c) { arithmetic(c, "Sub", true, true); };
  rules["mul"] = [](Call& c) { arithmetic(c, "Mul", false, false); };
  rules["pow"] = [](Call& c) { arithmetic(c, "Pow", false, false); };
  rules["maximum"] = [](Call& c) { arithmetic(c, "Max", false, false); };
  rules["minimum"] = [](Call& c) { arithmetic(c, "Min", false, false); };
  rules["logical_and"] = [](Call& c) { arithmetic(c, "And", false, false); };
  rules["logical_or"] = [](Call& c) { arithmetic(c, "Or", false, false); };
  rules["div"] = divide;
  for (const auto& [name, op] : std::map<std::string, const char*>{{"eq", "Equal"}, {"gt", "Greater"}, {"lt", "Less"}, {"ge", "GreaterOrEqual"}, {"le", "LessOrEqual"}}) {
    rules[name] = [op = op](Call& c) { compare(c, op); };
  }
  rules["ne"] = [](Call& c) {
    compare(c, "Equal");
    c.give(c.script.add("Not", {c.y[0][0]}));
  };
  rules["where"] = where;
  rules["masked_fill"] = masked_fill;
  rules["mean"] = [](Call& c) { reduce(c, "ReduceMean"); };
  rules["sum"] = [](Call& c) { reduce(c, "ReduceSum"); };
  rules["amax"] = [](Call& c) { reduce(c, "ReduceMax"); };
  rules["amin"] = [](Call& c) { reduce(c, "ReduceMin"); };
  rules["max"] = [](Call& c) { extreme(c, true); };
  rules["min"] = [](Call& c) { extreme(c, false); };
  rules["argmax"] = [](Call& c) { place(c, "ArgMax"); };
  rules["argmin"] = [](Call& c) { place(c, "ArgMin"); };
  for (const char* name : {"softmax", "_softmax"}) rules[name] = [](Call& c) { soft(c, "Softmax"); };
  for (const char* name : {"log_softmax", "_log_softmax"}) rules[name] = [](Call& c) { soft(c, "LogSoftmax"); };
  for (const char* name : {"dropout", "feature_dropout", "alpha_dropout", "contiguous", "detach", "clone", "alias", "to", "type_as", "float", "_to_copy", "lift_fresh", "requires_grad", "positive"}) rules[name] = identity;
}

}  // namespace pith::importers
