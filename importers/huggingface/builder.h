// Building transformer graphs: weights by name, nodes by what they do. Errors are kept until the end, so that a builder
// reads as the network does.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "importers/huggingface/huggingface.h"

namespace pith::importers {

class NetworkBuilder {
 public:
  using Id = ir::ValueId;
  explicit NetworkBuilder(const Weights& weights) : weights_(weights) {}

  ir::Graph graph;

  // A name with an optional prefix: "bert.encoder..." or "encoder...".
  void set_prefixes(std::vector<std::string> prefixes) { prefixes_ = std::move(prefixes); }
  std::string find(const std::string& name) const;  // the full name, "" if there is none
  bool has(const std::string& name) const { return !find(name).empty(); }
  ir::Tensor weight(const std::string& name);        // an error is kept, and an empty tensor returned
  Id constant(const std::string& name) { return graph.add_constant(name, weight(name)); }
  Id constant(const std::string& name, ir::Tensor t) { return graph.add_constant(name, std::move(t)); }

  Id input(const std::string& name, ir::DType dtype, ir::Shape shape);
  void output(Id id, const std::string& name);
  void state(Id in, Id out, const std::string& name);
  Id node(ir::Op op, const std::string& name, std::vector<Id> inputs, std::map<std::string, ir::Attribute> attributes = {});

  // x W^T + b, as PyTorch's Linear stores it; `transposed` weights are [in, out] already (GPT-2).
  Id linear(Id x, const std::string& name, bool transposed = false);
  Id linear(Id x, const std::string& name, const ir::Tensor& weight, const std::optional<ir::Tensor>& bias);
  Id layer_norm(Id x, const std::string& name, double epsilon);
  Id rms_norm(Id x, const std::string& name, double epsilon);
  Id add(Id a, Id b, const std::string& name) { return node(ir::Op::kAdd, name, {a, b}); }
  Id multiply(Id a, Id b, const std::string& name) { return node(ir::Op::kMul, name, {a, b}); }
  Id reshape(Id x, ir::Shape shape, const std::string& name) { return node(ir::Op::kReshape, name, {x}, {{"shape", shape}}); }
  // gelu, gelu_new, relu, silu ... as config.json names them
  Id activation(Id x, const std::string& function, const std::string& name);
  // hidden [1, H] times the embedding's rows: logits [V], which stay float; the table may be shared with the embedding
  Id tied_logits(Id hidden, Id table, Id bias, const std::string& name);

  void fail(Error e) {
    if (!error_) error_ = std::move(e);
  }
  Result<ir::Graph> finish();

 private:
  const Weights& weights_;
  std::vector<std::string> prefixes_ = {""};
  std::optional<Error> error_;
};

// One decoding step's cache: the new keys (or values) [1, heads, 1, depth] take their slot in the state [1, heads, context, depth].
struct Step {
  NetworkBuilder::Id token, position, slot_mask, score_mask;  // slot_mask [1, 1, context, 1], score_mask [1, 1, 1, context]
  int64_t context;
};
// Slots roll but for the first `sinks` (less than `context`), which stay the first tokens': a window with attention sinks (Xiao et al.,
// "Efficient streaming language models with attention sinks", 2023).
Step begin_step(NetworkBuilder& b, int64_t context, int64_t sinks);
Result<void> check_sinks(int64_t context, int64_t sinks);  // kUsage where no window is left
NetworkBuilder::Id remember(NetworkBuilder& b, const Step& step, NetworkBuilder::Id fresh, int64_t heads, int64_t depth, const std::string& name);

// What a Llama-type network is made of, whichever file it comes from.
struct LlamaShape {
  int64_t width = 0, hidden = 0, layers = 0, heads = 0, key_heads = 0, head_width = 0, vocabulary = 0, positions = 0;
  double epsilon = 1e-5, theta = 10000;
  bool interleaved = false, tied = false;
  std::string function = "silu";
};
// Weights under Hugging Face's names (model.layers.0.self_attn.q_proj.weight ...).
Result<ir::Graph> build_llama(const Weights& weights, const LlamaShape& shape, const TransformerOptions& options);

}  // namespace pith::importers
