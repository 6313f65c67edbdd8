// Encoding rows as vectors out of a book, for coding/decode/vectors.h.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "coding/encode/weights.h"

namespace pith::coding {

// Vectors of `length` weights, one after the other, beside zeros and their negatives.
struct Book {
  int length = 2;
  std::vector<int8_t> vectors;
  int count() const { return static_cast<int>(vectors.size()) / length; }
};

// The book of exactly what rows are made of, so that it codes them without loss: up to sign, the most frequent first. Nothing
// where that is more than a book holds.
std::optional<Book> book_of(const CodedRows& rows, int length);

// What both are made of, the first's vectors first; nothing where that is more than a book holds.
std::optional<Book> book_of_both(const Book& first, const Book& second);

// `own`: the stream holds the book, otherwise it uses that of another constant's stream. `coded`: indices go under rANS.
// Nothing where rows aren't made of the book's vectors.
std::optional<std::vector<uint8_t>> encode_vectors(const CodedRows& rows, const Book& book, bool own, bool coded);

}  // namespace pith::coding
