// A platform around the chip: a processor that drives it over a bus, with memory beside it.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>

#include <functional>
#include <string>
#include <vector>

#include "sim/systemc/chip_target.h"

namespace pith::sim {

inline constexpr uint64_t kRamBase = 0x0, kChipBase = 0x40000000;

// Plain memory: 10 ns and 8 B/ns.
class Ram : public sc_core::sc_module {
 public:
  tlm_utils::simple_target_socket<Ram> socket{"socket"};
  Ram(const sc_core::sc_module_name& name, size_t bytes);

 private:
  void transport(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay);
  std::vector<uint8_t> bytes_;
};

// Passes what the processor asks to the target at its address, less the target's base.
class Bus : public sc_core::sc_module {
 public:
  tlm_utils::simple_target_socket<Bus> processor{"processor"};
  tlm_utils::simple_initiator_socket<Bus> ram{"ram"}, chip{"chip"};
  explicit Bus(const sc_core::sc_module_name& name);

 private:
  void transport(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay);
};

// A processor whose software is a function. It lives in simulated time: every access waits for its annotated delay.
class Processor : public sc_core::sc_module {
 public:
  tlm_utils::simple_initiator_socket<Processor> socket{"socket"};
  sc_core::sc_in<bool> interrupt{"interrupt"};
  using Software = std::function<void(Processor&)>;
  Processor(const sc_core::sc_module_name& name, Software software);

  tlm::tlm_response_status access(tlm::tlm_command command, uint64_t address, uint8_t* data, size_t bytes);
  uint32_t read32(uint64_t address);  // reports what fails as a SystemC error
  void write32(uint64_t address, uint32_t value);
  void wait_for_interrupt();

 private:
  void run() { software_(*this); }
  Software software_;
};

// All of it, wired.
struct Platform {
  Platform(const std::string& name, const ChipModel& model, Processor::Software software);
  ChipTarget chip;
  Ram ram;
  Bus bus;
  Processor processor;
  sc_core::sc_signal<bool> interrupt;
};

// The driver: a frame's codes in, an inference, the output's codes back. What it saw:
struct Inference {
  std::vector<std::vector<uint8_t>> outputs;  // of each port, in physical order
  sc_core::sc_time rang, interrupted;         // when the doorbell was written, when the interrupt came
  uint32_t cycles = 0, nanojoules = 0;
};
Inference infer(Processor& processor, const std::vector<std::vector<uint8_t>>& inputs, size_t outputs);

}  // namespace pith::sim
