// Compression without retraining as `pith compress --no-retrain` offers it: flags, the search for the price of a bit at which
// the real file meets the target, what was done and why, and the curve of bytes against quality.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "cli/cli.h"
#include "cli/fewer_operations.h"
#include "micro/post_training.h"
#include "micro/quantize.h"

namespace pith::cli {

struct PostFlags {
  bool no_retrain = false, explain = false, macro = false;
  FewerFlags fewer;
  std::string graph;   // file for the graph that rounding begins with
  std::vector<std::string> curves;  // files
  std::vector<double> points = {3, 4, 6, 8, 10, 13, 17, 22, 30};  // ratios of the curve
  bool wanted() const { return no_retrain || fewer.wanted(); }
};
void add_post_flags(CLI::App* verb, PostFlags& flags);

// What the held-back samples say of a file.
struct Measured {
  double cosine = 0, sqnr = 0, same = -1;  // same: percent of equal answers, -1 where answers can't be compared
  double drop() const { return same < 0 ? -1 : 100 - same; }
};

struct PostTarget {
  double ratio = 0, max_drop = -1;  // 0 and -1: not asked for
  int64_t parameters = 0;
  WeightCodes may_be = {};  // what weights may be: `write` has codes for it, and no retraining follows, which goes by even steps
  std::function<Result<std::vector<uint8_t>>(const ir::Graph& quantized)> write;   // the file
  std::function<Result<Measured>(const std::vector<uint8_t>& file)> measure;
};

struct PostResult {
  LevelTable table;
  PostTrained rounded;
  double price = 0;      // of a byte, in loss
  double modelled = 0;   // loss, by the additive model
  std::vector<Way> ways; // that --macs or --macro tried, the best first
  bool fewer = false;    // operations than the original
};

// On return `graph` holds the student with fewer channels, rounded unless only --macs was asked for, and `options` its grids.
Result<PostResult> post_train(ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const std::string& head, uint64_t seed, const PostFlags& flags, const PostTarget& target,
                              QuantizeOptions& options);

// A row for each way of saving operations that was tried, and for each layer what was done and why.
std::string explanation(const PostResult& result);
nlohmann::json explanation_json(const PostResult& result);  // of the layers
nlohmann::json ways_json(const PostResult& result);

}  // namespace pith::cli
