// See vectors.h and coding/decode/vectors.h.
#include "coding/encode/vectors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <map>

#include "coding/decode/vectors.h"
#include "coding/encode/binary.h"
#include "coding/encode/rans.h"
#include "coding/encode/scales.h"

namespace pith::coding {
namespace {

constexpr int kAll = 1 << kVectorBits;

using Run = std::array<int8_t, 8>;  // zeros beyond its length

bool negative(const Run& run) {
  const auto first = std::find_if(run.begin(), run.end(), [](int8_t x) { return x != 0; });
  return first != run.end() && *first < 0;
}

Run turned(Run run) {
  for (int8_t& x : run) x = static_cast<int8_t>(-x);
  return run;
}

// Calls f(run, its length) for each run, row after row, until one says no.
template <typename F>
void for_runs(const CodedRows& rows, int length, F f) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t k = 0; k < rows.row_length; k += length) {
      Run run{};
      const int here = static_cast<int>(std::min<int64_t>(length, rows.row_length - k));
      for (int i = 0; i < here; ++i) run[static_cast<size_t>(i)] = static_cast<int8_t>(rows.integers[static_cast<size_t>(r * rows.row_length + k + i)]);
      if (!f(run, here)) return;
    }
  }
}

Run vector_at(const Book& book, int v) {
  Run run{};
  std::copy_n(book.vectors.begin() + v * book.length, book.length, run.begin());
  return run;
}

// Which index stands for a run: 0 zeros, 2v - 1 vector v, 2v its negative; -1 none. A row's last run may be the beginning of a
// vector.
class Finder {
 public:
  explicit Finder(const Book& book) : book_(book) {
    for (int v = 0; v < book.count(); ++v) found_[book.length].emplace(vector_at(book, v), 2 * v + 1), found_[book.length].emplace(turned(vector_at(book, v)), 2 * v + 2);
    found_[book.length][Run{}] = 0;
  }
  int index(const Run& run, int length) {
    auto& found = found_[length];
    if (found.empty()) {  // the first vector that begins so
      found[Run{}] = 0;
      for (int v = 0; v < book_.count(); ++v) {
        Run begin = vector_at(book_, v);
        std::fill(begin.begin() + length, begin.end(), int8_t{0});
        found.emplace(begin, 2 * v + 1), found.emplace(turned(begin), 2 * v + 2);
      }
    }
    const auto at = found.find(run);
    return at == found.end() ? -1 : at->second;
  }

 private:
  const Book& book_;
  std::map<int, std::map<Run, int>> found_;  // by length
};

// Of all slots so many for each vector, as many for its negative, and the rest for zeros, so that the code is shortest.
std::vector<int> frequencies(const std::vector<int>& indices, int count) {
  std::vector<double> times(static_cast<size_t>(count), 0.0);
  double zeros = 0;
  for (int i : indices) (i == 0 ? zeros : times[static_cast<size_t>((i - 1) / 2)]) += 1;
  std::vector<int> of;
  int left = kAll;
  for (double t : times) {
    of.push_back(t == 0 ? 0 : std::max(1, static_cast<int>(0.5 * kAll * t / static_cast<double>(indices.size()))));
    left -= 2 * of.back();
  }
  const auto gain = [&](size_t v, int more) { return times[v] * std::log2(static_cast<double>(of[v] + more) / of[v]); };
  for (const int least = zeros > 0 ? 2 : 0; left < least; left += 2) {  // rounded up too often
    size_t best = 0;
    double lost = -1e300;
    for (size_t v = 0; v < of.size(); ++v) {
      if (of[v] > 1 && gain(v, -1) > lost) best = v, lost = gain(v, -1);
    }
    --of[best];
  }
  while (left >= (zeros > 0 ? 4 : 2)) {
    size_t best = 0;
    double most = zeros > 0 ? zeros * std::log2(left / (left - 2.0)) : 0;
    bool found = false;
    for (size_t v = 0; v < of.size(); ++v) {
      if (of[v] > 0 && gain(v, 1) > most) best = v, most = gain(v, 1), found = true;
    }
    if (!found) break;
    ++of[best];
    left -= 2;
  }
  return of;
}

std::vector<uint8_t> under_rans(const std::vector<int>& indices, const std::vector<int>& of) {
  std::vector<RansSlots> slots{{0, kAll}};  // by index
  for (int f : of) slots[0].size -= 2 * static_cast<uint32_t>(f);
  for (int f : of) {
    for (int sign = 0; sign < 2; ++sign) slots.push_back({slots.back().start + slots.back().size, static_cast<uint32_t>(f)});
  }
  return encode_states(static_cast<int64_t>(indices.size()), kVectorBits, [&](int64_t i) { return slots[static_cast<size_t>(indices[static_cast<size_t>(i)])]; });
}

std::vector<uint8_t> of_fixed_width(const std::vector<int>& indices, int width) {
  std::vector<uint8_t> body;
  uint32_t ahead = 0;
  int filled = 0;
  for (int i : indices) {
    ahead |= static_cast<uint32_t>(i) << filled;
    for (filled += width; filled >= 8; filled -= 8, ahead >>= 8) body.push_back(static_cast<uint8_t>(ahead));
  }
  if (filled > 0) body.push_back(static_cast<uint8_t>(ahead));
  return body;
}

void add(Book& book, const Run& run) { book.vectors.insert(book.vectors.end(), run.begin(), run.begin() + book.length); }

}  // namespace

std::optional<Book> book_of(const CodedRows& rows, int length) {
  std::map<Run, int64_t> whole, parts;  // how often
  for_runs(rows, length, [&](const Run& run, int here) {
    ++(here == length ? whole : parts)[negative(run) ? turned(run) : run];
    return whole.size() <= kMostVectors + 1;
  });
  whole.erase(Run{});
  if (whole.size() > kMostVectors) return std::nullopt;
  std::vector<std::pair<int64_t, Run>> order;
  for (const auto& [run, times] : whole) order.emplace_back(-times, run);
  std::sort(order.begin(), order.end());
  Book book;
  book.length = length;
  for (const auto& o : order) add(book, o.second);
  Finder finder(book);
  const int part = static_cast<int>(rows.row_length % length);
  std::vector<Run> more;
  for (const auto& [run, times] : parts) {
    if (finder.index(run, part) < 0) more.push_back(run);
  }
  for (const Run& run : more) add(book, run);
  return book.count() <= kMostVectors ? std::optional(std::move(book)) : std::nullopt;
}

std::optional<Book> book_of_both(const Book& first, const Book& second) {
  Book both = first;
  Finder finder(first);
  for (int v = 0; v < second.count(); ++v) {
    if (finder.index(vector_at(second, v), first.length) < 0) add(both, vector_at(second, v));
  }
  return both.count() <= kMostVectors ? std::optional(std::move(both)) : std::nullopt;
}

std::optional<std::vector<uint8_t>> encode_vectors(const CodedRows& rows, const Book& book, bool own, bool coded) {
  Finder finder(book);
  std::vector<int> indices;
  int most = 0;
  for_runs(rows, book.length, [&](const Run& run, int here) {
    indices.push_back(finder.index(run, here));
    most = std::max(most, indices.back());
    return indices.back() >= 0;
  });
  if (!indices.empty() && indices.back() < 0) return std::nullopt;
  const int count = own ? book.count() : (most + 1) / 2;
  std::vector<uint8_t> out{static_cast<uint8_t>(std::countr_zero(static_cast<uint32_t>(book.length)) - 1 + (coded ? 4 : 0))};
  append_varint(out, static_cast<uint64_t>(count));
  if (own) {
    for (int8_t x : book.vectors) out.push_back(static_cast<uint8_t>(x));
  }
  BinaryEncoder side;
  ScaleWriter scales(rows.scale_codes, side, rows.own_scales);
  const std::vector<int> of = coded ? frequencies(indices, count) : std::vector<int>();
  IntegerModel model;
  for (size_t v = 0; v < of.size(); ++v) encode_signed(side, model, of[v] - (v > 0 ? of[v - 1] : 0));
  for (int64_t r = 0; r < rows.rows; ++r) scales.row(r, false);
  const std::vector<uint8_t> coded_side = side.finish(), body = coded ? under_rans(indices, of) : of_fixed_width(indices, std::bit_width(static_cast<uint32_t>(2 * count)));
  append_varint(out, coded_side.size());
  out.insert(out.end(), coded_side.begin(), coded_side.end());
  out.insert(out.end(), body.begin(), body.end());
  return out;
}

}  // namespace pith::coding
