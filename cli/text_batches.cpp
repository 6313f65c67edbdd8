// See text_batches.h.
#include "cli/text_batches.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "base/random.h"

namespace pith::cli {
namespace {

constexpr size_t kHeldApart = 20;  // one line in so many
constexpr double kAlone = 0.25;    // rows that end with their line

struct Line {
  std::vector<int32_t> before, body, after;  // specials around what the line says
};

class Drawer {
 public:
  Drawer(const ir::Graph& form, const Language& model, int64_t batch, uint64_t seed) : head_(model.head()), batch_(batch), seed_(seed) {
    for (ir::ValueId id : form.inputs) {
      shapes_.push_back(form.value(id).shape);
      types_.push_back(form.value(id).dtype);
    }
    length_ = static_cast<size_t>(shapes_[0].back());
    masks_ = head_ == "fill-mask" ? static_cast<size_t>(shapes_[2].back()) : 0;
    mask_ = model.vocabulary().role(PITH_TOKEN_MASK);
    padding_ = std::max(0, model.vocabulary().role(PITH_TOKEN_PADDING));
  }

  Result<void> read(const Vocabulary& vocabulary, const std::vector<std::string>& lines) {
    for (const std::string& text : lines) {
      PITH_TRY(const std::vector<pith_text_token> tokens, vocabulary.encode(text, true));
      Line line;
      for (const pith_text_token& t : tokens) (t.end > t.begin ? line.body : line.body.empty() ? line.before : line.after).push_back(t.id);
      if (line.body.empty() || line.before.size() + line.after.size() + 1 > length_) continue;
      std::vector<Line>& part = (trained_.size() + apart_.size()) % kHeldApart == kHeldApart - 1 ? apart_ : trained_;
      part.push_back(std::move(line));
    }
    if (apart_.empty()) return usage_error(fmt::format("{} lines of text are too few to retrain on; give at least {}", lines.size(), kHeldApart));
    return {};
  }

  train::DrawnBatch operator()(int64_t number) const {
    Random random(seed_ * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(number));
    const std::vector<Line>& lines = number < 0 ? apart_ : trained_;
    train::DrawnBatch out;
    for (size_t i = 0; i < shapes_.size(); ++i) {
      ir::Shape shape = shapes_[i];
      shape[0] = batch_;
      out.inputs.emplace_back(types_[i], shape);
    }
    for (int64_t r = 0; r < batch_; ++r) {
      const auto first = static_cast<size_t>(random.integer(0, static_cast<int64_t>(lines.size()) - 1));
      const bool alone = head_ == "embedding" || (head_ == "fill-mask" && random.uniform() < kAlone);
      head_ == "generate" ? write_running(lines, first, r, out) : write_encoded(lines, first, alone, r, random, out);
    }
    return out;
  }

 private:
  void write_running(const std::vector<Line>& lines, size_t first, int64_t r, train::DrawnBatch& out) const {
    std::vector<int32_t> row;
    std::vector<bool> begins;
    for (size_t at = first; row.size() <= length_; at = (at + 1) % lines.size()) {
      const Line& line = lines[at];
      for (const auto* part : {&line.before, &line.body, &line.after}) {
        for (int32_t id : *part) row.push_back(id), begins.push_back(part == &line.before && at != first);
      }
    }
    for (size_t i = 0; i < length_; ++i) {
      out.inputs[0].set(r * static_cast<int64_t>(length_) + static_cast<int64_t>(i), row[i]);
      out.labels.push_back(begins[i + 1] ? train::kNoLabel : row[i + 1]);
    }
  }

  void write_encoded(const std::vector<Line>& lines, size_t first, bool alone, int64_t r, Random& random, train::DrawnBatch& out) const {
    const Line& line = lines[first];
    std::vector<int32_t> row = line.before;
    const size_t begin = row.size(), room = length_ - line.after.size();
    for (size_t at = first; row.size() < room; at = (at + 1) % lines.size()) {
      const size_t count = std::min(room - row.size(), lines[at].body.size());
      row.insert(row.end(), lines[at].body.begin(), lines[at].body.begin() + static_cast<std::ptrdiff_t>(count));
      if (alone) break;
    }
    const size_t end = row.size();
    row.insert(row.end(), line.after.begin(), line.after.end());
    if (masks_ > 0) mask(row, begin, end, r, random, out);
    for (size_t i = 0; i < length_; ++i) {
      const int64_t place = r * static_cast<int64_t>(length_) + static_cast<int64_t>(i);
      out.inputs[0].set(place, i < row.size() ? row[i] : padding_);
      out.inputs[1].set(place, i < row.size() ? 1 : 0);
    }
  }

  void mask(std::vector<int32_t>& row, size_t begin, size_t end, int64_t r, Random& random, train::DrawnBatch& out) const {
    std::vector<size_t> places;
    for (size_t i = begin; i < end; ++i) places.push_back(i);
    const size_t wanted = std::clamp<size_t>(masks_ >> random.integer(0, 2), 1, (places.size() + 2) / 3);
    for (size_t i = 0; i < wanted; ++i) std::swap(places[i], places[static_cast<size_t>(random.integer(static_cast<int64_t>(i), static_cast<int64_t>(places.size()) - 1))]);
    for (size_t i = 0; i < masks_; ++i) {
      const size_t place = places[i % wanted];
      out.inputs[2].set(r * static_cast<int64_t>(masks_) + static_cast<int64_t>(i), static_cast<double>(place));
      out.labels.push_back(row[place]);
    }
    for (size_t i = 0; i < wanted; ++i) row[places[i]] = mask_;
  }

  std::string head_;
  int64_t batch_;
  uint64_t seed_;
  std::vector<ir::Shape> shapes_;
  std::vector<ir::DType> types_;
  size_t length_ = 0, masks_ = 0;
  int32_t mask_ = -1, padding_ = 0;
  std::vector<Line> trained_, apart_;
};

}  // namespace

Result<std::function<train::DrawnBatch(int64_t)>> text_batches(const ir::Graph& form, const Language& model, const std::vector<std::string>& lines, int64_t batch, uint64_t seed) {
  const size_t wanted = model.head() == "fill-mask" ? 3 : model.head() == "embedding" ? 2 : 1;
  if (form.inputs.size() != wanted) return usage_error(fmt::format("'{}' has {} inputs, and retraining on text takes {}", form.name, form.inputs.size(), wanted));
  auto drawer = std::make_shared<Drawer>(form, model, batch, seed);
  PITH_CHECK_OK(drawer->read(model.vocabulary(), lines));
  return std::function<train::DrawnBatch(int64_t)>([drawer](int64_t number) { return (*drawer)(number); });
}

}  // namespace pith::cli
