// The C interface on files that the writer makes: sizes, modes, instances, inputs and outputs in the user's order,
// state, metadata, threads, and everything that must be refused.
#include <gtest/gtest.h>
#include <pthread.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <thread>

#include "pith/pith.h"
#include "runtime/testing/sample_program.h"

namespace pith {
namespace {

using testing::Maker;
using testing::network;
using testing::seed;

std::vector<uint8_t> file_of(const Program& p, CodecChoice choice = CodecChoice::kSmallest) {
  const auto bytes = write_program(p, choice);
  EXPECT_TRUE(bytes.ok()) << bytes.error().message;
  return bytes.ok() ? *bytes : std::vector<uint8_t>{};
}

// A block of aligned memory with painted margins.
class Block {
 public:
  explicit Block(size_t bytes) : storage_(bytes + 3 * 64, 0xc3), bytes_(bytes) {
    data_ = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(storage_.data()) + 127) / 64 * 64);
  }
  ~Block() {
    for (const uint8_t* q = storage_.data(); q < data_; ++q) EXPECT_EQ(*q, 0xc3) << "written before its memory";
    for (const uint8_t* q = data_ + bytes_; q < storage_.data() + storage_.size(); ++q)
      EXPECT_EQ(*q, 0xc3) << "written after its memory";
  }
  uint8_t* data() { return data_; }
  size_t bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> storage_;
  size_t bytes_;
  uint8_t* data_;
};

struct Loaded {
  std::vector<uint8_t> file;
  std::unique_ptr<Block> model_memory, instance_memory;
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;

  Loaded(std::vector<uint8_t> bytes, pith_mode mode, int threads = 1) : file(std::move(bytes)) {
    pith_sizes sizes{};
    EXPECT_EQ(pith_probe(file.data(), file.size(), mode, threads, &sizes), PITH_OK) << pith_last_error().reason;
    model_memory = std::make_unique<Block>(sizes.model_bytes);
    instance_memory = std::make_unique<Block>(sizes.instance_bytes);
    EXPECT_EQ(pith_load(file.data(), file.size(), mode, threads, model_memory->data(), sizes.model_bytes, &model),
              PITH_OK)
        << pith_last_error().reason;
    if (mode == PITH_MODE_FASTEST) std::fill(file.begin(), file.end(), uint8_t{0xee});  // isn't needed any more
    EXPECT_EQ(pith_instance_create(model, instance_memory->data(), sizes.instance_bytes, &instance), PITH_OK);
  }
};

std::vector<float> random_reals(size_t n, float low, float high) {
  Random random(seed() + 1);
  std::vector<float> v(n);
  for (float& x : v)
    x = low + (high - low) * static_cast<float>(random.integer(0, 1 << 20)) / static_cast<float>(1 << 20);
  return v;
}

void threads_run(void*, int32_t count, void (*task)(void*, int32_t), void* context) {
  std::vector<std::thread> workers;
  for (int32_t i = 1; i < count; ++i) workers.emplace_back(task, context, i);
  task(context, 0);
  for (std::thread& w : workers) w.join();
}

TEST(Api, BothModesAllSetsAndThreadsGiveTheSameCodes) {
  const Program p = network();
  const std::vector<float> image = random_reals(20 * 18 * 3, -0.2f, 3.5f);
  std::vector<uint8_t> expected;
  for (int isa = 0; isa < PITH_ISA_COUNT; ++isa) {
    if (pith_set_isa(static_cast<pith_isa>(isa)) != PITH_OK) continue;
    for (CodecChoice codec : {CodecChoice::kSmallest, CodecChoice::kFastest}) {
      for (pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_FASTEST}) {
        for (int threads : {1, 3}) {
          Loaded l(file_of(p, codec), mode, threads);
          EXPECT_EQ(pith_model_isa(l.model), static_cast<pith_isa>(isa));
          ASSERT_EQ(pith_set_parallel(l.instance, threads > 1 ? threads_run : nullptr, nullptr), PITH_OK);
          ASSERT_EQ(pith_set_input_f32(l.instance, 0, image.data(), image.size()), PITH_OK);
          ASSERT_EQ(pith_run(l.instance), PITH_OK);
          std::vector<uint8_t> codes(11);
          ASSERT_EQ(pith_get_output_u8(l.instance, 0, codes.data(), 11), PITH_OK);
          if (expected.empty()) expected = codes;
          EXPECT_EQ(codes, expected) << pith_isa_name(static_cast<pith_isa>(isa)) << " mode " << mode << " threads "
                                     << threads;
        }
      }
    }
  }
  EXPECT_EQ(pith_set_isa(PITH_ISA_BEST), PITH_OK);
  EXPECT_NE(*std::max_element(expected.begin(), expected.end()), *std::min_element(expected.begin(), expected.end()))
      << "a test of nothing";
}

TEST(Api, InputsAreStoredInPhysicalOrder) {
  Loaded l(file_of(network()), PITH_MODE_FASTEST);
  ASSERT_EQ(pith_input_count(l.model), 1);
  pith_tensor t{};
  ASSERT_EQ(pith_input(l.instance, 0, &t), PITH_OK);
  EXPECT_STREQ(t.name, "image");
  EXPECT_EQ(t.type, PITH_TYPE_U8);
  EXPECT_EQ((std::vector<int32_t>(t.dims, t.dims + t.rank)), (std::vector<int32_t>{1, 3, 20, 18}));
  EXPECT_EQ((std::vector<int32_t>(t.permutation, t.permutation + t.rank)), (std::vector<int32_t>{0, 2, 3, 1}));
  EXPECT_EQ(t.count, 1080u);
  EXPECT_EQ(t.zero_point, 7);
  EXPECT_DOUBLE_EQ(t.scale, 1.0 / 64);
  std::vector<float> image(1080);
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 360; ++i)
      image[static_cast<size_t>(c * 360 + i)] = static_cast<float>((c * 70 + i % 60)) / 64.0f;
  }
  ASSERT_EQ(pith_set_input_f32(l.instance, 0, image.data(), image.size()), PITH_OK);
  const uint8_t* codes = static_cast<const uint8_t*>(t.data);
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 360; ++i) ASSERT_EQ(codes[i * 3 + c], 7 + c * 70 + i % 60);
  }
  std::vector<uint8_t> planar(1080);
  for (size_t i = 0; i < planar.size(); ++i) planar[i] = static_cast<uint8_t>(i / 360 * 50 + i % 50);
  ASSERT_EQ(pith_set_input_u8(l.instance, 0, planar.data(), planar.size()), PITH_OK);
  for (int i = 0; i < 360; ++i) ASSERT_EQ(codes[i * 3 + 2], planar[static_cast<size_t>(720 + i)]);
}

// Constants whose floats are coded as distances to predictions give what raw ones do, also where weights lie in the file.
TEST(Api, PredictedFloatsAreTheSame) {
  Maker m;
  const auto floats = [&](std::vector<int32_t> dims, int kinds) {
    ProgramConstant k;
    k.dtype = PITH_F32;
    k.dims = std::move(dims);
    int64_t n = 1;
    for (int32_t d : k.dims) n *= d;
    for (int64_t i = 0; i < n; ++i) k.reals.push_back(0.1f * static_cast<float>(i / 3 % kinds));
    m.p.constants.push_back(std::move(k));
    return kConstantBase + static_cast<int32_t>(m.p.constants.size() - 1);
  };
  const int32_t x = m.tensor(PITH_F32, {1, 12, 10, 8}), a = m.tensor(PITH_F32, {1, 12, 10, 16}), b = m.tensor(PITH_F32, {1, 12, 10, 16});
  const int32_t y = m.tensor(PITH_F32, {1, 12, 10, 16});
  m.op(PITH_OPCODE_Conv2d, {x, floats({16, 3, 3, 8}, 2), floats({16}, 3)}, {a}, {1, 1, 1, 1, 1, 1, 1, 1, 1});
  m.op(PITH_OPCODE_Conv2d, {a, floats({16, 5, 5, 1}, 2), kNone}, {b}, {1, 1, 1, 1, 2, 2, 2, 2, 16});
  m.op(PITH_OPCODE_Binary, {b, floats({1, 12, 10, 16}, 40)}, {y}, {PITH_BINARY_ADD});
  m.p.inputs = {{"x", x, {0, 1, 2, 3}}};
  m.p.outputs = {{"y", y, {0, 1, 2, 3}}};
  const std::vector<float> input = random_reals(960, -2, 2);
  std::vector<float> expected(1920);
  EXPECT_LT(file_of(m.p).size() * 10, file_of(m.p, CodecChoice::kFastest).size());
  for (const CodecChoice choice : {CodecChoice::kFastest, CodecChoice::kSmallest}) {
    for (const pith_mode mode : {PITH_MODE_FASTEST, PITH_MODE_BALANCED, PITH_MODE_SMALLEST}) {
      Loaded l(file_of(m.p, choice), mode);
      std::vector<float> output(1920);
      ASSERT_EQ(pith_set_input_f32(l.instance, 0, input.data(), input.size()), PITH_OK);
      ASSERT_EQ(pith_run(l.instance), PITH_OK);
      ASSERT_EQ(pith_get_output_f32(l.instance, 0, output.data(), output.size()), PITH_OK);
      if (choice == CodecChoice::kFastest && mode == PITH_MODE_FASTEST) expected = output;
      ASSERT_EQ(output, expected) << "mode " << mode;
    }
  }
}

TEST(Api, SmallestModeTakesLessMemory) {
  const std::vector<uint8_t> file = file_of(network());
  pith_sizes small{}, fast{};
  ASSERT_EQ(pith_probe(file.data(), file.size(), PITH_MODE_SMALLEST, 1, &small), PITH_OK);
  ASSERT_EQ(pith_probe(file.data(), file.size(), PITH_MODE_FASTEST, 1, &fast), PITH_OK);
  EXPECT_LT(small.model_bytes, fast.model_bytes);
  EXPECT_EQ(small.instance_bytes, fast.instance_bytes);
  EXPECT_EQ(small.arena_bytes, static_cast<size_t>(network().arena_bytes));
}

// Three of four blocks of 16 x 16 weights are zero: what pith_probe names is what loading takes, and less.
#ifndef __SANITIZE_ADDRESS__  // whose frames are larger
// What pith.h promises of pith_run, seen on a painted stack.
TEST(Api, RunningTakesLittleStack) {
  for (const pith_mode mode : {PITH_MODE_SMALLEST, PITH_MODE_FASTEST}) {
    Loaded l(file_of(network()), mode);
    constexpr size_t kStack = 1 << 20, kPromised = 96 * 1024;
    std::vector<uint8_t> memory(kStack + 4096, 0xa5);
    uint8_t* stack = reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(memory.data()) + 4095) / 4096 * 4096);
    pthread_attr_t attributes;
    ASSERT_EQ(pthread_attr_init(&attributes), 0);
    ASSERT_EQ(pthread_attr_setstack(&attributes, stack, kStack), 0);
    pthread_t thread;
    const auto run = [](void* instance) -> void* { return pith_run(static_cast<pith_instance*>(instance)) == PITH_OK ? instance : nullptr; };
    ASSERT_EQ(pthread_create(&thread, &attributes, run, l.instance), 0);
    void* result = nullptr;
    ASSERT_EQ(pthread_join(thread, &result), 0);
    EXPECT_EQ(result, l.instance);
    const size_t untouched = static_cast<size_t>(std::find_if(stack, stack + kStack, [](uint8_t b) { return b != 0xa5; }) - stack);
    EXPECT_LE(kStack - untouched, kPromised);
    EXPECT_GT(kStack - untouched, size_t{1024});
  }
}
#endif

TEST(Api, BlocksOfZerosShrinkWhatIsNamed) {
  const auto file = [](bool zeros) {
    Maker m;
    const int32_t x = m.tensor(PITH_U8, {1, 9, 7, 64}, {-96, 7}), y = m.tensor(PITH_U8, {1, 9, 7, 200}, {-40, 100});
    m.op(PITH_OPCODE_Conv2d, {x, m.weights({200, 3, 3, 64}), kNone}, {y}, {1, 1, 1, 1, 1, 1, 1, 1, 1});
    std::vector<int32_t>& w = m.p.constants[0].integers;
    for (size_t i = 0; zeros && i < w.size(); ++i) w[i] = (i / 576 / 16 + i / 16) % 4 == 0 ? w[i] : 0;
    m.p.inputs = {{"x", x, {0, 1, 2, 3}}};
    m.p.outputs = {{"y", y, {0, 1, 2, 3}}};
    return file_of(m.p);
  };
  pith_sizes dense{}, sparse{};
  ASSERT_EQ(pith_probe(file(false).data(), file(false).size(), PITH_MODE_FASTEST, 1, &dense), PITH_OK);
  ASSERT_EQ(pith_probe(file(true).data(), file(true).size(), PITH_MODE_FASTEST, 1, &sparse), PITH_OK);
  EXPECT_LT(sparse.weight_bytes, dense.weight_bytes * 4 / 10);
  const std::vector<float> x = random_reals(9 * 7 * 64, 0, 1);
  std::vector<std::vector<float>> results;
  for (const pith_mode mode : {PITH_MODE_FASTEST, PITH_MODE_SMALLEST}) {
    Loaded l(file(true), mode);
    pith_set_input_f32(l.instance, 0, x.data(), x.size());
    pith_run(l.instance);
    pith_get_output_f32(l.instance, 0, results.emplace_back(9 * 7 * 200).data(), 9 * 7 * 200);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Api, ManyInstancesShareAModel) {
  Loaded l(file_of(network()), PITH_MODE_FASTEST);
  Block other(l.instance_memory->bytes());
  pith_instance* second = nullptr;
  ASSERT_EQ(pith_instance_create(l.model, other.data(), other.bytes(), &second), PITH_OK);
  const std::vector<float> one = random_reals(1080, 0, 1), two = random_reals(1080, 1, 3);
  std::vector<float> y1(11), y2(11), again(11);
  pith_set_input_f32(l.instance, 0, one.data(), one.size());
  pith_set_input_f32(second, 0, two.data(), two.size());
  pith_run(l.instance);
  pith_run(second);
  pith_get_output_f32(l.instance, 0, y1.data(), 11);
  pith_get_output_f32(second, 0, y2.data(), 11);
  EXPECT_NE(y1, y2);
  pith_set_input_f32(second, 0, one.data(), one.size());
  pith_run(second);
  pith_get_output_f32(second, 0, again.data(), 11);
  EXPECT_EQ(y1, again);
}

// y = x + state; the state becomes y.
Program accumulator() {
  Maker m;
  const int32_t x = m.tensor(PITH_F32, {1, 4}), s = m.tensor(PITH_F32, {1, 4}), y = m.tensor(PITH_F32, {1, 4}),
                t = m.tensor(PITH_F32, {1, 4});
  m.op(PITH_OPCODE_Binary, {x, s}, {y}, {PITH_BINARY_ADD});
  m.op(PITH_OPCODE_Unary, {y}, {t}, {static_cast<int32_t>(numerics::Unary::kIdentity)}, {0, 0});
  m.p.inputs = {{"x", x, {0, 1}}};
  m.p.outputs = {{"y", y, {0, 1}}};
  m.p.state = {{s, t}};
  return m.p;
}

// x (4 rows of 32 values) in coded rows of so many bytes, and back.
Program waiting(int32_t row_bytes) {
  Maker m;
  const int32_t x = m.tensor(PITH_U8, {1, 4, 4, 8}), coded = m.tensor(PITH_U8, {1, 4, 1, row_bytes}),
                y = m.tensor(PITH_U8, {1, 4, 4, 8});
  m.op(PITH_OPCODE_EncodeRows, {x}, {coded});
  m.op(PITH_OPCODE_DecodeRows, {coded}, {y});
  m.p.inputs = {{"x", x, {0, 1, 2, 3}}};
  m.p.outputs = {{"y", y, {0, 1, 2, 3}}};
  return m.p;
}

TEST(Api, RowsThatWereStoredCoarserAreCounted) {
  uint8_t x[128], y[128];
  for (int i = 0; i < 128; ++i) x[i] = i < 64 ? 0 : static_cast<uint8_t>(i * 37);  // two rows of zeros, two full ones
  for (const int32_t bytes : {48, 1}) {                                            // all fits; nothing but zeros
    Loaded l(file_of(waiting(bytes)), PITH_MODE_FASTEST);
    uint64_t rows = 9, coarse = 9;
    EXPECT_EQ(pith_stored_rows(l.instance, &rows, &coarse), PITH_OK);
    EXPECT_EQ(rows, 0u);
    for (int run = 0; run < 2; ++run) {
      ASSERT_EQ(pith_set_input_u8(l.instance, 0, x, 128), PITH_OK);
      ASSERT_EQ(pith_run(l.instance), PITH_OK);
    }
    ASSERT_EQ(pith_get_output_u8(l.instance, 0, y, 128), PITH_OK);
    EXPECT_EQ(std::equal(x, x + 128, y), bytes == 48);
    EXPECT_EQ(pith_stored_rows(l.instance, &rows, nullptr), PITH_OK);
    EXPECT_EQ(pith_stored_rows(l.instance, nullptr, &coarse), PITH_OK);
    EXPECT_EQ(rows, 8u);
    EXPECT_EQ(coarse, bytes == 48 ? 0u : 4u);
  }
  EXPECT_EQ(pith_stored_rows(nullptr, nullptr, nullptr), PITH_ERROR_ARGUMENT);
}

TEST(Api, StateIsCarriedAndReset) {
  Loaded l(file_of(accumulator()), PITH_MODE_SMALLEST);
  const float x[4] = {1, 2, 3, 4};
  float y[4];
  for (int run = 1; run <= 3; ++run) {
    pith_set_input_f32(l.instance, 0, x, 4);
    ASSERT_EQ(pith_run(l.instance), PITH_OK);
    ASSERT_EQ(pith_get_output_f32(l.instance, 0, y, 4), PITH_OK);
    EXPECT_EQ(y[3], 4.0f * static_cast<float>(run));
  }
  ASSERT_EQ(pith_reset(l.instance), PITH_OK);
  pith_set_input_f32(l.instance, 0, x, 4);
  pith_run(l.instance);
  pith_get_output_f32(l.instance, 0, y, 4);
  EXPECT_EQ(y[3], 4.0f);
}

TEST(Api, MetadataIsRead) {
  const std::vector<uint8_t> file = file_of(network());
  char text[32];
  size_t length = 0;
  ASSERT_EQ(pith_metadata(file.data(), file.size(), "labels", text, sizeof text, &length), PITH_OK);
  EXPECT_STREQ(text, "cat\ndog\nhorse");
  EXPECT_EQ(length, 13u);
  EXPECT_EQ(pith_metadata(file.data(), file.size(), "labels", nullptr, 0, &length), PITH_ERROR_MEMORY);
  EXPECT_EQ(length, 13u);
  EXPECT_EQ(pith_metadata(file.data(), file.size(), "labels", text, 4, &length), PITH_ERROR_MEMORY);
  EXPECT_STREQ(text, "cat");
  EXPECT_EQ(pith_metadata(file.data(), file.size(), "label", text, sizeof text, &length), PITH_ERROR_NOT_FOUND);
}

TEST(Api, PostProcessingHasItsPlace) {
  Program p = network();
  p.arena_bytes = (p.arena_bytes + 15) / 16 * 16 + 96;
  const int64_t offset = p.arena_bytes - 96;
  p.metadata["post"] = std::to_string(offset) + " 90";
  const std::vector<uint8_t> file = file_of(p);
  const Loaded l(file, PITH_MODE_FASTEST);
  void* memory = nullptr;
  size_t bytes = 0;
  ASSERT_EQ(pith_post_memory(file.data(), file.size(), l.instance, &memory, &bytes), PITH_OK);
  EXPECT_EQ(bytes, 90u);
  pith_tensor y;
  ASSERT_EQ(pith_output(l.instance, 0, &y), PITH_OK);
  EXPECT_EQ(static_cast<const uint8_t*>(memory) - static_cast<const uint8_t*>(y.data), offset - p.tensors[static_cast<size_t>(p.outputs[0].tensor)].offset);
  EXPECT_EQ(pith_post_memory(file.data(), file.size(), nullptr, &memory, &bytes), PITH_ERROR_ARGUMENT);
  for (const char* text : {"", "16", "16 ", "x 3", "16 -3", "8 16", "16 1000000000", "99999999999999999999999 1"}) {
    p.metadata["post"] = text;
    const auto bad = write_unchecked(p, CodecChoice::kFastest);
    ASSERT_TRUE(bad.ok());
    EXPECT_FALSE(check_program(p).ok()) << text;
    EXPECT_NE(pith_post_memory(bad->data(), bad->size(), l.instance, &memory, &bytes), PITH_OK) << text;
  }
  p.metadata.erase("post");
  const std::vector<uint8_t> none = file_of(p);
  EXPECT_EQ(pith_post_memory(none.data(), none.size(), l.instance, &memory, &bytes), PITH_ERROR_NOT_FOUND);
  const ProgramTensor& t = p.tensors[static_cast<size_t>(p.outputs[0].tensor)];
  p.metadata["post"] = std::to_string(t.offset) + " 16";
  EXPECT_FALSE(check_program(p).ok());  // on an output
}

TEST(Api, ObserverSeesEveryOperator) {
  Loaded l(file_of(network()), PITH_MODE_FASTEST);
  std::vector<std::string> seen;
  const auto observe = [](void* context, int32_t, const char* op) {
    static_cast<std::vector<std::string>*>(context)->push_back(op);
  };
  ASSERT_EQ(pith_run_observed(l.instance, observe, &seen), PITH_OK);
  EXPECT_EQ(seen, (std::vector<std::string>{"Conv2d", "Conv2d", "Reduce", "Dense"}));
  EXPECT_EQ(pith_op_count(l.model), 4);
}

TEST(ApiErrors, TellWhatIsWrong) {
  const std::vector<uint8_t> file = file_of(network());
  pith_sizes sizes{};
  ASSERT_EQ(pith_probe(file.data(), file.size(), PITH_MODE_FASTEST, 1, &sizes), PITH_OK);
  Block memory(sizes.model_bytes + 64);
  pith_model* model = nullptr;
  EXPECT_EQ(pith_load(file.data(), file.size(), PITH_MODE_FASTEST, 1, memory.data(), sizes.model_bytes - 1, &model),
            PITH_ERROR_MEMORY);
  EXPECT_EQ(pith_last_error().needed, sizes.model_bytes);
  EXPECT_EQ(model, nullptr);
  EXPECT_EQ(pith_load(file.data(), file.size(), PITH_MODE_FASTEST, 1, memory.data() + 8, sizes.model_bytes, &model),
            PITH_ERROR_ALIGNMENT);
  EXPECT_EQ(pith_load(file.data(), file.size(), PITH_MODE_FASTEST, 0, memory.data(), sizes.model_bytes, &model),
            PITH_ERROR_ARGUMENT);
  EXPECT_EQ(pith_load(nullptr, 0, PITH_MODE_FASTEST, 1, memory.data(), sizes.model_bytes, &model), PITH_ERROR_ARGUMENT);
  ASSERT_EQ(pith_load(file.data(), file.size(), PITH_MODE_FASTEST, 1, memory.data(), sizes.model_bytes, &model),
            PITH_OK);
  Block arena(sizes.instance_bytes + 64);
  pith_instance* instance = nullptr;
  EXPECT_EQ(pith_instance_create(model, arena.data(), sizes.instance_bytes - 1, &instance), PITH_ERROR_MEMORY);
  EXPECT_EQ(pith_instance_create(model, arena.data() + 4, sizes.instance_bytes, &instance), PITH_ERROR_ALIGNMENT);
  ASSERT_EQ(pith_instance_create(model, arena.data(), sizes.instance_bytes, &instance), PITH_OK);
  std::vector<float> image(1080);
  EXPECT_EQ(pith_set_input_f32(instance, 1, image.data(), 1080), PITH_ERROR_ARGUMENT);
  EXPECT_EQ(pith_set_input_f32(instance, 0, image.data(), 1079), PITH_ERROR_ARGUMENT);
  std::vector<int32_t> integers(1080);
  EXPECT_EQ(pith_set_input_i32(instance, 0, integers.data(), 1080), PITH_ERROR_TYPE);
  EXPECT_EQ(pith_run(nullptr), PITH_ERROR_ARGUMENT);
  for (int s = PITH_OK; s <= PITH_ERROR_NOT_FOUND; ++s)
    EXPECT_GT(std::strlen(pith_status_text(static_cast<pith_status>(s))), 5u);
}

TEST(ApiErrors, DamagedFilesAreRefused) {
  const std::vector<uint8_t> file = file_of(network());
  pith_sizes sizes{};
  for (size_t n = 0; n < file.size(); n += 3) {
    EXPECT_NE(pith_probe(file.data(), n, PITH_MODE_FASTEST, 1, &sizes), PITH_OK) << n;
  }
  for (size_t i = 0; i < file.size(); i += 7) {
    std::vector<uint8_t> damaged = file;
    damaged[i] ^= 0x21;
    EXPECT_NE(pith_probe(damaged.data(), damaged.size(), PITH_MODE_FASTEST, 1, &sizes), PITH_OK) << i;
  }
  EXPECT_EQ(pith_probe("hello world", 11, PITH_MODE_FASTEST, 1, &sizes), PITH_ERROR_NOT_PITH);
}

TEST(ApiErrors, UnsupportedOperatorsAreNamed) {
  Maker m;
  const int32_t x = m.tensor(PITH_U8, {1, 4}, {-60, 3}), y = m.tensor(PITH_U8, {1, 4}, {-60, 3});
  m.op(PITH_OPCODE_Softmax, {x}, {y}, {0, 1});
  m.p.inputs = {{"x", x, {0, 1}}};
  m.p.outputs = {{"y", y, {0, 1}}};
  const std::vector<uint8_t> file = file_of(m.p);
  pith_sizes sizes{};
  ASSERT_EQ(pith_probe(file.data(), file.size(), PITH_MODE_FASTEST, 1, &sizes), PITH_ERROR_UNSUPPORTED);
  const pith_error e = pith_last_error();
  EXPECT_EQ(e.op_index, 0);
  EXPECT_STREQ(e.op, "Softmax");
  EXPECT_GT(std::strlen(e.reason), 10u);
}

// Files with a right checksum whose contents are wrong: whatever is read must be refused or run without harm.
TEST(ApiErrors, HostileFilesDoNoHarm) {
  const std::vector<uint8_t> file = file_of(network());
  Random random(seed());
  for (int i = 0; i < 3000; ++i) {
    std::vector<uint8_t> hostile = file;
    for (int64_t k = random.integer(1, 4); k > 0; --k) {
      hostile[static_cast<size_t>(random.integer(2, static_cast<int64_t>(file.size()) - 5))] =
          static_cast<uint8_t>(random.integer(0, 255));
    }
    uint32_t crc = 0xffffffffu;
    for (size_t k = 0; k + 4 < hostile.size(); ++k) {
      crc ^= hostile[k];
      for (int b = 0; b < 8; ++b) crc = crc >> 1 ^ (0xedb88320u & (0u - (crc & 1)));
    }
    for (int b = 0; b < 4; ++b)
      hostile[hostile.size() - 4 + static_cast<size_t>(b)] = static_cast<uint8_t>(~crc >> (8 * b));
    pith_sizes sizes{};
    const pith_mode mode = i % 2 == 0 ? PITH_MODE_FASTEST : PITH_MODE_SMALLEST;
    if (pith_probe(hostile.data(), hostile.size(), mode, 1, &sizes) != PITH_OK) continue;
    if (sizes.model_bytes > (64u << 20) || sizes.instance_bytes > (64u << 20)) continue;
    Block memory(sizes.model_bytes), arena(sizes.instance_bytes);
    pith_model* model = nullptr;
    pith_instance* instance = nullptr;
    if (pith_load(hostile.data(), hostile.size(), mode, 1, memory.data(), sizes.model_bytes, &model) != PITH_OK)
      continue;
    ASSERT_EQ(pith_instance_create(model, arena.data(), sizes.instance_bytes, &instance), PITH_OK);
    EXPECT_EQ(pith_run(instance), PITH_OK);
  }
}

}  // namespace
}  // namespace pith
