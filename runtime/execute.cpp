#include "runtime/execute.h"

#include <string.h>

#include "program/schema.h"
#include "program/scratch.h"
#include "runtime/ops/ops.h"

namespace pith::runtime {
namespace {

int64_t round_up(int64_t n) { return (n + PITH_ALIGNMENT - 1) / PITH_ALIGNMENT * PITH_ALIGNMENT; }

// The Instance and its row ends, before the arena.
int64_t header_bytes(const Model& model) {
  bool by_rows = false;
  for (int32_t i = 0; i < model.input_count; ++i) by_rows = by_rows || model.inputs[i].rows > 0;
  for (int32_t i = 0; i < model.output_count; ++i) by_rows = by_rows || model.outputs[i].rows > 0;
  const int64_t ends = by_rows ? model.input_count + model.output_count : 0;
  return round_up(static_cast<int64_t>(sizeof(Instance)) + ends * static_cast<int64_t>(sizeof(RowEnd)));
}

// Zero, or what stands for it.
void clear(const Instance& instance, const Tensor& t) {
  memset(instance.arena + t.offset, t.dtype == PITH_U8 ? t.affine.zero_point : 0, static_cast<size_t>(t.bytes()));
}

pith_operand_shape shape_of(const Tensor* t) {
  if (t == nullptr) return {-1, 0, nullptr, 0};
  return {t->dtype, t->rank, t->dims, t->is_constant()};
}

bool overlap(int64_t a, int64_t a_bytes, int64_t b, int64_t b_bytes) { return a < b + b_bytes && b < a + a_bytes; }

// Element-wise operators may write over an operand of the same size; Copy may move within one tensor.
bool may_share(const Op& op, const Tensor& in, const Tensor& out) {
  if (in.offset != out.offset || in.bytes() != out.bytes()) return false;
  return op.opcode == PITH_OPCODE_Unary || op.opcode == PITH_OPCODE_Binary || op.opcode == PITH_OPCODE_Convert ||
         op.opcode == PITH_OPCODE_Where || op.opcode == PITH_OPCODE_Copy ||
         ((op.opcode == PITH_OPCODE_RememberRows || op.opcode == PITH_OPCODE_RememberKeys) && &in == op.inputs[0]);
}

const char* check_overlaps(const Op& op, const format::Schema& schema) {
  const auto clashes_with_scratch = [&](const Tensor* t) {
    return t != nullptr && !t->is_constant() && overlap(t->offset, t->bytes(), op.scratch_offset, op.scratch_bytes);
  };
  for (int o = 0; o < schema.outputs; ++o) {
    const Tensor* out = op.outputs[o];
    if (out == nullptr) continue;
    if (clashes_with_scratch(out)) return "its scratch overlaps its output";
    for (int i = 0; i < schema.inputs; ++i) {
      const Tensor* in = op.inputs[i];
      if (in == nullptr || in->is_constant() || !overlap(in->offset, in->bytes(), out->offset, out->bytes())) continue;
      if (!may_share(op, *in, *out)) return "its output overlaps its input";
    }
    for (int i = 0; i < o; ++i) {
      const Tensor* other = op.outputs[i];
      if (other != nullptr && overlap(other->offset, other->bytes(), out->offset, out->bytes()))
        return "its outputs overlap";
    }
  }
  for (int i = 0; i < schema.inputs; ++i) {
    if (clashes_with_scratch(op.inputs[i])) return "its scratch overlaps its input";
  }
  return nullptr;
}

const char* check_memory(const Model& model, Op& op) {
  const format::Schema& schema = format::kSchemas[op.opcode];
  pith_operand_shape inputs[format::kMaxInputs], outputs[format::kMaxOutputs];
  for (int i = 0; i < format::kMaxInputs; ++i) inputs[i] = shape_of(i < schema.inputs ? op.inputs[i] : nullptr);
  for (int i = 0; i < format::kMaxOutputs; ++i) outputs[i] = shape_of(i < schema.outputs ? op.outputs[i] : nullptr);
  for (int i = 0; i < schema.inputs; ++i) {
    if (op.inputs[i] == nullptr && !(schema.optional_inputs >> i & 1)) return "a required input is absent";
  }
  bool any = false;
  for (int i = 0; i < schema.outputs; ++i) {
    if (op.outputs[i] != nullptr && op.outputs[i]->is_constant()) return "an output is a constant";
    if (op.outputs[i] == nullptr && !(schema.optional_outputs >> i & 1)) return "a required output is absent";
    any = any || op.outputs[i] != nullptr;
  }
  if (!any && schema.outputs > 0) return "it has no output";
  op.scratch_bytes = pith_scratch_bytes(op.opcode, op.ints, inputs, outputs);
  if (op.scratch_bytes < 0 || op.scratch_offset < 0 || op.scratch_offset + op.scratch_bytes > model.arena_bytes) {
    return "its scratch lies outside the arena";
  }
  return check_overlaps(op, schema);
}

}  // namespace

const char* prepare(Memory& memory, Model& model, int32_t* op_index) {
  Builder builder{memory, model};
  model.scratch_bytes = 0;
  for (int32_t i = 0; i < model.op_count; ++i) {
    Op& op = model.ops[i];
    *op_index = i;
    if (const char* reason = check_memory(model, op)) return reason;
    if (const char* reason = kOperators[op.opcode].prepare(builder, op)) return reason;
    const int64_t scratch = round_up(op.scratch_bytes);
    if (scratch > model.scratch_bytes) model.scratch_bytes = scratch;
  }
  *op_index = -1;
  return nullptr;
}

int64_t shared_instance_bytes(const Model& model) {
  return header_bytes(model) + (model.threads - 1) * model.scratch_bytes;
}

int64_t instance_bytes(const Model& model) {
  return shared_instance_bytes(model) + round_up(model.arena_bytes + PITH_OVERREAD);
}

Instance* make_instance(const Model& model, void* memory, void* arena) {
  uint8_t* bytes = static_cast<uint8_t*>(memory);
  Instance* instance = static_cast<Instance*>(memory);
  *instance = Instance{};
  instance->model = &model;
  const int64_t header = header_bytes(model);
  if (header > round_up(static_cast<int64_t>(sizeof(Instance)))) {
    instance->sources = reinterpret_cast<RowEnd*>(bytes + sizeof(Instance));
    instance->sinks = instance->sources + model.input_count;
    for (int32_t i = 0; i < model.input_count + model.output_count; ++i) instance->sources[i] = RowEnd{};
  }
  if (arena != nullptr) {
    instance->arena = static_cast<uint8_t*>(arena);
    instance->extra_scratch = bytes + header;
    clear_state(*instance);
    return instance;
  }
  instance->arena = bytes + header;
  instance->extra_scratch = instance->arena + round_up(model.arena_bytes + PITH_OVERREAD);
  memset(instance->arena, 0, static_cast<size_t>(round_up(model.arena_bytes + PITH_OVERREAD)));
  for (int32_t i = 0; i < model.input_count; ++i) {
    if (model.inputs[i].rows == 0) clear(*instance, *model.inputs[i].tensor);
  }
  clear_state(*instance);
  return instance;
}

const char* missing_rows(const Instance& instance) {
  const Model& model = *instance.model;
  for (int32_t i = 0; i < model.input_count; ++i) {
    if (model.inputs[i].rows > 0 && instance.sources[i].function == nullptr && instance.sources[i].values == nullptr)
      return "an input goes by rows and has no source; see pith_set_row_source";
  }
  for (int32_t i = 0; i < model.output_count; ++i) {
    if (model.outputs[i].rows > 0 && instance.sinks[i].function == nullptr)
      return "an output goes by rows and has no sink; see pith_set_row_sink";
  }
  return nullptr;
}

void execute(Instance& instance, pith_observer observer, void* context) {
  const Model& model = *instance.model;
  const Run run{model,          *model.kernels,         instance.threads,
                instance.arena, instance.extra_scratch, instance.sources,
                instance.sinks, instance.stored};
  for (int32_t i = 0; i < model.op_count; ++i) {
    const Op& op = model.ops[i];
    kOperators[op.opcode].run(op, run);
    if (observer != nullptr) observer(context, i, kOperators[op.opcode].name);
  }
  for (int32_t i = 0; i < model.state_count; ++i) {
    const StatePair& s = model.states[i];
    if (s.in->offset != s.out->offset) memmove(instance.arena + s.in->offset, instance.arena + s.out->offset, static_cast<size_t>(s.in->bytes()));
  }
}

void clear_state(const Instance& instance) {
  for (int32_t i = 0; i < instance.model->state_count; ++i) clear(instance, *instance.model->states[i].in);
}

}  // namespace pith::runtime
