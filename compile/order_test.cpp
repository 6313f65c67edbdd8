// Orders against all permutations of small random programs.
#include "compile/order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <numeric>

#include "base/random.h"

namespace pith {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

ProgramTensor tensor(int64_t bytes) {
  ProgramTensor t;
  t.dims = {static_cast<int32_t>(bytes)};
  return t;
}

ProgramOp op(int opcode, std::vector<int32_t> inputs, int32_t output) {
  ProgramOp o;
  o.opcode = opcode;
  o.inputs = std::move(inputs);
  o.outputs = {output};
  return o;
}

// Operators that join one or two earlier tensors; what nobody reads is an output.
Program random_program(Random& random, int ops) {
  Program p;
  p.tensors.push_back(tensor(random.integer(1, 40)));
  p.inputs.push_back({"x", 0, {0}});
  for (int i = 0; i < ops; ++i) {
    const int32_t newest = static_cast<int32_t>(p.tensors.size()) - 1;
    const int32_t a = static_cast<int32_t>(random.integer(0, newest)), b = static_cast<int32_t>(random.integer(0, newest));
    p.tensors.push_back(tensor(random.integer(1, 40)));
    const bool both = random.integer(0, 2) == 0;
    p.ops.push_back(both ? op(PITH_OPCODE_Binary, {a, b}, newest + 1) : op(PITH_OPCODE_Convert, {a}, newest + 1));
  }
  for (int32_t t = 1; t < static_cast<int32_t>(p.tensors.size()); ++t) {
    const bool read = std::any_of(p.ops.begin(), p.ops.end(), [&](const ProgramOp& o) { return std::count(o.inputs.begin(), o.inputs.end(), t) > 0; });
    if (!read) p.outputs.push_back({"y" + std::to_string(t), t, {0}});
  }
  return p;
}

bool possible(const Program& p, const std::vector<size_t>& order) {
  std::vector<char> made(p.tensors.size(), 0);
  made[0] = 1;
  for (size_t i : order) {
    for (int32_t id : p.ops[i].inputs)
      if (!made[static_cast<size_t>(id)]) return false;
    made[static_cast<size_t>(p.ops[i].outputs[0])] = 1;
  }
  return true;
}

Order of(Program p, const std::vector<size_t>& ops) {
  Order order;
  order.ops = ops;
  apply_order(p, order);
  return given_order(p);
}

TEST(Order, NoPermutationIsBetter) {
  Random random(seed());
  int improved = 0;
  for (int trial = 0; trial < 60; ++trial) {
    SCOPED_TRACE("PITH_SEED=" + std::to_string(seed()) + " trial " + std::to_string(trial));
    const Program p = random_program(random, static_cast<int>(random.integer(1, 7)));
    const Order best = best_order(p), given = given_order(p);
    ASSERT_TRUE(best.exact);
    ASSERT_TRUE(possible(p, best.ops));
    const Order again = of(p, best.ops);
    EXPECT_EQ(again.peak, best.peak);
    EXPECT_EQ(again.area, best.area);
    improved += best.peak < given.peak;
    std::vector<size_t> order(p.ops.size());
    std::iota(order.begin(), order.end(), 0);
    do {
      if (!possible(p, order)) continue;
      const Order other = of(p, order);
      ASSERT_FALSE(other.peak < best.peak || (other.peak == best.peak && other.area < best.area));
    } while (std::next_permutation(order.begin(), order.end()));
  }
  EXPECT_GE(improved, 5);
}

TEST(Order, ABeamGivesAPossibleOrderThatIsNoWorse) {
  Random random(seed() + 1);
  for (int trial = 0; trial < 20; ++trial) {
    const Program p = random_program(random, 40);
    const Order best = best_order(p, {.width = 8}), given = given_order(p);
    EXPECT_TRUE(possible(p, best.ops));
    EXPECT_LE(best.peak, given.peak);
  }
}

// Copies into parts of one tensor may change places; what clears it comes first, who reads it last.
TEST(Order, KeepsWritersOfOneTensorBeforeItsReaders) {
  Program p;
  for (int64_t bytes : {8, 100, 100, 16, 16}) p.tensors.push_back(tensor(bytes));
  p.inputs.push_back({"x", 0, {0}});
  p.outputs.push_back({"y", 4, {0}});
  p.ops = {op(PITH_OPCODE_Convert, {0}, 1), op(PITH_OPCODE_Convert, {0}, 2), op(PITH_OPCODE_Fill, {}, 3),
           op(PITH_OPCODE_Copy, {1}, 3), op(PITH_OPCODE_Copy, {2}, 3), op(PITH_OPCODE_Convert, {3}, 4)};
  const Order best = best_order(p);
  EXPECT_EQ(given_order(p).peak, 216);
  EXPECT_EQ(best.peak, 124);  // one branch after the other
  const auto at = [&](size_t o) { return std::find(best.ops.begin(), best.ops.end(), o) - best.ops.begin(); };
  EXPECT_LT(at(2), std::min(at(3), at(4)));
  EXPECT_EQ(at(5), 5);
}

TEST(Order, PortsByRowsWeighNothing) {
  Program p;
  for (int i = 0; i < 2; ++i) {
    ProgramTensor t;
    t.dims = {1, 8, 8, 4};
    p.tensors.push_back(t);
  }
  p.inputs.push_back({"x", 0, {0, 1, 2, 3}});
  p.outputs.push_back({"y", 1, {0, 1, 2, 3}});
  p.ops = {op(PITH_OPCODE_Convert, {0}, 1)};
  EXPECT_EQ(given_order(p).peak, 512);
  EXPECT_EQ(given_order(p, {.row_ports = true}).peak, 0);
}

}  // namespace
}  // namespace pith
