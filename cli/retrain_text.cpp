// Retraining of models that read text: trained in the form that answers many tokens at once, written in the form that is used.
//
// The alternation is that of retrain.cpp, without removal of channels: train for a stretch, round, measure the real file,
// correct the target of the estimated bits by what the file adds to them.
#include <fmt/format.h>

#include <filesystem>

#include "base/log.h"
#include "cli/retrain_run.h"
#include "cli/text_batches.h"

namespace pith::cli {
namespace {

constexpr double kPositionsStep = 0.5;  // of learned positions, which rounding by layers leaves to the training: in deviations

// The student's constants that the trained form has too, by name.
ir::Graph with_constants(const ir::Graph& student, const ir::Graph& trained) {
  ir::Graph g = student;
  std::map<std::string, const ir::Value*> constants;
  for (const ir::Value& v : trained.values) {
    if (v.constant && v.dtype == ir::DType::kF32 && !v.name.empty()) constants[v.name] = &v;
  }
  for (ir::Value& v : g.values) {
    const auto found = constants.find(v.name);
    if (v.constant && v.dtype == ir::DType::kF32 && found != constants.end() && found->second->shape == v.shape) v.constant = found->second->constant;
  }
  return g;
}

}  // namespace

Result<bool> retrain_text(ir::Graph& student, const TextRetraining& text, const RetrainFlags& f, uint64_t seed, QuantizeOptions& options) {
  ir::Graph teacher = text.form, smaller = text.smaller;
  PITH_CHECK_OK(ir::canonicalize(teacher));
  PITH_CHECK_OK(ir::canonicalize(smaller));
  PITH_CHECK_OK(ir::canonicalize(student));
  PITH_TRY(train::TrainOptions t, train_options(f, seed));
  const bool first_process = t.place.rank == 0;
  t.distribution = text.model.head() != "embedding";
  if (f.temperature <= 0) t.temperature = 1;
  const double target = f.ratio > 0 ? text.original_bytes / f.ratio : 0;
  t.target_bits = target > 0 ? std::max(64.0, 8 * target * 0.8) : 0;
  options.equalize = options.correct_bias = options.round_by_covariance = false;
  train::Dataset data;
  PITH_TRY(data.draw, text_batches(teacher, text.model, text.lines, f.batch, seed));
  const ir::Graph begun = with_constants(smaller, student);
  const std::map<std::string, std::vector<int16_t>> grids = options.weight_codes;
  const auto start = [&](double share) {  // from weights that lie on grids already, where they do
    train::Model m = train::start_transformer(begun, f.per_channel, share);
    for (auto& [name, steps] : m.steps) {
      const auto grid = grids.find(name);
      if (grid == grids.end()) continue;
      steps.log2.clear();
      for (int16_t code : grid->second) steps.log2.push_back(static_cast<float>(code) / 16);
    }
    return m;
  };
  const double share_of_deviation = f.first_step > 0 ? f.first_step : !grids.empty() ? kPositionsStep : t.target_bits > 0 ? train::share_for(start, 1.15 * t.target_bits) : 0.75;
  PITH_TRY(const std::unique_ptr<train::Trainer> trainer, train::Trainer::create(teacher, start(share_of_deviation), std::move(data), t));
  if (!f.checkpoint.empty() && std::filesystem::exists(f.checkpoint)) {
    PITH_CHECK_OK(trainer->load(f.checkpoint));
    log_info(fmt::format("resumed '{}' at step {}", f.checkpoint, trainer->status().step));
  }
  const StopOnInterrupt interrupt;
  Teller teller;
  std::vector<double> shares{1e-9};  // one step, then the estimate is set right
  for (int i = 1; i <= 5; ++i) shares.push_back(f.ramp * i / 5);
  for (int i = 1; i <= 4; ++i) shares.push_back(f.ramp + (f.settle - f.ramp) * i / 4);
  shares.push_back(1);
  train::Rounded rounded;
  for (double share : shares) {
    if (trainer->status().share >= share) continue;
    PITH_CHECK_OK(trainer->run(share, stop_asked(), first_process ? std::function<void(const train::Status&)>(std::ref(teller)) : nullptr));
    rounded = train::round_model(trainer->model());
    options.weight_codes = rounded.codes;
    PITH_TRY(const size_t bytes, text.bytes_of(with_constants(student, rounded.graph), options));
    const train::Status s = trainer->status();
    if (first_process) log_info(fmt::format("{:3.0f} %: the file has {} bytes, distortion {:.5f}", 100 * s.share, bytes, s.distortion));
    if (share == 1.0 && first_process) tell_choice(s);
    if (target > 0) trainer->aim(8 * std::max(target * 0.3, target - std::min(static_cast<double>(bytes) - s.bits / 8, 0.7 * target)));
    if (!f.checkpoint.empty() && first_process) PITH_CHECK_OK(trainer->save(f.checkpoint));
    if (stop_asked()) break;
  }
  if (stop_asked()) log_warning("interrupted: the file holds what was reached so far");
  rounded = train::round_model(trainer->model());
  options.weight_codes = rounded.codes;
  student = with_constants(student, rounded.graph);
  return first_process;
}

}  // namespace pith::cli
