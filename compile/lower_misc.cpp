// Lowering of recurrent layers, attention, and the operators of detection heads.
#include <fmt/format.h>

#include <algorithm>

#include "compile/code_rows.h"
#include "compile/lowering.h"

namespace pith {
namespace {

using ir::Op;

// Activation functions of recurrent layers by ONNX's names; the plain ones only.
std::optional<numerics::Unary> recurrent_activation(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name == "sigmoid") return numerics::Unary::kSigmoid;
  if (name == "tanh") return numerics::Unary::kTanh;
  if (name == "relu") return numerics::Unary::kRelu;
  if (name == "softsign") return numerics::Unary::kSoftsign;
  if (name == "softplus") return numerics::Unary::kSoftplus;
  return std::nullopt;
}

std::vector<std::string> comma_separated(const std::string& text) {
  std::vector<std::string> parts;
  std::string part;
  for (char c : text + ",") {
    if (c != ',') {
      if (c != ' ') part += c;
      continue;
    }
    if (!part.empty()) parts.push_back(part);
    part.clear();
  }
  return parts;
}

View swapped(View v, size_t a, size_t b) {
  std::swap(v.dims[a], v.dims[b]);
  std::swap(v.strides[a], v.strides[b]);
  return v;
}

}  // namespace

// ONNX: x T,N,I (layout 1: N,T,I); y T,D,N,H; initial and last states D,N,H. Weights D,gates*H,I.
Result<void> Lowering::lower_recurrent(const ir::Node& n) {
  const bool lstm = n.op == Op::kLSTM, gru = n.op == Op::kGRU;
  const bool batch_first = n.integer("layout", 0) != 0;
  const int32_t kind = lstm ? 0 : gru ? 1 : 2;
  const ir::Value &w = value(n.inputs[1]), &r = value(n.inputs[2]);
  const std::string direction = n.text("direction", "forward");
  const int32_t directions = direction == "bidirectional" ? 2 : 1;
  const int32_t hidden = static_cast<int32_t>(r.shape[2]);
  std::vector<std::string> names = comma_separated(n.text("activations", ""));
  const std::vector<std::string> standard = lstm ? std::vector<std::string>{"sigmoid", "tanh", "tanh"} : gru ? std::vector<std::string>{"sigmoid", "tanh"} : std::vector<std::string>{"tanh"};
  const size_t per_direction = standard.size();
  if (names.empty()) names = standard;
  for (size_t i = per_direction; i < names.size(); ++i) {
    if (names[i] != names[i % per_direction]) return unsupported(n, "different activations for the two directions");
  }
  std::vector<int32_t> functions(3, 0);
  for (size_t i = 0; i < per_direction; ++i) {
    const auto f = recurrent_activation(names[i]);
    if (!f) return unsupported(n, fmt::format("activation {}", names[i]));
    functions[i] = static_cast<int32_t>(*f);
  }
  for (size_t slot : {1, 2, 3, 7}) {
    if (present(n, slot) && !value(n.inputs[slot]).is_constant()) return unsupported(n, "weights that are computed; only constant ones are supported");
  }
  View x = real_view(n.inputs[0]);
  if (batch_first) x = swapped(x, 0, 1);
  if (present(n, 4)) {  // sequence lengths: only full ones
    const ir::Value& lengths = value(n.inputs[4]);
    for (int64_t i = 0; lengths.is_constant() && i < lengths.constant->count(); ++i) {
      if (static_cast<int64_t>(lengths.constant->at(i)) != x.dims[0]) return unsupported(n, "sequences of different lengths in one batch");
    }
    if (!lengths.is_constant()) return unsupported(n, "sequence lengths that are computed");
  }
  const auto constant = [&](size_t slot) {
    if (!present(n, slot)) return kNone;
    const ir::Shape& s = value(n.inputs[slot]).shape;
    return real_constant(real_values(n.inputs[slot]), Dims(s.begin(), s.end()), value(n.inputs[slot]).name);
  };
  // weights keep their integers; with a scale for each gate's row, which the directions share, rows are all gates of all
  // directions
  const auto weights = [&](const ir::Value& v, ir::ValueId id) {
    const Dims flat = {static_cast<int32_t>(v.shape[0] * v.shape[1]), static_cast<int32_t>(v.shape[2])};
    const int32_t k = weight_constant(id, {0, 1, 2}, Dims(v.shape.begin(), v.shape.end()));
    ProgramConstant& c = program.constants[static_cast<size_t>(k - kConstantBase)];
    if (c.dtype == PITH_I8 && c.scale_codes.size() > 1 && v.quant && v.quant->axis == 1) {
      const std::vector<int16_t> one = c.scale_codes;
      for (int64_t d = 1; d < v.shape[0]; ++d) c.scale_codes.insert(c.scale_codes.end(), one.begin(), one.end());
      c.dims = flat;
    }
    return k;
  };
  const auto state = [&](size_t slot) {
    if (!present(n, slot)) return kNone;
    View v = value(n.inputs[slot]).is_constant() ? view(n.inputs[slot]) : real_view(n.inputs[slot]);
    if (batch_first) v = swapped(v, 0, 1);
    return dense(v, identity_order(3));
  };
  const int32_t input = dense(x, identity_order(3));
  const int32_t wx = weights(w, n.inputs[1]), wr = weights(r, n.inputs[2]), bias = constant(3);
  const int32_t h0 = state(5), c0 = lstm ? state(6) : kNone, peephole = lstm ? constant(7) : kNone;
  const int32_t steps = static_cast<int32_t>(x.dims[0]), batch = static_cast<int32_t>(x.dims[1]);
  const auto wanted = [&](size_t i) { return i < n.outputs.size() && n.outputs[i] != ir::kNoValue; };
  const auto output = [&](size_t i, const Dims& dims) { return wanted(i) ? new_tensor(PITH_F32, dims, {}, value(n.outputs[i]).name) : kNone; };
  const int32_t y = output(0, {steps, directions, batch, hidden});
  const int32_t yh = output(1, {directions, batch, hidden}), yc = lstm ? output(2, {directions, batch, hidden}) : kNone;
  emit(PITH_OPCODE_Recurrent, {input, wx, wr, bias, h0, c0, peephole}, {y, yh, yc},
       {kind, hidden, direction == "forward" ? 0 : direction == "reverse" ? 1 : 2, static_cast<int32_t>(n.integer("linear_before_reset", 0)),
        functions[0], functions[1], functions[2], static_cast<int32_t>(n.integer("input_forget", 0))},
       {static_cast<float>(n.real("clip", 0))});
  // layout 1: y is N,T,D,H and the states N,D,H
  if (wanted(0)) define(n, 0, y, batch_first ? Order{1, 2, 0, 3} : identity_order(4));
  if (wanted(1)) define(n, 1, yh, batch_first ? Order{1, 0, 2} : identity_order(3));
  if (lstm && wanted(2)) define(n, 2, yc, batch_first ? Order{1, 0, 2} : identity_order(3));
  return {};
}

// q N,Hq,S,D; k, v N,Hk,T,D. Three-dimensional operands N,S,H*D are viewed as four.
Result<void> Lowering::lower_attention(const ir::Node& n) {
  if (n.outputs.size() > 3 && n.outputs[3] != ir::kNoValue) return unsupported(n, "the scores as a result");
  const bool flat = value(n.inputs[0]).shape.size() == 3;
  const bool integers = is_u8(n.outputs[0]) && is_u8(n.inputs[0]) && is_u8(n.inputs[1]) && is_u8(n.inputs[2]) && !present(n, 4) && !present(n, 5) && n.real("softcap", 0) == 0 &&
                        (!present(n, 3) || value(n.inputs[3]).dtype == ir::DType::kF32);
  const auto operand = [&](size_t slot) {
    if (!present(n, slot)) return kNone;
    View v = integers ? view(n.inputs[slot]) : real_view(n.inputs[slot]);
    if (v.dims.size() == 3) {
      const int64_t heads = n.integer(slot == 0 ? "q_num_heads" : "kv_num_heads", 1);
      const Order order = identity_order(3);
      const int32_t t = dense(v, order);
      View whole{t, 0, {v.dims[0], v.dims[1], heads, v.dims[2] / heads}, {}};
      whole.strides = {v.dims[1] * v.dims[2], v.dims[2], v.dims[2] / heads, 1};
      v = swapped(whole, 1, 2);
    }
    return dense(v, identity_order(4));
  };
  const int32_t q = operand(0), k = operand(1), v = operand(2);
  int32_t mask = kNone;
  const Dims qd = program.tensors[static_cast<size_t>(q)].dims;
  if (present(n, 3)) {
    const ir::Value& m = value(n.inputs[3]);
    ir::Shape full(4 - std::min<size_t>(4, m.shape.size()), 1);
    full.insert(full.end(), m.shape.begin(), m.shape.end());
    const Dims dims(full.begin(), full.end());
    if (m.is_constant()) {
      ir::Tensor real = m.dtype == ir::DType::kF32 ? real_values(n.inputs[3]) : m.constant->cast(ir::DType::kF32);
      if (m.dtype == ir::DType::kBool) {
        for (float& x : real.mut<float>()) x = x != 0 ? 0.0f : -1e30f;
      }
      mask = real_constant(real, dims, m.name);
    } else {
      if (m.dtype != ir::DType::kF32) return unsupported(n, "a computed mask of truth values; make it additive");
      mask = dense_as(real_view(n.inputs[3]), identity_order(m.shape.size()), dims);
    }
  }
  const int32_t past_k = operand(4), past_v = operand(5);
  const ir::Value& y = value(n.outputs[0]);
  const Dims vd = program.tensors[static_cast<size_t>(v)].dims;
  const int32_t out = integers ? new_tensor(PITH_U8, {qd[0], qd[1], qd[2], vd[3]}, affine(n.outputs[0]), y.name) : new_tensor(PITH_F32, {qd[0], qd[1], qd[2], vd[3]}, {}, y.name);
  const auto present_tensor = [&](size_t i) {
    return i < n.outputs.size() && n.outputs[i] != ir::kNoValue ? result_tensor(n, i, identity_order(4), false) : kNone;
  };
  const int32_t next_k = present_tensor(1), next_v = present_tensor(2);
  const double scale = n.has("scale") ? n.real("scale", 0) : 1.0 / numerics::sqrt(static_cast<double>(qd[3]));
  emit(PITH_OPCODE_Attention, {q, k, v, mask, past_k, past_v}, {out, next_k, next_v}, {static_cast<int32_t>(n.integer("is_causal", 0))},
       {static_cast<float>(scale), static_cast<float>(n.real("softcap", 0))});
  set_activation(program.ops.back(), n, integers);
  if (next_k != kNone) define(n, 1, next_k, identity_order(4));
  if (next_v != kNone) define(n, 2, next_v, identity_order(4));
  if (!flat) {
    define(n, 0, out, identity_order(4));
    return {};
  }
  View heads{out, 0, {qd[0], qd[1], qd[2], vd[3]}, {}};
  heads.strides = {int64_t{qd[1]} * qd[2] * vd[3], int64_t{qd[2]} * vd[3], vd[3], 1};
  const View rows = swapped(heads, 1, 2);
  const int32_t joined = dense(rows, identity_order(4));
  define(n, 0, joined, identity_order(3));
  return {};
}

Result<void> Lowering::lower_misc(const ir::Node& n) {
  const ir::Value& y = value(n.outputs[0]);
  switch (n.op) {
    case Op::kLRN: {
      const Order order = channels_last_order(value(n.inputs[0]).shape.size());
      const int32_t input = dense(real_view(n.inputs[0]), order), output = result_tensor(n, 0, order, false);
      emit(PITH_OPCODE_LocalNorm, {input}, {output}, {static_cast<int32_t>(n.integer("size", 1))},
           {static_cast<float>(n.real("alpha", 1e-4)), static_cast<float>(n.real("beta", 0.75)), static_cast<float>(n.real("bias", 1))});
      define(n, 0, output, order);
      return {};
    }
    case Op::kGridSample: {
      if (value(n.inputs[0]).shape.size() != 4) return unsupported(n, "only two spatial dimensions are supported");
      const Order order = channels_last_order(4);
      const int32_t input = dense(real_view(n.inputs[0]), order), grid = dense(real_view(n.inputs[1]), identity_order(4));
      const int32_t output = result_tensor(n, 0, order, false);
      const std::string mode = n.text("mode", "linear"), padding = n.text("padding_mode", "zeros");
      emit(PITH_OPCODE_GridSample2d, {input, grid}, {output},
           {mode == "nearest" ? 0 : mode == "linear" || mode == "bilinear" ? 1 : 2, padding == "zeros" ? 0 : padding == "border" ? 1 : 2,
            static_cast<int32_t>(n.integer("align_corners", 0))});
      define(n, 0, output, order);
      return {};
    }
    case Op::kOneHot: {
      const size_t rank = y.shape.size();
      const int32_t input = dense(real_view(n.inputs[0]), identity_order(rank - 1));
      const int32_t output = result_tensor(n, 0, identity_order(rank), false);
      const int64_t axis = n.integer("axis", -1);
      emit(PITH_OPCODE_OneHot, {input}, {output}, {static_cast<int32_t>(axis < 0 ? axis + static_cast<int64_t>(rank) : axis), static_cast<int32_t>(n.integer("depth", 1))},
           {static_cast<float>(n.real("on", 1)), static_cast<float>(n.real("off", 0))});
      define(n, 0, output, identity_order(rank));
      return {};
    }
    case Op::kReverseSequence: {
      const Order order = identity_order(y.shape.size());
      const int32_t input = dense(real_view(n.inputs[0]), order), lengths = dense(view(n.inputs[1]), identity_order(1));
      const int32_t output = result_tensor(n, 0, order, false);
      emit(PITH_OPCODE_ReverseSequence, {input, lengths}, {output}, {static_cast<int32_t>(n.integer("batch_axis", 1)), static_cast<int32_t>(n.integer("time_axis", 0))});
      define(n, 0, output, order);
      return {};
    }
    case Op::kNonMaxSuppression: {
      if (!n.has("max_output_boxes_per_class")) return unsupported(n, "a limit of boxes that is computed; give it as a constant");
      const int32_t boxes = dense(real_view(n.inputs[0]), identity_order(3)), scores = dense(real_view(n.inputs[1]), identity_order(3));
      const int32_t output = result_tensor(n, 0, identity_order(2), false);
      emit(PITH_OPCODE_Nms, {boxes, scores}, {output}, {static_cast<int32_t>(n.integer("center_point_box", 0)), static_cast<int32_t>(n.integer("max_output_boxes_per_class", 0))},
           {static_cast<float>(n.real("iou_threshold", 0)), static_cast<float>(n.real("score_threshold", -3.4e38))});
      define(n, 0, output, identity_order(2));
      return {};
    }
    case Op::kRotaryEmbedding: {
      // x N,H,S,D (or N,S,H*D); cos and sin N,S,R/2 or, with position ids, P,R/2: gathered first
      View x = real_view(n.inputs[0]);
      const bool flat = x.dims.size() == 3;
      if (flat) {
        const int64_t heads = std::max<int64_t>(1, n.integer("num_heads", 1));
        const int32_t t = dense(x, identity_order(3));
        View whole{t, 0, {x.dims[0], x.dims[1], heads, x.dims[2] / heads}, {x.dims[1] * x.dims[2], x.dims[2], x.dims[2] / heads, 1}};
        x = swapped(whole, 1, 2);
      }
      const int32_t input = dense(x, identity_order(4));
      const Dims d = program.tensors[static_cast<size_t>(input)].dims;
      std::vector<int32_t> tables;
      for (size_t slot : {1, 2}) {
        const ir::Value& table = value(n.inputs[slot]);
        const Dims dims(table.shape.begin(), table.shape.end());
        int32_t id = table.is_constant() ? float_constant(n.inputs[slot], dims) : dense(real_view(n.inputs[slot]), identity_order(dims.size()));
        if (present(n, 3)) {
          const int32_t positions = dense(view(n.inputs[3]), identity_order(value(n.inputs[3]).shape.size()));
          Dims gathered(value(n.inputs[3]).shape.begin(), value(n.inputs[3]).shape.end());
          gathered.push_back(dims.back());
          const int32_t rows = new_tensor(PITH_F32, gathered, {}, table.name);
          emit(PITH_OPCODE_Gather, {id, positions}, {rows}, {0, 0, 0});
          id = rows;
        }
        tables.push_back(id);
      }
      const int32_t output = new_tensor(PITH_F32, d, {}, y.name);
      const int64_t rotary = n.integer("rotary_embedding_dim", 0);
      emit(PITH_OPCODE_Rotary, {input, tables[0], tables[1]}, {output}, {static_cast<int32_t>(n.integer("interleaved", 0)), rotary == 0 ? d[3] : static_cast<int32_t>(rotary)});
      if (!flat) {
        define(n, 0, output, identity_order(4));
        return {};
      }
      View heads{output, 0, {d[0], d[1], d[2], d[3]}, {int64_t{d[1]} * d[2] * d[3], int64_t{d[2]} * d[3], d[3], 1}};
      const View rows = swapped(heads, 1, 2);
      const int32_t joined = dense(rows, identity_order(4));
      View whole{joined, 0, rows.dims, {rows.dims[1] * rows.dims[2] * rows.dims[3], rows.dims[2] * rows.dims[3], rows.dims[3], 1}};
      define(n, 0, dense_as(whole, identity_order(4), Dims(y.shape.begin(), y.shape.end())), identity_order(3));
      return {};
    }
    case Op::kRecode: {
      if (n.activation.function != numerics::Unary::kIdentity) return unsupported(n, "an activation behind coded rows; give it a node of its own");
      if (!exact(n)) {
        const View x = real_view(n.inputs[0]);
        const Order order = natural_order(x);
        define(n, 0, dense(x, order), order);
        return {};
      }
      const Order order = channels_last_order(4);
      int32_t input = dense(view(n.inputs[0]), order);
      if (affine(n.inputs[0]) != affine(n.outputs[0])) {
        const int32_t meant = result_tensor(n, 0, order, true);
        emit(PITH_OPCODE_Convert, {input}, {meant});
        input = meant;
      }
      const Dims d = program.tensors[static_cast<size_t>(input)].dims;
      const int32_t coded = new_tensor(PITH_U8, {1, d[1], 1, static_cast<int32_t>(n.integer("row_bytes", 1))}, affine(n.outputs[0]), y.name + ".coded");
      const int32_t output = result_tensor(n, 0, order, true);
      if (const std::vector<int64_t> lifting = n.integers("lifting"); lifting.empty()) {
        emit(PITH_OPCODE_EncodeRows, {input}, {coded});
        emit(PITH_OPCODE_DecodeRows, {coded}, {output});
      } else {
        const int32_t constant = lifting_constant(program, input, {lifting.begin(), lifting.end()});
        emit(PITH_OPCODE_EncodeLiftedRows, {input, constant}, {coded});
        emit(PITH_OPCODE_DecodeLiftedRows, {coded, constant}, {output});
      }
      define(n, 0, output, order);
      return {};
    }
    default:
      return unsupported(n, "no machine form");
  }
}

}  // namespace pith
