// See books.h.
#include "program/books.h"

#include <algorithm>
#include <optional>

#include "coding/encode/vectors.h"

namespace pith {
namespace {

using coding::Book;
using coding::CodedRows;

// Indices of a fixed width are looked up without any arithmetic: entropy-coded ones must save this part.
constexpr size_t kWorth = 16;

std::vector<uint8_t> encode(const CodedRows& rows, const Book& book, bool own) {
  std::vector<uint8_t> fixed = *coding::encode_vectors(rows, book, own, false), coded = *coding::encode_vectors(rows, book, own, true);
  return coded.size() + coded.size() / kWorth < fixed.size() ? coded : fixed;
}

// Constants whose books have enough in common, and all of their vectors.
struct Group {
  std::vector<size_t> members;
  Book book;
};

// Each constant joins the first group that it has enough in common with, or begins one.
std::vector<Group> groups_of(const std::vector<std::optional<Book>>& books) {
  std::vector<Group> groups;
  for (size_t c = 0; c < books.size(); ++c) {
    if (!books[c] || books[c]->count() == 0) continue;
    const int count = books[c]->count();
    const auto joined = std::find_if(groups.begin(), groups.end(), [&](Group& g) {
      const auto both = coding::book_of_both(g.book, *books[c]);
      if (!both || 2 * (g.book.count() + count - both->count()) < std::min(g.book.count(), count)) return false;
      g.book = *both;
      g.members.push_back(c);
      return true;
    });
    if (joined == groups.end()) groups.push_back({{c}, *books[c]});
  }
  return groups;
}

}  // namespace

std::vector<WrittenVectors> choose_books(const std::vector<CodedRows>& constants, const std::vector<size_t>& others) {
  std::vector<WrittenVectors> chosen(constants.size());
  std::vector<bool> settled(constants.size());
  std::vector<Group> groups;
  const auto bytes_of = [&](size_t c) { return chosen[c].bytes.empty() ? others[c] : chosen[c].bytes.size(); };
  for (int length : {2, 4, 8}) {
    std::vector<std::optional<Book>> books;
    for (size_t c = 0; c < constants.size(); ++c) {
      books.push_back(coding::book_of(constants[c], length));
      if (!books[c]) continue;
      std::vector<uint8_t> bytes = encode(constants[c], *books[c], true);
      if (bytes.size() < bytes_of(c)) chosen[c].bytes = std::move(bytes);
    }
    for (Group& g : groups_of(books)) groups.push_back(std::move(g));
  }
  // What a group's members that aren't settled would save, and their streams.
  using Streams = std::vector<std::pair<size_t, std::vector<uint8_t>>>;
  const auto shared = [&](const Group& g, Streams& streams) {
    int64_t saved = 0;
    streams.clear();
    for (size_t c : g.members) {
      if (settled[c]) continue;
      std::vector<uint8_t> bytes = encode(constants[c], g.book, streams.empty());
      if (!streams.empty() && bytes.size() >= bytes_of(c)) continue;
      saved += static_cast<int64_t>(bytes_of(c)) - static_cast<int64_t>(bytes.size());
      streams.emplace_back(c, std::move(bytes));
    }
    return streams.size() < 2 ? 0 : saved;
  };
  Streams streams;
  std::vector<std::pair<int64_t, const Group*>> order;
  for (const Group& g : groups) order.emplace_back(-shared(g, streams), &g);
  std::stable_sort(order.begin(), order.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& o : order) {
    if (o.first == 0 || shared(*o.second, streams) <= 0) continue;
    for (auto& [c, bytes] : streams) {
      chosen[c] = {std::move(bytes), c == streams[0].first ? -1 : static_cast<int64_t>(streams[0].first)};
      settled[c] = true;
    }
  }
  return chosen;
}

}  // namespace pith
