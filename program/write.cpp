// From Program to the bytes of a .pith file (docs/format.md).
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <span>

#include "coding/decode/weights.h"
#include "coding/encode/binary.h"
#include "coding/encode/floats.h"
#include "coding/encode/levels.h"
#include "coding/encode/weights.h"
#include "program/books.h"
#include "program/metadata.h"
#include "program/program.h"
#include "program/structure.h"

namespace pith {
namespace {

class WritingCoder {
 public:
  static constexpr bool decoding = false;
  void number(coding::IntegerModel& m, uint32_t& x) { coding::encode_unsigned(out_, m, x); }
  void bit(coding::BitModel& m, uint32_t& x) { out_.bit(m, x); }
  void raw(uint32_t& x, int bits) { out_.raw_bits(x, bits); }
  void fail() { failed_ = true; }
  bool failed() const { return failed_; }
  std::vector<uint8_t> finish() { return out_.finish(); }

 private:
  coding::BinaryEncoder out_;
  bool failed_ = false;
};

struct CodedConstant {
  format::ConstantRecord record;
  std::vector<uint8_t> bytes;
};

format::Dims to_dims(const std::vector<int32_t>& dims) {
  format::Dims d;
  d.rank = static_cast<uint32_t>(dims.size());
  for (size_t i = 0; i < dims.size() && i < PITH_MAX_RANK; ++i) d.size[i] = static_cast<uint32_t>(dims[i]);
  return d;
}

int64_t count(const std::vector<int32_t>& dims) {
  int64_t n = 1;
  for (int32_t d : dims) n *= d;
  return n;
}

// Zeros at the end of a stream say nothing, but keep the file's promise of how much a byte may hold.
void pad(std::vector<uint8_t>& stream, size_t elements) {
  while (!format::plausible_count(static_cast<int64_t>(elements), stream.size())) stream.push_back(0);
}

// Rows that a Gather looks up are decoded when they are asked for, where the table is large: about so many weights for one.
constexpr int64_t kGroupWeights = 32768;

coding::CodedRows rows_of(const ProgramConstant& k) {
  coding::CodedRows rows;
  rows.bits = k.bits;
  rows.rows = k.dims.empty() ? 1 : k.dims[0];
  rows.row_length = rows.rows > 0 ? count(k.dims) / rows.rows : 0;
  rows.integers = k.integers;
  rows.scale_codes = k.scale_codes;
  rows.shape = coding::row_shape(k.dims);
  return rows;
}

struct CodedStream {
  int codec = PITH_CODEC_RANS;
  std::vector<uint8_t> bytes;
};

// Rows of multiples, where they are paths with their indices. `any_order`: some reader takes rows one by one.
CodedStream code_rows(const coding::CodedRows& rows, std::span<const int32_t> indices, CodecChoice choice, bool any_order) {
  coding::CodedRows path = rows;  // all else costs about a bit more
  path.integers = indices;
  path.trellis = true;
  if (any_order && rows.rows * rows.row_length >= 2 * kGroupWeights && rows.row_length <= kGroupWeights)
    return {PITH_CODEC_GROUPS, coding::encode_groups(indices.empty() ? rows : path, kGroupWeights / rows.row_length)};
  // from the fastest to decode to the slowest; a slower group must save this much
  constexpr size_t kWorth = 128;
  CodedStream coded{PITH_CODEC_RANS, coding::encode_rans(rows)};
  const auto consider = [&](int codec, std::vector<uint8_t> bytes, size_t worth) {
    if (bytes.size() + worth < coded.bytes.size()) coded = {codec, std::move(bytes)};
  };
  consider(PITH_CODEC_RAW, coding::encode_raw(rows), 0);
  if (choice != CodecChoice::kFastest) {
    const size_t worth = coded.bytes.size() / kWorth;
    std::vector<uint8_t> adaptive = coding::encode_adaptive(rows), classes = coding::encode_classes(rows);
    const bool by_classes = classes.size() < adaptive.size();
    consider(by_classes ? PITH_CODEC_CLASSES : PITH_CODEC_ADAPTIVE, std::move(by_classes ? classes : adaptive), worth);
  }
  if (choice == CodecChoice::kSmallest) consider(PITH_CODEC_MIXED, coding::encode_mixed(rows), coded.bytes.size() / kWorth);
  if (!indices.empty()) {
    consider(PITH_CODEC_CLASSES_TRELLIS, coding::encode_classes(path), 0);
    if (choice == CodecChoice::kSmallest) consider(PITH_CODEC_MIXED_TRELLIS, coding::encode_mixed(path), coded.bytes.size() / kWorth);
  }
  return coded;
}

// Which grid, path or levels weights were rounded to shows in themselves.
CodedConstant code_weights(const ProgramConstant& k, CodecChoice choice, bool any_order) {
  coding::CodedRows rows = rows_of(k);
  const bool paths = choice != CodecChoice::kFastest;
  std::vector<int32_t> indices = paths ? coding::trellis_rows(k.integers, rows.row_length) : std::vector<int32_t>();
  CodedStream coded = code_rows(rows, indices, choice, any_order);
  std::optional<coding::Levels> levels;
  if (paths) levels = coding::find_levels(k.integers, rows.row_length, true);
  const bool on_path = levels.has_value();
  if (!levels && indices.empty()) levels = coding::find_levels(k.integers, rows.row_length, false);
  if (levels) {
    const std::vector<int32_t> multiples = coding::level_multiples(k.integers, *levels);
    rows.integers = multiples;
    if (on_path) indices = coding::trellis_rows(multiples, rows.row_length);
    const CodedStream inner = code_rows(rows, on_path ? indices : std::vector<int32_t>(), choice, any_order);
    std::vector<uint8_t> bytes = coding::encode_levels(*levels, inner.codec, inner.bytes);
    if (bytes.size() < coded.bytes.size()) coded = {PITH_CODEC_LEVELS, std::move(bytes)};
  }
  CodedConstant constant;
  constant.record.bits = static_cast<uint32_t>(k.bits);
  constant.record.row_scales = k.scale_codes.size() > 1;
  constant.record.codec = static_cast<uint32_t>(coded.codec);
  constant.bytes = std::move(coded.bytes);
  pad(constant.bytes, k.integers.size());
  return constant;
}

CodedConstant code_integers(const ProgramConstant& k) {
  CodedConstant coded;
  coded.record.codec = PITH_CODEC_ADAPTIVE;
  uint32_t any = 0;
  for (int32_t x : k.integers) any |= static_cast<uint32_t>(x);
  const int shift = any == 0 ? 0 : std::min(__builtin_ctz(any), 30);
  coded.record.shift = static_cast<uint32_t>(shift);
  coding::BinaryEncoder out;
  coding::IntegerModel model;
  for (int32_t x : k.integers) coding::encode_signed(out, model, x >> shift);
  coded.bytes = out.finish();
  return coded;
}

// `in_place`: who reads them does so in the file, a tile at a time; coded ones take memory, which must be worth it.
CodedConstant code_floats(const ProgramConstant& k, CodecChoice choice, bool in_place) {
  CodedConstant coded;
  coded.record.codec = PITH_CODEC_FLOAT;
  coded.bytes.resize(k.reals.size() * 4);
  if (!k.reals.empty()) std::copy_n(reinterpret_cast<const uint8_t*>(k.reals.data()), coded.bytes.size(), coded.bytes.data());
  if (choice == CodecChoice::kFastest) return coded;
  coding::CodedFloats predicted = coding::encode_floats(k.reals, k.dims);
  pad(predicted.bytes, k.reals.size());
  if (predicted.bytes.size() >= coded.bytes.size() / (in_place ? 2 : 1)) return coded;
  coded.record.codec = PITH_CODEC_PREDICTED;
  coded.record.shift = static_cast<uint32_t>(predicted.shift);
  coded.bytes = std::move(predicted.bytes);
  return coded;
}

CodedConstant code_constant(const ProgramConstant& k, CodecChoice choice, bool in_place, bool any_order) {
  CodedConstant coded;
  if (k.dtype == PITH_I8) {
    coded = code_weights(k, choice, any_order);
  } else if (k.dtype == PITH_F32) {
    coded = code_floats(k, choice, in_place);
  } else {
    coded = code_integers(k);
  }
  coded.record.dtype = static_cast<uint32_t>(k.dtype);
  coded.record.dims = to_dims(k.dims);
  coded.record.affine = k.affine;
  coded.record.bytes = static_cast<uint32_t>(coded.bytes.size());
  return coded;
}

// Writes operators and operands in order; tensors and constants get their records where they are first named, so both
// are renumbered by first use.
class Writer {
 public:
  Writer(const Program& p, CodecChoice choice) : program_(p), choice_(choice), codec_(coder_) {
    tensor_ids_.assign(p.tensors.size(), -1);
    constant_ids_.assign(p.constants.size(), -1);
    coded_.resize(p.constants.size());
    book_owners_.assign(p.constants.size(), -1);
  }

  Result<std::vector<uint8_t>> structure() {
    format::Header h;
    h.tensors = static_cast<uint32_t>(program_.tensors.size());
    h.constants = static_cast<uint32_t>(program_.constants.size());
    h.ops = static_cast<uint32_t>(program_.ops.size());
    h.inputs = static_cast<uint32_t>(program_.inputs.size());
    h.outputs = static_cast<uint32_t>(program_.outputs.size());
    h.states = static_cast<uint32_t>(program_.state.size());
    h.arena_units = static_cast<uint32_t>((program_.arena_bytes + PITH_ARENA_ALIGNMENT - 1) / PITH_ARENA_ALIGNMENT);
    code_constants();
    codec_.header(h);
    for (const ProgramPort& port : program_.inputs) PITH_CHECK_OK(write_port(port));
    for (const auto& [in, out] : program_.state) {
      (void)out;
      write_tensor_operand(in);
    }
    for (const ProgramOp& op : program_.ops) PITH_CHECK_OK(write_op(op));
    for (const ProgramPort& port : program_.outputs) PITH_CHECK_OK(write_port(port));
    for (const auto& [in, out] : program_.state) {
      (void)in;
      write_tensor_operand(out);
    }
    if (next_tensor_ != static_cast<int32_t>(program_.tensors.size()) || next_constant_ != static_cast<int32_t>(program_.constants.size()))
      return internal_error("the program has tensors or constants that no operator or port names; drop them before writing");
    if (coder_.failed()) return internal_error("a field of the program is out of the format's range");
    return coder_.finish();
  }

  std::vector<std::vector<uint8_t>> payloads;       // in the order of the records
  std::vector<int32_t> payload_constants;           // which constant each is
  uint8_t version = PITH_FORMAT_OLDEST;             // the lowest that has what the file needs

 private:
  void write_tensor_operand(int32_t id) {
    format::OpRecord op{};
    op.opcode = PITH_OPCODE_Convert;
    op.inputs[0] = file_id(id);
    if (codec_.operand(op, false, 0) == 2) define_tensor(id, format::OpRecord{});  // predicted as the reader does
  }

  Result<void> write_port(const ProgramPort& port) {
    format::PortRecord r{};
    if (port.name.size() > sizeof r.name)
      return usage_error(fmt::format("the name '{}' of an input or output is longer than {} bytes; rename it", port.name, sizeof r.name));
    const bool fresh = tensor_ids_[static_cast<size_t>(port.tensor)] < 0;
    r.tensor = file_id(port.tensor);
    r.name_length = static_cast<uint32_t>(port.name.size());
    std::copy(port.name.begin(), port.name.end(), r.name);
    r.rank = static_cast<uint32_t>(port.permutation.size());
    if (port.permutation.size() > PITH_MAX_RANK) return internal_error("a port's rank is beyond the format's");
    for (size_t i = 0; i < port.permutation.size() && i < PITH_MAX_RANK; ++i) r.permutation[i] = static_cast<uint8_t>(port.permutation[i]);
    codec_.port(r);
    if (fresh) define_tensor(port.tensor, format::OpRecord{});
    return {};
  }

  Result<void> write_op(const ProgramOp& op) {
    const format::Schema& schema = format::kSchemas[op.opcode];
    if (op.inputs.size() != schema.inputs || op.outputs.size() != schema.outputs || op.ints.size() != schema.ints ||
        op.reals.size() != schema.reals)
      return internal_error(fmt::format("operator {} has {} inputs, {} outputs, {} integers, {} reals; the format wants {}, {}, {}, {}",
                                        format::kOpcodeNames[op.opcode], op.inputs.size(), op.outputs.size(), op.ints.size(),
                                        op.reals.size(), schema.inputs, schema.outputs, schema.ints, schema.reals));
    format::OpRecord r{};
    r.opcode = static_cast<uint32_t>(op.opcode);
    std::copy(op.ints.begin(), op.ints.end(), r.ints);
    std::copy(op.reals.begin(), op.reals.end(), r.reals);
    r.activation = static_cast<uint32_t>(op.activation);
    r.a = op.a;
    r.b = op.b;
    r.pre = op.pre;
    r.scratch_units = static_cast<uint32_t>(op.scratch_offset / PITH_ARENA_ALIGNMENT);
    codec_.op_head(r);
    for (uint32_t i = 0; i < schema.inputs; ++i) {
      r.inputs[i] = file_id(op.inputs[i]);
      const int follows = codec_.operand(r, false, i);
      if (follows == 1) define_constant(op.inputs[i], r, i);
      if (follows == 2) define_tensor(op.inputs[i], format::OpRecord{});
      if (i == 1 && is_constant(op.inputs[i])) codec_.set_kernel(to_dims(constant(op.inputs[i]).dims));
    }
    for (uint32_t i = 0; i < schema.outputs; ++i) {
      r.outputs[i] = file_id(op.outputs[i]);
      if (codec_.operand(r, true, i) == 2) define_tensor(op.outputs[i], r);
    }
    return {};
  }

  const ProgramConstant& constant(int32_t id) const { return program_.constants[static_cast<size_t>(id - kConstantBase)]; }

  // The id in the file; a first use gets the next number, which makes the codec announce a record.
  int32_t file_id(int32_t id) const {
    if (id == kNone) return -1;
    if (is_constant(id)) {
      const int32_t known = constant_ids_[static_cast<size_t>(id - kConstantBase)];
      return -2 - (known < 0 ? next_constant_ : known);
    }
    const int32_t known = tensor_ids_[static_cast<size_t>(id)];
    return known < 0 ? next_tensor_ : known;
  }

  void define_tensor(int32_t id, const format::OpRecord& op) {
    const ProgramTensor& t = program_.tensors[static_cast<size_t>(id)];
    format::TensorRecord r;
    if (t.alias_of != kNone) r.alias_age = static_cast<uint32_t>(next_tensor_ - tensor_ids_[static_cast<size_t>(t.alias_of)]);
    r.alias_units = static_cast<uint32_t>(t.alias_offset / PITH_ARENA_ALIGNMENT);
    r.dtype = static_cast<uint32_t>(t.dtype);
    r.dims = to_dims(t.dims);
    r.affine = t.affine;
    r.offset_units = static_cast<uint32_t>(t.offset / PITH_ARENA_ALIGNMENT);
    codec_.tensor(r, codec_.predict_output(op));
    tensor_ids_[static_cast<size_t>(id)] = next_tensor_++;
  }

  // Is it the table of a Gather along its rows?
  bool looked_up(int32_t id) const {
    return std::any_of(program_.ops.begin(), program_.ops.end(), [&](const ProgramOp& op) {
      return op.opcode == PITH_OPCODE_Gather && op.inputs[0] == id && op.ints[0] == 0 && op.ints[1] == 0;
    });
  }

  // All constants in the order of their records, so that they may share books.
  void code_constants() {
    std::vector<size_t> weights;
    std::vector<coding::CodedRows> rows;
    std::vector<size_t> bytes;
    std::vector<bool> seen(program_.constants.size());
    for (const ProgramOp& op : program_.ops) {
      const bool product = op.opcode == PITH_OPCODE_Conv2d || op.opcode == PITH_OPCODE_ConvTranspose2d || op.opcode == PITH_OPCODE_Dense || op.opcode == PITH_OPCODE_CodedConv2d;
      for (size_t slot = 0; slot < op.inputs.size(); ++slot) {
        const int32_t id = op.inputs[slot];
        const auto index = static_cast<size_t>(id - kConstantBase);
        if (!is_constant(id) || seen[index]) continue;
        seen[index] = true;
        coded_[index] = code_constant(constant(id), choice_, product && slot == 1, looked_up(id));
        const CodedConstant& coded = coded_[index];
        if (choice_ != CodecChoice::kFastest || constant(id).dtype != PITH_I8 || coding::in_any_order(coded.bytes.data(), coded.bytes.size(), static_cast<int>(coded.record.codec))) continue;
        weights.push_back(index);
        rows.push_back(rows_of(constant(id)));
        bytes.push_back(coded.bytes.size());
      }
    }
    std::vector<WrittenVectors> vectors = choose_books(rows, bytes);
    for (size_t i = 0; i < vectors.size(); ++i) {
      if (vectors[i].bytes.empty()) continue;
      CodedConstant& coded = coded_[weights[i]];
      coded.bytes = std::move(vectors[i].bytes);
      pad(coded.bytes, rows[i].integers.size());
      coded.record.codec = PITH_CODEC_VECTORS;
      coded.record.bytes = static_cast<uint32_t>(coded.bytes.size());
      if (vectors[i].owner >= 0) book_owners_[weights[i]] = static_cast<int64_t>(weights[static_cast<size_t>(vectors[i].owner)]);
    }
  }

  void define_constant(int32_t id, const format::OpRecord& op, uint32_t slot) {
    const auto index = static_cast<size_t>(id - kConstantBase);
    CodedConstant coded = std::move(coded_[index]);
    if (book_owners_[index] >= 0) coded.record.book = static_cast<uint32_t>(next_constant_ - constant_ids_[static_cast<size_t>(book_owners_[index])]);
    if (coded.record.codec >= PITH_CODEC_PREDICTED) version = PITH_FORMAT_VERSION;
    codec_.constant(coded.record, codec_.predict_constant(op, slot));
    payloads.push_back(std::move(coded.bytes));
    payload_constants.push_back(id - kConstantBase);
    constant_ids_[index] = next_constant_++;
  }

  const Program& program_;
  CodecChoice choice_;
  WritingCoder coder_;
  format::StructureCodec<WritingCoder> codec_;
  std::vector<int32_t> tensor_ids_, constant_ids_;
  std::vector<CodedConstant> coded_;    // by constant
  std::vector<int64_t> book_owners_;    // by constant, -1: its own book or none
  int32_t next_tensor_ = 0, next_constant_ = 0;
};

std::vector<uint8_t> write_metadata(const std::map<std::string, std::string>& metadata) {
  if (metadata.empty()) return {};
  WritingCoder coder;
  auto models = std::make_unique<format::MetadataModels>();
  format::prime(*models);
  const auto text = [&](const std::string& s) {
    uint32_t length = static_cast<uint32_t>(s.size());
    coder.number(models->length, length);
    uint8_t previous = 0;
    for (char letter : s) {
      format::code_letter(coder, *models, previous, static_cast<uint8_t>(letter));
      previous = static_cast<uint8_t>(letter);
    }
  };
  uint32_t entries = static_cast<uint32_t>(metadata.size());
  coder.number(models->length, entries);
  for (const auto& [key, value] : metadata) {
    text(key);
    text(value);
  }
  return coder.finish();
}

void append_section(std::vector<uint8_t>& out, const std::vector<uint8_t>& section) {
  uint64_t length = section.size();
  for (; length >= 128; length >>= 7) out.push_back(static_cast<uint8_t>(length | 128));
  out.push_back(static_cast<uint8_t>(length));
  out.insert(out.end(), section.begin(), section.end());
}

}  // namespace

Result<std::vector<uint8_t>> write_program(const Program& program, CodecChoice choice, WrittenSizes* sizes) {
  PITH_CHECK_OK(check_program(program));
  return write_unchecked(program, choice, sizes);
}

Result<std::vector<uint8_t>> write_unchecked(const Program& program, CodecChoice choice, WrittenSizes* sizes) {
  Writer writer(program, choice);
  PITH_TRY(const std::vector<uint8_t> structure, writer.structure());
  const std::vector<uint8_t> metadata = write_metadata(program.metadata);
  std::vector<uint8_t> out = {PITH_FORMAT_MAGIC, writer.version};
  append_section(out, structure);
  append_section(out, metadata);
  if (sizes) {
    *sizes = {};
    sizes->structure = static_cast<int64_t>(structure.size());
    sizes->metadata = static_cast<int64_t>(metadata.size());
    sizes->header = static_cast<int64_t>(out.size() - structure.size() - metadata.size() + 4);
    sizes->constants.assign(program.constants.size(), 0);
  }
  for (size_t i = 0; i < writer.payloads.size(); ++i) {
    out.insert(out.end(), writer.payloads[i].begin(), writer.payloads[i].end());
    if (sizes) sizes->constants[static_cast<size_t>(writer.payload_constants[i])] = static_cast<int64_t>(writer.payloads[i].size());
  }
  const uint32_t crc = format::crc32(out.data(), out.size());
  for (int i = 0; i < 4; ++i) out.push_back(static_cast<uint8_t>(crc >> (8 * i)));
  return out;
}

}  // namespace pith
