// See trainer.h. Adam (Kingma and Ba 2015) on latents in units of their first step, so that one learning rate fits all.
#include "train/trainer.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <malloc.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <sstream>

#include "base/file.h"
#include "numerics/row_lifting.h"
#include "train/batches.h"
#include "train/loss.h"
#include "train/parallel.h"
#include "train/student.h"

namespace pith::train {
namespace {

// The teacher's values that a student is compared with. Layer by layer: all that weights make. As features: where branches
// meet (sums, concatenations), and products that no function follows.
std::set<std::string> compared_values(const ir::Graph& teacher, bool layerwise) {
  std::set<std::string> names;
  for (const ir::Node& n : teacher.nodes) {
    const bool weighted = n.inputs.size() > 1 && n.inputs[1] != ir::kNoValue && teacher.value(n.inputs[1]).is_constant() &&
                          (n.op == ir::Op::kConv || n.op == ir::Op::kConvTranspose || n.op == ir::Op::kGemm || n.op == ir::Op::kMatMul);
    const bool meets = (n.op == ir::Op::kAdd && !teacher.value(n.inputs[1]).is_constant()) || n.op == ir::Op::kConcat;
    const bool linear = weighted && n.activation.function == numerics::Unary::kIdentity;
    if (layerwise ? weighted : meets || linear) names.insert(teacher.value(n.outputs[0]).name);
  }
  if (!layerwise) {
    for (ir::ValueId id : teacher.outputs) names.erase(teacher.value(id).name);
  }
  return names;
}

constexpr double kFirstPrice = 1.0 / 3;  // all bits together, in distortions

struct Moments {
  at::Tensor first, second;
};

class TorchTrainer : public Trainer {
 public:
  TorchTrainer(Batches batches, Student student, std::unique_ptr<Group> group, const TrainOptions& options, const ir::Graph& teacher)
      : group_(std::move(group)), batches_(std::move(batches)), student_(std::move(student)), options_(options), layers_(compared_values(teacher, true)), features_(compared_values(teacher, false)) {
    const std::vector<int> made_by = ir::producers(teacher);
    for (ir::ValueId id : teacher.outputs) {
      const int n = made_by[static_cast<size_t>(id)];
      probabilities_.push_back(n >= 0 && teacher.nodes[static_cast<size_t>(n)].op == ir::Op::kSoftmax);
    }
    status_.lambda = options.lambda;
    forget();
  }

  Result<void> run(double share, const std::atomic<bool>& stop, const std::function<void(const Status&)>& observe) override {
    try {
      auto before = std::chrono::steady_clock::now();
      bool ended = stop;
      while (status_.share < share && !ended) {
        PITH_TRY(ended, step(stop));
        const auto now = std::chrono::steady_clock::now();
        spent_ += std::chrono::duration<double>(now - before).count();
        before = now;
        const double done = share_done();
        steer(done - status_.share);
        status_.share = done;  // by the clock, processes may differ by a step's time until they agree at the next
        if (observe) observe(status_);
      }
      if (status_.share >= 1 && !averages_.empty()) choose();
    } catch (const std::exception& e) {
      return failure("retraining", e);
    }
    return {};
  }
  void aim(double target_bits) override { options_.target_bits = target_bits; }
  Status status() const override { return status_; }
  Model model() const override { return student_.model(); }
  Result<void> replace(const Model& model) override {
    try {
      PITH_TRY(student_, Student::create(model, batches_.probe()));
      settled_ = false;
      averages_.clear();
      forget();
    } catch (const std::exception& e) {
      return failure("retraining", e);
    }
    return {};
  }
  Result<void> save(const std::string& path) const override;
  Result<void> load(const std::string& path) override;

 private:
  void forget() {
    moments_.clear();
    updates_ = 0;
    for (const auto& p : student_.parameters()) moments_.push_back({at::zeros_like(p.tensor), at::zeros_like(p.tensor)});
  }

  // What a checkpoint holds beside the graph.
  std::vector<at::Tensor> everything() const {
    std::vector<at::Tensor> all = student_.units();
    for (size_t i = 0; i < moments_.size(); ++i) all.insert(all.end(), {student_.parameters()[i].tensor, moments_[i].first, moments_[i].second});
    all.insert(all.end(), averages_.begin(), averages_.end());
    const std::vector<at::Tensor> masks = student_.masks();
    all.insert(all.end(), masks.begin(), masks.end());
    return all;
  }

  double share_done() const { return options_.steps > 0 ? static_cast<double>(status_.step) / static_cast<double>(options_.steps) : spent_ / options_.seconds; }

  bool apart() const { return status_.share < options_.layerwise; }

  // One update of all processes together. Whether any of them was asked to stop.
  Result<bool> step(bool stop) {
    const bool compare = apart() || options_.features > 0;
    if (status_.share >= options_.settle && !settled_) settle();
    const Batch batch = batches_.at_step(status_.step, compare ? apart() ? &layers_ : &features_ : nullptr);
    const Student::Forward f = student_.forward();
    Student::Comparison comparison{&batch.values, apart(), {}};
    const auto outputs = student_.run(batch.inputs, f, compare ? &comparison : nullptr);
    const bool alone = apart() && comparison.error.defined();  // a student of other shapes may have nothing to compare inside
    at::Tensor distortion = alone ? comparison.error : output_distortion(options_, probabilities_, outputs, batch.answers, batch.labels);
    if (!alone && comparison.error.defined()) distortion = distortion + options_.features * comparison.error;
    const at::Tensor loss = distortion + f.rate * status_.lambda;
    loss.backward();
    double d = distortion.item<double>();
    if (group_) {
      const at::Tensor numbers = placed(at::tensor({d, spent_, stop ? 1.0 : 0.0}).to(at::kFloat));
      std::vector<at::Tensor> all{numbers};
      for (const auto& p : student_.parameters()) {
        if (p.tensor.grad().defined()) all.push_back(p.tensor.grad());
      }
      group_->average(all);
      d = numbers[0].item<double>();
      spent_ = numbers[1].item<double>();
      stop = numbers[2].item<double>() > 0;
    }
    if (!std::isfinite(d)) return error(ErrorCode::kQuality, "retraining: the loss is not a number any more; use a smaller learning rate");
    if (options_.lambda <= 0) options_.lambda = status_.lambda = kFirstPrice * d / f.bits;
    update();
    const double keep = std::min(0.99, static_cast<double>(status_.step) / static_cast<double>(status_.step + 5));
    status_.distortion = keep * status_.distortion + (1 - keep) * d;
    status_.bits = f.bits;
    status_.nonzero = f.nonzero / f.count;
    if (first_bits_ == 0) first_bits_ = f.bits;
    ++status_.step;
    return stop;
  }

  void update() {
    at::NoGradGuard guard;
    ++updates_;
    const double warm = std::min(1.0, static_cast<double>(updates_) / 100);
    const double c1 = 1 - std::pow(0.9, updates_), c2 = 1 - std::pow(0.999, updates_);
    for (size_t i = 0; i < moments_.size(); ++i) {
      const auto& p = student_.parameters()[i];
      at::Tensor gradient = p.tensor.grad();
      if (!gradient.defined()) continue;
      Moments& m = moments_[i];
      m.first.mul_(0.9).add_(gradient, 0.1);
      m.second.mul_(0.999).addcmul_(gradient, gradient, 0.001);
      const double rate = (p.step ? options_.step_rate : options_.rate * p.rate) * warm * cosine();
      at::Tensor(p.tensor).addcdiv_(m.first, (m.second / c2).sqrt().add_(1e-10), -rate / c1);
      gradient.zero_();
    }
    const double keep = std::min(options_.average, static_cast<double>(averaged_ + 1) / static_cast<double>(averaged_ + 10));
    for (size_t i = 0; i < averages_.size(); ++i) averages_[i].lerp_(student_.parameters()[i].tensor, 1 - keep);
    if (!averages_.empty()) ++averaged_;
  }
  double cosine() const { return 0.5 * (1 + std::cos(3.141592653589793 * std::min(1.0, status_.share))) + 0.002; }

  void settle() {
    settled_ = true;
    student_.freeze_zeros();
    status_.lambda = settled_lambda_ = options_.lambda;
    if (options_.average <= 0) return;
    for (const auto& p : student_.parameters()) averages_.push_back(p.tensor.detach().clone());
    averaged_ = 0;
  }

  double validate() const {
    at::NoGradGuard guard;
    const Student::Forward f = student_.forward();
    double sum = 0, count = 0;
    for (const Batch& part : batches_.validation()) {
      const auto n = static_cast<double>(part.inputs[0].size(0));
      sum += n * output_distortion(options_, probabilities_, student_.run(part.inputs, f), part.answers, part.labels).item<double>();
      count += n;
    }
    return sum / count;
  }

  // Keeps the moving average where it is better, or where nothing can tell; and biases moved to the original's means where
  // those are better, on the samples that were held apart.
  void choose() {
    choose_average();
    if (batches_.validation().empty()) return;
    at::NoGradGuard guard;
    std::vector<at::Tensor> before;
    for (const auto& p : student_.parameters()) before.push_back(p.tensor.detach().clone());
    const std::vector<at::Tensor> inputs = batches_.probe();
    student_.recentre(inputs, batches_.means(inputs));
    status_.validation_recentred = validate();
    if (status_.validation_recentred < std::min(status_.validation, status_.validation_average)) return;
    for (size_t i = 0; i < before.size(); ++i) at::Tensor(student_.parameters()[i].tensor).copy_(before[i]);
  }

  void choose_average() {
    at::NoGradGuard guard;
    const auto swap = [&] {
      for (size_t i = 0; i < averages_.size(); ++i) {
        const at::Tensor was = student_.parameters()[i].tensor.detach().clone();
        at::Tensor(student_.parameters()[i].tensor).copy_(averages_[i]);
        averages_[i].copy_(was);
      }
    };
    const bool measured = !batches_.validation().empty();
    if (measured) status_.validation = validate();
    swap();
    if (measured) status_.validation_average = validate();
    if (status_.validation_average > status_.validation) swap();
    averages_.clear();
    averaged_ = 0;
  }

  // lambda follows the rate's distance from its schedule: at once in proportion, and in the long run until there is none.
  void steer(double progress) {
    if (options_.target_bits <= 0) return;
    const double start = std::log(std::max(first_bits_, options_.target_bits)), end = std::log(options_.target_bits);
    const double wanted = start + (end - start) * std::min(1.0, status_.share / options_.ramp);
    const double off = std::log(std::max(status_.bits, 1.0)) - wanted;
    const double pace = std::min(25 * progress, 0.03) * (status_.share < options_.ramp ? 1.0 : cosine());  // what can't follow any more isn't driven
    options_.lambda = std::clamp(options_.lambda * std::exp(pace * std::clamp(8 * off, -1.0, 1.0)), 1e-12, settled_ ? settled_lambda_ : 1.0);
    status_.lambda = std::min(settled_ ? settled_lambda_ : 1.0, options_.lambda * std::exp(25 * std::clamp(off, -0.08, 0.08)));
  }

  std::unique_ptr<Group> group_;  // none: alone
  Batches batches_;
  Student student_;
  TrainOptions options_;
  Status status_;
  std::vector<Moments> moments_;
  int64_t updates_ = 0;
  std::set<std::string> layers_, features_;  // the teacher's values to compare with
  std::vector<bool> probabilities_;          // by output: a Softmax made it
  std::vector<at::Tensor> averages_;         // of the parameters, once settled
  int64_t averaged_ = 0;
  bool settled_ = false;
  double settled_lambda_ = 0;  // lambda may fall from there, not rise
  double spent_ = 0, first_bits_ = 0;
};

// A checkpoint: numbers of the run, the student as text, its steps, the ranges of its activations (one line of text each), then
// each parameter's tensors as raw floats.
struct Head {
  char magic[8] = {'p', 'i', 't', 'h', 'c', 'k', 'p', '4'};
  Status status;
  int64_t updates = 0, text = 0, ranges = 0;
  double spent = 0, first_bits = 0, target_bits = 0, lambda = 0;
  int64_t settled = 0, averaged = 0;
  double settled_lambda = 0;
};

void append(std::vector<uint8_t>& out, const void* data, size_t bytes) {
  const auto* from = static_cast<const uint8_t*>(data);
  out.insert(out.end(), from, from + bytes);
}

Result<void> TorchTrainer::save(const std::string& path) const {
  const Model m = student_.model();
  const std::string text = ir::to_text(m.graph, true);
  Head head;
  head.status = status_;
  head.updates = updates_;
  head.text = static_cast<int64_t>(text.size());
  std::string ranges;
  for (const auto& [name, affine] : m.activations) {
    const ir::CodedRows rows = m.coded.count(name) ? m.coded.at(name) : ir::CodedRows{0, {}};
    ranges += fmt::format("{} {} {}{}{:02x} {}\n", affine.scale_code, affine.zero_point, rows.bits, rows.lifting.empty() ? "" : ":", fmt::join(rows.lifting, ""), name);
  }
  head.ranges = static_cast<int64_t>(ranges.size());
  head.spent = spent_;
  head.first_bits = first_bits_;
  head.target_bits = options_.target_bits;
  head.lambda = options_.lambda;
  head.settled = settled_ ? 1 : 0;
  head.averaged = averaged_;
  head.settled_lambda = settled_lambda_;
  std::vector<uint8_t> out;
  append(out, &head, sizeof head);
  append(out, text.data(), text.size());
  for (const auto& [name, steps] : m.steps) append(out, steps.log2.data(), steps.log2.size() * sizeof(float));
  append(out, ranges.data(), ranges.size());
  for (const at::Tensor& t : everything()) {
    const at::Tensor plain = t.detach().cpu().contiguous();
    append(out, plain.data_ptr<float>(), static_cast<size_t>(plain.numel()) * sizeof(float));
  }
  return write_file(path, out);
}

bool read_ranges(const std::string& text, Model& m) {
  m.activations.clear(), m.coded.clear();
  std::istringstream lines(text);
  int16_t scale_code = 0;
  int zero_point = 0;
  std::string coded;  // bits, and perhaps a lifting in hexadecimal digits
  for (std::string name; lines >> scale_code >> zero_point >> coded && std::getline(lines.ignore(), name);) {
    m.activations[name] = {scale_code, static_cast<uint8_t>(zero_point)};
    ir::CodedRows rows{std::strtod(coded.c_str(), nullptr), {}};
    const size_t colon = coded.find(':');
    for (size_t at = colon + 1; colon != std::string::npos && at + 2 <= coded.size(); at += 2)
      rows.lifting.push_back(static_cast<uint8_t>(std::strtoul(coded.substr(at, 2).c_str(), nullptr, 16)));
    if (!numerics::RowLifting{rows.lifting.data(), static_cast<int32_t>(rows.lifting.size() / 3)}.sound()) return false;
    if (rows.bits > 0) m.coded[name] = rows;
  }
  return lines.eof();
}

Result<void> TorchTrainer::load(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  const Error damaged = usage_error("'" + path + "' is no checkpoint of this retraining; give another one or start without --checkpoint");
  Head head;
  if (file.size() < sizeof head || std::memcmp(file.data(), head.magic, 8) != 0) return damaged;
  std::memcpy(&head, file.data(), sizeof head);
  size_t at = sizeof head;
  if (head.text < 0 || static_cast<size_t>(head.text) > file.size() - at) return damaged;
  Model m = student_.model();
  auto graph = ir::parse_text(std::string_view(reinterpret_cast<const char*>(file.data()) + at, static_cast<size_t>(head.text)));
  if (!graph.ok() || !ir::verify(*graph).ok()) return damaged;
  at += static_cast<size_t>(head.text);
  m.graph = std::move(*graph);
  const auto take = [&](void* to, size_t bytes) {
    if (bytes > file.size() - at) return false;
    std::memcpy(to, file.data() + at, bytes);
    at += bytes;
    return true;
  };
  std::map<std::string, const ir::Value*> values;
  for (const ir::Value& v : m.graph.values) values[v.name] = &v;
  for (auto& [name, steps] : m.steps) {
    if (!values.count(name) || static_cast<size_t>(steps.axis) >= values[name]->shape.size()) return damaged;
    if (steps.log2.size() > 1) steps.log2.resize(static_cast<size_t>(values[name]->shape[static_cast<size_t>(steps.axis)]));
    if (!take(steps.log2.data(), steps.log2.size() * sizeof(float))) return damaged;
  }
  for (auto& [name, held] : m.held) {
    if (!values.count(name)) return damaged;
    held = ir::Tensor(ir::DType::kF32, values[name]->shape);  // its numbers come with the student's
  }
  std::string ranges(static_cast<size_t>(std::clamp<int64_t>(head.ranges, 0, static_cast<int64_t>(file.size()))), ' ');
  if (!take(ranges.data(), ranges.size()) || !read_ranges(ranges, m)) return damaged;
  PITH_CHECK_OK(replace(m));
  if (head.settled != 0) settle();
  if (head.averaged == 0) averages_.clear();  // its end had been reached
  at::NoGradGuard guard;
  for (const at::Tensor& t : everything()) {
    at::Tensor read = at::empty(t.sizes());
    if (!take(read.data_ptr<float>(), static_cast<size_t>(t.numel()) * sizeof(float))) return damaged;
    t.copy_(read);
  }
  status_ = head.status;
  updates_ = head.updates;
  averaged_ = head.averaged;
  settled_lambda_ = head.settled_lambda;
  spent_ = head.spent;
  first_bits_ = head.first_bits;
  options_.target_bits = head.target_bits;
  options_.lambda = head.lambda;
  status_.share = share_done();
  if (settled_ && status_.share < options_.settle) return replace(student_.model());  // there is more time than there was: zeros may move again
  return {};
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::create(const ir::Graph& teacher, const Model& student, Dataset data, const TrainOptions& options) {
  if (options.steps <= 0 && options.seconds <= 0) return usage_error("retraining needs an end; give --steps or --time");
  at::set_num_threads(options.threads);
  PITH_CHECK_OK(use_device(options.device == "cuda" && options.place.size > 1 ? fmt::format("cuda:{}", options.place.local_rank) : options.device));
#ifdef __GLIBC__  // memory of one step serves the next, instead of going back to the system and being cleared
  ::mallopt(M_MMAP_THRESHOLD, 1 << 25);
  ::mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
  try {
    PITH_TRY(Batches batches, Batches::create(teacher, std::move(data), options));
    PITH_TRY(Student first, Student::create(student, batches.probe()));
    std::unique_ptr<Group> group;
    if (options.place.size > 1) {
      PITH_TRY(group, Group::join(options.place));
    }
    return std::unique_ptr<Trainer>(std::make_unique<TorchTrainer>(std::move(batches), std::move(first), std::move(group), options, teacher));
  } catch (const std::exception& e) {
    return failure("retraining", e);
  }
}

Result<Agreement> agreement(const ir::Graph& teacher, const ir::Graph& student, const Dataset& data) {
  PITH_TRY(const Network original, Network::build(teacher));
  PITH_TRY(const Network small, Network::build(student));
  at::NoGradGuard guard;
  std::vector<int64_t> shape = data.shape;
  shape[0] = data.count();
  const at::Tensor all = at::from_blob(const_cast<float*>(data.values.data()), shape, at::kFloat);
  double rows = 0, same = 0, right = 0, teacher_right = 0;
  for (int64_t i = 0; i < shape[0]; i += 256) {
    const int64_t n = std::min<int64_t>(256, shape[0] - i);
    const at::Tensor x = placed(all.narrow(0, i, n));
    const at::Tensor expected = original.run({x})[0].argmax(-1), got = small.run({x})[0].argmax(-1);
    same += (expected == got).sum().item<double>();
    rows += static_cast<double>(got.numel());
    if (data.labels.empty() || got.dim() != 1) continue;
    const at::Tensor labels = at::tensor(std::vector<int64_t>(data.labels.begin() + i, data.labels.begin() + i + n), at::kLong).to(got.device());
    right += (got == labels).sum().item<double>();
    teacher_right += (expected == labels).sum().item<double>();
  }
  const double share = rows > 0 ? 100 / rows : 0;
  return Agreement{same * share, right * share, teacher_right * share};
}

}  // namespace pith::train
