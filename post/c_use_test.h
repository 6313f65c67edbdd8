// See c_use_test.c.
#ifndef PITH_POST_C_USE_TEST_H_
#define PITH_POST_C_USE_TEST_H_

#include "post/boxes.h"

#ifdef __cplusplus
extern "C" {
#endif

// Boxes found in a quantised [1, rows, 6] output; the best of them in *first; -1 on an error.
int pith_c_use_detector(const unsigned char* output, int64_t rows, float scale, int32_t zero_point, pith_box* first);

#ifdef __cplusplus
}
#endif

#endif  // PITH_POST_C_USE_TEST_H_
