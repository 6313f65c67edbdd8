// What products gain from blocks of zeros, 16 output channels by 16 input channels of a tap (runtime/ops/conv_sparse.h).
//
//   pith-block-sparse > tests/quality/block_sparse.csv
//
// Layers of MobileNetV2, YOLOv5n and BERT, each a file of one operator with random weights of which a share of blocks is
// zero, loaded in mode fastest. All shares take turns in one process; `ratio` is the median over rounds of a share's time
// to that without zeros, which runs the dense kernels; every instruction set of this processor.
//
// `predicted`, before any measurement, for AVX-512 and 8 bits: a dense product of depth K takes K/8 cycles for a pixel
// and block of outputs (two dot products a cycle, 4 inputs each) and 2.3 to store; without zeros a block has its loads
// for itself, 9 for 8 dot products at two a cycle, so 9/64 K of what is left, and 2.7 to store.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "pith/pith.h"
#include "runtime/testing/sample_program.h"

namespace pith {
namespace {

constexpr std::array kShares{0, 25, 50, 75, 90};
constexpr int kRounds = 15;
constexpr double kBatch = 0.004;  // seconds that a share's turn takes at least

struct Layer {
  const char* name;
  int32_t size, in, kernel, out;  // pixels of a side, or rows where kernel is 0
  int32_t taps() const { return std::max(1, kernel * kernel); }
};
constexpr Layer kLayers[] = {{"MobileNetV2 96-24", 56, 96, 1, 24},     {"MobileNetV2 64-384", 14, 64, 1, 384},
                             {"MobileNetV2 384-64", 14, 384, 1, 64},   {"MobileNetV2 960-160", 7, 960, 1, 160},
                             {"MobileNetV2 320-1280", 7, 320, 1, 1280}, {"YOLOv5n 3x3 64-64", 40, 64, 3, 64},
                             {"BERT 768-3072", 128, 768, 0, 3072},      {"MobileNetV2 1280-1000", 1, 1280, 0, 1000},
                             {"Llama 768-2048", 1, 768, 0, 2048}};

double predicted(const Layer& l, int share) {
  const double depth = l.taps() * l.in;
  return (9.0 / 64 * depth * (100 - share) / 100 + 2.7) / (depth / 8 + 2.3);
}

double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Sets `share` percent of the blocks to zero, rounded.
void clear_blocks(ProgramConstant& k, const Layer& l, int share, Random& random) {
  const int32_t row = l.taps() * l.in;
  std::vector<std::array<int32_t, 2>> blocks;
  for (int32_t first = 0; first < l.out; first += 16) {
    for (int32_t from = 0; from < row; from += 16) blocks.push_back({first, from});
  }
  const size_t zeros = (blocks.size() * static_cast<size_t>(share) + 50) / 100;
  for (size_t i = 0; i < zeros; ++i) {
    std::swap(blocks[i], blocks[static_cast<size_t>(random.integer(static_cast<int64_t>(i), static_cast<int64_t>(blocks.size()) - 1))]);
    const auto [first, from] = blocks[i];
    for (int32_t o = first; o < std::min(first + 16, l.out); ++o) std::fill_n(k.integers.begin() + o * row + from, 16, 0);
  }
}

Program layer_program(const Layer& l, int dtype, int share) {
  testing::Maker m;
  int32_t x, y;
  if (l.kernel == 0) {
    x = m.tensor(dtype, {l.size, l.in}, {-96, 7}), y = m.tensor(dtype, {l.size, l.out}, {-10, 100});
    m.op(PITH_OPCODE_Dense, {x, m.weights({l.out, l.in}), kNone}, {y});
  } else {
    x = m.tensor(dtype, {1, l.size, l.size, l.in}, {-96, 7}), y = m.tensor(dtype, {1, l.size, l.size, l.out}, {-10, 100});
    const int32_t pad = l.kernel / 2;
    m.op(PITH_OPCODE_Conv2d, {x, m.weights({l.out, l.kernel, l.kernel, l.in}), kNone}, {y}, {1, 1, 1, 1, pad, pad, pad, pad, 1});
  }
  clear_blocks(m.p.constants[0], l, share, m.random);
  std::vector<int32_t> order;
  for (int32_t i = 0; i < (l.kernel == 0 ? 2 : 4); ++i) order.push_back(i);
  m.p.inputs = {{"x", x, order}}, m.p.outputs = {{"y", y, order}};
  return std::move(m.p);
}

struct Loaded {
  std::unique_ptr<void, void (*)(void*)> model_memory{nullptr, std::free}, instance_memory{nullptr, std::free};
  pith_instance* instance = nullptr;
  pith_sizes sizes{};

  void run(int times) const {
    for (int i = 0; i < times; ++i) pith_run(instance);
  }
};

bool load(const Program& program, Loaded& l) {
  const auto file = write_program(program, CodecChoice::kFastest);
  if (!file.ok() || pith_probe(file->data(), file->size(), PITH_MODE_FASTEST, 1, &l.sizes) != PITH_OK) return false;
  const auto memory = [](size_t bytes) { return std::aligned_alloc(PITH_ALIGNMENT, (bytes + 63) / 64 * 64); };
  l.model_memory.reset(memory(l.sizes.model_bytes)), l.instance_memory.reset(memory(l.sizes.instance_bytes));
  pith_model* model = nullptr;
  return pith_load(file->data(), file->size(), PITH_MODE_FASTEST, 1, l.model_memory.get(), l.sizes.model_bytes, &model) == PITH_OK &&
         pith_instance_create(model, l.instance_memory.get(), l.sizes.instance_bytes, &l.instance) == PITH_OK;
}

bool measure(const Layer& layer, int dtype, const char* isa) {
  std::array<Loaded, kShares.size()> loaded;
  std::array<std::array<double, kRounds>, kShares.size()> ratios;
  for (size_t i = 0; i < loaded.size(); ++i) {
    if (!load(layer_program(layer, dtype, kShares[i]), loaded[i])) return false;
  }
  const double start = seconds();
  loaded[0].run(3);
  const int times = std::max(1, static_cast<int>(3 * kBatch / (seconds() - start)));
  double dense = 1e9;
  for (int round = 0; round < kRounds; ++round) {
    std::array<double, kShares.size()> taken;
    for (size_t i = 0; i < loaded.size(); ++i) {
      const double begin = seconds();
      loaded[i].run(times);
      taken[i] = (seconds() - begin) / times;
    }
    dense = std::min(dense, taken[0]);
    for (size_t i = 0; i < loaded.size(); ++i) ratios[i][static_cast<size_t>(round)] = taken[i] / taken[0];
  }
  for (size_t i = 0; i < loaded.size(); ++i) {
    std::sort(ratios[i].begin(), ratios[i].end());
    const double ratio = ratios[i][kRounds / 2];
    const std::string guess = kShares[i] == 0 || dtype == PITH_F32 || std::string(isa) != "avx512" ? "" : fmt::format("{:.2f}", predicted(layer, kShares[i]));
    fmt::print("{},{},{},{},{},{:.2f},{:.4f},{}\n", layer.name, dtype == PITH_U8 ? "u8" : "f32", isa, kShares[i], guess, ratio, 1e3 * dense * ratio, loaded[i].sizes.weight_bytes);
  }
  return true;
}

}  // namespace
}  // namespace pith

int main() {
  fmt::print("layer,values,isa,zero_blocks_percent,predicted,ratio,ms,weight_bytes\n");
  for (int i = PITH_ISA_REFERENCE + 1; i < PITH_ISA_COUNT; ++i) {
    const pith_isa isa = static_cast<pith_isa>(i);
    if (pith_set_isa(isa) != PITH_OK) continue;
    for (const int dtype : {PITH_U8, PITH_F32}) {
      for (const pith::Layer& layer : pith::kLayers) {
        if (pith::measure(layer, dtype, pith_isa_name(isa))) continue;
        std::fprintf(stderr, "pith-block-sparse: %s: %s\n", layer.name, pith_last_error().reason);
        return 1;
      }
    }
  }
}
