// What of an operator's multiply-accumulates is left when blocks of weights that are zero are skipped: ir/blocks.h says which,
// said here again of a file's layout.
#include <algorithm>

#include "program/program.h"

namespace pith {
namespace {

constexpr int64_t kSide = 16;

// Weights (outputs, then positions of the kernel, then channels) in blocks of 16 outputs by 16 channels at one position.
template <typename T>
int64_t in_zero_blocks(const std::vector<T>& w, int64_t outputs, int64_t positions, int64_t channels) {
  int64_t count = 0;
  for (int64_t o = 0; o < outputs; o += kSide) {
    for (int64_t p = 0; p < positions; ++p) {
      for (int64_t c = 0; c < channels; c += kSide) {
        const int64_t rows = std::min(kSide, outputs - o), columns = std::min(kSide, channels - c);
        bool zero = true;
        for (int64_t r = o; r < o + rows && zero; ++r) {
          const auto first = w.begin() + (r * positions + p) * channels + c;
          zero = std::all_of(first, first + columns, [](T x) { return x == 0; });
        }
        count += zero ? rows * columns : 0;
      }
    }
  }
  return count;
}

}  // namespace

int64_t executed_macs(const Program& p, const ProgramOp& op) {
  const int64_t all = op_macs(p, op);
  const bool convolution = op.opcode == PITH_OPCODE_Conv2d, product = convolution || op.opcode == PITH_OPCODE_Dense;
  if (!product || all == 0 || !is_constant(op.inputs[1]) || is_constant(op.inputs[0])) return all;
  const ProgramConstant& w = p.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)];
  if (convolution && p.tensors[static_cast<size_t>(op.inputs[0])].dims.back() != w.dims[3]) return all;  // groups
  const int64_t outputs = w.dims[0], channels = w.dims.back(), positions = convolution ? int64_t{w.dims[1]} * w.dims[2] : 1, weights = outputs * positions * channels;
  const int64_t zero = w.reals.empty() ? in_zero_blocks(w.integers, outputs, positions, channels) : in_zero_blocks(w.reals, outputs, positions, channels);
  return all / weights * (weights - zero);
}

}  // namespace pith
