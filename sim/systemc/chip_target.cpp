#include "sim/systemc/chip_target.h"

#include <cmath>
#include <cstring>

namespace pith::sim {
Result<std::unique_ptr<ChipModel>> ChipModel::make(Program program, const chip::Device& device,
                                                   const chip::Calibration& calibration) {
  auto model = std::make_unique<ChipModel>();
  model->program = std::move(program);
  model->device = device;
  model->calibration = calibration;
  const RowPorts rows = row_ports(model->program);
  for (const auto* ports : {&rows.inputs, &rows.outputs}) {
    for (int32_t r : *ports) {
      if (r > 0)
        return error(ErrorCode::kUnsupported,
                     "a port goes by rows, which a memory window can't; compile without --rows");
    }
  }
  PITH_TRY(const Functional possible, Functional::create(model->program));
  PITH_TRY(model->prepared, prepare(model->program, device, "network"));
  if (!model->prepared.fits)
    return error(ErrorCode::kDoesNotFit, model->prepared.why_not + "; take a device with more");
  return model;
}

ChipTarget::ChipTarget(const sc_core::sc_module_name& name, const ChipModel& model)
    : sc_module(name), model_(model), chip_(Functional::create(model.program).value()) {
  SC_HAS_PROCESS(ChipTarget);
  SC_THREAD(run);
  SC_METHOD(drive_interrupt);
  sensitive << level_changed_;
  socket.register_b_transport(this, &ChipTarget::transport);
  socket.register_transport_dbg(this, &ChipTarget::debug);
}

void ChipTarget::drive_interrupt() { interrupt.write((status_ & kStatusDone) != 0 && enable_ != 0); }

// An inference: each operator's values are there when its time is over, the whole is done when the last operator is.
void ChipTarget::run() {
  const Timing& timing = model_.prepared.timing;
  const Setting setting{nominal_point(model_.device, model_.calibration), {}};
  while (true) {
    wait(doorbell_);
    const sc_core::sc_time start = sc_core::sc_time_stamp();
    const auto until = [&](double cycle) {
      const sc_core::sc_time at = start + cycles(cycle);
      if (at > sc_core::sc_time_stamp()) wait(at - sc_core::sc_time_stamp());
    };
    const Result<void> done = chip_.run([&](size_t op, bool finished) {
      until(finished ? timing.ops[op].end : timing.ops[op].start);
      if (finished) progress_ = static_cast<uint32_t>(op + 1);
    });
    until(timing.cycles);
    const Outcome outcome = evaluate(model_.prepared, model_.device, model_.calibration, setting, {});
    last_cycles_ = static_cast<uint32_t>(std::llround(timing.cycles));
    const double base = outcome.energy.joules[static_cast<size_t>(Component::kBase)];
    nanojoules_ = static_cast<uint32_t>(std::llround(std::min(4e9, (outcome.energy.total() - base) * 1e9)));
    status_ = (status_ & ~kStatusBusy) | kStatusDone | (done.ok() ? 0 : kStatusError);
    level_changed_.notify(sc_core::SC_ZERO_TIME);
  }
}

void ChipTarget::transport(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay) {
  if (payload.get_byte_enable_ptr() != nullptr || payload.get_streaming_width() < payload.get_data_length()) {
    payload.set_response_status(tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE);
  } else if (payload.get_command() == tlm::TLM_IGNORE_COMMAND) {
    payload.set_response_status(tlm::TLM_OK_RESPONSE);
  } else if (payload.get_address() >= kChipMemory) {
    access_memory(payload, delay);
  } else {
    delay += cycles(1);
    access_register(payload, delay);
  }
}

void ChipTarget::access_register(tlm::tlm_generic_payload& payload, const sc_core::sc_time& delay) {
  const uint64_t at = payload.get_address();
  if (at + payload.get_data_length() > kRegisterEnd)
    return payload.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
  if (payload.get_data_length() != 4 || at % 4 != 0) return payload.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
  uint32_t value = 0;
  if (payload.is_write()) {
    std::memcpy(&value, payload.get_data_ptr(), 4);
    write(at, value, delay);
  } else {
    value = read(at);
    std::memcpy(payload.get_data_ptr(), &value, 4);
  }
  payload.set_response_status(tlm::TLM_OK_RESPONSE);
}

void ChipTarget::access_memory(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay) {
  const uint64_t at = payload.get_address() - kChipMemory, bytes = payload.get_data_length(),
                 size = static_cast<uint64_t>(model_.program.arena_bytes);
  if (at > size || bytes > size - at) return payload.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
  if (status_ & kStatusBusy) return payload.set_response_status(tlm::TLM_GENERIC_ERROR_RESPONSE);
  uint8_t* memory = chip_.memory() + at;
  payload.is_write() ? std::memcpy(memory, payload.get_data_ptr(), bytes)
                     : std::memcpy(payload.get_data_ptr(), memory, bytes);
  delay += cycles(std::ceil(static_cast<double>(bytes) / model_.device.dma_rate));
  payload.set_response_status(tlm::TLM_OK_RESPONSE);
}

// Looks without taking time, also while an inference runs.
unsigned ChipTarget::debug(tlm::tlm_generic_payload& payload) {
  const uint64_t size = static_cast<uint64_t>(model_.program.arena_bytes);
  if (payload.get_address() < kChipMemory || payload.get_address() - kChipMemory >= size || !payload.is_read())
    return 0;
  const uint64_t at = payload.get_address() - kChipMemory;
  const unsigned bytes = static_cast<unsigned>(std::min<uint64_t>(payload.get_data_length(), size - at));
  std::memcpy(payload.get_data_ptr(), chip_.memory() + at, bytes);
  return bytes;
}

uint32_t ChipTarget::read(uint64_t at) const {
  const auto port = [&](const std::vector<ProgramPort>& ports, bool offset) -> uint32_t {
    if (port_ >= ports.size()) return 0;
    const ProgramTensor& t = model_.program.tensors[static_cast<size_t>(ports[port_].tensor)];
    return static_cast<uint32_t>(offset ? t.offset : tensor_bytes(t));
  };
  switch (at) {
    case kRegisterId:
      return kChipId;
    case kRegisterStatus:
      return status_;
    case kRegisterEnable:
      return enable_;
    case kRegisterCycles:
      return last_cycles_;
    case kRegisterNanojoules:
      return nanojoules_;
    case kRegisterPort:
      return port_;
    case kRegisterInputAt:
      return port(model_.program.inputs, true);
    case kRegisterInputBytes:
      return port(model_.program.inputs, false);
    case kRegisterOutputAt:
      return port(model_.program.outputs, true);
    case kRegisterOutputBytes:
      return port(model_.program.outputs, false);
    case kRegisterProgress:
      return progress_;
    default:
      return 0;
  }
}

void ChipTarget::write(uint64_t at, uint32_t value, const sc_core::sc_time& delay) {
  if (at == kRegisterEnable) enable_ = value & 1;
  if (at == kRegisterPort) port_ = value;
  if (at == kRegisterAcknowledge && value == 1) status_ &= kStatusBusy;
  if (at == kRegisterDoorbell && value == 1) {
    if (status_ & kStatusBusy) {
      status_ |= kStatusError;
    } else {
      status_ = kStatusBusy, progress_ = 0;
      doorbell_.notify(delay);  // when the write has arrived
    }
  }
  level_changed_.notify(sc_core::SC_ZERO_TIME);
}

}  // namespace pith::sim
