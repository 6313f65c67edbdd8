// How small and how fast each code of weights is, on the weights of real .pith files, in one run.
//
//   pith-coding-speed MODEL.pith ...      a table: bits a weight, and millions of weights decoded a second of one
//   core's time
//
// Every constant of integer weights is written and read by every code, and checked (by vectors where a book holds all of its runs); times are the least of three.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "base/file.h"
#include "coding/decode/weights.h"
#include "coding/encode/levels.h"
#include "coding/encode/vectors.h"
#include "coding/encode/weights.h"
#include "program/program.h"

namespace pith {
namespace {

struct Code {
  const char* name;
  int codec;
  std::vector<uint8_t> (*encode)(const coding::CodedRows&);
};
// Even ones, which any integers stand on: what it costs to go by a table.
std::vector<uint8_t> encode_on_levels(const coding::CodedRows& rows) {
  coding::Levels even;
  even.count = 1, even.of[1] = 1;
  return coding::encode_levels(even, coding::kCodecClasses, coding::encode_classes(rows));
}
// The smallest of the three lengths of vectors; nothing where no book has them all.
std::vector<uint8_t> vectors(const coding::CodedRows& rows, bool coded) {
  std::vector<uint8_t> least;
  for (int length : {2, 4, 8}) {
    const auto book = coding::book_of(rows, length);
    if (!book) continue;
    std::vector<uint8_t> bytes = *coding::encode_vectors(rows, *book, true, coded);
    if (least.empty() || bytes.size() < least.size()) least = std::move(bytes);
  }
  return least;
}
std::vector<uint8_t> plain_vectors(const coding::CodedRows& rows) { return vectors(rows, false); }
std::vector<uint8_t> coded_vectors(const coding::CodedRows& rows) { return vectors(rows, true); }

constexpr Code kCodes[] = {{"raw", coding::kCodecRaw, coding::encode_raw},
                           {"rans", coding::kCodecRans, coding::encode_rans},
                           {"adaptive", coding::kCodecAdaptive, coding::encode_adaptive},
                           {"classes", coding::kCodecClasses, coding::encode_classes},
                           {"levels of classes", coding::kCodecLevels, encode_on_levels},
                           {"vectors", coding::kCodecVectors, plain_vectors},
                           {"coded vectors", coding::kCodecVectors, coded_vectors},
                           {"mixed", coding::kCodecMixed, coding::encode_mixed}};

double seconds() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// Decodes all rows; the least time of three, or nothing where a value differs.
double decode(const coding::CodedRows& rows, const std::vector<uint8_t>& bytes, int codec) {
  auto in = std::make_unique<coding::WeightDecoder>();
  double least = 1e30;
  for (int run = 0; run < 3; ++run) {
    std::vector<int8_t> row(static_cast<size_t>(rows.row_length), 0);
    const double start = seconds();
    bool same = in->begin(bytes.data(), bytes.size(), codec, rows.bits, rows.scale_codes.size() > 1, rows.shape);
    for (int64_t r = 0; r < rows.rows && same; ++r) {
      in->next_row(row.data(), rows.row_length);
      same = std::equal(row.begin(), row.end(), rows.integers.begin() + r * rows.row_length);
    }
    least = std::min(least, seconds() - start);
    if (!same) return -1;
  }
  return least;
}

int measure(const char* path) {
  const auto bytes = read_file(path);
  const auto program = bytes.ok() ? read_program(*bytes) : Result<Program>(bytes.error());
  if (!program.ok()) {
    std::fprintf(stderr, "error: %s: %s\n", path, program.error().message.c_str());
    return 2;
  }
  for (const Code& code : kCodes) {
    double weights = 0, size = 0, time = 0;
    for (const ProgramConstant& k : program->constants) {
      if (k.dtype != PITH_I8 || k.integers.empty()) continue;
      coding::CodedRows rows;
      rows.bits = k.bits;
      rows.rows = k.dims.empty() ? 1 : k.dims[0];
      rows.row_length = static_cast<int64_t>(k.integers.size()) / rows.rows;
      rows.integers = k.integers;
      rows.scale_codes = k.scale_codes;
      rows.shape = coding::row_shape(k.dims);
      const std::vector<uint8_t> coded = code.encode(rows);
      if (coded.empty()) continue;
      const double taken = decode(rows, coded, code.codec);
      if (taken < 0) {
        std::fprintf(stderr, "error: %s: the code '%s' changed weights\n", path, code.name);
        return 1;
      }
      weights += static_cast<double>(k.integers.size());
      size += 8 * static_cast<double>(coded.size());
      time += taken;
    }
    if (weights > 0)
      fmt::print("{},{},{:.0f},{:.4f},{:.2f}\n", path, code.name, weights, size / weights, weights / time / 1e6);
  }
  return 0;
}

}  // namespace
}  // namespace pith

int main(int count, char** names) {
  if (count < 2) {
    std::fprintf(stderr, "error: no file; give .pith files whose weights to code\n");
    return 2;
  }
  fmt::print("file,code,weights,bits_per_weight,million_weights_per_second\n");
  for (int i = 1; i < count; ++i) {
    if (const int code = pith::measure(names[i]); code != 0) return code;
  }
  return 0;
}
