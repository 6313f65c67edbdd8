#include "post/frame.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "post/test_random.h"

namespace pith {
namespace {

using post_test::Random;

// A frame that a test holds whole, and what was asked of it.
struct Camera {
  pith_frame_options options{};
  std::vector<uint8_t> planes[2];
  int32_t next[2] = {0, 0}, fails_at = -1;
  bool ascending = true;

  static int read(void* context, int32_t plane, int32_t line, uint8_t* bytes) {
    Camera& c = *static_cast<Camera*>(context);
    if (line == c.fails_at) return 77;
    c.ascending = c.ascending && line >= c.next[plane];
    c.next[plane] = line + 1;
    const size_t width = pith_frame_line_bytes(&c.options, plane);
    std::memcpy(bytes, c.planes[plane].data() + static_cast<size_t>(line) * width, width);
    return 0;
  }
  // 10 bits of a mosaic's pixel.
  int mosaic(int x, int y) const {
    const size_t width = pith_frame_line_bytes(&options, 0);
    const uint8_t* line = planes[0].data() + static_cast<size_t>(y) * width;
    if (options.format == PITH_FRAME_RAW8) return line[x] * 4;
    return line[x / 4 * 5 + x % 4] * 4 + (line[x / 4 * 5 + 4] >> (x % 4 * 2)) % 4;
  }
};

Camera random_camera(Random& random, pith_frame_format format) {
  Camera c;
  pith_frame_options& o = c.options;
  o.format = format;
  o.width = 4 * random.integer(2, 30);
  o.height = 2 * random.integer(4, 60);
  o.crop_left = 2 * random.integer(0, o.width / 4 - 1);
  o.crop_top = 2 * random.integer(0, o.height / 4 - 1);
  const int w = 2 * random.integer(1, (o.width - o.crop_left) / 2), h = 2 * random.integer(1, (o.height - o.crop_top) / 2);
  EXPECT_EQ(pith_letterbox_fit(w, h, random.integer(1, 40), random.integer(1, 40), static_cast<pith_fit>(random.integer(0, 2)), &o.fit), PITH_POST_OK);
  o.padding = 114;
  o.pattern = static_cast<pith_frame_pattern>(random.integer(0, 3));
  o.colour = static_cast<pith_frame_colour>(random.integer(0, 3));
  for (int p = 0; p < 2; ++p) {
    c.planes[p].resize(pith_frame_line_bytes(&o, p) * static_cast<size_t>(o.height));
    for (uint8_t& b : c.planes[p]) b = static_cast<uint8_t>(random.integer(0, 255));
  }
  return c;
}

// The weighted mean over the pixels that an input pixel covers, pixel by pixel.
template <typename Value>
int area_mean(const pith_letterbox& fit, int width, int height, int x, int y, const Value& value) {
  const auto overlap = [](int64_t a, int64_t b, int64_t c, int64_t d) { return std::max<int64_t>(0, std::min(b, d) - std::max(a, c)); };
  int64_t sum = 0;
  for (int64_t j = 0; j < height; ++j) {
    const int64_t down = overlap(j * fit.scaled_height, (j + 1) * fit.scaled_height, int64_t{y} * height, int64_t{y + 1} * height);
    for (int64_t i = 0; down > 0 && i < width; ++i)
      sum += down * overlap(i * fit.scaled_width, (i + 1) * fit.scaled_width, int64_t{x} * width, int64_t{x + 1} * width) * value(static_cast<int>(i), static_cast<int>(j));
  }
  const int64_t area = int64_t{width} * height;
  return static_cast<int>((sum + area / 2) / area);
}

std::vector<uint8_t> by_rows(Camera& c, int step) {
  std::vector<uint64_t> memory(pith_frame_bytes(&c.options) / 8 + 2, 0xa5a5a5a5a5a5a5a5u);
  pith_frame* frame = nullptr;
  EXPECT_EQ(pith_frame_open(&c.options, memory.data(), pith_frame_bytes(&c.options), &Camera::read, &c, &frame), PITH_POST_OK);
  const pith_letterbox& f = c.options.fit;
  std::vector<uint8_t> all(static_cast<size_t>(f.input_width * f.input_height * 3));
  for (int frames = 0; frames < 2; ++frames) {  // the second must not depend on the first
    pith_frame_restart(frame);
    c.next[0] = c.next[1] = 0;
    for (int y = 0; y < f.input_height; y += step)
      pith_frame_rows(frame, 0, y, std::min(step, f.input_height - y), all.data() + static_cast<size_t>(y * f.input_width * 3));
  }
  EXPECT_TRUE(c.ascending);
  EXPECT_EQ(memory.back(), 0xa5a5a5a5a5a5a5a5u) << "written beyond its memory";
  return all;
}

int clamp(int x) { return std::min(255, std::max(0, x)); }

// What (x, y) of the scaled picture should be.
void expected(const Camera& c, int x, int y, int rgb[3]) {
  const pith_frame_options& o = c.options;
  const int w = o.fit.picture_width, h = o.fit.picture_height;
  const auto byte = [&](int plane, int channels, int channel, int left, int top) {
    return [&c, plane, channels, channel, left, top, width = pith_frame_line_bytes(&c.options, plane)](int i, int j) {
      return static_cast<int>(c.planes[plane][static_cast<size_t>(top + j) * width + static_cast<size_t>((left + i) * channels + channel)]);
    };
  };
  if (o.format == PITH_FRAME_RGB) {
    for (int k = 0; k < 3; ++k) rgb[k] = area_mean(o.fit, w, h, x, y, byte(0, 3, k, o.crop_left, o.crop_top));
  } else if (o.format == PITH_FRAME_NV12) {
    int luma = area_mean(o.fit, w, h, x, y, byte(0, 1, 0, o.crop_left, o.crop_top));
    const int u = area_mean(o.fit, w / 2, h / 2, x, y, byte(1, 2, 0, o.crop_left / 2, o.crop_top / 2)) - 128;
    const int v = area_mean(o.fit, w / 2, h / 2, x, y, byte(1, 2, 1, o.crop_left / 2, o.crop_top / 2)) - 128;
    const bool full = o.colour == PITH_FRAME_JPEG || o.colour == PITH_FRAME_BT709_FULL, high = o.colour == PITH_FRAME_BT709 || o.colour == PITH_FRAME_BT709_FULL;
    const double range = full ? 1.0 : 255.0 / 219, chroma = full ? 1.0 : 255.0 / 224;
    const double kr = high ? 0.2126 : 0.299, kb = high ? 0.0722 : 0.114;
    if (!full) luma -= 16;
    rgb[0] = static_cast<int>(std::lround(luma * range + 2 * (1 - kr) * chroma * v));
    rgb[1] = static_cast<int>(std::lround(luma * range - (2 * (1 - kb) * kb * u + 2 * (1 - kr) * kr * v) / (1 - kr - kb) * chroma));
    rgb[2] = static_cast<int>(std::lround(luma * range + 2 * (1 - kb) * chroma * u));
    for (int k = 0; k < 3; ++k) rgb[k] = clamp(rgb[k]);
  } else {
    for (int k = 0; k < 3; ++k) {
      const auto square = [&](int i, int j) {
        const char* names[] = {"RGGB", "GRBG", "GBRG", "BGGR"};
        int sum = 0, count = 0;
        for (int q = 0; q < 4; ++q) {
          if (names[o.pattern][q] != "RGB"[k]) continue;
          sum += c.mosaic(o.crop_left + 2 * i + q % 2, o.crop_top + 2 * j + q / 2);
          ++count;
        }
        return (sum + count / 2) / count;
      };
      rgb[k] = (area_mean(o.fit, w / 2, h / 2, x, y, square) * 255 + 511) / 1023;
    }
  }
}

TEST(Frame, RowsAreAreaMeansOfTheWholeFrame) {
  Random random(31);
  for (int round = 0; round < 60; ++round) {
    Camera c = random_camera(random, static_cast<pith_frame_format>(round % 4));
    SCOPED_TRACE("round " + std::to_string(round));
    const std::vector<uint8_t> rows = by_rows(c, random.integer(1, 7));
    const pith_letterbox& f = c.options.fit;
    for (int y = 0; y < f.input_height; ++y) {
      for (int x = 0; x < f.input_width; ++x) {
        int rgb[3] = {114, 114, 114};
        if (y >= f.top && y < f.top + f.scaled_height && x >= f.left && x < f.left + f.scaled_width) expected(c, x - f.left, y - f.top, rgb);
        for (int k = 0; k < 3; ++k)
          ASSERT_NEAR(rows[static_cast<size_t>((y * f.input_width + x) * 3 + k)], rgb[k], c.options.format == PITH_FRAME_NV12 ? 1 : 0) << x << ' ' << y << ' ' << k;
      }
    }
  }
}

TEST(Frame, CodesAndToneAreTables) {
  Random random(5);
  Camera c = random_camera(random, PITH_FRAME_RAW10);
  const std::vector<uint8_t> plain = by_rows(c, 3);
  uint8_t codes[768], tone[1024];
  for (int i = 0; i < 768; ++i) codes[i] = static_cast<uint8_t>(255 - i % 256 + i / 256);
  c.options.codes = codes;
  const std::vector<uint8_t> coded = by_rows(c, 3);
  for (size_t i = 0; i < plain.size(); ++i) ASSERT_EQ(coded[i], codes[256 * (i % 3) + plain[i]]);
  pith_frame_tone_srgb(tone);
  for (int i = 0; i < 1024; ++i) {
    const double v = i / 1023.0, s = v <= 0.0031308 ? 12.92 * v : 1.055 * std::pow(v, 1 / 2.4) - 0.055;
    ASSERT_NEAR(tone[i], 255 * s, 0.51) << i;
  }
}

TEST(Frame, SixteenMegapixelsInLineBuffers) {
  pith_frame_options o{};
  o.width = 4672;
  o.height = 3506;
  ASSERT_EQ(pith_letterbox_fit(o.width, o.height, 640, 640, PITH_FIT_CENTRE, &o.fit), PITH_POST_OK);
  for (const pith_frame_format format : {PITH_FRAME_RAW8, PITH_FRAME_RAW10, PITH_FRAME_NV12, PITH_FRAME_RGB}) {
    o.format = format;
    EXPECT_GT(pith_frame_bytes(&o), 0u);
    EXPECT_LT(pith_frame_bytes(&o), 80'000u);
  }
}

TEST(Frame, RefusesWhatMakesNoSense) {
  Random random(9);
  Camera c = random_camera(random, PITH_FRAME_RAW10);
  std::vector<uint64_t> memory(pith_frame_bytes(&c.options) / 8 + 1);
  pith_frame* frame = nullptr;
  const auto open = [&](const pith_frame_options& o, size_t bytes) { return pith_frame_open(&o, memory.data(), bytes, &Camera::read, &c, &frame); };
  EXPECT_EQ(open(c.options, pith_frame_bytes(&c.options) - 1), PITH_POST_SCRATCH);
  EXPECT_EQ(frame, nullptr);
  EXPECT_EQ(pith_frame_open(&c.options, memory.data(), 1 << 20, nullptr, &c, &frame), PITH_POST_NULL);
  for (int wrong = 0; wrong < 7; ++wrong) {
    pith_frame_options o = c.options;
    if (wrong == 0) o.width += 2;
    if (wrong == 1) o.crop_left += 1;
    if (wrong == 2) o.crop_top = o.height;
    if (wrong == 3) o.format = static_cast<pith_frame_format>(4);
    if (wrong == 4) o.fit.left = o.fit.input_width;
    if (wrong == 5) o.fit.picture_width = o.width + 2;
    if (wrong == 6) o.height = 0;
    EXPECT_EQ(open(o, 1 << 20), PITH_POST_RANGE) << wrong;
    EXPECT_EQ(pith_frame_bytes(&o), 0u) << wrong;
  }
}

TEST(Frame, FailureOfTheCameraIsRemembered) {
  Random random(12);
  Camera c = random_camera(random, PITH_FRAME_RGB);
  c.fails_at = c.options.crop_top + c.options.fit.picture_height / 2;
  std::vector<uint64_t> memory(pith_frame_bytes(&c.options) / 8 + 1);
  pith_frame* frame = nullptr;
  ASSERT_EQ(pith_frame_open(&c.options, memory.data(), memory.size() * 8, &Camera::read, &c, &frame), PITH_POST_OK);
  const pith_letterbox& f = c.options.fit;
  std::vector<uint8_t> all(static_cast<size_t>(f.input_width * f.input_height * 3));
  pith_frame_rows(frame, 0, 0, f.input_height, all.data());
  EXPECT_EQ(pith_frame_failure(frame), 77);
  EXPECT_EQ(all.back(), 114);
  pith_frame_restart(frame);
  EXPECT_EQ(pith_frame_failure(frame), 0);
}

}  // namespace
}  // namespace pith
