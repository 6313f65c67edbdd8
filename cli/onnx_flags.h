// The flags of every verb that reads an ONNX file.
#pragma once

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include "data/array.h"
#include "importers/onnx/onnx_importer.h"

namespace pith::cli {

struct OnnxFlags {
  std::vector<std::string> shapes, dimensions, states;
};

inline void add_onnx_flags(CLI::App* verb, OnnxFlags& f) {
  verb->add_option("--input-shape", f.shapes, "NAME:1x3x224x224, the static shape of an input; may be repeated");
  verb->add_option("--dimension", f.dimensions, "NAME=SIZE, the size of a symbolic dimension; may be repeated");
  verb->add_option("--state", f.states, "INPUT=OUTPUT, carried from one run to the next; may be repeated");
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
  for (const std::string& s : f.states) {
    const auto [in, out] = parts(s, '=');
    if (s.find('=') == std::string::npos) return usage_error(fmt::format("--state '{}' isn't INPUT=OUTPUT", s));
    options.state[in] = out;
  }
  return importers::import_onnx(path, options);
}

}  // namespace pith::cli
