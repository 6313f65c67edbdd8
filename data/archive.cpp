// See archive.h.
#include "data/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <locale.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>

#include "data/bytes.h"

namespace pith {
namespace {

struct Closer {
  void operator()(archive* a) const { archive_read_free(a); }
};
using Reader = std::unique_ptr<archive, Closer>;

// libarchive turns names into the thread's character set, and drops a zip's name that has no place in it; a program
// that never called setlocale has only ASCII. So this thread speaks UTF-8 while libarchive works.
class Utf8Names {
 public:
  Utf8Names() : utf8_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)), before_(utf8_ ? uselocale(utf8_) : nullptr) {}
  ~Utf8Names() {
    if (!utf8_) return;
    uselocale(before_);
    freelocale(utf8_);
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;

 private:
  locale_t utf8_, before_;
};

struct File {
  explicit File(const std::string& path) : handle(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {}
  ~File() {
    if (handle >= 0) ::close(handle);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int handle;
};

Error damaged(archive* a, const std::string& name) {
  const char* why = archive_error_string(a);
  return usage_error(
      fmt::format("can't unpack '{}': {}; check that the file is whole", name, printable(why ? why : "damaged")));
}
Error too_large(const std::string& name) {
  return usage_error(
      fmt::format("'{}' unpacks to more than {} GiB; extract it and name the folder", name, kMaxUnpacked >> 30));
}
Error cannot_open(const std::string& path) {
  return usage_error(fmt::format("can't open '{}': {}; check the path", path, std::strerror(errno)));
}

void support_filters(archive* a) {
  archive_read_support_filter_gzip(a);
  archive_read_support_filter_bzip2(a);
  archive_read_support_filter_xz(a);
  archive_read_support_filter_zstd(a);
}

// A reader for tar and zip; plain_tar leaves out everything else, for members read in place. A zip is read by its
// directory at the end, so that one that was cut can't pass for a shorter one.
Reader make_reader(bool plain_tar = false) {
  Reader a(archive_read_new());
  archive_read_support_format_tar(a.get());
  if (plain_tar) return a;
  archive_read_support_format_zip_seekable(a.get());
  support_filters(a.get());
  return a;
}

// The current member's bytes; `budget` is what may still be unpacked.
Result<std::vector<uint8_t>> read_data(archive* a, uint64_t stated, uint64_t& budget, const std::string& name) {
  std::vector<uint8_t> bytes;
  bytes.reserve(std::min<uint64_t>(stated, 16 << 20));
  for (;;) {
    uint8_t chunk[65536];
    const la_ssize_t n = archive_read_data(a, chunk, sizeof chunk);
    if (n < 0) return damaged(a, name);
    if (n == 0) return bytes;
    if (static_cast<uint64_t>(n) > budget) return too_large(name);
    budget -= static_cast<uint64_t>(n);
    bytes.insert(bytes.end(), chunk, chunk + n);
  }
}

std::string member_name(archive_entry* entry) {
  const char* raw = archive_entry_pathname(entry);
  if (raw == nullptr) raw = archive_entry_pathname_utf8(entry);
  std::string_view name = raw ? raw : "";
  while (name.starts_with("./")) name.remove_prefix(2);
  return std::string(name);
}

// Walks the members of an opened reader. In a plain tar only their places are kept.
Result<std::vector<ArchiveMember>> walk(archive* a, const std::string& name,
                                        const std::function<bool(std::string_view)>& wanted, bool may_stay) {
  std::vector<ArchiveMember> members;
  uint64_t budget = kMaxUnpacked;
  for (;;) {
    archive_entry* entry = nullptr;
    const int status = archive_read_next_header(a, &entry);
    if (status == ARCHIVE_EOF) return members;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return damaged(a, name);
    ArchiveMember m;
    m.name = member_name(entry);
    if (archive_entry_filetype(entry) != AE_IFREG || !wanted(m.name)) continue;
    m.size = static_cast<uint64_t>(std::max<int64_t>(archive_entry_size(entry), 0));
    const bool is_tar = (archive_format(a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
    if (may_stay && is_tar && archive_filter_code(a, 0) == ARCHIVE_FILTER_NONE) {
      m.offset = archive_read_header_position(a);
    } else {
      PITH_TRY(m.bytes, read_data(a, m.size, budget, name));
      m.size = m.bytes.size();
    }
    members.push_back(std::move(m));
  }
}

}  // namespace

bool is_archive_name(std::string_view path) {
  std::string lower(path);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* suffix : {".tar", ".tgz", ".txz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst", ".zip"}) {
    if (lower.ends_with(suffix)) return true;
  }
  return false;
}

Result<std::vector<ArchiveMember>> list_archive(const std::string& path,
                                                const std::function<bool(std::string_view)>& wanted) {
  const Utf8Names names;
  const File file(path);
  if (file.handle < 0) return cannot_open(path);
  const Reader reader = make_reader();
  if (archive_read_open_fd(reader.get(), file.handle, 65536) != ARCHIVE_OK) return damaged(reader.get(), path);
  return walk(reader.get(), path, wanted, true);
}

Result<std::vector<uint8_t>> read_member(const std::string& path, const ArchiveMember& member) {
  const Utf8Names names;
  if (member.offset < 0) return member.bytes;
  const File file(path);
  if (file.handle < 0 || ::lseek(file.handle, member.offset, SEEK_SET) < 0) return cannot_open(path);
  const Reader reader = make_reader(true);
  archive_entry* entry = nullptr;
  const std::string name = path + ":" + member.name;
  if (archive_read_open_fd(reader.get(), file.handle, 16384) != ARCHIVE_OK) return damaged(reader.get(), name);
  const int status = archive_read_next_header(reader.get(), &entry);
  if (status != ARCHIVE_OK && status != ARCHIVE_WARN) return damaged(reader.get(), name);
  if (member_name(entry) != member.name) {
    return usage_error(fmt::format("'{}' changed while it was read; run again", path));
  }
  uint64_t budget = kMaxUnpacked;
  return read_data(reader.get(), member.size, budget, name);
}

Result<std::vector<ArchiveMember>> unpack_zip(std::span<const uint8_t> bytes, const std::string& name) {
  const Utf8Names names;
  const Reader reader(archive_read_new());
  archive_read_support_format_zip_seekable(reader.get());
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK) {
    return damaged(reader.get(), name);
  }
  return walk(
      reader.get(), name, [](std::string_view) { return true; }, false);
}

Result<std::vector<uint8_t>> unpack_stream(std::vector<uint8_t> bytes, const std::string& name) {
  const bool packed = starts_with(bytes, "\x1f\x8b") ||
                      starts_with(bytes,
                                  "\xfd"
                                  "7zXZ") ||
                      starts_with(bytes, "BZh") || starts_with(bytes, "\x28\xb5\x2f\xfd");
  if (!packed) return bytes;
  const Reader reader(archive_read_new());
  archive_read_support_format_raw(reader.get());
  support_filters(reader.get());
  archive_entry* entry = nullptr;
  if (archive_read_open_memory(reader.get(), bytes.data(), bytes.size()) != ARCHIVE_OK ||
      archive_read_next_header(reader.get(), &entry) != ARCHIVE_OK) {
    return damaged(reader.get(), name);
  }
  uint64_t budget = kMaxUnpacked;
  return read_data(reader.get(), 0, budget, name);
}

}  // namespace pith
