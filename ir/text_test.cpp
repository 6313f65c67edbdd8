#include "ir/test_graph.h"

namespace pith::ir {
namespace {

void expect_equal(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.dtype(), b.dtype());
  ASSERT_EQ(a.shape(), b.shape());
  EXPECT_EQ(std::memcmp(a.bytes(), b.bytes(), a.byte_count()), 0);
}

void expect_equal(const Graph& a, const Graph& b) {
  EXPECT_EQ(a.name, b.name);
  EXPECT_EQ(a.metadata, b.metadata);
  EXPECT_EQ(a.inputs, b.inputs);
  EXPECT_EQ(a.outputs, b.outputs);
  EXPECT_EQ(a.state, b.state);
  ASSERT_EQ(a.values.size(), b.values.size());
  for (size_t i = 0; i < a.values.size(); ++i) {
    const Value &x = a.values[i], &y = b.values[i];
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.dtype, y.dtype);
    EXPECT_EQ(x.shape, y.shape);
    EXPECT_EQ(x.quant, y.quant);
    ASSERT_EQ(x.is_constant(), y.is_constant());
    if (x.is_constant()) expect_equal(*x.constant, *y.constant);
  }
  ASSERT_EQ(a.nodes.size(), b.nodes.size());
  for (size_t i = 0; i < a.nodes.size(); ++i) {
    const Node &x = a.nodes[i], &y = b.nodes[i];
    EXPECT_EQ(x.op, y.op);
    EXPECT_EQ(x.name, y.name);
    EXPECT_EQ(x.inputs, y.inputs);
    EXPECT_EQ(x.outputs, y.outputs);
    EXPECT_EQ(x.attributes, y.attributes);
    EXPECT_EQ(x.activation, y.activation);
  }
}

std::string random_name(Random& random) {
  std::string name;
  for (int64_t n = random.integer(0, 6); n > 0; --n) name += static_cast<char>(random.integer(1, 126));
  return name;
}

Tensor random_tensor(Random& random) {
  const auto type = static_cast<DType>(random.integer(0, 5));
  Shape shape;
  for (int64_t rank = random.integer(0, 3); rank > 0; --rank) shape.push_back(random.integer(0, 6));
  Tensor t(type, shape);
  for (int64_t i = 0; i < t.count(); ++i) {
    if (type == DType::kF32)
      t.mut<float>()[static_cast<size_t>(i)] =
          static_cast<float>(random.normal() * std::pow(10, random.integer(-20, 20)));
    if (type == DType::kI64) t.mut<int64_t>()[static_cast<size_t>(i)] = static_cast<int64_t>(random.next());
    if (type != DType::kF32 && type != DType::kI64) t.set(i, static_cast<double>(random.integer(-300, 300)));
  }
  return t;
}

Attribute random_attribute(Random& random) {
  const double real = random.normal() * std::pow(10, random.integer(-20, 20));
  switch (random.integer(0, 5)) {
    case 0:
      return static_cast<int64_t>(random.next());
    case 1:
      return random.integer(0, 1) == 0 ? real : std::floor(real);
    case 2:
      return random_name(random);
    case 3:
      return Ints{static_cast<int64_t>(random.next()), -1};
    case 4:
      return std::vector<double>{real, -std::numeric_limits<double>::infinity(), 3};
    default:
      return random.integer(0, 1) == 0 ? Attribute(Ints{}) : Attribute(std::vector<double>{});
  }
}

// Not a graph that would run: the text form keeps whatever it is given.
Graph random_graph(Random& random) {
  Graph g;
  g.name = random_name(random);
  g.metadata[random_name(random)] = random_name(random) + "\nsecond line \"quoted\" \\ end";
  for (int i = 0; i < 12; ++i) {
    Value v;
    v.name = random_name(random);
    if (random.integer(0, 1) == 0) {
      v.constant = random_tensor(random);
      v.shape = v.constant->shape();
      v.dtype = random.integer(0, 1) == 0 ? v.constant->dtype() : DType::kF32;
    } else {
      v.dtype = static_cast<DType>(random.integer(0, 5));
      v.shape = {random.integer(0, 1000), 3};
    }
    if (random.integer(0, 2) == 0) {
      v.quant =
          Quant{static_cast<int>(random.integer(2, 8)), {static_cast<int16_t>(random.integer(-1000, 1000)), 7}, 1, {}};
      for (int64_t n = random.integer(0, 3); n > 0; --n)
        v.quant->scale_codes.push_back(static_cast<int16_t>(random.integer(-1000, 1000)));
    }
    g.add_value(v);
  }
  for (int i = 0; i < 8; ++i) {
    Node n;
    n.op = static_cast<Op>(random.integer(0, kOpCount - 1));
    n.name = random_name(random);
    for (int64_t k = random.integer(0, 3); k > 0; --k) n.inputs.push_back(static_cast<ValueId>(random.integer(-1, 11)));
    for (int64_t k = random.integer(1, 3); k > 0; --k)
      n.outputs.push_back(static_cast<ValueId>(random.integer(-1, 11)));
    for (int64_t k = random.integer(0, 3); k > 0; --k)
      n.attributes["key" + std::to_string(k)] = random_attribute(random);
    if (random.integer(0, 2) == 0) {
      n.activation = {
          static_cast<numerics::Unary>(random.integer(0, numerics::kUnaryCount - 1)), random.normal(), -0.0, {}};
      if (random.integer(0, 1) == 0) n.activation.pre = numerics::Affine{-77, 200};
    }
    g.nodes.push_back(n);
  }
  g.inputs = {3, 1};
  g.outputs = random.integer(0, 1) == 0 ? std::vector<ValueId>{} : std::vector<ValueId>{5};
  g.state = {{1, 5}};
  return g;
}

TEST(Text, ParsesBack) {
  Random random(test_seed() + 30);
  for (int round = 0; round < 200; ++round) {
    const Graph g = random_graph(random);
    const std::string text = to_text(g, true);
    const auto back = parse_text(text);
    ASSERT_TRUE(back.ok()) << back.error().message << "\n" << text;
    expect_equal(back.value(), g);
    ASSERT_EQ(to_text(back.value(), true), text);
    if (HasFailure()) FAIL() << text;
  }
}

TEST(Text, LargeConstantsAreHashedWithoutData) {
  Graph g;
  g.add_constant("w", Tensor(DType::kF32, {65}));
  const std::string text = to_text(g, false);
  EXPECT_NE(text.find("hash:"), std::string::npos);
  EXPECT_LT(text.size(), 100u);
  const auto back = parse_text(text);
  ASSERT_FALSE(back.ok());
  EXPECT_NE(back.error().message.find("line 2"), std::string::npos) << back.error().message;
}

TEST(Text, BrokenTextIsRefusedWithItsLine) {
  for (const char* text : {"grpah \"x\"",
                           "graph \"x",
                           "value %1 \"a\" f32 1",
                           "value %0 \"a\" f64 1",
                           "value %0 \"a\" f32 -1",
                           "value %0 \"a\" f32 2 = f32 [1.0]",
                           "value %0 \"a\" f32 2x99999999999 = f32 base64:AAAA",
                           "value %0 \"a\" f32 1 = f32 base64:A",
                           "value %0 \"a\" bool 1 = bool [2]",
                           "value %0 \"a\" f32 1 quant(bits=)",
                           "node %0 = Convolve \"n\" ()",
                           "node %0 = Conv \"n\" (%0",
                           "node %0 Conv \"n\" ()",
                           "node %0 = Conv \"n\" () group=",
                           "node %0 = Conv \"n\" () activation(Nothing 0.0 0.0)",
                           "inputs 0",
                           "inputs %-5",
                           "state %0",
                           "graph \"a\\xzz\"",
                           "graph \"x\" y"}) {
    const auto result = parse_text(text);
    ASSERT_FALSE(result.ok()) << text;
    EXPECT_EQ(result.error().message.rfind("line 1: ", 0), 0u) << result.error().message;
  }
}

// Every way to damage a text gives an error or a graph, never a crash.
TEST(Text, DamagedTextIsSafe) {
  Random random(test_seed() + 31);
  const std::string text = to_text(random_graph(random), true);
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (int64_t n = random.integer(1, 4); n > 0; --n) {
      const auto at = static_cast<size_t>(random.integer(0, static_cast<int64_t>(damaged.size()) - 1));
      if (random.integer(0, 1) == 0) {
        damaged[at] = static_cast<char>(random.integer(0, 255));
      } else {
        damaged.erase(at, static_cast<size_t>(random.integer(1, 9)));
      }
    }
    const auto result = parse_text(damaged);
    if (!result.ok()) {
      EXPECT_FALSE(result.error().message.empty());
    }
    if (result.ok()) (void)verify(result.value()).ok();
  }
}

}  // namespace
}  // namespace pith::ir
