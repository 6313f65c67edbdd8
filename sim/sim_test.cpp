// The virtual chip's time and energy: counts against brute force, invariants of the schedule, sums of components.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

#include "runtime/testing/sample_program.h"
#include "sim/chip.h"
#include "sim/timing/placement.h"

namespace pith::sim {
namespace {

chip::Device ergo2() { return chip::load_device("ergo2").value(); }

// Can every selected input have a multiplexer of its own? Augmenting paths, independent of the forest in weights.cpp.
bool matches(const std::vector<int32_t>& selected, int adders, int per) {
  std::vector<int> owner(static_cast<size_t>(adders), -1);
  for (size_t i = 0; i < selected.size(); ++i) {
    std::vector<bool> seen(owner.size());
    const std::function<bool(int)> augment = [&](int k) {
      const int input = selected[static_cast<size_t>(k)];
      for (const int mux : {input % adders, (input / per + adders / 2) % adders}) {
        if (seen[static_cast<size_t>(mux)]) continue;
        seen[static_cast<size_t>(mux)] = true;
        if (owner[static_cast<size_t>(mux)] >= 0 && !augment(owner[static_cast<size_t>(mux)])) continue;
        owner[static_cast<size_t>(mux)] = k;
        return true;
      }
      return false;
    };
    if (!augment(static_cast<int>(i))) return false;
  }
  return true;
}

TEST(Weights, APassTakesWhatCanBeMatched) {
  Random random(testing::seed());
  const chip::Device d = ergo2();
  int fitted = 0;
  for (int trial = 0; trial < 400; ++trial) {
    std::vector<int32_t> selected;
    const double density = random.uniform(0.02, 0.25);
    for (int32_t i = 0; i < 144; ++i) {
      if (random.uniform() < density) selected.push_back(i);
    }
    const int passes = count_passes(selected, d);
    ASSERT_EQ(passes <= 1, matches(selected, 36, 4)) << "PITH_SEED=" << testing::seed() << " trial " << trial;
    ASSERT_GE(passes, static_cast<int>((selected.size() + 35) / 36));
    fitted += passes <= 1;
  }
  EXPECT_GT(fitted, 50);
  EXPECT_LT(fitted, 350);
  EXPECT_EQ(count_passes({}, d), 0);
}

TEST(Weights, EveryInputGetsASeatThatItIsWiredTo) {
  Random random(testing::seed());
  const chip::Device d = ergo2();
  for (int trial = 0; trial < 400; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(testing::seed()) + " trial " + std::to_string(trial));
    std::vector<int32_t> selected;
    const double density = random.uniform(0.02, 0.9);
    for (int32_t i = 0; i < 144; ++i) {
      if (random.uniform() < density) selected.push_back(i);
    }
    const auto passes = seat_inputs(selected, d);
    ASSERT_EQ(static_cast<int>(passes.size()), count_passes(selected, d));
    std::vector<int32_t> seated;
    for (const auto& pass : passes) {
      std::vector<bool> taken(36);
      for (const Seat& s : pass) {
        ASSERT_FALSE(taken[static_cast<size_t>(s.multiplexer)]);
        taken[static_cast<size_t>(s.multiplexer)] = true;
        ASSERT_EQ(s.choice < 4 ? 36 * s.choice + s.multiplexer : (s.multiplexer + 18) % 36 * 4 + s.choice - 4, s.input);
        seated.push_back(s.input);
      }
    }
    std::sort(seated.begin(), seated.end());
    ASSERT_EQ(seated, selected);
  }
}

TEST(Weights, SettledOnesTakeOnePassAndStayAsMany) {
  testing::Maker m;
  const int32_t x = m.tensor(PITH_U8, {1, 4, 4, 64}, {-64, 128}), y = m.tensor(PITH_U8, {1, 4, 4, 24}, {-64, 128});
  const int32_t w = m.weights({24, 3, 3, 64});
  ProgramConstant& k = m.p.constants.back();
  k.bits = 2;
  int64_t before = 0;
  for (int32_t& v : k.integers) before += std::abs(v = m.random.uniform() < 0.14 ? (m.random.integer(0, 1) ? 1 : -1) : 0);
  m.op(PITH_OPCODE_Conv2d, {x, w, kNone}, {y}, {1, 1, 1, 1, 1, 1, 1, 1, 1});
  const int64_t extra = plan_weights(k, 24, 576, 24, ergo2()).extra_passes;
  EXPECT_GT(extra, 0) << "PITH_SEED=" << testing::seed();
  EXPECT_GT(settle_weights(m.p, ergo2()), 0);
  const WeightPlan plan = plan_weights(m.p.constants[0], 24, 576, 24, ergo2());
  EXPECT_EQ(plan.extra_passes, 0);
  EXPECT_EQ(plan.nonzero, before);
  EXPECT_EQ(settle_weights(m.p, ergo2()), 0);
}

TEST(Weights, DigitsAreCountedExactly) {
  ProgramConstant k;
  k.dims = {4, 300};
  k.integers.assign(1200, 0);
  k.integers[0] = 1, k.integers[5] = -1, k.integers[299] = 3;  // 3 = 4 - 1: two digits
  k.integers[300] = 7;                                         // 8 - 1
  k.integers[900] = -127;                                      // -128 + 1
  const WeightPlan p = plan_weights(k, 4, 300, 4, ergo2());
  EXPECT_EQ(p.groups, 1);
  EXPECT_EQ(p.windows, 3);
  EXPECT_EQ(p.nonzero, 5);
  EXPECT_EQ(p.all_digits, 8);
  EXPECT_EQ(p.passes[0], 2);  // -127's two powers
  EXPECT_EQ(p.passes[1], 0);
  EXPECT_EQ(p.passes[2], 2);
  EXPECT_EQ(p.inputs[2], 300 - 288);
}

Program one_layer(int32_t size, int32_t depth, int32_t filters, int32_t kernel, int32_t groups = 1) {
  testing::Maker m;
  const int32_t x = m.tensor(PITH_U8, {1, size, size, depth}, {-64, 128}), y = m.tensor(PITH_U8, {1, size, size, filters}, {-64, 128});
  const int32_t w = m.weights({filters, kernel, kernel, depth / groups});
  for (size_t i = 0; i < m.p.constants.back().integers.size(); ++i) m.p.constants.back().integers[i] = i % 8 == 0;
  m.op(PITH_OPCODE_Conv2d, {x, w, kNone}, {y}, {1, 1, 1, 1, kernel / 2, kernel / 2, kernel / 2, kernel / 2, groups});
  m.p.inputs = {{"x", x, {0, 3, 1, 2}}};
  m.p.outputs = {{"y", y, {0, 3, 1, 2}}};
  return m.p;
}

double sum_of(const std::array<double, kStalls>& stalls) {
  double sum = 0;
  for (double s : stalls) sum += s;
  return sum;
}

TEST(Timing, ALayerTakesWhatItsPassesTake) {
  // 32 filters of one window, every eighth weight set: 18 of 144 inputs 8 apart, one pass
  const Program p = one_layer(32, 16, 32, 3);
  const auto n = prepare(p, ergo2(), "layer");
  ASSERT_TRUE(n.ok()) << n.error().message;
  const WeightPlan plan = plan_weights(p.constants[0], 32, 144, 32, ergo2());
  const double passes = *std::max_element(plan.passes.begin(), plan.passes.end());
  // 1024 positions over four clusters, two slots, one block, then the command and the pipeline
  EXPECT_NEAR(n->timing.cycles, 256 * 2 * passes + 16 + 64, 1);
  EXPECT_DOUBLE_EQ(n->counts.adds, 1024.0 * 2 * static_cast<double>(plan.all_digits));
  EXPECT_DOUBLE_EQ(n->counts.results, 1024.0 * 32);
}

TEST(Timing, EveryClusterCycleIsWorkOrAStall) {
  for (const char* target : {"ergo", "ergo2"}) {
    const chip::Device d = chip::load_device(target).value();
    for (const Program& p : {testing::network(), one_layer(40, 64, 100, 3), one_layer(40, 64, 64, 3, 64)}) {
      const auto n = prepare(p, d, "network");
      ASSERT_TRUE(n.ok()) << n.error().message;
      const double all = n->timing.cycles * d.compute_clusters;
      EXPECT_NEAR(n->timing.busy + sum_of(n->timing.stalls), all, 1e-6 * all);
      double by_op = 0;
      for (const OpTime& t : n->timing.ops) {
        EXPECT_GE(t.end, t.start);
        by_op += t.busy + sum_of(t.stalls);
      }
      EXPECT_NEAR(by_op, all, 1e-6 * all);
      EXPECT_EQ(prepare(p, d, "again")->timing.cycles, n->timing.cycles);
    }
  }
}

TEST(Timing, LessOfAResourceIsNeverFasterAndIsBlamed) {
  const Program p = one_layer(40, 144, 128, 1);
  chip::Device d = ergo2();
  const double free = prepare(p, d, "a")->timing.cycles;
  ASSERT_TRUE(chip::set_constant(d, "read_bus", 16).ok());
  const auto narrow = prepare(p, d, "b");
  EXPECT_GT(narrow->timing.cycles, 1.5 * free);
  EXPECT_GT(narrow->timing.stalls[static_cast<size_t>(Stall::kReadBus)], 0.3 * narrow->timing.cycles * 4);
  chip::Device few = ergo2();
  ASSERT_TRUE(chip::set_constant(few, "bank_width", 8).ok());  // 16 B a cycle from a set
  const auto banks = prepare(p, few, "c");
  EXPECT_GT(banks->timing.cycles, free);
  EXPECT_GT(banks->timing.stalls[static_cast<size_t>(Stall::kBanks)], 0);
}

// A convolution in two bands whose rows come from a camera and go to the CPU.
Program two_bands() {
  testing::Maker m;
  const numerics::Affine affine{-64, 128};
  const int32_t w = m.weights({32, 3, 3, 16});
  int32_t x[2], y[2];
  for (int k = 0; k < 2; ++k) x[k] = m.tensor(PITH_U8, {1, 8, 16, 16}, affine), y[k] = m.tensor(PITH_U8, {1, 8, 16, 32}, affine);
  for (int k = 0; k < 2; ++k) {
    m.op(PITH_OPCODE_RowsIn, {}, {x[k]}, {0, 8 * k});
    m.op(PITH_OPCODE_Conv2d, {x[k], w, kNone}, {y[k]}, {1, 1, 1, 1, 1, 1, 1, 1, 1});
    m.op(PITH_OPCODE_RowsOut, {y[k]}, {}, {0, 8 * k});
  }
  m.p.inputs = {{"x", x[0], {0, 3, 1, 2}}};
  m.p.outputs = {{"y", y[0], {0, 3, 1, 2}}};
  return m.p;
}

TEST(Timing, RowsComeAtTheCamerasPace) {
  const chip::Device d = ergo2();
  const auto free = prepare(two_bands(), d, "free");
  ASSERT_TRUE(free.ok()) << free.error().message;
  EXPECT_EQ(free->work.input_bytes, 0);
  EXPECT_EQ(free->work.row_bytes, 16 * 16 * 16);
  EXPECT_EQ(free->work.output_elements, 0);
  const double period = 20 * free->timing.cycles;
  const auto paced = prepare(two_bands(), d, "paced", {8, 1 / period});
  EXPECT_GE(paced->timing.ops[0].end, 0.45 * period);  // half of the rows, a tenth of the time is blanking
  EXPECT_GE(paced->timing.ops[3].end, 0.9 * period);
  EXPECT_LT(paced->timing.cycles, 0.9 * period + free->timing.cycles);
  EXPECT_GT(paced->timing.stalls[static_cast<size_t>(Stall::kCamera)], 0.8 * 4 * 0.9 * period);
}

TEST(Timing, BandsShareTheirWeights) {
  const auto n = prepare(two_bands(), ergo2(), "bands");
  EXPECT_EQ(n->work.ops[1].weights.begin, n->work.ops[4].weights.begin);
  EXPECT_EQ(n->work.memory.weights, n->work.ops[1].weights.end - n->work.ops[1].weights.begin);
  EXPECT_EQ(n->work.ops[1].weight_count, 32 * 144);
  EXPECT_EQ(n->work.ops[4].weight_count, 0);
}

TEST(Energy, ComponentsSumAndFollowCounts) {
  const chip::Device d = ergo2();
  Counts c;
  c.adds = c.toggled_adds = 1e9;
  const Energy e = dynamic_energy(c, d, 1, d.clock_voltage);
  EXPECT_NEAR(e.total(), 1e9 * 18e-15 * 1.35, 1e-12);
  EXPECT_NEAR(dynamic_energy(c, d, 2, d.clock_voltage / 2).total(), e.total() / 2, 1e-12);
  const auto n = prepare(one_layer(32, 16, 32, 3), d, "layer");
  chip::Calibration cal{100, 2, 10, ""};
  const Outcome o = evaluate(*n, d, cal, {nominal_point(d, cal), {}, {}}, {30});
  EXPECT_DOUBLE_EQ(o.milliwatts, o.energy.total() * 30 * 1e3);
  EXPECT_NEAR(o.energy.joules[static_cast<size_t>(Component::kBase)], 10e-3 / 30, 1e-9);
  // off for most of the time: far less leakage than with every bank active
  EXPECT_LT(o.energy.joules[static_cast<size_t>(Component::kLeakage)] * 30, 0.2 * 8e-3);
}

TEST(Calibration, ReproducesItsMeasurements) {
  const chip::Device d = ergo2();
  const auto n = prepare(one_layer(160, 64, 128, 3), d, "layer");
  const Measurement m{115, 200, 30, 75};
  const chip::Calibration c = calibrate(*n, d, m);
  const Setting s{nominal_point(d, c), {}, {}};
  EXPECT_NEAR(evaluate(*n, d, c, s, {}).most, 115, 1e-6);
  EXPECT_NEAR(evaluate(*n, d, c, s, {115}).milliwatts, 200, 1e-6);
  EXPECT_NEAR(evaluate(*n, d, c, s, {30}).milliwatts, 75, 1e-6);
}

TEST(Camera, KeepsUpWithSixteenMegapixels) {
  const chip::Device d = ergo2();
  const CameraResult r = simulate_camera({4672, 3506, 24}, 640 * 640 * 3, d, 228);
  EXPECT_TRUE(r.possible) << r.why_not;
  EXPECT_FALSE(r.overflows) << r.fullest;
  EXPECT_TRUE(simulate_camera({4672, 3506, 24}, 1, d, 20).overflows);
  EXPECT_FALSE(simulate_camera({8000, 6000, 24}, 1, d, 228).possible);
  EXPECT_TRUE(simulate_camera({2048, 1536, 60}, 1, d, 228, 1).possible);
  EXPECT_FALSE(simulate_camera({4672, 3506, 24}, 1, d, 228, 1).possible);
  chip::Device one = d;
  one.camera_pipelines = 1;
  EXPECT_FALSE(simulate_camera({640, 480, 30}, 1, one, 228, 1).possible);
}

TEST(Chip, NamesWhatItLacks) {
  testing::Maker m;
  const int32_t a = m.tensor(PITH_U8, {1, 4, 4}, {-64, 128}), b = m.tensor(PITH_U8, {1, 4, 4}, {-64, 128}), y = m.tensor(PITH_U8, {1, 4, 4}, {-64, 128});
  m.op(PITH_OPCODE_MatMul, {a, b, kNone}, {y}, {0, 0}, {1});
  EXPECT_TRUE(prepare(m.p, ergo2(), "matmul").ok());
  const auto n = prepare(m.p, chip::load_device("ergo").value(), "matmul");
  ASSERT_FALSE(n.ok());
  EXPECT_EQ(n.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(n.error().message.find("MatMul"), std::string::npos);
  chip::Device tiny = ergo2();
  ASSERT_TRUE(chip::set_constant(tiny, "sram", 512).ok());
  EXPECT_FALSE(prepare(one_layer(128, 64, 64, 3), tiny, "large")->fits);
}

// Whatever a device file may state within its ranges gives a schedule that ends and adds up.
TEST(Chip, AnyDeviceThatPassesItsChecksWorks) {
  Random random(testing::seed());
  int tried = 0;
  for (int trial = 0; trial < 400; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(testing::seed()) + " trial " + std::to_string(trial));
    chip::Device d = ergo2();
    for (int k = 0; k < 6; ++k) {
      const chip::Row& row = chip::rows()[static_cast<size_t>(random.integer(0, static_cast<int64_t>(chip::rows().size()) - 1))];
      const double low = std::max(row.lowest, 1e-3), high = std::min(row.highest, 1e5);
      const double value = random.integer(0, 4) == 0 ? row.lowest : low * std::pow(high / low, random.uniform());
      d.*row.member = std::string_view(row.unit) == "factor" || std::string_view(row.unit) == "fJ" ? value : std::max(row.lowest, std::floor(value));
    }
    d.memory_network = std::min(d.memory_network, 65536.0);  // so that the test stays fast
    if (!chip::check_device(d).ok()) continue;
    const auto n = prepare(trial % 2 ? testing::network() : two_bands(), d, "network");
    ASSERT_TRUE(n.ok()) << n.error().message;
    ++tried;
    ASSERT_TRUE(std::isfinite(n->timing.cycles) && n->timing.cycles > 0);
    const double all = n->timing.cycles * d.compute_clusters;
    ASSERT_NEAR(n->timing.busy + sum_of(n->timing.stalls), all, 1e-6 * all);
    const chip::Calibration c{200, 1.5, 30, ""};
    const Outcome o = evaluate(*n, d, c, {nominal_point(d, c), {}, {}}, {1});
    ASSERT_TRUE(std::isfinite(o.milliwatts) && o.milliwatts >= 0);
  }
  EXPECT_GT(tried, 100);
}

TEST(Chip, NetworksShareIt) {
  const chip::Device d = ergo2();
  const chip::Calibration c{200, 1.5, 30, ""};
  const auto n = prepare(one_layer(160, 64, 128, 3), d, "layer");
  const Setting s{nominal_point(d, c), {}, {}};
  const Shared one = share_chip({&*n}, {30}, d, c, s), two = share_chip({&*n, &*n}, {30, 3}, d, c, s);
  EXPECT_NEAR(one.milliwatts, evaluate(*n, d, c, s, {30}).milliwatts, 0.5);
  EXPECT_NEAR(two.busy, 1.1 * one.busy, 1e-9);
  EXPECT_GT(two.milliwatts, one.milliwatts);
  EXPECT_FALSE(share_chip({&*n}, {1e5}, d, c, s).deadlines_met);
  EXPECT_LT(sleep_milliwatts({&*n}, d, c), 3);
}

}  // namespace
}  // namespace pith::sim
