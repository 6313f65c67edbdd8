// State that is renewed where it stands: a window of past values of which one slot is written in each run, as decoders keep
// their keys. The runtime against plain loops, and the places that the compiler chose.
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>

#include "base/random.h"
#include "compile/compile.h"
#include "ir/test_graph.h"
#include "pith/pith.h"

namespace pith {
namespace {

using ir::Graph;
using ir::Op;
using ir::Tensor;
using ir::ValueId;

constexpr int64_t kHeads = 2, kSlots = 5, kDepth = 3;

struct Window {
  Graph graph;
  ValueId past, next;
};

// Slot `position` of the window becomes x. With `compares`, the output is what has changed, so the past is read again.
Window window(bool compares) {
  Window w;
  Graph& g = w.graph;
  const auto input = [&](const char* name, ir::DType type, ir::Shape shape) {
    ir::Value v;
    v.name = name, v.dtype = type, v.shape = std::move(shape);
    g.inputs.push_back(g.add_value(std::move(v)));
    return g.inputs.back();
  };
  const ValueId x = input("x", ir::DType::kF32, {1, kHeads, 1, kDepth}), position = input("position", ir::DType::kI64, {1});
  w.past = input("past", ir::DType::kF32, {1, kHeads, kSlots, kDepth});
  std::vector<int64_t> slots(kSlots);
  for (size_t i = 0; i < slots.size(); ++i) slots[i] = static_cast<int64_t>(i);
  const ValueId mask = ir::append_node(g, Op::kEqual, {g.add_constant("slots", Tensor::i64({1, 1, kSlots, 1}, slots)), position});
  w.next = ir::append_node(g, Op::kWhere, {mask, x, w.past});
  g.state.emplace_back(w.past, w.next);
  g.outputs = {ir::append_node(g, Op::kSub, {w.next, compares ? w.past : g.add_constant("two", Tensor::f32({1}, {2}))}), w.next};
  return w;
}

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;
Memory memory(size_t bytes) { return Memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64)); }

void expect_window(bool compares) {
  const Window w = window(compares);
  auto program = compile(w.graph, {});
  ASSERT_TRUE(program.ok()) << program.error().message;
  ASSERT_EQ(program->state.size(), 1u);
  const auto [in, out] = program->state[0];
  EXPECT_EQ(program->tensors[static_cast<size_t>(in)].offset == program->tensors[static_cast<size_t>(out)].offset, !compares);
  auto file = write_program(*program, CodecChoice::kFastest);
  ASSERT_TRUE(file.ok());
  pith_sizes sizes{};
  ASSERT_EQ(pith_probe(file->data(), file->size(), PITH_MODE_FASTEST, 1, &sizes), PITH_OK) << pith_last_error().reason;
  const Memory model_memory = memory(sizes.model_bytes), instance_memory = memory(sizes.instance_bytes);
  pith_model* model = nullptr;
  pith_instance* instance = nullptr;
  ASSERT_EQ(pith_load(file->data(), file->size(), PITH_MODE_FASTEST, 1, model_memory.get(), sizes.model_bytes, &model), PITH_OK) << pith_last_error().reason;
  ASSERT_EQ(pith_instance_create(model, instance_memory.get(), sizes.instance_bytes, &instance), PITH_OK);
  Random random(1);
  std::vector<float> past(kHeads * kSlots * kDepth, 0), y(past.size()), x(kHeads * kDepth);
  for (int turn = 0; turn < 40; ++turn) {
    if (turn == 25) {
      ASSERT_EQ(pith_reset(instance), PITH_OK);
      std::fill(past.begin(), past.end(), 0.0f);
    }
    const int32_t position = static_cast<int32_t>(random.integer(0, kSlots));  // one beyond: nothing is written
    for (float& v : x) v = static_cast<float>(random.normal());
    std::vector<float> next = past, expected(past.size());
    for (int64_t h = 0; h < kHeads && position < kSlots; ++h) std::copy_n(x.begin() + h * kDepth, kDepth, next.begin() + (h * kSlots + position) * kDepth);
    for (size_t i = 0; i < next.size(); ++i) expected[i] = next[i] - (compares ? past[i] : 2);
    pith_tensor at;
    ASSERT_EQ(pith_set_input_f32(instance, 0, x.data(), x.size()), PITH_OK);
    ASSERT_EQ(pith_input(instance, 1, &at), PITH_OK);
    *static_cast<int32_t*>(at.data) = position;
    ASSERT_EQ(pith_run(instance), PITH_OK);
    ASSERT_EQ(pith_get_output_f32(instance, 0, y.data(), y.size()), PITH_OK);
    ASSERT_EQ(y, expected) << "turn " << turn;
    past = next;
  }
}

TEST(StatePlace, RenewedInPlace) { expect_window(false); }
TEST(StatePlace, CopiedWhereThePastIsReadLater) { expect_window(true); }

}  // namespace
}  // namespace pith
