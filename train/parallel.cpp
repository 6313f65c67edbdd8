// See parallel.h.
#include "train/parallel.h"

#include <fmt/format.h>

#include <cstdlib>

#ifdef PITH_GLOO
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#endif

namespace pith::train {

Result<Place> place_from_environment() {
  Place p;
  const char* size = std::getenv("WORLD_SIZE");
  if (size == nullptr || std::string_view(size) == "1") return p;
  const auto number = [](const char* name, int low, int high) -> Result<int> {
    const char* text = std::getenv(name);
    char* end = nullptr;
    const long value = text == nullptr ? -1 : std::strtol(text, &end, 10);
    if (text == nullptr || *text == 0 || *end != 0 || value < low || value > high)
      return usage_error(fmt::format("WORLD_SIZE is set, so {} has to be a number from {} to {}; start the processes with torchrun, or unset WORLD_SIZE", name, low, high));
    return static_cast<int>(value);
  };
  PITH_TRY(p.size, number("WORLD_SIZE", 1, 4096));
  PITH_TRY(p.rank, number("RANK", 0, p.size - 1));
  PITH_TRY(p.port, number("MASTER_PORT", 1, 65535));
  const char* address = std::getenv("MASTER_ADDR");
  if (address == nullptr || *address == 0) return usage_error("WORLD_SIZE is set, so MASTER_ADDR has to name the machine of the first process; start the processes with torchrun, or unset WORLD_SIZE");
  p.address = address;
  return p;
}

#ifdef PITH_GLOO

namespace {

class GlooGroup : public Group {
 public:
  explicit GlooGroup(const Place& place) : size_(place.size) {
    c10d::TCPStoreOptions options;
    options.port = static_cast<uint16_t>(place.port);
    options.isServer = place.rank == 0;
    options.numWorkers = static_cast<size_t>(place.size);
    const auto store = c10::make_intrusive<c10d::TCPStore>(place.address, options);
    auto gloo = c10d::ProcessGroupGloo::Options::create();
    const bool here = place.address == "localhost" || place.address == "127.0.0.1";
    gloo->devices.push_back(here ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1") : c10d::ProcessGroupGloo::createDefaultDevice());
    group_ = c10::make_intrusive<c10d::ProcessGroupGloo>(store, place.rank, place.size, gloo);
  }

  void average(const std::vector<at::Tensor>& tensors) override {
    std::vector<at::Tensor> flat;
    for (const at::Tensor& t : tensors) flat.push_back(t.reshape({-1}));
    std::vector<at::Tensor> whole{at::cat(flat).cpu()};  // Gloo adds up on the CPU
    group_->allreduce(whole)->wait();
    whole[0].div_(size_);
    int64_t at = 0;
    for (const at::Tensor& t : tensors) {
      t.copy_(whole[0].narrow(0, at, t.numel()).view(t.sizes()));
      at += t.numel();
    }
  }

 private:
  int size_;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> group_;
};

}  // namespace

Result<std::unique_ptr<Group>> Group::join(const Place& place) {
  try {
    return std::unique_ptr<Group>(std::make_unique<GlooGroup>(place));
  } catch (const std::exception& e) {
    const std::string why = e.what();
    return error(ErrorCode::kUsage, fmt::format("process {} of {} can't join the others at {}:{}: {}", place.rank, place.size, place.address, place.port, why.substr(0, why.find('\n'))));
  }
}

#else

Result<std::unique_ptr<Group>> Group::join(const Place& place) {
  return error(ErrorCode::kUnsupported, fmt::format("WORLD_SIZE is {}, but this pith was built without Gloo's headers; install libgloo-dev and build again, or unset WORLD_SIZE", place.size));
}

#endif

}  // namespace pith::train
