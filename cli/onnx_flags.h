// The flags of every verb that reads a model, and the reading: an ONNX or TorchScript file, a Hugging Face folder, or a
// checkpoint of llama2.c.
#pragma once

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "base/file.h"
#include "cli/cli.h"
#include "data/array.h"
#include "importers/huggingface/huggingface.h"
#include "importers/llama2c/llama2c.h"
#include "importers/onnx/onnx_importer.h"
#include "importers/torchscript/torchscript.h"

namespace pith::cli {

struct OnnxFlags {
  std::vector<std::string> shapes, dimensions, states;
  std::string weights;
};

inline void add_onnx_flags(CLI::App* verb, OnnxFlags& f) {
  verb->add_option("--input-shape", f.shapes, "NAME:1x3x224x224, the static shape of an input; may be repeated");
  verb->add_option("--dimension", f.dimensions, "NAME=SIZE, the size of a symbolic dimension; may be repeated");
  verb->add_option("--state", f.states, "INPUT=OUTPUT, carried from one run to the next; may be repeated");
  verb->add_option("--weights", f.weights, "a checkpoint (.pt, .pth, .safetensors) whose weights replace the ONNX file's; a pickle is read, never executed");
}

inline bool is_transformer(const std::string& path) { return importers::is_huggingface(path) || importers::is_llama2c(path); }

// `sequence` and `context` are the dimensions that these have.
inline Result<ir::Graph> import_transformer(const std::string& path, const std::map<std::string, int64_t>& dimensions) {
  importers::TransformerOptions options;
  for (const auto& [name, size] : dimensions) {
    if (name != "sequence" && name != "band" && name != "context" && name != "sinks" && name != "whole" && name != "masks")
      return usage_error(fmt::format("'{}' has no dimension '{}'; sequence, band and masks (encoders), context, sinks and whole (decoders) can be set", path, name));
    (name == "sequence" ? options.sequence : name == "band" ? options.band : name == "context" ? options.context : name == "sinks" ? options.sinks : name == "whole" ? options.whole : options.masks) = size;
  }
  return importers::is_huggingface(path) ? importers::import_huggingface(path, options) : importers::import_llama2c(path, options);
}

inline Result<ir::Graph> import_model(const std::string& path, const OnnxFlags& f) {
  importers::OnnxOptions options;
  const auto parts = [](const std::string& text, char at) { return std::pair(text.substr(0, text.rfind(at)), text.substr(std::min(text.size(), text.rfind(at) + 1))); };
  for (const std::string& s : f.shapes) {
    const auto [name, shape] = parts(s, ':');
    if (s.find(':') == std::string::npos) return usage_error(fmt::format("--input-shape '{}' isn't NAME:SHAPE, as in images:1x3x640x640", s));
    PITH_TRY(options.input_shapes[name], parse_shape(shape));
  }
  for (const std::string& s : f.dimensions) {
    const auto [name, size] = parts(s, '=');
    char* end = nullptr;
    const long long value = std::strtoll(size.c_str(), &end, 10);
    if (s.find('=') == std::string::npos || size.empty() || *end != 0 || value < 1) return usage_error(fmt::format("--dimension '{}' isn't NAME=SIZE, as in sequence=128", s));
    options.dimensions[name] = value;
  }
  options.weights = f.weights;
  if (is_transformer(path) && !f.weights.empty()) return usage_error(fmt::format("'{}' brings its own weights; --weights is for ONNX files", path));
  if (path.ends_with(".txt")) {  // what `pith import -o` and `pith compress --write-graph` write
    PITH_TRY(const std::string text, read_text_file(path));
    PITH_TRY(ir::Graph g, ir::parse_text(text));
    PITH_CHECK_OK(ir::verify(g));
    return g;
  }
  if (is_transformer(path)) return import_transformer(path, options.dimensions);
  for (const std::string& s : f.states) {
    const auto [in, out] = parts(s, '=');
    if (s.find('=') == std::string::npos) return usage_error(fmt::format("--state '{}' isn't INPUT=OUTPUT", s));
    options.state[in] = out;
  }
  if (importers::is_torchscript(path)) {
    PITH_CHECK_OK(hand_over("TorchScript is read"));
    return importers::import_torchscript(path, options);
  }
  return importers::import_onnx(path, options);
}

}  // namespace pith::cli
