// The virtual chip as a TLM-2.0 target, so that it can stand in a virtual platform beside a processor, memories and
// cameras.
//
// Why: software that drives an accelerator (drivers, schedulers, several masters on a bus) can be written before there
// is silicon only where the accelerator answers on a bus, takes time and raises an interrupt. This wraps the two halves
// of sim/: values from sim/functional, bit for bit, and time from sim/timing, operator by operator. Loosely timed:
// b_transport annotates the time of a transfer, a thread lives through an inference.
//
// Addresses, bytes from the target's base; registers are 32 bits, little endian, and take aligned accesses of 4 bytes:
//
//   0x00 ID            "pith"                    0x20 NANOJOULES   of the last inference, events and leakage
//   0x04 STATUS        1 busy, 2 done, 4 error   0x24 PORT         selects input or output port (0, 1, ...)
//   0x08 DOORBELL      write 1: start            0x28 INPUT_AT     offset of that input in the memory window
//   0x0c ENABLE        1: interrupt when done    0x2c INPUT_BYTES
//   0x10 ACKNOWLEDGE   write 1: clears done,     0x30 OUTPUT_AT
//                      error and interrupt       0x34 OUTPUT_BYTES
//   0x18 CYCLES        of the last inference     0x38 PROGRESS     operators done
//
//   0x100000           memory window: the network's arena, in its physical layout; any length within it
//
// While an inference runs the arena is the network's: accesses to the window get TLM_GENERIC_ERROR_RESPONSE, a second
// doorbell sets the error bit. Addresses beyond either part get TLM_ADDRESS_ERROR_RESPONSE, wrong lengths or alignments
// TLM_BURST_ERROR_RESPONSE, streaming and byte enables TLM_BYTE_ENABLE_ERROR_RESPONSE.
#pragma once

#include <tlm_utils/simple_target_socket.h>

#include <memory>
#include <systemc>
#include <tlm>

#include "sim/chip.h"
#include "sim/functional/functional.h"

namespace pith::sim {

enum ChipRegister : uint64_t {
  kRegisterId = 0x00,
  kRegisterStatus = 0x04,
  kRegisterDoorbell = 0x08,
  kRegisterEnable = 0x0c,
  kRegisterAcknowledge = 0x10,
  kRegisterCycles = 0x18,
  kRegisterNanojoules = 0x20,
  kRegisterPort = 0x24,
  kRegisterInputAt = 0x28,
  kRegisterInputBytes = 0x2c,
  kRegisterOutputAt = 0x30,
  kRegisterOutputBytes = 0x34,
  kRegisterProgress = 0x38,
  kRegisterEnd = 0x3c,
};
inline constexpr uint64_t kChipMemory = 0x100000;
inline constexpr uint32_t kChipId = 0x68746970, kStatusBusy = 1, kStatusDone = 2, kStatusError = 4;

// What a target computes and how long it takes. Error kUnsupported: an operator that the chip lacks, or ports by rows,
// which need a camera's stream rather than a memory window; kDoesNotFit where the memory doesn't suffice.
struct ChipModel {
  Program program;
  chip::Device device;
  chip::Calibration calibration;
  Prepared prepared;
  static Result<std::unique_ptr<ChipModel>> make(Program program, const chip::Device& device,
                                                 const chip::Calibration& calibration);
};

class ChipTarget : public sc_core::sc_module {
 public:
  tlm_utils::simple_target_socket<ChipTarget> socket{"socket"};
  sc_core::sc_out<bool> interrupt{"interrupt"};

  ChipTarget(const sc_core::sc_module_name& name, const ChipModel& model);  // the model outlives it

 private:
  void run();
  void transport(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay);
  unsigned debug(tlm::tlm_generic_payload& payload);
  void access_register(tlm::tlm_generic_payload& payload, const sc_core::sc_time& delay);
  void access_memory(tlm::tlm_generic_payload& payload, sc_core::sc_time& delay);
  uint32_t read(uint64_t at) const;
  void write(uint64_t at, uint32_t value, const sc_core::sc_time& delay);
  sc_core::sc_time cycles(double n) const { return {n / (model_.calibration.clock_mhz * 1e6), sc_core::SC_SEC}; }

  const ChipModel& model_;
  Functional chip_;
  sc_core::sc_event doorbell_, level_changed_;
  uint32_t status_ = 0, enable_ = 0, port_ = 0, progress_ = 0, last_cycles_ = 0, nanojoules_ = 0;
  void drive_interrupt();
};

}  // namespace pith::sim
