// Operators that only move elements: strided copies, whatever the elements are.
#include <algorithm>

#include "ir/eval.h"
#include "ir/geometry.h"
#include "ir/loops.h"
#include "ir/typed.h"

namespace pith::ir {
namespace {

// y = elements of x read with the given strides from `first`, in y's own order.
void gather_strided(const Tensor& x, const Shape& from_strides, int64_t first, const Shape& walk, Tensor& y) {
  with_width(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    copy_strided(walk, reinterpret_cast<T*>(y.mutable_bytes()), strides_of(walk),
                 reinterpret_cast<const T*>(x.bytes()) + first, from_strides);
  });
}

// Bytes [begin, begin + size) of every outer row of `from` to `at` in the rows of `to`.
void copy_rows(const uint8_t* from, size_t from_row, size_t begin, uint8_t* to, size_t to_row, size_t at, size_t size,
               int64_t rows) {
  for (int64_t r = 0; r < rows && size > 0; ++r) {
    std::memcpy(to + static_cast<size_t>(r) * to_row + at, from + static_cast<size_t>(r) * from_row + begin, size);
  }
}

// The input position that padded position `p` shows, or -1 for the constant.
int64_t padded_source(const std::string& mode, int64_t p, int64_t size) {
  if (p >= 0 && p < size) return p;
  if (mode == "edge") return std::clamp<int64_t>(p, 0, size - 1);
  if (mode == "wrap") return ((p % size) + size) % size;
  if (mode == "constant") return -1;
  if (size == 1) return 0;  // reflect
  const int64_t period = 2 * (size - 1), q = ((p % period) + period) % period;
  return q < size ? q : period - q;
}

}  // namespace

Tensor transposed(const Tensor& x, const std::vector<int64_t>& perm) {
  const Shape own = strides_of(x.shape());
  Shape shape, from;
  for (int64_t p : perm) {
    shape.push_back(x.shape()[static_cast<size_t>(p)]);
    from.push_back(own[static_cast<size_t>(p)]);
  }
  Tensor y(x.dtype(), shape);
  gather_strided(x, from, 0, shape, y);
  return y;
}

Result<void> eval_reshape(Evaluation& e) {
  e.outputs[0] = e.in(0).reshaped(e.outputs[0].shape());
  return {};
}

Result<void> eval_transpose(Evaluation& e) {
  std::vector<int64_t> perm = e.node.integers("perm");
  const size_t rank = e.shape(0).size();
  for (size_t i = 0; i < rank && !e.node.has("perm"); ++i) perm.push_back(static_cast<int64_t>(rank - 1 - i));
  for (int64_t& p : perm) p = wrap_axis(p, rank);
  e.outputs[0] = transposed(e.in(0), perm);
  return {};
}

Result<void> eval_concat(Evaluation& e) {
  Tensor& y = e.outputs[0];
  const int64_t axis = wrap_axis(e.node.integer("axis", 0), y.shape().size());
  const size_t width = dtype_bytes(y.dtype());
  const AxisSplit whole = split_at(y.shape(), axis);
  const size_t row = static_cast<size_t>(whole.size * whole.inner) * width;
  uint8_t* to = y.mutable_bytes();
  size_t at = 0;
  for (const Tensor* x : e.inputs) {
    const size_t part = static_cast<size_t>(x->shape()[static_cast<size_t>(axis)] * whole.inner) * width;
    copy_rows(x->bytes(), part, 0, to, row, at, part, whole.outer);
    at += part;
  }
  return {};
}

Result<void> eval_split(Evaluation& e) {
  const Tensor& x = e.in(0);
  const int64_t axis = wrap_axis(e.node.integer("axis", 0), x.shape().size());
  const size_t width = dtype_bytes(x.dtype());
  const AxisSplit whole = split_at(x.shape(), axis);
  const size_t row = static_cast<size_t>(whole.size * whole.inner) * width;
  size_t at = 0;
  for (Tensor& y : e.outputs) {
    const size_t part = static_cast<size_t>(y.shape()[static_cast<size_t>(axis)] * whole.inner) * width;
    copy_rows(x.bytes(), row, at, y.mutable_bytes(), part, 0, part, whole.outer);
    at += part;
  }
  return {};
}

Result<void> eval_slice(Evaluation& e) {
  const auto axes = slice_axes(e.node, e.shape(0)).value();
  Shape from = strides_of(e.shape(0));
  int64_t first = 0;
  for (size_t i = 0; i < axes.size(); ++i) {
    if (axes[i].count > 0) first += axes[i].start * from[i];
    from[i] *= axes[i].step;
  }
  if (e.outputs[0].count() > 0) gather_strided(e.in(0), from, first, e.outputs[0].shape(), e.outputs[0]);
  return {};
}

Result<void> eval_pad(Evaluation& e) {
  const Tensor& x = e.in(0);
  Tensor& y = e.outputs[0];
  const auto pads = pad_axes(e.node, x.shape()).value();
  const std::string mode = e.node.text("mode", "constant");
  const size_t rank = pads.size();
  Tensor fill(x.dtype(), {1});
  fill.set(0, e.node.real("value", 0));
  // where each position along each axis comes from
  std::vector<std::vector<int64_t>> source(rank);
  const Shape own = strides_of(x.shape());
  for (size_t d = 0; d < rank; ++d) {
    for (int64_t p = 0; p < y.shape()[d]; ++p) {
      const int64_t from = padded_source(mode, p - pads[d].before, x.shape()[d]);
      source[d].push_back(from < 0 ? -1 : from * own[d]);
    }
  }
  if (y.count() == 0) return {};
  with_width(x.dtype(), [&](auto zero) {
    using T = decltype(zero);
    const T* in = reinterpret_cast<const T*>(x.bytes());
    const T constant = *reinterpret_cast<const T*>(fill.bytes());
    T* out = reinterpret_cast<T*>(y.mutable_bytes());
    if (rank == 0) {
      *out = *in;
      return;
    }
    std::vector<int64_t> index(rank, 0);
    const int64_t rows = y.count() / y.shape().back();
    for (int64_t r = 0; r < rows; ++r) {
      int64_t base = 0;
      for (size_t d = 0; d + 1 < rank && base >= 0; ++d) {
        const int64_t from = source[d][static_cast<size_t>(index[d])];
        base = from < 0 ? -1 : base + from;
      }
      for (int64_t from : source[rank - 1]) *out++ = base < 0 || from < 0 ? constant : in[base + from];
      for (size_t d = rank - 1; d-- > 0;) {
        if (++index[d] < y.shape()[d]) break;
        index[d] = 0;
      }
    }
  });
  return {};
}

Result<void> eval_expand(Evaluation& e) {
  const Shape& shape = e.outputs[0].shape();
  gather_strided(e.in(0), broadcast_strides(e.shape(0), shape), 0, shape, e.outputs[0]);
  return {};
}

Result<void> eval_tile(Evaluation& e) {
  // each dimension becomes (repeats, size), the first standing still
  const auto repeats = e.node.integers("repeats");
  const Shape own = strides_of(e.shape(0));
  Shape walk, from;
  for (size_t i = 0; i < own.size(); ++i) {
    walk.insert(walk.end(), {repeats[i], e.shape(0)[i]});
    from.insert(from.end(), {0, own[i]});
  }
  gather_strided(e.in(0), from, 0, walk, e.outputs[0]);
  return {};
}

Result<void> eval_depth_space(Evaluation& e) {
  const Shape& x = e.shape(0);
  const int64_t b = e.node.integer("blocksize", 1);
  Tensor y;
  if (e.node.op == Op::kSpaceToDepth) {
    // n, c, (h, b), (w, b) -> n, b, b, c, h, w
    const Tensor split = e.in(0).reshaped({x[0], x[1], x[2] / b, b, x[3] / b, b});
    y = transposed(split, {0, 3, 5, 1, 2, 4});
  } else if (e.node.text("mode", "DCR") == "DCR") {
    const Tensor split = e.in(0).reshaped({x[0], b, b, x[1] / (b * b), x[2], x[3]});
    y = transposed(split, {0, 3, 4, 1, 5, 2});
  } else {
    const Tensor split = e.in(0).reshaped({x[0], x[1] / (b * b), b, b, x[2], x[3]});
    y = transposed(split, {0, 1, 4, 2, 5, 3});
  }
  e.outputs[0] = y.reshaped(e.outputs[0].shape());
  return {};
}

Result<void> eval_channel_shuffle(Evaluation& e) {
  const AxisSplit s = split_at(e.shape(0), 1);
  const int64_t group = e.node.integer("group", 1);
  const Tensor split = e.in(0).reshaped({s.outer, group, s.size / group, s.inner});
  e.outputs[0] = transposed(split, {0, 2, 1, 3}).reshaped(e.outputs[0].shape());
  return {};
}

Result<void> eval_trilu(Evaluation& e) {
  Tensor y = e.in(0);
  const Shape& shape = y.shape();
  const int64_t rows = shape[shape.size() - 2], columns = shape.back(), k = e.node.integer("k", 0);
  const bool upper = e.node.integer("upper", 1) != 0;
  const size_t width = dtype_bytes(y.dtype());
  uint8_t* bytes = y.mutable_bytes();
  for (int64_t row = 0; columns > 0 && row < y.count() / columns;
       ++row, bytes += static_cast<size_t>(columns) * width) {
    // upper keeps column >= row + k, lower column <= row + k
    const int64_t edge = std::clamp<int64_t>(row % rows + k + (upper ? 0 : 1), 0, columns);
    const auto [first, last] = upper ? std::pair{int64_t{0}, edge} : std::pair{edge, columns};
    std::memset(bytes + static_cast<size_t>(first) * width, 0, static_cast<size_t>(last - first) * width);
  }
  e.outputs[0] = std::move(y);
  return {};
}

}  // namespace pith::ir
