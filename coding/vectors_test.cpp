// Vectors out of books: every kind of index, on books of their own and of others; what must fail.
#include "coding/encode/vectors.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>

#include "base/random.h"
#include "coding/decode/weights.h"

namespace pith::coding {
namespace {

uint64_t seed() {
  const char* text = std::getenv("PITH_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 7;
}

struct Case {
  std::vector<int32_t> integers;
  std::vector<int16_t> scales;
  CodedRows rows;
};

// Rows out of a random book, some of its vectors more often than others.
Case random_case(Random& random, int length, int count, int64_t rows, int64_t row_length, bool row_scales, int bits = 8) {
  Case c;
  const int64_t limit = (1 << (bits - 1)) - 1;
  std::vector<int32_t> book;
  for (int i = 0; i < length * (count + 1); ++i) book.push_back(i < length ? 0 : static_cast<int32_t>(random.integer(-limit, limit)));
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t k = 0; k < row_length; k += length) {
      const auto v = static_cast<int64_t>(std::pow(random.uniform(), 3) * (count + 0.99));
      const int sign = random.integer(0, 1) == 0 ? 1 : -1;
      for (int64_t i = 0; i < length && k + i < row_length; ++i) c.integers.push_back(sign * book[static_cast<size_t>(v * length + i)]);
    }
  }
  for (int64_t r = 0; r < (row_scales ? rows : 1); ++r) c.scales.push_back(static_cast<int16_t>(random.integer(-200, 50)));
  c.rows = CodedRows{bits, rows, row_length, c.integers, c.scales, {row_length, 1}};
  return c;
}

void expect_rows(const Case& c, const std::vector<uint8_t>& bytes, BookOwner owner = {}) {
  auto in = std::make_unique<WeightDecoder>();
  const bool row_scales = c.rows.scale_codes.size() > 1;
  ASSERT_TRUE(in->begin(bytes.data(), bytes.size(), kCodecVectors, c.rows.bits, row_scales, c.rows.shape, owner));
  std::vector<int8_t> row(static_cast<size_t>(c.rows.row_length), 0);
  for (int64_t r = 0; r < c.rows.rows; ++r) {
    ASSERT_EQ(in->next_row(row.data(), c.rows.row_length), c.rows.scale_codes[row_scales ? static_cast<size_t>(r) : 0]);
    ASSERT_TRUE(std::equal(row.begin(), row.end(), c.integers.begin() + r * c.rows.row_length)) << "row " << r << " PITH_SEED=" << seed();
  }
  EXPECT_FALSE(in->overrun());
}

TEST(Vectors, RoundTripWithoutLoss) {
  Random random(seed());
  for (int trial = 0; trial < 80; ++trial) {
    const int length = 2 << trial % 3;
    const Case c = random_case(random, length, static_cast<int>(random.integer(0, trial % 2 ? 12 : 500)), random.integer(0, 30), random.integer(1, 120), trial % 4 < 2, static_cast<int>(random.integer(2, 8)));
    for (int other : {2, 4, 8}) {
      const auto book = book_of(c.rows, other);
      ASSERT_TRUE(book || other != length);
      if (!book) continue;
      for (bool coded : {false, true}) {
        const auto bytes = encode_vectors(c.rows, *book, true, coded);
        ASSERT_TRUE(bytes);
        expect_rows(c, *bytes);
      }
    }
  }
}

TEST(Vectors, ABookServesSeveral) {
  Random random(seed());
  for (int trial = 0; trial < 40; ++trial) {
    const int length = 2 << trial % 3;
    const Case a = random_case(random, length, 40, 12, 70, true), b = random_case(random, length, 30, 9, 33, false);
    const auto both = book_of_both(*book_of(a.rows, length), *book_of(b.rows, length));
    ASSERT_TRUE(both);
    EXPECT_EQ(both->vectors, book_of_both(*both, *book_of(b.rows, length))->vectors) << "what is there isn't added";
    const auto own = encode_vectors(a.rows, *both, true, trial % 2 == 0), borrowed = encode_vectors(b.rows, *both, false, trial % 4 < 2);
    ASSERT_TRUE(own && borrowed);
    EXPECT_LT(borrowed->size() + both->vectors.size() / 2, encode_vectors(b.rows, *both, true, trial % 4 < 2)->size());
    const BookOwner owner{own->data(), own->size()};
    expect_rows(a, *own);
    expect_rows(b, *borrowed, owner);
    auto in = std::make_unique<WeightDecoder>();
    for (BookOwner wrong : {BookOwner{own->data(), 2}, BookOwner{borrowed->data(), 0}}) {
      EXPECT_FALSE(in->begin(borrowed->data(), borrowed->size(), kCodecVectors, 8, false, b.rows.shape, wrong)) << "a book that isn't whole";
    }
    const Case c = random_case(random, length == 2 ? 4 : 2, 40, 12, 70, true);
    const auto shape = encode_vectors(c.rows, *book_of(c.rows, length == 2 ? 4 : 2), true, false);
    EXPECT_FALSE(in->begin(borrowed->data(), borrowed->size(), kCodecVectors, 8, false, b.rows.shape, {shape->data(), shape->size()})) << "vectors of another length";
  }
}

TEST(Vectors, OnlyTheirBooksVectors) {
  Random random(seed());
  const Case many = random_case(random, 2, 3000, 40, 400, false), few = random_case(random, 4, 20, 10, 64, false);
  EXPECT_FALSE(book_of(many.rows, 2)) << "more than a book holds";
  Book book = *book_of(few.rows, 4);
  book.vectors.resize(4);
  EXPECT_FALSE(encode_vectors(few.rows, book, true, false));
}

TEST(Vectors, FrequentOnesCostLess) {
  Random random(seed());
  const Case c = random_case(random, 4, 100, 100, 400, false);
  const Book book = *book_of(c.rows, 4);
  const auto fixed = encode_vectors(c.rows, book, true, false), coded = encode_vectors(c.rows, book, true, true);
  const size_t indices = fixed->size() - book.vectors.size();
  EXPECT_TRUE(indices >= 10000 && indices < 10020) << "a byte each";
  EXPECT_LT(coded->size(), fixed->size() * 9 / 10);
  const std::vector<int32_t> zeros(64 * 1000, 0);
  EXPECT_LT(encode_vectors({8, 64, 1000, zeros, c.scales, {1000, 1}}, *book_of({8, 64, 1000, zeros, c.scales, {1000, 1}}, 4), true, false)->size(), 10u);
}

TEST(Vectors, HostileStreamsNeitherCrashNorPass) {
  Random random(seed());
  const Case c = random_case(random, 4, 60, 8, 63, true, 5), d = random_case(random, 4, 60, 8, 63, true, 5);
  const Book book = *book_of_both(*book_of(d.rows, 4), *book_of(c.rows, 4));
  const std::vector<uint8_t> other = *encode_vectors(d.rows, book, true, false);
  auto in = std::make_unique<WeightDecoder>();
  std::vector<int8_t> row(63);
  for (int kind = 0; kind < 4; ++kind) {
    const bool own = kind < 2;
    const std::vector<uint8_t> bytes = *encode_vectors(c.rows, book, own, kind % 2 == 1);
    for (int trial = 0; trial < 1000; ++trial) {
      std::vector<uint8_t> damaged = bytes, lent = other;
      std::vector<uint8_t>& hit = !own && trial % 2 == 0 ? lent : damaged;
      hit.resize(static_cast<size_t>(random.integer(1, static_cast<int64_t>(hit.size()))));
      hit[static_cast<size_t>(random.integer(0, static_cast<int64_t>(std::min<size_t>(hit.size(), trial % 3 == 0 ? 3 : hit.size())) - 1))] ^= static_cast<uint8_t>(random.next());
      if (!in->begin(damaged.data(), damaged.size(), kCodecVectors, 5, true, c.rows.shape, own ? BookOwner{} : BookOwner{lent.data(), lent.size()})) continue;
      for (int r = 0; r < 8; ++r) {
        const int scale = in->next_row(row.data(), 63);
        ASSERT_TRUE(scale >= numerics::kScaleCodeMin && scale <= numerics::kScaleCodeMax);
        for (int8_t x : row) ASSERT_TRUE(x >= -15 && x <= 15);
      }
    }
    for (size_t size = 0; size < bytes.size(); size += 1 + size / 8) {
      bool bad = !in->begin(bytes.data(), size, kCodecVectors, 5, true, c.rows.shape, own ? BookOwner{} : BookOwner{other.data(), other.size()});
      for (int r = 0; r < 8 && !bad; ++r) in->next_row(row.data(), 63);
      EXPECT_TRUE(bad || in->overrun()) << "a truncated stream passed, " << size << " of " << bytes.size() << " bytes";
    }
  }
  for (const std::vector<uint8_t>& head : {std::vector<uint8_t>{}, {3, 0, 1, 0}, {8, 0, 1, 0}, {0, 0x80}, {0, 0xff, 0x7f}, {0, 1, 5}, {0, 0, 9, 0}}) {
    EXPECT_FALSE(in->begin(head.data(), head.size(), kCodecVectors, 8, false, {1, 1}));
  }
  EXPECT_TRUE(in->begin(other.data(), other.size(), kCodecVectors, 5, true, d.rows.shape)) << "what was damaged before is forgotten";
  EXPECT_FALSE(in->overrun());
}

}  // namespace
}  // namespace pith::coding
