// What every part of the post-processing library shares: the status and the tensor view.
//
// Why: a network's output reaches a program as an address and a shape, in float or in eight bits with a scale and a
// zero point, with its channels first or last. Copying it into one fixed layout would double the memory of the largest
// buffer a small device has. So every function reads its input where it lies, through a view: an address, a type, up
// to five dimensions, a stride for each, and the number of bytes that really lie at that address. Before it reads,
// every function checks that the furthest element the strides reach lies inside those bytes.
//
// Rules that hold in the whole library
//   memory     the caller's, always: no heap, no file, no global that changes, no thread. Where a function needs
//              memory to work in, a `..._scratch_bytes` function says how much.
//   results    a status, PITH_POST_OK (0) on success; pith_post_message() turns it into one line. Unless a function
//              says otherwise, its outputs are unspecified after an error.
//   arithmetic float32; of libm only expf and sqrtf; no fused multiply-add that isn't written.
//   values     NaN is never chosen, never exceeds a threshold and never leaves the library as a box; infinities behave
//              as the limits that they are. Ties go to the lower index. Equal inputs give equal outputs, in any run.
//   sizes      at most 2^31 - 1 elements in a view.
#ifndef PITH_POST_TENSOR_H_
#define PITH_POST_TENSOR_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum pith_post_status {
  PITH_POST_OK = 0,
  PITH_POST_NULL = 1,        // a pointer that must be given is NULL
  PITH_POST_RANK = 2,        // a view's number of dimensions isn't one that this function reads
  PITH_POST_SHAPE = 3,       // a dimension is below 1, or doesn't fit the function or the other arguments
  PITH_POST_DTYPE = 4,       // an unknown dtype, a scale that isn't positive and finite, or a zero point out of range
  PITH_POST_BUFFER = 5,      // strides reach outside the view's bytes, or the data isn't aligned for its type
  PITH_POST_TOO_BIG = 6,     // more than 2^31 - 1 elements, or a size that overflows
  PITH_POST_RANGE = 7,       // a parameter is outside its documented range
  PITH_POST_SCRATCH = 8,     // the memory given is too small or misaligned
  PITH_POST_CAPACITY = 9,    // the output buffer is too small
  PITH_POST_NO_NUMBER = 10,  // the input holds nothing but NaN and -infinity
  PITH_POST_TEXT = 11,       // a character table isn't UTF-8 or has too few characters
} pith_post_status;

// One line in English: what is wrong and how to mend it. Never NULL, valid for ever.
const char* pith_post_message(pith_post_status status);

typedef enum pith_post_dtype {
  PITH_POST_F32 = 0,  // float
  PITH_POST_U8 = 1,   // uint8_t, value = scale * (q - zero_point), zero_point 0..255
  PITH_POST_I8 = 2,   // int8_t,  value = scale * (q - zero_point), zero_point -128..127
  PITH_POST_I16 = 3,  // int16_t, value = scale * (q - zero_point), zero_point -32768..32767: sound as it is recorded
} pith_post_dtype;

enum { PITH_POST_MAX_RANK = 5 };

// Fill it with one of the pith_view_* functions, or by hand. Strides count elements, not bytes, and aren't negative.
typedef struct pith_tensor_view {
  const void* data;
  size_t bytes;  // readable bytes at `data`
  pith_post_dtype dtype;
  int32_t rank;                         // 1..5
  int64_t dims[PITH_POST_MAX_RANK];     // each at least 1; those beyond `rank` are ignored
  int64_t strides[PITH_POST_MAX_RANK];  // in elements
  float scale;                          // integers: positive and finite; F32: ignored
  int32_t zero_point;                   // integers; F32: ignored
} pith_tensor_view;

// Views of dense row-major tensors (the last dimension's elements are neighbours). `bytes` follows from the shape; a
// shape that is no shape (rank outside 1..5, a dimension below 1, more than 2^31 - 1 elements) gives a view with rank
// 0, which every function refuses with PITH_POST_RANK.
pith_tensor_view pith_view_f32(const float* data, int32_t rank, const int64_t* dims);
pith_tensor_view pith_view_u8(const uint8_t* data, int32_t rank, const int64_t* dims, float scale, int32_t zero_point);
pith_tensor_view pith_view_i8(const int8_t* data, int32_t rank, const int64_t* dims, float scale, int32_t zero_point);
pith_tensor_view pith_view_i16(const int16_t* data, int32_t rank, const int64_t* dims, float scale, int32_t zero_point);

// The view with two axes exchanged: [84, 8400] read as [8400, 84] without moving anything.
// An axis that doesn't exist gives rank 0.
pith_tensor_view pith_view_swap(pith_tensor_view view, int32_t axis_a, int32_t axis_b);

// The view at one index of an axis, that axis gone: one picture of a batch, one stream of [time, 1, classes].
// An axis or index that doesn't exist gives rank 0. A view of rank 1 keeps its axis, with dimension 1.
pith_tensor_view pith_view_at(pith_tensor_view view, int32_t axis, int64_t index);

// Everything that may be wrong with a view by itself: PITH_POST_NULL, RANK, SHAPE, DTYPE, BUFFER, TOO_BIG.
// Every function of the library calls it first.
pith_post_status pith_view_check(const pith_tensor_view* view);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_TENSOR_H_
