// See batches.h.
#include "train/batches.h"

#include <cmath>
#include <numeric>

#include "base/random.h"
#include "train/student.h"

namespace pith::train {

Result<Batches> Batches::create(const ir::Graph& teacher, Dataset data, const TrainOptions& options) {
  Batches b;
  PITH_TRY(b.teacher_, Network::build(teacher));
  b.options_ = options;
  b.data_ = std::move(data);
  for (const ir::Value& v : teacher.values) b.names_.push_back(v.name);
  for (const ir::Node& n : teacher.nodes)
    if (is_product(n.op)) b.channels_[n.outputs[0]] = channel_dimension(n.op);
  if (b.data_.draw) {
    for (int64_t i = 0; i * options.batch < options.validation; ++i) {
      at::NoGradGuard guard;
      b.validation_.push_back(b.drawn(-1 - i));
      b.validation_.back().answers = b.teacher_.run(b.validation_.back().inputs);
    }
    return b;
  }
  b.count_ = b.data_.count();
  if (b.count_ < 1) return usage_error("no samples to retrain on; give a folder, archive or array with --samples");
  if (options.shift == 0 && !options.flip && options.gain == 0 && options.noise == 0 && options.zoom == 0) b.options_.variants = 1;
  std::vector<int64_t> shape = b.data_.shape;
  shape[0] = b.count_;
  b.all_ = at::from_blob(b.data_.values.data(), shape, at::kFloat);
  if (const int64_t apart = std::min<int64_t>(options.validation, b.count_ / 10); apart > 0) {
    at::NoGradGuard guard;
    b.count_ -= apart;
    for (int64_t i = 0; i < apart; i += options.batch) {
      Batch part;
      part.inputs = {placed(b.all_.narrow(0, b.count_ + i, std::min(options.batch, apart - i)))};
      part.answers = b.teacher_.run(part.inputs);
      b.validation_.push_back(std::move(part));
    }
  }
  int64_t bytes = 0;
  for (ir::ValueId id : teacher.outputs) bytes += 4 * ir::element_count(teacher.value(id).shape) * b.count_ * b.options_.variants;
  if (bytes <= int64_t{1} << 30 && options.mix == 0) {
    b.known_.assign(static_cast<size_t>(b.count_ * b.options_.variants), false);
    b.kept_.resize(teacher.outputs.size());
  }
  return b;
}

std::vector<at::Tensor> Batches::probe() const {
  if (data_.draw) return drawn(0).inputs;
  return {placed(all_.narrow(0, 0, std::min<int64_t>(count_, 32)))};
}

std::map<std::string, at::Tensor> Batches::means(const std::vector<at::Tensor>& inputs) const {
  at::NoGradGuard guard;
  std::map<std::string, at::Tensor> found;
  Hooks hooks;
  hooks.result = [&](ir::ValueId id, const ir::Activation&, const at::Tensor& t) {
    const auto channels = channels_.find(id);
    if (channels != channels_.end()) found[names_[static_cast<size_t>(id)]] = channel_means(t, channels->second);
    return at::Tensor();
  };
  teacher_.run(inputs, hooks);
  return found;
}

Batch Batches::drawn(int64_t number) const {
  Batch batch;
  const DrawnBatch made = data_.draw(number);
  for (const ir::Tensor& t : made.inputs) batch.inputs.push_back(to_torch(t));
  if (!made.labels.empty()) batch.labels = placed(at::tensor(made.labels, at::kLong));
  return batch;
}

at::Tensor Batches::augmented(int64_t sample, int64_t variant) const {
  at::Tensor x = all_[sample];
  if (x.dim() < 2 || options_.variants == 1) return x;
  Random random(options_.seed * 0x9e3779b97f4a7c15ull + static_cast<uint64_t>(sample) * 4099 + static_cast<uint64_t>(variant));
  const int64_t s = options_.shift, dy = random.integer(-s, s), dx = random.integer(-s, s);
  if (options_.flip && random.integer(0, 1) != 0) x = x.flip({x.dim() - 1});
  for (const auto& [dimension, by] : {std::pair<int64_t, int64_t>{x.dim() - 2, dy}, {x.dim() - 1, dx}}) {
    if (by == 0) continue;
    const at::Tensor at = (at::arange(x.size(dimension), at::kLong) - by).clamp(0, x.size(dimension) - 1);
    x = x.index_select(dimension, at);
  }
  if (options_.zoom != 0 && x.dim() == 3) {
    const int64_t full_h = x.size(1), full_w = x.size(2);
    const auto part = [&](int64_t n) { return std::max<int64_t>(2, std::llround(static_cast<double>(n) * (1 - options_.zoom * random.uniform()))); };
    const int64_t h = part(full_h), w = part(full_w), top = random.integer(0, full_h - h), left = random.integer(0, full_w - w);
    x = at::upsample_bilinear2d(x.narrow(1, top, h).narrow(2, left, w).unsqueeze(0), {full_h, full_w}, false).squeeze(0);
  }
  if (options_.gain != 0) x = x * std::exp(options_.gain * random.normal());
  if (options_.noise != 0) {
    std::vector<float> noise(static_cast<size_t>(x.numel()));
    const double deviation = options_.noise * std::abs(random.normal()) * x.std().item<double>();
    for (float& v : noise) v = static_cast<float>(deviation * random.normal());
    x = x + at::tensor(noise).view(x.sizes());
  }
  return x;
}

// A share of the batch is mixed with its neighbours in the batch, and has no label then.
at::Tensor Batches::mixed(const at::Tensor& x, int64_t step, std::vector<int64_t>& labels) const {
  if (options_.mix == 0) return x;
  Random random(options_.seed * 0x9e3779b97f4a7c15ull + 104729 * static_cast<uint64_t>(step * options_.place.size + options_.place.rank + 1));
  std::vector<float> shares(static_cast<size_t>(x.size(0)), 1.0f);
  for (size_t i = 0; i < shares.size(); ++i) {
    if (random.uniform() >= options_.mix) continue;
    shares[i] = static_cast<float>(random.uniform());
    if (!labels.empty()) labels[i] = kNoLabel;
  }
  std::vector<int64_t> shape(static_cast<size_t>(x.dim()), 1);
  shape[0] = x.size(0);
  const at::Tensor share = at::tensor(shares).view(shape);
  return x * share + x.roll(1, 0) * (1 - share);
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

Batch Batches::at_step(int64_t step, const std::set<std::string>* wanted) {
  at::NoGradGuard guard;
  if (data_.draw) {
    Batch batch = drawn(step * options_.place.size + options_.place.rank);
    teach(batch, wanted);
    return batch;
  }
  std::vector<at::Tensor> rows;
  std::vector<int64_t> keys, labels;
  for (int64_t i = 0; i < options_.batch; ++i) {
    const int64_t position = (step * options_.place.size + options_.place.rank) * options_.batch + i, sample = sample_at(position);
    const int64_t epoch = position / count_, variant = known_.empty() && options_.variants > 1 ? epoch : (epoch + sample) % options_.variants;
    rows.push_back(augmented(sample, variant));
    keys.push_back(sample * options_.variants + variant);
    if (!data_.labels.empty()) labels.push_back(data_.labels[static_cast<size_t>(sample)]);
  }
  Batch batch;
  batch.inputs = {placed(mixed(at::stack(rows), step, labels))};
  if (!labels.empty()) batch.labels = placed(at::tensor(labels, at::kLong));
  if (known_.empty() || wanted != nullptr) {
    teach(batch, wanted);
  } else {
    batch.answers = answers(keys);
  }
  return batch;
}

// The teacher's answers, and its wanted values.
void Batches::teach(Batch& batch, const std::set<std::string>* wanted) const {
  Hooks hooks;
  hooks.value = [&](ir::ValueId id, const at::Tensor& t) {
    if (wanted != nullptr && wanted->count(names_[static_cast<size_t>(id)])) batch.values[names_[static_cast<size_t>(id)]] = t;
    return t;
  };
  batch.answers = teacher_.run(batch.inputs, hooks);
}

// Answers are made for kBlock neighbouring keys at once, always the same ones together: what libtorch computes for a sample may
// depend on its company in the last bit, and a resumed run has to hear the same.
std::vector<at::Tensor> Batches::answers(const std::vector<int64_t>& keys) {
  constexpr int64_t kBlock = 8;
  const auto all = static_cast<int64_t>(known_.size());
  for (int64_t key : keys) {
    if (known_[static_cast<size_t>(key)]) continue;
    const int64_t first = key / kBlock * kBlock, n = std::min(kBlock, all - first);
    std::vector<at::Tensor> rows;
    for (int64_t k = first; k < first + n; ++k) rows.push_back(augmented(k / options_.variants, k % options_.variants));
    const auto made = teacher_.run({placed(at::stack(rows))});
    for (size_t k = 0; k < made.size(); ++k) {
      if (!kept_[k].defined()) {
        std::vector<int64_t> shape = made[k].sizes().vec();
        shape[0] = all;
        kept_[k] = at::empty(shape);
      }
      kept_[k].narrow(0, first, n).copy_(made[k]);
    }
    std::fill_n(known_.begin() + first, n, true);
  }
  const at::Tensor at = at::tensor(keys, at::kLong);
  std::vector<at::Tensor> found;
  for (const at::Tensor& k : kept_) found.push_back(placed(k.index_select(0, at)));
  return found;
}

}  // namespace pith::train
