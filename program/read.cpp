// From the bytes of a .pith file to a Program, trusting nothing.
#include <fmt/format.h>

#include <memory>

#include "coding/decode/floats.h"
#include "coding/decode/weights.h"
#include "program/metadata.h"
#include "program/program.h"
#include "program/structure.h"

namespace pith {
namespace {

constexpr int64_t kMostElements = int64_t{1} << 31;  // of one constant or tensor

Error damaged(std::string_view what) {
  return usage_error(fmt::format("not a valid .pith file: {}; it may be truncated or damaged, write it again", what));
}

std::vector<int32_t> to_vector(const format::Dims& d) {
  return std::vector<int32_t>(d.size, d.size + d.rank);
}

// The product of the dimensions, or -1 when it is beyond kMostElements.
int64_t checked_count(const format::Dims& d) {
  int64_t n = 1;
  for (uint32_t i = 0; i < d.rank; ++i) {
    if (d.size[i] != 0 && n > kMostElements / static_cast<int64_t>(d.size[i])) return -1;
    n *= d.size[i];
  }
  return n;
}

class Reader {
 public:
  Reader(const format::Frame& frame, WrittenSizes* sizes)
      : frame_(frame), coder_(frame.structure, frame.structure_bytes), codec_(coder_), sizes_(sizes) {}

  Result<Program> read() {
    format::Header h;
    codec_.header(h);
    if (coder_.failed()) return damaged("the header");
    // every tensor, constant and operator takes some bits of the structure
    if (uint64_t{h.tensors} + h.constants + h.ops + h.inputs + h.outputs + h.states > frame_.structure_bytes * 64 + 64)
      return damaged("the header announces more than the file holds");
    program_.arena_bytes = int64_t{h.arena_units} * PITH_ARENA_ALIGNMENT;
    for (uint32_t i = 0; i < h.inputs; ++i) PITH_CHECK_OK(port(program_.inputs));
    for (uint32_t i = 0; i < h.states; ++i) {
      PITH_TRY(const int32_t id, tensor_operand());
      program_.state.emplace_back(id, kNone);
    }
    for (uint32_t i = 0; i < h.ops; ++i) PITH_CHECK_OK(op());
    for (uint32_t i = 0; i < h.outputs; ++i) PITH_CHECK_OK(port(program_.outputs));
    for (uint32_t i = 0; i < h.states; ++i) {
      PITH_TRY(program_.state[i].second, tensor_operand());
    }
    if (coder_.failed()) return damaged("the structure");
    if (program_.tensors.size() != h.tensors || program_.constants.size() != h.constants) return damaged("the counts of tensors");
    if (payload_used_ != frame_.payload_bytes) return damaged("the payload's length");
    return std::move(program_);
  }

 private:
  Result<int32_t> tensor_operand() {
    format::OpRecord op{};
    op.opcode = PITH_OPCODE_Convert;
    const int follows = codec_.operand(op, false, 0);
    if (follows == 1 || op.inputs[0] < 0) return damaged("a state tensor");
    if (follows == 2) PITH_CHECK_OK(tensor(format::OpRecord{}));
    return op.inputs[0];
  }

  Result<void> port(std::vector<ProgramPort>& ports) {
    format::PortRecord r{};
    codec_.port(r);
    if (coder_.failed() || r.tensor < 0) return damaged("an input or output");
    if (r.tensor == static_cast<int32_t>(program_.tensors.size())) PITH_CHECK_OK(tensor(format::OpRecord{}));
    ports.push_back({std::string(r.name, r.name_length), r.tensor, std::vector<int32_t>(r.permutation, r.permutation + r.rank)});
    return {};
  }

  Result<void> op() {
    format::OpRecord r{};
    codec_.op_head(r);
    if (coder_.failed()) return damaged(fmt::format("operator {}", program_.ops.size()));
    const format::Schema& schema = format::kSchemas[r.opcode];
    ProgramOp op;
    op.opcode = static_cast<int>(r.opcode);
    op.ints.assign(r.ints, r.ints + schema.ints);
    op.reals.assign(r.reals, r.reals + schema.reals);
    if (r.activation >= static_cast<uint32_t>(numerics::kUnaryCount)) return damaged("an activation function");
    op.activation = static_cast<numerics::Unary>(r.activation);
    op.a = r.a;
    op.b = r.b;
    op.pre = r.pre;
    op.scratch_offset = int64_t{r.scratch_units} * PITH_ARENA_ALIGNMENT;
    for (uint32_t i = 0; i < schema.inputs; ++i) {
      const int follows = codec_.operand(r, false, i);
      if (follows == 1) PITH_CHECK_OK(constant(r, i));
      if (follows == 2) PITH_CHECK_OK(tensor(format::OpRecord{}));
      op.inputs.push_back(operand(r.inputs[i]));
      if (i == 1 && is_constant(op.inputs.back())) {
        const ProgramConstant& w = program_.constants[static_cast<size_t>(op.inputs.back() - kConstantBase)];
        format::Dims d;
        for (size_t k = 0; k < w.dims.size(); ++k) d.size[k] = static_cast<uint32_t>(w.dims[k]);
        codec_.set_kernel(d);
      }
    }
    for (uint32_t i = 0; i < schema.outputs; ++i) {
      const int follows = codec_.operand(r, true, i);
      if (follows == 1 || r.outputs[i] < -1) return damaged("an output that is a constant");
      if (follows == 2) PITH_CHECK_OK(tensor(r));
      op.outputs.push_back(operand(r.outputs[i]));
    }
    if (coder_.failed()) return damaged(fmt::format("operator {}", program_.ops.size()));
    program_.ops.push_back(std::move(op));
    return {};
  }

  static int32_t operand(int32_t file_id) { return file_id <= -2 ? kConstantBase + (-2 - file_id) : file_id; }

  Result<void> tensor(const format::OpRecord& op) {
    format::TensorRecord r;
    codec_.tensor(r, codec_.predict_output(op));
    if (coder_.failed() || checked_count(r.dims) < 0) return damaged(fmt::format("tensor {}", program_.tensors.size()));
    ProgramTensor t;
    if (r.alias_age != 0) {
      t = program_.tensors[program_.tensors.size() - r.alias_age];
      t.alias_of = static_cast<int32_t>(program_.tensors.size() - r.alias_age);
      t.alias_offset = int64_t{r.alias_units} * PITH_ARENA_ALIGNMENT;
      t.offset += t.alias_offset;
    } else {
      t.dtype = static_cast<int>(r.dtype);
      t.affine = r.affine;
      t.offset = int64_t{r.offset_units} * PITH_ARENA_ALIGNMENT;
    }
    t.dims = to_vector(r.dims);
    program_.tensors.push_back(std::move(t));
    return {};
  }

  Result<void> constant(const format::OpRecord& op, uint32_t slot) {
    format::ConstantRecord r;
    codec_.constant(r, codec_.predict_constant(op, slot));
    const std::string name = fmt::format("constant {}", program_.constants.size());
    const int64_t n = checked_count(r.dims);
    if (coder_.failed() || n < 0) return damaged(name);
    if (r.bytes > frame_.payload_bytes - payload_used_) return damaged(name + " is longer than the file");
    if (!format::plausible_count(n, r.bytes)) return damaged(name + " has more elements than its bytes can hold");
    const uint8_t* data = frame_.payload + payload_used_;
    payload_used_ += r.bytes;
    books_.push_back(r.codec == PITH_CODEC_VECTORS && r.book == 0 ? coding::BookOwner{data, r.bytes} : coding::BookOwner{});
    if (sizes_) sizes_->constants.push_back(r.bytes);
    ProgramConstant k;
    k.dtype = static_cast<int>(r.dtype);
    k.dims = to_vector(r.dims);
    k.bits = static_cast<int>(r.bits);
    k.affine = r.affine;
    if (r.dtype == PITH_F32 && r.codec == PITH_CODEC_PREDICTED) {
      k.reals.resize(static_cast<size_t>(n));
      if (!coding::decode_floats(data, r.bytes, k.reals.data(), n, static_cast<int>(r.shift))) return damaged(name + "'s floats");
    } else if (r.dtype == PITH_F32) {
      if (n * 4 != r.bytes) return damaged(name + "'s length");
      k.reals.resize(static_cast<size_t>(n));
      if (n > 0) __builtin_memcpy(k.reals.data(), data, r.bytes);
    } else if (r.dtype == PITH_I8) {
      PITH_CHECK_OK(weights(r, data, n, name, k));
    } else {
      coding::BinaryDecoder in(data, r.bytes);
      coding::IntegerModel model;
      k.integers.resize(static_cast<size_t>(n));
      for (int32_t& x : k.integers) x = static_cast<int32_t>(static_cast<uint32_t>(coding::decode_signed(in, model)) << r.shift);
      if (in.overrun()) return damaged(name + " ends early");
    }
    program_.constants.push_back(std::move(k));
    return {};
  }

  Result<void> weights(const format::ConstantRecord& r, const uint8_t* data, int64_t n, const std::string& name, ProgramConstant& k) {
    const int64_t rows = r.dims.rank == 0 ? 1 : r.dims.size[0];
    const int64_t length = rows > 0 ? n / rows : 0;
    const coding::BookOwner book = r.book > 0 ? books_[books_.size() - 1 - r.book] : coding::BookOwner{};
    if (r.book > 0 && book.data == nullptr) return damaged(fmt::format("{} uses the book of constant {}, which has none", name, books_.size() - 1 - r.book));
    auto in = std::make_unique<coding::WeightDecoder>();
    if (!in->begin(data, r.bytes, static_cast<int>(r.codec), static_cast<int>(r.bits), r.row_scales != 0, format::row_shape(r.dims), book)) return damaged(name + "'s head");
    std::vector<int8_t> row(static_cast<size_t>(length), 0);
    k.integers.reserve(static_cast<size_t>(n));
    int scale = 0;
    for (int64_t i = 0; i < rows; ++i) {
      scale = in->next_row(row.data(), length);
      if (r.row_scales || i == 0) k.scale_codes.push_back(static_cast<int16_t>(scale));
      k.integers.insert(k.integers.end(), row.begin(), row.end());
      if (in->overrun()) return damaged(name + " ends early");
    }
    return {};
  }

  const format::Frame& frame_;
  format::ReadingCoder coder_;
  format::StructureCodec<format::ReadingCoder> codec_;
  WrittenSizes* sizes_;
  Program program_;
  uint64_t payload_used_ = 0;
  std::vector<coding::BookOwner> books_;  // by constant
};

Result<std::map<std::string, std::string>> read_metadata(const format::Frame& frame) {
  std::map<std::string, std::string> metadata;
  if (frame.metadata_bytes == 0) return metadata;
  format::ReadingCoder coder(frame.metadata, frame.metadata_bytes);
  auto models = std::make_unique<format::MetadataModels>();
  format::prime(*models);
  uint32_t entries = 0;
  coder.number(models->length, entries);
  for (uint32_t i = 0; i < entries; ++i) {
    std::string texts[2];
    for (std::string& text : texts) {
      uint32_t length = 0;
      coder.number(models->length, length);
      uint8_t previous = 0;
      for (uint32_t k = 0; k < length && !coder.failed(); ++k) {
        previous = format::code_letter(coder, *models, previous, 0);
        text += static_cast<char>(previous);
      }
      if (coder.failed()) return damaged("the metadata");
    }
    metadata[texts[0]] = texts[1];
  }
  return metadata;
}

}  // namespace

Result<Program> read_program(std::span<const uint8_t> bytes, WrittenSizes* sizes) {
  format::Frame frame;
  switch (format::read_frame(bytes.data(), bytes.size(), frame)) {
    case format::FrameError::kNone: break;
    case format::FrameError::kNotPith: return usage_error("not a .pith file: it doesn't begin with 'P'; compress a model with `pith compress`");
    case format::FrameError::kVersion:
      return usage_error(fmt::format("this .pith file has format version {}; this pith reads versions {} to {}, write the file again with it",
                                     bytes[1], PITH_FORMAT_OLDEST, PITH_FORMAT_VERSION));
    case format::FrameError::kTruncated: return damaged("it is too short");
    case format::FrameError::kChecksum: return damaged("its checksum is wrong");
  }
  if (sizes) {
    *sizes = {};
    sizes->structure = static_cast<int64_t>(frame.structure_bytes);
    sizes->metadata = static_cast<int64_t>(frame.metadata_bytes);
    sizes->header = static_cast<int64_t>(bytes.size() - frame.structure_bytes - frame.metadata_bytes - frame.payload_bytes);
  }
  Reader reader(frame, sizes);
  PITH_TRY(Program program, reader.read());
  PITH_TRY(program.metadata, read_metadata(frame));
  PITH_CHECK_OK(check_program(program));
  return program;
}

}  // namespace pith
