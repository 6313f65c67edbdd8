// See batches.h.
#include "train/batches.h"

#include <numeric>

#include "base/random.h"

namespace pith::train {

Result<Batches> Batches::create(const ir::Graph& teacher, Dataset data, const TrainOptions& options) {
  Batches b;
  PITH_TRY(b.teacher_, Network::build(teacher));
  b.options_ = options;
  b.data_ = std::move(data);
  b.count_ = b.data_.count();
  if (b.count_ < 1) return usage_error("no samples to retrain on; give a folder, archive or array with --samples");
  if (options.shift == 0 && !options.flip) b.options_.variants = 1;
  std::vector<int64_t> shape = b.data_.shape;
  shape[0] = b.count_;
  b.all_ = at::from_blob(b.data_.values.data(), shape, at::kFloat);
  int64_t bytes = 0;
  for (ir::ValueId id : teacher.outputs) bytes += 4 * ir::element_count(teacher.value(id).shape) * b.count_ * b.options_.variants;
  if (bytes <= int64_t{1} << 30) {
    b.known_.assign(static_cast<size_t>(b.count_ * b.options_.variants), false);
    b.kept_.resize(teacher.outputs.size());
  }
  return b;
}

at::Tensor Batches::probe() const { return all_.narrow(0, 0, std::min<int64_t>(count_, 32)); }

at::Tensor Batches::augmented(int64_t sample, int64_t variant) const {
  at::Tensor x = all_[sample];
  if (x.dim() < 2 || (options_.shift == 0 && !options_.flip)) return x;
  Random random(options_.seed * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(sample) * 4099 + static_cast<uint64_t>(variant));
  const int64_t s = options_.shift, dy = random.integer(-s, s), dx = random.integer(-s, s);
  if (options_.flip && random.integer(0, 1) != 0) x = x.flip({x.dim() - 1});
  for (const auto& [dimension, by] : {std::pair<int64_t, int64_t>{x.dim() - 2, dy}, {x.dim() - 1, dx}}) {
    if (by == 0) continue;
    const at::Tensor at = (at::arange(x.size(dimension), at::kLong) - by).clamp(0, x.size(dimension) - 1);
    x = x.index_select(dimension, at);
  }
  return x;
}

int64_t Batches::sample_at(int64_t position) {
  if (const int64_t epoch = position / count_; epoch != epoch_) {
    epoch_ = epoch;
    order_.resize(static_cast<size_t>(count_));
    std::iota(order_.begin(), order_.end(), 0);
    Random random(options_.seed + 7919 * static_cast<uint64_t>(epoch + 1));
    for (int64_t i = count_ - 1; i > 0; --i) std::swap(order_[static_cast<size_t>(i)], order_[static_cast<size_t>(random.integer(0, i))]);
  }
  return order_[static_cast<size_t>(position % count_)];
}

Batch Batches::at_step(int64_t step) {
  at::NoGradGuard guard;
  const int64_t n = options_.batch;
  std::vector<at::Tensor> rows;
  std::vector<int64_t> keys, labels;
  std::vector<int64_t> fresh;  // rows of the batch that the teacher hasn't seen
  for (int64_t i = 0; i < n; ++i) {
    const int64_t position = step * n + i, sample = sample_at(position);
    const int64_t variant = (position / count_ + sample) % options_.variants;
    rows.push_back(augmented(sample, variant));
    keys.push_back(sample * options_.variants + variant);
    if (!data_.labels.empty()) labels.push_back(data_.labels[static_cast<size_t>(sample)]);
    if (known_.empty() || !known_[static_cast<size_t>(keys.back())]) fresh.push_back(i);
  }
  Batch batch;
  batch.inputs = at::stack(rows);
  if (!labels.empty()) batch.labels = at::tensor(labels, at::kLong);
  if (known_.empty()) {
    batch.answers = teacher_.run({batch.inputs});
    return batch;
  }
  const at::Tensor at = at::tensor(keys, at::kLong);
  if (!fresh.empty()) {
    const at::Tensor which = at::tensor(fresh, at::kLong);
    const auto answers = teacher_.run({batch.inputs.index_select(0, which)});
    for (size_t k = 0; k < answers.size(); ++k) {
      if (!kept_[k].defined()) {
        std::vector<int64_t> shape = answers[k].sizes().vec();
        shape[0] = static_cast<int64_t>(known_.size());
        kept_[k] = at::empty(shape);
      }
      kept_[k].index_copy_(0, at.index_select(0, which), answers[k]);
    }
    for (int64_t i : fresh) known_[static_cast<size_t>(keys[static_cast<size_t>(i)])] = true;
  }
  for (const at::Tensor& k : kept_) batch.answers.push_back(k.index_select(0, at));
  return batch;
}

}  // namespace pith::train
