// Networks that share one arena, run in any order: each gives what it gives alone, and state survives the others' runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
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

constexpr size_t kArena = 64;

struct Free {
  void operator()(void* p) const { std::free(p); }
};
using Memory = std::unique_ptr<void, Free>;
Memory memory(size_t bytes) { return Memory(std::aligned_alloc(64, (bytes + 63) / 64 * 64)); }

ValueId add_input(Graph& g, const std::string& name, ir::Shape shape) {
  ir::Value v;
  v.name = name;
  v.shape = std::move(shape);
  g.inputs.push_back(g.add_value(std::move(v)));
  return g.inputs.back();
}
ValueId add_constant(Graph& g, Random& random, ir::Shape shape) {
  Tensor t(ir::DType::kF32, std::move(shape));
  for (float& x : t.mut<float>()) x = static_cast<float>(random.normal() * 0.4);
  return g.add_constant("constant" + std::to_string(g.values.size()), t);
}

// Some convolutions; with `state`, what they make is halved and added to the next run's.
Graph network(uint64_t seed, int64_t size, bool state) {
  Random random(seed);
  Graph g;
  ValueId x = add_input(g, "x", {1, 2, size, size});
  for (int layer = 0; layer < 3; ++layer) x = ir::append_node(g, Op::kConv, {x, add_constant(g, random, {6, layer == 0 ? 2 : 6, 3, 3}), add_constant(g, random, {6})}, {{"pads", std::vector<int64_t>{1, 1, 1, 1}}});
  if (state) {
    const ValueId s = add_input(g, "s", {1, 6, size, size});
    const ValueId half = ir::append_node(g, Op::kMul, {s, add_constant(g, random, {1})});
    x = ir::append_node(g, Op::kTanh, {ir::append_node(g, Op::kAdd, {x, half})});
    g.state.emplace_back(s, x);
  }
  g.outputs = {ir::append_node(g, Op::kConv, {x, add_constant(g, random, {3, 6, 1, 1}), add_constant(g, random, {3})})};
  if (state) g.outputs.push_back(x);
  return g;
}

struct Loaded {
  std::vector<uint8_t> file;
  Memory model_memory, alone_memory, shared_memory;
  pith_model* model = nullptr;
  pith_instance *alone = nullptr, *shared = nullptr;
  pith_sizes sizes{};
};

std::vector<float> run(pith_instance* instance, const std::vector<float>& x) {
  EXPECT_EQ(pith_set_input_f32(instance, 0, x.data(), x.size()), PITH_OK) << pith_last_error().reason;
  EXPECT_EQ(pith_run(instance), PITH_OK);
  pith_tensor t;
  pith_output(instance, 0, &t);
  std::vector<float> y(t.count);
  EXPECT_EQ(pith_get_output_f32(instance, 0, y.data(), y.size()), PITH_OK);
  return y;
}

TEST(SharedArena, NetworksDoNotDisturbEachOther) {
  const int64_t sizes[] = {24, 10, 16};
  std::vector<Program> programs;
  int64_t state = 0, largest = 0, arena_bytes = 0;
  for (uint64_t i = 0; i < 3; ++i) {
    auto p = compile(network(i + 1, sizes[i], i > 0), {});
    ASSERT_TRUE(p.ok()) << p.error().message;
    largest = std::max(largest, p->arena_bytes);
    state += state_bytes(*p);
    programs.push_back(std::move(*p));
  }
  EXPECT_EQ(state, 6 * 4 * (10 * 10 + 16 * 16));
  CompileOptions options;
  options.state_bytes = state;
  for (Program& p : programs) {
    auto placed = place(p, options);
    ASSERT_TRUE(placed.ok()) << placed.error().message;
    options.state_base += state_bytes(*placed);
    p = std::move(*placed);
    arena_bytes = std::max(arena_bytes, p.arena_bytes);
  }
  EXPECT_LE(arena_bytes, largest + state);
  const Memory arena = memory(static_cast<size_t>(arena_bytes) + PITH_ARENA_BEYOND + 64);
  uint8_t* end = static_cast<uint8_t*>(arena.get()) + arena_bytes;
  std::memset(arena.get(), 0xa5, static_cast<size_t>(arena_bytes) + PITH_ARENA_BEYOND + 64);
  std::vector<Loaded> all(3);
  for (size_t i = 0; i < 3; ++i) {
    Loaded& n = all[i];
    auto file = write_program(programs[i], CodecChoice::kFastest);
    ASSERT_TRUE(file.ok());
    n.file = std::move(*file);
    ASSERT_EQ(pith_probe(n.file.data(), n.file.size(), PITH_MODE_FASTEST, 1, &n.sizes), PITH_OK);
    n.model_memory = memory(n.sizes.model_bytes);
    n.alone_memory = memory(n.sizes.instance_bytes);
    ASSERT_EQ(pith_load(n.file.data(), n.file.size(), PITH_MODE_FASTEST, 1, n.model_memory.get(), n.sizes.model_bytes, &n.model), PITH_OK);
    ASSERT_EQ(pith_instance_create(n.model, n.alone_memory.get(), n.sizes.instance_bytes, &n.alone), PITH_OK);
    n.shared_memory = memory(pith_shared_bytes(n.model));
    EXPECT_LT(pith_shared_bytes(n.model), 1000u) << "no arena of its own";
    ASSERT_EQ(pith_instance_create_shared(n.model, n.shared_memory.get(), pith_shared_bytes(n.model), arena.get(), static_cast<size_t>(arena_bytes) + PITH_ARENA_BEYOND, &n.shared), PITH_OK) << pith_last_error().reason;
  }
  Random random(3);
  for (int turn = 0; turn < 30; ++turn) {
    const size_t i = static_cast<size_t>(random.integer(0, 2));
    std::vector<float> x(static_cast<size_t>(2 * sizes[i] * sizes[i]));
    for (float& v : x) v = static_cast<float>(random.normal());
    ASSERT_EQ(run(all[i].shared, x), run(all[i].alone, x)) << "network " << i << " in turn " << turn;
  }
  EXPECT_TRUE(std::all_of(end, end + PITH_ARENA_BEYOND + 64, [](uint8_t b) { return b == 0xa5; })) << "written beyond the arena";
  ASSERT_EQ(pith_reset(all[1].shared), PITH_OK);
  ASSERT_EQ(pith_reset(all[1].alone), PITH_OK);
  const std::vector<float> x(static_cast<size_t>(2 * sizes[1] * sizes[1]), 0.5f);
  EXPECT_EQ(run(all[1].shared, x), run(all[1].alone, x));

  // what must fail
  pith_instance* none = nullptr;
  EXPECT_EQ(pith_instance_create_shared(all[0].model, all[0].shared_memory.get(), pith_shared_bytes(all[0].model), arena.get(), 100, &none), PITH_ERROR_MEMORY);
  EXPECT_EQ(pith_last_error().needed, all[0].sizes.arena_bytes + PITH_ARENA_BEYOND);
  EXPECT_EQ(pith_instance_create_shared(all[0].model, all[0].shared_memory.get(), 8, arena.get(), kArena << 20, &none), PITH_ERROR_MEMORY);
  EXPECT_EQ(pith_instance_create_shared(all[0].model, all[0].shared_memory.get(), 1 << 20, end - 8, kArena << 20, &none), PITH_ERROR_ALIGNMENT);
  EXPECT_EQ(none, nullptr);
}

}  // namespace
}  // namespace pith
