// The datapath in SystemVerilog against the model: every bit of every result, and every cycle.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "base/random.h"
#include "runtime/testing/sample_program.h"
#include "sim/functional/functional.h"
#include "sim/rtl/core_layers.h"

namespace pith::sim {
namespace {

chip::Device ergo2() { return chip::load_device("ergo2").value(); }

// What every filter sums, from numerics alone.
uint8_t expected(const CoreJob& job, size_t position, size_t filter) {
  const CoreFilter& f = job.filters[filter];
  int32_t acc = f.bias;
  for (size_t i = 0; i < f.weights.size(); ++i) acc += (job.inputs[position][i] - job.in_zero_point) * f.weights[i];
  return job.table[numerics::requantize_u8(acc, f.factor, job.out_zero_point, job.low, job.high)];
}

CoreJob random_job(Random& random, int32_t limit) {
  CoreJob job;
  const int64_t length = random.integer(1, 450), positions = random.integer(2, 40), filters = random.integer(1, 4);
  const double density = random.uniform(0.03, limit == 1 ? 0.4 : 0.2);
  job.in_zero_point = static_cast<int32_t>(random.integer(0, 255)),
  job.out_zero_point = static_cast<int32_t>(random.integer(0, 255));
  job.low = random.integer(0, 1) ? job.out_zero_point : 0;
  job.high = static_cast<int32_t>(random.integer(job.low, 255));
  for (uint8_t& t : job.table) t = static_cast<uint8_t>(random.integer(0, 255));
  while (static_cast<int64_t>(job.filters.size()) < filters) {
    CoreFilter f;
    for (int64_t i = 0; i < length; ++i)
      f.weights.push_back(random.uniform() < density ? static_cast<int32_t>(random.integer(-limit, limit)) : 0);
    f.bias = static_cast<int32_t>(random.integer(-100000, 100000));
    f.factor = numerics::multiplier(static_cast<int>(random.integer(-16 * 14, 16 * 2)));
    if (fits_partial(f)) job.filters.push_back(std::move(f));
  }
  for (int64_t p = 0; p < positions; ++p) {
    job.inputs.emplace_back();
    for (int64_t i = 0; i < length; ++i) job.inputs.back().push_back(static_cast<uint8_t>(random.integer(0, 255)));
  }
  return job;
}

bool has_weights(const CoreJob& job) {
  for (const CoreFilter& f : job.filters) {
    for (int32_t w : f.weights) {
      if (w != 0) return true;
    }
  }
  return false;
}

TEST(Core, RandomWeightsGiveTheModelsBitsAndCycles) {
  Random random(testing::seed());
  CoreDriver core(ergo2());
  for (int trial = 0; trial < 200; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(testing::seed()) + " trial " + std::to_string(trial));
    const CoreJob job = random_job(random, trial % 3 == 0 ? 127 : trial % 3 == 1 ? 1 : 3);
    if (!has_weights(job)) continue;
    const CoreResult r = core.run(job);
    ASSERT_EQ(r.cycles, modelled_cycles(job, ergo2()));
    for (size_t p = 0; p < job.inputs.size(); ++p) {
      for (size_t f = 0; f < job.filters.size(); ++f)
        ASSERT_EQ(r.outputs[p][f], expected(job, p, f)) << "position " << p << " filter " << f;
    }
  }
}

TEST(Core, ToggleCountersCount) {
  Random random(testing::seed());
  CoreDriver core(ergo2());
  CoreJob job;
  job.filters.resize(4);
  for (CoreFilter& f : job.filters) {
    for (int i = 0; i < 288; ++i) f.weights.push_back(random.uniform() < 0.125 ? (random.integer(0, 1) ? 1 : -1) : 0);
  }
  for (int p = 0; p < 64; ++p) {
    job.inputs.emplace_back();
    for (int i = 0; i < 288; ++i) job.inputs.back().push_back(static_cast<uint8_t>(random.integer(0, 255)));
  }
  const CoreToggles busy = core.run(job).toggles;
  // random slots: half of the bits of the inputs' registers toggle in every cycle
  EXPECT_NEAR(busy.inputs / busy.cycles, 144 * 4 / 2, 144 * 4 / 2 * 0.03);
  EXPECT_GT(busy.trees, busy.selected);
  for (auto& codes : job.inputs) std::fill(codes.begin(), codes.end(), uint8_t{0});
  const CoreToggles still = core.run(job).toggles;
  EXPECT_EQ(busy.cycles, still.cycles);
  EXPECT_LT(still.all(), 0.02 * busy.all());  // the first zeros replace what was there before
}

// Every 8-bit layer of a network that was really trained, on inputs that went through the layers before.
TEST(Core, RealWeightsGiveTheModelsBitsAndCycles) {
  const char* source = std::getenv("PITH_SOURCE_DIR");
  ASSERT_NE(source, nullptr);
  const auto file = read_file(std::string(source) + "/zoo/lenet/lenet5.pith");
  ASSERT_TRUE(file.ok()) << file.error().message;
  const auto program = read_program(*file);
  ASSERT_TRUE(program.ok()) << program.error().message;
  auto chip = Functional::create(*program);
  ASSERT_TRUE(chip.ok()) << chip.error().message;
  Random random(testing::seed());
  std::vector<float> picture(28 * 28);
  for (int i = 0; i < 28 * 28; ++i)
    picture[static_cast<size_t>(i)] =
        std::abs(i % 28 - 14 + (i / 28 - 14) / 3) < 3 ? 1.0f : 0.02f * static_cast<float>(random.uniform());
  ASSERT_TRUE(chip->set_input(0, picture).ok());
  CoreDriver core(ergo2());
  std::vector<uint8_t> input;
  int64_t jobs = 0, too_wide = 0, results = 0;
  const auto observer = [&](size_t i, bool done) {
    const ProgramOp& op = program->ops[i];
    if (!CoreLayer::possible(*program, op)) return;
    const CoreLayer layer{&*program, &op};
    const uint8_t* x = chip->arena().data() + program->tensors[static_cast<size_t>(op.inputs[0])].offset;
    const uint8_t* y = chip->arena().data() + program->tensors[static_cast<size_t>(op.outputs[0])].offset;
    if (!done) {
      int64_t bytes = 1;
      for (int32_t d : program->tensors[static_cast<size_t>(op.inputs[0])].dims) bytes *= d;
      input.assign(x, x + bytes);
      return;
    }
    std::vector<int64_t> at;
    for (int64_t p = 0; p < std::min<int64_t>(layer.positions(), 48); ++p)
      at.push_back(p * layer.positions() / std::min<int64_t>(layer.positions(), 48));
    if (at.size() == 1) at.push_back(at[0]);  // a job has at least two positions
    for (int64_t first = 0; first < layer.filters(); first += kCoreFilters) {
      const CoreJob job = layer.job(first, at, input);
      if (!has_weights(job)) continue;
      if (!std::all_of(job.filters.begin(), job.filters.end(), fits_partial)) {
        ++too_wide;
        continue;
      }
      ++jobs;
      const CoreResult r = core.run(job);
      ASSERT_EQ(r.cycles, modelled_cycles(job, ergo2())) << "operator " << i << " filter " << first;
      for (size_t p = 0; p < at.size(); ++p) {
        for (size_t f = 0; f < job.filters.size(); ++f, ++results)
          ASSERT_EQ(r.outputs[p][f], y[at[p] * layer.filters() + first + static_cast<int64_t>(f)])
              << "operator " << i << " filter " << first + static_cast<int64_t>(f);
      }
    }
  };
  ASSERT_TRUE(chip->run(observer).ok());
  EXPECT_GT(jobs, 10);
  EXPECT_EQ(too_wide, 0) << "sums that may pass 20 bits: no job of one core";
  std::printf("%lld jobs, %lld results\n", static_cast<long long>(jobs), static_cast<long long>(results));
}

}  // namespace
}  // namespace pith::sim
