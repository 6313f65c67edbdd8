#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "base/file.h"
#include "base/log.h"
#include "base/random.h"
#include "base/result.h"

namespace pith {
namespace {

std::string fresh_folder() {
  std::string name = (std::filesystem::temp_directory_path() / "pith_base_XXXXXX").string();
  return mkdtemp(name.data());
}

TEST(File, WritesAndReadsBack) {
  const std::string path = fresh_folder() + "/a";
  ASSERT_TRUE(write_file(path, std::string_view("hello")).ok());
  EXPECT_EQ(*read_text_file(path), "hello");
  EXPECT_FALSE(std::filesystem::exists(path + ".partial"));
}

TEST(File, FailedWriteNamesThePathAndKeepsTheOldFile) {
  const auto r = write_file("/nonexistent/place/x", std::string_view("x"));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, ErrorCode::kUsage);
  EXPECT_NE(r.error().message.find("/nonexistent/place/x"), std::string::npos);
  const std::string folder = fresh_folder();
  std::filesystem::create_directory(folder + "/taken");
  EXPECT_FALSE(write_file(folder + "/taken", std::string_view("x")).ok());
  EXPECT_TRUE(std::filesystem::is_directory(folder + "/taken"));
}

TEST(File, FullDiskIsReported) {
  if (!std::filesystem::exists("/dev/full")) return;
  const std::string folder = fresh_folder();
  std::filesystem::create_symlink("/dev/full", folder + "/out.partial");
  const auto r = write_file(folder + "/out", std::string_view("data"));
  ASSERT_FALSE(r.ok());
  EXPECT_FALSE(std::filesystem::exists(folder + "/out"));
}

TEST(File, MissingAndDirectoryAreErrors) {
  EXPECT_FALSE(read_file("/nonexistent").ok());
  EXPECT_FALSE(read_file("/tmp").ok());
}

TEST(Random, IsTheSameEverywhere) {
  Random r(1);
  EXPECT_EQ(r.next(), 12966619160104079557ull);
  double sum = 0, squares = 0;
  for (int i = 0; i < 10000; ++i) {
    const double x = r.normal();
    sum += x;
    squares += x * x;
    const int64_t k = r.integer(-3, 3);
    ASSERT_TRUE(k >= -3 && k <= 3);
  }
  EXPECT_NEAR(sum / 10000, 0, 0.05);
  EXPECT_NEAR(squares / 10000, 1, 0.05);
}

TEST(Result, AnErrorRemembersWhereItArose) {
  const Error e = usage_error("no");
  EXPECT_EQ(e.where.line(), __LINE__ - 1);
  EXPECT_NE(std::string(e.where.file_name()).find("base_test.cpp"), std::string::npos);
}

TEST(Log, WarningsAreKeptOnce) {
  (void)take_warnings();
  log_warning("few samples");
  log_warning("few samples");
  EXPECT_EQ(take_warnings().size(), 1u);
  EXPECT_TRUE(take_warnings().empty());
}

}  // namespace
}  // namespace pith
