// 8-bit pictures: decoding, resizing, letterboxing, and drawing of boxes and labels.
//
// Why: a network's quality depends on the exact pixels it is fed, so each resize method is named after what it
// reproduces and is checked against it: Pillow's fixed-point antialiased BILINEAR bit for bit, OpenCV's INTER_LINEAR to
// one level. Codecs are the well-kept ones: libjpeg(-turbo) and libpng; PPM/PGM (P5, P6; 8 bits) are read here.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pith {

// Interleaved rows, top to bottom. Invariant: pixels.size() == width * height * channels; channels is 1 (gray) or 3
// (RGB).
struct Image {
  int width = 0;
  int height = 0;
  int channels = 3;
  std::vector<uint8_t> pixels;

  uint8_t* row(int y) { return pixels.data() + static_cast<size_t>(y) * width * channels; }
  const uint8_t* row(int y) const { return pixels.data() + static_cast<size_t>(y) * width * channels; }
  uint8_t& at(int x, int y, int c) { return row(y)[x * channels + c]; }
  uint8_t at(int x, int y, int c) const { return row(y)[x * channels + c]; }
};

Image make_image(int width, int height, int channels, uint8_t value = 0);

// ---- Files -----------------------------------------------------------------------------------------------------
// The format is told by the first bytes, never by the name. Alpha is dropped, palettes are expanded, 16 bits become 8.
// CMYK JPEG, truncated data and pictures of more than 2^27 pixels are errors. With `orient`, a JPEG's EXIF orientation
// is applied (as a viewer would).
bool is_image_name(std::string_view path);  // .jpg .jpeg .png .ppm .pgm, in any case
Result<Image> decode_image(std::span<const uint8_t> bytes, const std::string& name, bool orient = true);
Result<Image> read_image(const std::string& path, bool orient = true);
Result<std::vector<uint8_t>> encode_png(const Image& image);
Result<void> write_png(const std::string& path, const Image& image);

Image to_rgb(const Image& image);   // gray is copied into three channels
Image to_gray(const Image& image);  // ITU-R 601 luma, as Pillow's convert("L")

// ---- Geometry --------------------------------------------------------------------------------------------------
enum class ResizeMethod : uint8_t {
  kPilBilinear,  // Pillow's Image.resize(BILINEAR): triangle filter that widens when shrinking; identical to Pillow <=
                 // 12
  kBilinear,     // OpenCV's INTER_LINEAR: two taps per axis at half-pixel centres, no antialiasing; within one level
  kNearest,      // the pixel under the target pixel's centre
};
std::string_view resize_method_name(ResizeMethod method);  // "pil_bilinear", "bilinear", "nearest"

// Where a source pixel went: input = source * scale + pad, per axis. A crop has negative pads.
struct Geometry {
  int source_width = 0, source_height = 0;
  double scale_x = 1, scale_y = 1;
  double pad_x = 0, pad_y = 0;
};
// Corners in the network's input -> corners in the source picture, clipped to it.
std::array<float, 4> undo(const Geometry& g, std::array<float, 4> corners);  // x0, y0, x1, y1

struct FittedImage {
  Image image;
  Geometry geometry;
};

// Width and height must be at least 1 (and at most 2^15 each).
Image resize(const Image& image, int width, int height, ResizeMethod method);
// The middle width x height; where the picture is smaller, `fill` surrounds it. Offsets round as torchvision's
// CenterCrop.
FittedImage center_crop(const Image& image, int width, int height, uint8_t fill = 0);
// Largest size of the same aspect that fits, centred, with `fill` around it. Sizes and pads round as Ultralytics' do.
FittedImage letterbox(const Image& image, int width, int height, uint8_t fill, ResizeMethod method);
// Scaled to the full height with its aspect, squeezed where it would be wider than `width`, `fill` to the right of it.
FittedImage fit_line(const Image& image, int width, int height, uint8_t fill, ResizeMethod method);

// ---- Drawing ---------------------------------------------------------------------------------------------------
struct Color {
  uint8_t r = 0, g = 0, b = 0;
};
Color palette_color(int index);  // distinct bright colours, repeating after 20

// Outline from (x0, y0) to (x1, y1) inclusive, `thickness` pixels inwards; clipped to the picture.
void draw_box(Image& image, int x0, int y0, int x1, int y1, Color color, int thickness = 2);
void fill_box(Image& image, int x0, int y0, int x1, int y1, Color color);
// Printable ASCII in a 6 x 9 cell enlarged `scale` times, (x, y) = top left; other bytes show as '?'.
void draw_text(Image& image, int x, int y, std::string_view text, Color color, int scale = 1);
inline constexpr int kGlyphWidth = 6, kGlyphHeight = 9;
// A box with its label on a bar above it (inside where there is no room); sizes follow the picture's size.
void draw_labelled_box(Image& image, const std::array<float, 4>& corners, std::string_view label, Color color);

}  // namespace pith
