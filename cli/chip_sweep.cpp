// Design exploration and the check against the runtime.
#include <fmt/format.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <thread>

#include "base/random.h"
#include "cli/chip.h"
#include "cli/engine.h"
#include "pith/pith.h"
#include "sim/functional/functional.h"

namespace pith::cli {

Result<std::vector<SweepAxis>> parse_sweep(const std::string& text) {
  std::vector<SweepAxis> axes;
  const auto wrong = [&] { return usage_error(fmt::format("--sweep takes NAME=FIRST..LAST separated by commas, as in sram=4..16MB,cores=8..64, not '{}'", text)); };
  for (size_t at = 0; at <= text.size();) {
    const size_t comma = std::min(text.find(',', at), text.size());
    const std::string part = text.substr(at, comma - at);
    at = comma + 1;
    const size_t equal = part.find('=');
    if (equal == std::string::npos || equal == 0) return wrong();
    char* end = nullptr;
    const size_t dots = part.find("..");
    const std::string begin = part.substr(equal + 1, dots == std::string::npos ? dots : dots - equal - 1);
    const double first = std::strtod(begin.c_str(), &end);
    double last = first;
    std::string unit = end;
    if (dots != std::string::npos) {
      if (!unit.empty()) return wrong();
      last = std::strtod(part.c_str() + dots + 2, &end);
      unit = end;
    }
    const double scale = unit == "MB" ? 1024 : unit == "KB" || unit.empty() ? 1 : 0;  // memory is stated in KiB
    if (scale == 0 || !(first > 0) || !(last >= first) || last / first > 1e6) return wrong();
    SweepAxis axis{part.substr(0, equal), {}};
    for (double v = first; v <= last * 1.000001; v *= 2) axis.values.push_back(v * scale);
    axes.push_back(std::move(axis));
  }
  return axes;
}

Result<std::vector<sim::SweepPoint>> run_sweep(const ChipNetwork& network, const chip::Device& device, const chip::Calibration& calibration, const std::vector<SweepAxis>& axes, double fps,
                                               const sim::WorkOptions& options, int threads) {
  size_t count = 1;
  for (const SweepAxis& a : axes) count *= a.values.size();
  if (count > 10000) return usage_error(fmt::format("the sweep has {} points; 10000 are enough", count));
  std::vector<chip::Device> devices;
  std::vector<sim::SweepPoint> points;
  for (size_t i = 0; i < count; ++i) {
    chip::Device d = device;
    sim::SweepPoint p;
    size_t rest = i;
    for (const SweepAxis& a : axes) {
      const double v = a.values[rest % a.values.size()];
      rest /= a.values.size();
      PITH_CHECK_OK(chip::set_constant(d, a.name, v));
      p.label += fmt::format("{}{}={:g}", p.label.empty() ? "" : " ", a.name, v);
    }
    p.area = d.memory_mm2();
    devices.push_back(std::move(d));
    points.push_back(std::move(p));
  }
  std::atomic<size_t> next{0};
  std::vector<std::optional<Error>> errors(count);
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) {
      const auto n = sim::prepare(network.program, devices[i], network.name, options);
      if (!n.ok()) {
        errors[i] = n.error();
        continue;
      }
      const sim::Outcome o = sim::evaluate(*n, devices[i], calibration, {sim::nominal_point(devices[i], calibration), {}}, {fps});
      points[i].rate = o.most, points[i].milliwatts = o.milliwatts, points[i].fits = n->fits && o.keeps_up;
    }
  };
  std::vector<std::thread> pool;
  for (int t = 1; t < threads; ++t) pool.emplace_back(work);
  work();
  for (std::thread& t : pool) t.join();
  for (const auto& e : errors) {
    if (e) return *e;
  }
  return points;
}

namespace {

Result<std::vector<Output>> run_runtime(const ChipNetwork& network, const std::string& isa, const std::vector<std::vector<float>>& inputs) {
  PITH_TRY(std::vector<uint8_t> file, write_program(network.program, CodecChoice::kFastest));
  EngineOptions options;
  options.isa = isa;
  PITH_TRY(const std::unique_ptr<Engine> engine, pith_engine(std::move(file), network.name, options));
  std::vector<Array> arrays;
  for (const Port& port : engine->inputs()) {
    Array a = make_array(port.whole ? ArrayType::kI32 : ArrayType::kF32, port.dims);
    if (!port.whole) std::copy(inputs[arrays.size()].begin(), inputs[arrays.size()].end(), a.as<float>().begin());
    arrays.push_back(std::move(a));
  }
  return engine->run(arrays);
}

}  // namespace

Result<ChipCheck> check_against_runtime(const ChipNetwork& network, uint64_t seed) {
  PITH_TRY(sim::Functional chip, sim::Functional::create(network.program));
  Random random(seed);
  std::vector<std::vector<float>> inputs;
  const RowPorts rows = row_ports(network.program);
  for (size_t i = 0; i < network.program.inputs.size(); ++i) {
    const ProgramTensor& t = network.program.tensors[static_cast<size_t>(network.program.inputs[i].tensor)];
    size_t n = 1;
    for (size_t k = 0; k < t.dims.size(); ++k) n *= static_cast<size_t>(k == 1 && rows.inputs[i] > 0 ? rows.inputs[i] : t.dims[k]);
    inputs.emplace_back(n);  // integers stay 0: indices that every table has
    for (float& v : inputs.back()) v = t.dtype == PITH_I32 ? 0 : static_cast<float>(random.normal());
    PITH_CHECK_OK(chip.set_input(i, inputs.back()));
  }
  PITH_CHECK_OK(chip.run());
  ChipCheck check;
  check.name = network.name;
  for (const char* isa : {pith_isa_name(PITH_ISA_REFERENCE), "best"}) {
    PITH_TRY(const std::vector<Output> expected, run_runtime(network, isa, inputs));
    const bool best = std::string_view(isa) == "best";
    for (size_t k = 0; k < expected.size(); ++k) {
      const std::vector<float> got = chip.output(k);
      const bool real = network.program.tensors[static_cast<size_t>(network.program.outputs[k].tensor)].dtype == PITH_F32;
      size_t different = 0;
      double worst = 0;
      for (size_t i = 0; i < got.size(); ++i) {
        different += std::memcmp(&got[i], &expected[k].values[i], 4) != 0;
        worst = std::max(worst, std::abs(static_cast<double>(got[i]) - expected[k].values[i]) / std::max(1.0, std::abs(static_cast<double>(expected[k].values[i]))));
      }
      if (best) (real ? check.real : check.whole) += got.size();
      if (best) check.worst_best = std::max(check.worst_best, worst);
      if (!best) check.different_reference += different;
      if (different > 0 && (!real || !(worst <= 1e-3)))
        return error(ErrorCode::kMismatch, fmt::format("'{}', output {}: {} of {} results differ between the chip and the runtime's {} kernels (at most {:.3g})", network.name, k, different, got.size(), isa, worst));
    }
  }
  return check;
}

}  // namespace pith::cli
