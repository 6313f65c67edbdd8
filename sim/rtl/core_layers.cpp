#include "sim/rtl/core_layers.h"

#include <algorithm>

#include "sim/functional/operand.h"
#include "sim/timing/cores.h"

namespace pith::sim {

bool CoreLayer::possible(const Program& p, const ProgramOp& op) {
  if (op.opcode != PITH_OPCODE_Conv2d && op.opcode != PITH_OPCODE_Dense) return false;
  return !is_constant(op.inputs[0]) && p.tensors[static_cast<size_t>(op.inputs[0])].dtype == PITH_U8 &&
         is_constant(op.inputs[1]);
}

const ProgramConstant& CoreLayer::weights() const {
  return program->constants[static_cast<size_t>(op->inputs[1] - kConstantBase)];
}
int64_t CoreLayer::filters() const { return weights().dims[0]; }
int64_t CoreLayer::length() const { return static_cast<int64_t>(weights().integers.size()) / filters(); }
int64_t CoreLayer::positions() const {
  int64_t n = 1;
  for (int32_t d : program->tensors[static_cast<size_t>(op->outputs[0])].dims) n *= d;
  return n / filters();
}
int64_t CoreLayer::share() const { return op->opcode == PITH_OPCODE_Conv2d ? filters() / op->ints[8] : filters(); }

CoreJob CoreLayer::job(int64_t first, const std::vector<int64_t>& at, const std::vector<uint8_t>& input) const {
  const ProgramTensor &x = program->tensors[static_cast<size_t>(op->inputs[0])],
                      &y = program->tensors[static_cast<size_t>(op->outputs[0])];
  const ProgramConstant& w = weights();
  const Finish finish = finish_of(*op, y.affine);
  CoreJob job;
  job.in_zero_point = x.affine.zero_point, job.out_zero_point = finish.raw.zero_point, job.low = finish.low,
  job.high = finish.high;
  for (int code = 0; code < 256; ++code)
    job.table[static_cast<size_t>(code)] = finish.through(static_cast<uint8_t>(code));
  const int64_t last = std::min({first + kCoreFilters, filters(), (first / share() + 1) * share()});
  for (int64_t f = first; f < last; ++f) {
    CoreFilter filter;
    filter.weights.assign(w.integers.begin() + f * length(), w.integers.begin() + (f + 1) * length());
    if (op->inputs[2] != kNone)
      filter.bias =
          program->constants[static_cast<size_t>(op->inputs[2] - kConstantBase)].integers[static_cast<size_t>(f)];
    filter.factor = numerics::multiplier(x.affine.scale_code +
                                         w.scale_codes[w.scale_codes.size() > 1 ? static_cast<size_t>(f) : 0] -
                                         finish.raw.scale_code);
    job.filters.push_back(std::move(filter));
  }
  const bool conv = op->opcode == PITH_OPCODE_Conv2d;
  for (int64_t p : at) {
    std::vector<uint8_t> codes;
    if (!conv) {
      codes.assign(input.begin() + p * length(), input.begin() + (p + 1) * length());
    } else {
      const int64_t depth = w.dims[3], group = first / share();
      const int64_t n = p / (int64_t{y.dims[1]} * y.dims[2]), oy = p / y.dims[2] % y.dims[1], ox = p % y.dims[2];
      for (int64_t ky = 0; ky < w.dims[1]; ++ky) {
        for (int64_t kx = 0; kx < w.dims[2]; ++kx) {
          const int64_t iy = oy * op->ints[0] + ky * op->ints[2] - op->ints[4],
                        ix = ox * op->ints[1] + kx * op->ints[3] - op->ints[5];
          const bool inside = iy >= 0 && iy < x.dims[1] && ix >= 0 && ix < x.dims[2];
          for (int64_t c = 0; c < depth; ++c) {
            codes.push_back(inside ? input[static_cast<size_t>(((n * x.dims[1] + iy) * x.dims[2] + ix) * x.dims[3] +
                                                               group * depth + c)]
                                   : x.affine.zero_point);
          }
        }
      }
    }
    job.inputs.push_back(std::move(codes));
  }
  return job;
}

int64_t modelled_cycles(const CoreJob& job, const chip::Device& device) {
  chip::Device one = device;
  one.compute_clusters = one.compute_cores = 1;
  ProgramConstant k;
  const int64_t rows = static_cast<int64_t>(job.filters.size()),
                length = static_cast<int64_t>(job.filters[0].weights.size());
  k.dims = {static_cast<int32_t>(rows), static_cast<int32_t>(length)};
  for (const CoreFilter& f : job.filters) k.integers.insert(k.integers.end(), f.weights.begin(), f.weights.end());
  Layer layer;
  layer.plan = plan_weights(k, rows, length, rows, one);
  layer.filters = rows;
  layer.positions = static_cast<int64_t>(job.inputs.size());
  OpWork work;
  map_layer(layer, one, work);
  double cycles = 0;
  for (const Job& j : work.jobs) cycles += j.cycles;
  return static_cast<int64_t>(cycles);
}

}  // namespace pith::sim
