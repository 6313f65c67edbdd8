// How much of a core toggles on real data: the activity factor of the energy model, from the datapath itself.
//
//   pith-core-activity MODEL.pith SAMPLES > layers.csv       the first sample: a picture, folder, archive, npy ...
//
// Every 8-bit layer runs on the core (core.sv) twice, with the signs of the largest eighth of each filter's weights
// (the chip is made for ternary ones): on the activations that this input really gives, and on uniformly random codes,
// which is what energies of adders in the literature stand for. The quotient of the toggles is the layer's activity.
// docs/chip_activity.csv was made so.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "bench/first_input.h"
#include "sim/functional/functional.h"
#include "sim/rtl/core_layers.h"

namespace pith::sim {
namespace {

constexpr int64_t kPositions = 64, kGroups = 4;  // of a layer: neighbours in a row, as a core takes them

// What the input of a layer comes from, as far as its values' distribution goes.
const char* producer(const Program& p, size_t op) {
  for (size_t i = op; i-- > 0;) {
    if (p.ops[i].outputs.empty() || p.ops[i].outputs[0] != p.ops[op].inputs[0]) continue;
    const numerics::Unary f = p.ops[i].activation;
    if (f == numerics::Unary::kRelu || f == numerics::Unary::kClip) return "relu";
    return f == numerics::Unary::kIdentity ? p.ops[i].opcode == PITH_OPCODE_Conv2d ? "linear" : "other" : "smooth";
  }
  return "input";
}

void ternarize(std::vector<int32_t>& weights) {
  std::vector<int32_t> sizes;
  for (int32_t w : weights) sizes.push_back(std::abs(w));
  const size_t kept = std::max<size_t>(1, weights.size() / 8);
  std::nth_element(sizes.begin(), sizes.begin() + static_cast<std::ptrdiff_t>(kept - 1), sizes.end(), std::greater<>());
  const int32_t least = std::max(1, sizes[kept - 1]);
  for (int32_t& w : weights) w = std::abs(w) < least ? 0 : w > 0 ? 1 : -1;
}

CoreToggles toggles(CoreDriver& core, const CoreLayer& layer, const std::vector<uint8_t>& input) {
  CoreToggles all;
  std::vector<int64_t> at;
  const int64_t n = std::min(kPositions, layer.positions()), first_position = (layer.positions() - n) / 2;
  for (int64_t i = 0; i < n; ++i) at.push_back(first_position + i);
  const int64_t groups = layer.filters() / kCoreFilters, step = std::max<int64_t>(1, groups / kGroups);
  for (int64_t g = 0; g < groups && at.size() > 1; g += step) {
    CoreJob job = layer.job(g * kCoreFilters, at, input);
    for (CoreFilter& f : job.filters) ternarize(f.weights);
    all += core.run(job).toggles;
  }
  return all;
}

Result<void> measure(const std::string& path, const std::string& input_path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  PITH_TRY(const Program program, read_program(file));
  PITH_TRY(const chip::Device device, chip::load_device("ergo2"));
  PITH_TRY(Functional chip, Functional::create(program));
  PITH_TRY(const std::vector<float> input_values, first_input(program, input_path));
  PITH_CHECK_OK(chip.set_input(0, input_values));
  CoreDriver core(device);
  Random random(1);
  std::vector<uint8_t> input;
  std::printf(
      "layer,input_from,cycles,inputs,selected,trees,partial,random_inputs,random_selected,random_trees,random_partial,"
      "activity\n");
  return chip.run([&](size_t i, bool done) {
    if (done || !CoreLayer::possible(program, program.ops[i])) return;
    const CoreLayer layer{&program, &program.ops[i]};
    const ProgramTensor& t = program.tensors[static_cast<size_t>(program.ops[i].inputs[0])];
    int64_t bytes = 1;
    for (int32_t d : t.dims) bytes *= d;
    const uint8_t* x = chip.arena().data() + t.offset;
    input.assign(x, x + bytes);
    const CoreToggles real = toggles(core, layer, input);
    for (uint8_t& code : input) code = static_cast<uint8_t>(random.integer(0, 255));
    const CoreToggles chance = toggles(core, layer, input);
    if (real.cycles == 0) return;
    std::printf("%zu,%s,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.3f\n", i, producer(program, i), real.cycles,
                real.inputs, real.selected, real.trees, real.partial, chance.inputs, chance.selected, chance.trees,
                chance.partial, real.all() / chance.all());
  });
}

}  // namespace
}  // namespace pith::sim

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: pith-core-activity MODEL.pith SAMPLES\n");
    return 2;
  }
  const auto done = pith::sim::measure(argv[1], argv[2]);
  if (!done.ok()) std::fprintf(stderr, "pith-core-activity: %s\n", done.error().message.c_str());
  return done.ok() ? 0 : static_cast<int>(done.error().code);
}
