// See models.h. Each model is a small network of the kind that exporters write.
#include "importers/onnx/testing/models.h"

namespace pith::importers::testing {
namespace {

using ir::Tensor;
using Ints = std::vector<int64_t>;
using Reals = std::vector<double>;

SourceModel convolutions() {
  return model({value("x", {1, 4, 6, 6})},
               {node("Pad", {"x", "pads"}, {"p"}), node("Conv", {"p", "w", "b"}, {"c"}, {{"group", int64_t{2}}}),
                node("BatchNormalization", {"c", "s", "s", "b", "v"}, {"n"}), node("Sigmoid", {"n"}, {"g"}), node("Mul", {"n", "g"}, {"a"}),
                node("MaxPool", {"a"}, {"m"}, {{"kernel_shape", Ints{2, 2}}, {"strides", Ints{2, 2}}, {"ceil_mode", int64_t{1}}}),
                node("Resize", {"m", "", "scales"}, {"u"}, {{"mode", std::string("linear")}}), node("Concat", {"u", "a"}, {"k"}, {{"axis", int64_t{1}}}),
                node("ConvTranspose", {"k", "t"}, {"d"}, {{"strides", Ints{2, 2}}, {"output_padding", Ints{1, 1}}}),
                node("AveragePool", {"d"}, {"e"}, {{"kernel_shape", Ints{3, 3}}, {"auto_pad", std::string("SAME_UPPER")}}),
                node("GlobalAveragePool", {"e"}, {"f"}), node("Flatten", {"f"}, {"h"}), node("Gemm", {"h", "fc", "b"}, {"y"}, {{"transB", int64_t{1}}})},
               {"y"},
               {integers("pads", {0, 0, 1, 1, 0, 0, 1, 1}), wave("w", {4, 2, 3, 3}), wave("b", {4}), wave("s", {4}, 1),
                tensor("v", Tensor::f32({4}, {1, 2, 3, 4})), tensor("scales", Tensor::f32({4}, {1, 1, 2, 2})), wave("t", {8, 2, 2, 2}), wave("fc", {4, 2})});
}

SourceModel attention() {
  std::vector<SourceNode> nodes;
  for (const char* s : {"q", "k", "v"}) {
    const std::string n = s;
    nodes.push_back(node("MatMul", {"x", "w" + n}, {n + "0"}));
    nodes.push_back(node("Add", {n + "0", "b"}, {n + "1"}));
    nodes.push_back(node("Reshape", {n + "1", "heads"}, {n + "2"}));
    nodes.push_back(node("Transpose", {n + "2"}, {n + "3"}, {{"perm", n == "k" ? Ints{0, 2, 3, 1} : Ints{0, 2, 1, 3}}}));
  }
  nodes.push_back(node("MatMul", {"q3", "k3"}, {"s0"}));
  nodes.push_back(node("Div", {"s0", "root"}, {"s1"}));
  nodes.push_back(node("Add", {"s1", "mask"}, {"s2"}));
  nodes.push_back(node("Softmax", {"s2"}, {"s3"}, {{"axis", int64_t{-1}}}));
  nodes.push_back(node("MatMul", {"s3", "v3"}, {"o0"}));
  nodes.push_back(node("Transpose", {"o0"}, {"o1"}, {{"perm", Ints{0, 2, 1, 3}}}));
  nodes.push_back(node("Reshape", {"o1", "joined"}, {"o2"}));
  nodes.push_back(node("Add", {"o2", "x"}, {"r"}));
  nodes.push_back(node("ReduceMean", {"r"}, {"mu"}, {{"axes", Ints{-1}}}));
  nodes.push_back(node("Sub", {"r", "mu"}, {"d"}));
  nodes.push_back(node("Pow", {"d", "two"}, {"d2"}));
  nodes.push_back(node("ReduceMean", {"d2"}, {"var"}, {{"axes", Ints{-1}}}));
  nodes.push_back(node("Add", {"var", "eps"}, {"ve"}));
  nodes.push_back(node("Sqrt", {"ve"}, {"sd"}));
  nodes.push_back(node("Div", {"d", "sd"}, {"n"}));
  nodes.push_back(node("Mul", {"n", "b"}, {"ns"}));
  nodes.push_back(node("Erf", {"ns"}, {"e"}));
  nodes.push_back(node("TopK", {"e", "three"}, {"y", "i"}));
  return model({value("x", {2, 3, 8})}, nodes, {"y", "i"},
               {wave("wq", {8, 8}), wave("wk", {8, 8}, 1), wave("wv", {8, 8}, 2), wave("b", {8}), integers("heads", {0, 0, 2, 4}), integers("joined", {0, 0, 8}),
                wave("mask", {1, 1, 1, 3}), tensor("root", Tensor::f32({}, {2})), tensor("two", Tensor::f32({}, {2})), tensor("eps", Tensor::f32({}, {1e-5f})),
                integers("three", {3})});
}

SourceModel shapes() {
  return model({value("x", {2, 3, 4}), value("i", {2}, kInt64)},
               {node("Shape", {"x"}, {"s"}), node("Gather", {"s", "one"}, {"s1"}), node("Concat", {"s1", "minus"}, {"t"}, {{"axis", int64_t{0}}}),
                node("Reshape", {"x", "t"}, {"r"}), node("Slice", {"r", "zero", "big", "one", "two"}, {"c"}), node("Unsqueeze", {"c", "zero"}, {"u"}),
                node("Tile", {"u", "rep"}, {"tl"}), node("Split", {"tl"}, {"p0", "p1"}, {{"axis", int64_t{0}}}), node("Where", {"m", "p0", "p1"}, {"w"}),
                node("Cast", {"w"}, {"ci"}, {{"to", int64_t{kInt32}}}), node("Cast", {"ci"}, {"cf"}, {{"to", int64_t{kFloat}}}), node("Gather", {"x", "i"}, {"g"}, {{"axis", int64_t{1}}}),
                node("Einsum", {"g", "x"}, {"y"}, {{"equation", std::string("abc,adc->abd")}}), node("CumSum", {"y", "one0"}, {"z"})},
               {"z", "cf"},
               {integers("one", {1}), integers("minus", {-1}), integers("zero", {0}), integers("big", {100}), integers("two", {2}), integers("rep", {2, 1, 1}),
                tensor("one0", Tensor::i64({}, {1})), tensor("m", Tensor::of<uint8_t>(ir::DType::kBool, {1}, {1}))});
}

std::shared_ptr<const SourceGraph> body(std::vector<SourceValue> inputs, std::vector<SourceNode> nodes, std::vector<std::string> outputs) {
  return std::make_shared<const SourceGraph>(model(std::move(inputs), std::move(nodes), std::move(outputs)).graph);
}

SourceModel control() {
  const auto yes = body({}, {node("Relu", {"x"}, {"a"})}, {"a"}), no = body({}, {node("Neg", {"x"}, {"a"})}, {"a"});
  const auto step = body({value("n", {}, kInt64), value("c", {}, kBool), value("h", {2})}, {node("Mul", {"h", "x"}, {"h1"}), node("Identity", {"c"}, {"c1"}), node("Exp", {"h1"}, {"o"})},
                         {"c1", "h1", "o"});
  const auto scan = body({value("h", {2}), value("e", {2})}, {node("Add", {"h", "e"}, {"h1"}), node("Tanh", {"h1"}, {"o"})}, {"h1", "o"});
  SourceModel m = model({value("x", {2})},
                        {node("If", {"flag"}, {"a"}, {{"then_branch", yes}, {"else_branch", no}}), node("Loop", {"three", "flag", "a"}, {"h", "all"}, {{"body", step}}),
                         node("Scan", {"h", "all"}, {"hs", "os"}, {{"body", scan}, {"num_scan_inputs", int64_t{1}}}), node("SequenceConstruct", {"h", "hs"}, {"seq"}),
                         node("ConcatFromSequence", {"seq"}, {"cat"}, {{"axis", int64_t{0}}}), node("Twice", {"cat"}, {"y"}, {{"by", 2.0}})},
                        {"y", "os"}, {tensor("flag", Tensor::of<uint8_t>(ir::DType::kBool, {}, {1})), tensor("three", Tensor::i64({}, {3}))});
  m.graph.nodes.back().domain = "local";
  m.opsets["local"] = 1;
  SourceFunction twice;
  twice.name = "Twice";
  twice.domain = "local";
  twice.inputs = {"v"};
  twice.outputs = {"r"};
  twice.opsets[""] = 17;
  SourceNode factor = node("Constant", {}, {"f"});
  factor.references["value_float"] = "by";
  twice.nodes = {factor, node("Mul", {"v", "f"}, {"r"})};
  m.functions.push_back(twice);
  return m;
}

SourceModel recurrent() {
  return model({value("x", {3, 1, 4}), value("h0", {1, 1, 5})},
               {node("LSTM", {"x", "w", "r", "b"}, {"l", "lh", "lc"}, {{"hidden_size", int64_t{5}}}), node("Squeeze", {"l", "one"}, {"s"}),
                node("GRU", {"s", "gw", "gr", "", "", "h0"}, {"g", "hn"}, {{"hidden_size", int64_t{5}}, {"linear_before_reset", int64_t{1}}}), node("ReduceMax", {"g"}, {"y"}, {{"axes", Ints{1}}})},
               {"y", "hn"}, {wave("w", {1, 20, 4}), wave("r", {1, 20, 5}), wave("b", {1, 40}), wave("gw", {1, 15, 5}), wave("gr", {1, 15, 5}, 1), integers("one", {1})});
}

SourceModel quantized() {
  const auto scale = tensor("s", Tensor::f32({}, {0.05f})), zero = tensor("z", Tensor::of<uint8_t>(ir::DType::kU8, {}, {128}));
  const auto weights = tensor("w", Tensor::of<int8_t>(ir::DType::kI8, {2, 2, 1, 1}, {1, -2, 3, 4}));
  return model({value("x", {1, 2, 3, 3})},
               {node("QuantizeLinear", {"x", "s", "z"}, {"q"}), node("DequantizeLinear", {"q", "s", "z"}, {"d"}), node("DequantizeLinear", {"w", "ws", "wz"}, {"wd"}, {{"axis", int64_t{0}}}),
                node("Conv", {"d", "wd"}, {"c"}), node("QuantizeLinear", {"c", "s", "z"}, {"q2"}), node("QLinearConv", {"q2", "s", "z", "w", "ws", "wz", "s", "z"}, {"q3"}),
                node("DequantizeLinear", {"q3", "s", "z"}, {"y"}), node("DynamicQuantizeLinear", {"y"}, {"dq", "ds", "dz"})},
               {"y", "ds"}, {scale, zero, weights, tensor("ws", Tensor::f32({2}, {0.1f, 0.2f})), tensor("wz", Tensor::of<int8_t>(ir::DType::kI8, {2}, {0, 0}))});
}

SourceModel detection() {
  return model({value("b", {1, 6, 4}), value("c", {1, 2, 6})},
               {node("NonMaxSuppression", {"b", "c", "most", "iou"}, {"n"}), node("ArgMax", {"c"}, {"a"}, {{"axis", int64_t{1}}}), node("OneHot", {"a", "depth", "ends"}, {"o"}),
                node("ScatterND", {"b", "at", "new"}, {"s"}), node("GatherElements", {"s", "pick"}, {"g"}, {{"axis", int64_t{2}}}), node("Trilu", {"g"}, {"t"})},
               {"n", "o", "t"}, {integers("most", {3}), tensor("iou", Tensor::f32({}, {0.5f})), integers("depth", {3}), tensor("ends", Tensor::f32({2}, {0, 1})),
                                 tensor("at", Tensor::i64({1, 2}, {0, 1})), wave("new", {1, 4}), tensor("pick", Tensor::i64({1, 6, 1}, {0, 1, 2, 3, 2, 1}))});
}

}  // namespace

std::vector<SourceModel> seed_models() { return {convolutions(), attention(), shapes(), control(), recurrent(), quantized(), detection()}; }

}  // namespace pith::importers::testing
