// Norm (layer, RMS, instance, group, L1, L2) and LocalNorm, in float with sums in double; layer and RMS on 8-bit codes in
// integers (numerics/norm.h).
#include "numerics/norm.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

enum Kind { kLayer, kRms, kInstance, kGroup, kL1, kL2 };

float parameter(const float* values, int64_t count, int64_t i) {
  return values == nullptr ? 0 : values[count == 1 ? 0 : i];
}

// The scale's second row: powers of two that x is multiplied by first (layer and RMS).
bool has_spread(const Op& op) {
  return op.ints[0] <= kRms && op.inputs[1] != nullptr && op.inputs[1]->rank == 2 && op.inputs[1]->dims[0] == 2;
}
bool spreads(const Tensor& scale) {
  if (!scale.is_constant()) return false;
  const float* factors = static_cast<const float*>(scale.values);  // null while memory is counted
  for (int64_t i = scale.dims[1]; factors != nullptr && i < scale.count(); ++i) {
    int exponent = 0;
    while (exponent <= numerics::kSpreadMost && factors[i] != static_cast<float>(1 << exponent)) ++exponent;
    if (exponent > numerics::kSpreadMost) return false;
  }
  return true;
}
const float* spread_of(const Op& op, const Run& run) {
  return has_spread(op) ? run.read<float>(op.inputs[1]) + op.inputs[1]->dims[1] : nullptr;
}

// y = (x - mean) * inverse * scale + bias for `n` elements; parameters count from `first`. x is spread already.
void apply(const Op& op, const Run& run, const float* x, float* y, int64_t n, double mean, double inverse,
           int64_t first) {
  const Tensor *scale = op.inputs[1], *bias = op.inputs[2];
  const float* s = scale != nullptr ? run.read<float>(scale) : nullptr;
  const float* b = bias != nullptr ? run.read<float>(bias) : nullptr;
  const int64_t scales = scale != nullptr ? scale->count() : 0, biases = bias != nullptr ? bias->count() : 0;
  const float shift = static_cast<float>(-mean * inverse), factor = static_cast<float>(inverse);
  for (int64_t i = 0; i < n; ++i) {
    float v = x[i] * factor + shift;
    if (s != nullptr) v *= parameter(s, scales, first + i);
    if (b != nullptr) v += parameter(b, biases, first + i);
    y[i] = v;
  }
}

// Rows of the last dimensions from the axis on.
void layer(const Op& op, const Run& run, bool rms) {
  const Tensor& x = *op.inputs[0];
  const int64_t rows = x.count_of(0, op.ints[1]), n = x.count_of(op.ints[1], x.rank);
  const float* from = run.read<float>(&x);
  float* to = run.write<float>(op.outputs[0]);
  const float* spread = spread_of(op, run);
  parallel(run.threads, rows, n >= 1024 ? 1 : 1024 / n, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t r = begin; r < end; ++r) {
      const float* row = from + r * n;
      if (spread != nullptr) {
        for (int64_t i = 0; i < n; ++i) to[r * n + i] = row[i] * spread[i];
        row = to + r * n;
      }
      double mean = 0, square = 0;
      if (!rms) {
        for (int64_t i = 0; i < n; ++i) mean += row[i];
        mean /= static_cast<double>(n);
      }
      for (int64_t i = 0; i < n; ++i) square += (row[i] - mean) * (row[i] - mean);
      apply(op, run, row, to + r * n, n, mean, 1 / numerics::sqrt(square / static_cast<double>(n) + op.reals[0]), 0);
    }
  });
}

// 8-bit rows; the parameters of a row's elements lie in scratch.
void layer_u8(const Op& op, const Run& run) {
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0], *scale = op.inputs[1], *bias = op.inputs[2];
  const U8Finish& finish = *static_cast<const U8Finish*>(op.plan);
  const bool rms = op.ints[0] == kRms;
  const int64_t rows = x.count_of(0, op.ints[1]), n = x.count_of(op.ints[1], x.rank);
  const uint64_t epsilon = numerics::norm_epsilon(op.reals[0], x.affine, n);
  const int32_t zero = x.affine.zero_point;
  const float* spread = spread_of(op, run);
  parallel(run.threads, rows, n >= 1024 ? 4 : 4096 / n, [&](int64_t begin, int64_t end, int32_t task) {
    numerics::NormParameter* parameters = reinterpret_cast<numerics::NormParameter*>(run.scratch(op, task));
    for (int64_t i = 0; i < n; ++i) {
      const double s = scale != nullptr ? parameter(run.read<float>(scale), scale->count(), i) : 1;
      const double b = bias != nullptr ? parameter(run.read<float>(bias), bias->count(), i) : 0;
      parameters[i] = numerics::norm_parameter(s, b, finish.raw);
    }
    for (int64_t r = begin; r < end; ++r) {
      const uint8_t* from = run.read<uint8_t>(&x) + r * n;
      uint8_t* to = run.write<uint8_t>(&y) + r * n;
      int64_t sum = 0, squares = 0;
      const int32_t offset = rms || spread != nullptr ? zero : 0;
      const auto element = [&](int64_t i) {
        return spread == nullptr ? from[i] - offset : (from[i] - offset) * static_cast<int32_t>(spread[i]);
      };
      for (int64_t i = 0; i < n; ++i) {
        const int32_t q = element(i);
        sum += q;
        squares += q * q;
      }
      const numerics::NormRow f = rms ? numerics::NormRow::rms(n, squares, 0, epsilon) : numerics::NormRow::layer(n, sum, squares, epsilon);
      const Epilogue& e = finish.epilogue;
      for (int64_t i = 0; i < n; ++i) {
        const int32_t code = numerics::clamp(numerics::norm_code(f.quotient(element(i)), parameters[i], e.zero_point), e.low, e.high);
        to[i] = e.table != nullptr ? e.table[code] : static_cast<uint8_t>(code);
      }
    }
  });
}

// Channels last; statistics over all positions of `width` neighbouring channels.
void instance(const Op& op, const Run& run, int64_t groups) {
  const Tensor& x = *op.inputs[0];
  const int64_t channels = x.dims[x.rank - 1], positions = x.count_of(1, x.rank - 1), width = channels / groups;
  const float* from = run.read<float>(&x);
  float* to = run.write<float>(op.outputs[0]);
  parallel(run.threads, x.dims[0] * groups, 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t first = g % groups * width, base = g / groups * positions * channels + first;
      double mean = 0, square = 0;
      const double count = static_cast<double>(positions * width);
      for (int64_t p = 0; p < positions; ++p) {
        for (int64_t c = 0; c < width; ++c) mean += from[base + p * channels + c];
      }
      mean /= count;
      for (int64_t p = 0; p < positions; ++p) {
        for (int64_t c = 0; c < width; ++c) {
          const double d = from[base + p * channels + c] - mean;
          square += d * d;
        }
      }
      const double inverse = 1 / numerics::sqrt(square / count + op.reals[0]);
      for (int64_t p = 0; p < positions; ++p) {
        apply(op, run, from + base + p * channels, to + base + p * channels, width, mean, inverse, first);
      }
    }
  });
}

// x / norm along one axis; a norm of zero leaves zeros.
void length(const Op& op, const Run& run, bool squares) {
  const Tensor& x = *op.inputs[0];
  const int64_t outer = x.count_of(0, op.ints[1]), n = x.dims[op.ints[1]], inner = x.count_of(op.ints[1] + 1, x.rank);
  const float* from = run.read<float>(&x);
  float* to = run.write<float>(op.outputs[0]);
  for (int64_t line = 0; line < outer * inner; ++line) {
    const int64_t base = line / inner * n * inner + line % inner;
    double sum = 0;
    for (int64_t k = 0; k < n; ++k) {
      const double v = from[base + k * inner];
      sum += squares ? v * v : v < 0 ? -v : v;
    }
    if (squares) sum = numerics::sqrt(sum);
    for (int64_t k = 0; k < n; ++k) {
      to[base + k * inner] = sum > 0 ? static_cast<float>(from[base + k * inner] / sum) : 0;
    }
  }
}

}  // namespace

const char* prepare_Norm(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  const int32_t kind = op.ints[0], axis = op.ints[1], groups = op.ints[2];
  const bool codes = x.dtype == PITH_U8 && y.dtype == PITH_U8 && (kind == kLayer || kind == kRms);
  if ((!codes && (x.dtype != PITH_F32 || y.dtype != PITH_F32)) || x.count() != y.count())
    return "its input and output aren't float; the compiler should convert them";
  if (kind < kLayer || kind > kL2) return "its kind is unknown";
  if (axis < 0 || axis >= x.rank || x.count() == 0) return "its axis is out of range";
  int64_t parameters = 0;
  if (kind == kLayer || kind == kRms) parameters = x.count_of(axis, x.rank);
  if (kind == kInstance || kind == kGroup) {
    if (x.rank < 2) return "its input has no channels";
    parameters = x.dims[x.rank - 1];
    if (kind == kGroup && (groups < 1 || parameters % groups != 0)) return "its groups don't divide the channels";
  }
  for (int i = 1; i < 3; ++i) {
    const Tensor* t = op.inputs[i];
    if (t == nullptr) continue;
    const int64_t n = i == 1 && has_spread(op) ? t->dims[1] : t->count();
    if (t->dtype != PITH_F32 || (n != parameters && t->count() != 1)) return "its scale or bias doesn't fit";
  }
  if (has_spread(op) && !spreads(*op.inputs[1])) return "what it spreads isn't by powers of two";
  if (codes) {
    if (parameters > (has_spread(op) ? numerics::kSpreadNormMost : numerics::kNormMost)) return "its rows are too long for integers";
    const U8Finish finish = computed_finish(builder, op, y);
    U8Finish* plan = builder.plan<U8Finish>(op);
    if (plan != nullptr) *plan = finish;
  }
  return nullptr;
}

void run_Norm(const Op& op, const Run& run) {
  if (op.inputs[0]->dtype == PITH_U8) return layer_u8(op, run);
  switch (op.ints[0]) {
    case kLayer:
      layer(op, run, false);
      break;
    case kRms:
      layer(op, run, true);
      break;
    case kInstance:
      instance(op, run, op.inputs[0]->dims[op.inputs[0]->rank - 1]);
      break;
    case kGroup:
      instance(op, run, op.ints[2]);
      break;
    case kL1:
      length(op, run, false);
      break;
    default:
      length(op, run, true);
  }
  activate_f32(op, run, run.write<float>(op.outputs[0]), op.outputs[0]->count());
}

const char* prepare_LocalNorm(Builder& builder, Op& op) {
  if (const char* reason = decode_constants(builder, op)) return reason;
  const Tensor &x = *op.inputs[0], &y = *op.outputs[0];
  if (x.dtype != PITH_F32 || y.dtype != PITH_F32 || x.count() != y.count())
    return "its input and output aren't float; the compiler should convert them";
  return x.rank < 1 || op.ints[0] < 1 ? "its size is out of range" : nullptr;
}

void run_LocalNorm(const Op& op, const Run& run) {
  const Tensor& x = *op.inputs[0];
  const int64_t channels = x.dims[x.rank - 1], size = op.ints[0];
  const double alpha = op.reals[0], beta = op.reals[1], bias = op.reals[2];
  const float* from = run.read<float>(&x);
  float* to = run.write<float>(op.outputs[0]);
  parallel(run.threads, x.count_of(0, x.rank - 1), 1, [&](int64_t begin, int64_t end, int32_t) {
    for (int64_t p = begin; p < end; ++p) {
      const float* row = from + p * channels;
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t first = c - (size - 1) / 2 > 0 ? c - (size - 1) / 2 : 0;
        const int64_t last = c + size / 2 < channels - 1 ? c + size / 2 : channels - 1;
        double sum = 0;
        for (int64_t k = first; k <= last; ++k) sum += static_cast<double>(row[k]) * row[k];
        to[p * channels + c] =
            static_cast<float>(row[c] / numerics::pow(bias + alpha / static_cast<double>(size) * sum, beta));
      }
    }
  });
  activate_f32(op, run, to, x.count());
}

}  // namespace pith::runtime
