// `pith chip`: what a compressed network would deliver on a modelled accelerator, before there is silicon.
#include "cli/chip.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <filesystem>
#include <thread>

#include "base/file.h"
#include "sim/timing/placement.h"
#include "zoo/structures/structures.h"

namespace pith::cli {
namespace {

struct Flags {
  std::vector<std::string> models, structures, settings, cameras;
  std::vector<double> fps;
  std::string target = "ergo2", calibration, layers, trace, svg, timeline, sweep, pareto, csv, calibrate, predictions;
  double density = 0.125, cap = 0, battery = 0, volts = 3.7, duty = 1, flat_out = 200;
  int bits = 2, activation_bits = 8, threads = 0;
  int64_t ram = 0;
  bool rows = false, scattered = false;
  bool check = false, anyway = false, dvfs = false, constants = false;
};

Result<std::optional<sim::Camera>> parse_camera(const std::string& text) {
  if (text.empty()) return std::optional<sim::Camera>{};
  sim::Camera c;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lfx%lf@%lf%c", &c.width, &c.height, &c.fps, &rest) != 3 || !(c.width >= 1 && c.height >= 1 && c.height <= 65536 && c.fps > 0))
    return usage_error(fmt::format("--camera takes WIDTHxHEIGHT@FPS, as in 1920x1080@30, not '{}'", text));
  return std::optional<sim::Camera>{c};
}

Result<chip::Device> device_of(const Flags& f) {
  PITH_TRY(chip::Device d, chip::load_device(f.target));
  for (const std::string& s : f.settings) {
    const size_t equal = s.find('=');
    char* end = nullptr;
    const double value = equal == std::string::npos ? 0 : std::strtod(s.c_str() + equal + 1, &end);
    if (!end || *end != 0 || end == s.c_str() + equal + 1) return usage_error(fmt::format("--set takes NAME=NUMBER, as in cores=16, not '{}'", s));
    PITH_CHECK_OK(chip::set_constant(d, s.substr(0, equal), value));
  }
  return d;
}

// The point at which the networks run: nominal; with a power cap the fastest under it; with --dvfs the slowest that keeps up.
Result<chip::OperatingPoint> choose_point(const std::vector<const sim::Prepared*>& networks, const std::vector<double>& fps, const chip::Device& d, const chip::Calibration& c, const Flags& f,
                                          const std::optional<sim::Camera>& camera) {
  if (f.cap <= 0 && !f.dvfs) return sim::nominal_point(d, c);
  std::optional<chip::OperatingPoint> best;
  double least = -1;
  for (const chip::OperatingPoint& p : sim::operating_points(d, c)) {
    const sim::Setting setting{p, camera, {}};
    double mw;
    bool keeps_up = true;
    if (networks.size() == 1) {
      const sim::Outcome o = sim::evaluate(*networks[0], d, c, setting, {fps[0]});
      mw = o.milliwatts, keeps_up = o.keeps_up;
    } else {
      const sim::Shared s = sim::share_chip(networks, fps, d, c, setting);
      mw = s.milliwatts, keeps_up = s.deadlines_met;
    }
    least = least < 0 ? mw : std::min(least, mw);
    if ((f.cap > 0 && mw > f.cap) || !keeps_up) continue;
    best = p;
    if (f.dvfs && fps[0] > 0) break;  // the slowest that keeps up takes least
  }
  if (best) return *best;
  return error(ErrorCode::kDoesNotFit, f.cap > 0 ? fmt::format("no operating point of '{}' keeps up within {:.1f} mW (the least is {:.1f} mW); lower --fps or raise --cap", d.name, f.cap, least)
                                                 : fmt::format("no operating point of '{}' keeps up; lower --fps", d.name));
}

void print_energy(const sim::Outcome& o) {
  fmt::print("\n| energy of a frame | uJ | share |\n| --- | ---: | ---: |\n");
  for (int k = 0; k < sim::kComponents; ++k) {
    const double j = o.energy.joules[static_cast<size_t>(k)];
    if (j > 0) fmt::print("| {} | {:.2f} | {:.1f} % |\n", sim::component_name(k), j * 1e6, 100 * j / o.energy.total());
  }
  fmt::print("| together | {:.2f} | |\n", o.energy.total() * 1e6);
}

nlohmann::json json_of(const sim::Prepared& n, const sim::Outcome& o, const chip::Device& d) {
  nlohmann::json energy, stalls;
  for (int k = 0; k < sim::kComponents; ++k) energy[sim::component_name(k)] = o.energy.joules[static_cast<size_t>(k)] * 1e6;
  for (int s = 0; s < sim::kStalls; ++s) stalls[sim::stall_name(s)] = n.timing.stalls[static_cast<size_t>(s)] / (n.timing.cycles * d.compute_clusters);
  return {{"model", n.name}, {"fits", n.fits}, {"weight_bytes", n.work.memory.weights}, {"arena_bytes", n.work.memory.arena}, {"cycles", n.timing.cycles}, {"latency_ms", o.latency * 1e3}, {"post_ms", o.post * 1e3},
          {"inferences_per_s", o.most}, {"fps", o.fps}, {"keeps_up", o.keeps_up}, {"mW", o.milliwatts}, {"bottom_up_mW", o.bottom_up_milliwatts}, {"inferences_per_s_per_W", o.per_watt},
          {"energy_uJ", energy}, {"energy_uJ_total", o.energy.total() * 1e6}, {"cluster_busy", n.timing.busy / (n.timing.cycles * d.compute_clusters)}, {"stalls", stalls}};
}

void print_outcome(const sim::Prepared& n, const sim::Outcome& o, const chip::Device& d, const chip::OperatingPoint& p) {
  int64_t macs = 0, weights = 0, nonzero = 0;
  for (const sim::OpWork& w : n.work.ops) macs += w.macs, weights += w.weight_count, nonzero += w.nonzero;
  fmt::print("{} on {} at {:.1f} MHz, {:.2f} V\n", n.name, d.name, p.mhz, p.volt);
  fmt::print("{:.1f} million multiply-accumulates, {} weights on cores, {:.1f} % of them other than zero\n\n", static_cast<double>(macs) / 1e6, weights, 100.0 * static_cast<double>(nonzero) / std::max<double>(1, static_cast<double>(weights)));
  fmt::print("| | |\n| --- | ---: |\n| memory on chip: weights, activations | {}, {} of {}{} |\n", bytes_text(n.work.memory.weights), bytes_text(n.work.memory.arena), bytes_text(d.memory_bytes()), n.fits ? "" : " (does not fit)");
  fmt::print("| latency | {:.3f} ms, then {:.3f} ms on the CPU |\n| most inferences/s | {:.1f} |\n", o.latency * 1e3, o.post * 1e3, o.most);
  fmt::print("| power at {:.1f}/s | {:.2f} mW (bottom-up, without base power: {:.2f} mW) |\n| energy of a frame | {:.1f} uJ |\n| inferences/s/W | {:.0f} |\n", o.fps, o.milliwatts, o.bottom_up_milliwatts, o.energy.total() * 1e6, o.per_watt);
  if (!o.keeps_up) fmt::print("| keeps up | no: {:.1f}/s are asked for |\n", o.fps);
  const double all = n.timing.cycles * d.compute_clusters;
  fmt::print("\n| cluster time | share |\n| --- | ---: |\n| work | {:.1f} % |\n", 100 * n.timing.busy / all);
  for (int s = 0; s < sim::kStalls; ++s) {
    if (n.timing.stalls[static_cast<size_t>(s)] > 0.0005 * all) fmt::print("| waiting: {} | {:.1f} % |\n", sim::stall_name(s), 100 * n.timing.stalls[static_cast<size_t>(s)] / all);
  }
  print_energy(o);
}

Result<void> write_files(const Flags& f, const sim::Prepared& n, const sim::Outcome& o, const chip::Device& d, const chip::Calibration& c, const sim::Setting& setting) {
  if (!f.layers.empty()) PITH_CHECK_OK(write_file(f.layers, sim::layers_csv(n, o)));
  if (!f.trace.empty()) PITH_CHECK_OK(write_file(f.trace, sim::trace_json(n, o, d, c, setting)));
  if (!f.svg.empty()) PITH_CHECK_OK(write_file(f.svg, sim::memory_svg(n, o, d, setting)));
  if (!f.timeline.empty()) PITH_CHECK_OK(write_file(f.timeline, sim::timeline_svg(n, o, d, setting)));
  return {};
}

// Battery life and camera, in both forms of output.
Result<void> finish(const Flags& f, const Global& global, nlohmann::json body, double milliwatts, const std::vector<const sim::Prepared*>& networks, const chip::Device& d, const chip::Calibration& c,
                    const sim::Setting& setting) {
  const double sleep = sim::sleep_milliwatts(networks, d, c), mean = f.duty * milliwatts + (1 - f.duty) * sleep;
  if (f.duty < 1) {
    body["duty"] = f.duty, body["sleep_mW"] = sleep, body["mean_mW"] = mean;
    if (!global.json) fmt::print("\nactive {:.1f} % of the time, {:.2f} mW in deep sleep: {:.2f} mW on average\n", 100 * f.duty, sleep, mean);
  }
  if (f.battery > 0) {
    const double days = f.battery * f.volts / mean / 24;
    body["battery_days"] = days;
    if (!global.json) fmt::print("\n{:.0f} mAh at {:.1f} V last {:.1f} days\n", f.battery, f.volts, days);
  }
  const std::optional<sim::Camera> cameras[] = {setting.camera, setting.second};
  for (int k = 0; k < 2; ++k) {
    if (!cameras[k]) continue;
    const double stored = k == 0 ? networks[0]->work.input_bytes + networks[0]->work.row_bytes : networks.back()->work.input_bytes;
    const sim::CameraResult r = sim::simulate_camera(*cameras[k], stored, d, setting.point.mhz, k);
    if (!r.possible) return error(ErrorCode::kDoesNotFit, r.why_not);
    body[k == 0 ? "camera" : "second_camera"] = {{"pixels_per_s", r.pixel_rate}, {"buffer_bytes", r.fullest}, {"overflows", r.overflows}};
    if (!global.json)
      fmt::print("\n{}: {:.1f} million pixels/s, at most {:.0f} of {:.0f} bytes wait in its buffer{}\n", k == 0 ? "camera" : "second camera", r.pixel_rate / 1e6, r.fullest, d.camera_fifo * 1024, r.overflows ? ": it overflows" : "");
    if (r.overflows) return error(ErrorCode::kDoesNotFit, "the camera's buffer overflows; raise the clock or camera.pixel_rate");
  }
  const double feeds = setting.camera ? d.camera_regions + (setting.second ? 1 : 0) : 1e9;
  if (static_cast<double>(networks.size()) > feeds)
    return error(ErrorCode::kDoesNotFit, fmt::format("the cameras of '{}' feed {:.0f} networks, not {}; take another --camera or fewer networks", d.name, feeds, networks.size()));
  if (global.json) print_json("chip", std::move(body));
  return {};
}

Result<std::vector<ChipNetwork>> networks_of(const Flags& f, const chip::Device& d, const Global& global) {
  std::vector<ChipNetwork> networks;
  for (const std::string& m : f.models) {
    PITH_TRY(ChipNetwork n, load_chip_network(m));
    networks.push_back(std::move(n));
  }
  for (const std::string& s : f.structures) {
    PITH_TRY(ChipNetwork n, structure_network(s, f.density, f.bits, global.seed, f.scattered ? nullptr : &d, {.ram = f.ram, .row_ports = f.rows}));
    networks.push_back(std::move(n));
  }
  if (networks.empty()) return usage_error(fmt::format("name a .pith file, or a structure with --structure ({})", fmt::join(zoo::structure_names(), ", ")));
  return networks;
}

Result<void> check_flags(const Flags& f) {
  if (f.activation_bits < 1 || f.activation_bits > 8) return usage_error("--activation-bits takes 1 to 8");
  if (!(f.duty > 0 && f.duty <= 1)) return usage_error("--duty takes a share above 0, up to 1");
  if (f.cameras.size() > 2) return usage_error("--camera may be given twice; chips have two pipelines");
  if (f.cap < 0 || f.battery < 0 || f.volts <= 0) return usage_error("--cap, --battery and --volts take positive numbers");
  for (double x : f.fps) {
    if (!(x > 0 && x < 1e6)) return usage_error("--fps takes positive numbers");
  }
  return {};
}

Result<void> sweep(const Flags& f, const Global& global, const ChipNetwork& network, const chip::Device& d, const chip::Calibration& c) {
  PITH_TRY(const std::vector<SweepAxis> axes, parse_sweep(f.sweep));
  const int threads = f.threads > 0 ? f.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  PITH_TRY(std::vector<sim::SweepPoint> points, run_sweep(network, d, c, axes, f.fps.empty() ? 0 : f.fps[0], {f.activation_bits}, threads));
  sim::mark_front(points);
  std::string csv = "setting,inferences_per_s,mW,mm2,fits,front\n";
  nlohmann::json all = nlohmann::json::array();
  for (const sim::SweepPoint& p : points) {
    csv += fmt::format("{},{:.2f},{:.2f},{:.2f},{},{}\n", p.label, p.rate, p.milliwatts, p.area, p.fits ? 1 : 0, p.front ? 1 : 0);
    all.push_back({{"setting", p.label}, {"inferences_per_s", p.rate}, {"mW", p.milliwatts}, {"mm2", p.area}, {"fits", p.fits}, {"front", p.front}});
  }
  if (!f.csv.empty()) PITH_CHECK_OK(write_file(f.csv, csv));
  if (!f.pareto.empty()) PITH_CHECK_OK(write_file(f.pareto, sim::pareto_svg(points, fmt::format("{} on variants of {}", network.name, d.name))));
  if (global.json) {
    print_json("chip-sweep", {{"model", network.name}, {"target", d.name}, {"points", all}});
  } else {
    fmt::print("{}", csv);
  }
  return {};
}

Result<void> print_constants(const chip::Device& d) {
  fmt::print("{}: {}\n\n| constant | value | unit | kind | source |\n| --- | ---: | --- | --- | --- |\n", d.name, d.summary);
  for (size_t i = 0; i < chip::rows().size(); ++i) {
    const chip::Row& r = chip::rows()[i];
    fmt::print("| {}.{} | {:g} | {} | {} | {} |\n", r.section, r.name, d.*r.member, r.unit, chip::kind_name(d.origins[i].kind), d.origins[i].source);
  }
  return {};
}

Result<void> chip_verb(const Flags& f, const Global& global) {
  PITH_CHECK_OK(check_flags(f));
  PITH_TRY(const chip::Device d, device_of(f));
  if (f.constants) return print_constants(d);
  if (!f.calibrate.empty()) {
    PITH_TRY(const std::string text, fit_calibration(d, f.flat_out, global));
    return write_file(f.calibrate, text);
  }
  if (!f.predictions.empty()) {
    PITH_TRY(const std::string csv, predictions_csv(global));
    return write_file(f.predictions, csv);
  }
  PITH_TRY(const chip::Calibration c, chip::load_calibration(f.calibration));
  PITH_TRY(const std::optional<sim::Camera> camera, parse_camera(f.cameras.empty() ? "" : f.cameras[0]));
  PITH_TRY(const std::optional<sim::Camera> second, parse_camera(f.cameras.size() < 2 ? "" : f.cameras[1]));
  PITH_TRY(const std::vector<ChipNetwork> networks, networks_of(f, d, global));
  if (f.check) {
    nlohmann::json all = nlohmann::json::array();
    for (const ChipNetwork& n : networks) {
      PITH_TRY(const ChipCheck said, check_against_runtime(n, global.seed));
      all.push_back({{"model", said.name}, {"whole", said.whole}, {"real", said.real}, {"different_from_reference", said.different_reference}, {"worst_from_best", said.worst_best}});
      if (!global.json)
        fmt::print("{}: {} results, {} of them float; {} differ from the reference kernels in any bit; floats are within {:.2g} of the best kernels\n", said.name, said.whole + said.real, said.real,
                   said.different_reference, said.worst_best);
    }
    if (global.json) print_json("chip-check", {{"networks", all}});
    return {};
  }
  if (!f.sweep.empty()) return sweep(f, global, networks[0], d, c);
  std::vector<sim::Prepared> prepared;
  for (const ChipNetwork& n : networks) {
    PITH_TRY(sim::Prepared p, sim::prepare(n.program, d, n.name, {f.activation_bits, camera ? camera->fps / (c.clock_mhz * 1e6) : 0}));
    if (!p.fits && !f.anyway) return error(ErrorCode::kDoesNotFit, p.why_not + "; take a device with more (--set sram=KIB), or --anyway");
    prepared.push_back(std::move(p));
  }
  std::vector<const sim::Prepared*> pointers;
  for (const sim::Prepared& p : prepared) pointers.push_back(&p);
  std::vector<double> fps = f.fps;
  if (networks.size() > 1 && fps.size() != networks.size()) return usage_error(fmt::format("{} networks need as many numbers after --fps, as in --fps 30,3", networks.size()));
  if (fps.empty()) fps = {0};
  PITH_TRY(const chip::OperatingPoint point, choose_point(pointers, fps, d, c, f, camera));
  const sim::Setting setting{point, camera, second};
  nlohmann::json body = {{"target", d.name}, {"MHz", point.mhz}, {"V", point.volt}};
  if (networks.size() == 1) {
    const sim::Outcome o = sim::evaluate(prepared[0], d, c, setting, {fps[0]});
    PITH_CHECK_OK(write_files(f, prepared[0], o, d, c, setting));
    body.update(json_of(prepared[0], o, d));
    if (!global.json) print_outcome(prepared[0], o, d, point);
    return finish(f, global, std::move(body), o.milliwatts, pointers, d, c, setting);
  }
  const sim::Shared s = sim::share_chip(pointers, fps, d, c, setting);
  if (!s.fits && !f.anyway) return error(ErrorCode::kDoesNotFit, s.why_not + "; --anyway goes on");
  if (!s.deadlines_met && !f.anyway) return error(ErrorCode::kDoesNotFit, s.why_not);
  body["mW"] = s.milliwatts, body["busy"] = s.busy, body["networks"] = nlohmann::json::array();
  if (!global.json) fmt::print("{} at {:.1f} MHz, {:.2f} V: {:.2f} mW, the clusters' schedule is {:.1f} % full\n\n| network | frames/s | latency at worst, ms |\n| --- | ---: | ---: |\n", d.name, point.mhz, point.volt, s.milliwatts, 100 * s.busy);
  for (size_t i = 0; i < networks.size(); ++i) {
    body["networks"].push_back({{"model", networks[i].name}, {"fps", fps[i]}, {"worst_latency_ms", s.worst_latency[i] * 1e3}});
    if (!global.json) fmt::print("| {} | {:g} | {:.2f} |\n", networks[i].name, fps[i], s.worst_latency[i] * 1e3);
  }
  return finish(f, global, std::move(body), s.milliwatts, pointers, d, c, setting);
}

}  // namespace

Result<ChipNetwork> load_chip_network(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  PITH_TRY(Program program, read_program(file));
  return ChipNetwork{std::filesystem::path(path).stem().string(), std::move(program)};
}

Result<ChipNetwork> structure_network(const std::string& name, double density, int bits, uint64_t seed, const chip::Device* settle_on, const CompileOptions& memory) {
  PITH_TRY(const ir::Graph graph, zoo::build_structure(name, {density, bits, seed}));
  PITH_TRY(Program program, compile(graph, memory));
  if (settle_on) sim::settle_weights(program, *settle_on);
  return ChipNetwork{name, std::move(program)};
}

void add_chip(Context c) {
  static Flags f;
  CLI::App* verb = add_verb(c, "chip", "inferences per second and milliwatts on a modelled accelerator",
                            "  pith chip model.pith --target ergo2 --fps 30\n  pith chip --structure yolov5s --fps 30 --svg memory.svg --trace trace.json\n"
                            "  pith chip detector.pith classifier.pith --fps 10,3 --camera 1920x1080@30 --battery 1000\n"
                            "  pith chip model.pith --sweep sram=4..16MB,cores=8..64 --pareto front.svg");
  verb->add_option("models", f.models, ".pith files; several share the chip");
  verb->add_option("--structure", f.structures, "a well-known network by structure, with seeded random weights; may be repeated");
  verb->add_option("--density", f.density, "of a structure's weights: share other than zero")->capture_default_str();
  verb->add_option("--bits", f.bits, "of a structure's weights, 2 (ternary) to 8")->capture_default_str();
  verb->add_flag("--scattered", f.scattered, "of a structure: weights lie where chance put them, not where training to the chip's multiplexers would");
  verb->add_option("--ram", f.ram, "of a structure: bytes that its activations may take; layers run in bands of rows to meet it (0: no limit)")->check(CLI::NonNegativeNumber)->capture_default_str();
  verb->add_flag("--rows", f.rows, "of a structure, with --ram: its input comes and its outputs go row by row");
  verb->add_option("--target", f.target, "ergo, ergo2, skeleton, or a device's .yaml file")->capture_default_str();
  verb->add_option("--set", f.settings, "NAME=NUMBER: another value for one of the device's constants; may be repeated");
  verb->add_option("--calibration", f.calibration, "a calibration's .yaml file (default: the built-in fit)");
  verb->add_option("--fps", f.fps, "frames per second of each network (default: flat out)")->delimiter(',');
  verb->add_option("--activation-bits", f.activation_bits, "time and energy as if activations had so few bits; results stay those of 8")->capture_default_str();
  verb->add_option("--camera", f.cameras, "WIDTHxHEIGHT@FPS of a camera that runs all the time; a second one takes the second pipeline")->allow_extra_args(false);
  verb->add_option("--cap", f.cap, "mW that must not be passed: the fastest operating point under it is taken");
  verb->add_flag("--dvfs", f.dvfs, "take the slowest operating point that keeps up");
  verb->add_option("--duty", f.duty, "share of the time that the chip is active; deep sleep otherwise")->capture_default_str();
  verb->add_option("--battery", f.battery, "mAh: say how many days it lasts");
  verb->add_option("--volts", f.volts, "of the battery")->capture_default_str();
  verb->add_option("--layers", f.layers, "write a CSV with cycles, stalls, counts and energies of every layer");
  verb->add_option("--trace", f.trace, "write a trace for ui.perfetto.dev");
  verb->add_option("--svg", f.svg, "draw memory over one frame");
  verb->add_option("--timeline", f.timeline, "draw what every unit does over one frame, and the camera's buffer");
  verb->add_option("--sweep", f.sweep, "NAME=FIRST..LAST,...: every combination, values doubling; as in sram=4..16MB,cores=8..64");
  verb->add_option("--pareto", f.pareto, "draw the sweep: inferences/s, mW, mm2 of SRAM");
  verb->add_option("--csv", f.csv, "write the sweep as CSV");
  verb->add_option("--threads", f.threads, "of a sweep (default: all)");
  verb->add_flag("--check", f.check, "compare the chip's results with the runtime's on random inputs, bit for bit");
  verb->add_flag("--anyway", f.anyway, "go on when the network doesn't fit or misses a deadline");
  verb->add_flag("--constants", f.constants, "print the device's constants with their kinds and sources");
  verb->add_option("--calibrate", f.calibrate, "fit clock, energy factor and base power on YOLOv5-S and write them to this file");
  verb->add_option("--flat-out", f.flat_out, "mW at full rate that --calibrate assumes")->capture_default_str();
  verb->add_option("--predictions", f.predictions, "write the table of docs/chip.md as CSV (half a minute)");
  verb->callback([&global = c.global, &action = c.action] { action = [&global] { return chip_verb(f, global); }; });
}

}  // namespace pith::cli
