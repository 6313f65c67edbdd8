// A device of our own, for tests: memory that the host can't touch, as a GPU's is, on any machine.
//
// Why: what is written for `--device cuda` fails on a GPU in two ways that a CPU never shows: an operator is given tensors
// of both sides, or the host reads through a pointer that is the device's. Method: a backend on libtorch's dispatch key
// PrivateUse1 (pytorch.org, "Facilitating New Backend Integration by PrivateUse1"). Its memory lies in pages without any
// permission except while one of its operators runs, so that a stray access ends the program. Its operators are the CPU's on
// the same memory, once it is seen that every tensor lies on the device; as with CUDA, single numbers of the CPU may take
// part where operators are element-wise. So results are the CPU's, nearly.
//
// What it can't show: a GPU's speed, its own rounding and its order of sums, streams, and several devices.
#pragma once

#include <cstdint>

namespace pith::train {

constexpr const char* kFarDevice = "privateuseone";  // for use_device(), in programs that are linked with far_device.cpp

// As a GPU whose memory is full from here on, or isn't any more.
void fill_far_memory(bool full);

// How often the host waited for the device's numbers so far: each holds up a GPU.
int64_t far_waits();

}  // namespace pith::train
