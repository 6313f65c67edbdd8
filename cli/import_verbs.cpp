// `pith import` and `pith supported-ops`: what the importer makes of a model, and what it knows.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/onnx_flags.h"
#include "importers/onnx/onnx_importer.h"
#include "ir/graph.h"

namespace pith::cli {
namespace {

nlohmann::json summary(const ir::Graph& g) {
  std::map<std::string, int> ops;
  int64_t macs = 0;
  for (const ir::Node& n : g.nodes) {
    ++ops[ir::op_name(n.op)];
    macs += ir::mac_count(g, n);
  }
  const auto ports = [&](const std::vector<ir::ValueId>& ids) {
    nlohmann::json list = nlohmann::json::array();
    for (ir::ValueId id : ids) list.push_back({{"name", g.value(id).name}, {"type", ir::dtype_name(g.value(id).dtype)}, {"shape", g.value(id).shape}});
    return list;
  };
  return {{"name", g.name}, {"nodes", g.nodes.size()}, {"macs", macs}, {"parameters", ir::parameter_count(g)},
          {"operators", ops}, {"inputs", ports(g.inputs)}, {"outputs", ports(g.outputs)}, {"states", g.state.size()}};
}

}  // namespace

void add_import(Context c) {
  static std::string model, output;
  static OnnxFlags flags;
  CLI::App* verb = add_verb(c, "import", "read a model, show what it is, and write it as text",
                            "  pith import model.onnx\n  pith import model.onnx --input-shape images:1x3x320x320 -o model.txt");
  verb->add_option("model", model, "ONNX or TorchScript file, Hugging Face folder, checkpoint of llama2.c, or a graph as text")->required();
  verb->add_option("-o,--output", output, "write the graph as text, with its weights");
  add_onnx_flags(verb, flags);
  verb->callback([&global = c.global, &action = c.action] {
    action = [&global]() -> Result<void> {
      PITH_TRY(const ir::Graph g, import_model(model, flags));
      if (!output.empty()) PITH_CHECK_OK(write_file(output, ir::to_text(g, true)));
      const nlohmann::json s = summary(g);
      if (global.json) {
        print_json("import", s);
        return {};
      }
      fmt::print("{}: {} nodes, {} parameters, {:.1f} million multiply-accumulates\n", model, g.nodes.size(), ir::parameter_count(g), s["macs"].get<double>() / 1e6);
      for (ir::ValueId id : g.inputs) fmt::print("  input  {:<24} {} {}\n", g.value(id).name, ir::dtype_name(g.value(id).dtype), ir::to_string(g.value(id).shape));
      for (ir::ValueId id : g.outputs) fmt::print("  output {:<24} {} {}\n", g.value(id).name, ir::dtype_name(g.value(id).dtype), ir::to_string(g.value(id).shape));
      for (const auto& [op, n] : s["operators"].items()) fmt::print("  {:>5} {}\n", n.get<int>(), op);
      return {};
    };
  });
}

void add_supported_ops(Context c) {
  CLI::App* verb = add_verb(c, "supported-ops", "the operators that pith reads, and how they execute when quantised", "  pith supported-ops | less");
  verb->callback([&global = c.global, &action = c.action] {
    action = [&global]() -> Result<void> {
      struct Row {
        const char *name, *form, *note;
        int opset;
      };
      static const Row kRows[] = {
#define PITH_OP(name, least, most, outputs, family, form, since, note) {#name, #form, note, since},
#include "ir/ops.inc"
#undef PITH_OP
      };
      const std::vector<std::string> read = importers::onnx_operators();
      if (global.json) {
        nlohmann::json list = nlohmann::json::array();
        for (const Row& r : kRows) list.push_back({{"name", r.name}, {"integer_form", r.form}, {"since_opset", r.opset}, {"note", r.note}});
        print_json("supported-ops", {{"operators", list}, {"onnx", read}});
        return {};
      }
      fmt::print("{:<24} {:>6}  {:<8} {}\n", "operator", "opset", "8 bits", "notes");
      for (const Row& r : kRows) fmt::print("{:<24} {:>6}  {:<8} {}\n", r.name, r.opset == 0 ? std::string("pith") : std::to_string(r.opset), r.form, r.note);
      fmt::print("\n8 bits: exact = integer arithmetic, table = 256-entry table, move = codes are moved, float = computed in float between conversions\n");
      fmt::print("read from ONNX files ({}): {}\n", read.size(), fmt::join(read, " "));
      return {};
    };
  });
}

}  // namespace pith::cli
