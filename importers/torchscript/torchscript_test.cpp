// Networks written in TorchScript, saved, imported and interpreted: what libtorch computes. Also what must be refused.
#include "importers/torchscript/torchscript.h"

#include <gtest/gtest.h>
#include <torch/csrc/jit/api/module.h>
#include <ATen/ATen.h>

#include <cstdio>
#include <fstream>

#include "ir/interpret.h"

namespace pith::importers {
namespace {

using torch::jit::Module;
using Shapes = std::vector<std::vector<int64_t>>;

struct Network {
  Module module{"net"};
  std::vector<at::Tensor> inputs;
  OnnxOptions options;

  Network(const Shapes& shapes, const std::vector<std::pair<std::string, at::Tensor>>& weights, const std::string& source) {
    at::manual_seed(5);
    for (const auto& [name, t] : weights) module.register_parameter(name, t, false);
    module.define(source);
    for (size_t i = 0; i < shapes.size(); ++i) {
      inputs.push_back(at::randn(shapes[i]));
      options.input_shapes[std::string(1, static_cast<char>('x' + i))] = shapes[i];
    }
  }
  std::string saved() const {
    const std::string path = testing::TempDir() + "pith_network.pt";
    module.save(path);
    return path;
  }
  Result<ir::Graph> import() const { return import_torchscript(saved(), options); }

  // The imported graph's results on the same inputs, fused and not, are libtorch's.
  void agrees(double tolerance = 2e-5) {
    std::vector<c10::IValue> arguments(inputs.begin(), inputs.end());
    module.eval();
    const c10::IValue whole = module.forward(arguments);
    std::vector<at::Tensor> wanted;
    if (whole.isTensor()) {
      wanted = {whole.toTensor()};
    } else if (whole.isTuple()) {
      for (const c10::IValue& v : whole.toTupleRef().elements()) wanted.push_back(v.toTensor());
    } else {
      wanted = whole.toTensorVector();
    }
    for (bool fuse : {false, true}) {
      options.fuse = fuse;
      const Result<ir::Graph> g = import();
      ASSERT_TRUE(g.ok()) << g.error().message;
      std::vector<ir::Tensor> feeds;
      for (size_t i = 0; i < inputs.size(); ++i) {
        const at::Tensor plain = inputs[i].contiguous();
        ir::Tensor t(g->value(g->inputs[i]).dtype, ir::Shape(plain.sizes().begin(), plain.sizes().end()));
        for (int64_t k = 0; k < t.count(); ++k) t.set(k, plain.flatten()[k].to(at::kDouble).item<double>());
        feeds.push_back(t);
      }
      const auto got = ir::interpret(*g, feeds);
      ASSERT_TRUE(got.ok()) << got.error().message;
      ASSERT_EQ(got->size(), wanted.size());
      for (size_t i = 0; i < wanted.size(); ++i) {
        ASSERT_EQ((*got)[i].shape(), ir::Shape(wanted[i].sizes().begin(), wanted[i].sizes().end()));
        const at::Tensor flat = wanted[i].to(at::kDouble).flatten();
        for (int64_t k = 0; k < flat.numel(); ++k) ASSERT_NEAR((*got)[i].at(k), flat[k].item<double>(), tolerance * std::max(1.0, std::abs(flat[k].item<double>()))) << "result " << i << " at " << k << (fuse ? ", fused" : "");
      }
    }
  }
};

std::string body(const std::string& lines, const std::string& arguments = "x") { return "def forward(self, " + arguments + "):\n" + lines; }

TEST(TorchScript, ConvolutionsAndPools) {
  at::manual_seed(1);
  Network({{2, 4, 12, 10}}, {{"w", at::randn({6, 2, 3, 3})}, {"b", at::randn({6})}, {"u", at::randn({6, 4, 2, 2})}, {"s", at::rand({6}) + 0.5}, {"m", at::randn({6})}, {"v", at::rand({6}) + 0.5}, {"d", at::randn({6, 1, 3, 3})}},
          body("  y = torch.conv2d(x, self.w, self.b, [2, 1], [1, 1], [1, 1], 2)\n"
               "  y = torch.relu_(torch.batch_norm(y, self.s, self.b, self.m, self.v, False, 0.1, 1e-5, True))\n"
               "  y = torch.conv2d(y, self.d, None, 1, 'same', 1, 6)\n"
               "  z = torch.conv_transpose2d(torch.max_pool2d(y, [3, 3], [2, 2], [1, 1]), self.u, None, [2, 2])\n"
               "  return z, torch.adaptive_avg_pool1d(torch.avg_pool2d(y, [2, 2]).flatten(2), 1).flatten(1), torch.max_pool2d(y, 2)\n"))
      .agrees();
}

TEST(TorchScript, ProductsAndNormalisations) {
  at::manual_seed(2);
  Network({{2, 5, 8}}, {{"w", at::randn({6, 8})}, {"b", at::randn({6})}, {"g", at::randn({6})}, {"p", at::randn({6, 4})}},
          body("  y = torch.linear(x, self.w, self.b)\n"
               "  y = torch.layer_norm(y, [6], self.g, self.b)\n"
               "  z = torch.addmm(self.b[:4], y[0], self.p)\n"
               "  s = torch.softmax(torch.matmul(y, y.transpose(1, 2)) / 3.0, -1)\n"
               "  return torch.bmm(s, y), z, torch.group_norm(y.transpose(1, 2), 3, self.g, self.b), torch.log_softmax(z, 1)\n"))
      .agrees();
}

TEST(TorchScript, FunctionsAndArithmetic) {
  Network({{3, 7}, {3, 7}}, {},
          body("  a = torch.sigmoid(x) + torch.tanh(y) * 2 - torch.exp(-x.abs())\n"
               "  b = torch.leaky_relu(x, 0.2) + torch.elu(y) + torch.clamp(x, -0.5, 1.0) + torch.hardtanh(y, 0., 6.)\n"
               "  c = torch.where(x > y, x, y - 1.0) + (1 - x) + torch.rsqrt(y.abs() + 1) + torch.add(x, y, alpha=0.5)\n"
               "  d = x.masked_fill(y < 0, 3.0).pow(2.0) + torch.silu(x) + torch.gelu(y) + torch.floor(y)\n"
               "  e = a.mean(1, keepdim=True) + b.sum([0, 1]) + c.amax(0)\n"
               "  f, g = torch.max(d, 1)\n"
               "  a += 1.0\n"
               "  a.mul_(b)\n"
               "  return a, e, f, g * 1.0, torch.maximum(x, y), x.argmax(1), x.clamp_min(0.1), torch.softplus(x), a.mean()\n", "x, y"))
      .agrees();
}

TEST(TorchScript, Movements) {
  Network({{2, 4, 6, 8}}, {},
          body("  b, c, h, w = x.shape\n"
               "  y = x.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)\n"
               "  p, q = y.chunk(2, 1)\n"
               "  r = torch.cat([p[:, :, 1:, ::2], q[:, :, :-1, 1::2] * 2], 1)\n"
               "  s = torch.stack([p, q], 1).flatten(1, 2)\n"
               "  t = torch.upsample_nearest2d(s, None, [2.0, 2.0])\n"
               "  u = torch.upsample_bilinear2d(s, [9, 5], False, None, None)\n"
               "  v = torch.constant_pad_nd(s, [1, 2, 0, 1], 0.5)\n"
               "  k = torch.roll(s.permute(0, 2, 3, 1), [1, -2], [1, 2])\n"
               "  return r, t, u, v, k, torch.pixel_shuffle(s, 2), x[:, 0].unsqueeze(1).expand(2, 3, 6, 8), x[0, -1].flip([0]), x[0, 0].repeat(2, 1).t(), torch.channel_shuffle(s, 2)\n"))
      .agrees();
}

TEST(TorchScript, LoopsConditionsAndSizesAreKnown) {
  Network({{2, 3, 4}}, {{"w", at::ones({3, 4})}},
          body("  parts = []\n"
               "  for i in range(x.size(1)):\n"
               "    y = x[:, i] * float(i + 1)\n"
               "    if i % 2 == 0:\n"
               "      parts.append(y + self.w[i])\n"
               "    else:\n"
               "      parts.append(y)\n"
               "  grid = torch.arange(x.size(2)) * 1.0 - 1.5\n"
               "  assert x.dim() == 3, 'rank'\n"
               "  return torch.stack(parts, 1) * grid, parts[-1]\n"))
      .agrees();
}

TEST(TorchScript, RecurrentLayersOfAnyDepth) {
  for (const bool lstm : {true, false}) {
    for (const bool both : {false, true}) {
      at::manual_seed(3);
      std::vector<std::pair<std::string, at::Tensor>> weights;
      std::string list;
      const int64_t gates = lstm ? 4 : 3, directions = both ? 2 : 1;
      for (int64_t i = 0; i < 2 * directions; ++i) {
        const int64_t inputs = i < directions ? 5 : 6 * directions;
        for (const auto& [kind, shape] : std::vector<std::pair<std::string, std::vector<int64_t>>>{{"w", {gates * 6, inputs}}, {"r", {gates * 6, 6}}, {"b", {gates * 6}}, {"c", {gates * 6}}}) {
          weights.push_back({kind + std::to_string(i), at::randn(shape) * 0.4});
          list += (list.empty() ? "self." : ", self.") + weights.back().first;
        }
      }
      const std::string zeros = "torch.zeros([" + std::to_string(2 * directions) + ", 3, 6])", way = both ? "True" : "False";
      const std::string source = lstm ? "  y, h, c = torch.lstm(x, [" + zeros + ", " + zeros + "], [" + list + "], True, 2, 0.0, False, " + way + ", True)\n  return y, h, c\n"
                                      : "  y, h = torch.gru(x, " + zeros + ", [" + list + "], True, 2, 0.0, False, " + way + ", True)\n  return y, h\n";
      Network({{3, 4, 5}}, weights, body(source)).agrees();
    }
  }
}

TEST(TorchScript, IndicesAreWholeNumbers) {
  Network n({{2, 5}}, {{"w", at::randn({9, 4})}}, body("  return torch.embedding(self.w, x).mean(1)\n"));
  n.inputs[0] = at::randint(0, 9, {2, 5}, at::kLong);
  n.agrees();
}

TEST(TorchScript, SaysAllThatIsUnknown) {
  const auto refusal = [](Network n) {
    const Result<ir::Graph> g = n.import();
    EXPECT_FALSE(g.ok());
    return g.ok() ? Error{} : g.error();
  };
  const Error two = refusal(Network({{3, 3}}, {}, body("  return torch.cumprod(torch.digamma(x), 0) + torch.digamma(x + 1)\n")));
  EXPECT_EQ(two.code, ErrorCode::kUnsupported);
  EXPECT_NE(two.message.find("aten::cumprod"), std::string::npos) << two.message;
  EXPECT_NE(two.message.find("aten::digamma (2 times)"), std::string::npos) << two.message;
  const Error data = refusal(Network({{3, 3}}, {}, body("  if bool(x.sum() > 0):\n    return x\n  return x + 1\n")));
  EXPECT_EQ(data.code, ErrorCode::kUnsupported) << data.message;
  const Error raised = refusal(Network({{3, 3}}, {}, body("  assert x.size(0) == 4, 'no'\n  return x + 1\n")));
  EXPECT_NE(raised.message.find("raises an exception"), std::string::npos) << raised.message;
}

TEST(TorchScript, NeedsSizesThatFit) {
  Network n({{1, 4}}, {{"w", at::randn({4, 4})}}, body("  return torch.matmul(x, self.w)\n"));
  n.options.input_shapes.clear();
  const auto without = n.import();
  ASSERT_FALSE(without.ok());
  EXPECT_EQ(without.error().code, ErrorCode::kUsage);
  EXPECT_NE(without.error().message.find("--input-shape x:"), std::string::npos) << without.error().message;
  n.options.input_shapes["x"] = {1, 5};
  const auto wrong = n.import();
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, ErrorCode::kUsage);
}

TEST(TorchScript, IsToldFromOtherFiles) {
  Network n({{1, 4}}, {}, body("  return x + 1\n"));
  const std::string path = n.saved();
  EXPECT_TRUE(is_torchscript(path));
  std::ifstream whole(path, std::ios::binary);
  std::string bytes((std::istreambuf_iterator<char>(whole)), {});
  const std::string cut = testing::TempDir() + "pith_cut.pt";
  std::ofstream(cut, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
  EXPECT_FALSE(is_torchscript(cut));
  for (size_t i = bytes.size() / 4; i < bytes.size() / 2; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 0x55);
  std::ofstream(cut, std::ios::binary) << bytes;
  const auto damaged = import_torchscript(cut, n.options);
  ASSERT_FALSE(damaged.ok());
  EXPECT_EQ(damaged.error().code, ErrorCode::kUsage);
  EXPECT_FALSE(is_torchscript(testing::TempDir() + "pith_no_such_file.pt"));
}

}  // namespace
}  // namespace pith::importers
