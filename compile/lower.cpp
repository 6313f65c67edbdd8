// The driver of lowering, and the machinery of views (see lowering.h).
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>

#include "compile/compile.h"
#include "compile/lowering.h"
#include "compile/used_tensors.h"
#include "ir/interpret.h"

namespace pith {

int64_t element_count(const Dims& dims) {
  int64_t n = 1;
  for (int32_t d : dims) n *= d;
  return n;
}

Order identity_order(size_t rank) {
  Order o(rank);
  std::iota(o.begin(), o.end(), 0);
  return o;
}

Order channels_last_order(size_t rank) {
  if (rank < 3) return identity_order(rank);
  Order o = {0};
  for (size_t i = 2; i < rank; ++i) o.push_back(static_cast<int>(i));
  o.push_back(1);
  return o;
}

Dims ordered_dims(const ir::Shape& dims, const Order& order) {
  Dims out;
  for (int d : order) out.push_back(static_cast<int32_t>(dims[static_cast<size_t>(d)]));
  return out;
}

bool dense_in(const View& v, const Order& order) {
  if (v.offset != 0) return false;
  int64_t expected = 1;
  for (size_t i = order.size(); i-- > 0;) {
    const size_t d = static_cast<size_t>(order[i]);
    if (v.dims[d] != 1 && v.strides[d] != expected) return false;
    expected *= v.dims[d];
  }
  return true;
}

namespace {

std::vector<int64_t> dense_strides(const ir::Shape& dims, const Order& order) {
  std::vector<int64_t> strides(dims.size());
  int64_t step = 1;
  for (size_t i = order.size(); i-- > 0;) {
    strides[static_cast<size_t>(order[i])] = step;
    step *= dims[static_cast<size_t>(order[i])];
  }
  return strides;
}

View dense_view(int32_t tensor, const ir::Shape& dims, const Order& order) {
  return View{tensor, 0, dims, dense_strides(dims, order)};
}

bool is_whole(const ir::DType t) { return t != ir::DType::kF32; }

}  // namespace

// Old and new dimensions are matched in groups of equal products; within a group the old dimensions must be mergeable
// (each stride the next one's stride times its extent), and the new ones split the merged run.
std::optional<View> reshaped_view(const View& v, const ir::Shape& dims) {
  View out{v.tensor, v.offset, dims, std::vector<int64_t>(dims.size(), 1)};
  std::vector<std::pair<int64_t, int64_t>> old;  // extent, stride, without ones
  for (size_t i = 0; i < v.dims.size(); ++i) {
    if (v.dims[i] != 1) old.emplace_back(v.dims[i], v.strides[i]);
  }
  size_t at = 0, i = 0;
  while (i < dims.size()) {
    if (dims[i] == 1) {
      ++i;
      continue;
    }
    if (at == old.size()) return std::nullopt;
    size_t old_end = at + 1, new_end = i + 1;
    int64_t old_product = old[at].first, new_product = dims[i];
    while (old_product != new_product) {
      if (old_product < new_product) {
        if (old_end == old.size()) return std::nullopt;
        old_product *= old[old_end++].first;
      } else {
        if (new_end == dims.size()) return std::nullopt;
        new_product *= dims[new_end++];
      }
    }
    for (size_t k = at; k + 1 < old_end; ++k) {
      if (old[k].second != old[k + 1].second * old[k + 1].first) return std::nullopt;
    }
    int64_t step = old[old_end - 1].second;
    for (size_t k = new_end; k-- > i;) {
      out.strides[k] = step;
      step *= dims[k];
    }
    at = old_end;
    i = new_end;
  }
  return at == old.size() ? std::optional<View>(out) : std::nullopt;
}

int Lowering::dtype(ir::ValueId id) const {
  if (is_u8(id)) return PITH_U8;
  return value(id).dtype == ir::DType::kF32 ? PITH_F32 : PITH_I32;
}

Error Lowering::unsupported(const ir::Node& n, const std::string& why) const {
  return error(ErrorCode::kUnsupported, fmt::format("node '{}' ({}): {}", n.name, ir::op_name(n.op), why));
}

int32_t Lowering::new_tensor(int dtype, const Dims& dims, numerics::Affine affine, const std::string& name) {
  ProgramTensor t;
  t.name = name;
  t.dtype = dtype;
  t.dims = dims;
  if (dtype == PITH_U8) t.affine = affine;
  program.tensors.push_back(std::move(t));
  return static_cast<int32_t>(program.tensors.size() - 1);
}

ProgramOp& Lowering::emit(int opcode, std::vector<int32_t> inputs, std::vector<int32_t> outputs, std::vector<int32_t> ints,
                          std::vector<float> reals) {
  ProgramOp op;
  op.opcode = opcode;
  op.inputs = std::move(inputs);
  op.inputs.resize(format::kSchemas[opcode].inputs, kNone);
  op.outputs = std::move(outputs);
  op.outputs.resize(format::kSchemas[opcode].outputs, kNone);
  op.ints = std::move(ints);
  op.reals = std::move(reals);
  program.ops.push_back(std::move(op));
  return program.ops.back();
}

void Lowering::set_activation(ProgramOp& op, const ir::Node& n, bool exact) const {
  op.activation = n.activation.function;
  op.a = static_cast<float>(n.activation.a);
  op.b = static_cast<float>(n.activation.b);
  if (exact && n.activation.pre) op.pre = *n.activation.pre;
}

View Lowering::view(ir::ValueId id) {
  const auto& v = views_[static_cast<size_t>(id)];
  if (v) return *v;
  // a constant that an operator takes as an arena tensor: copied there from the file once, at its first use
  const ir::Value& c = value(id);
  const Dims dims(c.shape.begin(), c.shape.end());
  const int32_t constant = is_whole(c.dtype) ? [&] {
    std::vector<int32_t> integers;
    for (int64_t i = 0; i < c.constant->count(); ++i) integers.push_back(static_cast<int32_t>(c.constant->at(i)));
    return integer_constant(integers, dims, c.name);
  }() : real_constant(real_values(id), dims, c.name);
  const int32_t t = new_tensor(is_whole(c.dtype) ? PITH_I32 : PITH_F32, dims, {}, c.name);
  std::vector<int32_t> ints(21, 0);
  const int64_t n = element_count(dims);
  ints[0] = 1;
  for (int i = 0; i < 6; ++i) ints[static_cast<size_t>(format::kCopyExtents + i)] = 1;
  ints[format::kCopyExtents] = static_cast<int32_t>(n);
  ints[format::kCopySourceStrides] = ints[format::kCopyTargetStrides] = 1;
  emit(PITH_OPCODE_Copy, {constant}, {t}, ints);
  views_[static_cast<size_t>(id)] = dense_view(t, c.shape, identity_order(c.shape.size()));
  return *views_[static_cast<size_t>(id)];
}

View Lowering::real_view(ir::ValueId id) {
  if (value(id).is_constant() || !is_u8(id)) return view(id);
  const auto known = real_views_.find(id);
  if (known != real_views_.end()) return known->second;
  const View v = view(id);
  const Order order = natural_order(v);
  const int32_t from = dense(v, order);
  const int32_t to = new_tensor(PITH_F32, ordered_dims(v.dims, order), {}, value(id).name + ".real");
  emit(PITH_OPCODE_Convert, {from}, {to});
  return real_views_[id] = dense_view(to, v.dims, order);
}

Order Lowering::natural_order(const View& v) const {
  Order order = identity_order(v.dims.size());
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    const size_t i = static_cast<size_t>(a), k = static_cast<size_t>(b);
    if (v.dims[i] == 1 || v.dims[k] == 1) return false;  // ones stay where they are
    return v.strides[i] > v.strides[k];
  });
  return dense_in(v, order) ? order : identity_order(v.dims.size());
}

int32_t Lowering::dense(const View& v, const Order& order) { return dense_as(v, order, ordered_dims(v.dims, order)); }

int32_t Lowering::dense_as(const View& v, const Order& order, const Dims& dims) {
  ProgramTensor source = program.tensors[static_cast<size_t>(v.tensor)];
  int32_t tensor = v.tensor;
  if (!dense_in(v, order) || element_count(source.dims) != element_count(dims)) {
    tensor = new_tensor(source.dtype, ordered_dims(v.dims, order), source.affine, source.name + ".copy");
    const Result<void> copied = emit_copy(v, dense_view(tensor, v.dims, order));
    if (!copied.ok() && !deferred_) deferred_ = copied.error();
    source = program.tensors[static_cast<size_t>(tensor)];
  }
  if (source.dims == dims) return tensor;
  const int32_t root = source.alias_of == kNone ? tensor : source.alias_of;
  if (program.tensors[static_cast<size_t>(root)].dims == dims) return root;
  const auto [entry, fresh] = aliases_.try_emplace({root, dims}, static_cast<int32_t>(program.tensors.size()));
  if (fresh) {
    source.alias_of = root;
    source.dims = dims;
    program.tensors.push_back(source);
  }
  return entry->second;
}

Result<void> Lowering::emit_copy(const View& from, const View& to) {
  struct Loop {
    int64_t extent, source, target;
  };
  std::vector<Loop> loops;
  for (size_t i = 0; i < from.dims.size(); ++i) {
    if (from.dims[i] != 1) loops.push_back({from.dims[i], from.strides[i], to.strides[i]});
  }
  // innermost runs along the target, so that writes are contiguous
  std::stable_sort(loops.begin(), loops.end(), [](const Loop& a, const Loop& b) { return a.target > b.target; });
  std::vector<Loop> merged;
  for (const Loop& l : loops) {
    if (!merged.empty() && merged.back().source == l.source * l.extent && merged.back().target == l.target * l.extent) {
      merged.back() = {merged.back().extent * l.extent, l.source, l.target};
    } else {
      merged.push_back(l);
    }
  }
  if (merged.size() > PITH_MAX_RANK)
    return error(ErrorCode::kUnsupported, fmt::format("node '{}': data movement of {} dimensions; at most {} are supported, simplify the reshapes around it",
                                                      current_, merged.size(), PITH_MAX_RANK));
  std::vector<int32_t> ints(21, 0);
  ints[format::kCopyRank] = static_cast<int32_t>(merged.size());
  ints[format::kCopySourceOffset] = static_cast<int32_t>(from.offset);
  ints[format::kCopyTargetOffset] = static_cast<int32_t>(to.offset);
  for (size_t i = 0; i < PITH_MAX_RANK; ++i) {
    const Loop l = i < merged.size() ? merged[i] : Loop{1, 0, 0};
    ints[format::kCopyExtents + i] = static_cast<int32_t>(l.extent);
    ints[format::kCopySourceStrides + i] = static_cast<int32_t>(l.source);
    ints[format::kCopyTargetStrides + i] = static_cast<int32_t>(l.target);
  }
  emit(PITH_OPCODE_Copy, {from.tensor}, {to.tensor}, ints);
  return {};
}

int32_t Lowering::result_tensor(const ir::Node& n, size_t output, const Order& order, bool exact) {
  const ir::Value& v = value(n.outputs[output]);
  const int type = exact ? PITH_U8 : v.dtype == ir::DType::kF32 ? PITH_F32 : PITH_I32;
  return new_tensor(type, ordered_dims(v.shape, order), affine(n.outputs[output]), v.name);
}

void Lowering::define(const ir::Node& n, size_t output, int32_t tensor, const Order& order) {
  const ir::ValueId id = n.outputs[output];
  if (id == ir::kNoValue) return;
  const ProgramTensor& t = program.tensors[static_cast<size_t>(tensor)];
  if (is_u8(id) && t.dtype != PITH_U8) {
    const Dims dims = t.dims;
    const int32_t codes = new_tensor(PITH_U8, dims, affine(id), value(id).name);
    emit(PITH_OPCODE_Convert, {tensor}, {codes});
    tensor = codes;
  }
  define_view(id, dense_view(tensor, value(id).shape, order));
}

bool Lowering::exact(const ir::Node& n) const {
  if (n.outputs.empty() || n.outputs[0] == ir::kNoValue || !is_u8(n.outputs[0])) return false;
  for (size_t i = 0; i < n.inputs.size(); ++i) {
    if (n.inputs[i] == ir::kNoValue) continue;
    const ir::Value& v = value(n.inputs[i]);
    if (!v.quant && !(v.is_constant() && v.constant->dtype() == ir::DType::kI32)) return false;
  }
  return true;
}

Result<void> Lowering::make_inputs() {
  const auto readers = ir::consumers(graph);
  for (ir::ValueId id : graph.inputs) {
    const ir::Value& v = value(id);
    // pictures are stored as their first consumer wants them
    bool spatial = false;
    for (int reader : readers[static_cast<size_t>(id)]) {
      const ir::Op op = graph.nodes[static_cast<size_t>(reader)].op;
      spatial = spatial || op == ir::Op::kConv || op == ir::Op::kMaxPool || op == ir::Op::kAveragePool || op == ir::Op::kResize || op == ir::Op::kConvTranspose;
    }
    const Order order = spatial ? channels_last_order(v.shape.size()) : identity_order(v.shape.size());
    if (v.shape.size() > PITH_MAX_RANK)
      return error(ErrorCode::kUnsupported, fmt::format("input '{}' has rank {}; at most {} is supported", v.name, v.shape.size(), PITH_MAX_RANK));
    const int32_t t = new_tensor(dtype(id), ordered_dims(v.shape, order), affine(id), v.name);
    define_view(id, dense_view(t, v.shape, order));
    const bool state = std::any_of(graph.state.begin(), graph.state.end(), [&](const auto& s) { return s.first == id; });
    if (!state) program.inputs.push_back({v.name.substr(0, 64), t, order});
  }
  return {};
}

Result<void> Lowering::make_outputs() {
  const auto final_tensor = [&](ir::ValueId id, Order& order) {
    const View v = view(id);
    order = natural_order(v);
    int32_t t = dense(v, order);
    const bool is_input = std::any_of(program.inputs.begin(), program.inputs.end(), [&](const ProgramPort& p) { return p.tensor == t; });
    const bool taken = std::any_of(program.outputs.begin(), program.outputs.end(), [&](const ProgramPort& p) { return p.tensor == t; });
    if (is_input || taken || program.tensors[static_cast<size_t>(t)].alias_of != kNone) {  // an output has memory of its own
      const ProgramTensor source = program.tensors[static_cast<size_t>(t)];
      const int32_t own = new_tensor(source.dtype, source.dims, source.affine, value(id).name);
      const Result<void> copied = emit_copy(View{t, 0, v.dims, dense_strides(v.dims, order)}, dense_view(own, v.dims, order));
      if (!copied.ok() && !deferred_) deferred_ = copied.error();
      t = own;
    }
    return t;
  };
  for (ir::ValueId id : graph.outputs) {
    const bool state = std::any_of(graph.state.begin(), graph.state.end(), [&](const auto& s) { return s.second == id; });
    if (state) continue;
    Order order;
    const int32_t t = final_tensor(id, order);
    program.outputs.push_back({value(id).name.substr(0, 64), t, order});
  }
  for (const auto& [in, out] : graph.state) {
    const View source = view(out), target = view(in);
    // the state's input and output must have one layout
    const Order order = natural_order(target);
    const ProgramTensor like = program.tensors[static_cast<size_t>(target.tensor)];
    int32_t t = dense(source, order);
    if (t == target.tensor || program.tensors[static_cast<size_t>(t)].dtype != like.dtype || program.tensors[static_cast<size_t>(t)].affine != like.affine) {
      const int32_t own = new_tensor(like.dtype, like.dims, like.affine, value(out).name);
      emit(PITH_OPCODE_Convert, {t}, {own});
      t = own;
    }
    program.state.emplace_back(target.tensor, t);
  }
  return {};
}

Result<void> Lowering::lower_node(const ir::Node& n) {
  current_ = n.name;
  switch (n.op) {
#define PITH_OP(name, least, most, outputs, family, ...) \
  case ir::Op::k##name:                                  \
    return PITH_LOWER_##family;
#define PITH_LOWER_conv lower_conv(n)
#define PITH_LOWER_conv_transpose lower_conv_transpose(n)
#define PITH_LOWER_gemm lower_dense(n)
#define PITH_LOWER_matmul lower_dense(n)
#define PITH_LOWER_einsum unsupported(n, "this contraction isn't a matrix product; rewrite it as MatMul and Transpose")
#define PITH_LOWER_unary lower_unary(n)
#define PITH_LOWER_binary lower_binary(n)
#define PITH_LOWER_cast lower_cast(n)
#define PITH_LOWER_variadic lower_variadic(n)
#define PITH_LOWER_where lower_where(n)
#define PITH_LOWER_pool lower_pool(n)
#define PITH_LOWER_global_pool lower_global_pool(n)
#define PITH_LOWER_batch_norm unsupported(n, "normalisation of more than four dimensions")
#define PITH_LOWER_instance_norm lower_norm(n)
#define PITH_LOWER_layer_norm lower_norm(n)
#define PITH_LOWER_group_norm lower_norm(n)
#define PITH_LOWER_lp_norm lower_norm(n)
#define PITH_LOWER_lrn lower_misc(n)
#define PITH_LOWER_softmax lower_along_axis(n)
#define PITH_LOWER_reduce lower_reduce(n)
#define PITH_LOWER_arg_reduce lower_along_axis(n)
#define PITH_LOWER_cumsum lower_along_axis(n)
#define PITH_LOWER_topk lower_along_axis(n)
#define PITH_LOWER_reshape lower_view(n)
#define PITH_LOWER_transpose lower_view(n)
#define PITH_LOWER_concat lower_concat(n)
#define PITH_LOWER_split lower_view(n)
#define PITH_LOWER_slice lower_view(n)
#define PITH_LOWER_pad lower_pad(n)
#define PITH_LOWER_expand lower_view(n)
#define PITH_LOWER_tile lower_view(n)
#define PITH_LOWER_depth_space lower_view(n)
#define PITH_LOWER_channel_shuffle lower_view(n)
#define PITH_LOWER_resize lower_resize(n)
#define PITH_LOWER_grid_sample lower_misc(n)
#define PITH_LOWER_gather lower_gather(n)
#define PITH_LOWER_scatter lower_gather(n)
#define PITH_LOWER_trilu lower_trilu(n)
#define PITH_LOWER_one_hot lower_misc(n)
#define PITH_LOWER_compress unsupported(n, "its condition should have been folded; give it as a constant")
#define PITH_LOWER_reverse_sequence lower_misc(n)
#define PITH_LOWER_constant_like unsupported(n, "its input should have been folded; give it as a constant")
#define PITH_LOWER_range unsupported(n, "its bounds should have been folded; give them as constants")
#define PITH_LOWER_nonzero unsupported(n, "the number of results depends on data; programs have static shapes")
#define PITH_LOWER_recurrent lower_recurrent(n)
#define PITH_LOWER_attention lower_attention(n)
#define PITH_LOWER_rotary lower_misc(n)
#define PITH_LOWER_nms lower_misc(n)
#define PITH_LOWER_recode lower_misc(n)
#define PITH_LOWER_quantize unsupported(n, "quantisation inside the network; import it with its QDQ pairs removed")
#define PITH_LOWER_matmul_integer unsupported(n, "integer operators are executed by the interpreter only; import the float or QDQ form")
#define PITH_LOWER_qlinear unsupported(n, "integer operators are executed by the interpreter only; import the float or QDQ form")
#include "ir/ops.inc"
#undef PITH_OP
  }
  return internal_error("unknown operator");
}

Result<Program> Lowering::run() {
  program.metadata = graph.metadata;
  PITH_CHECK_OK(make_inputs());
  std::vector<std::string> refusals;
  for (const ir::Node& n : graph.nodes) {
    const Result<void> lowered = lower_node(n);
    if (lowered.ok() && !deferred_) continue;
    const Error e = lowered.ok() ? *deferred_ : lowered.error();
    deferred_.reset();
    if (e.code != ErrorCode::kUnsupported) return e;
    refusals.push_back(e.message);
    for (ir::ValueId id : n.outputs) {  // go on, to list every offender
      if (id == ir::kNoValue) continue;
      const Order order = identity_order(value(id).shape.size());
      define_view(id, dense_view(new_tensor(dtype(id), ordered_dims(value(id).shape, order), affine(id), ""), value(id).shape, order));
    }
  }
  if (!refusals.empty()) return error(ErrorCode::kUnsupported, fmt::format("{} node(s) can't be compiled: {}", refusals.size(), fmt::join(refusals, "; ")));
  PITH_CHECK_OK(make_outputs());
  if (deferred_) return *deferred_;
  drop_unused_aliases();
  return std::move(program);
}

// Other dimensions for a tensor that a view went through on its way to its reader, and that nobody names.
void Lowering::drop_unused_aliases() {
  std::vector<char> keep(program.tensors.size(), 0);
  each_tensor(program, [&](int32_t id) { keep[static_cast<size_t>(id)] = 1; });
  for (size_t i = 0; i < keep.size(); ++i) keep[i] |= program.tensors[i].alias_of == kNone;
  keep_tensors(program, keep);
}

Result<Program> lower(const ir::Graph& graph) { return Lowering(graph).run(); }

}  // namespace pith
