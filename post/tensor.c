// Statuses and tensor views: see tensor.h.
//
// The one thing to get right here is that no arithmetic on sizes given by the caller can overflow before it is
// compared: dimensions are bounded first, products are compared by division, and strides are bounded by the bytes.
#include "post/tensor.h"

#include <string.h>

#include "post/internal.h"

const char* pith_post_message(pith_post_status status) {
  switch (status) {
    case PITH_POST_OK:
      return "ok";
    case PITH_POST_NULL:
      return "a pointer that must be given is NULL: pass the address of the data";
    case PITH_POST_RANK:
      return "the tensor's number of dimensions isn't one that this function reads: drop or add axes";
    case PITH_POST_SHAPE:
      return "a dimension is below 1 or doesn't fit the other arguments: check the tensor's shape";
    case PITH_POST_DTYPE:
      return "the dtype is unknown, or its scale or zero point isn't valid: check the quantisation";
    case PITH_POST_BUFFER:
      return "the shape reaches outside the buffer, or the data is misaligned: check the strides";
    case PITH_POST_TOO_BIG:
      return "more than 2^31 - 1 elements or bytes that can't be counted: split the tensor";
    case PITH_POST_RANGE:
      return "a parameter is outside its range: see the function's description";
    case PITH_POST_SCRATCH:
      return "the working memory is too small or misaligned: ask the ..._scratch_bytes function";
    case PITH_POST_CAPACITY:
      return "the output buffer is too small: the count says how much is needed";
    case PITH_POST_NO_NUMBER:
      return "the input holds nothing but NaN and -infinity: check the network's output";
    case PITH_POST_TEXT:
      return "the character table isn't UTF-8 or has too few characters: give one per label";
  }
  return "unknown status: not one of this library's";
}

size_t pith_post_element_bytes(pith_post_dtype dtype) {
  return dtype == PITH_POST_F32 ? sizeof(float) : dtype == PITH_POST_I16 ? sizeof(int16_t) : 1;
}

static pith_tensor_view dense_view(const void* data, pith_post_dtype dtype, int32_t rank, const int64_t* dims) {
  pith_tensor_view view;
  memset(&view, 0, sizeof view);
  view.data = data;
  view.dtype = dtype;
  view.scale = 1.0f;
  if (dims == NULL || rank < 1 || rank > PITH_POST_MAX_RANK) return view;
  int64_t elements = 1;
  for (int32_t axis = rank - 1; axis >= 0; --axis) {
    if (dims[axis] < 1 || dims[axis] > INT32_MAX / elements) return view;
    view.dims[axis] = dims[axis];
    view.strides[axis] = elements;
    elements *= dims[axis];
  }
  if ((uint64_t)elements > SIZE_MAX / pith_post_element_bytes(dtype)) return view;
  view.bytes = (size_t)elements * pith_post_element_bytes(dtype);
  view.rank = rank;
  return view;
}

pith_tensor_view pith_view_f32(const float* data, int32_t rank, const int64_t* dims) {
  return dense_view(data, PITH_POST_F32, rank, dims);
}

pith_tensor_view pith_view_u8(const uint8_t* data, int32_t rank, const int64_t* dims, float scale, int32_t zero_point) {
  pith_tensor_view view = dense_view(data, PITH_POST_U8, rank, dims);
  view.scale = scale;
  view.zero_point = zero_point;
  return view;
}

pith_tensor_view pith_view_i8(const int8_t* data, int32_t rank, const int64_t* dims, float scale, int32_t zero_point) {
  pith_tensor_view view = dense_view(data, PITH_POST_I8, rank, dims);
  view.scale = scale;
  view.zero_point = zero_point;
  return view;
}

pith_tensor_view pith_view_i16(const int16_t* data, int32_t rank, const int64_t* dims, float scale,
                               int32_t zero_point) {
  pith_tensor_view view = dense_view(data, PITH_POST_I16, rank, dims);
  view.scale = scale;
  view.zero_point = zero_point;
  return view;
}

static int has_axis(const pith_tensor_view* view, int32_t axis) {
  return view->rank <= PITH_POST_MAX_RANK && axis >= 0 && axis < view->rank;
}

pith_tensor_view pith_view_swap(pith_tensor_view view, int32_t axis_a, int32_t axis_b) {
  if (!has_axis(&view, axis_a) || !has_axis(&view, axis_b)) {
    view.rank = 0;
    return view;
  }
  const int64_t dim = view.dims[axis_a], stride = view.strides[axis_a];
  view.dims[axis_a] = view.dims[axis_b];
  view.strides[axis_a] = view.strides[axis_b];
  view.dims[axis_b] = dim;
  view.strides[axis_b] = stride;
  return view;
}

pith_tensor_view pith_view_at(pith_tensor_view view, int32_t axis, int64_t index) {
  const int sound = pith_view_check(&view) == PITH_POST_OK && has_axis(&view, axis);
  if (!sound || index < 0 || index >= view.dims[axis]) {
    view.rank = 0;
    return view;
  }
  const size_t skip = (size_t)(index * view.strides[axis]) * pith_post_element_bytes(view.dtype);
  view.data = (const unsigned char*)view.data + skip;
  view.bytes -= skip;
  if (view.rank == 1) {
    view.dims[0] = 1;
    return view;
  }
  for (int32_t i = axis; i + 1 < view.rank; ++i) {
    view.dims[i] = view.dims[i + 1];
    view.strides[i] = view.strides[i + 1];
  }
  --view.rank;
  return view;
}

static pith_post_status check_dtype(const pith_tensor_view* view) {
  int32_t low = 0, high = 0;
  switch (view->dtype) {
    case PITH_POST_F32:
      break;
    case PITH_POST_U8:
      high = 255;
      break;
    case PITH_POST_I8:
      low = -128, high = 127;
      break;
    case PITH_POST_I16:
      low = -32768, high = 32767;
      break;
    default:
      return PITH_POST_DTYPE;
  }
  if ((uintptr_t)view->data % pith_post_element_bytes(view->dtype) != 0) return PITH_POST_BUFFER;
  if (view->dtype == PITH_POST_F32) return PITH_POST_OK;
  if (!(view->scale > 0.0f && pith_is_finite(view->scale))) return PITH_POST_DTYPE;
  return view->zero_point >= low && view->zero_point <= high ? PITH_POST_OK : PITH_POST_DTYPE;
}

pith_post_status pith_view_check(const pith_tensor_view* view) {
  if (view == NULL || view->data == NULL) return PITH_POST_NULL;
  if (view->rank < 1 || view->rank > PITH_POST_MAX_RANK) return PITH_POST_RANK;
  const pith_post_status status = check_dtype(view);
  if (status != PITH_POST_OK) return status;

  int64_t elements = 1;
  for (int32_t axis = 0; axis < view->rank; ++axis) {
    if (view->dims[axis] < 1) return PITH_POST_SHAPE;
    if (view->dims[axis] > INT32_MAX / elements) return PITH_POST_TOO_BIG;
    elements *= view->dims[axis];
  }
  const uint64_t held = view->bytes / pith_post_element_bytes(view->dtype);
  if (held == 0) return PITH_POST_BUFFER;
  uint64_t left = held - 1;  // how far the last element may still lie from the first
  for (int32_t axis = 0; axis < view->rank; ++axis) {
    const uint64_t steps = (uint64_t)view->dims[axis] - 1;
    if (view->strides[axis] < 0) return PITH_POST_BUFFER;
    if (steps == 0) continue;
    if ((uint64_t)view->strides[axis] > left / steps) return PITH_POST_BUFFER;
    left -= steps * (uint64_t)view->strides[axis];
  }
  return PITH_POST_OK;
}

pith_tensor_view pith_post_squeeze(pith_tensor_view view, int32_t rank) {
  while (view.rank > rank && view.dims[0] == 1) view = pith_view_at(view, 0, 0);
  return view;
}

// The best of one row, once per type: integers are compared as integers, since a positive scale keeps their order.
#define PITH_BEST_OF_INTEGERS(type)                       \
  const type* row = (const type*)view->data + offset;     \
  for (int32_t i = 0; i < count; ++i) {                   \
    const int32_t q = row[i * stride];                    \
    if (i == 0 || q > best_q) best_q = q, best.index = i; \
  }                                                       \
  best.value = view->scale * (float)(best_q - view->zero_point);

pith_best pith_post_best(const pith_tensor_view* view, int64_t offset, int64_t stride, int32_t count) {
  pith_best best = {-1, 0.0f};
  int32_t best_q = 0;
  if (view->dtype == PITH_POST_U8) {
    PITH_BEST_OF_INTEGERS(uint8_t)
  } else if (view->dtype == PITH_POST_I8) {
    PITH_BEST_OF_INTEGERS(int8_t)
  } else if (view->dtype == PITH_POST_I16) {
    PITH_BEST_OF_INTEGERS(int16_t)
  } else {
    const float* row = (const float*)view->data + offset;
    for (int32_t i = 0; i < count; ++i) {
      const float x = row[i * stride];
      if (best.index < 0 ? x == x : x > best.value) best.value = x, best.index = i;
    }
  }
  return best;
}
