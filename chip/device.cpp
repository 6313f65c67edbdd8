// Reading devices: every row of constants.inc must be there with its unit, kind and source, and nothing else may be.
#include "chip/device.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <cmath>
#include <set>

#include "base/file.h"
#include "chip/built_in.h"

namespace pith::chip {
namespace {

constexpr const char* kKinds[] = {"published", "literature", "fitted", "measured", "assumed"};

Result<YAML::Node> load_yaml(std::string_view text, const std::string& path) {
  try {
    YAML::Node root = YAML::Load(std::string(text));
    if (!root.IsMap()) return usage_error(fmt::format("'{}' is no mapping of sections; see chip/devices/skeleton.yaml", path));
    return root;
  } catch (const YAML::Exception& e) {
    return usage_error(fmt::format("'{}', line {}: {}; it is no YAML", path, e.mark.line + 1, e.msg));
  }
}

Result<double> number(const YAML::Node& node, const std::string& what) {
  double value = 0;
  if (!node.IsDefined() || !node.IsScalar() || !YAML::convert<double>::decode(node, value) || !std::isfinite(value))
    return usage_error(fmt::format("{} needs a number", what));
  return value;
}

Result<Origin> origin(const YAML::Node& node, const std::string& what) {
  Origin o;
  const std::string kind = node["kind"].IsDefined() && node["kind"].IsScalar() ? node["kind"].Scalar() : "";
  bool known = false;
  for (int i = 0; i < static_cast<int>(std::size(kKinds)); ++i) {
    if (kind == kKinds[i]) o.kind = static_cast<Kind>(i), known = true;
  }
  if (!known) return usage_error(fmt::format("{} has the kind '{}'; it takes one of {}", what, kind, fmt::join(kKinds, ", ")));
  if (!node["source"].IsDefined() || !node["source"].IsScalar() || node["source"].Scalar().empty())
    return usage_error(fmt::format("{} names no source; say where its value comes from", what));
  o.source = node["source"].Scalar();
  return o;
}

Result<double> constant(const YAML::Node& node, const Row& row, const std::string& path, Origin& from) {
  const std::string what = fmt::format("'{}': {}.{}", path, row.section, row.name);
  if (!node.IsDefined()) return usage_error(fmt::format("{} is missing ({}, in {})", what, *row.meaning ? row.meaning : row.name, row.unit));
  if (!node.IsMap()) return usage_error(fmt::format("{} must be {{value, unit, kind, source}}", what));
  PITH_TRY(const double value, number(node["value"], what));
  const std::string unit = node["unit"].IsDefined() && node["unit"].IsScalar() ? node["unit"].Scalar() : "";
  if (unit != row.unit) return usage_error(fmt::format("{} is in '{}' and must be in '{}'", what, unit, row.unit));
  if (value < row.lowest || value > row.highest)
    return usage_error(fmt::format("{} is {} {}; it must lie in {}..{}", what, value, row.unit, row.lowest, row.highest));
  PITH_TRY(from, origin(node, what));
  for (const auto& field : node) {
    const std::string key = field.first.Scalar();
    if (key != "value" && key != "unit" && key != "kind" && key != "source") return usage_error(fmt::format("{} has a field '{}' that means nothing", what, key));
  }
  return value;
}

Result<std::vector<OperatingPoint>> operating_points(const YAML::Node& node, const std::string& path) {
  std::vector<OperatingPoint> points;
  const std::string what = fmt::format("'{}': clock.points", path);
  if (!node.IsDefined() || !node.IsSequence() || node.size() == 0) return usage_error(what + " must list at least one [MHz, V]");
  for (const YAML::Node& entry : node) {
    if (!entry.IsSequence() || entry.size() != 2) return usage_error(what + " has an entry that isn't [MHz, V]");
    PITH_TRY(const double mhz, number(entry[0], what));
    PITH_TRY(const double volt, number(entry[1], what));
    if (mhz <= 0 || volt <= 0 || (!points.empty() && (mhz <= points.back().mhz || volt < points.back().volt)))
      return usage_error(what + " must rise in MHz and not fall in V");
    points.push_back({mhz, volt});
  }
  return points;
}

Result<void> check_names(const YAML::Node& root, const std::string& path) {
  std::set<std::string> known = {"name", "summary", "clock.points"};
  std::set<std::string> sections;
  for (const Row& row : rows()) {
    known.insert(fmt::format("{}.{}", row.section, row.name));
    sections.insert(row.section);
  }
  for (const auto& section : root) {
    const std::string name = section.first.Scalar();
    if (known.count(name) != 0) continue;
    if (sections.count(name) == 0 || !section.second.IsMap())
      return usage_error(fmt::format("'{}' has a section '{}' that means nothing; sections are {}", path, name, fmt::join(sections, ", ")));
    for (const auto& field : section.second) {
      const std::string full = name + "." + field.first.Scalar();
      if (known.count(full) == 0) return usage_error(fmt::format("'{}' has a constant {} that means nothing", path, full));
    }
  }
  return {};
}

}  // namespace

double Device::wire_mm() const { return 0.5 * std::sqrt(memory_mm2()); }

const char* kind_name(Kind kind) { return kKinds[static_cast<int>(kind)]; }

const std::vector<Row>& rows() {
  static const std::vector<Row> all = [] {
    std::vector<Row> r;
    const auto plain = [](const char* text) { return text[0] == '"' ? text + 1 : text; };
    static std::vector<std::string> units;
    units.reserve(200);
#define PITH_CHIP(section, name, unit, low, high, meaning)                                    \
  units.emplace_back(plain(#unit));                                                           \
  if (!units.back().empty() && units.back().back() == '"') units.back().pop_back();           \
  r.push_back({#section, #name, units.back().c_str(), meaning, low, high, &Device::section##_##name});
#include "chip/constants.inc"
#undef PITH_CHIP
    return r;
  }();
  return all;
}

Result<Device> parse_device(std::string_view yaml, const std::string& path) {
  PITH_TRY(const YAML::Node root, load_yaml(yaml, path));
  Device d;
  try {
    PITH_CHECK_OK(check_names(root, path));
    if (!root["name"].IsDefined() || !root["name"].IsScalar()) return usage_error(fmt::format("'{}' has no name", path));
    d.name = root["name"].Scalar();
    if (root["summary"].IsDefined() && root["summary"].IsScalar()) d.summary = root["summary"].Scalar();
    for (const Row& row : rows()) {
      Origin from;
      const YAML::Node section = root[row.section];
      if (!section.IsDefined() || !section.IsMap()) return usage_error(fmt::format("'{}' has no section '{}'", path, row.section));
      PITH_TRY(d.*row.member, constant(section[row.name], row, path, from));
      d.origins.push_back(from);
    }
    PITH_TRY(d.points, operating_points(root["clock"]["points"], path));
  } catch (const YAML::Exception& e) {
    return usage_error(fmt::format("'{}', line {}: {}", path, e.mark.line + 1, e.msg));
  }
  PITH_CHECK_OK(check_device(d));
  return d;
}

Result<void> check_device(const Device& d) {
  const auto wrong = [&](std::string_view what) { return usage_error(fmt::format("device '{}': {}", d.name, what)); };
  for (const Row& row : rows()) {
    const std::string_view unit = row.unit;
    const bool whole = unit == "count" || unit == "inputs" || unit == "bits" || unit == "positions" || unit == "banks" || unit == "commands" || unit == "pixels";
    if (whole && d.*row.member != std::floor(d.*row.member)) return wrong(fmt::format("{}.{} must be a whole number", row.section, row.name));
  }
  if (8 % static_cast<int>(d.compute_slot) != 0) return wrong("compute.slot must divide 8 bits");
  if (d.compute_adders > d.compute_window) return wrong("compute.adders is more than compute.window; a filter can't select more inputs than it has");
  if (std::fmod(d.memory_network, d.memory_bank) != 0) return wrong("memory.bank doesn't divide memory.network");
  if (std::fmod(static_cast<double>(d.banks()), d.memory_interleave) != 0) return wrong("memory.interleave doesn't divide the number of banks");
  if (d.leakage_asleep > d.leakage_active || d.leakage_off > d.leakage_asleep) return wrong("leakage must fall from active to asleep to off");
  return {};
}

std::vector<std::string> built_in_devices() {
  std::vector<std::string> names;
  for (const BuiltIn& b : kBuiltIn) {
    if (std::string_view(b.name) != "calibration") names.emplace_back(b.name);
  }
  return names;
}

namespace {
const char* built_in(std::string_view name) {
  for (const BuiltIn& b : kBuiltIn) {
    if (name == b.name) return b.text;
  }
  return nullptr;
}
}  // namespace

Result<Device> load_device(const std::string& target) {
  const bool is_path = target.find('/') != std::string::npos || target.find('.') != std::string::npos;
  if (!is_path) {
    const char* text = target == "calibration" ? nullptr : built_in(target);
    if (!text) return usage_error(fmt::format("there is no device '{}'; take one of {} or the path of a .yaml file", target, fmt::join(built_in_devices(), ", ")));
    return parse_device(text, target);
  }
  PITH_TRY(const std::string text, read_text_file(target));
  return parse_device(text, target);
}

Result<Calibration> parse_calibration(std::string_view yaml, const std::string& path) {
  PITH_TRY(const YAML::Node root, load_yaml(yaml, path));
  Calibration c;
  try {
    PITH_TRY(c.clock_mhz, number(root["clock"]["value"], fmt::format("'{}': clock", path)));
    PITH_TRY(c.energy_factor, number(root["energy_factor"]["value"], fmt::format("'{}': energy_factor", path)));
    PITH_TRY(c.base_mw, number(root["base_power"]["value"], fmt::format("'{}': base_power", path)));
    if (root["record"].IsDefined() && root["record"].IsScalar()) c.record = root["record"].Scalar();
  } catch (const YAML::Exception& e) {
    return usage_error(fmt::format("'{}', line {}: {}; see chip/devices/calibration.yaml", path, e.mark.line + 1, e.msg));
  }
  if (c.clock_mhz <= 0 || c.energy_factor <= 0 || c.base_mw < 0) return usage_error(fmt::format("'{}': clock and energy_factor must be positive, base_power not negative", path));
  return c;
}

Result<Calibration> load_calibration(const std::string& path) {
  if (path.empty()) return parse_calibration(built_in("calibration"), "calibration");
  PITH_TRY(const std::string text, read_text_file(path));
  return parse_calibration(text, path);
}

Result<void> set_constant(Device& device, const std::string& name, double value) {
  const std::string wanted = name == "sram" ? "network" : name;
  const Row* found = nullptr;
  std::vector<std::string> near;
  for (const Row& row : rows()) {
    const std::string full = fmt::format("{}.{}", row.section, row.name);
    if (full == wanted || row.name == wanted) {
      if (found) return usage_error(fmt::format("'{}' names {}.{} and {}; write the section too", name, found->section, found->name, full));
      found = &row;
    }
    near.push_back(full);
  }
  if (!found) return usage_error(fmt::format("no constant is called '{}'; there are {}", name, fmt::join(near, ", ")));
  if (!(value >= found->lowest && value <= found->highest))
    return usage_error(fmt::format("{}.{} = {} {} is outside {}..{}", found->section, found->name, value, found->unit, found->lowest, found->highest));
  device.*found->member = value;
  return check_device(device);
}

}  // namespace pith::chip
