// Element-wise operators: hand-computed values, types, broadcasting, special numbers.
#include <limits>

#include "ir/float_math.h"
#include "ir/test_graph.h"

namespace pith::ir {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

Tensor unary(Op op, const std::vector<float>& x, const Attributes& attributes = {}) {
  return run_node(op, {Tensor::f32({static_cast<int64_t>(x.size())}, x)}, attributes)[0];
}

TEST(FloatMath, FollowsTheStandardLibrary) {
  for (double x = -100; x < 100; x += 0.0137) {
    const auto v = static_cast<float>(x);
    const double e = std::exp(static_cast<double>(v));
    if (v > -87 && v < 88.7f) {
      ASSERT_NEAR(fast_exp(v) / e, 1, 4e-7) << x;
    }
    ASSERT_NEAR(fast_tanh(v), std::tanh(static_cast<double>(v)), 2e-6 * std::min(1.0, std::abs(x)) + 1e-30) << x;
    ASSERT_NEAR(fast_sigmoid(v), 1 / (1 + std::exp(-static_cast<double>(v))), 3e-7) << x;
  }
  EXPECT_EQ(fast_exp(-static_cast<float>(kInf)), 0);
  EXPECT_EQ(fast_exp(static_cast<float>(kInf)), static_cast<float>(kInf));
  EXPECT_TRUE(std::isnan(fast_exp(std::nanf(""))));
  EXPECT_EQ(fast_exp(0), 1);
}

// Every function of the family follows numerics/unary.inc, whichever loop computes it.
TEST(Unary, FollowsItsDefinition) {
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    if (std::string(op_traits(op).family) != "unary" || op == Op::kNot || op == Op::kIsNaN || op == Op::kRequantize)
      continue;
    const Node node{op, "", {0}, {1}, {}, {}};
    const Activation f = *unary_function(node);
    for (float x : {-9.0f, -1.0f, -0.3f, -0.01f, 0.0f, 0.02f, 0.5f, 0.7f, 1.0f, 2.5f, 9.0f}) {
      const double expected = numerics::apply_unary(f.function, x, f.a, f.b), y = unary(op, {x}).at(0);
      if (std::isnan(expected)) {
        EXPECT_TRUE(std::isnan(y)) << op_name(op) << x;
      } else if (std::isinf(expected)) {
        EXPECT_EQ(y, expected) << op_name(op) << x;
      } else {
        EXPECT_NEAR(y, expected, 1e-6 * std::max(1.0, std::abs(expected))) << op_name(op) << x;
      }
    }
  }
}

TEST(Unary, AttributesReachTheFunction) {
  expect_values(unary(Op::kLeakyRelu, {-2, 3}, {{"alpha", 0.5}}), {-1, 3});
  expect_values(unary(Op::kClip, {-2, 0.5f, 3}, {{"min", -1.0}, {"max", 1.0}}), {-1, 0.5, 1});
  expect_values(unary(Op::kClip, {-2, 3}, {{"max", 1.0}}), {-2, 1});
  expect_values(unary(Op::kShrink, {-2, 0.1f, 3}, {{"lambd", 1.0}, {"bias", 0.5}}), {-1.5, 0, 2.5});
  expect_values(unary(Op::kGelu, {1}, {{"approximate", std::string("tanh")}}), {0.841192}, 1e-5);
  expect_values(unary(Op::kHardSigmoid, {-9, 1, 9}, {{"alpha", 0.5}, {"beta", 0.25}}), {0, 0.75, 1});
}

TEST(Unary, ClipTakesBoundsAsInputs) {
  const Tensor x = Tensor::f32({3}, {-5, 0, 5}), low = Tensor::f32({}, {-1}), high = Tensor::f32({}, {2});
  expect_values(run_node(Op::kClip, {x, low, high})[0], {-1, 0, 2});
  expect_values(run_node(Op::kClip, {high.reshaped({1}), high, low})[0], {-1});  // the upper bound wins
}

TEST(Unary, IntegersKeepTheirType) {
  const Tensor x = Tensor::of<int8_t>(DType::kI8, {3}, {-128, -3, 4});
  expect_values(run_node(Op::kAbs, {x})[0], {-128, 3, 4});
  expect_values(run_node(Op::kNeg, {x})[0], {-128, 3, -4});
  expect_values(run_node(Op::kSign, {x})[0], {-1, -1, 1});
  expect_values(run_node(Op::kRelu, {x})[0], {0, 0, 4});
  expect_values(run_node(Op::kClip, {x}, {{"min", -2.0}, {"max", 1e9}})[0], {-2, -2, 4});
}

TEST(Unary, LogicAndNaN) {
  expect_values(run_node(Op::kNot, {Tensor::of<uint8_t>(DType::kBool, {2}, {0, 1})})[0], {1, 0});
  expect_values(run_node(Op::kIsNaN, {Tensor::f32({2}, {std::nanf(""), 1})})[0], {1, 0});
  EXPECT_TRUE(std::isnan(unary(Op::kRelu, {std::nanf("")}).at(0)));
}

TEST(Cast, BetweenAllTypes) {
  const Tensor x = Tensor::f32({4}, {-1.5f, 0, 0.5f, 300});
  expect_values(run_node(Op::kCast, {x}, {{"to", std::string("i64")}})[0], {-1, 0, 0, 300});
  expect_values(run_node(Op::kCast, {x}, {{"to", std::string("bool")}})[0], {1, 0, 1, 1});
  Graph g = one_node(Op::kCast, {x}, {{"to", std::string("f16")}});
  EXPECT_FALSE(infer_shapes(g).ok());
}

TEST(Binary, BroadcastsBothWays) {
  Random random(test_seed() + 40);
  for (int round = 0; round < 100; ++round) {
    Shape a, b, y;
    for (int64_t rank = random.integer(0, 4); rank > 0; --rank) {
      const int64_t d = random.integer(1, 4), kind = random.integer(0, 2);
      a.push_back(kind == 0 ? 1 : d);
      b.push_back(kind == 1 ? 1 : d);
      y.push_back(d);
    }
    for (int64_t drop = random.integer(0, static_cast<int64_t>(b.size())); drop > 0; --drop) {
      if (a[a.size() - b.size()] == 1) break;
      b.erase(b.begin());
    }
    const Tensor ta = random_f32(random, a), tb = random_f32(random, b);
    const Tensor sum = run_node(Op::kSub, {ta, tb})[0];
    ASSERT_EQ(sum.shape(), y);
    for (int64_t i = 0; i < sum.count(); ++i) {
      int64_t rest = i, at_a = 0, at_b = 0, step_a = 1, step_b = 1;
      for (size_t d = y.size(); d-- > 0; rest /= y[d]) {
        const size_t db = d - (y.size() - b.size());
        at_a += a[d] == 1 ? 0 : rest % y[d] * step_a, step_a *= a[d];
        if (d >= y.size() - b.size()) at_b += b[db] == 1 ? 0 : rest % y[d] * step_b, step_b *= b[db];
      }
      ASSERT_EQ(sum.at(i), static_cast<double>(static_cast<float>(ta.at(at_a)) - static_cast<float>(tb.at(at_b))));
    }
  }
}

TEST(Binary, IntegerArithmetic) {
  const Tensor a = Tensor::i64({4}, {7, -7, 7, -7}), b = Tensor::i64({4}, {2, 2, -2, -2});
  expect_values(run_node(Op::kDiv, {a, b})[0], {3, -3, -3, 3});
  expect_values(run_node(Op::kMod, {a, b})[0], {1, 1, -1, -1});
  expect_values(run_node(Op::kMod, {a, b}, {{"fmod", int64_t{1}}})[0], {1, -1, 1, -1});
  expect_values(run_node(Op::kPow, {a, Tensor::f32({}, {2})})[0], {49, 49, 49, 49});
  expect_values(run_node(Op::kDiv, {a, Tensor::i64({}, {0})})[0], {0, 0, 0, 0});
  const Tensor least = Tensor::i64({1}, {std::numeric_limits<int64_t>::min()}), minus = Tensor::i64({1}, {-1});
  EXPECT_EQ(run_node(Op::kDiv, {least, minus})[0].as<int64_t>()[0], std::numeric_limits<int64_t>::min());
  const Tensor bytes = Tensor::of<uint8_t>(DType::kU8, {1}, {200});
  expect_values(run_node(Op::kAdd, {bytes, bytes})[0], {144});
}

TEST(Binary, ComparisonsAndLogic) {
  const Tensor a = Tensor::f32({3}, {1, 2, 3}), b = Tensor::f32({}, {2});
  expect_values(run_node(Op::kLess, {a, b})[0], {1, 0, 0});
  expect_values(run_node(Op::kLessOrEqual, {a, b})[0], {1, 1, 0});
  expect_values(run_node(Op::kGreater, {a, b})[0], {0, 0, 1});
  expect_values(run_node(Op::kGreaterOrEqual, {a, b})[0], {0, 1, 1});
  expect_values(run_node(Op::kEqual, {a, b})[0], {0, 1, 0});
  const Tensor p = Tensor::of<uint8_t>(DType::kBool, {4}, {0, 0, 1, 1}),
               q = Tensor::of<uint8_t>(DType::kBool, {4}, {0, 1, 0, 1});
  expect_values(run_node(Op::kAnd, {p, q})[0], {0, 0, 0, 1});
  expect_values(run_node(Op::kOr, {p, q})[0], {0, 1, 1, 1});
  expect_values(run_node(Op::kXor, {p, q})[0], {0, 1, 1, 0});
  expect_values(run_node(Op::kWhere, {p, a.reshaped({3, 1}), b})[0], {2, 2, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3});
}

TEST(Variadic, FoldsAndBroadcasts) {
  const Tensor a = Tensor::f32({3}, {1, 5, 3}), b = Tensor::f32({1}, {2}), c = Tensor::f32({2, 1}, {0, 6});
  expect_values(run_node(Op::kMax, {a, b, c})[0], {2, 5, 3, 6, 6, 6});
  expect_values(run_node(Op::kMin, {a, b, c})[0], {0, 0, 0, 1, 2, 2});
  expect_values(run_node(Op::kSum, {a, b, c})[0], {3, 7, 5, 9, 13, 11});
  expect_values(run_node(Op::kMean, {a, b})[0], {1.5, 3.5, 2.5});
  expect_values(run_node(Op::kMean, {a})[0], {1, 5, 3});
  EXPECT_TRUE(std::isnan(run_node(Op::kMax, {Tensor::f32({1}, {std::nanf("")}), b})[0].at(0)));
  EXPECT_TRUE(std::isnan(run_node(Op::kMin, {b, Tensor::f32({1}, {std::nanf("")})})[0].at(0)));
}

TEST(Activation, AppliesToTheResultOfAnyNode) {
  Graph g = one_node(Op::kAdd, {Tensor::f32({2}, {-3, 1}), Tensor::f32({2}, {1, 1})});
  g.nodes[0].activation.function = numerics::Unary::kRelu;
  ASSERT_TRUE(infer_shapes(g).ok());
  ASSERT_TRUE(verify(g).ok());
  expect_values(interpret(g, {Tensor::f32({2}, {-3, 1}), Tensor::f32({2}, {1, 1})}).value()[0], {0, 2});
}

TEST(ConstantLike, FollowsShapes) {
  const Tensor x(DType::kF32, {2, 3, 4});
  expect_values(run_node(Op::kShape, {x})[0], {2, 3, 4});
  expect_values(run_node(Op::kShape, {x}, {{"start", int64_t{-2}}, {"end", int64_t{99}}})[0], {3, 4});
  expect_values(run_node(Op::kSize, {x})[0], {24});
  expect_values(run_node(Op::kEyeLike, {Tensor(DType::kI32, {2, 3})}, {{"k", int64_t{1}}})[0], {0, 1, 0, 0, 0, 1});
  expect_values(run_node(Op::kConstantOfShape, {Tensor::i64({2}, {2, 2})}, {{"value", 3.0}, {"to", std::string("i32")}},
                         1, {0})[0],
                {3, 3, 3, 3});
  const auto range = [](float a, float b, float c) {
    return run_node(Op::kRange, {Tensor::f32({}, {a}), Tensor::f32({}, {b}), Tensor::f32({}, {c})}, {}, 1,
                    {0, 1, 2})[0];
  };
  expect_values(range(1, 2.2f, 0.5f), {1, 1.5, 2});
  expect_values(range(3, 0, -2), {3, 1});
  expect_values(range(3, 4, -2), {});
  expect_values(run_node(Op::kNonZero, {Tensor::f32({2, 2}, {1, 0, 2, 3})}, {}, 1, {0})[0], {0, 1, 1, 0, 0, 1});
}

TEST(Elementwise, MismatchesAreRefused) {
  const auto refused = [](Op op, const std::vector<Tensor>& inputs, const Attributes& attributes, const char* part) {
    Graph g = one_node(op, inputs, attributes);
    const auto result = infer_shapes(g);
    ASSERT_FALSE(result.ok()) << part;
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  };
  const Tensor f2(DType::kF32, {2}), f3(DType::kF32, {3}), i2(DType::kI64, {2}), b2(DType::kBool, {2});
  refused(Op::kAdd, {f2, f3}, {}, "don't broadcast");
  refused(Op::kAdd, {f2, i2}, {}, "differ in type");
  refused(Op::kAdd, {b2, b2}, {}, "no arithmetic");
  refused(Op::kSigmoid, {i2}, {}, "it must be f32");
  refused(Op::kNot, {f2}, {}, "it must be bool");
  refused(Op::kGelu, {f2}, {{"approximate", std::string("some")}}, "it may be none, tanh");
  refused(Op::kWhere, {f2, f2, f2}, {}, "must be bool");
  refused(Op::kMod, {f2, f2}, {}, "fmod = 1");
  refused(Op::kConstantOfShape, {i2}, {}, "must be a constant");
  refused(Op::kNonZero, {f2}, {}, "must be a constant");
}

}  // namespace
}  // namespace pith::ir
