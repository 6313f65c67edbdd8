// What the importer's tests have in common: import a model made in code, run it, compare.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "importers/onnx/onnx_importer.h"
#include "importers/onnx/testing/models.h"
#include "ir/interpret.h"

namespace pith::importers::testing {

inline Result<ir::Graph> import(const SourceModel& m, const OnnxOptions& options = {}) { return import_onnx(write_model(m), "", options); }

inline OnnxOptions plain() {
  OnnxOptions o;
  o.fuse = false;
  return o;
}

inline ir::Graph must_import(const SourceModel& m, const OnnxOptions& options = plain()) {
  Result<ir::Graph> g = import(m, options);
  EXPECT_TRUE(g.ok()) << (g.ok() ? "" : g.error().message);
  return g.ok() ? std::move(*g) : ir::Graph();
}

inline ir::Tensor random_tensor(ir::DType dtype, const ir::Shape& shape, uint64_t seed) {
  Random random(seed);
  ir::Tensor t(dtype, shape);
  for (int64_t k = 0; k < t.count(); ++k) t.set(k, dtype == ir::DType::kF32 ? random.uniform(-2, 2) : static_cast<double>(random.integer(0, 1)));
  return t;
}

// Seeded inputs for a graph, by the order of its inputs.
inline std::vector<ir::Tensor> feeds(const ir::Graph& g, uint64_t seed = 7) {
  std::vector<ir::Tensor> inputs;
  for (const ir::ValueId id : g.inputs) inputs.push_back(random_tensor(g.value(id).dtype, g.value(id).shape, seed++));
  return inputs;
}

inline std::vector<ir::Tensor> run(const ir::Graph& g, const std::vector<ir::Tensor>& inputs) {
  auto results = ir::interpret(g, inputs);
  EXPECT_TRUE(results.ok()) << (results.ok() ? "" : results.error().message);
  return results.ok() ? std::move(*results) : std::vector<ir::Tensor>(g.outputs.size());
}

inline std::vector<ir::Tensor> run(const SourceModel& m, const std::vector<ir::Tensor>& inputs, const OnnxOptions& options = plain()) {
  return run(must_import(m, options), inputs);
}

inline void expect_near(const ir::Tensor& got, const ir::Tensor& wanted, double tolerance = 1e-5) {
  ASSERT_EQ(ir::to_string(got.shape()), ir::to_string(wanted.shape()));
  for (int64_t k = 0; k < wanted.count(); ++k) ASSERT_NEAR(got.at(k), wanted.at(k), tolerance * std::max(1.0, std::abs(wanted.at(k)))) << "at " << k;
}

inline void expect_values(const ir::Tensor& got, const ir::Shape& shape, const std::vector<double>& wanted, double tolerance = 1e-5) {
  ASSERT_EQ(ir::to_string(got.shape()), ir::to_string(shape));
  for (size_t k = 0; k < wanted.size(); ++k) ASSERT_NEAR(got.at(static_cast<int64_t>(k)), wanted[k], tolerance) << "at " << k;
}

// "Conv+Relu" -> how many
inline std::map<std::string, int> op_counts(const ir::Graph& g) {
  std::map<std::string, int> counts;
  for (const ir::Node& n : g.nodes) {
    const bool active = n.activation.function != numerics::Unary::kIdentity;
    ++counts[std::string(ir::op_name(n.op)) + (active ? std::string("+") + numerics::unary_name(n.activation.function) : "")];
  }
  return counts;
}

// The fused import has exactly these nodes and computes what the plain one does.
inline ir::Graph expect_fuses(const SourceModel& m, const std::map<std::string, int>& wanted, double tolerance = 1e-5) {
  const ir::Graph before = must_import(m), after = must_import(m, {});
  EXPECT_EQ(op_counts(after), wanted);
  const auto inputs = feeds(before);
  const auto expected = run(before, inputs), results = run(after, inputs);
  for (size_t i = 0; i < expected.size(); ++i) expect_near(results[i], expected[i], tolerance);
  return after;
}

// The import fails with this code, and its message holds every one of these parts.
inline void expect_refused(const SourceModel& m, ErrorCode code, const std::vector<std::string>& parts, const OnnxOptions& options = {}) {
  const auto g = import(m, options);
  ASSERT_FALSE(g.ok());
  EXPECT_EQ(g.error().code, code) << g.error().message;
  for (const std::string& part : parts) EXPECT_NE(g.error().message.find(part), std::string::npos) << g.error().message << "\nlacks: " << part;
}

}  // namespace pith::importers::testing
