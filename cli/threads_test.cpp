// Every index exactly once, nothing left running after the call, through many short loops and long pauses between them.
#include "cli/threads.h"

#include <gtest/gtest.h>

#include <chrono>
#include <vector>

namespace pith::cli {
namespace {

struct Tally {
  std::vector<std::atomic<int>> seen;
  explicit Tally(int32_t count) : seen(static_cast<size_t>(count)) {}
  static void add(void* self, int32_t i) { ++static_cast<Tally*>(self)->seen[static_cast<size_t>(i)]; }
};

TEST(ThreadPool, HandsOutEveryIndexOnce) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    for (int round = 0; round < 3000; ++round) {
      const int32_t count = round % 7;
      Tally tally(count);
      ThreadPool::parallel_for(&pool, count, Tally::add, &tally);
      for (const auto& times : tally.seen) ASSERT_EQ(times, 1) << threads << " threads, loop " << round;
    }
  }
}

TEST(ThreadPool, WakesWorkersThatSleep) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    // Each index waits for the other, so one thread alone could never finish.
    std::atomic<int> arrived{0};
    ThreadPool::parallel_for(
        &pool, 2,
        [](void* context, int32_t) {
          auto& all = *static_cast<std::atomic<int>*>(context);
          ++all;
          while (all < 2) std::this_thread::yield();
        },
        &arrived);
    EXPECT_EQ(arrived, 2);
  }
}

}  // namespace
}  // namespace pith::cli
