// Real networks on painted memory: one line of CSV for every memory mode and instruction set.
//
//   pith_painted [--runs 2] FILE.pith ...
//
// Each file runs twice on the same seeded noise, on an arena that was all 0xa5 and on one that was all 0x5a, with as much
// painted memory before and behind it. What differs from both paints was written: the highest such byte is the measured
// high-water mark, and must lie between the end of the highest tensor and the arena's (post-processing is not the run's); nothing before or behind it may
// have changed, and the results must not depend on the paint. Exit code 1 where one of this fails.
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "compile/compile.h"
#include "pith/pith.h"
#include "program/program.h"

namespace pith {
namespace {

constexpr size_t kGuard = 1 << 16;  // painted bytes on either side

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<uint8_t, Free>;
Memory memory(size_t bytes) { return Memory(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64))); }

struct Painted {
  std::string failure;
  std::vector<uint8_t> outputs;  // of all runs
  std::vector<uint8_t> all;      // guard, arena, guard
};

void keep_rows(void* context, int32_t index, int32_t, int32_t rows, void* data) {
  auto& [model, outputs] = *static_cast<std::pair<const pith_model*, std::vector<uint8_t>*>*>(context);
  pith_tensor t;
  pith_model_output(model, index, &t);
  const size_t bytes = t.count / static_cast<size_t>(t.rows) * static_cast<size_t>(rows) * (t.type == PITH_TYPE_U8 ? 1 : 4);
  const uint8_t* from = static_cast<const uint8_t*>(data);
  outputs->insert(outputs->end(), from, from + bytes);
}

// The network's inputs as noise; those that go by rows are read while it runs.
std::vector<std::vector<float>> feed(const pith_model* model, pith_instance* instance, uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<float>> kept;
  for (int32_t i = 0; i < pith_input_count(model); ++i) {
    pith_tensor t;
    pith_model_input(model, i, &t);
    if (t.type == PITH_TYPE_I32) {
      const std::vector<int32_t> zeros(t.count, 0);
      pith_set_input_i32(instance, i, zeros.data(), zeros.size());
      continue;
    }
    kept.emplace_back(t.count);
    for (float& v : kept.back()) v = static_cast<float>(random.normal());
    pith_set_input_f32(instance, i, kept.back().data(), kept.back().size());
  }
  return kept;
}

Painted run_painted(const std::vector<uint8_t>& file, pith_mode mode, uint8_t colour, int runs) {
  Painted result;
  pith_sizes sizes;
  if (pith_probe(file.data(), file.size(), mode, 1, &sizes) != PITH_OK) return {pith_last_error().reason, {}, {}};
  const Memory m = memory(sizes.model_bytes);
  pith_model* model = nullptr;
  if (pith_load(file.data(), file.size(), mode, 1, m.get(), sizes.model_bytes, &model) != PITH_OK) return {pith_last_error().reason, {}, {}};
  const size_t own = pith_shared_bytes(model), bytes = sizes.arena_bytes, beyond = (bytes + PITH_ARENA_BEYOND + 63) / 64 * 64;
  const Memory i = memory(own), all = memory(beyond + 2 * kGuard);
  std::memset(all.get(), colour, beyond + 2 * kGuard);
  pith_instance* instance = nullptr;
  if (pith_instance_create_shared(model, i.get(), own, all.get() + kGuard, bytes + PITH_ARENA_BEYOND, &instance) != PITH_OK) return {pith_last_error().reason, {}, {}};
  std::pair<const pith_model*, std::vector<uint8_t>*> sink{model, &result.outputs};
  for (int32_t k = 0; k < pith_output_count(model); ++k) {
    pith_tensor t;
    pith_model_output(model, k, &t);
    if (t.rows > 0) pith_set_row_sink(instance, k, keep_rows, &sink);
  }
  for (int run = 0; run < runs; ++run) {
    const auto inputs = feed(model, instance, static_cast<uint64_t>(run) + 1);
    if (pith_run(instance) != PITH_OK) return {pith_last_error().reason, {}, {}};
    for (int32_t k = 0; k < pith_output_count(model); ++k) {
      pith_tensor t;
      pith_output(instance, k, &t);
      if (t.data == nullptr) continue;
      const uint8_t* from = static_cast<const uint8_t*>(t.data);
      result.outputs.insert(result.outputs.end(), from, from + t.count * (t.type == PITH_TYPE_U8 ? 1 : 4));
    }
  }
  result.all.assign(all.get(), all.get() + kGuard + bytes + kGuard);
  return result;
}

// One line; false where memory wasn't as planned.
bool report(const std::string& path, const std::vector<uint8_t>& file, const Program& program, pith_mode mode, const char* mode_name, const char* isa, int runs) {
  const Painted a = run_painted(file, mode, 0xa5, runs), b = run_painted(file, mode, 0x5a, runs);
  if (!a.failure.empty()) {
    fmt::print("{},{},{},{},,,,{}\n", path, mode_name, isa, program.arena_bytes, a.failure);
    return false;
  }
  int64_t tensors = 0, planned = 0, highest = 0, outside = 0;
  for (const StorageInterval& s : storage_intervals(program)) {
    planned = std::max(planned, s.offset + s.bytes);
    if (s.kind != "scratch" && s.kind != "post") tensors = std::max(tensors, s.offset + s.bytes);
  }
  for (size_t k = 0; k < a.all.size(); ++k) {
    if (a.all[k] == 0xa5 && b.all[k] == 0x5a) continue;
    const int64_t at = static_cast<int64_t>(k) - static_cast<int64_t>(kGuard);
    if (at < 0 || at >= program.arena_bytes) {
      ++outside;
    } else {
      highest = at + 1;
    }
  }
  const bool same = a.outputs == b.outputs;
  const bool good = same && outside == 0 && highest >= tensors && highest <= planned;
  fmt::print("{},{},{},{},{},{},{},{}\n", path, mode_name, isa, planned, highest, outside, same ? "yes" : "NO", good ? "as planned" : "NOT AS PLANNED");
  return good;
}

int run(int count, char** arguments) {
  int runs = 2;
  bool good = true;
  fmt::print("file,mode,isa,planned,highest,outside,same,verdict\n");
  for (int i = 1; i < count; ++i) {
    const std::string path = arguments[i];
    if (path == "--runs" && i + 1 < count) {
      runs = std::max(1, std::atoi(arguments[++i]));
      continue;
    }
    const auto file = read_file(path);
    const auto program = file.ok() ? read_program(*file) : Result<Program>(file.error());
    if (!program.ok()) {
      fmt::print(stderr, "{}: {}\n", path, program.error().message);
      return 1;
    }
    for (int isa = 0; isa < PITH_ISA_COUNT; ++isa) {
      if (pith_set_isa(static_cast<pith_isa>(isa)) != PITH_OK) continue;
      for (const auto& [mode, name] : {std::pair(PITH_MODE_SMALLEST, "smallest"), std::pair(PITH_MODE_BALANCED, "balanced"), std::pair(PITH_MODE_FASTEST, "fastest")})
        good = report(path, *file, *program, mode, name, pith_isa_name(static_cast<pith_isa>(isa)), runs) && good;
    }
    std::fflush(stdout);
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace pith

int main(int count, char** arguments) { return pith::run(count, arguments); }
