// See threads.h.
#include "cli/threads.h"

namespace pith::cli {
namespace {

constexpr int kWatch = 4000;  // Pauses before sleeping: about 0.1 ms

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  stop_ = true;
  ++changes_;
  changes_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::drain() {
  uint64_t ticket = ticket_.load();
  for (;;) {
    const uint32_t count = count_.load(), index = static_cast<uint32_t>(ticket);
    const auto task = task_.load();
    void* const context = task_context_.load();
    if (index >= count) {
      const uint64_t now = ticket_.load();
      if (now == ticket) return;
      ticket = now;
      continue;
    }
    if (!ticket_.compare_exchange_weak(ticket, ticket + 1)) continue;
    task(context, static_cast<int32_t>(index));
    ++finished_;
    ticket = ticket_.load();
  }
}

uint32_t ThreadPool::wait_for_change(uint32_t seen) {
  for (int i = 0; i < kWatch; ++i) {
    if (const uint32_t now = changes_.load(std::memory_order_acquire); now != seen) return now;
    pause();
  }
  ++sleepers_;
  changes_.wait(seen);
  --sleepers_;
  return changes_.load();
}

void ThreadPool::work() {
  uint32_t seen = 0;
  while (!stop_) {
    seen = wait_for_change(seen);
    if (!stop_) drain();
  }
}

void ThreadPool::parallel_for(void* context, int32_t count, void (*task)(void*, int32_t), void* task_context) {
  ThreadPool& pool = *static_cast<ThreadPool*>(context);
  if (count <= 0) return;
  pool.count_ = 0;  // Nobody takes an index while the fields change
  pool.finished_ = 0;
  pool.task_ = task;
  pool.task_context_ = task_context;
  pool.ticket_ = ((pool.ticket_.load() >> 32) + 1) << 32;
  pool.count_ = static_cast<uint32_t>(count);
  ++pool.changes_;
  if (pool.sleepers_ > 0) pool.changes_.notify_all();
  pool.drain();
  for (int i = 0; pool.finished_.load() < static_cast<uint32_t>(count); ++i) {
    if (i < kWatch) pause();
    else std::this_thread::yield();
  }
}

}  // namespace pith::cli
