// A small virtual platform: a processor, memory and the chip on one bus; three frames with random codes, step by step.
//
//   pith-platform model.pith [ergo|ergo2]
#include <cstdio>
#include <string>

#include "base/file.h"
#include "base/random.h"
#include "sim/systemc/platform.h"

namespace {

pith::Result<std::unique_ptr<pith::sim::ChipModel>> load(const std::string& path, const std::string& target) {
  PITH_TRY(const std::vector<uint8_t> file, pith::read_file(path));
  PITH_TRY(pith::Program program, pith::read_program(file));
  PITH_TRY(const pith::chip::Device device, pith::chip::load_device(target));
  PITH_TRY(const pith::chip::Calibration calibration, pith::chip::load_calibration(""));
  return pith::sim::ChipModel::make(std::move(program), device, calibration);
}

}  // namespace

int sc_main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: pith-platform model.pith [device]\n");
    return 2;
  }
  const auto model = load(argv[1], argc > 2 ? argv[2] : "ergo2");
  if (!model.ok()) {
    std::fprintf(stderr, "pith-platform: %s\n", model.error().message.c_str());
    return static_cast<int>(model.error().code);
  }
  const pith::Program& program = (*model)->program;
  const auto software = [&](pith::sim::Processor& processor) {
    pith::Random random(1);
    for (int frame = 0; frame < 3; ++frame) {
      std::vector<std::vector<uint8_t>> inputs;
      for (const pith::ProgramPort& port : program.inputs) {
        const pith::ProgramTensor& t = program.tensors[static_cast<size_t>(port.tensor)];
        size_t bytes = t.dtype == PITH_U8 ? 1 : 4;
        for (int32_t d : t.dims) bytes *= static_cast<size_t>(d);
        inputs.emplace_back(bytes);
        for (uint8_t& b : inputs.back()) b = t.dtype == PITH_U8 ? static_cast<uint8_t>(random.integer(0, 255)) : 0;
      }
      const pith::sim::Inference seen = pith::sim::infer(processor, inputs, program.outputs.size());
      std::printf("frame %d: doorbell at %s, interrupt at %s, %u cycles, %u nJ\n", frame, seen.rang.to_string().c_str(),
                  seen.interrupted.to_string().c_str(), seen.cycles, seen.nanojoules);
    }
  };
  pith::sim::Platform platform("platform", **model, software);
  sc_core::sc_start();
  return 0;
}
