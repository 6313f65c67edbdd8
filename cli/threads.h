// A small thread pool in the shape of the runtime's pith_parallel_for: the caller works too, indices are handed out one by
// one, and the caller waits for the indices only, never for a worker that slept through the call.
//
// A network is some hundred short parallel loops, microseconds apart. Waking a sleeping thread takes longer than many of
// them, so a worker that has run out of work watches for the next loop for a while (about 0.1 ms) before it sleeps.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace pith::cli {

class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  // The runtime's callback; `context` is the pool.
  static void parallel_for(void* context, int32_t count, void (*task)(void*, int32_t), void* task_context);

 private:
  void work();
  void drain();
  uint32_t wait_for_change(uint32_t seen);

  std::vector<std::thread> workers_;
  // The loop that is open: its number in the high half, the next index that nobody has in the low half. Who moves it from
  // i to i + 1 owns index i, and the fields below stay as they are until that index is counted in finished_.
  std::atomic<uint64_t> ticket_{0};
  std::atomic<void (*)(void*, int32_t)> task_{nullptr};
  std::atomic<void*> task_context_{nullptr};
  std::atomic<uint32_t> count_{0};
  std::atomic<uint32_t> finished_{0};
  std::atomic<uint32_t> changes_{0};  // Loops opened so far; what sleepers sleep on
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
};

}  // namespace pith::cli
