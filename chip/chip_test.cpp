// Device files: the ones that ship are whole, and every way to get one wrong is named.
#include <gtest/gtest.h>

#include "chip/built_in.h"
#include "chip/device.h"

namespace pith::chip {
namespace {

std::string text_of(const std::string& name) {
  for (const BuiltIn& b : kBuiltIn) {
    if (name == b.name) return b.text;
  }
  return "";
}

// The built-in ergo2 with `from` replaced by `to` once.
std::string changed(const std::string& from, const std::string& to) {
  std::string text = text_of("ergo2");
  const size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}
void expect_refused(const std::string& text, const std::string& words) {
  const auto d = parse_device(text, "mine.yaml");
  ASSERT_FALSE(d.ok()) << "accepted: " << words;
  EXPECT_EQ(d.error().code, ErrorCode::kUsage);
  EXPECT_NE(d.error().message.find(words), std::string::npos) << d.error().message;
}

TEST(Devices, ThoseThatShipAreWhole) {
  for (const std::string& name : built_in_devices()) {
    const auto d = load_device(name);
    ASSERT_TRUE(d.ok()) << d.error().message;
    EXPECT_EQ(d->name, name);
    EXPECT_EQ(d->origins.size(), rows().size());
  }
  EXPECT_TRUE(load_device("ergo2")->unified());
  EXPECT_FALSE(load_device("ergo")->unified());
  EXPECT_EQ(load_device("ergo2")->banks(), 256);
  ASSERT_TRUE(load_calibration("").ok());
}

TEST(Devices, WhatIsWrongIsNamed) {
  expect_refused("", "skeleton.yaml");
  expect_refused("a: [1", "no YAML");
  expect_refused(changed("  adders:", "  adderz:"), "compute.adderz");
  expect_refused(changed("unit: MHz", "unit: GHz"), "must be in 'MHz'");
  expect_refused(changed("kind: assumed", "kind: guessed"), "'guessed'");
  expect_refused(changed("  slot: {value: 4", "  slot: {value: 3"), "divide 8");
  expect_refused(changed("  adders: {value: 36", "  adders: {value: 145"), "compute.window");
  expect_refused(changed("  network: {value: 8192", "  network: {value: 8200"), "memory.bank");
  expect_refused(changed("  clusters: {value: 4", "  clusters: {value: nan"), "needs a number");
  expect_refused(changed("  clusters: {value: 4", "  clusters: {value: 2.5"), "whole");
  expect_refused(changed("  clusters: {value: 4", "  clusters: {value: 0"), "1..256");
  expect_refused(changed("[50, 0.55], [100, 0.6]", "[100, 0.6], [50, 0.55]"), "rise");
  expect_refused(changed("name: ergo2", "# no name"), "no name");
  expect_refused(changed("leakage:", "radiation:"), "radiation");
  std::string no_source = changed("source: \"our own", "sauce: \"our own");
  expect_refused(no_source, "no source");
  EXPECT_FALSE(load_device("ergo3").ok());
  EXPECT_FALSE(load_device("/nowhere/x.yaml").ok());
}

TEST(Devices, ConstantsCanBeSet) {
  Device d = load_device("ergo2").value();
  ASSERT_TRUE(set_constant(d, "sram", 16384).ok());
  EXPECT_EQ(d.memory_bytes(), 16 << 20);
  ASSERT_TRUE(set_constant(d, "compute.cores", 16).ok());
  EXPECT_FALSE(set_constant(d, "nothing", 1).ok());
  EXPECT_FALSE(set_constant(d, "cores", 0).ok());
  EXPECT_FALSE(set_constant(d, "slot", 3).ok());
}

}  // namespace
}  // namespace pith::chip
