// Post-processing's place in the arena.
#include "compile/post_place.h"

#include <gtest/gtest.h>

#include <cstdio>

namespace pith {
namespace {

// x -> y, both of so many numbers a row.
Program identity(const std::string& head, std::vector<int32_t> dims, int dtype) {
  Program p;
  for (const char* name : {"x", "y"}) {
    ProgramTensor t;
    t.name = name;
    t.dtype = dtype;
    t.dims = dims;
    p.tensors.push_back(t);
  }
  ProgramOp op;
  op.opcode = PITH_OPCODE_Unary;
  op.inputs = {0};
  op.outputs = {1};
  op.ints = {0};
  op.reals = {0, 0};
  p.ops.push_back(op);
  std::vector<int32_t> order;
  for (size_t i = 0; i < dims.size(); ++i) order.push_back(static_cast<int32_t>(i));
  p.inputs = {{"x", 0, order}};
  p.outputs = {{"y", 1, order}};
  if (!head.empty()) p.metadata["head"] = head;
  return p;
}

TEST(PostPlace, SizesFollowTheHead) {
  EXPECT_EQ(post_bytes(identity("", {1, 10}, PITH_F32)), 0);
  EXPECT_EQ(post_bytes(identity("raw", {1, 10}, PITH_F32)), 0);
  EXPECT_EQ(post_bytes(identity("classifier", {1, 10}, PITH_F32)), 4 * 10 + 5 * 8);
  EXPECT_EQ(post_bytes(identity("ctc", {1, 32, 97}, PITH_F32)), 32 * 16);
  EXPECT_EQ(post_bytes(identity("yolov5-raw", {1, 80, 80, 255}, PITH_U8)), 1000 * 28);
  EXPECT_EQ(post_bytes(identity("yolov8", {1, 84, 10}, PITH_F32)), 168 * 28);
}

TEST(PostPlace, ItLiesBesideTheOutputsAndWhereTheInputWas) {
  Program p = identity("ctc", {1, 64, 97}, PITH_F32);
  // in place, the output is where the input was; a second tensor in between makes room
  ASSERT_TRUE(plan_arena(p, {}, nullptr).ok());
  ASSERT_EQ(p.metadata.count("post"), 1u);
  long long offset = -1, bytes = -1;
  ASSERT_EQ(std::sscanf(p.metadata["post"].c_str(), "%lld %lld", &offset, &bytes), 2);
  EXPECT_EQ(bytes, 64 * 16);
  EXPECT_LE(offset + bytes, p.arena_bytes);
  const int64_t begin = p.tensors[1].offset, end = begin + tensor_bytes(p.tensors[1]);
  EXPECT_TRUE(offset >= end || offset + bytes <= begin);
  EXPECT_TRUE(check_program(p).ok());
  p.metadata["post"] = std::to_string(begin) + " 16";
  EXPECT_FALSE(check_program(p).ok());
}

TEST(PostPlace, DyingTensorsGiveWayToIt) {
  Program p = identity("yolov5-raw", {1, 16, 16, 255}, PITH_U8);  // 65,280 bytes
  ProgramTensor sum;
  sum.name = "mean";
  sum.dims = {1, 1, 1, 255};
  p.tensors.push_back(sum);
  ProgramOp op;
  op.opcode = PITH_OPCODE_Reduce;
  op.inputs = {1};
  op.outputs = {2};
  op.ints = {PITH_REDUCE_MEAN, 6};
  p.ops.push_back(op);
  p.outputs[0].tensor = 2;
  p.metadata["head"] = "classifier";
  ASSERT_TRUE(plan_arena(p, {}, nullptr).ok());
  EXPECT_EQ(p.arena_bytes, 65280 + 256);
  EXPECT_TRUE(check_program(p).ok());
}

}  // namespace
}  // namespace pith
