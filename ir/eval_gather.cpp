// Operators whose places are data: gathering, scattering, one-hot, selection, reversal.
#include <algorithm>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// Index tensors as int64, negative ones counted from the end; the error names one that is out of range. `sizes` repeats
// over the tensor: one size, or one for each of the last dimension's places.
Result<std::vector<int64_t>> checked_indices(const Evaluation& e, size_t input, const std::vector<int64_t>& sizes) {
  const Tensor wide = e.in(input).cast(DType::kI64);
  const auto given = wide.as<int64_t>();
  std::vector<int64_t> indices(given.begin(), given.end());
  for (size_t i = 0; i < indices.size(); ++i) {
    const int64_t size = sizes[i % sizes.size()];
    if (indices[i] < -size || indices[i] >= size) {
      return e.fail(fmt::format("the index {} is out of range for a dimension of {}", indices[i], size));
    }
    if (indices[i] < 0) indices[i] += size;
  }
  return indices;
}

Result<void> gather(Evaluation& e) {
  const Tensor& x = e.in(0);
  const AxisSplit s = split_at(x.shape(), wrap_axis(e.node.integer("axis", 0), x.shape().size()));
  PITH_TRY(const auto indices, checked_indices(e, 1, {s.size}));
  const size_t row = static_cast<size_t>(s.inner) * dtype_bytes(x.dtype());
  if (row == 0) return {};
  uint8_t* to = e.outputs[0].mutable_bytes();
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i : indices) {
      std::memcpy(to, x.bytes() + static_cast<size_t>(o * s.size + i) * row, row);
      to += row;
    }
  }
  return {};
}

// Calls f(flat position in the indices, flat position in the data) for GatherElements and ScatterElements.
template <typename F>
void for_each_element(const Shape& data, const Shape& indices_shape, int64_t axis, const std::vector<int64_t>& indices,
                      F f) {
  const Shape strides = strides_of(data);
  Shape walk = strides;
  walk[static_cast<size_t>(axis)] = 0;
  const int64_t along = strides[static_cast<size_t>(axis)];
  for_each_row<2>(indices_shape, {strides_of(indices_shape), walk},
                  [&](int64_t n, const auto& offset, const auto& step) {
                    for (int64_t i = 0; i < n; ++i) {
                      const int64_t at = offset[0] + i * step[0];
                      f(at, offset[1] + i * step[1] + indices[static_cast<size_t>(at)] * along);
                    }
                  });
}

Result<void> gather_elements(Evaluation& e) {
  const Tensor& x = e.in(0);
  const int64_t axis = wrap_axis(e.node.integer("axis", 0), x.shape().size());
  PITH_TRY(const auto indices, checked_indices(e, 1, {x.shape()[static_cast<size_t>(axis)]}));
  with_width(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = reinterpret_cast<const T*>(x.bytes());
    T* out = reinterpret_cast<T*>(e.outputs[0].mutable_bytes());
    for_each_element(x.shape(), e.shape(1), axis, indices, [&](int64_t to, int64_t from) { out[to] = in[from]; });
  });
  return {};
}

// The elements that index tuples of GatherND and ScatterND name: `begin` of each slice, all of `size` elements.
struct Slices {
  std::vector<int64_t> begin;
  int64_t size;
};
Result<Slices> slices_of(const Evaluation& e, size_t batch) {
  const Shape &x = e.shape(0), &indices_shape = e.shape(1);
  const auto depth = static_cast<size_t>(indices_shape.back());
  const std::vector<int64_t> sizes(x.begin() + static_cast<std::ptrdiff_t>(batch),
                                   x.begin() + static_cast<std::ptrdiff_t>(batch + depth));
  PITH_TRY(const auto indices, checked_indices(e, 1, sizes));
  const Shape strides = strides_of(x);
  const int64_t batches = element_count({x.begin(), x.begin() + static_cast<std::ptrdiff_t>(batch)});
  const int64_t batch_stride = element_count({x.begin() + static_cast<std::ptrdiff_t>(batch), x.end()});
  const size_t tuples = indices.size() / depth;
  Slices slices{{}, element_count({x.begin() + static_cast<std::ptrdiff_t>(batch + depth), x.end()})};
  for (size_t t = 0; t < tuples; ++t) {
    const auto of = static_cast<int64_t>(t) / (static_cast<int64_t>(tuples) / std::max<int64_t>(batches, 1));
    int64_t begin = of * batch_stride;
    for (size_t d = 0; d < depth; ++d) begin += indices[t * depth + d] * strides[batch + d];
    slices.begin.push_back(begin);
  }
  return slices;
}

Result<void> gather_nd(Evaluation& e) {
  PITH_TRY(const Slices slices, slices_of(e, static_cast<size_t>(e.node.integer("batch_dims", 0))));
  const size_t width = dtype_bytes(e.in(0).dtype()), size = static_cast<size_t>(slices.size) * width;
  if (size == 0) return {};
  uint8_t* to = e.outputs[0].mutable_bytes();
  for (int64_t begin : slices.begin) {
    std::memcpy(to, e.in(0).bytes() + static_cast<size_t>(begin) * width, size);
    to += size;
  }
  return {};
}

enum class Reduction { kNone, kAdd, kMul, kMax, kMin };
Reduction reduction_of(const Node& node) {
  const std::string name = node.text("reduction", "none");
  return name == "add"   ? Reduction::kAdd
         : name == "mul" ? Reduction::kMul
         : name == "max" ? Reduction::kMax
         : name == "min" ? Reduction::kMin
                         : Reduction::kNone;
}

template <typename T>
void combine(Reduction r, T& into, T value) {
  switch (r) {
    case Reduction::kNone:
      into = value;
      return;
    case Reduction::kMax:
      into = std::max(into, value);
      return;
    case Reduction::kMin:
      into = std::min(into, value);
      return;
    case Reduction::kAdd:
    case Reduction::kMul:
      break;
  }
  if constexpr (std::is_integral_v<T>) {
    const auto a = static_cast<uint64_t>(into), b = static_cast<uint64_t>(value);
    into = static_cast<T>(r == Reduction::kAdd ? a + b : a * b);
  } else {
    into = r == Reduction::kAdd ? into + value : into * value;
  }
}

}  // namespace

Result<void> eval_gather(Evaluation& e) {
  if (e.node.op == Op::kGatherND) return gather_nd(e);
  return e.node.op == Op::kGatherElements ? gather_elements(e) : gather(e);
}

Result<void> eval_scatter(Evaluation& e) {
  const Reduction reduction = reduction_of(e.node);
  Tensor y = e.in(0);
  const Tensor& updates = e.in(2);
  if (e.node.op == Op::kScatterND) {
    PITH_TRY(const Slices slices, slices_of(e, 0));
    with_dtype(y.dtype(), [&](auto zero) {
      using T = decltype(zero);
      T* out = y.mut<T>().data();
      const T* in = updates.as<T>().data();
      for (int64_t begin : slices.begin) {
        for (int64_t i = 0; i < slices.size; ++i) combine(reduction, out[begin + i], *in++);
      }
    });
  } else {
    const int64_t axis = wrap_axis(e.node.integer("axis", 0), y.shape().size());
    PITH_TRY(const auto indices, checked_indices(e, 1, {y.shape()[static_cast<size_t>(axis)]}));
    with_dtype(y.dtype(), [&](auto zero) {
      using T = decltype(zero);
      T* out = y.mut<T>().data();
      const T* in = updates.as<T>().data();
      for_each_element(y.shape(), e.shape(1), axis, indices,
                       [&](int64_t from, int64_t to) { combine(reduction, out[to], in[from]); });
    });
  }
  e.outputs[0] = std::move(y);
  return {};
}

Result<void> eval_one_hot(Evaluation& e) {
  Tensor& y = e.outputs[0];
  const int64_t depth = e.node.integer("depth", 1);
  const AxisSplit s = split_at(y.shape(), wrap_axis(e.node.integer("axis", -1), y.shape().size()));
  const double off = e.node.real("off", 0), on = e.node.real("on", 1);
  if (off != 0) {
    for (int64_t i = 0; i < y.count(); ++i) y.set(i, off);
  }
  const Tensor indices = e.in(0).cast(DType::kI64);
  for (int64_t o = 0; o < s.outer; ++o) {
    for (int64_t i = 0; i < s.inner; ++i) {
      int64_t at = indices.as<int64_t>()[static_cast<size_t>(o * s.inner + i)];
      if (at < 0) at += depth;
      if (at >= 0 && at < depth) y.set((o * depth + at) * s.inner + i, on);
    }
  }
  return {};
}

Result<void> eval_compress(Evaluation& e) {
  const bool flat = !e.node.has("axis");
  const Tensor x = flat ? e.in(0).reshaped({e.in(0).count()}) : e.in(0);
  const int64_t axis = flat ? 0 : wrap_axis(e.node.integer("axis", 0), x.shape().size());
  const auto condition = e.node.integers("condition");
  const AxisSplit s = split_at(x.shape(), axis);
  const size_t row = static_cast<size_t>(s.inner) * dtype_bytes(x.dtype());
  if (row == 0) return {};
  uint8_t* to = e.outputs[0].mutable_bytes();
  for (int64_t o = 0; o < s.outer; ++o) {
    for (size_t i = 0; i < condition.size(); ++i) {
      if (condition[i] == 0) continue;
      std::memcpy(to, x.bytes() + (static_cast<size_t>(o * s.size) + i) * row, row);
      to += row;
    }
  }
  return {};
}

Result<void> eval_reverse_sequence(Evaluation& e) {
  const Tensor& x = e.in(0);
  const bool batch_first = e.node.integer("batch_axis", 1) == 0;
  const int64_t batches = x.shape()[batch_first ? 0 : 1], steps = x.shape()[batch_first ? 1 : 0];
  const size_t row =
      static_cast<size_t>(element_count({x.shape().begin() + 2, x.shape().end()})) * dtype_bytes(x.dtype());
  const Tensor lengths = e.in(1).cast(DType::kI64);
  if (row == 0) return {};
  uint8_t* y = e.outputs[0].mutable_bytes();
  const auto at = [&](int64_t b, int64_t t) {
    return static_cast<size_t>(batch_first ? b * steps + t : t * batches + b) * row;
  };
  for (int64_t b = 0; b < batches; ++b) {
    const int64_t length = lengths.as<int64_t>()[static_cast<size_t>(b)];
    if (length < 0 || length > steps)
      return e.fail(fmt::format("a sequence of length {} among {} steps", length, steps));
    for (int64_t t = 0; t < steps; ++t)
      std::memcpy(y + at(b, t), x.bytes() + at(b, t < length ? length - 1 - t : t), row);
  }
  return {};
}

}  // namespace pith::ir
