// See file.h. POSIX calls, because the atomic rename and the fsync are the point.
#include "base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace pith {
namespace {

Error system_error(std::string_view what, const std::string& path, std::string_view mend) {
  return usage_error(fmt::format("{} '{}': {}; {}", what, path, std::strerror(errno), mend));
}

bool write_all(int file, std::span<const uint8_t> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

Result<std::vector<uint8_t>> read_file(const std::string& path) {
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return system_error("can't open", path, "check the path");
  struct stat info {};
  if (::fstat(file, &info) == 0 && S_ISDIR(info.st_mode)) {
    ::close(file);
    return usage_error(fmt::format("can't read '{}': it is a directory; name a file", path));
  }
  std::vector<uint8_t> bytes(static_cast<size_t>(info.st_size));
  size_t filled = 0;
  for (;;) {
    if (filled == bytes.size()) bytes.resize(bytes.size() + 65536);  // also serves pipes, whose size reads as 0
    const ssize_t n = ::read(file, bytes.data() + filled, bytes.size() - filled);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const Error e = system_error("can't read", path, "check the file");
      ::close(file);
      return e;
    }
    if (n == 0) break;
    filled += static_cast<size_t>(n);
  }
  ::close(file);
  bytes.resize(filled);
  return bytes;
}

Result<std::string> read_text_file(const std::string& path) {
  PITH_TRY(const std::vector<uint8_t> bytes, read_file(path));
  return std::string(bytes.begin(), bytes.end());
}

Result<void> write_file(const std::string& path, std::span<const uint8_t> bytes) {
  const std::string beside = path + ".partial";
  const int file = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (file < 0) return system_error("can't write", path, "check that its folder exists and may be written");
  const bool written = write_all(file, bytes) && ::fsync(file) == 0;
  if (!written) {
    const Error e = system_error("can't write", path, "free some disk space or choose another place with -o");
    ::close(file);
    ::unlink(beside.c_str());
    return e;
  }
  ::close(file);
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    const Error e = system_error("can't put in place", path, "check that it isn't a directory");
    ::unlink(beside.c_str());
    return e;
  }
  return {};
}

Result<void> write_file(const std::string& path, std::string_view text) {
  return write_file(path, std::span(reinterpret_cast<const uint8_t*>(text.data()), text.size()));
}

}  // namespace pith
