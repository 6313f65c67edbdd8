// Every machine operator, one at a time: networks of one node through the whole chain, in float and quantised, executed
// by the reference interpreter and by the runtime for every instruction set and memory mode. Integers must agree bit
// for bit; what is computed in float, to a tolerance, and codes made from floats to one step. The test counts the
// opcodes that it compiled to, and fails where one of program/opcodes.inc was never reached.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <cstdlib>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <set>

#include "compile/compile.h"
#include "compile/stream.h"
#include "ir/interpret.h"
#include "micro/quantize.h"
#include "pith/pith.h"
#include "program/schema.h"
#include "tests/differential/operator_cases.h"

namespace pith {
namespace {

using ir::DType;
using ir::Tensor;

constexpr double kFloatTolerance = 2e-5;  // as a part of the largest expected value, at least 1

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 17;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;
Memory memory(size_t bytes) { return Memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64)); }

class Instance {
 public:
  Instance(const std::vector<uint8_t>& file, pith_mode mode) {
    pith_sizes sizes{};
    if (pith_probe(file.data(), file.size(), mode, 1, &sizes) != PITH_OK) return;
    model_memory_ = memory(sizes.model_bytes);
    memory_ = memory(sizes.instance_bytes);
    if (pith_load(file.data(), file.size(), mode, 1, model_memory_.get(), sizes.model_bytes, &model_) != PITH_OK)
      return;
    pith_instance_create(model_, memory_.get(), sizes.instance_bytes, &instance_);
  }
  bool good() const { return instance_ != nullptr; }

  void feed(int32_t index, const Tensor& t) {
    pith_tensor port;
    ASSERT_EQ(pith_model_input(model_, index, &port), PITH_OK);
    ASSERT_EQ(port.count, static_cast<size_t>(t.count()));
    if (port.type == PITH_TYPE_I32) {
      std::vector<int32_t> v;
      for (int64_t i = 0; i < t.count(); ++i) v.push_back(static_cast<int32_t>(t.at(i)));
      ASSERT_EQ(pith_set_input_i32(instance_, index, v.data(), v.size()), PITH_OK);
    } else {
      std::vector<float>& v = fed_.emplace_back();  // stays: an input that goes by rows is read while running
      for (int64_t i = 0; i < t.count(); ++i) v.push_back(static_cast<float>(t.at(i)));
      ASSERT_EQ(pith_set_input_f32(instance_, index, v.data(), v.size()), PITH_OK);
    }
  }
  void run() {
    pith_tensor port;
    for (int32_t i = 0; pith_model_output(model_, i, &port) == PITH_OK && i < pith_output_count(model_); ++i) {
      if (port.rows == 0) continue;
      sunk_[i].resize(port.count);
      ASSERT_EQ(pith_set_row_sink(instance_, i, &Instance::sink, this), PITH_OK);
    }
    ASSERT_EQ(pith_run(instance_), PITH_OK) << pith_last_error().reason;
  }

  // An output as numbers: codes of 8-bit ones.
  std::vector<double> output(int32_t index) const {
    pith_tensor port;
    EXPECT_EQ(pith_model_output(model_, index, &port), PITH_OK);
    if (port.rows > 0) return sunk_.at(index);
    if (port.type == PITH_TYPE_U8) return numbers<uint8_t>(port, pith_get_output_u8, index);
    if (port.type == PITH_TYPE_I32) return numbers<int32_t>(port, pith_get_output_i32, index);
    return numbers<float>(port, pith_get_output_f32, index);
  }

 private:
  // Rows of an output put where they belong: from physical into logical order.
  static void sink(void* context, int32_t index, int32_t row, int32_t rows, void* data) {
    Instance& self = *static_cast<Instance*>(context);
    pith_tensor port;
    ASSERT_EQ(pith_model_output(self.model_, index, &port), PITH_OK);
    ASSERT_EQ(port.rank, 4);
    std::array<int64_t, 4> extent{}, stride{};  // of the physical axes, in the logical tensor
    for (size_t i = 0; i < 4; ++i) {
      const int32_t axis = port.permutation[i];
      extent[i] = port.dims[axis], stride[i] = 1;
      for (int32_t inner = axis + 1; inner < 4; ++inner) stride[i] *= port.dims[inner];
    }
    const auto value = [&](size_t i) -> double {
      if (port.type == PITH_TYPE_U8) return static_cast<const uint8_t*>(data)[i];
      if (port.type == PITH_TYPE_I32) return static_cast<const int32_t*>(data)[i];
      return static_cast<const float*>(data)[i];
    };
    size_t from = 0;
    for (int64_t y = row; y < row + rows; ++y)
      for (int64_t x = 0; x < extent[2]; ++x)
        for (int64_t c = 0; c < extent[3]; ++c)
          self.sunk_[index].at(static_cast<size_t>(y * stride[1] + x * stride[2] + c * stride[3])) = value(from++);
  }

  template <typename T, typename Get>
  std::vector<double> numbers(const pith_tensor& port, Get get, int32_t index) const {
    std::vector<T> v(port.count);
    EXPECT_EQ(get(instance_, index, v.data(), v.size()), PITH_OK);
    return {v.begin(), v.end()};
  }
  Memory model_memory_, memory_;
  pith_model* model_ = nullptr;
  pith_instance* instance_ = nullptr;
  std::vector<std::vector<float>> fed_;
  std::map<int32_t, std::vector<double>> sunk_;
};

// All arithmetic in integers: then nothing may differ.
bool is_exact(const Program& p) {
  for (const ProgramTensor& t : p.tensors) {
    if (t.dtype == PITH_F32) return false;
  }
  return true;
}

void expect_agreement(const std::vector<double>& got, const Tensor& wanted, bool exact, const std::string& where) {
  ASSERT_EQ(got.size(), static_cast<size_t>(wanted.count())) << where;
  double largest = 1, worst = 0;
  int64_t at = 0;
  for (int64_t i = 0; i < wanted.count(); ++i) {
    largest = std::max(largest, std::abs(wanted.at(i)));
    const double difference = std::abs(got[static_cast<size_t>(i)] - wanted.at(i));
    if (!(difference <= worst)) worst = difference, at = i;
  }
  const double allowed = wanted.dtype() == DType::kF32            ? kFloatTolerance * largest
                         : wanted.dtype() == DType::kU8 && !exact ? 1
                                                                  : 0;
  EXPECT_LE(worst, allowed) << where << " at " << at << ": " << got[static_cast<size_t>(at)] << " where "
                            << wanted.at(at) << " is expected";
}

// Executes the program in every way and compares; adds the opcodes that it is made of.
void compare(const Program& program, const std::vector<Tensor>& sample, const std::vector<Tensor>& expected,
             std::set<int>& opcodes) {
  for (const ProgramOp& op : program.ops) opcodes.insert(op.opcode);
  const auto file = write_program(program, CodecChoice::kFastest);
  ASSERT_TRUE(file.ok()) << file.error().message;
  for (int isa = 0; isa < PITH_ISA_COUNT; ++isa) {
    if (pith_set_isa(static_cast<pith_isa>(isa)) != PITH_OK) continue;
    for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_FASTEST}) {
      const std::string where =
          std::string(pith_isa_name(static_cast<pith_isa>(isa))) + " mode " + std::to_string(mode);
      Instance instance(*file, mode);
      ASSERT_TRUE(instance.good()) << where << ": " << pith_last_error().reason << "\n" << to_text(program);
      for (size_t i = 0; i < sample.size(); ++i) instance.feed(static_cast<int32_t>(i), sample[i]);
      instance.run();
      for (size_t i = 0; i < expected.size(); ++i)
        expect_agreement(instance.output(static_cast<int32_t>(i)), expected[i], is_exact(program),
                         where + " output " + std::to_string(i));
    }
  }
  pith_set_isa(PITH_ISA_BEST);
}

CompileOptions quick() {
  CompileOptions options;
  options.planner_steps = 200;
  return options;
}

// The same program with its first operators in bands of rows, its pictures coming and going by rows, where it can be
// so.
std::optional<Program> by_rows(ir::Graph graph) {
  if (!ir::canonicalize(graph).ok()) return std::nullopt;
  const auto whole = lower(graph);
  if (!whole.ok()) return std::nullopt;
  auto rows = stream_rows(*whole, {{0, whole->ops.size(), 2}}, true);
  if (!rows || !plan_arena(*rows, quick(), nullptr).ok()) return std::nullopt;
  return rows;
}

void compare(const ir::Graph& graph, const std::vector<Tensor>& sample, std::set<int>& opcodes) {
  const auto expected = ir::interpret(graph, sample);
  ASSERT_TRUE(expected.ok()) << expected.error().message;
  const auto program = compile(graph, quick());
  ASSERT_TRUE(program.ok()) << program.error().message;
  compare(*program, sample, *expected, opcodes);
  if (const auto rows = by_rows(graph)) {
    SCOPED_TRACE("by rows");
    compare(*rows, sample, *expected, opcodes);
  }
}

TEST(Operators, InterpreterAndRuntimeAgreeOnEveryOpcode) {
  std::cout << "PITH_SEED=" << seed() << "\n";
  Random random(seed());
  std::set<int> opcodes;
  for (int trial = 0; trial < 3; ++trial) {
    for (const testing::OperatorCase& c : testing::operator_cases(random)) {
      {
        SCOPED_TRACE(c.name + " in float");
        compare(c.graph, c.samples[0], opcodes);
      }
      SCOPED_TRACE(c.name + " quantised");
      const auto quantized = quantize(c.graph, c.samples, {});
      ASSERT_TRUE(quantized.ok()) << quantized.error().message;
      compare(*quantized, c.samples[0], opcodes);
    }
  }
  for (int i = 0; i < PITH_OPCODE_COUNT; ++i) {
    if (i == PITH_OPCODE_EncodeRows || i == PITH_OPCODE_DecodeRows || i == PITH_OPCODE_EncodeLiftedRows || i == PITH_OPCODE_DecodeLiftedRows) continue;  // interpreter_runtime_test reaches them
    if (i == PITH_OPCODE_RememberRows || i == PITH_OPCODE_CachedAttention || i == PITH_OPCODE_CodedConv2d || i == PITH_OPCODE_RememberKeys || i == PITH_OPCODE_TurnedAttention)
      continue;  // chip_runtime_test, cache_test and runtime_test do
    EXPECT_TRUE(opcodes.count(i)) << format::kOpcodeNames[i] << " was never reached";
  }
}

}  // namespace
}  // namespace pith
