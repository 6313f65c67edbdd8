// One way to run a network, whichever form it has: an ONNX file through the float interpreter, a .pith file through the
// runtime. `run`, `eval`, `bench` and the agreement check of `compress` all speak to this.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "data/preprocess.h"
#include "data/samples.h"
#include "ir/graph.h"

namespace CLI {
class App;
}

namespace pith::cli {

struct Port {
  std::string name;
  std::vector<int64_t> dims;  // logical
  bool whole = false;         // integers (indices, masks)
};

struct Output {
  std::vector<int64_t> dims;
  std::vector<float> values;
};

struct Memory {  // bytes
  size_t file = 0, model = 0, instance = 0, arena = 0;
};

struct StoredRows {
  uint64_t all = 0, coarse = 0;
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual const std::vector<Port>& inputs() const = 0;
  virtual Result<std::vector<Output>> run(const std::vector<Array>& inputs) = 0;
  virtual std::string metadata(const std::string& key) const = 0;
  virtual Memory memory() const { return {}; }
  // The arena's place for post-processing, the network's own again with the next run; empty where none was planned.
  virtual std::span<std::byte> post_memory() { return {}; }
  virtual std::string kind() const = 0;
  virtual void reset() {}
  // Rows of activations stored in coded form so far, and how many of them coarser than they are.
  virtual StoredRows stored_rows() const { return {}; }
  // Median seconds of each operator over `runs` runs on zeros; nothing where there are no operators to observe.
  virtual Result<std::vector<double>> operator_seconds(int runs) { (void)runs; return std::vector<double>(); }
};

struct EngineOptions {
  std::string memory = "fastest";  // smallest | fastest
  int threads = 1;
  std::string isa = "best";
  std::span<std::byte> arena = {};  // the caller's, of several .pith engines that run one after the other (pith_instance_create_shared); empty: its own
};

// The flags --memory, --threads and --isa.
void add_engine_flags(CLI::App* verb, EngineOptions& options);

// One line where a file that should keep its activations as they are (metadata "activations") couldn't.
void warn_of_coarse_rows(const Engine& engine);

// .pith through the runtime; ONNX, Hugging Face folders and checkpoints of llama2.c through the float interpreter.
Result<std::unique_ptr<Engine>> open_engine(const std::string& path, const EngineOptions& options);
Result<std::unique_ptr<Engine>> pith_engine(std::vector<uint8_t> file, const std::string& path, const EngineOptions& options);
std::unique_ptr<Engine> graph_engine(const ir::Graph& graph);

// The engine's inputs for a sample, preprocessed; errors name the sample and the input.
Result<std::vector<Array>> prepare_inputs(const Engine& engine, const Preprocess& preprocess, const Sample& sample, Geometry* geometry);
// The recipe to use: the flag's, else the model's, else one inferred from the input's shape.
Result<Preprocess> choose_preprocess(const Engine& engine, const std::string& flag);

}  // namespace pith::cli
