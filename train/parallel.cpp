// See parallel.h.
#include "train/parallel.h"

#include <fmt/format.h>

#include <cstdlib>

#include "base/first_line.h"
#include "train/network.h"

#ifdef PITH_GLOO
#define USE_C10D_GLOO
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#endif
#ifdef PITH_NCCL
#define USE_C10D_NCCL
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif
#if defined(PITH_GLOO) || defined(PITH_NCCL)
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
  if (std::getenv("LOCAL_RANK") != nullptr) {
    PITH_TRY(p.local_rank, number("LOCAL_RANK", 0, p.rank));
  }
  return p;
}

namespace {

#if defined(PITH_GLOO) || defined(PITH_NCCL)

template <class Backend>
class C10dGroup : public Group {
 public:
  // `where`: the device on which the backend adds up.
  C10dGroup(c10::intrusive_ptr<Backend> backend, int size, at::Device where) : backend_(std::move(backend)), size_(size), where_(where) {}

  void average(const std::vector<at::Tensor>& tensors) override {
    std::vector<at::Tensor> flat;
    for (const at::Tensor& t : tensors) flat.push_back(t.reshape({-1}));
    std::vector<at::Tensor> whole{at::cat(flat).to(where_)};
    backend_->allreduce(whole)->wait();
    whole[0].div_(size_);
    int64_t at = 0;
    for (const at::Tensor& t : tensors) {
      t.copy_(whole[0].narrow(0, at, t.numel()).view(t.sizes()));
      at += t.numel();
    }
  }

 private:
  c10::intrusive_ptr<Backend> backend_;
  int size_;
  at::Device where_;
};

c10::intrusive_ptr<c10d::TCPStore> store_of(const Place& place) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<uint16_t>(place.port);
  options.isServer = place.rank == 0;
  options.numWorkers = static_cast<size_t>(place.size);
  return c10::make_intrusive<c10d::TCPStore>(place.address, options);
}

#endif

Result<std::unique_ptr<Group>> join_on(const Place& place, [[maybe_unused]] const at::Device& device) {
#ifdef PITH_NCCL
  if (device.is_cuda()) return std::unique_ptr<Group>(std::make_unique<C10dGroup<c10d::ProcessGroupNCCL>>(c10::make_intrusive<c10d::ProcessGroupNCCL>(store_of(place), place.rank, place.size), place.size, device));
#endif
#ifdef PITH_GLOO
  auto options = c10d::ProcessGroupGloo::Options::create();
  const bool here = place.address == "localhost" || place.address == "127.0.0.1";
  options->devices.push_back(here ? c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1") : c10d::ProcessGroupGloo::createDefaultDevice());
  return std::unique_ptr<Group>(std::make_unique<C10dGroup<c10d::ProcessGroupGloo>>(c10::make_intrusive<c10d::ProcessGroupGloo>(store_of(place), place.rank, place.size, options), place.size, at::kCPU));
#else
  return error(ErrorCode::kUnsupported, fmt::format("WORLD_SIZE is {}, but this pith was built without Gloo's headers (NCCL's for --device cuda), so processes on '{}' can't meet; install libgloo-dev and build again, or unset WORLD_SIZE", place.size, device.str()));
#endif
}

}  // namespace

Result<std::unique_ptr<Group>> Group::join(const Place& place) {
  try {
    return join_on(place, placed(at::empty({1})).device());
  } catch (const std::exception& e) {
    return error(ErrorCode::kUsage, fmt::format("process {} of {} can't join the others at {}:{}: {}", place.rank, place.size, place.address, place.port, first_line(e.what())));
  }
}

}  // namespace pith::train
