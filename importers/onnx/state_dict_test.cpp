// Weights of checkpoints put into a network: by name, by shape, and everything that must be refused.
#include "importers/onnx/state_dict.h"

#include "importers/onnx/testing/checks.h"

namespace pith::importers {
namespace {

using namespace testing;

// conv.weight, conv.bias, onnx::MatMul_7 (stored transposed by the exporter), and a number that is no weight of the
// model
SourceModel network() {
  return model({value("x", {1, 2, 4, 4})},
               {node("Conv", {"x", "conv.weight", "conv.bias"}, {"c"}), node("Flatten", {"c"}, {"f"}),
                node("MatMul", {"f", "onnx::MatMul_7"}, {"m"}), node("Mul", {"m", "half"}, {"y"})},
               {"y"},
               {wave("conv.weight", {3, 2, 4, 4}, 1), wave("conv.bias", {3}, 2), wave("onnx::MatMul_7", {3, 5}, 3),
                real("half", 0.5f)});
}

Weights checkpoint(const std::string& prefix = "") {
  Weights w;
  w.add(prefix + "conv.weight", wave("", {3, 2, 4, 4}, 11).tensor);
  w.add(prefix + "conv.bias", wave("", {3}, 12).tensor);
  w.add(prefix + "head.weight", wave("", {5, 3}, 13).tensor);
  return w;
}

std::string refusal(const Weights& w) {
  SourceModel m = network();
  const auto done = replace_weights(m, w, "trained.pth");
  EXPECT_FALSE(done.ok());
  return done.ok() ? "" : done.error().message;
}

TEST(StateDict, WeightsAreTakenByNameAndByShape) {
  for (const char* prefix : {"", "module.", "model.module."}) {
    SourceModel m = network();
    const auto done = replace_weights(m, checkpoint(prefix), "trained.pth");
    ASSERT_TRUE(done.ok()) << done.error().message;
    SourceModel wanted = network();
    wanted.graph.initializers[0] = wave("conv.weight", {3, 2, 4, 4}, 11);
    wanted.graph.initializers[1] = wave("conv.bias", {3}, 12);
    const ir::Tensor head = wave("", {5, 3}, 13).tensor;
    for (int64_t i = 0; i < 5; ++i)
      for (int64_t k = 0; k < 3; ++k) wanted.graph.initializers[2].tensor.set(k * 5 + i, head.at(i * 3 + k));
    const ir::Graph g = must_import(m);
    const auto inputs = feeds(g);
    expect_near(run(g, inputs)[0], run(wanted, inputs)[0]);
  }
}

TEST(StateDict, AnotherNetworksShapeIsRefusedByName) {
  Weights w = checkpoint();
  w.add("conv.bias", wave("", {4}, 1).tensor);
  const std::string why = refusal(w);
  EXPECT_NE(why.find("'trained.pth': 'conv.bias' has the shape"), std::string::npos) << why;
}

TEST(StateDict, WhatFindsNoWeightsIsListed) {
  Weights w;
  w.add("conv.weight", wave("", {3, 2, 4, 4}, 11).tensor);
  w.add("elsewhere", wave("", {7}, 1).tensor);
  const std::string why = refusal(w);
  EXPECT_NE(why.find("no weights for 'conv.bias', 'onnx::MatMul_7'"), std::string::npos) << why;
  EXPECT_NE(why.find("no place for 'elsewhere'"), std::string::npos) << why;
}

// A part of a module that the network lacks was joined with another when it was exported; a whole module is another
// head.
TEST(StateDict, PartsOfModulesMustHaveAPlaceAndOtherModulesNeedNone) {
  Weights w = checkpoint();
  w.add("auxiliary.weight", wave("", {9, 9}, 1).tensor);
  SourceModel m = network();
  EXPECT_TRUE(replace_weights(m, w, "trained.pth").ok());
  w.add("conv.running_mean", wave("", {7}, 1).tensor);
  const std::string why = refusal(w);
  EXPECT_NE(why.find("no place for 'conv.running_mean'"), std::string::npos) << why;
}

TEST(StateDict, ShapesThatSeveralFitAreNotGuessed) {
  Weights w = checkpoint();
  w.add("other.weight", wave("", {3, 5}, 1).tensor);
  EXPECT_NE(refusal(w).find("onnx::MatMul_7"), std::string::npos);
}

TEST(StateDict, AFileThatIsNoneIsRefused) {
  const auto missing = read_state_dict("/nowhere/trained.pth");
  ASSERT_FALSE(missing.ok());
  EXPECT_NE(missing.error().message.find("/nowhere/trained.pth"), std::string::npos);
}

}  // namespace
}  // namespace pith::importers
