// One operator of a TorchScript graph as a rule sees it, and the model that rules write to. Internal to importers/torchscript.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/jit/ir/ir.h>

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "importers/onnx/source.h"

namespace pith::importers {

// The model under way. Tensors that come from an input have a name in it; all others become initializers where they are read.
class Script {
 public:
  explicit Script(SourceModel& model) : model_(model) {}
  std::string add(const std::string& op, std::vector<std::string> inputs, std::map<std::string, SourceAttribute> attributes = {});
  std::vector<std::string> add_several(size_t outputs, const std::string& op, std::vector<std::string> inputs, std::map<std::string, SourceAttribute> attributes = {});
  std::string constant(const at::Tensor& t);
  std::string integers(const std::vector<int64_t>& values);  // a vector of int64
  void begin(const std::string& at) { at_ = at; }            // nodes that follow bear this name

 private:
  std::string fresh() { return "v" + std::to_string(++last_); }
  SourceModel& model_;
  std::string at_;
  int64_t last_ = 0;
};

// Arguments by position: their values on zeros, and the names of tensors that come from inputs ("" for others). A rule sets `y`,
// the names of the results, or `why` it can't.
struct Call {
  Script& script;
  const std::vector<c10::IValue>& in;
  const std::vector<std::vector<std::string>>& names;  // one for a tensor, several for a list of tensors
  const std::vector<c10::IValue>& out;                 // results on zeros
  std::vector<std::vector<std::string>> y;
  std::string why;

  bool has(size_t i) const { return i < in.size() && !in[i].isNone(); }
  at::Tensor value(size_t i) const { return in[i].toTensor(); }
  at::Tensor result(size_t i = 0) const { return out[i].toTensor(); }
  std::string tensor(size_t i) const;                            // the name of a tensor
  std::string real(size_t i, const at::Tensor& like) const;      // of a tensor or number, as the element type of `like`
  std::vector<std::string> tensors(size_t i) const;              // of a list of tensors
  std::vector<int64_t> sizes(size_t i, size_t count = 0) const;  // a list of integers; one of length 1 repeated to `count`
  int64_t integer(size_t i, int64_t otherwise = 0) const { return has(i) ? in[i].toInt() : otherwise; }
  double number(size_t i, double otherwise = 0) const { return has(i) ? in[i].toScalar().toDouble() : otherwise; }
  bool flag(size_t i, bool otherwise = false) const { return has(i) ? in[i].toBool() : otherwise; }
  int64_t axis(size_t i, int64_t rank, int64_t otherwise = 0) const;  // counted from the front
  void give(std::string name) { y = {{std::move(name)}}; }
  // Nodes that several rules want.
  std::string reshaped(const std::string& x, at::IntArrayRef shape) const { return script.add("Reshape", {x, script.integers(shape.vec())}); }
  std::string cast(const std::string& x, at::ScalarType from, at::ScalarType to) const;
};

using Rule = std::function<void(Call&)>;
using Rules = std::map<std::string, Rule>;  // by the operator's name without namespace, overload and the _ of in-place forms
void add_layer_rules(Rules& rules);         // convolutions, products, normalisations, pools
void add_element_rules(Rules& rules);       // functions, arithmetic, comparisons, reductions
void add_movement_rules(Rules& rules);      // views, slices, concatenations, resizing

// TensorProto's number of an element type that pith widens; 0 for others.
int32_t element_type_of(at::ScalarType type);

}  // namespace pith::importers
