// Retraining as `pith compress` offers it: flags, and the alternation of training, removal of channels and measuring of the
// real file, until the weights lie on grids that quantize() keeps.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/engine.h"
#include "data/samples.h"
#include "ir/recode.h"
#include "micro/quantize.h"

namespace pith::cli {

struct RetrainFlags {
  double ratio = 0, lambda = 0, rate = 0.02, step_rate = 0.004, temperature = 0, label_weight = 0, first_step = 0, ramp = 0.5, settle = 0.8, layerwise = 0, features = 0, mix = 0, gain = 0, noise = 0, zoom = 0;
  std::string time, checkpoint, train_size;
  int64_t steps = 0, batch = 128;
  std::string device = "cpu";
  int shift = 0, threads = 1, variants = 8, window = 128;
  bool flip = false, per_channel = false, allocate = false;
  bool wanted() const { return ratio > 0 || lambda > 0; }
  bool ends() const { return !time.empty() || steps > 0; }
};
void add_retrain_flags(CLI::App* verb, RetrainFlags& flags);


// What retraining begins with instead of the original on even grids: fewer operations, the end of `--no-retrain`, or both.
struct RetrainStart {
  ir::Graph graph;                                    // prepare_post_training()'s form
  std::map<std::string, std::vector<int16_t>> codes;  // the grids that it lies on, by the weights' value name; none: it isn't rounded
  bool fewer = false;                                 // operations than the original
};

// Of a quantised graph: how the pictures wait that its file will store in coded form, by the values' names.
using CodedBits = std::function<Result<std::map<std::string, ir::CodedRows>>(const ir::Graph& quantized)>;

// `graph` teaches. True where this is the process that writes the file (the first of those that train together). On return `graph` is what learned, and `options` hold its grids and ranges. `calibration` as
// quantize() takes it. With neither a ratio nor a price of a bit, weights stay in 8 bits.
Result<bool> retrain(ir::Graph& graph, const SampleSet& samples, const Preprocess& preprocess, const std::string& head, const RetrainFlags& flags, uint64_t seed,
                     const std::vector<std::vector<ir::Tensor>>& calibration, const RetrainStart* start, const CodedBits& coded, QuantizeOptions& options);

class Language;
struct TextRetraining {
  const ir::Graph& form;  // what teaches: many masked or following tokens at once
  const ir::Graph& smaller;  // what is trained: the same with fewer parts, its constants with the names of the student's
  const Language& model;  // the original, with the student's tokens
  const std::vector<std::string>& lines;
  double original_bytes = 0;
  std::function<Result<size_t>(const ir::Graph& student, const QuantizeOptions& options)> bytes_of;  // of the file
};
// The same for models that read text; on return the student's weights lie on the grids of `options`. It goes on from the student's
// weights, and from the grids that `options` holds of them.
Result<bool> retrain_text(ir::Graph& student, const TextRetraining& text, const RetrainFlags& flags, uint64_t seed, QuantizeOptions& options);

}  // namespace pith::cli
