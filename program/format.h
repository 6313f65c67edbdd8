/* The .pith file's constants, for C and C++: what the writer and every reader agree on. docs/format.md is the
 * specification; this header only names its numbers. It includes nothing but <stdint.h>. */
#ifndef PITH_PROGRAM_FORMAT_H
#define PITH_PROGRAM_FORMAT_H

#include <stdint.h>

#define PITH_FORMAT_MAGIC 0x50u /* first byte, 'P'; then the version */
/* 1 was never fixed: its files differ among themselves. 2 has no codec from PITH_CODEC_PREDICTED on, and is
 * what files without them say. */
#define PITH_FORMAT_VERSION 3u
#define PITH_FORMAT_OLDEST 2u /* that is still read */
#define PITH_MAX_RANK 6
#define PITH_ARENA_ALIGNMENT 16 /* offsets are multiples of this */
/* Kernels may read (never write) this many bytes past the end of the arena and of any packed weights. */
#define PITH_OVERREAD 64

enum {
#define PITH_OPCODE(name, inputs, outputs, ints, reals) PITH_OPCODE_##name,
#include "program/opcodes.inc"
#undef PITH_OPCODE
  PITH_OPCODE_COUNT
};

/* Data types of tensors and constants. */
enum { PITH_U8 = 0, PITH_F32 = 1, PITH_I32 = 2, PITH_I8 = 3 /* constants only: coded weights */ };

enum {
  PITH_BINARY_ADD, PITH_BINARY_SUB, PITH_BINARY_MUL, PITH_BINARY_DIV, PITH_BINARY_POW, PITH_BINARY_MIN,
  PITH_BINARY_MAX, PITH_BINARY_MOD, PITH_BINARY_FMOD, PITH_BINARY_EQUAL, PITH_BINARY_LESS, PITH_BINARY_LESS_EQUAL,
  PITH_BINARY_GREATER, PITH_BINARY_GREATER_EQUAL, PITH_BINARY_AND, PITH_BINARY_OR, PITH_BINARY_XOR,
  PITH_BINARY_PRELU, PITH_BINARY_COUNT
};
enum {
  PITH_REDUCE_MEAN, PITH_REDUCE_SUM, PITH_REDUCE_MAX, PITH_REDUCE_MIN, PITH_REDUCE_PROD, PITH_REDUCE_L1,
  PITH_REDUCE_L2, PITH_REDUCE_SUM_SQUARE, PITH_REDUCE_LOG_SUM, PITH_REDUCE_LOG_SUM_EXP, PITH_REDUCE_COUNT
};
enum { PITH_RESIZE_NEAREST, PITH_RESIZE_LINEAR, PITH_RESIZE_CUBIC };
enum {
  PITH_COORDINATES_HALF_PIXEL, PITH_COORDINATES_ASYMMETRIC, PITH_COORDINATES_ALIGN_CORNERS,
  PITH_COORDINATES_PYTORCH_HALF_PIXEL, PITH_COORDINATES_HALF_PIXEL_SYMMETRIC, PITH_COORDINATES_TF_CROP_AND_RESIZE
};
enum { PITH_ROUND_PREFER_FLOOR, PITH_ROUND_PREFER_CEIL, PITH_ROUND_FLOOR, PITH_ROUND_CEIL };

/* Codecs of a constant's integers. */
enum {
  PITH_CODEC_RAW = 0,      /* fixed-width bit fields */
  PITH_CODEC_RANS = 1,     /* interleaved rANS under a parametric distribution */
  PITH_CODEC_ADAPTIVE = 2, /* adaptive binary arithmetic code with neighbour contexts */
  PITH_CODEC_FLOAT = 3,    /* IEEE binary32, little-endian */
  PITH_CODEC_MIXED = 4,    /* adaptive binary arithmetic code under mixed contexts */
  PITH_CODEC_PREDICTED = 5, /* floats, as distances to what is predicted of them */
  PITH_CODEC_CLASSES = 6,  /* adaptive arithmetic code of classes under mixed distributions */
  PITH_CODEC_GROUPS = 7,   /* groups of rows, each a stream of another code: rows in any order */
  PITH_CODEC_MIXED_TRELLIS = 8,   /* MIXED of the indices of a trellis */
  PITH_CODEC_CLASSES_TRELLIS = 9, /* CLASSES of the same */
  PITH_CODEC_LEVELS = 10,  /* one of the others, of multiples that stand for learned levels */
  PITH_CODEC_VECTORS = 11  /* indices of vectors out of a book, its own or an earlier constant's */
};

#endif
