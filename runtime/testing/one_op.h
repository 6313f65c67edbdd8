// A one-operator model in memory for tests: operands at painted places in an arena, run on any instruction set, mode
// and number of threads, with proof that nothing else was written.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "program/schema.h"
#include "runtime/execute.h"
#include "runtime/ops/ops.h"

namespace pith::runtime::testing {

// Randomness that PITH_SEED replays.
class Seeded {
 public:
  Seeded() : state_(first_seed()) {}
  explicit Seeded(uint64_t seed) : state_(seed) {}
  static uint64_t first_seed() {
    const char* text = std::getenv("PITH_SEED");
    return text != nullptr ? std::strtoull(text, nullptr, 10) : 1;
  }
  uint64_t next() {
    state_ = state_ * 6364136223846793005ull + 1442695040888963407ull;
    return state_ >> 24;
  }
  int integer(int low, int high) { return low + static_cast<int>(next() % static_cast<uint64_t>(high - low + 1)); }
  float real(float low, float high) { return low + (high - low) * static_cast<float>(next() & 0xffffff) / 16777216.0f; }
  bool chance(int percent) { return integer(0, 99) < percent; }
  uint64_t state() const { return state_; }

 private:
  uint64_t state_;
};

struct Bytes {  // of one operand
  std::vector<uint8_t> data;
  template <typename T>
  T* as() {
    return reinterpret_cast<T*>(data.data());
  }
  template <typename T>
  const T* as() const {
    return reinterpret_cast<const T*>(data.data());
  }
};

class OneOp {
 public:
  OneOp(int opcode, std::vector<int32_t> ints, std::vector<float> reals)
      : ints_(std::move(ints)), reals_(std::move(reals)) {
    op_.opcode = static_cast<uint8_t>(opcode);
  }

  // Operands in the order of opcodes.inc. `values` hold the operand's elements.
  Tensor* input(int dtype, const std::vector<int32_t>& dims, numerics::Affine affine, const void* values) {
    Tensor* t = place(dtype, dims, affine);
    inputs_.push_back(t);
    inits_.push_back({t, std::vector<uint8_t>(static_cast<const uint8_t*>(values),
                                              static_cast<const uint8_t*>(values) + t->bytes())});
    return t;
  }
  Tensor* constant(int dtype, const std::vector<int32_t>& dims, const void* values,
                   const std::vector<int16_t>& scales = {}, numerics::Affine affine = {}) {
    Tensor* t = make(dtype, dims, affine);
    auto copy = std::make_unique<std::vector<uint8_t>>(static_cast<const uint8_t*>(values),
                                                       static_cast<const uint8_t*>(values) + t->bytes());
    copy->resize(copy->size() + PITH_OVERREAD);
    scales_.push_back(std::make_unique<std::vector<int16_t>>(scales));
    t->values = copy->data();
    t->scale_codes = scales_.back()->data();
    t->row_scales = scales.size() > 1;
    constants_.push_back(std::move(copy));
    inputs_.push_back(t);
    return t;
  }
  void absent_input() { inputs_.push_back(nullptr); }
  Tensor* output(int dtype, const std::vector<int32_t>& dims, numerics::Affine affine) {
    Tensor* t = place(dtype, dims, affine);
    outputs_.push_back(t);
    return t;
  }
  void absent_output() { outputs_.push_back(nullptr); }
  void activation(numerics::Unary f, float a, float b, numerics::Affine pre) {
    op_.activation = f, op_.a = a, op_.b = b, op_.pre = pre;
  }

  // Prepares and runs; returns the reason where the operator is refused. Outputs are read with `result`.
  std::string run(Isa isa, pith_mode mode, int threads) {
    model_ = Model{};
    model_.kernels = &kernels_of(isa);
    model_.isa = isa;
    model_.mode = mode;
    model_.threads = threads;
    model_.ops = &op_;
    model_.op_count = 1;
    op_.inputs = inputs_.data();
    op_.outputs = outputs_.data();
    op_.ints = ints_.data();
    op_.reals = reals_.data();
    op_.scratch_offset = (end_ + 63) / 64 * 64;
    model_.arena_bytes = int64_t{1} << 40;
    std::vector<Tensor> before;  // constants may change when they are decoded
    for (auto& t : tensors_) before.push_back(*t);
    int32_t index = 0;
    Memory count;
    if (const char* reason = prepare(count, model_, &index)) return reason;
    for (size_t i = 0; i < tensors_.size(); ++i) *tensors_[i] = before[i];
    model_.arena_bytes = op_.scratch_offset + op_.scratch_bytes;
    prepared_.assign(count.peak() + 64, 0x5a);
    uint8_t* base = aligned(prepared_);
    Memory memory(base, count.peak());
    if (const char* reason = prepare(memory, model_, &index)) return reason;
    EXPECT_FALSE(memory.full());
    EXPECT_EQ(memory.peak(), count.peak());
    block_.assign(static_cast<size_t>(instance_bytes(model_)) + 64, 0);
    instance_ = make_instance(model_, aligned(block_));
    instance_->threads = {parallel_for, this, threads};
    paint();
    execute(*instance_, nullptr, nullptr);
    check_paint();
    for (size_t i = 0; i < tensors_.size(); ++i) *tensors_[i] = before[i];
    return "";
  }

  size_t prepared_bytes() const { return prepared_.size(); }  // by the last run

  template <typename T>
  std::vector<T> result(int index) const {
    const Tensor* t = outputs_[static_cast<size_t>(index)];
    std::vector<T> values(static_cast<size_t>(t->count()));
    std::memcpy(values.data(), instance_->arena + t->offset, values.size() * sizeof(T));
    return values;
  }

 private:
  static constexpr uint8_t kPaint = 0xa7;

  static uint8_t* aligned(std::vector<uint8_t>& v) {
    return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(v.data()) + 63) / 64 * 64);
  }
  Tensor* make(int dtype, const std::vector<int32_t>& dims, numerics::Affine affine) {
    auto t = std::make_unique<Tensor>();
    t->dtype = static_cast<uint8_t>(dtype);
    t->rank = static_cast<uint8_t>(dims.size());
    t->affine = affine;
    for (size_t i = 0; i < dims.size(); ++i) t->dims[i] = dims[i];
    tensors_.push_back(std::move(t));
    return tensors_.back().get();
  }
  Tensor* place(int dtype, const std::vector<int32_t>& dims, numerics::Affine affine) {
    Tensor* t = make(dtype, dims, affine);
    end_ += 48;  // a gap that must stay painted
    t->offset = end_;
    end_ = (end_ + t->bytes() + 15) / 16 * 16;
    return t;
  }
  // Runs the tasks in reverse order: no result may depend on it.
  static void parallel_for(void*, int32_t count, void (*task)(void*, int32_t), void* context) {
    for (int32_t i = count - 1; i >= 0; --i) task(context, i);
  }
  void paint() {
    std::memset(instance_->arena, kPaint, static_cast<size_t>(model_.arena_bytes) + PITH_OVERREAD);
    for (const auto& [t, values] : inits_) std::memcpy(instance_->arena + t->offset, values.data(), values.size());
  }
  void check_paint() {
    std::vector<uint8_t> expected(static_cast<size_t>(model_.arena_bytes) + PITH_OVERREAD, kPaint);
    for (const auto& [t, values] : inits_) std::memcpy(expected.data() + t->offset, values.data(), values.size());
    const auto exempt = [&](int64_t from, int64_t bytes) {
      std::memcpy(expected.data() + from, instance_->arena + from, static_cast<size_t>(bytes));
    };
    for (const Tensor* t : outputs_) {
      if (t != nullptr) exempt(t->offset, t->bytes());
    }
    exempt(op_.scratch_offset, op_.scratch_bytes);
    for (size_t i = 0; i < expected.size(); ++i) {
      ASSERT_EQ(int{instance_->arena[i]}, int{expected[i]})
          << "byte " << i << " of the arena was written, scratch at " << op_.scratch_offset << "+" << op_.scratch_bytes;
    }
  }

  struct Init {
    Tensor* tensor;
    std::vector<uint8_t> values;
  };
  Op op_;
  Model model_;
  Instance* instance_ = nullptr;
  std::vector<int32_t> ints_;
  std::vector<float> reals_;
  std::vector<std::unique_ptr<Tensor>> tensors_;
  std::vector<std::unique_ptr<std::vector<uint8_t>>> constants_;
  std::vector<std::unique_ptr<std::vector<int16_t>>> scales_;
  std::vector<Tensor*> inputs_, outputs_;
  std::vector<Init> inits_;
  std::vector<uint8_t> prepared_, block_;
  int64_t end_ = 0;
};

inline std::vector<Isa> available_isas() {
  std::vector<Isa> found;
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_available(static_cast<Isa>(i))) found.push_back(static_cast<Isa>(i));
  }
  return found;
}

}  // namespace pith::runtime::testing
