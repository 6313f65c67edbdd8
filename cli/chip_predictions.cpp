// The fit and the predictions of docs/chip.md, so that anyone can make the committed files again.
#include <fmt/format.h>

#include <cmath>

#include "base/random.h"
#include "cli/chip.h"

namespace pith::cli {
namespace {

constexpr double kRate = 115, kSlowRate = 30, kSlowPower = 75;  // YOLOv5-S, published in January 2023
constexpr double kDensity = 0.125;

struct Row {
  std::string check, target, kind, note;
  double published = 0, value = 0;  // published 0: none
  std::string unit;
};

std::string field(const std::string& text) { return text.find(',') == std::string::npos ? text : '"' + text + '"'; }

std::string csv_of(const std::vector<Row>& rows) {
  std::string out = "check,target,kind,unit,published,value,deviation_percent,note\n";
  for (const Row& r : rows) {
    out += fmt::format("{},{},{},{},{},{:.4g},{},{}\n", field(r.check), r.target, r.kind, r.unit, r.published > 0 ? fmt::format("{:g}", r.published) : "", r.value,
                       r.published > 0 ? fmt::format("{:+.1f}", std::round(1000 * (r.value / r.published - 1)) / 10 + 0.0) : "", field(r.note));
  }
  return out;
}

struct Bench {
  chip::Device ergo, ergo2;
  const Global& global;
  std::vector<Row> rows;

  // Compiled for the device's memory, less what weights of other networks take there: where it doesn't suffice, layers run in
  // bands of rows, and the picture comes so.
  Result<sim::Prepared> prepared(const std::string& name, const chip::Device& d, double density = kDensity, const sim::WorkOptions& options = {}, bool settled = true, int64_t others = 0) {
    PITH_TRY(const ChipNetwork n, structure_network(name, density, 2, global.seed, settled ? &d : nullptr));
    PITH_TRY(sim::Prepared whole, sim::prepare(n.program, d, name, options));
    const int64_t left = (d.memory_bytes() - whole.work.memory.weights - others) / d.bank_bytes() * d.bank_bytes();
    if ((whole.fits && whole.work.memory.total + others <= d.memory_bytes()) || left <= 0) return whole;
    const Result<ChipNetwork> bands = structure_network(name, density, 2, global.seed, settled ? &d : nullptr, {.ram = left, .row_ports = true});
    if (!bands.ok()) return whole;
    return sim::prepare(bands->program, d, name, options);
  }
};

sim::Outcome at(const sim::Prepared& n, const chip::Device& d, const chip::Calibration& c, double fps = 0) { return sim::evaluate(n, d, c, {sim::nominal_point(d, c), {}}, {fps}); }

// What the assumed power flat out does to the fit and to what follows from it.
Result<void> fit_rows(Bench& b, const sim::Prepared& yolo) {
  for (int bits : {8, 4}) {
    PITH_TRY(const sim::Prepared fast2, b.prepared("resnet50", b.ergo2, kDensity, {bits}));
    PITH_TRY(const sim::Prepared fast1, b.prepared("resnet50", b.ergo, kDensity, {bits}));
    for (double flat_out : {200.0, 175.0, 150.0}) {
      const chip::Calibration c = sim::calibrate(yolo, b.ergo2, {kRate, flat_out, kSlowRate, kSlowPower});
      const std::string note = fmt::format("{:g} mW flat out assumed; {}", flat_out, bits == 8 ? "8-bit activations as the file has them" : "hypothesis: 4-bit activations in one pass");
      if (bits == 8) {
        b.rows.push_back({"energy factor", "ergo2", "fitted", note, 0, c.energy_factor, "factor"});
        b.rows.push_back({"base power", "ergo2", "fitted", note, 0, c.base_mw, "mW"});
      }
      const double two = at(fast2, b.ergo2, c).per_watt, one = at(fast1, b.ergo, c).per_watt;
      b.rows.push_back({"ResNet-50 images/s/W", "ergo2", "predicted", note, 2465, two, "1/s/W"});
      b.rows.push_back({"ResNet-50 images/s/W", "ergo", "predicted", note, 2727, one, "1/s/W"});
      b.rows.push_back({"ResNet-50 images/s/W, ratio", "ergo2/ergo", "predicted", note, 0.904, two / one, "ratio"});
    }
  }
  return {};
}

// What single parts of the structure do to the prediction: each left out, the fit made again.
Result<void> ablation_rows(Bench& b) {
  const struct {
    const char* note;
    sim::WorkOptions options;
    bool settled;
  } parts[] = {{"zeros where chance puts them; some windows take two passes", {}, false}, {"concatenations copied by DMA", {.copies_ride = false}, true}};
  for (const auto& part : parts) {
    PITH_TRY(const sim::Prepared yolo, b.prepared("yolov5s", b.ergo2, kDensity, part.options, part.settled));
    PITH_TRY(const sim::Prepared resnet, b.prepared("resnet50", b.ergo2, kDensity, part.options, part.settled));
    const chip::Calibration c = sim::calibrate(yolo, b.ergo2, {kRate, 200, kSlowRate, kSlowPower});
    b.rows.push_back({"ResNet-50 images/s/W", "ergo2", "ablation", fmt::format("{}; {:.0f}/s", part.note, at(resnet, b.ergo2, c).most), 2465, at(resnet, b.ergo2, c).per_watt, "1/s/W"});
  }
  return {};
}

Result<void> ratio_rows(Bench& b, const chip::Calibration& c, const sim::Prepared& yolo) {
  for (const char* name : {"yolov5s", "resnet50"}) {
    PITH_TRY(const sim::Prepared two, b.prepared(name, b.ergo2));
    PITH_TRY(const sim::Prepared one, b.prepared(name, b.ergo));
    const auto share = [&](const sim::Prepared& n, const chip::Device& d, sim::Stall s) { return 100 * n.timing.stalls[static_cast<size_t>(s)] / (n.timing.cycles * d.compute_clusters); };
    b.rows.push_back({fmt::format("{} rate", name), "ergo2/ergo", "predicted",
                      fmt::format("clusters work {:.0f} % and {:.0f} % of the time; waiting for DMA {:.1f} % and {:.1f} %", 100 * two.timing.busy / (two.timing.cycles * b.ergo2.compute_clusters),
                                  100 * one.timing.busy / (one.timing.cycles * b.ergo.compute_clusters), share(two, b.ergo2, sim::Stall::kDma), share(one, b.ergo, sim::Stall::kDma)),
                      4, one.timing.cycles / two.timing.cycles, "ratio"});
    b.rows.push_back({fmt::format("{} rate", name), "ergo", "predicted", one.fits ? fmt::format("fits: activations in {:.2f} MB{}", static_cast<double>(one.work.memory.arena) / 1e6, one.work.row_bytes > 0 ? ", the picture comes by rows" : "") : "does not fit the network memory", 0, at(one, b.ergo, c).most, "1/s"});
    if (std::string(name) == "resnet50") b.rows.push_back({"resnet50 rate", "ergo2", "predicted", "", 0, at(two, b.ergo2, c).most, "1/s"});
  }
  int64_t nonzero = 0, weights = 0;
  for (const sim::OpWork& w : yolo.work.ops) nonzero += w.nonzero, weights += w.weight_count;
  b.rows.push_back({"weights on chip", "ergo2", "counted", fmt::format("YOLOv5-S; {} weights of which {} aren't zero", weights, nonzero), 0, 8.0 * static_cast<double>(yolo.work.memory.weights) / static_cast<double>(weights), "bit/weight"});
  return {};
}

// RoBERTa's embedding table, 50265 x 768 ternary weights, as the chip stores weights.
int64_t embedding_bytes(const chip::Device& d, double density, uint64_t seed) {
  Random random(seed);
  ProgramConstant k;
  k.dims = {50265, 768};
  k.integers.resize(size_t{50265} * 768);
  for (int32_t& w : k.integers) w = random.uniform() < density ? (random.next() >> 63 ? 1 : -1) : 0;
  return sim::plan_weights(k, k.dims[0], k.dims[1], k.dims[0], d).stored_bytes();
}

Result<void> stress_rows(Bench& b, const chip::Calibration& c) {
  for (const auto& [density, bits] : {std::pair(0.125, 8), std::pair(0.02, 8), std::pair(0.02, 4)}) {
    PITH_TRY(const sim::Prepared n, b.prepared("yolov3", b.ergo, density, {bits}));
    const sim::Outcome o = at(n, b.ergo, c, 30);
    b.rows.push_back({fmt::format("YOLOv3 at 30/s, density {:g}, {}-bit activations", density, bits), "ergo", "stress",
                      fmt::format("{}; {}; reaches {:.1f}/s", n.fits ? "fits" : "does not fit", o.keeps_up ? "keeps up" : "does not keep up", o.most), 20, o.milliwatts, "mW"});
  }
  for (double density : {0.125, 0.05, 0.02}) {
    PITH_TRY(const sim::Prepared n, b.prepared("roberta", b.ergo2, density));
    const sim::Outcome o = at(n, b.ergo2, c);
    const double encoder = static_cast<double>(n.work.memory.total) / 1e6, all = encoder + static_cast<double>(embedding_bytes(b.ergo2, density, b.global.seed)) / 1e6;
    const std::string note = fmt::format("128 tokens; density {:g}; encoder {:.1f} MB: {}", density, encoder, n.fits ? "fits" : "does not fit");
    b.rows.push_back({"RoBERTa-base encoder rate", "ergo2", "functional", note, 0, o.most, "1/s"});
    b.rows.push_back({"RoBERTa-base encoder energy", "ergo2", "functional", note, 0, o.energy.total() * 1e3, "mJ"});
    b.rows.push_back({"RoBERTa-base with its embedding table, without a tokeniser", "ergo2", "counted", fmt::format("density {:g}; {}", density, all * 1e6 <= static_cast<double>(b.ergo2.memory_bytes()) ? "fits" : "does not fit"), 0, all, "MB"});
  }
  return {};
}

Result<void> application_rows(Bench& b, const chip::Calibration& c, const sim::Prepared& yolo) {
  const sim::Setting plain{sim::nominal_point(b.ergo2, c), {}}, camera{sim::nominal_point(b.ergo2, c), sim::Camera{1920, 1080, 30}};
  PITH_TRY(const sim::Prepared resnet, b.prepared("resnet50", b.ergo2));
  PITH_TRY(const sim::Prepared kws, b.prepared("kws", b.ergo2));
  b.rows.push_back({"camera 1080p at 30/s with YOLOv5-S at 15/s", "ergo2", "predicted", "aim: under 100 mW", 0, sim::evaluate(yolo, b.ergo2, c, camera, {15}).milliwatts, "mW"});
  b.rows.push_back({"wake word: keyword network at 50/s", "ergo2", "predicted", "aim: under 100 mW; base power dominates", 0, sim::evaluate(kws, b.ergo2, c, plain, {50}).milliwatts, "mW"});
  PITH_TRY(const sim::Prepared first, b.prepared("yolov5s", b.ergo2, kDensity, {}, true, resnet.work.memory.weights));
  const sim::Shared both = sim::share_chip({&first, &resnet}, {15, 5}, b.ergo2, c, camera);
  b.rows.push_back({"cascade: YOLOv5-S at 15/s and ResNet-50 at 5/s", "ergo2", "predicted",
                    fmt::format("aim: under 100 mW; {}; activations of the first in {:.2f} MB{}", both.fits && both.deadlines_met ? "fits, deadlines met" : both.why_not, static_cast<double>(first.work.memory.arena) / 1e6,
                                first.work.row_bytes > 0 ? ", the picture comes by rows" : ""), 0, both.milliwatts, "mW"});
  const sim::CameraResult r = sim::simulate_camera({4672, 3506, 24}, yolo.work.input_bytes, b.ergo2, c.clock_mhz);
  b.rows.push_back({"16 MP stream, fullest camera buffer", "ergo2", "functional", r.overflows ? "overflows" : "no overflow", 0, r.fullest, "B"});
  return {};
}

}  // namespace

Result<std::string> fit_calibration(const chip::Device& device, double flat_out_mw, const Global& global) {
  if (!(flat_out_mw > kSlowPower)) return usage_error(fmt::format("--flat-out must be above {} mW, the power at {} frames/s", kSlowPower, kSlowRate));
  PITH_TRY(const ChipNetwork n, structure_network("yolov5s", kDensity, 2, global.seed, &device));
  PITH_TRY(const sim::Prepared p, sim::prepare(n.program, device, n.name));
  const chip::Calibration c = sim::calibrate(p, device, {kRate, flat_out_mw, kSlowRate, kSlowPower});
  if (c.energy_factor <= 0 || c.base_mw < 0) return error(ErrorCode::kUnsupported, fmt::format("no calibration of '{}' meets {} mW: the factor would be {:.3g}, the base power {:.3g} mW", device.name, flat_out_mw, c.energy_factor, c.base_mw));
  const sim::Outcome o = at(p, device, c, kSlowRate);
  return fmt::format(
      "# The three fitted constants of the virtual chip. Written by `pith chip --calibrate FILE`.\n"
      "# Fitted on YOLOv5-S v6 (640 x 640, by structure) on {} and on nothing else; all other figures of docs/chip.md are predicted.\n"
      "clock: {{value: {:.4f}, unit: MHz}}\nenergy_factor: {{value: {:.6f}, unit: factor}}\nbase_power: {{value: {:.4f}, unit: mW}}\n"
      "record: \"seeded ternary weights, density {:g}, seed {}, 8-bit activations in two passes, no camera; targets: {:g} inferences/s (published), {:g} mW at {:g}/s (published), {:g} mW flat out (assumed); "
      "{:.0f} cycles; bottom-up {:.1f} uJ of events a frame, calibrated {:.1f} uJ with leakage and base power at {:g}/s\"\n",
      device.name, c.clock_mhz, c.energy_factor, c.base_mw, kDensity, global.seed, kRate, kSlowPower, kSlowRate, flat_out_mw, p.timing.cycles,
      (o.bottom_up.total() - o.bottom_up.joules[static_cast<size_t>(sim::Component::kLeakage)]) * 1e6, o.energy.total() * 1e6, kSlowRate);
}

Result<std::string> predictions_csv(const Global& global) {
  PITH_TRY(const chip::Device ergo, chip::load_device("ergo"));
  PITH_TRY(const chip::Device ergo2, chip::load_device("ergo2"));
  PITH_TRY(const chip::Calibration c, chip::load_calibration(""));
  Bench b{ergo, ergo2, global, {}};
  PITH_TRY(const sim::Prepared yolo, b.prepared("yolov5s", ergo2));
  const sim::Outcome fast = at(yolo, ergo2, c), slow = at(yolo, ergo2, c, kSlowRate);
  b.rows.push_back({"YOLOv5-S rate", "ergo2", "fitted", "", kRate, fast.most, "1/s"});
  b.rows.push_back({"YOLOv5-S at 30/s", "ergo2", "fitted", fmt::format("bottom-up without base power: {:.1f} mW", slow.bottom_up_milliwatts), kSlowPower, slow.milliwatts, "mW"});
  b.rows.push_back({"YOLOv5-S flat out", "ergo2", "fitted", "published: at most 200 mW", 200, fast.milliwatts, "mW"});
  b.rows.push_back({"clock", "ergo2", "fitted", "", 0, c.clock_mhz, "MHz"});
  PITH_CHECK_OK(fit_rows(b, yolo));
  PITH_CHECK_OK(ablation_rows(b));
  PITH_CHECK_OK(ratio_rows(b, c, yolo));
  PITH_CHECK_OK(application_rows(b, c, yolo));
  PITH_CHECK_OK(stress_rows(b, c));
  return csv_of(b.rows);
}

}  // namespace pith::cli
