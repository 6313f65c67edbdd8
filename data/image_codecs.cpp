// Decoding of pictures (see image.h): libjpeg and libpng behind one function, PPM and PGM by hand.
//
// Both libraries report errors by longjmp, so each decoder is a plain function over a struct that outlives the jump;
// nothing with a destructor is created between setjmp and the calls that may jump.
#include <fmt/format.h>
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

// jpeglib.h needs cstdio's FILE before it.
#include <jerror.h>
#include <jpeglib.h>

#include <algorithm>

#include "base/file.h"
#include "data/bytes.h"
#include "data/image.h"

namespace pith {
namespace {

constexpr uint64_t kMaxPixels = uint64_t{1} << 27;

Error bad_picture(const std::string& name, std::string_view why) {
  return usage_error(fmt::format("can't decode '{}': {}; convert it to an RGB JPEG or PNG", name, printable(why)));
}

// ---- JPEG ------------------------------------------------------------------------------------------------------
struct JpegJob {
  jpeg_decompress_struct codec;
  jpeg_error_mgr errors;
  std::jmp_buf jump;
  char why[JMSG_LENGTH_MAX];
  Image image;
};

void jpeg_fail(j_common_ptr codec) {
  auto* job = static_cast<JpegJob*>(codec->client_data);
  (*codec->err->format_message)(codec, job->why);
  std::longjmp(job->jump, 1);
}

// Warnings are harmless oddities, but for those that mean missing data.
void jpeg_message(j_common_ptr codec, int level) {
  if (level >= 0) return;
  const int code = codec->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER) jpeg_fail(codec);
}

bool decode_jpeg_rows(JpegJob& job, std::span<const uint8_t> bytes) {
  if (setjmp(job.jump) != 0) return false;
  jpeg_create_decompress(&job.codec);
  job.codec.client_data = &job;
  jpeg_mem_src(&job.codec, bytes.data(), bytes.size());
  jpeg_read_header(&job.codec, TRUE);
  const int space = job.codec.jpeg_color_space;
  if (space == JCS_CMYK || space == JCS_YCCK) {
    std::snprintf(job.why, sizeof job.why, "it is a CMYK picture");
    return false;
  }
  job.codec.out_color_space = space == JCS_GRAYSCALE ? JCS_GRAYSCALE : JCS_RGB;
  if (uint64_t{job.codec.image_width} * job.codec.image_height > kMaxPixels) {
    std::snprintf(job.why, sizeof job.why, "it has more than %d million pixels", static_cast<int>(kMaxPixels >> 20));
    return false;
  }
  jpeg_start_decompress(&job.codec);
  job.image = make_image(static_cast<int>(job.codec.output_width), static_cast<int>(job.codec.output_height),
                         job.codec.output_components);
  while (job.codec.output_scanline < job.codec.output_height) {
    JSAMPROW row = job.image.row(static_cast<int>(job.codec.output_scanline));
    jpeg_read_scanlines(&job.codec, &row, 1);
  }
  jpeg_finish_decompress(&job.codec);
  return true;
}

// The orientation (1-8) in a JPEG's EXIF block, else 1. Exif 2.3: an APP1 segment "Exif\0\0" with a TIFF structure
// whose first directory holds tag 0x0112 as a SHORT.
int exif_orientation(std::span<const uint8_t> b) {
  for (size_t at = 2; at + 4 <= b.size() && b[at] == 0xff && b[at + 1] != 0xda;) {
    const size_t length = read_be16(b, at + 2);
    if (length < 2 || at + 2 + length > b.size()) return 1;
    const auto segment = b.subspan(at + 4, length - 2);
    const bool is_exif = b[at + 1] == 0xe1 && starts_with(segment, std::string_view("Exif\0\0", 6));
    at += 2 + length;
    if (!is_exif || segment.size() < 14) continue;
    const auto tiff = segment.subspan(6);
    const bool little = tiff[0] == 'I';
    const auto u16 = [&](size_t o) { return little ? read_le16(tiff, o) : read_be16(tiff, o); };
    const size_t directory = little ? read_le32(tiff, 4) : read_be32(tiff, 4);
    if (directory + 2 > tiff.size()) return 1;
    const size_t entries = u16(directory);
    for (size_t i = 0; i < entries && directory + 2 + i * 12 + 12 <= tiff.size(); ++i) {
      const size_t entry = directory + 2 + i * 12;
      if (u16(entry) == 0x0112) {
        const int value = u16(entry + 8);
        return value >= 1 && value <= 8 ? value : 1;
      }
    }
    return 1;
  }
  return 1;
}

// Turns and mirrors as the EXIF value says: bit 2 of (value - 1) swaps the axes.
Image oriented(const Image& in, int orientation) {
  if (orientation == 1) return in;
  const bool swap = orientation >= 5;
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  Image out = make_image(swap ? in.height : in.width, swap ? in.width : in.height, in.channels);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width; ++x) {
      const int u = swap ? y : x, v = swap ? x : y;
      const int sx = flip_x ? in.width - 1 - u : u, sy = flip_y ? in.height - 1 - v : v;
      for (int c = 0; c < in.channels; ++c) out.at(x, y, c) = in.at(sx, sy, c);
    }
  }
  return out;
}

Result<Image> decode_jpeg(std::span<const uint8_t> bytes, const std::string& name, bool orient) {
  JpegJob job{};
  job.codec.err = jpeg_std_error(&job.errors);
  job.errors.error_exit = jpeg_fail;
  job.errors.emit_message = jpeg_message;
  job.codec.client_data = &job;
  const bool done = decode_jpeg_rows(job, bytes);
  jpeg_destroy_decompress(&job.codec);
  if (!done) return bad_picture(name, job.why);
  return orient ? oriented(job.image, exif_orientation(bytes)) : std::move(job.image);
}

// ---- PNG -------------------------------------------------------------------------------------------------------
struct PngJob {
  std::span<const uint8_t> bytes;
  size_t at = 0;
  std::string why;
  png_structp codec = nullptr;
  png_infop info = nullptr;
  Image image;
  std::vector<png_bytep> rows;
};

void png_fail(png_structp codec, png_const_charp why) {
  static_cast<PngJob*>(png_get_error_ptr(codec))->why = why;
  png_longjmp(codec, 1);
}
void png_ignore(png_structp, png_const_charp) {}
void png_take(png_structp codec, png_bytep to, size_t n) {
  auto* job = static_cast<PngJob*>(png_get_io_ptr(codec));
  if (n > job->bytes.size() - job->at) png_error(codec, "the data ends early");
  std::memcpy(to, job->bytes.data() + job->at, n);
  job->at += n;
}

bool decode_png_rows(PngJob& job) {
  if (setjmp(png_jmpbuf(job.codec)) != 0) return false;
  png_set_read_fn(job.codec, &job, png_take);
  png_set_user_limits(job.codec, 1 << 20, 1 << 20);
  png_read_info(job.codec, job.info);
  const png_uint_32 width = png_get_image_width(job.codec, job.info);
  const png_uint_32 height = png_get_image_height(job.codec, job.info);
  if (uint64_t{width} * height > kMaxPixels) png_error(job.codec, "it has more than 128 million pixels");
  png_set_expand(job.codec);
  png_set_scale_16(job.codec);
  png_set_strip_alpha(job.codec);
  png_set_interlace_handling(job.codec);
  png_read_update_info(job.codec, job.info);
  job.image = make_image(static_cast<int>(width), static_cast<int>(height), png_get_channels(job.codec, job.info));
  job.rows.resize(height);
  for (png_uint_32 y = 0; y < height; ++y) job.rows[y] = job.image.row(static_cast<int>(y));
  png_read_image(job.codec, job.rows.data());
  png_read_end(job.codec, nullptr);
  return true;
}

Result<Image> decode_png(std::span<const uint8_t> bytes, const std::string& name) {
  PngJob job;
  job.bytes = bytes;
  job.codec = png_create_read_struct(PNG_LIBPNG_VER_STRING, &job, png_fail, png_ignore);
  if (job.codec != nullptr) job.info = png_create_info_struct(job.codec);
  const bool done = job.info != nullptr && decode_png_rows(job);
  png_destroy_read_struct(&job.codec, &job.info, nullptr);
  if (!done) return bad_picture(name, job.why.empty() ? "out of memory" : job.why);
  return std::move(job.image);
}

// ---- PPM and PGM -----------------------------------------------------------------------------------------------
// "P6" or "P5", then width, height and the largest value as decimal numbers between blanks and # comments, then exactly
// one blank and the pixels (netpbm's ppm(5)).
Result<Image> decode_ppm(std::span<const uint8_t> bytes, const std::string& name) {
  size_t at = 2;
  uint64_t header[3];
  for (uint64_t& value : header) {
    while (at < bytes.size() && (std::isspace(bytes[at]) || bytes[at] == '#')) {
      if (bytes[at] == '#') {
        while (at < bytes.size() && bytes[at] != '\n') ++at;
      } else {
        ++at;
      }
    }
    if (at >= bytes.size() || !std::isdigit(bytes[at])) return bad_picture(name, "its PPM header is damaged");
    for (value = 0; at < bytes.size() && std::isdigit(bytes[at]) && value < kMaxPixels; ++at) {
      value = value * 10 + (bytes[at] - '0');
    }
  }
  ++at;
  const auto [width, height, largest] = header;
  if (width == 0 || height == 0 || width * height > kMaxPixels) return bad_picture(name, "its PPM size is impossible");
  if (largest != 255) return bad_picture(name, "its PPM values aren't 8 bits");
  const int channels = bytes[1] == '6' ? 3 : 1;
  const uint64_t size = width * height * static_cast<uint64_t>(channels);
  if (at > bytes.size() || bytes.size() - at < size) return bad_picture(name, "the data ends early");
  Image image{static_cast<int>(width), static_cast<int>(height), channels, {}};
  image.pixels.assign(bytes.begin() + static_cast<ptrdiff_t>(at), bytes.begin() + static_cast<ptrdiff_t>(at + size));
  return image;
}

// ---- Writing ---------------------------------------------------------------------------------------------------
void png_put(png_structp codec, png_bytep from, size_t n) {
  auto* out = static_cast<std::vector<uint8_t>*>(png_get_io_ptr(codec));
  out->insert(out->end(), from, from + n);
}
void png_flush_nothing(png_structp) {}

bool encode_png_rows(png_structp codec, png_infop info, const Image& image, std::vector<uint8_t>& out) {
  if (setjmp(png_jmpbuf(codec)) != 0) return false;
  png_set_write_fn(codec, &out, png_put, png_flush_nothing);
  png_set_IHDR(codec, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
               image.channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY, PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_write_info(codec, info);
  for (int y = 0; y < image.height; ++y) png_write_row(codec, image.row(y));
  png_write_end(codec, nullptr);
  return true;
}

}  // namespace

bool is_image_name(std::string_view path) {
  std::string lower(path);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* suffix : {".jpg", ".jpeg", ".png", ".ppm", ".pgm"}) {
    if (lower.ends_with(suffix)) return true;
  }
  return false;
}

Result<Image> decode_image(std::span<const uint8_t> bytes, const std::string& name, bool orient) {
  if (starts_with(bytes, "\xff\xd8")) return decode_jpeg(bytes, name, orient);
  if (starts_with(bytes, "\x89PNG\r\n\x1a\n")) return decode_png(bytes, name);
  if (starts_with(bytes, "P6") || starts_with(bytes, "P5")) return decode_ppm(bytes, name);
  return usage_error(fmt::format("'{}' is no JPEG, PNG, PPM or PGM picture; convert it to one", name));
}

Result<Image> read_image(const std::string& path, bool orient) {
  PITH_TRY(const std::vector<uint8_t> bytes, read_file(path));
  return decode_image(bytes, path, orient);
}

Result<std::vector<uint8_t>> encode_png(const Image& image) {
  PngJob job;
  std::vector<uint8_t> out;
  job.codec = png_create_write_struct(PNG_LIBPNG_VER_STRING, &job, png_fail, png_ignore);
  if (job.codec != nullptr) job.info = png_create_info_struct(job.codec);
  const bool done = job.info != nullptr && encode_png_rows(job.codec, job.info, image, out);
  png_destroy_write_struct(&job.codec, &job.info);
  if (!done) return internal_error(fmt::format("libpng can't encode {}x{}: {}", image.width, image.height, job.why));
  return out;
}

Result<void> write_png(const std::string& path, const Image& image) {
  PITH_TRY(const std::vector<uint8_t> bytes, encode_png(image));
  return write_file(path, bytes);
}

}  // namespace pith
