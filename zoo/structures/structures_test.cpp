// Structures against the published numbers of weights and multiply-accumulates, and through the compiler.
#include "zoo/structures/structures.h"

#include <gtest/gtest.h>

#include "compile/compile.h"

namespace pith::zoo {
namespace {

struct Expected {
  const char* name;
  double gmacs, mega_weights;  // published, or counted from the paper
};

TEST(Structures, HaveThePublishedSizes) {
  // YOLOv5-S v6: 7.2 M parameters, 16.5 GFLOP at 640; ResNet-50 v1.5: 25.6 M, 4.1 GMAC; YOLOv3: 61.9 M, 65.9 GFLOP at
  // 416; MobileNetV2: 3.5 M, 300 MMAC
  const Expected all[] = {{"yolov5s", 8.22, 7.2}, {"resnet50", 4.09, 25.5}, {"yolov3", 32.9, 61.9}, {"mobilenetv2", 0.301, 3.47}};
  for (const Expected& e : all) {
    StructureOptions options;
    options.density = 0.02;
    const auto g = build_structure(e.name, options);
    ASSERT_TRUE(g.ok()) << g.error().message;
    int64_t macs = 0, weights = 0;
    for (const ir::Node& n : g->nodes) {
      macs += ir::dense_mac_count(*g, n);
      if (n.op == ir::Op::kConv || n.op == ir::Op::kGemm) weights += g->value(n.inputs[1]).constant->count();
    }
    EXPECT_NEAR(static_cast<double>(macs) / 1e9, e.gmacs, 0.01 * e.gmacs) << e.name;
    EXPECT_NEAR(static_cast<double>(weights) / 1e6, e.mega_weights, 0.01 * e.mega_weights) << e.name;
  }
}

TEST(Structures, CompileAndKeepTheirDensity) {
  const auto g = build_structure("kws", {.density = 0.25});
  ASSERT_TRUE(g.ok()) << g.error().message;
  const auto p = compile(*g, {});
  ASSERT_TRUE(p.ok()) << p.error().message;
  int64_t weights = 0, nonzero = 0;
  for (const ProgramConstant& k : p->constants) {
    if (k.dtype != PITH_I8) continue;
    weights += static_cast<int64_t>(k.integers.size());
    for (int32_t w : k.integers) nonzero += w != 0;
  }
  EXPECT_NEAR(static_cast<double>(nonzero) / static_cast<double>(weights), 0.25, 0.02);
}

TEST(Structures, RefuseWhatTheyAreNot) {
  EXPECT_FALSE(build_structure("yolov9").ok());
  EXPECT_FALSE(build_structure("kws", {.density = 0}).ok());
  EXPECT_FALSE(build_structure("kws", {.density = 0.1, .weight_bits = 9}).ok());
}

}  // namespace
}  // namespace pith::zoo
