// With libtorch. See sensitivity.h.
#include "cli/sensitivity.h"

#include <fmt/format.h>

#include "base/log.h"
#include "train/sensitivity.h"

namespace pith::cli {

Result<void> hand_over_for_gradients() { return {}; }

std::map<std::string, ir::Tensor> measure_gradients(const ir::Graph& graph, const std::vector<std::vector<ir::Tensor>>& samples, const std::string& head, uint64_t seed) {
  const train::Answers answers = answers_are_classes(head) ? train::Answers::kClasses : head == "yolov5-raw" ? train::Answers::kDetections : train::Answers::kNumbers;
  auto found = train::squared_gradients(graph, samples, answers, seed);
  if (found.ok()) return std::move(*found);
  log_info(fmt::format("layers count by their own relative error, not by the answers': {}", found.error().message));
  return {};
}

}  // namespace pith::cli
