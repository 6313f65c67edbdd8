// The importer on arbitrary bytes: it must answer with a graph or an error, and what it accepts must verify and run.
//
// With PITH_FUZZ this is a libFuzzer target (LLVM docs, "libFuzzer") whose mutator changes either bytes or, through
// parse_model and write_model, the model's structure; otherwise onnx_replay.cpp drives it.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "importers/onnx/onnx_importer.h"
#include "importers/onnx/parse.h"
#include "importers/onnx/testing/models.h"
#include "ir/interpret.h"
#include "ir/work.h"
#include "tests/fuzz/mutate.h"

namespace {

// Running is for small graphs: executions per second matter more than one deep look.
bool is_small(const pith::ir::Graph& g) {
  int64_t elements = 0, work = 0;
  for (const auto& v : g.values) elements += pith::ir::element_count(v.shape);
  for (const auto& n : g.nodes) work = std::min<int64_t>(work + pith::ir::work(g, n), 1'000'000);
  return elements < 20'000 && work < 50'000 && g.nodes.size() < 200;
}

void check(bool good, const char* what, const std::string& detail) {
  if (good) return;
  std::fprintf(stderr, "%s: %s\n", what, detail.c_str());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  for (const bool fuse : {false, true}) {
    pith::importers::OnnxOptions options;
    options.fuse = fuse;
    options.most_constant_bytes = 1 << 16;
    options.most_nodes = 200;
    const auto graph = pith::importers::import_onnx({data, size}, "", options);
    if (!graph.ok()) {
      check(!graph.error().message.empty() && graph.error().code != pith::ErrorCode::kInternal, "internal error", graph.error().message);
      return 0;
    }
    const auto sound = pith::ir::verify(*graph);
    check(sound.ok(), "an accepted graph doesn't verify", sound.ok() ? "" : sound.error().message);
    if (!is_small(*graph)) continue;
    std::vector<pith::ir::Tensor> inputs;
    for (const auto id : graph.value().inputs) inputs.emplace_back(graph.value().value(id).dtype, graph.value().value(id).shape);
    const auto results = pith::ir::interpret(*graph, inputs);
    check(results.ok() || results.error().code != pith::ErrorCode::kInternal, "internal error", results.ok() ? "" : results.error().message);
  }
  return 0;
}

#ifdef PITH_FUZZ
extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t most);

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t most, unsigned int seed) {
  pith::Random random(seed);
  if (random.integer(0, 2) == 0) return LLVMFuzzerMutate(data, size, most);
  auto model = pith::importers::parse_model({data, size}, "");
  if (!model.ok()) {
    static const auto seeds = pith::importers::testing::seed_models();
    model = seeds[static_cast<size_t>(random.integer(0, static_cast<int64_t>(seeds.size()) - 1))];
  }
  pith::fuzz::mutate(*model, random);
  const auto bytes = pith::importers::testing::write_model(*model);
  if (bytes.size() > most) return LLVMFuzzerMutate(data, size, most);
  std::copy(bytes.begin(), bytes.end(), data);
  return bytes.size();
}
#endif
