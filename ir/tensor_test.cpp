#include "ir/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace pith::ir {
namespace {

TEST(Shape, CountsAndPrints) {
  EXPECT_EQ(element_count({}), 1);
  EXPECT_EQ(element_count({2, 0, 3}), 0);
  EXPECT_EQ(element_count({1, 3, 4}), 12);
  EXPECT_EQ(element_count({int64_t{1} << 40, int64_t{1} << 40}), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(to_string(Shape{1, 3, 224}), "1x3x224");
  EXPECT_EQ(to_string(Shape{}), "scalar");
}

TEST(DType, NamesAreTheirOwnInverse) {
  for (DType t : {DType::kF32, DType::kU8, DType::kI8, DType::kI32, DType::kI64, DType::kBool}) {
    EXPECT_EQ(dtype_from_name(dtype_name(t)), t);
  }
  EXPECT_FALSE(dtype_from_name("f64").has_value());
}

TEST(Tensor, CopiesShareBytesUntilOneIsWritten) {
  Tensor a = Tensor::f32({2}, {1, 2});
  Tensor b = a;
  EXPECT_EQ(a.bytes(), b.bytes());
  b.mut<float>()[0] = 7;
  EXPECT_EQ(a.at(0), 1);
  EXPECT_EQ(b.at(0), 7);
  const Tensor c = a.reshaped({1, 2, 1});
  EXPECT_EQ(c.bytes(), a.bytes());
  EXPECT_EQ(c.shape(), (Shape{1, 2, 1}));
}

TEST(Tensor, StartsAtZero) {
  Tensor t(DType::kI64, {3});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(t.at(i), 0);
  EXPECT_EQ(Tensor().count(), 0);
  EXPECT_TRUE(Tensor(DType::kF32, {0, 5}).as<float>().empty());
}

TEST(Tensor, SetSaturatesAndTruncates) {
  Tensor t(DType::kI8, {1});
  for (auto [given, kept] :
       std::vector<std::pair<double, double>>{{1.9, 1}, {-1.9, -1}, {1000, 127}, {-1000, -128}, {std::nan(""), 0}}) {
    t.set(0, given);
    EXPECT_EQ(t.at(0), kept) << given;
  }
  Tensor big(DType::kI64, {1});
  big.set(0, 1e30);
  EXPECT_EQ(big.as<int64_t>()[0], std::numeric_limits<int64_t>::max());
  Tensor truth(DType::kBool, {1});
  truth.set(0, 0.25);
  EXPECT_EQ(truth.at(0), 1);
}

TEST(Tensor, CastsAsOnnxDoes) {
  const Tensor x = Tensor::f32({5}, {-1.7f, 0.5f, 300.0f, -3e9f, 2.0f});
  const Tensor i = x.cast(DType::kI32);
  EXPECT_EQ(i.as<int32_t>()[0], -1);
  EXPECT_EQ(i.as<int32_t>()[1], 0);
  EXPECT_EQ(i.as<int32_t>()[2], 300);
  EXPECT_EQ(i.as<int32_t>()[3], std::numeric_limits<int32_t>::min());
  const Tensor truth = x.cast(DType::kBool);
  for (int k = 0; k < 5; ++k) EXPECT_EQ(truth.at(k), 1);
  const Tensor wrapped = Tensor::i64({2}, {200, -1}).cast(DType::kI8);
  EXPECT_EQ(wrapped.at(0), -56);
  EXPECT_EQ(wrapped.at(1), -1);
  EXPECT_EQ(Tensor::i64({1}, {-1}).cast(DType::kU8).at(0), 255);
}

}  // namespace
}  // namespace pith::ir
