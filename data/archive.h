// Archives and compressed files, through libarchive. Internal to data/.
//
// Why: sample sets come as tar, tar.gz, tar.xz and zip, NPZ is a zip, MNIST is gzip: one well-kept library reads all of
// them. A plain tar is indexed once and each member is then read where it lies; members of compressed archives are
// kept in memory, up to a stated limit. Only formats and filters that libarchive reads by itself are switched on, never
// those for which it would start a program.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace pith {

inline constexpr uint64_t kMaxUnpacked = uint64_t{1} << 32;  // bytes that one compressed file may unpack to

struct ArchiveMember {
  std::string name;  // as stored, without a leading "./"
  uint64_t size = 0;
  int64_t offset = -1;  // of its header in a plain tar; else -1 and `bytes` holds it
  std::vector<uint8_t> bytes;
};

// Regular files whose name `wanted` accepts, in the archive's order. Only reads, never writes to disk.
Result<std::vector<ArchiveMember>> list_archive(const std::string& path,
                                                const std::function<bool(std::string_view)>& wanted);
// The bytes of a member that list_archive(path) gave.
Result<std::vector<uint8_t>> read_member(const std::string& path, const ArchiveMember& member);

// All members of a zip in memory; `name` is for the message.
Result<std::vector<ArchiveMember>> unpack_zip(std::span<const uint8_t> bytes, const std::string& name);
// The content of a gzip, xz, bzip2 or zstd file; bytes that aren't compressed come back as they are.
Result<std::vector<uint8_t>> unpack_stream(std::vector<uint8_t> bytes, const std::string& name);

bool is_archive_name(std::string_view path);  // .tar .tgz .tar.gz .tar.xz .tar.bz2 .tar.zst .zip

}  // namespace pith
