// Is a file an archive of torch.jit.save? Those have constants.pkl; those of torch.save haven't. No libtorch here.
#include <algorithm>
#include <fstream>
#include <string>

#include "importers/torchscript/torchscript.h"

namespace pith::importers {

bool is_torchscript(const std::string& path) {
  constexpr std::streamoff kDirectory = 1 << 20;  // the archive's list of entries is at its end
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return false;
  const std::streamoff size = file.tellg();
  std::string head(4, '\0'), tail(static_cast<size_t>(std::min(size, kDirectory)), '\0');
  if (size < 4 || !file.seekg(0) || !file.read(head.data(), 4) || head != "PK\x03\x04") return false;
  if (!file.seekg(size - static_cast<std::streamoff>(tail.size())) || !file.read(tail.data(), static_cast<std::streamsize>(tail.size()))) return false;
  return tail.find("/constants.pkl") != std::string::npos;
}

}  // namespace pith::importers
