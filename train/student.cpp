// See student.h.
#include "train/student.h"

#include <fmt/format.h>

#include <cmath>

#include "train/loss.h"
#include "train/node.h"

namespace pith::train {
namespace {

constexpr double kLn2 = 0.6931471805599453;

// Rounding that gradients don't see.
at::Tensor straight_through(const at::Tensor& x, const at::Tensor& rounded) { return x + (rounded - x).detach(); }

std::vector<int64_t> along(const at::Tensor& w, int axis, int64_t n) {
  std::vector<int64_t> shape(static_cast<size_t>(w.dim()), 1);
  shape[static_cast<size_t>(axis)] = n;
  return shape;
}

// Output channels x input channels x the rest.
at::Tensor matrix_of(const at::Tensor& w, int axis) {
  const at::Tensor t = axis == 0 ? w : w.transpose(0, 1);
  return t.dim() == 2 ? t.unsqueeze(2) : t.flatten(2);
}

at::Tensor log_odds(const at::Tensor& p) { return at::log2(p / (1 - p)); }

// Single numbers stay where the weights lie, in double precision: to read each would hold up a GPU.
struct Rate {
  at::Tensor surrogate, bits, nonzero;
};

Rate rate_of(const at::Tensor& u, const at::Tensor& q, int axis) {
  at::Tensor first_slope, next_slope;
  Rate r{};
  {
    at::NoGradGuard guard;
    const at::Tensor a = matrix_of(q, axis).abs(), live = (a > 0).to(at::kFloat);
    const double n = static_cast<double>(a.numel());
    const at::Tensor nonzero = live.sum().to(at::kDouble), sum = a.sum().to(at::kDouble);
    const at::Tensor p = (nonzero + 0.5) / (n + 1);
    const auto density = [&](std::vector<int64_t> axes, double count) {
      return ((at::sum(live, axes, true) + p) / (count + 1)).clamp(1e-5, 1 - 1e-3);
    };
    const at::Tensor rows = log_odds(density({1, 2}, n / static_cast<double>(a.size(0)))), columns = log_odds(density({0, 2}, n / static_cast<double>(a.size(1))));
    const at::Tensor odds = (rows + columns - log_odds(p)).clamp(-14, 8);
    const at::Tensor mean_tail = (sum - nonzero + 0.5) / (nonzero + 1), theta = mean_tail / (1 + mean_tail);
    const at::Tensor tail = -at::log2(theta), ends = -at::log2(1 - theta);
    const at::Tensor zero_bits = at::log1p(at::exp2(odds)) / kLn2;
    const at::Tensor bits = zero_bits + live * (1 + ends - odds) + at::relu(a - 1) * tail;
    r.bits = bits.sum().to(at::kDouble);
    r.nonzero = nonzero;
    first_slope = (1 + ends - odds).clamp_min(0);
    next_slope = tail;
  }
  const at::Tensor m = matrix_of(u, axis).abs();
  r.surrogate = (first_slope * m.clamp_max(1) + next_slope * at::relu(m - 1)).sum();
  return r;
}

at::Tensor grid_step(const at::Tensor& log2_step) {
  return at::exp2(straight_through(log2_step, at::round(log2_step * 16) / 16));
}

// For Hooks::constant; `f` must outlive it.
std::function<at::Tensor(ir::ValueId, const at::Tensor&)> constants_of(const Student::Forward& f) {
  return [&f](ir::ValueId id, const at::Tensor& t) {
    const auto found = f.constants.find(id);
    return found == f.constants.end() ? t : found->second;
  };
}

}  // namespace

Result<Student> Student::create(const Model& model, const std::vector<at::Tensor>& probe) {
  Student s;
  s.model_ = model;
  PITH_TRY(s.network_, Network::build(model.graph));
  std::map<std::string, ir::ValueId> by_name;
  for (size_t i = 0; i < model.graph.values.size(); ++i) by_name[model.graph.values[i].name] = static_cast<ir::ValueId>(i);
  for (const auto& [name, affine] : model.activations) {
    const ir::CodedRows rows = model.coded.count(name) ? model.coded.at(name) : ir::CodedRows{};
    if (by_name.count(name)) s.activations_[by_name[name]] = {affine, rows.bits, model.recode, rows.lifting};
  }
  PITH_TRY(auto magnitude, s.magnitudes(probe));
  for (const ir::Node& n : model.graph.nodes) {
    const auto site = weight_site(model.graph, n);
    if (!site || !model.steps.count(model.graph.value(n.inputs[site->slot]).name)) continue;
    const ir::ValueId id = n.inputs[site->slot];
    auto known = std::find_if(s.weights_.begin(), s.weights_.end(), [&](const TrainedWeight& w) { return w.id == id; });
    if (known == s.weights_.end()) {
      s.add_weight(id);
      known = s.weights_.end() - 1;
    }
    const ir::ValueId bias = is_product(n.op) && n.inputs.size() > 2 ? n.inputs[2] : ir::kNoValue;
    if (bias == ir::kNoValue || known->bias != ir::kNoValue || !model.graph.value(bias).constant) continue;
    known->bias = bias;
    known->result = n.outputs[0];
    known->channels = channel_dimension(n.op);
    known->leaves = !model.dead_biases_vanish || std::find(model.graph.outputs.begin(), model.graph.outputs.end(), n.outputs[0]) != model.graph.outputs.end();
    const double unit = std::max(magnitude[n.outputs[0]], 1e-6) * 0.3;
    known->bias_unit = at::full({}, unit);
    known->bias_latent = (to_torch(*model.graph.value(bias).constant) / unit).set_requires_grad(true);
    s.parameters_.push_back({known->bias_latent, 0.3, false});
  }
  for (const std::string& name : model.floats) {
    if (!by_name.count(name) || !model.graph.value(by_name[name]).constant) return internal_error(fmt::format("'{}' is no constant that could be trained", name));
    TrainedFloats f;
    f.id = by_name[name];
    const at::Tensor real = to_torch(*model.graph.value(f.id).constant);
    f.unit = at::full({}, std::max(std::sqrt(real.square().mean().item<double>()), 1e-3) * 0.3);
    f.latent = (real / f.unit).set_requires_grad(true);
    s.parameters_.push_back({f.latent, 0.3, false});
    s.floats_.push_back(std::move(f));
  }
  if (s.weights_.empty()) return usage_error(fmt::format("'{}' has no layer with weights to retrain", model.graph.name));
  return s;
}

// How far each value moves about its channel's mean in the network as it is rounded: latents that round to zero say nothing of
// it, and where they are many they can make it larger layer after layer. The mean itself doesn't count: logits may all rise
// together, which no answer shows, and biases that learned in proportion to that would drive it on.
Result<std::map<ir::ValueId, double>> Student::magnitudes(const std::vector<at::Tensor>& probe) const {
  PITH_TRY(const Network network, Network::build(round_model(model_).graph));
  std::map<ir::ValueId, double> found;
  at::NoGradGuard guard;
  Hooks hooks;
  hooks.value = [&](ir::ValueId id, const at::Tensor& t) {
    const at::Tensor y = flowing(id, {}, t);
    if (y.is_floating_point()) found[id] = std::sqrt((y.dim() == 4 ? y - y.mean({0, 2, 3}, true) : y - channel_means(y, -1)).square().mean().item<double>());
    return y;
  };
  network.run(probe, hooks);
  return found;
}

at::Tensor Student::flowing(ir::ValueId id, const ir::Activation& f, const at::Tensor& x) const {
  const auto codes = activations_.find(id);
  return codes == activations_.end() ? apply_function(f, x) : rounded(f, x, codes->second);
}

void Student::add_weight(ir::ValueId id) {
  const ir::Value& v = model_.graph.value(id);
  const Steps& steps = model_.steps.at(v.name);
  TrainedWeight w;
  w.id = id;
  w.name = v.name;
  w.axis = steps.axis;
  w.bias = w.result = ir::kNoValue;
  const at::Tensor real = to_torch(*v.constant);
  w.log2_step = placed(at::tensor(steps.log2));
  w.unit = at::exp2(w.log2_step).view(along(real, w.axis, w.log2_step.numel())).clone().clamp_min(model_.least_unit * std::sqrt(real.square().mean().item<double>()));
  w.latent = (real / w.unit).set_requires_grad(true);
  w.log2_step.set_requires_grad(true);
  if (const auto held = model_.held.find(v.name); held != model_.held.end()) {
    w.held = to_torch(held->second);
    w.live = w.held.clone();
  }
  parameters_.push_back({w.latent, 1, false});
  parameters_.push_back({w.log2_step, 1, true});
  weights_.push_back(std::move(w));
}

Student::Forward Student::forward() const {
  Forward f;
  f.rate = at::zeros({});
  std::vector<at::Tensor> bits, nonzero;
  for (const TrainedWeight& w : weights_) {
    const at::Tensor step = grid_step(w.log2_step).view(along(w.latent, w.axis, w.log2_step.numel()));
    const at::Tensor scaled = w.latent * w.unit / step;
    const at::Tensor u = w.live.defined() ? scaled * w.live : scaled;
    const at::Tensor limited = u.clamp(-127, 127);
    const at::Tensor q = straight_through(limited, at::floor(limited + 0.5));
    f.constants[w.id] = q * step;
    const Rate r = rate_of(u, q.detach(), w.axis);
    f.rate = f.rate + r.surrogate;
    bits.push_back(r.bits);
    nonzero.push_back(r.nonzero);
    f.count += static_cast<double>(u.numel());
    if (w.bias == ir::kNoValue) continue;
    at::Tensor bias = w.bias_latent * w.bias_unit;
    if (!w.leaves && bias.numel() == q.size(w.axis)) {
      at::NoGradGuard guard;
      const at::Tensor live = (at::sum(matrix_of(q, w.axis).abs(), std::vector<int64_t>{1, 2}) > 0).to(at::kFloat).view(bias.sizes());
      at::AutoGradMode on(true);
      bias = bias * live;
    }
    f.constants[w.bias] = bias;
  }
  for (const TrainedFloats& t : floats_) f.constants[t.id] = t.latent * t.unit;
  const at::Tensor numbers = at::stack({at::stack(bits), at::stack(nonzero)}).cpu();
  for (size_t i = 0; i < bits.size(); ++i) {
    f.bits += numbers.data_ptr<double>()[i];
    f.nonzero += numbers.data_ptr<double>()[bits.size() + i];
  }
  return f;
}

std::vector<at::Tensor> Student::run(const std::vector<at::Tensor>& inputs, const Forward& f, Comparison* comparison) const {
  Hooks hooks;
  hooks.constant = constants_of(f);
  double compared = 0;
  const auto compare = [&](ir::ValueId id, const at::Tensor& t) {
    const auto found = comparison->teacher->find(model_.graph.value(id).name);
    if (found == comparison->teacher->end() || found->second.sizes() != t.sizes()) return t;
    const at::Tensor error = relative_error(t, found->second);
    comparison->error = compared > 0 ? comparison->error + error : error;
    ++compared;
    return comparison->apart ? found->second : t;
  };
  if (!activations_.empty() || comparison != nullptr) {
    hooks.result = [&](ir::ValueId id, const ir::Activation& function, const at::Tensor& t) {
      const at::Tensor flows = flowing(id, function, t);
      return comparison == nullptr ? flows : compare(id, flows);
    };
    hooks.value = [&](ir::ValueId id, const at::Tensor& t) { return hooks.result(id, {}, t); };
  }
  const auto outputs = network_.run(inputs, hooks);
  if (compared > 0) comparison->error = comparison->error / compared;
  return outputs;
}

int channel_dimension(ir::Op product) { return product == ir::Op::kConv || product == ir::Op::kConvTranspose ? 1 : -1; }

at::Tensor channel_means(const at::Tensor& result, int dimension) {
  const at::Tensor last = dimension == -1 ? result : result.movedim(dimension, -1);
  return last.dim() == 1 ? last : last.flatten(0, -2).mean(0);
}

void Student::recentre(const std::vector<at::Tensor>& inputs, const std::map<std::string, at::Tensor>& means) {
  at::NoGradGuard guard;
  std::map<ir::ValueId, TrainedWeight*> by_result;
  for (TrainedWeight& w : weights_)
    if (w.bias != ir::kNoValue) by_result[w.result] = &w;
  const Forward f = forward();
  Hooks hooks;
  hooks.constant = constants_of(f);
  hooks.result = [&](ir::ValueId id, const ir::Activation& function, const at::Tensor& t) {
    at::Tensor moved = t;
    const auto w = by_result.find(id);
    const auto mean = means.find(model_.graph.value(id).name);
    if (w != by_result.end() && mean != means.end() && mean->second.numel() == w->second->bias_latent.numel()) {
      TrainedWeight& layer = *w->second;
      at::Tensor by = mean->second - channel_means(t, layer.channels);
      if (!layer.leaves) by = by * (f.constants.at(layer.bias) != 0).to(at::kFloat).view(by.sizes());  // a dead channel stays dead
      moved = t + by.view(along(t, layer.channels == -1 ? static_cast<int>(t.dim()) - 1 : layer.channels, by.numel()));
      layer.bias_latent.add_(by.view(layer.bias_latent.sizes()) / layer.bias_unit);
    }
    return flowing(id, function, moved);
  };
  network_.run(inputs, hooks);
}

void Student::freeze_zeros() {
  at::NoGradGuard guard;
  for (TrainedWeight& w : weights_) {
    const at::Tensor step = grid_step(w.log2_step).view(along(w.latent, w.axis, w.log2_step.numel()));
    w.live = (at::floor((w.latent * w.unit / step).clamp(-127, 127) + 0.5) != 0).to(at::kFloat);
  }
}

std::vector<at::Tensor> Student::masks() const {
  std::vector<at::Tensor> all;
  for (const TrainedWeight& w : weights_) {
    for (const at::Tensor& mask : {w.held, w.live}) {
      if (mask.defined()) all.push_back(mask);
    }
  }
  return all;
}

std::vector<at::Tensor> Student::units() const {
  std::vector<at::Tensor> all;
  for (const TrainedWeight& w : weights_) {
    all.push_back(w.unit);
    if (w.bias != ir::kNoValue) all.push_back(w.bias_unit);
  }
  for (const TrainedFloats& t : floats_) all.push_back(t.unit);
  return all;
}

Model Student::model() const {
  Model m = model_;
  at::NoGradGuard guard;
  for (const TrainedWeight& w : weights_) {
    m.graph.value(w.id).constant = from_torch(w.live.defined() ? w.latent * w.unit * w.live : w.latent * w.unit);
    const at::Tensor log2 = w.log2_step.cpu().contiguous();
    if (w.held.defined()) m.held[w.name] = from_torch(w.held);
    m.steps[w.name].log2.assign(log2.data_ptr<float>(), log2.data_ptr<float>() + log2.numel());
    if (w.bias != ir::kNoValue) m.graph.value(w.bias).constant = from_torch(w.bias_latent * w.bias_unit);
  }
  for (const TrainedFloats& t : floats_) m.graph.value(t.id).constant = from_torch(t.latent * t.unit);
  return m;
}

}  // namespace pith::train
