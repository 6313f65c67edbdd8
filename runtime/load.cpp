#include "runtime/load.h"

#include <string.h>

#include <initializer_list>

#include "coding/decode/floats.h"
#include "program/metadata.h"
#include "program/schema.h"
#include "program/structure.h"
#include "runtime/ops/weights.h"

namespace pith::runtime {
namespace {

constexpr int64_t kMostElements = INT32_MAX;  // of one tensor
constexpr int32_t kMostRows = 1 << 24;        // of a port

Failure damaged(const char* reason, int32_t op_index = -1, const char* op = nullptr) {
  return {PITH_ERROR_DAMAGED, op_index, op, reason};
}

Failure open(const void* file, size_t bytes, format::Frame& frame) {
  switch (format::read_frame(static_cast<const uint8_t*>(file), bytes, frame)) {
    case format::FrameError::kNone:
      return {};
    case format::FrameError::kNotPith:
      return {PITH_ERROR_NOT_PITH, -1, nullptr, "it doesn't begin as a .pith file does; write one with `pith compile`"};
    case format::FrameError::kVersion:
      return {PITH_ERROR_VERSION, -1, nullptr, "its format version isn't this library's; write the file again"};
    case format::FrameError::kTruncated:
      return damaged("it is too short; copy it again");
    default:
      return damaged("its checksum is wrong; copy it again");
  }
}

bool plausible(const format::Header& h, const format::Frame& frame) {
  // every tensor, constant and operator takes some bits of the structure
  const uint64_t records = uint64_t{h.tensors} + h.constants + h.ops + h.inputs + h.outputs + h.states;
  return records <= frame.structure_bytes * 64 + 64;
}

class StructureReader {
 public:
  StructureReader(const format::Frame& frame, Memory& memory, Model& model)
      : frame_(frame), memory_(memory), model_(model), coder_(frame.structure, frame.structure_bytes), codec_(coder_) {}

  Failure read() {
    format::Header h;
    codec_.header(h);
    if (coder_.failed() || !plausible(h, frame_)) return damaged("its header is malformed");
    tensors_most_ = static_cast<int32_t>(h.tensors);
    constants_most_ = static_cast<int32_t>(h.constants);
    model_.arena_bytes = int64_t{h.arena_units} * PITH_ARENA_ALIGNMENT;
    model_.tensors = memory_.take<Tensor>(h.tensors);
    model_.constants = memory_.take<Tensor>(h.constants);
    model_.ops = memory_.take<Op>(h.ops);
    model_.inputs = memory_.take<Port>(h.inputs);
    model_.outputs = memory_.take<Port>(h.outputs);
    model_.states = memory_.take<StatePair>(h.states);
    if (memory_.full()) return {PITH_ERROR_MEMORY, -1, nullptr, "the memory given is too small"};
    for (uint32_t i = 0; i < h.inputs; ++i) model_.inputs[i] = Port{};
    for (uint32_t i = 0; i < h.outputs; ++i) model_.outputs[i] = Port{};
    model_.input_count = static_cast<int32_t>(h.inputs);
    model_.output_count = static_cast<int32_t>(h.outputs);
    model_.state_count = static_cast<int32_t>(h.states);
    for (uint32_t i = 0; i < h.inputs; ++i) {
      if (!port(model_.inputs[i])) return failure_;
    }
    for (uint32_t i = 0; i < h.states; ++i) {
      model_.states[i] = StatePair{};
      if ((model_.states[i].in = state_tensor()) == nullptr) return failure_;
    }
    for (uint32_t i = 0; i < h.ops; ++i) {
      if (!op()) return failure_;
    }
    for (uint32_t i = 0; i < h.outputs; ++i) {
      if (!port(model_.outputs[i])) return failure_;
    }
    for (uint32_t i = 0; i < h.states; ++i) {
      StatePair& s = model_.states[i];
      if ((s.out = state_tensor()) == nullptr) return failure_;
      if (s.in->dtype != s.out->dtype || s.in->bytes() != s.out->bytes())
        return damaged("a state's input and output differ");
    }
    if (coder_.failed()) return damaged("its structure is malformed");
    if (model_.tensor_count != tensors_most_ || model_.constant_count != constants_most_)
      return damaged("its counts of tensors are wrong");
    if (payload_used_ != frame_.payload_bytes) return damaged("its weights have the wrong length");
    return {};
  }

 private:
  bool fail(const char* reason) {
    failure_ = damaged(reason, op_index_, op_name_);
    return false;
  }
  bool out_of_memory() {
    failure_ = {PITH_ERROR_MEMORY, -1, nullptr, "the memory given is too small"};
    return false;
  }

  bool copy_dims(const format::Dims& d, Tensor& t) {
    int64_t n = 1;
    t.rank = static_cast<uint8_t>(d.rank);
    for (uint32_t i = 0; i < d.rank; ++i) {
      if (d.size[i] < 1 || n > kMostElements / static_cast<int64_t>(d.size[i]))
        return fail("a tensor has impossible dimensions");
      n *= d.size[i];
      t.dims[i] = static_cast<int32_t>(d.size[i]);
    }
    return true;
  }

  bool tensor(const format::OpRecord& op) {
    format::TensorRecord r;
    codec_.tensor(r, codec_.predict_output(op));
    if (coder_.failed() || model_.tensor_count >= tensors_most_) return fail("a tensor is malformed");
    Tensor& t = model_.tensors[model_.tensor_count];
    t = Tensor{};
    int64_t bytes = 0;
    if (r.alias_age != 0) {
      t = model_.tensors[model_.tensor_count - static_cast<int32_t>(r.alias_age)];
      bytes = t.bytes() - int64_t{r.alias_units} * PITH_ARENA_ALIGNMENT;
      t.offset += int64_t{r.alias_units} * PITH_ARENA_ALIGNMENT;
    } else {
      t.dtype = static_cast<uint8_t>(r.dtype);
      t.affine = r.affine;
      t.offset = int64_t{r.offset_units} * PITH_ARENA_ALIGNMENT;
    }
    if (!copy_dims(r.dims, t)) return false;
    if (r.alias_age != 0 && t.bytes() > bytes) return fail("a tensor doesn't fit the one whose memory it shares");
    if (t.offset + t.bytes() > model_.arena_bytes) return fail("a tensor lies outside the arena");
    ++model_.tensor_count;
    return true;
  }

  bool constant(const format::OpRecord& op, uint32_t slot) {
    format::ConstantRecord r;
    codec_.constant(r, codec_.predict_constant(op, slot));
    if (coder_.failed() || model_.constant_count >= constants_most_) return fail("a constant is malformed");
    if (r.bytes > frame_.payload_bytes - payload_used_) return fail("a constant is longer than the file");
    Tensor& k = model_.constants[model_.constant_count++];
    k = Tensor{};
    k.dtype = static_cast<uint8_t>(r.dtype);
    k.affine = r.affine;
    k.coded = frame_.payload + payload_used_;
    k.coded_bytes = r.bytes;
    k.codec = static_cast<uint8_t>(r.codec);
    k.bits = static_cast<uint8_t>(r.bits);
    k.row_scales = static_cast<uint8_t>(r.row_scales);
    k.shift = static_cast<uint8_t>(r.shift);
    payload_used_ += r.bytes;
    if (!copy_dims(r.dims, k)) return false;
    if (k.codec == PITH_CODEC_FLOAT && k.count() * 4 != int64_t{r.bytes}) return fail("a constant has the wrong length");
    if (k.codec == PITH_CODEC_PREDICTED && !coding::decode_floats(k.coded, k.coded_bytes, nullptr, 0, k.shift))
      return fail("a constant's code is malformed");
    if (!format::plausible_count(k.count(), r.bytes))
      return fail("a constant has more elements than its bytes can hold");
    if (k.dtype == PITH_I8) {
      if (r.book > 0) {
        k.book = &k - r.book;
        if (k.book->codec != PITH_CODEC_VECTORS || k.book->book != nullptr) return fail("a constant uses the book of one that has none");
      }
      coding::WeightDecoder decoder;
      if (r.bits < 2 || r.bits > 8 || !begin_rows(decoder, k)) return fail("a constant's code is malformed");
    }
    return true;
  }

  Tensor* operand(int32_t id) const {
    return id >= 0 ? &model_.tensors[id] : id == -1 ? nullptr : &model_.constants[-2 - id];
  }

  const Tensor* state_tensor() {
    format::OpRecord record{};
    record.opcode = PITH_OPCODE_Convert;
    const int follows = codec_.operand(record, false, 0);
    if (coder_.failed() || follows == 1 || record.inputs[0] < 0 || (follows == 2 && !tensor(format::OpRecord{}))) {
      if (failure_.status == PITH_OK) fail("a state tensor is malformed");
      return nullptr;
    }
    return operand(record.inputs[0]);
  }

  bool port(Port& p) {
    format::PortRecord r{};
    codec_.port(r);
    if (coder_.failed() || r.tensor < 0) return fail("an input or output is malformed");
    if (r.tensor == model_.tensor_count && !tensor(format::OpRecord{})) return false;
    p.tensor = operand(r.tensor);
    char* name = memory_.take<char>(r.name_length + 1);
    if (name == nullptr) return out_of_memory();
    memcpy(name, r.name, r.name_length);
    name[r.name_length] = 0;
    p.name = name;
    if (r.rank != p.tensor->rank) return fail("an input or output has a bad axis order");
    uint32_t seen = 0;
    for (uint32_t i = 0; i < r.rank; ++i) {
      p.permutation[i] = r.permutation[i];
      seen |= 1u << r.permutation[i];
    }
    if (seen != (1u << r.rank) - 1) return fail("an input or output has a bad axis order");
    return true;
  }

  // A port that goes by rows gets each of them once, from the first to the last.
  bool rows(const Op& op, const Tensor* part, Port* ports, int32_t count) {
    if (op.ints[0] < 0 || op.ints[0] >= count) return fail("there is no such input or output");
    Port& p = ports[op.ints[0]];
    if (part == nullptr || part->is_constant() || part->rank != 4 || op.ints[1] != p.rows || p.rows > kMostRows) return fail("its rows don't follow the last ones");
    p.rows += part->dims[1];
    return true;
  }

  bool op() {
    format::OpRecord r{};
    codec_.op_head(r);
    op_index_ = model_.op_count;
    op_name_ = format::kOpcodeNames[r.opcode];
    if (coder_.failed()) return fail("it is malformed");
    const format::Schema& schema = format::kSchemas[r.opcode];
    if (r.activation >= static_cast<uint32_t>(numerics::kUnaryCount)) return fail("its activation is unknown");
    Op& op = model_.ops[model_.op_count];
    op = Op{};
    op.opcode = static_cast<uint8_t>(r.opcode);
    op.activation = static_cast<numerics::Unary>(r.activation);
    op.a = r.a, op.b = r.b, op.pre = r.pre;
    op.scratch_offset = int64_t{r.scratch_units} * PITH_ARENA_ALIGNMENT;
    Tensor** operands = memory_.take<Tensor*>(schema.inputs + schema.outputs);
    int32_t* ints = memory_.take<int32_t>(schema.ints);
    float* reals = memory_.take<float>(schema.reals);
    if (memory_.full()) return out_of_memory();
    memcpy(ints, r.ints, sizeof(int32_t) * schema.ints);
    memcpy(reals, r.reals, sizeof(float) * schema.reals);
    op.inputs = operands;
    op.outputs = operands + schema.inputs;
    op.ints = ints;
    op.reals = reals;
    for (uint32_t i = 0; i < schema.inputs; ++i) {
      const int follows = codec_.operand(r, false, i);
      if (coder_.failed()) return fail("an input is malformed");
      if (follows == 1 && !constant(r, i)) return false;
      if (follows == 2 && !tensor(format::OpRecord{})) return false;
      operands[i] = operand(r.inputs[i]);
      if (i == 1 && r.inputs[i] <= -2) {
        format::Dims d;
        for (int k = 0; k < operands[i]->rank; ++k) d.size[k] = static_cast<uint32_t>(operands[i]->dims[k]);
        codec_.set_kernel(d);
      }
    }
    for (uint32_t i = 0; i < schema.outputs; ++i) {
      const int follows = codec_.operand(r, true, i);
      if (coder_.failed() || follows == 1 || r.outputs[i] < -1) return fail("an output is malformed");
      if (follows == 2 && !tensor(r)) return false;
      operands[schema.inputs + i] = operand(r.outputs[i]);
    }
    if (op.opcode == PITH_OPCODE_RowsIn && !rows(op, op.outputs[0], model_.inputs, model_.input_count)) return false;
    if (op.opcode == PITH_OPCODE_RowsOut && !rows(op, op.inputs[0], model_.outputs, model_.output_count)) return false;
    ++model_.op_count;
    op_index_ = -1;
    op_name_ = nullptr;
    return true;
  }

  const format::Frame& frame_;
  Memory& memory_;
  Model& model_;
  format::ReadingCoder coder_;
  format::StructureCodec<format::ReadingCoder> codec_;
  Failure failure_;
  uint64_t payload_used_ = 0;
  int32_t tensors_most_ = 0, constants_most_ = 0, op_index_ = -1;
  const char* op_name_ = nullptr;
};

}  // namespace

Failure structure_bound(const void* file, size_t bytes, size_t* bound) {
  format::Frame frame;
  Failure failure = open(file, bytes, frame);
  if (failure.status != PITH_OK) return failure;
  format::ReadingCoder coder(frame.structure, frame.structure_bytes);
  format::StructureCodec<format::ReadingCoder> codec(coder);
  format::Header h;
  codec.header(h);
  if (coder.failed() || !plausible(h, frame)) return damaged("its header is malformed");
  size_t most = 0;  // of one operator's operands and parameters
  for (const format::Schema& s : format::kSchemas) {
    const size_t size = (size_t{s.inputs} + s.outputs) * sizeof(Tensor*) + (size_t{s.ints} + s.reals) * 4 + 8;
    if (size > most) most = size;
  }
  *bound = (size_t{h.tensors} + h.constants) * sizeof(Tensor) + h.ops * (sizeof(Op) + most) +
           (size_t{h.inputs} + h.outputs) * (sizeof(Port) + sizeof(format::PortRecord::name) + 1) +
           h.states * sizeof(StatePair) + 64;
  return {};
}

Failure read_structure(const void* file, size_t bytes, Memory& memory, Model& model) {
  format::Frame frame;
  const Failure failure = open(file, bytes, frame);
  if (failure.status != PITH_OK) return failure;
  return StructureReader(frame, memory, model).read();
}

bool read_metadata(const void* file, size_t bytes, const char* key, char* text, size_t capacity, size_t* length,
                   Failure* failure) {
  format::Frame frame;
  *failure = open(file, bytes, frame);
  if (failure->status != PITH_OK || frame.metadata_bytes == 0) return false;
  format::ReadingCoder coder(frame.metadata, frame.metadata_bytes);
  format::MetadataModels models;
  format::prime(models);
  const size_t key_length = strlen(key);
  uint32_t entries = 0;
  coder.number(models.length, entries);
  for (uint32_t i = 0; i < entries && !coder.failed(); ++i) {
    bool matches = true;
    for (int part = 0; part < 2; ++part) {
      uint32_t n = 0;
      coder.number(models.length, n);
      uint8_t letter = 0;
      if (part == 0 && n != key_length) matches = false;
      for (uint32_t k = 0; k < n && !coder.failed(); ++k) {
        letter = format::code_letter(coder, models, letter, 0);
        if (part == 0 && matches && static_cast<char>(letter) != key[k]) matches = false;
        if (part == 1 && matches && k < capacity) text[k] = static_cast<char>(letter);
      }
      if (part == 1 && matches && !coder.failed()) {
        *length = n;
        return true;
      }
    }
  }
  if (coder.failed()) *failure = damaged("its metadata is malformed");
  return false;
}

}  // namespace pith::runtime
