// pith_node_runner MODEL.onnx DATASET_DIR|TENSORS.pb... [--no-fuse] [--relative LIMIT]
//
// Imports a model, interprets it on a data set in the form of ONNX's backend tests (serialised TensorProtos in order; those
// named input_<i>.pb are inputs, the others expected outputs) and compares: floats to rtol 1e-3 and atol 1e-5 (1e-2 where the expected output is itself rounded to
// bfloat16's 8 bits), integers and bools exactly. Prints one line,
// `pass: ...`, `fail: ...` or `unsupported: ...`, and exits with 0, 6 or 3. Node tests feed as inputs what real models hold as constants
// (axes, shapes); where the import needs one, the data set's tensor is bound as a constant, fewest first. With --relative,
// floats are judged by the largest difference as a part of the largest expected magnitude: for whole networks.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>

#include "base/file.h"
#include "importers/onnx/onnx_importer.h"
#include "importers/onnx/parse.h"
#include "ir/interpret.h"

namespace {

using pith::ErrorCode;
using pith::Result;
using pith::ir::DType;
using pith::ir::Graph;
using pith::ir::Tensor;

struct Outcome {
  ErrorCode code;
  std::string line;
};

// The model's inputs that aren't initialisers, by name, from the data set's files in order.
Result<std::map<std::string, Tensor>> read_inputs(const pith::importers::SourceModel& model, const std::vector<std::string>& files) {
  std::map<std::string, Tensor> inputs;
  size_t file = 0;
  for (const auto& v : model.graph.inputs) {
    bool initialised = false;
    for (const auto& t : model.graph.initializers) initialised = initialised || t.name == v.name;
    if (!v.is_tensor) return pith::usage_error(fmt::format("input '{}' is a sequence or an optional; pith takes tensors", v.name));
    if (initialised) continue;
    if (file >= files.size()) return pith::usage_error(fmt::format("no file for input '{}'; give one for each input", v.name));
    PITH_TRY(inputs[v.name], pith::importers::read_onnx_tensor(files[file]));
    ++file;
  }
  return inputs;
}

using Bindings = std::vector<std::map<std::string, Tensor>>;

// What to bind as constants, in the order in which to try: nothing, one integer vector or scalar at a time, all of them,
// everything small, everything.
Bindings bindings(const std::map<std::string, Tensor>& inputs) {
  Bindings all{{}};
  std::map<std::string, Tensor> integers, small;
  for (const auto& [name, t] : inputs) {
    const bool integral = t.dtype() != DType::kF32;
    if (t.shape().size() <= 1 && integral) all.push_back({{name, t}}), integers[name] = t;
    if (t.shape().size() <= 1) small[name] = t;
  }
  all.push_back(integers);
  all.push_back(small);
  all.push_back(inputs);
  return all;
}

bool same_value(double got, double wanted, double relative) {
  if (std::isnan(wanted)) return std::isnan(got);
  if (relative == 0 || std::isinf(wanted) || std::isinf(got)) return got == wanted;
  return std::abs(got - wanted) <= 1e-5 + relative * std::abs(wanted);
}

// NonMaxSuppression pads its static result with rows of -1 where ONNX's is shorter.
Tensor without_padding_rows(const Tensor& t, const Tensor& wanted) {
  if (t.shape().size() != 2 || wanted.shape().size() != 2 || t.dtype() != DType::kI64 || t.shape()[0] <= wanted.shape()[0]) return t;
  const size_t columns = static_cast<size_t>(t.shape()[1]), rows = static_cast<size_t>(wanted.shape()[0]);
  const auto v = t.as<int64_t>();
  for (size_t k = rows * columns; k < v.size(); ++k)
    if (v[k] != -1) return t;
  return Tensor::i64({wanted.shape()[0], t.shape()[1]}, std::vector<int64_t>(v.begin(), v.begin() + static_cast<long>(rows * columns)));
}

std::optional<std::string> difference(const std::string& name, const Tensor& result, const pith::importers::SourceTensor& expected) {
  const Tensor& wanted = expected.tensor;
  const double relative = wanted.dtype() != DType::kF32 ? 0 : expected.element_type == pith::importers::kBfloat16 ? 1e-2 : 1e-3;
  const Tensor got = without_padding_rows(result, wanted);
  if (got.dtype() != wanted.dtype())
    return fmt::format("output '{}' is {} where {} is expected", name, pith::ir::dtype_name(got.dtype()), pith::ir::dtype_name(wanted.dtype()));
  if (got.shape() != wanted.shape())
    return fmt::format("output '{}' has shape {} where {} is expected", name, pith::ir::to_string(got.shape()), pith::ir::to_string(wanted.shape()));
  double worst = 0;
  int64_t at = -1;
  for (int64_t i = 0; i < got.count(); ++i) {
    if (same_value(got.at(i), wanted.at(i), relative)) continue;
    const double error = std::abs(got.at(i) - wanted.at(i));
    if (at < 0 || error > worst) worst = error, at = i;
  }
  if (at < 0) return std::nullopt;
  return fmt::format("output '{}' differs: {} where {} is expected, at {} of {}", name, got.at(at), wanted.at(at), at, got.count());
}

struct DataSet {
  std::vector<std::string> inputs, outputs;
};

DataSet data_set(const std::vector<std::string>& paths) {
  DataSet set;
  for (const std::string& path : paths) {
    if (std::filesystem::is_directory(path)) {
      for (int i = 0; std::filesystem::exists(fmt::format("{}/input_{}.pb", path, i)); ++i) set.inputs.push_back(fmt::format("{}/input_{}.pb", path, i));
      for (int i = 0; std::filesystem::exists(fmt::format("{}/output_{}.pb", path, i)); ++i) set.outputs.push_back(fmt::format("{}/output_{}.pb", path, i));
    } else {
      const bool input = std::filesystem::path(path).filename().string().rfind("input_", 0) == 0;
      (input ? set.inputs : set.outputs).push_back(path);
    }
  }
  return set;
}

// The largest difference, as a part of the largest expected magnitude.
double relative_error(const Tensor& got, const Tensor& wanted) {
  double error = 0, largest = 1e-30;
  for (int64_t i = 0; i < wanted.count() && got.shape() == wanted.shape(); ++i) {
    const double d = std::abs(got.at(i) - wanted.at(i));
    if (std::isfinite(d)) error = std::max(error, d);
    if (std::isfinite(wanted.at(i))) largest = std::max(largest, std::abs(wanted.at(i)));
  }
  return error / largest;
}

Outcome run(const std::string& model_path, const DataSet& files, bool fuse, double limit) {
  const auto bytes = pith::read_file(model_path);
  if (!bytes.ok()) return {ErrorCode::kUsage, bytes.error().message};
  const std::string beside = std::filesystem::absolute(model_path).parent_path().string();
  const auto model = pith::importers::parse_model(*bytes, beside);
  if (!model.ok()) return {model.error().code, model.error().message};
  const auto inputs = read_inputs(*model, files.inputs);
  if (!inputs.ok()) return {ErrorCode::kUnsupported, inputs.error().message};

  std::optional<Graph> graph;
  std::string reason;
  for (const auto& bound : bindings(*inputs)) {
    pith::importers::OnnxOptions options;
    options.fuse = fuse;
    options.constants = bound;
    for (const auto& [name, t] : *inputs) options.input_shapes[name] = t.shape();
    Result<Graph> imported = pith::importers::import_onnx(*bytes, beside, options);
    if (imported.ok()) {
      graph = std::move(*imported);
      break;
    }
    if (reason.empty()) reason = imported.error().message;
    if (imported.error().code == ErrorCode::kInternal) return {ErrorCode::kMismatch, imported.error().message};
  }
  if (!graph) return {ErrorCode::kUnsupported, reason};

  std::vector<Tensor> feeds;
  for (const auto id : graph->inputs) feeds.push_back(inputs->at(graph->value(id).name));
  const auto results = pith::ir::interpret(*graph, feeds);
  if (!results.ok()) return {ErrorCode::kMismatch, results.error().message};
  double worst = 0;
  for (size_t i = 0; i < results->size() && i < files.outputs.size(); ++i) {
    const auto file = pith::read_file(files.outputs[i]);
    const auto wanted = file.ok() ? pith::importers::parse_tensor(*file) : file.error();
    if (!wanted.ok() || !wanted.value().refusal.empty())
      return {ErrorCode::kUnsupported, wanted.ok() ? wanted.value().refusal : wanted.error().message};
    const double relative = relative_error((*results)[i], wanted.value().tensor);
    const bool close = limit > 0 && wanted.value().tensor.dtype() == DType::kF32 && (*results)[i].shape() == wanted.value().tensor.shape() && relative <= limit;
    if (const auto wrong = close ? std::nullopt : difference(graph->value(graph->outputs[i]).name, (*results)[i], *wanted)) return {ErrorCode::kMismatch, *wrong};
    worst = std::max(worst, relative);
  }
  return {ErrorCode{}, fmt::format("largest error {:.2g} of the largest value, {} nodes", worst, graph->nodes.size())};
}

std::string one_line(std::string text) {
  for (char& c : text)
    if (c == '\n') c = ' ';
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool fuse = std::erase(arguments, "--no-fuse") == 0;
  double limit = 0;
  if (const auto flag = std::find(arguments.begin(), arguments.end(), "--relative"); flag != arguments.end() && flag + 1 != arguments.end()) {
    limit = std::strtod((flag + 1)->c_str(), nullptr);
    arguments.erase(flag, flag + 2);
  }
  if (arguments.size() < 2) {
    fmt::print(stderr, "usage: pith_node_runner MODEL.onnx DATASET_DIR|TENSORS.pb... [--no-fuse] [--relative LIMIT]\n");
    return static_cast<int>(ErrorCode::kUsage);
  }
  const Outcome outcome = run(arguments[0], data_set({arguments.begin() + 1, arguments.end()}), fuse, limit);
  const std::string reason = one_line(outcome.line);
  if (outcome.code == ErrorCode{}) fmt::print("pass: {}\n", reason);
  else if (outcome.code == ErrorCode::kMismatch) fmt::print("fail: {}\n", reason);
  else fmt::print("unsupported: {}\n", reason);
  return outcome.code == ErrorCode{} ? 0 : outcome.code == ErrorCode::kMismatch ? 6 : 3;
}
