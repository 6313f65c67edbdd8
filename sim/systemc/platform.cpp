#include "sim/systemc/platform.h"

#include <cstring>

namespace pith::sim {

Ram::Ram(const sc_core::sc_module_name& name, size_t bytes) : sc_module(name), bytes_(bytes) {
  socket.register_b_transport(this, &Ram::transport);
}

void Ram::transport(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay) {
  const uint64_t at = payload.get_address(), n = payload.get_data_length();
  if (at > bytes_.size() || n > bytes_.size() - at) return payload.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
  payload.is_write() ? std::memcpy(bytes_.data() + at, payload.get_data_ptr(), n)
                     : std::memcpy(payload.get_data_ptr(), bytes_.data() + at, n);
  delay += sc_core::sc_time(10 + static_cast<double>(n) / 8, sc_core::SC_NS);
  payload.set_response_status(tlm::TLM_OK_RESPONSE);
}

Bus::Bus(const sc_core::sc_module_name& name) : sc_module(name) {
  processor.register_b_transport(this, &Bus::transport);
}

void Bus::transport(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay) {
  const uint64_t address = payload.get_address();
  const bool to_chip = address >= kChipBase;
  payload.set_address(address - (to_chip ? kChipBase : kRamBase));
  delay += sc_core::sc_time(2, sc_core::SC_NS);
  to_chip ? chip->b_transport(payload, delay) : ram->b_transport(payload, delay);
  payload.set_address(address);
}

Processor::Processor(const sc_core::sc_module_name& name, Software software)
    : sc_module(name), software_(std::move(software)) {
  SC_HAS_PROCESS(Processor);
  SC_THREAD(run);
}

tlm::tlm_response_status Processor::access(tlm::tlm_command command, uint64_t address, uint8_t* data, size_t bytes) {
  tlm::tlm_generic_payload payload;
  payload.set_command(command);
  payload.set_address(address);
  payload.set_data_ptr(data);
  payload.set_data_length(static_cast<unsigned>(bytes));
  payload.set_streaming_width(static_cast<unsigned>(bytes));
  payload.set_byte_enable_ptr(nullptr);
  payload.set_dmi_allowed(false);
  payload.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
  sc_core::sc_time delay = sc_core::SC_ZERO_TIME;
  socket->b_transport(payload, delay);
  wait(delay);
  return payload.get_response_status();
}

uint32_t Processor::read32(uint64_t address) {
  uint32_t value = 0;
  if (access(tlm::TLM_READ_COMMAND, address, reinterpret_cast<uint8_t*>(&value), 4) != tlm::TLM_OK_RESPONSE)
    SC_REPORT_ERROR("processor", "a read failed");
  return value;
}

void Processor::write32(uint64_t address, uint32_t value) {
  if (access(tlm::TLM_WRITE_COMMAND, address, reinterpret_cast<uint8_t*>(&value), 4) != tlm::TLM_OK_RESPONSE)
    SC_REPORT_ERROR("processor", "a write failed");
}

void Processor::wait_for_interrupt() {
  while (!interrupt.read()) wait(interrupt.value_changed_event());
}

Platform::Platform(const std::string& name, const ChipModel& model, Processor::Software software)
    : chip((name + "_chip").c_str(), model),
      ram((name + "_ram").c_str(), 1 << 20),
      bus((name + "_bus").c_str()),
      processor((name + "_processor").c_str(), std::move(software)),
      interrupt((name + "_interrupt").c_str()) {
  processor.socket.bind(bus.processor);
  bus.ram.bind(ram.socket);
  bus.chip.bind(chip.socket);
  chip.interrupt(interrupt);
  processor.interrupt(interrupt);
}

Inference infer(Processor& p, const std::vector<std::vector<uint8_t>>& inputs, size_t outputs) {
  Inference seen;
  for (size_t i = 0; i < inputs.size(); ++i) {
    p.write32(kChipBase + kRegisterPort, static_cast<uint32_t>(i));
    const uint32_t at = p.read32(kChipBase + kRegisterInputAt);
    std::vector<uint8_t> frame = inputs[i];
    if (p.access(tlm::TLM_WRITE_COMMAND, kChipBase + kChipMemory + at, frame.data(), frame.size()) !=
        tlm::TLM_OK_RESPONSE)
      SC_REPORT_ERROR("driver", "the chip took no input");
  }
  p.write32(kChipBase + kRegisterEnable, 1);
  p.write32(kChipBase + kRegisterDoorbell, 1);
  seen.rang = sc_core::sc_time_stamp();
  p.wait_for_interrupt();
  seen.interrupted = sc_core::sc_time_stamp();
  for (size_t k = 0; k < outputs; ++k) {
    p.write32(kChipBase + kRegisterPort, static_cast<uint32_t>(k));
    const uint32_t at = p.read32(kChipBase + kRegisterOutputAt);
    seen.outputs.emplace_back(p.read32(kChipBase + kRegisterOutputBytes));
    if (p.access(tlm::TLM_READ_COMMAND, kChipBase + kChipMemory + at, seen.outputs.back().data(),
                 seen.outputs.back().size()) != tlm::TLM_OK_RESPONSE)
      SC_REPORT_ERROR("driver", "the chip gave no output");
  }
  seen.cycles = p.read32(kChipBase + kRegisterCycles);
  seen.nanojoules = p.read32(kChipBase + kRegisterNanojoules);
  p.write32(kChipBase + kRegisterAcknowledge, 1);
  return seen;
}

}  // namespace pith::sim
