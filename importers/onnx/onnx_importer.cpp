// ONNX files -> ir::Graph: the stages in order.
#include "importers/onnx/onnx_importer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "base/file.h"
#include "base/log.h"
#include "importers/onnx/fuse.h"
#include "importers/onnx/inputs.h"
#include "importers/onnx/node_context.h"
#include "importers/onnx/parse.h"
#include "importers/onnx/state_dict.h"
#include "importers/onnx/translator.h"

namespace pith::importers {
namespace {

using ir::Graph;
using ir::ValueId;

constexpr int64_t kOldestOpset = 7, kNewestOpset = 23;

void note_opset(const SourceModel& model) {
  const auto version = model.opsets.find("");
  if (version != model.opsets.end() && (version->second > kNewestOpset || version->second < kOldestOpset))
    log_verbose(fmt::format("the model uses opset {}; pith is made for opsets {} to {}", version->second, kOldestOpset, kNewestOpset));
}

Scope open_scope(const SourceModel& model, const std::vector<ResolvedInput>& inputs, Translator& translator) {
  Scope scope;
  scope.opsets = &model.opsets;
  translator.add_initializers(model.graph, scope);
  for (const ResolvedInput& in : inputs) {
    Operand o;
    o.kind = Operand::Kind::kTensor;
    o.element_type = in.element_type;
    o.id = in.fixed ? translator.builder.constant(in.fixed->cast(in.dtype), in.name)
                    : translator.builder.input(in.name, in.dtype, in.shape);
    scope.names[in.name] = o;
  }
  return scope;
}

// The model's outputs under their own names. An output that is an input, or the same as another, gets its own value.
Result<void> name_outputs(const SourceModel& model, const Scope& scope, Builder& builder) {
  Graph& graph = builder.graph;
  std::set<ValueId> taken(graph.inputs.begin(), graph.inputs.end());
  for (const SourceValue& v : model.graph.outputs) {
    const Operand* o = scope.find(v.name);
    if (!o) return usage_error(fmt::format("the model's output '{}' is made by nothing; export it again", v.name));
    if (o->kind != Operand::Kind::kTensor)
      return error(ErrorCode::kUnsupported, fmt::format("the model's output '{}' isn't a tensor; export its parts as outputs", v.name));
    ValueId id = o->id;
    if (!taken.insert(id).second) {
      builder.begin(v.name);
      if (graph.value(id).is_constant()) {
        id = builder.constant(*graph.value(id).constant);
      } else {
        PITH_TRY(id, builder.add(ir::Op::kIdentity, {id}));
      }
      taken.insert(id);
    }
    builder.rename(id, v.name);
    graph.outputs.push_back(id);
  }
  return {};
}

// Inputs that nothing reads stay only when the model says they are inputs of the network: all but the fixed ones.
void take_metadata(const SourceModel& model, Graph& graph) {
  graph.name = model.graph.name;
  for (const auto& [key, value] : model.metadata) graph.metadata["onnx." + key] = value;
  if (!model.producer.empty()) graph.metadata["producer"] = model.producer;
}

}  // namespace

Result<Graph> import_onnx(std::span<const uint8_t> bytes, const std::string& folder, const OnnxOptions& options) {
  PITH_TRY(SourceModel model, parse_model(bytes, folder));
  return import_source(std::move(model), options);
}

Result<Graph> import_source(SourceModel model, const OnnxOptions& options) {
  if (!options.weights.empty()) {
    PITH_TRY(const Weights weights, read_state_dict(options.weights));
    PITH_CHECK_OK(replace_weights(model, weights, options.weights));
  }
  note_opset(model);
  PITH_TRY(const std::vector<ResolvedInput> inputs, resolve_inputs(model.graph, options));

  // Translate: every node in today's semantics, shapes inferred, constants folded, functions and control flow expanded.
  Builder builder(options.most_constant_bytes);
  Translator translator(model, builder, options.most_nodes);
  Scope scope = open_scope(model, inputs, translator);
  PITH_CHECK_OK(translator.walk(model.graph.nodes, scope));
  if (!translator.refusals.empty()) return one_error(translator.refusals);
  PITH_CHECK_OK(name_outputs(model, scope, builder));
  Graph graph = std::move(builder.graph);
  take_metadata(model, graph);
  PITH_CHECK_OK(pair_state(graph, options));
  ir::remove_dead(graph);
  PITH_CHECK_OK(ir::verify(graph));

  // Fuse: decompositions and neighbours back to whole operators.
  if (options.fuse) {
    PITH_CHECK_OK(fuse(graph));
    PITH_CHECK_OK(ir::verify(graph));
  }
  return graph;
}

Result<Graph> import_onnx(const std::string& path, const OnnxOptions& options) {
  PITH_TRY(const std::vector<uint8_t> bytes, read_file(path));
  std::string folder = std::filesystem::path(path).parent_path().string();
  if (folder.empty()) folder = ".";
  Result<Graph> graph = import_onnx(bytes, folder, options);
  if (graph.ok()) return graph;
  return Error{graph.error().code, fmt::format("{}: {}", path, graph.error().message), graph.error().where};
}

Result<ir::Tensor> read_onnx_tensor(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> bytes, read_file(path));
  PITH_TRY(const SourceTensor t, parse_tensor(bytes));
  if (!t.refusal.empty()) return error(ErrorCode::kUnsupported, fmt::format("{}: {}; give numbers", path, t.refusal));
  return t.tensor;
}

std::vector<std::string> onnx_operators() {
  std::vector<std::string> names;
  for (const auto& [name, rule] : rules()) names.push_back(name);
  return names;
}

}  // namespace pith::importers
