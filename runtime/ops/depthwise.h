// Depthwise convolution: each channel on its own, one output row at a time.
#pragma once

#include "runtime/ops/ops.h"

namespace pith::runtime {

struct DepthwisePlan {
  int32_t batch, in_h, in_w, out_h, out_w, channels;
  int32_t kernel_h, kernel_w, stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_left;
  bool is_float;
  const Tensor* source;
  const int32_t* bias;
  const float* bias_f32;
  numerics::Affine in, raw;
  Epilogue epilogue;
  float low, high;
  bool clamps;
  int32_t lanes;
  // packed at load, otherwise null: as kernels.h packs them
  const void* weights;
  const int32_t *packed_bias, *mantissa, *shift;
  const float* zero_bias;  // f32 without bias
  bool narrow;
};

bool is_depthwise(const Op& op);
const char* plan_depthwise(Builder& builder, Op& op, DepthwisePlan& plan);
void run_depthwise(const DepthwisePlan& plan, const Op& op, const Run& run);

}  // namespace pith::runtime
