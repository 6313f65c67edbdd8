// Every kind of transformer that is imported from a folder, as a differentiable program: what it computes for a batch is what
// the interpreter computes for each sample, and every weight gets a gradient.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "importers/huggingface/huggingface.h"
#include "ir/test_graph.h"
#include "train/network.h"

namespace pith::train {
namespace {

struct Kind {
  const char* name;
  int64_t whole, masks;
};

class Imported : public ::testing::TestWithParam<Kind> {};

ir::Tensor drawn(const ir::Value& v, Random& random) {
  if (v.dtype == ir::DType::kF32) return ir::random_f32(random, v.shape);
  ir::Tensor t(v.dtype, v.shape);
  const int64_t length = t.count();
  for (int64_t i = 0; i < length; ++i) {
    const bool mask = v.name == "attention_mask";
    t.set(i, static_cast<double>(mask ? i < 5 : random.integer(0, v.name == "mask_position" ? 4 : 15)));
  }
  return t;
}

TEST_P(Imported, ComputesWhatTheInterpreterDoes) {
  const char* root = std::getenv("PITH_SOURCE_DIR");
  importers::TransformerOptions options;
  options.sequence = 8;
  options.whole = GetParam().whole;
  options.masks = GetParam().masks;
  const auto g = importers::import_huggingface((std::filesystem::path(root != nullptr ? root : ".") / "importers/huggingface/golden" / GetParam().name).string(), options);
  ASSERT_TRUE(g.ok()) << g.error().message;
  const auto net = Network::build(*g);
  ASSERT_TRUE(net.ok()) << net.error().message;
  Random random(ir::test_seed());
  std::vector<std::vector<ir::Tensor>> samples(3);
  std::vector<at::Tensor> batch;
  for (ir::ValueId id : g->inputs) {
    std::vector<at::Tensor> parts;
    for (auto& s : samples) {
      s.push_back(drawn(g->value(id), random));
      parts.push_back(to_torch(s.back()));
    }
    batch.push_back(at::cat(parts, 0));
  }
  std::map<ir::ValueId, at::Tensor> weights;
  Hooks hooks;
  hooks.constant = [&](ir::ValueId id, const at::Tensor& t) {
    if (!t.is_floating_point() || t.numel() < 2) return t;
    if (!weights.count(id)) weights[id] = t.clone().set_requires_grad(true);
    return weights[id];
  };
  const at::Tensor got = net->run(batch, hooks)[0];
  got.square().sum().backward();
  for (const auto& [id, w] : weights) {
    ASSERT_TRUE(w.grad().defined()) << g->value(id).name;
    EXPECT_TRUE(at::isfinite(w.grad()).all().item<bool>()) << g->value(id).name;
  }
  for (size_t s = 0; s < samples.size(); ++s) {
    const auto expected = ir::interpret(*g, samples[s]);
    ASSERT_TRUE(expected.ok()) << expected.error().message;
    ir::expect_near(from_torch(got[static_cast<int64_t>(s)]).reshaped((*expected)[0].shape()), (*expected)[0], 2e-4);
  }
}
INSTANTIATE_TEST_SUITE_P(Kinds, Imported, ::testing::Values(Kind{"bert", 0, 0}, Kind{"bert-mlm-bin", 0, 3}, Kind{"bert-mlm-bin", 0, 0}, Kind{"roberta-mlm", 0, 2}, Kind{"gpt2", 6, 0}, Kind{"llama-bin", 6, 0}, Kind{"vit", 0, 0}));

}  // namespace
}  // namespace pith::train
