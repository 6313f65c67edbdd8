// Small files that data/'s tests make for themselves: folders, archives, JPEGs, IDX, WAV. Tests only.
#pragma once

#include <archive.h>
#include <archive_entry.h>
#include <gtest/gtest.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/file.h"
#include "base/random.h"
#include "data/image.h"

namespace pith {

using Bytes = std::vector<uint8_t>;

// A folder that goes away with the test.
class TestFolder {
 public:
  TestFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "pith_data_XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~TestFolder() { std::filesystem::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  // Writes a file, with the folders above it; gives back its path.
  std::string write(const std::string& name, const Bytes& bytes) const {
    const std::string place = *this / name;
    std::filesystem::create_directories(std::filesystem::path(place).parent_path());
    EXPECT_TRUE(write_file(place, bytes).ok());
    return place;
  }
  std::string write(const std::string& name, std::string_view text) const {
    return write(name, Bytes(text.begin(), text.end()));
  }

 private:
  std::string path_;
};

inline Image random_image(int width, int height, int channels, uint64_t seed) {
  Random random(seed);
  Image image = make_image(width, height, channels);
  for (uint8_t& p : image.pixels) p = static_cast<uint8_t>(random.integer(0, 255));
  return image;
}

inline Bytes png_bytes(const Image& image) { return encode_png(image).value(); }

// components 1 (gray), 3 (RGB) or 4 (CMYK); `exif` is the content of an APP1 segment.
inline Bytes jpeg_bytes(int width, int height, int components, const Bytes& exif = {}) {
  jpeg_compress_struct codec;
  jpeg_error_mgr errors;
  codec.err = jpeg_std_error(&errors);
  jpeg_create_compress(&codec);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&codec, &out, &size);
  codec.image_width = static_cast<JDIMENSION>(width);
  codec.image_height = static_cast<JDIMENSION>(height);
  codec.input_components = components;
  codec.in_color_space = components == 1 ? JCS_GRAYSCALE : components == 3 ? JCS_RGB : JCS_CMYK;
  jpeg_set_defaults(&codec);
  jpeg_set_quality(&codec, 95, TRUE);
  jpeg_start_compress(&codec, TRUE);
  if (!exif.empty()) jpeg_write_marker(&codec, JPEG_APP0 + 1, exif.data(), static_cast<unsigned>(exif.size()));
  for (int y = 0; y < height; ++y) {  // dark at the left, bright at the right
    Bytes row;
    for (int x = 0; x < width * components; ++x) row.push_back(static_cast<uint8_t>(255 * (x / components) / width));
    JSAMPROW rows[] = {row.data()};
    jpeg_write_scanlines(&codec, rows, 1);
  }
  jpeg_finish_compress(&codec);
  Bytes bytes(out, out + size);
  jpeg_destroy_compress(&codec);
  std::free(out);
  return bytes;
}

enum class Packing { kTar, kTarGz, kTarXz, kZip, kZipStored, kGz };

// An archive of (name, content); kGz takes one member and keeps only its content.
inline Bytes pack(Packing packing, const std::vector<std::pair<std::string, Bytes>>& members) {
  archive* a = archive_write_new();
  const bool zip = packing == Packing::kZip || packing == Packing::kZipStored;
  if (packing == Packing::kTarGz || packing == Packing::kGz) archive_write_add_filter_gzip(a);
  if (packing == Packing::kTarXz) archive_write_add_filter_xz(a);
  if (zip) {
    archive_write_set_format_zip(a);
    archive_write_set_options(a, packing == Packing::kZip ? "zip:compression=deflate" : "zip:compression=store");
  } else if (packing == Packing::kGz) {
    archive_write_set_format_raw(a);
  } else {
    archive_write_set_format_pax_restricted(a);
  }
  size_t room = 1 << 20;
  for (const auto& [name, content] : members) room += content.size() + 4096;
  Bytes bytes(room);
  size_t used = 0;
  archive_write_open_memory(a, bytes.data(), bytes.size(), &used);
  for (const auto& [name, content] : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<int64_t>(content.size()));
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    EXPECT_GE(archive_write_header(a, entry), ARCHIVE_WARN);  // warns of names outside the locale
    archive_write_data(a, content.data(), content.size());
    archive_entry_free(entry);
  }
  archive_write_close(a);
  archive_write_free(a);
  bytes.resize(used);
  return bytes;
}

inline void put_be32(Bytes& to, uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<uint8_t>(v >> shift));
}
inline void put_le32(Bytes& to, uint32_t v) {
  for (int shift = 0; shift < 32; shift += 8) to.push_back(static_cast<uint8_t>(v >> shift));
}

// The two ways a check of an error goes wrong: no error, or one that doesn't say what it should.
template <typename T>
void expect_error(const Result<T>& result, std::string_view says) {
  ASSERT_FALSE(result.ok());
  EXPECT_NE(result.error().message.find(says), std::string::npos) << result.error().message;
  EXPECT_EQ(result.error().message.find('\n'), std::string::npos) << result.error().message;
}

// The seed of a randomised test: PITH_SEED, else the given one; printed.
inline uint64_t test_seed(uint64_t otherwise) {
  const char* given = std::getenv("PITH_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 10) : otherwise;
  std::printf("PITH_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

}  // namespace pith
