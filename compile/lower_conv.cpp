// Lowering of convolutions, matrix products and pooling, and of the constants that they use.
#include <fmt/format.h>

#include <algorithm>

#include "compile/lowering.h"
#include "ir/geometry.h"

namespace pith {
namespace {

// N,H,W,C of a rank-3 or rank-4 logical shape.
Dims image_dims(const ir::Shape& s) {
  const auto at = [&](size_t i) { return static_cast<int32_t>(s[i]); };
  return s.size() == 3 ? Dims{at(0), 1, at(2), at(1)} : Dims{at(0), at(2), at(3), at(1)};
}

// stride, dilation, pads before and after, groups: the integer parameters of both convolutions.
std::vector<int32_t> conv_parameters(const std::array<ir::Window, 2>& w, int64_t groups) {
  const auto of = [](int64_t x) { return static_cast<int32_t>(x); };
  return {of(w[0].stride), of(w[1].stride), of(w[0].dilation), of(w[1].dilation), of(w[0].pad_begin), of(w[1].pad_begin),
          of(w[0].pad_end), of(w[1].pad_end), of(groups)};
}

}  // namespace

// ---- constants --------------------------------------------------------------------------------------------------

ir::Tensor Lowering::real_values(ir::ValueId id) const {
  const ir::Value& v = value(id);
  if (!v.quant) return v.constant->cast(ir::DType::kF32);
  ir::Tensor out(ir::DType::kF32, v.shape);
  const auto codes = v.quant->scale_codes;
  int64_t inner = 1;
  for (size_t d = static_cast<size_t>(v.quant->axis) + 1; d < v.shape.size(); ++d) inner *= v.shape[d];
  auto span = out.mut<float>();
  for (size_t i = 0; i < span.size(); ++i) {
    const size_t c = codes.size() <= 1 ? 0 : static_cast<size_t>(static_cast<int64_t>(i) / inner) % codes.size();
    const double scale = codes.empty() ? 1.0 : numerics::scale_value(codes[c]);
    span[i] = static_cast<float>(v.constant->at(static_cast<int64_t>(i)) * scale);
  }
  return out;
}

int32_t Lowering::real_constant(const ir::Tensor& t, const Dims& dims, const std::string& name) {
  ProgramConstant k;
  k.name = name;
  k.dtype = PITH_F32;
  k.dims = dims;
  const ir::Tensor real = t.cast(ir::DType::kF32);
  k.reals.assign(real.as<float>().begin(), real.as<float>().end());
  program.constants.push_back(std::move(k));
  return kConstantBase + static_cast<int32_t>(program.constants.size() - 1);
}

int32_t Lowering::float_constant(ir::ValueId id, const Dims& dims) {
  const ir::Value& v = value(id);
  if (!v.quant || v.quant->scale_codes.size() != 1 || v.constant->dtype() != ir::DType::kI8) return real_constant(real_values(id), dims, v.name);
  ProgramConstant k;
  k.name = v.name;
  k.dtype = PITH_I8;
  k.dims = dims;
  k.bits = v.quant->bits;
  k.scale_codes = v.quant->scale_codes;
  k.integers.assign(v.constant->as<int8_t>().begin(), v.constant->as<int8_t>().end());
  return shared_constant(std::move(k));
}

// A language model's logits multiply by its embedding's own rows; its layers turn by the same angles.
int32_t Lowering::shared_constant(ProgramConstant k) {
  const size_t count = std::max(k.integers.size(), k.reals.size());
  for (size_t i = 0; i < program.constants.size() && count >= 256; ++i) {
    const ProgramConstant& o = program.constants[i];
    const bool same = o.dtype == k.dtype && o.dims == k.dims && o.bits == k.bits && o.scale_codes == k.scale_codes;
    if (same && o.integers == k.integers && o.reals == k.reals) return kConstantBase + static_cast<int32_t>(i);
  }
  program.constants.push_back(std::move(k));
  return kConstantBase + static_cast<int32_t>(program.constants.size() - 1);
}

int32_t Lowering::integer_constant(const std::vector<int32_t>& values, const Dims& dims, const std::string& name) {
  ProgramConstant k;
  k.name = name;
  k.dtype = PITH_I32;
  k.dims = dims;
  k.integers = values;
  program.constants.push_back(std::move(k));
  return kConstantBase + static_cast<int32_t>(program.constants.size() - 1);
}

int32_t Lowering::weight_constant(ir::ValueId id, const std::vector<int>& permutation, const Dims& dims) {
  const ir::Value& v = value(id);
  ProgramConstant k;
  k.name = v.name;
  k.dims = dims;
  // gather index of every element in the file's order
  std::vector<int64_t> strides(v.shape.size(), 1);
  for (size_t i = v.shape.size(); i-- > 1;) strides[i - 1] = strides[i] * v.shape[i];
  const int64_t count = v.constant->count();
  std::vector<int64_t> position(permutation.size(), 0);
  const auto next = [&] {
    int64_t at = 0;
    for (size_t d = 0; d < permutation.size(); ++d) at += position[d] * strides[static_cast<size_t>(permutation[d])];
    for (size_t d = permutation.size(); d-- > 0;) {
      if (++position[d] < v.shape[static_cast<size_t>(permutation[d])]) break;
      position[d] = 0;
    }
    return at;
  };
  if (v.quant && !v.quant->scale_codes.empty()) {
    k.dtype = PITH_I8;
    k.bits = v.quant->bits;
    const auto codes = v.constant->as<int8_t>();
    for (int64_t i = 0; i < count; ++i) k.integers.push_back(codes[static_cast<size_t>(next())]);
    k.scale_codes = v.quant->scale_codes;
  } else {
    k.dtype = PITH_F32;
    for (int64_t i = 0; i < count; ++i) k.reals.push_back(static_cast<float>(v.constant->at(next())));
  }
  return shared_constant(std::move(k));
}

namespace {

// Biases are i32 in integer operators, f32 in float ones.
int32_t bias_constant(Lowering& l, const ir::Node& n, size_t slot, int32_t channels, bool exact) {
  if (!l.present(n, slot)) return kNone;
  const ir::Value& v = l.value(n.inputs[slot]);
  if (!exact) return l.float_constant(n.inputs[slot], {channels});
  std::vector<int32_t> integers;
  for (int64_t i = 0; i < v.constant->count(); ++i) integers.push_back(static_cast<int32_t>(v.constant->at(i)));
  return l.integer_constant(integers, {channels}, v.name);
}

bool scales_follow(const ir::Value& v, int axis) {
  return !v.quant || v.quant->scale_codes.size() <= 1 || v.quant->axis == axis;
}

}  // namespace

// ---- operators --------------------------------------------------------------------------------------------------

Result<void> Lowering::lower_conv(const ir::Node& n) {
  const ir::Value &x = value(n.inputs[0]), &w = value(n.inputs[1]), &y = value(n.outputs[0]);
  if (x.shape.size() < 3 || x.shape.size() > 4) return unsupported(n, "only one and two spatial dimensions are supported");
  if (!w.is_constant() || (present(n, 2) && !value(n.inputs[2]).is_constant())) return unsupported(n, "weights that are computed; only constant ones are supported");
  if (!scales_follow(w, 0)) return unsupported(n, "weight scales not along the output channels");
  const bool integer = exact(n);
  PITH_TRY(const std::vector<ir::Window> spatial, ir::windows(n, ir::spatial(x.shape), ir::spatial(w.shape)));
  const std::array<ir::Window, 2> window = ir::as_2d(spatial);
  const Order order = channels_last_order(x.shape.size());
  const int32_t input = dense_as(integer ? view(n.inputs[0]) : real_view(n.inputs[0]), order, image_dims(x.shape));
  const int32_t channels = static_cast<int32_t>(w.shape[0]);
  const Dims file_dims = {channels, static_cast<int32_t>(window[0].kernel), static_cast<int32_t>(window[1].kernel), static_cast<int32_t>(w.shape[1])};
  const std::vector<int> permutation = w.shape.size() == 3 ? std::vector<int>{0, 2, 1} : std::vector<int>{0, 2, 3, 1};
  const int32_t weights = weight_constant(n.inputs[1], permutation, file_dims);
  const int32_t bias = bias_constant(*this, n, 2, channels, integer);
  const int32_t output = new_tensor(integer ? PITH_U8 : PITH_F32, image_dims(y.shape), affine(n.outputs[0]), y.name);
  ProgramOp& op = emit(PITH_OPCODE_Conv2d, {input, weights, bias}, {output}, conv_parameters(window, n.integer("group", 1)));
  set_activation(op, n, integer);
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_conv_transpose(const ir::Node& n) {
  const ir::Value &x = value(n.inputs[0]), &w = value(n.inputs[1]), &y = value(n.outputs[0]);
  if (x.shape.size() < 3 || x.shape.size() > 4) return unsupported(n, "only one and two spatial dimensions are supported");
  if (!w.is_constant() || (present(n, 2) && !value(n.inputs[2]).is_constant())) return unsupported(n, "weights that are computed; only constant ones are supported");
  if (!scales_follow(w, 1)) return unsupported(n, "weight scales not along the output channels");
  const bool integer = exact(n);
  PITH_TRY(const std::vector<ir::Window> spatial, ir::windows(n, ir::spatial(x.shape), ir::spatial(w.shape)));
  std::array<ir::Window, 2> window = ir::as_2d(spatial);
  for (ir::Window& v : window) {
    if (v.pad_begin < 0) return unsupported(n, "negative padding");
    v.pad_end = std::max<int64_t>(0, v.pad_end);  // the output's size says what is cut off
  }
  const Order order = channels_last_order(x.shape.size());
  const int32_t input = dense_as(integer ? view(n.inputs[0]) : real_view(n.inputs[0]), order, image_dims(x.shape));
  const Dims file_dims = {static_cast<int32_t>(w.shape[1]), static_cast<int32_t>(window[0].kernel), static_cast<int32_t>(window[1].kernel), static_cast<int32_t>(w.shape[0])};
  const std::vector<int> permutation = w.shape.size() == 3 ? std::vector<int>{1, 2, 0} : std::vector<int>{1, 2, 3, 0};
  const int32_t weights = weight_constant(n.inputs[1], permutation, file_dims);
  const int32_t bias = bias_constant(*this, n, 2, static_cast<int32_t>(y.shape[1]), integer);
  const int32_t output = new_tensor(integer ? PITH_U8 : PITH_F32, image_dims(y.shape), affine(n.outputs[0]), y.name);
  ProgramOp& op = emit(PITH_OPCODE_ConvTranspose2d, {input, weights, bias}, {output}, conv_parameters(window, n.integer("group", 1)));
  set_activation(op, n, integer);
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_dense(const ir::Node& n) {
  const ir::Value &a = value(n.inputs[0]), &b = value(n.inputs[1]), &y = value(n.outputs[0]);
  const bool gemm = n.op == ir::Op::kGemm;
  const bool transposed = gemm && n.integer("transB", 0) != 0;
  const bool constant_bias = !present(n, 2) || value(n.inputs[2]).is_constant();
  if (!constant_bias) return unsupported(n, "a bias that is computed; add it in a node of its own");
  if (b.is_constant() && b.shape.size() == 2 && !a.is_constant() && !a.shape.empty()) {
    const bool integer = exact(n);
    const int rows = transposed ? 0 : 1;
    if (!scales_follow(b, rows)) return unsupported(n, "weight scales not along the outputs");
    const int32_t outputs = static_cast<int32_t>(b.shape[static_cast<size_t>(rows)]), depth = static_cast<int32_t>(b.shape[static_cast<size_t>(1 - rows)]);
    const Order order = identity_order(a.shape.size());
    const int32_t input = dense(integer ? view(n.inputs[0]) : real_view(n.inputs[0]), order);
    const int32_t weights = weight_constant(n.inputs[1], transposed ? std::vector<int>{0, 1} : std::vector<int>{1, 0}, {outputs, depth});
    const int32_t bias = bias_constant(*this, n, 2, outputs, integer);
    Dims dims = program.tensors[static_cast<size_t>(input)].dims;
    dims.back() = outputs;
    const int32_t output = new_tensor(integer ? PITH_U8 : PITH_F32, dims, affine(n.outputs[0]), y.name);
    set_activation(emit(PITH_OPCODE_Dense, {input, weights, bias}, {output}), n, integer);
    define(n, 0, output, identity_order(y.shape.size()));
    return {};
  }
  if (gemm) return unsupported(n, "a Gemm of two computed matrices; export it as MatMul");
  if (a.shape.size() < 2 || b.shape.size() < 2) return unsupported(n, "a product with a vector; reshape it to a matrix");
  // two computed matrices, or a constant that isn't a plain matrix: float or 8-bit, with leading dimensions broadcast
  const bool integer = exact(n) && !a.is_constant() && !b.is_constant();
  const size_t rank = y.shape.size();
  const auto operand = [&](ir::ValueId id) {
    ir::Shape full(rank - value(id).shape.size(), 1);
    full.insert(full.end(), value(id).shape.begin(), value(id).shape.end());
    const Order order = identity_order(value(id).shape.size());
    const Dims dims(full.begin(), full.end());
    if (value(id).is_constant()) return real_constant(real_values(id), dims, value(id).name);
    return dense_as(integer ? view(id) : real_view(id), order, dims);
  };
  const int32_t left = operand(n.inputs[0]), right = operand(n.inputs[1]);
  const int32_t bias = bias_constant(*this, n, 2, static_cast<int32_t>(y.shape.back()), integer);
  const int32_t output = result_tensor(n, 0, identity_order(rank), integer);
  set_activation(emit(PITH_OPCODE_MatMul, {left, right, bias}, {output}, {0, 0}, {1.0f}), n, integer);
  define(n, 0, output, identity_order(rank));
  return {};
}

Result<void> Lowering::lower_pool(const ir::Node& n) {
  const ir::Value &x = value(n.inputs[0]), &y = value(n.outputs[0]);
  if (x.shape.size() < 3 || x.shape.size() > 4) return unsupported(n, "only one and two spatial dimensions are supported");
  if (n.outputs.size() > 1 && n.outputs[1] != ir::kNoValue) return unsupported(n, "the indices of the maxima; only values are supported");
  PITH_TRY(const std::vector<ir::Window> spatial, ir::windows(n, ir::spatial(x.shape), n.integers("kernel_shape")));
  std::array<ir::Window, 2> window = ir::as_2d(spatial);
  const Order order = channels_last_order(x.shape.size());
  const bool same = is_u8(n.inputs[0]) && is_u8(n.outputs[0]) && affine(n.inputs[0]) == affine(n.outputs[0]);
  const bool integer = exact(n) && n.op != ir::Op::kLpPool && (n.op == ir::Op::kAveragePool || same);
  const int32_t input = dense_as(integer ? view(n.inputs[0]) : real_view(n.inputs[0]), order, image_dims(x.shape));
  const bool count_pad = n.integer("count_include_pad", 0) != 0;
  for (ir::Window& v : window) {  // the last window may hang over (ceil_mode); the pad after says how far it reaches
    const int64_t reach = (v.output - 1) * v.stride + v.dilation * (v.kernel - 1) + 1 - v.input - v.pad_begin;
    if (n.op == ir::Op::kAveragePool && count_pad && reach > v.pad_end) return unsupported(n, "padding that counts together with ceil_mode's overhang; pad in a node of its own");
    v.pad_end = std::max<int64_t>(reach, 0);
  }
  const int64_t kind = n.op == ir::Op::kMaxPool ? 0 : n.op == ir::Op::kAveragePool ? 1 : 2;
  const int64_t last = kind == 2 ? n.integer("p", 2) : count_pad ? 1 : 0;
  std::vector<int32_t> ints;
  for (int64_t i : {kind, window[0].kernel, window[1].kernel, window[0].stride, window[1].stride, window[0].dilation, window[1].dilation,
                    window[0].pad_begin, window[1].pad_begin, window[0].pad_end, window[1].pad_end, last}) {
    ints.push_back(static_cast<int32_t>(i));
  }
  const int32_t output = new_tensor(integer ? PITH_U8 : PITH_F32, image_dims(y.shape), affine(n.outputs[0]), y.name);
  ProgramOp& op = emit(PITH_OPCODE_Pool2d, {input}, {output}, ints);
  set_activation(op, n, integer);
  define(n, 0, output, order);
  return {};
}

Result<void> Lowering::lower_global_pool(const ir::Node& n) {
  const ir::Value& x = value(n.inputs[0]);
  const bool maximum = n.op == ir::Op::kGlobalMaxPool;
  const bool integer = exact(n) && (!maximum || affine(n.inputs[0]) == affine(n.outputs[0]));
  const Order order = channels_last_order(x.shape.size());
  const int32_t input = dense(integer ? view(n.inputs[0]) : real_view(n.inputs[0]), order);
  const int32_t output = result_tensor(n, 0, order, integer);
  const int32_t mask = (1 << (x.shape.size() - 1)) - 2;  // all but the first and the last physical dimension
  set_activation(emit(PITH_OPCODE_Reduce, {input}, {output}, {maximum ? PITH_REDUCE_MAX : PITH_REDUCE_MEAN, mask}), n, integer);
  define(n, 0, output, order);
  return {};
}

}  // namespace pith
