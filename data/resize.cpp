// Resizing and fitting (see image.h).
//
// pil_bilinear. Pillow resamples one axis after the other and rounds to 8 bits in between. Per target pixel it takes
// the source pixels under a triangle whose half-width is max(scale, 1) source pixels (this widening is the
// antialiasing), normalises the weights to sum 1 in double, and turns them into integers with 22 fractional bits,
// rounding to nearest. A pixel is the integer dot product plus one half, shifted down and clipped. An axis whose size
// stays is left alone. The horizontal pass comes first: so did all of Pillow up to version 12, with which today's
// networks were trained; since 13 (python-pillow/Pillow#9549) the vertical pass comes first where the height shrinks
// much more, which moves some pixels by one level. (Facts from Pillow's libImaging/Resample.c; tools/check_pillow.py
// compares the results.)
//
// bilinear. OpenCV's INTER_LINEAR: target centre (x + 0.5) * scale - 0.5, two neighbours with the border repeated,
// weights with 11 fractional bits per axis, one rounding at the end. (Facts from OpenCV's
// modules/imgproc/src/resize.cpp, whose vector paths round differently among themselves by one level.)
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "data/image.h"

namespace pith {
namespace {

// ---- Pillow's triangle filter ----------------------------------------------------------------------------------
constexpr int kPilBits = 32 - 8 - 2;

struct PilTaps {
  int first = 0;  // source index of the first weight
  std::vector<int> weights;
};

std::vector<PilTaps> pil_taps(int source, int target) {
  const double scale = static_cast<double>(source) / target;
  const double support = std::max(scale, 1.0);
  std::vector<PilTaps> taps(static_cast<size_t>(target));
  std::vector<double> w;
  for (int i = 0; i < target; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(static_cast<int>(centre - support + 0.5), 0);
    const int last = std::min(static_cast<int>(centre + support + 0.5), source);
    const double narrow = 1.0 / support;
    double sum = 0;
    w.assign(static_cast<size_t>(last - first), 0.0);
    for (int j = 0; j < last - first; ++j) {
      const double distance = std::abs((j + first - centre + 0.5) * narrow);
      w[static_cast<size_t>(j)] = distance < 1.0 ? 1.0 - distance : 0.0;
      sum += w[static_cast<size_t>(j)];
    }
    PilTaps& t = taps[static_cast<size_t>(i)];
    t.first = first;
    for (double v : w) {
      if (sum != 0.0) v /= sum;
      t.weights.push_back(static_cast<int>(0.5 + v * (1 << kPilBits)));
    }
  }
  return taps;
}

uint8_t pil_round(int sum) { return static_cast<uint8_t>(std::clamp(sum >> kPilBits, 0, 255)); }

Image pil_horizontal(const Image& in, int width) {
  const std::vector<PilTaps> taps = pil_taps(in.width, width);
  Image out = make_image(width, in.height, in.channels);
  for (int y = 0; y < in.height; ++y) {
    const uint8_t* row = in.row(y);
    uint8_t* to = out.row(y);
    for (const PilTaps& t : taps) {
      for (int c = 0; c < in.channels; ++c) {
        const uint8_t* from = row + t.first * in.channels + c;
        int sum = 1 << (kPilBits - 1);  // weights sum to 2^22, so 255 times them fit
        for (const int w : t.weights) sum += w * *from, from += in.channels;
        *to++ = pil_round(sum);
      }
    }
  }
  return out;
}

Image pil_vertical(const Image& in, int height) {
  const std::vector<PilTaps> taps = pil_taps(in.height, height);
  Image out = make_image(in.width, height, in.channels);
  const size_t n = static_cast<size_t>(in.width) * in.channels;
  std::vector<int> sums(n);
  for (int y = 0; y < height; ++y) {
    const PilTaps& t = taps[static_cast<size_t>(y)];
    std::fill(sums.begin(), sums.end(), 1 << (kPilBits - 1));
    for (size_t j = 0; j < t.weights.size(); ++j) {
      const uint8_t* from = in.row(t.first + static_cast<int>(j));
      const int w = t.weights[j];
      for (size_t i = 0; i < n; ++i) sums[i] += w * from[i];
    }
    std::transform(sums.begin(), sums.end(), out.row(y), pil_round);
  }
  return out;
}

// ---- OpenCV's two taps -----------------------------------------------------------------------------------------
struct TwoTaps {
  int a, b;    // source indices
  int wa, wb;  // weights that sum to 2^11
};

std::vector<TwoTaps> two_taps(int source, int target) {
  const double scale = static_cast<double>(source) / target;
  std::vector<TwoTaps> taps;
  for (int i = 0; i < target; ++i) {
    const float at = static_cast<float>((i + 0.5) * scale - 0.5);
    const int left = static_cast<int>(std::floor(at));
    const float part = left < 0 ? 0.0f : at - static_cast<float>(left);
    const int wb = static_cast<int>(std::nearbyint(part * 2048.0f));
    taps.push_back({std::clamp(left, 0, source - 1), std::clamp(left + 1, 0, source - 1), 2048 - wb, wb});
  }
  return taps;
}

Image resize_bilinear(const Image& in, int width, int height) {
  const std::vector<TwoTaps> across = two_taps(in.width, width), down = two_taps(in.height, height);
  Image out = make_image(width, height, in.channels);
  const int channels = in.channels;
  for (int y = 0; y < height; ++y) {
    const TwoTaps& v = down[static_cast<size_t>(y)];
    const uint8_t *upper = in.row(v.a), *lower = in.row(v.b);
    uint8_t* to = out.row(y);
    for (const TwoTaps& h : across) {
      const int a = h.a * channels, b = h.b * channels;
      for (int c = 0; c < channels; ++c) {
        const int top = upper[a + c] * h.wa + upper[b + c] * h.wb;
        const int bottom = lower[a + c] * h.wa + lower[b + c] * h.wb;
        *to++ = static_cast<uint8_t>((int64_t{top} * v.wa + int64_t{bottom} * v.wb + (1 << 21)) >> 22);
      }
    }
  }
  return out;
}

Image resize_nearest(const Image& in, int width, int height) {
  Image out = make_image(width, height, in.channels);
  // floor((i + 0.5) * source / target) in integers
  const auto under = [](int i, int source, int target) {
    return static_cast<int>((int64_t{2} * i + 1) * source / (int64_t{2} * target));
  };
  for (int y = 0; y < height; ++y) {
    const uint8_t* row = in.row(under(y, in.height, height));
    uint8_t* to = out.row(y);
    for (int x = 0; x < width; ++x) {
      const uint8_t* from = row + under(x, in.width, width) * in.channels;
      to = std::copy(from, from + in.channels, to);
    }
  }
  return out;
}

// Copies `in` into `out` with its top left corner at (x, y), which may lie outside.
void paste(const Image& in, Image& out, int x, int y) {
  const int x0 = std::max(x, 0), x1 = std::min(x + in.width, out.width);
  if (x0 >= x1) return;
  for (int row = std::max(y, 0); row < std::min(y + in.height, out.height); ++row) {
    const uint8_t* from = in.row(row - y) + (x0 - x) * in.channels;
    std::copy(from, from + (x1 - x0) * in.channels, out.row(row) + x0 * in.channels);
  }
}

}  // namespace

Image make_image(int width, int height, int channels, uint8_t value) {
  return {width, height, channels, std::vector<uint8_t>(static_cast<size_t>(width) * height * channels, value)};
}

Image to_rgb(const Image& image) {
  if (image.channels == 3) return image;
  Image out = make_image(image.width, image.height, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) std::fill_n(&out.pixels[i * 3], 3, image.pixels[i]);
  return out;
}

Image to_gray(const Image& image) {
  if (image.channels == 1) return image;
  Image out = make_image(image.width, image.height, 1);
  for (size_t i = 0; i < out.pixels.size(); ++i) {
    const uint8_t* p = &image.pixels[i * 3];
    // 0.299, 0.587 and 0.114 with 16 fractional bits
    out.pixels[i] = static_cast<uint8_t>((p[0] * 19595 + p[1] * 38470 + p[2] * 7471 + 0x8000) >> 16);
  }
  return out;
}

std::string_view resize_method_name(ResizeMethod method) {
  switch (method) {
    case ResizeMethod::kPilBilinear:
      return "pil_bilinear";
    case ResizeMethod::kBilinear:
      return "bilinear";
    case ResizeMethod::kNearest:
      return "nearest";
  }
  std::abort();
}

Image resize(const Image& image, int width, int height, ResizeMethod method) {
  if (width == image.width && height == image.height) return image;
  switch (method) {
    case ResizeMethod::kBilinear:
      return resize_bilinear(image, width, height);
    case ResizeMethod::kNearest:
      return resize_nearest(image, width, height);
    case ResizeMethod::kPilBilinear:
      break;
  }
  if (width == image.width) return pil_vertical(image, height);
  const Image wide = pil_horizontal(image, width);
  return height == image.height ? wide : pil_vertical(wide, height);
}

FittedImage center_crop(const Image& image, int width, int height, uint8_t fill) {
  // What hangs over is halved and rounded to even, a gap is halved and rounded down: so torchvision does it.
  const auto start = [](int source, int target) {
    return source < target ? -((target - source) / 2) : static_cast<int>(std::nearbyint((source - target) / 2.0));
  };
  const int x = start(image.width, width), y = start(image.height, height);
  FittedImage out{make_image(width, height, image.channels, fill),
                  {image.width, image.height, 1, 1, static_cast<double>(-x), static_cast<double>(-y)}};
  paste(image, out.image, -x, -y);
  return out;
}

FittedImage letterbox(const Image& image, int width, int height, uint8_t fill, ResizeMethod method) {
  const double ratio = std::min(static_cast<double>(width) / image.width, static_cast<double>(height) / image.height);
  const int w = std::clamp(static_cast<int>(std::nearbyint(image.width * ratio)), 1, width);
  const int h = std::clamp(static_cast<int>(std::nearbyint(image.height * ratio)), 1, height);
  const int x = static_cast<int>(std::nearbyint((width - w) / 2.0 - 0.1));
  const int y = static_cast<int>(std::nearbyint((height - h) / 2.0 - 0.1));
  FittedImage out{make_image(width, height, image.channels, fill),
                  {image.width, image.height, static_cast<double>(w) / image.width,
                   static_cast<double>(h) / image.height, static_cast<double>(x), static_cast<double>(y)}};
  paste(resize(image, w, h, method), out.image, x, y);
  return out;
}

FittedImage fit_line(const Image& image, int width, int height, uint8_t fill, ResizeMethod method) {
  const int w = std::clamp(static_cast<int>(std::nearbyint(static_cast<double>(image.width) * height / image.height)), 1, width);
  FittedImage out{make_image(width, height, image.channels, fill),
                  {image.width, image.height, static_cast<double>(w) / image.width, static_cast<double>(height) / image.height, 0, 0}};
  paste(resize(image, w, height, method), out.image, 0, 0);
  return out;
}

std::array<float, 4> undo(const Geometry& g, std::array<float, 4> corners) {
  const auto back = [](double v, double pad, double scale, int size) {
    return static_cast<float>(std::clamp((v - pad) / scale, 0.0, static_cast<double>(size)));
  };
  return {back(corners[0], g.pad_x, g.scale_x, g.source_width), back(corners[1], g.pad_y, g.scale_y, g.source_height),
          back(corners[2], g.pad_x, g.scale_x, g.source_width), back(corners[3], g.pad_y, g.scale_y, g.source_height)};
}

}  // namespace pith
