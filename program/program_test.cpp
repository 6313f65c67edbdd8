// Round trips, sizes, refusals and damage of the file format.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <unistd.h>

#include "base/file.h"
#include "base/random.h"
#include "coding/decode/levels.h"
#include "coding/encode/weights.h"
#include "program/program.h"
#include "program/schema.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 3;
}

int32_t add_tensor(Program& p, std::vector<int32_t> dims, numerics::Affine affine) {
  ProgramTensor t;
  t.dims = std::move(dims);
  t.affine = affine;
  int64_t bytes = 1;
  for (int32_t d : t.dims) bytes *= d;
  t.offset = p.arena_bytes;
  p.arena_bytes = (p.arena_bytes + bytes + 15) / 16 * 16;
  p.tensors.push_back(t);
  return static_cast<int32_t>(p.tensors.size() - 1);
}

int32_t add_weights(Program& p, Random& random, std::vector<int32_t> dims) {
  ProgramConstant k;
  k.dims = std::move(dims);
  int64_t n = 1;
  for (int32_t d : k.dims) n *= d;
  for (int64_t i = 0; i < n; ++i) k.integers.push_back(static_cast<int32_t>(random.integer(-60, 60)));
  for (int32_t r = 0; r < k.dims[0]; ++r) k.scale_codes.push_back(static_cast<int16_t>(random.integer(-120, -80)));
  p.constants.push_back(k);
  return kConstantBase + static_cast<int32_t>(p.constants.size() - 1);
}

int32_t add_bias(Program& p, Random& random, int32_t channels) {
  ProgramConstant k;
  k.dtype = PITH_I32;
  k.dims = {channels};
  for (int32_t i = 0; i < channels; ++i) k.integers.push_back(static_cast<int32_t>(random.integer(-2000, 2000)) * 16);
  p.constants.push_back(k);
  return kConstantBase + static_cast<int32_t>(p.constants.size() - 1);
}

void finish_op(Program& p, ProgramOp op) {
  op.scratch_offset = p.arena_bytes;
  p.arena_bytes += scratch_bytes(p, op);
  if (scratch_bytes(p, op) == 0) op.scratch_offset = 0;
  p.ops.push_back(std::move(op));
}

// A plain network of `layers` convolutions 3x3, every third with stride 2, then an average and a classifier.
Program sample(int layers, uint64_t s = seed()) {
  Random random(s);
  Program p;
  int32_t size = 64, channels = 3;
  int32_t x = add_tensor(p, {1, size, size, channels}, {-120, 0});
  p.inputs.push_back({"image", x, {0, 2, 3, 1}});
  for (int i = 0; i < layers; ++i) {
    const int32_t stride = i % 3 == 2 && size > 4 ? 2 : 1, next = std::min(64, 8 << (i / 3));
    ProgramOp op;
    op.opcode = PITH_OPCODE_Conv2d;
    op.inputs = {x, add_weights(p, random, {next, 3, 3, channels}), add_bias(p, random, next)};
    op.ints = {stride, stride, 1, 1, 1, 1, 1, 1, 1};
    op.activation = numerics::Unary::kRelu;
    size = (size - 1) / stride + 1;
    x = add_tensor(p, {1, size, size, next}, {static_cast<int16_t>(random.integer(-90, -70)), 0});
    op.outputs = {x};
    finish_op(p, op);
    channels = next;
  }
  ProgramOp pool;
  pool.opcode = PITH_OPCODE_Reduce;
  pool.inputs = {x};
  pool.ints = {PITH_REDUCE_MEAN, 6};
  x = add_tensor(p, {1, 1, 1, channels}, p.tensors[static_cast<size_t>(x)].affine);
  pool.outputs = {x};
  finish_op(p, pool);
  ProgramTensor flat = p.tensors[static_cast<size_t>(x)];
  flat.alias_of = x;
  flat.dims = {1, channels};
  p.tensors.push_back(flat);
  x = static_cast<int32_t>(p.tensors.size() - 1);
  ProgramOp dense;
  dense.opcode = PITH_OPCODE_Dense;
  dense.inputs = {x, add_weights(p, random, {10, channels}), add_bias(p, random, 10)};
  x = add_tensor(p, {1, 10}, {-60, 128});
  dense.outputs = {x};
  finish_op(p, dense);
  p.outputs.push_back({"scores", x, {0, 1}});
  p.metadata = {{"preprocess", "image:rgb:64x64:stretch:mean=0:scale=1/255"}, {"head", "classifier"}};
  return p;
}

void expect_equal(const Program& a, const Program& b) {
  ASSERT_EQ(a.tensors.size(), b.tensors.size());
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_EQ(a.tensors[i].dims, b.tensors[i].dims);
    EXPECT_EQ(a.tensors[i].affine, b.tensors[i].affine);
    EXPECT_EQ(a.tensors[i].offset, b.tensors[i].offset);
    EXPECT_EQ(a.tensors[i].dtype, b.tensors[i].dtype);
    EXPECT_EQ(a.tensors[i].alias_of, b.tensors[i].alias_of);
  }
  ASSERT_EQ(a.constants.size(), b.constants.size());
  for (size_t i = 0; i < a.constants.size(); ++i) {
    EXPECT_EQ(a.constants[i].dims, b.constants[i].dims);
    EXPECT_EQ(a.constants[i].integers, b.constants[i].integers);
    EXPECT_EQ(a.constants[i].reals, b.constants[i].reals);
    EXPECT_EQ(a.constants[i].scale_codes, b.constants[i].scale_codes);
  }
  EXPECT_EQ(a.ops, b.ops);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.state, b.state);
  EXPECT_EQ(a.arena_bytes, b.arena_bytes);
  EXPECT_EQ(a.metadata, b.metadata);
}

TEST(Program, RoundTripsThroughBytes) {
  for (const CodecChoice choice : {CodecChoice::kSmallest, CodecChoice::kFastest}) {
    const Program p = sample(8);
    const auto bytes = write_program(p, choice);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const auto q = read_program(*bytes);
    ASSERT_TRUE(q.ok()) << q.error().message;
    expect_equal(p, *q);
  }
}

TEST(Program, StructureOfTwentyLayersIsUnder400Bytes) {
  WrittenSizes sizes;
  const auto bytes = write_program(sample(18), CodecChoice::kSmallest, &sizes);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  EXPECT_LT(sizes.header + sizes.structure + sizes.metadata, 400);
  RecordProperty("structure", static_cast<int>(sizes.structure));
  printf("structure %lld, metadata %lld, header %lld bytes\n", static_cast<long long>(sizes.structure),
         static_cast<long long>(sizes.metadata), static_cast<long long>(sizes.header));
}

TEST(Program, EveryTruncationAndFlipIsRefused) {
  const auto bytes = write_program(sample(2), CodecChoice::kSmallest);
  ASSERT_TRUE(bytes.ok());
  for (size_t n = 0; n < bytes->size(); n += 7) {
    EXPECT_FALSE(read_program(std::span(bytes->data(), n)).ok()) << n;
  }
  for (size_t i = 0; i < bytes->size(); i += 5) {
    std::vector<uint8_t> damaged = *bytes;
    damaged[i] ^= 0x10;
    EXPECT_FALSE(read_program(damaged).ok()) << i;
  }
  EXPECT_FALSE(read_program({}).ok());
}

TEST(Program, OtherVersionsAreNamed) {
  auto bytes = *write_program(sample(1), CodecChoice::kSmallest);
  for (const int version : {1, 9}) {
    bytes[1] = static_cast<uint8_t>(version);
    const auto r = read_program(bytes);
    ASSERT_FALSE(r.ok());
    EXPECT_NE(r.error().message.find("version " + std::to_string(version)), std::string::npos);
  }
}

TEST(Check, RefusesWhatDoesNotFit) {
  const auto refused = [](auto change) {
    Program p = sample(3);
    change(p);
    return !check_program(p).ok();
  };
  EXPECT_FALSE(refused([](Program&) {}));
  EXPECT_TRUE(refused([](Program& p) { p.ops[0].inputs[0] = 99; }));
  EXPECT_TRUE(refused([](Program& p) { p.ops[0].inputs[1] = kNone; }));
  EXPECT_TRUE(refused([](Program& p) { p.ops[0].ints[0] = 0; }));
  EXPECT_TRUE(refused([](Program& p) { p.ops[0].ints[8] = 2; }));
  EXPECT_TRUE(refused([](Program& p) { p.tensors[1].dims[1] += 1; }));
  EXPECT_TRUE(refused([](Program& p) { p.tensors[1].offset = p.tensors[0].offset; }));
  EXPECT_TRUE(refused([](Program& p) { p.ops[1].scratch_offset = p.tensors[1].offset; }));
  EXPECT_TRUE(refused([](Program& p) { p.arena_bytes -= 64; }));
  EXPECT_TRUE(refused([](Program& p) { p.tensors[p.tensors.size() - 2].dims = {1, 999}; }));
  EXPECT_TRUE(refused([](Program& p) { p.tensors[p.tensors.size() - 2].alias_of = 99; }));
  EXPECT_TRUE(refused([](Program& p) { p.constants[0].integers[0] = 128; }));
  EXPECT_TRUE(refused([](Program& p) { p.constants[0].integers.pop_back(); }));
  EXPECT_TRUE(refused([](Program& p) { p.constants[1].integers[0] = INT32_MAX; }));
  EXPECT_TRUE(refused([](Program& p) { p.inputs[0].permutation = {0, 0, 1, 2}; }));
  EXPECT_TRUE(refused([](Program& p) { p.outputs[0].tensor = -1; }));
  EXPECT_TRUE(refused([](Program& p) { p.ops[0].opcode = PITH_OPCODE_COUNT; }));
}

// Hostile structures with a right checksum: mutate the bytes and mend the checksum, so that the parser itself is reached.
TEST(Program, MutatedStructuresNeverCrash) {
  auto original = *write_program(sample(3), CodecChoice::kSmallest);
  Random random(seed());
  int accepted = 0;
  for (int trial = 0; trial < 3000; ++trial) {
    std::vector<uint8_t> bytes = original;
    for (int64_t n = random.integer(1, 4); n > 0; --n) bytes[static_cast<size_t>(random.integer(2, 200))] = static_cast<uint8_t>(random.next());
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i + 4 < bytes.size(); ++i) {
      crc ^= bytes[i];
      for (int k = 0; k < 8; ++k) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    for (size_t i = 0; i < 4; ++i) bytes[bytes.size() - 4 + i] = static_cast<uint8_t>(~crc >> (8 * i));
    if (read_program(bytes).ok()) ++accepted;
  }
  printf("%d of 3000 mutations were still valid programs\n", accepted);
}

uint32_t crc_of(const void* data, size_t bytes) {
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < bytes; ++i) {
    crc ^= static_cast<const uint8_t*>(data)[i];
    for (int k = 0; k < 8; ++k) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
  }
  return ~crc;
}

// The second reader, written from the specification, decodes every constant to the same values.
void expect_python_reader_agrees(const Program& p, CodecChoice choice) {
  const char* source = std::getenv("PITH_SOURCE_DIR");
  if (!source || std::system("python3 -c '' 2>/dev/null") != 0) return;  // the tests of a machine without Python
  const auto bytes = write_program(p, choice);
  ASSERT_TRUE(bytes.ok()) << bytes.error().message;
  const Program q = *read_program(*bytes);
  std::string expected;
  for (size_t i = 0; i < q.constants.size(); ++i) {
    const ProgramConstant& k = q.constants[i];
    std::string dims;
    for (int32_t d : k.dims) dims += (dims.empty() ? "" : "x") + std::to_string(d);
    const std::vector<int32_t> scales(k.scale_codes.begin(), k.scale_codes.end());
    const uint32_t values = k.dtype == PITH_F32 ? crc_of(k.reals.data(), k.reals.size() * 4) : crc_of(k.integers.data(), k.integers.size() * 4);
    char line[200];
    std::snprintf(line, sizeof line, "%zu %d %s %08x %08x\n", i, k.dtype, dims.c_str(), values, crc_of(scales.data(), scales.size() * 4));
    expected += line;
  }
  const std::string path = (std::filesystem::temp_directory_path() / ("pith_reader_" + std::to_string(::getpid()) + ".pith")).string();
  ASSERT_TRUE(write_file(path, *bytes).ok());
  FILE* pipe = ::popen(("python3 " + std::string(source) + "/tools/read_pith.py --digest " + path + " 2>&1").c_str(), "r");
  std::string got;
  char buffer[4096];
  for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) got.append(buffer, n);
  EXPECT_EQ(::pclose(pipe), 0);
  EXPECT_EQ(got, expected);
  std::filesystem::remove(path);
}

TEST(Program, PythonReaderAgrees) {
  for (const CodecChoice choice : {CodecChoice::kSmallest, CodecChoice::kBalanced, CodecChoice::kFastest}) {
    Program p = sample(6);
    p.metadata["labels"] = "first label\nsecond\n3rd: a-b/c_d=e.f,G";
    for (size_t i = 0; i < p.constants.size(); i += 4) {  // narrower integers, one scale, and the rare codecs too
      for (int32_t& q : p.constants[i].integers) q %= 4;
      p.constants[i].bits = 3;
      p.constants[i].scale_codes.resize(1);
    }
    for (size_t i = 2; i < p.constants.size(); i += 4) {  // sparse rows, some of them empty
      const int64_t length = static_cast<int64_t>(p.constants[i].integers.size()) / p.constants[i].dims[0];
      for (int64_t k = 0; k < static_cast<int64_t>(p.constants[i].integers.size()); ++k) {
        int32_t& q = p.constants[i].integers[static_cast<size_t>(k)];
        if (q % 7 != 0 || k / length % 3 == 1) q = 0;
      }
    }
    expect_python_reader_agrees(p, choice);
  }
}

// Paths of a trellis, some rows of them empty.
TEST(Program, PathsAreReadAlike) {
  Program p = sample(6);
  Random random(seed());
  for (ProgramConstant& k : p.constants) {
    if (k.dtype != PITH_I8) continue;
    const int64_t length = static_cast<int64_t>(k.integers.size()) / k.dims[0];
    k.bits = 8;
    for (size_t i = 0; i < k.integers.size(); ++i) k.integers[i] = static_cast<int64_t>(i) / length % 5 == 4 ? 0 : std::clamp(static_cast<int>(std::lround(random.normal() * 4)), -63, 63);
    coding::trellis_multiples(k.integers, length);
  }
  for (const CodecChoice choice : {CodecChoice::kSmallest, CodecChoice::kBalanced}) {
    const auto bytes = write_program(p, choice);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    EXPECT_EQ((*bytes)[1], PITH_FORMAT_VERSION);
    const auto q = read_program(*bytes);
    ASSERT_TRUE(q.ok()) << q.error().message;
    size_t found = 0;
    for (const ProgramConstant& a : p.constants) found += std::any_of(q->constants.begin(), q->constants.end(), [&](const ProgramConstant& b) { return a.integers == b.integers; });
    EXPECT_EQ(found, p.constants.size());
    expect_python_reader_agrees(p, choice);
  }
  const auto fast = write_program(p, CodecChoice::kFastest), small = write_program(p, CodecChoice::kSmallest);
  EXPECT_LT(small->size() + 300, fast->size()) << "a bit a weight";
}

// Multiples of grids and of paths that stand for levels.
TEST(Program, LevelsAreReadAlike) {
  coding::Levels levels;
  levels.count = 2, levels.of[1] = 11, levels.of[2] = 20, levels.tail = 9;
  for (const bool path : {false, true}) {
    Program p = sample(7);
    Random random(seed());
    for (ProgramConstant& k : p.constants) {
      if (k.dtype != PITH_I8) continue;
      for (int32_t& q : k.integers) q = std::clamp(static_cast<int>(std::lround(random.normal() * 2)), -6, 6);
      if (path) coding::trellis_multiples(k.integers, static_cast<int64_t>(k.integers.size()) / k.dims[0]);
    }
    const Program multiples = p;
    for (ProgramConstant& k : p.constants) {
      for (int32_t& q : k.integers) q = k.dtype != PITH_I8 ? q : levels.weight(q);
    }
    for (const CodecChoice choice : {CodecChoice::kSmallest, CodecChoice::kFastest}) {
      const auto bytes = write_program(p, choice);
      ASSERT_TRUE(bytes.ok()) << bytes.error().message;
      if (choice != CodecChoice::kFastest || !path) {
        EXPECT_LE(bytes->size(), write_program(multiples, choice)->size() + 6 * p.constants.size()) << "a head for each";
      }
      const auto q = read_program(*bytes);
      ASSERT_TRUE(q.ok()) << q.error().message;
      size_t found = 0;
      for (const ProgramConstant& a : p.constants) found += std::any_of(q->constants.begin(), q->constants.end(), [&](const ProgramConstant& b) { return a.integers == b.integers; });
      EXPECT_EQ(found, p.constants.size());
      expect_python_reader_agrees(p, choice);
    }
  }
}

TEST(Program, PythonReaderReadsBooks) {
  Random random(seed());
  Program p = sample(6);
  for (size_t c = 0; c < p.constants.size(); ++c) {  // vectors of two and four, of one book for all of a length
    ProgramConstant& k = p.constants[c];
    const int64_t length = k.dtype == PITH_I8 ? static_cast<int64_t>(k.integers.size()) / k.dims[0] : 0, n = c % 4 == 0 ? 2 : 4;
    k.bits = 8;
    for (int64_t i = 0, v = 0; length > 0 && i < static_cast<int64_t>(k.integers.size()); ++i) {
      if (i % length % n == 0) v = random.integer(0, c % 3 == 0 ? 20 : random.integer(0, 60)) * 9;
      k.integers[static_cast<size_t>(i)] = static_cast<int32_t>((v + 77 * (i % length % n)) * 37 % 101) - 50;
    }
  }
  expect_python_reader_agrees(p, CodecChoice::kFastest);
}

// Sums of an input and tables that the predicted code has something to say about: a grid, a wave, a line, few values, noise.
Program tables() {
  Random random(seed());
  Program p;
  const auto tensor = [&] {
    const int32_t x = add_tensor(p, {150, 4 * 4}, {});  // bytes of 150 x 4 floats
    p.tensors.back().dims = {150, 4};
    p.tensors.back().dtype = PITH_F32;
    return x;
  };
  int32_t x = tensor();
  p.inputs.push_back({"x", x, {0, 1}});
  for (int kind = 0; kind < 5; ++kind) {
    ProgramConstant k;
    k.dtype = PITH_F32;
    k.dims = {150, 4};
    for (int i = 0; i < 600; ++i) {
      const double t = i / 4, c = i % 4 + 1;
      k.reals.push_back(static_cast<float>(kind == 0 ? std::fmod(t, 15) / 15 * c : kind == 1 ? std::cos(t / c) : kind == 2 ? 0.1 * t + c : kind == 3 ? i % 7 * 0.3 : random.normal()));
    }
    p.constants.push_back(k);
    ProgramOp op;
    op.opcode = PITH_OPCODE_Binary;
    op.inputs = {x, kConstantBase + kind};
    op.ints = {PITH_BINARY_ADD};
    x = tensor();
    op.outputs = {x};
    finish_op(p, op);
  }
  p.outputs.push_back({"y", x, {0, 1}});
  return p;
}

TEST(Program, BlocksOfZerosAreNotExecuted) {
  Random random(seed());
  Program p;
  const int32_t x = add_tensor(p, {1, 4, 4, 24}, {-64, 0}), y = add_tensor(p, {1, 4, 4, 20}, {-64, 0});
  const int32_t w = add_weights(p, random, {20, 3, 3, 24});
  ProgramOp op;
  op.opcode = PITH_OPCODE_Conv2d;
  op.inputs = {x, w, kNone}, op.outputs = {y};
  std::vector<int32_t>& q = p.constants[0].integers;
  std::fill(q.begin(), q.end(), 1);
  const int64_t all = 16 * 20 * 9 * 24;
  EXPECT_EQ(executed_macs(p, op), all);
  for (int64_t o = 16; o < 20; ++o) std::fill_n(q.begin() + (o * 9 + 5) * 24 + 16, 8, 0);  // the last outputs and channels at one position
  std::fill_n(q.begin(), 24, 0);                                                           // one row's alone
  EXPECT_EQ(executed_macs(p, op), all - 16 * 4 * 8);
  EXPECT_EQ(op_macs(p, op), all);
  p.tensors[0].dims = {1, 4, 4, 48};  // groups
  EXPECT_EQ(executed_macs(p, op), all);
}

TEST(Program, FloatTablesAreCoded) {
  const Program p = tables();
  for (const CodecChoice choice : {CodecChoice::kSmallest, CodecChoice::kFastest}) {
    WrittenSizes sizes;
    const auto bytes = write_program(p, choice, &sizes);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    const bool coded = choice == CodecChoice::kSmallest;
    EXPECT_EQ((*bytes)[1], coded ? 3 : 2) << "a version that the file doesn't need, or too low a one";
    EXPECT_EQ(sizes.constants.back() < 2400, coded);
    if (coded) {
      EXPECT_LT(sizes.constants[3], 100) << "seven values in turn";
    }
    const auto q = read_program(*bytes);
    ASSERT_TRUE(q.ok()) << q.error().message;
    expect_equal(p, *q);
    expect_python_reader_agrees(p, choice);
  }
}

TEST(Schema, CountsWords) {
  using format::kSchemas;
  EXPECT_EQ(kSchemas[PITH_OPCODE_Conv2d].inputs, 3);
  EXPECT_EQ(kSchemas[PITH_OPCODE_Conv2d].optional_inputs, 4);
  EXPECT_EQ(kSchemas[PITH_OPCODE_Conv2d].ints, 9);
  EXPECT_EQ(kSchemas[PITH_OPCODE_Copy].ints, 21);
  EXPECT_EQ(kSchemas[PITH_OPCODE_Fill].inputs, 0);
  for (const auto& s : kSchemas) EXPECT_TRUE(s.inputs <= format::kMaxInputs && s.outputs <= format::kMaxOutputs && s.ints <= format::kMaxInts && s.reals <= format::kMaxReals);
}

TEST(Text, NamesEveryOperator) {
  const std::string text = to_text(sample(2));
  EXPECT_NE(text.find("Conv2d"), std::string::npos);
  EXPECT_NE(text.find("then Relu"), std::string::npos);
  EXPECT_NE(text.find("arena"), std::string::npos);
}

}  // namespace
}  // namespace pith
