// See sensitivity.h.
#include "train/sensitivity.h"

#include "base/log.h"
#include "base/random.h"
#include "train/network.h"

namespace pith::train {
namespace {

constexpr int64_t kBoxHead = 5;  // four coordinates and the objectness

at::Tensor normal_like(const at::Tensor& t, Random& random) {
  at::Tensor out = at::empty(t.sizes(), at::kFloat);
  float* to = out.data_ptr<float>();
  for (int64_t i = 0; i < out.numel(); ++i) to[i] = static_cast<float>(random.normal());
  return placed(out);
}

constexpr double kTemperature = 2;  // a sure answer would say nothing about what else it might have been

// log p(y) of one y drawn for each row of classes, averaged over rows.
at::Tensor drawn_classes(const at::Tensor& output, bool probabilities, Random& random) {
  const int64_t width = output.size(-1), rows = output.numel() / width;
  const at::Tensor logits = output.reshape({rows, width});
  const at::Tensor log_p = at::log_softmax((probabilities ? at::log(logits.clamp_min(1e-9)) : logits) / kTemperature, -1);
  const at::Tensor p = at::exp(log_p.detach()).cpu().contiguous();
  std::vector<int64_t> drawn;
  for (int64_t r = 0; r < rows; ++r) {
    const float* row = p.data_ptr<float>() + r * width;
    double u = random.uniform();
    int64_t y = 0;
    while (y + 1 < width && (u -= row[y]) > 0) ++y;
    drawn.push_back(y);
  }
  return at::sum(log_p.gather(1, placed(at::tensor(drawn, at::kLong).view({rows, 1})))) / std::sqrt(static_cast<double>(rows));
}

// A function whose gradient g has E[g g'] = the curvature of all sigmoids' divergences; coordinates and classes count by the
// probability that there is an object, and a picture by the number of its objects, so that full and empty ones count alike.
at::Tensor drawn_detections(const at::Tensor& output, Random& random) {
  const at::Tensor z = output.detach();
  const int64_t channels = z.size(1), boxes = 3;
  if (z.dim() != 4 || channels % boxes != 0 || channels / boxes <= kBoxHead) return at::Tensor();
  const at::Tensor p = at::sigmoid(z).view({z.size(0), boxes, channels / boxes, z.size(2), z.size(3)});
  const at::Tensor object = p.narrow(2, kBoxHead - 1, 1);
  at::Tensor weight = (p * (1 - p) * object).clone();
  weight.narrow(2, 0, kBoxHead - 1).mul_(16);  // a box is right only when its place is
  weight.narrow(2, kBoxHead - 1, 1).copy_(object * (1 - object));
  const at::Tensor v = normal_like(z, random) * at::sqrt(weight).view(z.sizes());
  return at::sum(output * v);
}

at::Tensor drawn_numbers(const at::Tensor& output, Random& random) {
  const double power = at::sum(output.detach() * output.detach()).item<double>();
  return at::sum(output * normal_like(output, random)) / std::sqrt(std::max(power, 1e-20));
}

}  // namespace

Result<std::map<std::string, ir::Tensor>> squared_gradients(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, Answers answers, uint64_t seed) {
  PITH_TRY(const Network network, Network::build(graph));
  Random random(seed);
  std::map<ir::ValueId, at::Tensor> leaves, sums;
  const std::vector<int> made_by = ir::producers(graph);
  try {
    for (const ir::Node& n : graph.nodes) {
      if (n.inputs.size() < 2 || n.inputs[1] == ir::kNoValue) continue;
      const ir::Value& v = graph.value(n.inputs[1]);
      if (!v.is_constant() || v.dtype != ir::DType::kF32 || v.shape.size() < 2) continue;
      leaves[n.inputs[1]] = to_torch(*v.constant).requires_grad_(true);
      sums[n.inputs[1]] = placed(at::zeros(v.shape));
    }
    Hooks hooks;
    hooks.constant = [&](ir::ValueId id, const at::Tensor& t) {
      const auto found = leaves.find(id);
      return found == leaves.end() ? t : found->second;
    };
    Progress bar("measuring sensitivity", samples.size());
    for (const std::vector<ir::Tensor>& sample : samples) {
      std::vector<at::Tensor> inputs;
      for (const ir::Tensor& t : sample) inputs.push_back(to_torch(t));
      const std::vector<at::Tensor> outputs = network.run(inputs, hooks);
      at::Tensor total = at::zeros({});
      for (size_t k = 0; k < outputs.size(); ++k) {
        const int maker = made_by[static_cast<size_t>(graph.outputs[k])];
        const bool probabilities = maker >= 0 && graph.nodes[static_cast<size_t>(maker)].op == ir::Op::kSoftmax;
        at::Tensor drawn = answers == Answers::kClasses ? drawn_classes(outputs[k], probabilities, random) : answers == Answers::kDetections ? drawn_detections(outputs[k], random) : at::Tensor();
        if (!drawn.defined()) drawn = drawn_numbers(outputs[k], random);
        total = total + drawn;
      }
      total.backward();
      at::NoGradGuard guard;
      for (auto& [id, leaf] : leaves) {
        at::Tensor gradient = leaf.grad();
        if (!gradient.defined()) continue;
        sums[id].addcmul_(gradient, gradient, 1.0 / static_cast<double>(samples.size()));
        gradient.zero_();
      }
      bar.step();
    }
  } catch (const std::exception& e) {
    return failure("sensitivity", e);
  }
  std::map<std::string, ir::Tensor> result;
  for (const auto& [id, sum] : sums) result[graph.value(id).name] = from_torch(sum);
  return result;
}

}  // namespace pith::train
