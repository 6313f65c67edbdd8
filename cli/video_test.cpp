// Videos made by hand: which frames come, their exact colours, and everything that must be refused.
#include "cli/video.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>

#include "base/file.h"
#include "base/random.h"

namespace pith::cli {
namespace {

class Folder : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("pith_video_" + std::to_string(::getpid()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string file(const std::string& name, const std::string& content) {
    const std::string path = (folder_ / name).string();
    EXPECT_TRUE(write_file(path, content).ok());
    return path;
  }

 private:
  std::filesystem::path folder_;
};
using VideoFile = Folder;

std::string noise(size_t bytes, uint64_t seed) {
  Random random(seed);
  std::string out;
  for (size_t i = 0; i < bytes; ++i) out += static_cast<char>(random.integer(0, 255));
  return out;
}

std::string y4m(const std::string& tags, const std::vector<std::string>& frames, const std::string& start = "FRAME\n") {
  std::string out = "YUV4MPEG2 " + tags + "\n";
  for (const std::string& f : frames) out += start + f;
  return out;
}

Result<std::vector<Video::Frame>> read_all(const std::string& path, const VideoFlags& flags = {}) {
  PITH_TRY(Video video, Video::open(path, flags));
  std::vector<Video::Frame> frames;
  for (;;) {
    PITH_TRY(std::optional<Video::Frame> frame, video.next());
    if (!frame) return frames;
    frames.push_back(std::move(*frame));
  }
}

std::string refusal(const std::string& path, const VideoFlags& flags = {}) {
  const auto r = read_all(path, flags);
  EXPECT_TRUE(r.ok() || r.error().code == ErrorCode::kUsage);
  return r.ok() ? "accepted" : r.error().message;
}

void expect_has(const std::string& text, const std::string& part) { EXPECT_NE(text.find(part), std::string::npos) << text; }

std::vector<int64_t> indices(const std::vector<Video::Frame>& frames) {
  std::vector<int64_t> out;
  for (const Video::Frame& f : frames) out.push_back(f.index);
  return out;
}

TEST_F(VideoFile, FramesAreChosenByRange) {
  const std::string path = file("a.y4m", y4m("W4 H2 F30:1", std::vector<std::string>(12, noise(12, 1)), "FRAME Xtag\n"));
  const auto chosen = [&](const std::string& range) { return indices(read_all(path, {range, "", "auto"}).value()); };
  EXPECT_EQ(chosen("").size(), 12u);
  EXPECT_EQ(chosen("3"), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_EQ(chosen("9:"), (std::vector<int64_t>{9, 10, 11}));
  EXPECT_EQ(chosen("2:9:3"), (std::vector<int64_t>{2, 5, 8}));
  EXPECT_EQ(chosen("::7"), (std::vector<int64_t>{0, 7}));
  EXPECT_TRUE(chosen("40:50").empty());
}

// Every layout and every meaning of YUV against the definition (ITU-R BT.601 and BT.709) in floating point.
TEST_F(VideoFile, ColoursFollowTheTags) {
  const int width = 6, height = 4;
  const std::string y = noise(24, 2), u = noise(6, 3), v = noise(6, 4);
  std::string alternating;
  for (size_t i = 0; i < 6; ++i) alternating += std::string{u[i], v[i]};
  struct Case {
    std::string name, content;
    VideoFlags flags;
    bool high, full;
  };
  const std::vector<Case> cases = {
      {"limited.y4m", y4m("W6 H4 F25:1 Ip A1:1 C420mpeg2", {y + u + v}), {}, false, false},
      {"full.y4m", y4m("W6 H4 C420jpeg XCOLORRANGE=FULL", {y + u + v}), {}, false, true},
      {"said.y4m", y4m("W6 H4 XCOLORRANGE=FULL", {y + u + v}), {"", "", "bt709"}, true, false},
      {"a.nv12", y + alternating, {"", "6x4", "bt709-full"}, true, true},
      {"a.i420", y + u + v, {"", "6x4", "bt601-full"}, false, true},
      {"a.yuv", y + u + v, {"", "6x4", "auto"}, false, false},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.name);
    const auto frames = read_all(file(c.name, c.content), c.flags);
    ASSERT_TRUE(frames.ok()) << frames.error().message;
    ASSERT_EQ(frames->size(), 1u);
    const Image& image = frames.value()[0].image;
    const double kr = c.high ? 0.2126 : 0.299, kb = c.high ? 0.0722 : 0.114, kg = 1 - kr - kb;
    for (int j = 0; j < height; ++j) {
      for (int i = 0; i < width; ++i) {
        const auto at = static_cast<size_t>(j / 2 * 3 + i / 2);
        const double light = static_cast<uint8_t>(y[static_cast<size_t>(j * width + i)]), scale = c.full ? 255 : 224;
        const double l = c.full ? light / 255 : (light - 16) / 219, b = (static_cast<uint8_t>(u[at]) - 128) / scale, r = (static_cast<uint8_t>(v[at]) - 128) / scale;
        const double rgb[3] = {l + 2 * (1 - kr) * r, l - 2 * (kb * (1 - kb) * b + kr * (1 - kr) * r) / kg, l + 2 * (1 - kb) * b};
        for (int k = 0; k < 3; ++k) EXPECT_NEAR(image.at(i, j, k), std::min(255.0, std::max(0.0, 255 * rgb[k])), 1.5);
      }
    }
  }
}

TEST_F(VideoFile, HighFramesAreBt709AndGrayHasNoColour) {
  const std::string tall = "W2 H720 C420", luma(1440, 'x'), chroma(720, 'A');
  const Image high = read_all(file("tall.y4m", y4m(tall, {luma + chroma})))->front().image;
  const Image same = read_all(file("tall.y4m", y4m(tall, {luma + chroma})), {"", "", "bt709"})->front().image;
  const Image other = read_all(file("tall.y4m", y4m(tall, {luma + chroma})), {"", "", "bt601"})->front().image;
  EXPECT_EQ(high.pixels, same.pixels);
  EXPECT_NE(high.pixels, other.pixels);
  const Image gray = read_all(file("gray.y4m", y4m("W4 H2 Cmono XCOLORRANGE=FULL", {"abcdefgh"})))->front().image;
  for (size_t i = 0; i < 24; ++i) EXPECT_EQ(gray.pixels[i], "abcdefgh"[i / 3]);
}

TEST_F(VideoFile, RefusalsNameTheFrameAndTheMend) {
  const std::string frame = noise(12, 5), whole = y4m("W4 H2", {frame, frame, frame});
  expect_has(refusal(file("cut.y4m", whole.substr(0, whole.size() - 1))), "ends inside frame 2");
  expect_has(refusal(file("cut2.y4m", whole.substr(0, whole.size() - 13))), "frame 2 doesn't begin with FRAME");
  expect_has(refusal(file("shifted.y4m", y4m("W4 H2", {frame + "x", frame}))), "frame 1 doesn't begin with FRAME");
  expect_has(refusal(file("cut.nv12", frame + "xy"), {"", "4x2", "auto"}), "ends inside frame 1");
  expect_has(refusal(file("cut3.y4m", "YUV4MPEG2 W4 H2")), "doesn't begin as");
  expect_has(refusal(file("other.y4m", "RIFF1234AVI \n")), "doesn't begin as");
  expect_has(refusal(file("empty.y4m", "")), "doesn't begin as");
  expect_has(refusal(file("endless.y4m", "YUV4MPEG2 " + std::string(5000, 'X') + "\n")), "doesn't begin as");
  for (const std::string tags : {"W5 H2", "W4 H3"}) expect_has(refusal(file("odd.y4m", y4m(tags, {}))), "must be even");
  for (const std::string tags : {"W4", "H2", "W0 H2", "F25:1"}) expect_has(refusal(file("none.y4m", y4m(tags, {}))), "a side has 2 to");
  for (const std::string tags : {"W-4 H2", "W4x H2", "W H2", "W99999999999999999999 H2", "W20000 H2"}) expect_has(refusal(file("size.y4m", y4m(tags, {}))), "is no size");
  for (const std::string tags : {"W4 H2 C422", "W4 H2 C420p10", "W4 H2 C444alpha", "W4 H2 C"}) expect_has(refusal(file("c.y4m", y4m(tags, {}))), "yuv420p");
  for (const std::string tags : {"W4 H2 It", "W4 H2 Im"}) expect_has(refusal(file("i.y4m", y4m(tags, {}))), "interlaced");
  const std::string good = file("good.y4m", whole);
  for (const std::string range : {"a", "-1", "1:2:3:4", "5:5", "::0", "1:x", "99999999999999999999"}) expect_has(refusal(good, {range, "", "auto"}), "names no frames");
  expect_has(refusal(good, {"", "4x2", "auto"}), "leave --frame-size out");
  expect_has(refusal(good, {"", "", "rgb"}), "unknown --colour");
  for (const std::string size : {"4", "x", "4x", "4xx2", "4x99999"}) EXPECT_NE(refusal(file("a.nv12", frame), {"", size, "auto"}), "accepted") << size;
  expect_has(refusal(good + ".absent.y4m"), "check the path");
}

}  // namespace
}  // namespace pith::cli
