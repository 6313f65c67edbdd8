// See engine.h.
#include "cli/engine.h"

#include <CLI/CLI.hpp>
#include <fmt/format.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "base/file.h"
#include "base/log.h"
#include "cli/onnx_flags.h"
#include "cli/threads.h"
#include "importers/onnx/onnx_importer.h"
#include "ir/interpret.h"
#include "pith/pith.h"

namespace pith::cli {
namespace {

struct AlignedFree {
  void operator()(void* p) const { std::free(p); }
};
using AlignedMemory = std::unique_ptr<void, AlignedFree>;

// Many megabytes of weights are read through in every run, which takes a third less time in large pages (a decoder of 110 M on a
// busy Xeon).
constexpr size_t kLargePage = size_t{2} << 20, kWorthLargePages = 8 * kLargePage;

AlignedMemory aligned_memory(size_t bytes) {
  const size_t alignment = bytes < kWorthLargePages ? PITH_ALIGNMENT : kLargePage, rounded = (bytes + alignment - 1) / alignment * alignment;
  AlignedMemory memory(std::aligned_alloc(alignment, rounded));
#if defined(__linux__)
  if (memory && alignment == kLargePage) ::madvise(memory.get(), rounded, MADV_HUGEPAGE);  // a wish, which may fail
#endif
  return memory;
}

Error runtime_error(pith_status status, const std::string& path) {
  const pith_error detail = pith_last_error();
  const std::string at = detail.op ? fmt::format(" at operator {} ({})", detail.op_index, detail.op) : "";
  return usage_error(fmt::format("'{}': {}{}: {}", path, pith_status_text(status), at, detail.reason ? detail.reason : ""));
}

// An output's values in logical order; those of an output by rows gather while the network runs.
struct RowSink {
  pith_tensor port{};
  std::vector<float> values;

  static void take(void* context, int32_t, int32_t row, int32_t rows, void* data) {
    RowSink& sink = *static_cast<RowSink*>(context);
    const pith_tensor& t = sink.port;
    size_t logical[4], step = 1, stride[4];
    for (int i = 3; i >= 0; --i) logical[i] = step, step *= static_cast<size_t>(t.dims[i]);
    for (int i = 0; i < 4; ++i) stride[i] = logical[t.permutation[i]];
    const size_t width = static_cast<size_t>(t.dims[t.permutation[2]]), channels = static_cast<size_t>(t.dims[t.permutation[3]]);
    size_t at = 0;
    for (size_t y = static_cast<size_t>(row); y < static_cast<size_t>(row + rows); ++y) {
      for (size_t x = 0; x < width; ++x) {
        for (size_t c = 0; c < channels; ++c, ++at) sink.values[y * stride[1] + x * stride[2] + c * stride[3]] = value(t, data, at);
      }
    }
  }

 private:
  static float value(const pith_tensor& t, const void* data, size_t at) {
    if (t.type == PITH_TYPE_F32) return static_cast<const float*>(data)[at];
    if (t.type == PITH_TYPE_I32) return static_cast<float>(static_cast<const int32_t*>(data)[at]);
    return static_cast<float>((static_cast<const uint8_t*>(data)[at] - t.zero_point) * t.scale);
  }
};

class PithEngine : public Engine {
 public:
  static Result<std::unique_ptr<Engine>> open(std::vector<uint8_t> file, const std::string& path, const EngineOptions& options) {
    auto engine = std::make_unique<PithEngine>();
    engine->path_ = path;
    engine->file_ = std::move(file);
    if (options.memory != "smallest" && options.memory != "balanced" && options.memory != "fastest")
      return usage_error(fmt::format("unknown memory mode '{}'; choose smallest, balanced or fastest", options.memory));
    if (options.threads < 1 || options.threads > 256) return usage_error("--threads takes 1 to 256");
    pith_isa isa = PITH_ISA_BEST;
    for (int i = 0; i < PITH_ISA_COUNT; ++i) {
      if (options.isa == pith_isa_name(static_cast<pith_isa>(i))) isa = static_cast<pith_isa>(i);
    }
    if (isa == PITH_ISA_BEST && options.isa != "best") return usage_error(fmt::format("unknown instruction set '{}'", options.isa));
    if (const pith_status s = pith_set_isa(isa); s != PITH_OK) return runtime_error(s, path);
    const pith_mode mode = options.memory == "smallest" ? PITH_MODE_SMALLEST : options.memory == "balanced" ? PITH_MODE_BALANCED : PITH_MODE_FASTEST;
    pith_sizes sizes;
    pith_status s = pith_probe(engine->file_.data(), engine->file_.size(), mode, options.threads, &sizes);
    if (s == PITH_ERROR_VERSION)
      return usage_error(fmt::format("'{}' has format version {}; this pith reads version {}, write the file again with it", path, engine->file_[1], pith_format_version()));
    if (s != PITH_OK) return runtime_error(s, path);
    const auto too_little = [&] { return error(ErrorCode::kDoesNotFit, fmt::format("'{}' needs {} bytes of memory; free some", path, sizes.model_bytes + sizes.instance_bytes)); };
    engine->model_memory_ = aligned_memory(sizes.model_bytes);
    if (!engine->model_memory_) return too_little();
    s = pith_load(engine->file_.data(), engine->file_.size(), mode, options.threads, engine->model_memory_.get(), sizes.model_bytes, &engine->model_);
    if (s != PITH_OK) return runtime_error(s, path);
    const bool shared = !options.arena.empty();
    if (shared) sizes.instance_bytes = pith_shared_bytes(engine->model_);
    engine->memory_ = {engine->file_.size(), sizes.model_bytes, sizes.instance_bytes, sizes.arena_bytes};
    engine->instance_memory_ = aligned_memory(sizes.instance_bytes);
    if (!engine->instance_memory_) return too_little();
    s = shared ? pith_instance_create_shared(engine->model_, engine->instance_memory_.get(), sizes.instance_bytes, options.arena.data(), options.arena.size(), &engine->instance_)
               : pith_instance_create(engine->model_, engine->instance_memory_.get(), sizes.instance_bytes, &engine->instance_);
    if (s != PITH_OK) return runtime_error(s, path);
    if (options.threads > 1) {
      engine->pool_ = std::make_unique<ThreadPool>(options.threads);
      pith_set_parallel(engine->instance_, &ThreadPool::parallel_for, engine->pool_.get());
    }
    for (int32_t i = 0; i < pith_input_count(engine->model_); ++i) {
      pith_tensor t;
      pith_model_input(engine->model_, i, &t);
      engine->inputs_.push_back({t.name, std::vector<int64_t>(t.dims, t.dims + t.rank), t.type == PITH_TYPE_I32});
    }
    engine->outputs_.resize(static_cast<size_t>(pith_output_count(engine->model_)));
    for (size_t i = 0; i < engine->outputs_.size(); ++i) {
      RowSink& sink = engine->outputs_[i];
      pith_model_output(engine->model_, static_cast<int32_t>(i), &sink.port);
      if (sink.port.rows > 0) pith_set_row_sink(engine->instance_, static_cast<int32_t>(i), &RowSink::take, &sink);
    }
    return std::unique_ptr<Engine>(std::move(engine));
  }

  const std::vector<Port>& inputs() const override { return inputs_; }
  std::string kind() const override { return fmt::format("pith ({})", pith_isa_name(pith_model_isa(model_))); }
  Memory memory() const override { return memory_; }
  void reset() override { pith_reset(instance_); }
  StoredRows stored_rows() const override {
    StoredRows rows;
    pith_stored_rows(instance_, &rows.all, &rows.coarse);
    return rows;
  }
  std::span<std::byte> post_memory() override {
    void* memory = nullptr;
    size_t bytes = 0;
    if (pith_post_memory(file_.data(), file_.size(), instance_, &memory, &bytes) != PITH_OK) return {};
    return {static_cast<std::byte*>(memory), bytes};
  }

  Result<std::vector<Output>> run(const std::vector<Array>& inputs) override {
    Fed fed;
    PITH_CHECK_OK(feed(inputs, fed));
    for (RowSink& sink : outputs_) sink.values.resize(sink.port.count);
    if (const pith_status s = pith_run(instance_); s != PITH_OK) return runtime_error(s, path_);
    std::vector<Output> outputs;
    for (size_t i = 0; i < outputs_.size(); ++i) {
      const pith_tensor& t = outputs_[i].port;
      if (t.rows == 0) {
        if (const pith_status s = pith_get_output_f32(instance_, static_cast<int32_t>(i), outputs_[i].values.data(), t.count); s != PITH_OK) return runtime_error(s, path_);
      }
      outputs.push_back({std::vector<int64_t>(t.dims, t.dims + t.rank), std::move(outputs_[i].values)});
      outputs_[i].values.clear();
    }
    return outputs;
  }

  Result<std::vector<double>> operator_seconds(int runs) override {
    using Clock = std::chrono::steady_clock;
    struct Observed {
      std::vector<std::vector<double>> seconds;
      Clock::time_point last;
      static void end(void* context, int32_t op, const char*) {
        Observed& self = *static_cast<Observed*>(context);
        const Clock::time_point now = Clock::now();
        self.seconds.at(static_cast<size_t>(op)).push_back(std::chrono::duration<double>(now - self.last).count());
        self.last = Clock::now();
      }
    } observed;
    observed.seconds.resize(static_cast<size_t>(pith_op_count(model_)));
    std::vector<Array> zeros;
    for (const Port& p : inputs_) zeros.push_back(make_array(ArrayType::kF32, p.dims));
    for (RowSink& sink : outputs_) sink.values.resize(sink.port.count);
    for (int i = 0; i < runs; ++i) {
      Fed fed;
      PITH_CHECK_OK(feed(zeros, fed));
      observed.last = Clock::now();
      if (const pith_status s = pith_run_observed(instance_, &Observed::end, &observed); s != PITH_OK) return runtime_error(s, path_);
    }
    reset();
    std::vector<double> median;
    for (std::vector<double>& all : observed.seconds) {
      std::nth_element(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2), all.end());
      median.push_back(all.empty() ? 0 : all[all.size() / 2]);
    }
    return median;
  }

  std::string metadata(const std::string& key) const override {
    size_t length = 0;
    pith_metadata(file_.data(), file_.size(), key.c_str(), nullptr, 0, &length);
    std::string text(length + 1, '\0');
    if (pith_metadata(file_.data(), file_.size(), key.c_str(), text.data(), text.size(), &length) != PITH_OK) return "";
    text.resize(length);
    return text;
  }

 private:
  // Values that must stay until the run is over: inputs by rows are read during it.
  struct Fed {
    std::vector<std::vector<float>> converted;
    std::vector<std::vector<int32_t>> whole;
  };
  Result<void> feed(const std::vector<Array>& inputs, Fed& fed) {
    fed.converted.resize(inputs.size());
    fed.whole.resize(inputs.size());
    for (size_t i = 0; i < inputs.size(); ++i) {
      const int32_t index = static_cast<int32_t>(i);
      pith_status s;
      if (inputs_[i].whole) {
        for (int64_t x : to_integers(inputs[i])) fed.whole[i].push_back(static_cast<int32_t>(x));
        s = pith_set_input_i32(instance_, index, fed.whole[i].data(), fed.whole[i].size());
      } else if (inputs[i].type == ArrayType::kF32) {
        s = pith_set_input_f32(instance_, index, inputs[i].f32().data(), inputs[i].elements());
      } else {
        fed.converted[i] = to_floats(inputs[i]);
        s = pith_set_input_f32(instance_, index, fed.converted[i].data(), fed.converted[i].size());
      }
      if (s != PITH_OK) return runtime_error(s, path_);
    }
    return {};
  }

  std::string path_;
  std::vector<uint8_t> file_;
  AlignedMemory model_memory_, instance_memory_;
  std::unique_ptr<ThreadPool> pool_;
  pith_model* model_ = nullptr;
  pith_instance* instance_ = nullptr;
  std::vector<Port> inputs_;
  std::vector<RowSink> outputs_;
  Memory memory_;
};

class GraphEngine : public Engine {
 public:
  explicit GraphEngine(const ir::Graph& graph) : graph_(graph) {
    for (ir::ValueId id : graph_.inputs) {
      if (is_state(id, true)) {
        state_.push_back(ir::Tensor(graph_.value(id).dtype, graph_.value(id).shape));
        continue;
      }
      inputs_.push_back({graph_.value(id).name, graph_.value(id).shape, graph_.value(id).dtype != ir::DType::kF32});
    }
  }
  const std::vector<Port>& inputs() const override { return inputs_; }
  std::string kind() const override { return "float interpreter"; }
  void reset() override {
    for (ir::Tensor& t : state_) t = ir::Tensor(t.dtype(), t.shape());
  }
  std::string metadata(const std::string& key) const override {
    const auto found = graph_.metadata.find(key);
    return found == graph_.metadata.end() ? "" : found->second;
  }

  Result<std::vector<Output>> run(const std::vector<Array>& inputs) override {
    std::vector<ir::Tensor> tensors;
    size_t next = 0, next_state = 0;
    for (ir::ValueId id : graph_.inputs) {
      if (is_state(id, true)) {
        tensors.push_back(state_[next_state++]);
        continue;
      }
      const Array& a = inputs[next++];
      const ir::Value& v = graph_.value(id);
      ir::Tensor t(v.dtype, v.shape);
      if (v.dtype == ir::DType::kF32) {
        const std::vector<float> x = to_floats(a);
        std::copy(x.begin(), x.end(), t.mut<float>().begin());
      } else {
        const std::vector<int64_t> x = to_integers(a);
        for (size_t i = 0; i < x.size(); ++i) t.set(static_cast<int64_t>(i), static_cast<double>(x[i]));
      }
      tensors.push_back(std::move(t));
    }
    PITH_TRY(const std::vector<ir::Tensor> results, ir::interpret(graph_, tensors));
    std::vector<Output> outputs;
    for (size_t i = 0; i < results.size(); ++i) {
      const ir::ValueId id = graph_.outputs[i];
      if (is_state(id, false)) {
        size_t slot = 0;
        for (ir::ValueId in : graph_.inputs) {
          if (!is_state(in, true)) continue;
          for (const auto& [from, to] : graph_.state) {
            if (from == in && to == id) state_[slot] = results[i];
          }
          ++slot;
        }
        continue;
      }
      const ir::Tensor real = ir::dequantized(graph_.value(id), results[i]).cast(ir::DType::kF32);
      const auto x = real.as<float>();
      outputs.push_back({results[i].shape(), std::vector<float>(x.begin(), x.end())});
    }
    return outputs;
  }

 private:
  bool is_state(ir::ValueId id, bool input) const {
    for (const auto& [in, out] : graph_.state) {
      if ((input ? in : out) == id) return true;
    }
    return false;
  }
  ir::Graph graph_;
  std::vector<Port> inputs_;
  std::vector<ir::Tensor> state_;
};

}  // namespace

void add_engine_flags(CLI::App* verb, EngineOptions& options) {
  verb->add_option("--memory", options.memory, "weights: smallest (coded, decoded a tile at a time), balanced (decoded at load where several operators use them) or fastest (all at load)")->capture_default_str();
  verb->add_option("-t,--threads", options.threads, "threads")->capture_default_str();
  verb->add_option("--isa", options.isa, "instruction set: best, reference, avx2, avx512 ...")->capture_default_str();
}

Result<std::unique_ptr<Engine>> pith_engine(std::vector<uint8_t> file, const std::string& path, const EngineOptions& options) {
  return PithEngine::open(std::move(file), path, options);
}

std::unique_ptr<Engine> graph_engine(const ir::Graph& graph) { return std::make_unique<GraphEngine>(graph); }

void warn_of_coarse_rows(const Engine& engine) {
  const StoredRows rows = engine.stored_rows();
  if (rows.coarse == 0 || engine.metadata("activations") != "lossless") return;
  log_warning(fmt::format("{} of {} rows of activations that wait had more in them than the samples that chose their bytes, and were stored coarser: compile with more --activation-samples where that matters", rows.coarse, rows.all));
}

Result<std::unique_ptr<Engine>> open_engine(const std::string& path, const EngineOptions& options) {
  if (is_transformer(path)) {
    PITH_TRY(const ir::Graph graph, import_transformer(path, {}));
    return graph_engine(graph);
  }
  if (!path.ends_with(".onnx")) {
    PITH_TRY(std::vector<uint8_t> file, read_file(path));
    return PithEngine::open(std::move(file), path, options);
  }
  PITH_TRY(const ir::Graph graph, importers::import_onnx(path));
  return graph_engine(graph);
}

Result<std::vector<Array>> prepare_inputs(const Engine& engine, const Preprocess& preprocess, const Sample& sample, Geometry* geometry) {
  PITH_TRY(PreparedSample prepared, prepare(preprocess, sample));
  if (geometry) *geometry = prepared.geometry;
  std::vector<Array> inputs;
  for (size_t i = 0; i < engine.inputs().size(); ++i) {
    const Port& port = engine.inputs()[i];
    const NamedArray* found = nullptr;
    for (const NamedArray& a : prepared.inputs) {
      if (a.name == port.name || (a.name.empty() && engine.inputs().size() == 1) || prepared.inputs.size() == 1) found = &a;
    }
    if (!found && i < prepared.inputs.size()) found = &prepared.inputs[i];
    if (!found) return usage_error(fmt::format("sample '{}' has nothing for the input '{}'; give an npz with one array per input", sample.name, port.name));
    int64_t wanted = 1;
    for (int64_t d : port.dims) wanted *= d;
    if (static_cast<int64_t>(found->array.elements()) != wanted)
      return usage_error(fmt::format("sample '{}' has {} values ({}), the input '{}' takes {} ({}); check --preprocess", sample.name, found->array.elements(),
                                     shape_text(found->array.shape), port.name, wanted, shape_text(port.dims)));
    inputs.push_back(found->array);
  }
  return inputs;
}

Result<Preprocess> choose_preprocess(const Engine& engine, const std::string& flag) {
  const std::string text = !flag.empty() ? flag : engine.metadata("preprocess");
  if (!text.empty()) return parse_preprocess(text);
  // an image input of 1 or 3 channels gets its own size and 0..1; everything else is a tensor
  Preprocess p;
  if (engine.inputs().size() == 1 && engine.inputs()[0].dims.size() == 4) {
    const auto& d = engine.inputs()[0].dims;
    const bool nchw = d[1] == 1 || d[1] == 3, nhwc = d[3] == 1 || d[3] == 3;
    if (nchw || nhwc) {
      p.kind = InputKind::kImage;
      p.layout = nchw ? PixelLayout::kNchw : PixelLayout::kNhwc;
      p.height = static_cast<int>(nchw ? d[2] : d[1]);
      p.width = static_cast<int>(nchw ? d[3] : d[2]);
      p.order = (nchw ? d[1] : d[3]) == 1 ? ColorOrder::kGray : ColorOrder::kRgb;
      p.scale = {1 / 255.0f, 1 / 255.0f, 1 / 255.0f};
    }
  }
  return p;
}

}  // namespace pith::cli
