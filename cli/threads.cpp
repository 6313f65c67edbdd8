// See threads.h.
#include "cli/threads.h"

namespace pith::cli {

ThreadPool::ThreadPool(int threads) {
  for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  for (std::thread& t : workers_) t.join();
}

void ThreadPool::drain() {
  for (int32_t i = next_.fetch_add(1); i < count_; i = next_.fetch_add(1)) task_(task_context_, i);
}

void ThreadPool::work() {
  uint64_t seen = 0;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [&] { return stop_ || round_ != seen; });
    if (stop_) return;
    seen = round_;
    lock.unlock();
    drain();
    lock.lock();
    if (--busy_ == 0) done_.notify_one();
  }
}

void ThreadPool::parallel_for(void* context, int32_t count, void (*task)(void*, int32_t), void* task_context) {
  ThreadPool& pool = *static_cast<ThreadPool*>(context);
  {
    const std::lock_guard lock(pool.mutex_);
    pool.task_ = task;
    pool.task_context_ = task_context;
    pool.count_ = count;
    pool.next_ = 0;
    pool.busy_ = static_cast<int>(pool.workers_.size());
    ++pool.round_;
  }
  pool.wake_.notify_all();
  pool.drain();
  std::unique_lock lock(pool.mutex_);
  pool.done_.wait(lock, [&] { return pool.busy_ == 0; });
}

}  // namespace pith::cli
