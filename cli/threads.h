// A small thread pool in the shape of the runtime's pith_parallel_for: the caller works too, indices are handed out one
// by one.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
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
  std::vector<std::thread> workers_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  void (*task_)(void*, int32_t) = nullptr;
  void* task_context_ = nullptr;
  int32_t count_ = 0;
  std::atomic<int32_t> next_{0};
  int busy_ = 0;
  uint64_t round_ = 0;
  bool stop_ = false;
};

}  // namespace pith::cli
