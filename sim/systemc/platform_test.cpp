// The chip on a bus: its results are the functional simulator's bit for bit, its time is the timing model's, and what a
// driver does wrong gets the answer that chip_target.h promises.
//
// SystemC elaborates once in a process, so all platforms run first and the tests look at what was recorded.
#include "sim/systemc/platform.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "base/file.h"
#include "runtime/testing/sample_program.h"

namespace pith::sim {
namespace {

struct Trial {
  std::unique_ptr<ChipModel> model;
  std::vector<std::vector<uint8_t>> inputs;
  std::vector<Inference> seen;
  std::unique_ptr<Platform> platform;
};

Result<std::unique_ptr<ChipModel>> model_of(Program program) {
  return ChipModel::make(std::move(program), chip::load_device("ergo2").value(), chip::load_calibration("").value());
}

Program lenet() {
  const char* source = std::getenv("PITH_SOURCE_DIR");
  return read_program(read_file(std::string(source != nullptr ? source : ".") + "/zoo/lenet/lenet5.pith").value())
      .value();
}

std::vector<Trial>& trials() {
  static std::vector<Trial> all;
  return all;
}

// What a driver does wrong, and the answers.
struct Wrongs {
  std::vector<tlm::tlm_response_status> responses;
  uint32_t status_busy = 0, status_twice = 0, status_acknowledged = 0, id = 0;
  bool low_again = false;
};
Wrongs& wrongs() {
  static Wrongs w;
  return w;
}

void misbehave(Processor& p) {
  Wrongs& w = wrongs();
  uint8_t data[8] = {};
  const auto tried = [&](tlm::tlm_command command, uint64_t at, size_t bytes) {
    w.responses.push_back(p.access(command, kChipBase + at, data, bytes));
  };
  w.id = p.read32(kChipBase + kRegisterId);
  tried(tlm::TLM_READ_COMMAND, kRegisterStatus, 2);
  tried(tlm::TLM_READ_COMMAND, kRegisterStatus + 2, 4);
  tried(tlm::TLM_READ_COMMAND, kRegisterEnd, 4);
  tried(tlm::TLM_READ_COMMAND, kChipMemory + (uint64_t{1} << 30), 4);
  tried(tlm::TLM_WRITE_COMMAND, kChipMemory + static_cast<uint64_t>(trials()[0].model->program.arena_bytes) - 2, 4);
  p.write32(kChipBase + kRegisterEnable, 1);
  p.write32(kChipBase + kRegisterDoorbell, 1);
  w.status_busy = p.read32(kChipBase + kRegisterStatus);
  tried(tlm::TLM_WRITE_COMMAND, kChipMemory, 4);
  p.write32(kChipBase + kRegisterDoorbell, 1);
  w.status_twice = p.read32(kChipBase + kRegisterStatus);
  p.wait_for_interrupt();
  p.write32(kChipBase + kRegisterAcknowledge, 1);
  p.write32(kChipBase + kRegisterEnable, 0);
  w.status_acknowledged = p.read32(kChipBase + kRegisterStatus);
  w.low_again = !p.interrupt.read();
}

void build() {
  Random random(testing::seed());
  for (Program program : {testing::network(), lenet()}) {
    Trial t;
    t.model = model_of(std::move(program)).value();
    for (const ProgramPort& port : t.model->program.inputs) {
      const ProgramTensor& tensor = t.model->program.tensors[static_cast<size_t>(port.tensor)];
      size_t n = 1;
      for (int32_t d : tensor.dims) n *= static_cast<size_t>(d);
      t.inputs.emplace_back(n);
      for (uint8_t& b : t.inputs.back()) b = static_cast<uint8_t>(random.integer(0, 255));
    }
    trials().push_back(std::move(t));
  }
  for (size_t i = 0; i < trials().size(); ++i) {
    const auto software = [i](Processor& p) {
      if (i == 0) misbehave(p);
      for (int frame = 0; frame < 2; ++frame)
        trials()[i].seen.push_back(infer(p, trials()[i].inputs, trials()[i].model->program.outputs.size()));
    };
    trials()[i].platform = std::make_unique<Platform>("platform" + std::to_string(i), *trials()[i].model, software);
  }
}

TEST(Platform, ResultsAreTheFunctionalSimulatorsBitForBit) {
  for (const Trial& t : trials()) {
    const Program& p = t.model->program;
    auto chip = Functional::create(p);
    ASSERT_TRUE(chip.ok());
    for (size_t i = 0; i < t.inputs.size(); ++i)
      std::copy(t.inputs[i].begin(), t.inputs[i].end(),
                chip->memory() + p.tensors[static_cast<size_t>(p.inputs[i].tensor)].offset);
    ASSERT_TRUE(chip->run().ok());
    ASSERT_EQ(t.seen.size(), 2u);
    for (const Inference& seen : t.seen) {
      for (size_t k = 0; k < seen.outputs.size(); ++k) {
        const uint8_t* y = chip->memory() + p.tensors[static_cast<size_t>(p.outputs[k].tensor)].offset;
        ASSERT_FALSE(seen.outputs[k].empty());
        EXPECT_EQ(seen.outputs[k], std::vector<uint8_t>(y, y + seen.outputs[k].size()));
      }
    }
  }
}

TEST(Platform, AnInferenceTakesWhatTheTimingModelSays) {
  for (const Trial& t : trials()) {
    const double seconds = t.model->prepared.timing.cycles / (t.model->calibration.clock_mhz * 1e6);
    for (const Inference& seen : t.seen) {
      EXPECT_NEAR((seen.interrupted - seen.rang).to_seconds(), seconds, 2e-12);
      EXPECT_NEAR(seen.cycles, t.model->prepared.timing.cycles, 1);
      EXPECT_GT(seen.nanojoules, 0u);
    }
  }
}

TEST(Platform, WhatADriverDoesWrongIsAnswered) {
  const Wrongs& w = wrongs();
  const std::vector<tlm::tlm_response_status> expected = {
      tlm::TLM_BURST_ERROR_RESPONSE,   tlm::TLM_BURST_ERROR_RESPONSE,   tlm::TLM_ADDRESS_ERROR_RESPONSE,
      tlm::TLM_ADDRESS_ERROR_RESPONSE, tlm::TLM_ADDRESS_ERROR_RESPONSE, tlm::TLM_GENERIC_ERROR_RESPONSE};
  EXPECT_EQ(w.responses, expected);
  EXPECT_EQ(w.id, kChipId);
  EXPECT_EQ(w.status_busy, kStatusBusy);
  EXPECT_EQ(w.status_twice, kStatusBusy | kStatusError);
  EXPECT_EQ(w.status_acknowledged, 0u);
  EXPECT_TRUE(w.low_again);
}

TEST(Platform, WhatAWindowCantCarryIsNamed) {
  testing::Maker m;
  const int32_t x = m.tensor(PITH_U8, {1, 4, 4, 1}, {-64, 128});
  m.op(PITH_OPCODE_RowsIn, {}, {x}, {0, 0});
  m.p.inputs = {{"x", x, {0, 3, 1, 2}}};
  m.p.outputs = {{"y", x, {0, 3, 1, 2}}};
  const auto model = model_of(m.p);
  ASSERT_FALSE(model.ok());
  EXPECT_EQ(model.error().code, ErrorCode::kUnsupported);
  EXPECT_NE(model.error().message.find("rows"), std::string::npos);
}

}  // namespace
}  // namespace pith::sim

int sc_main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  pith::sim::build();
  sc_core::sc_start();
  return RUN_ALL_TESTS();
}
int main(int argc, char** argv) { return sc_core::sc_elab_and_sim(argc, argv); }
