#include "compile/schedule.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace pith {
namespace {

TEST(Schedule, DetectorAndClassifier) {
  const auto s = schedule_tasks({{"detector", 100, 30}, {"classifier", 40, 5}});
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(s->round, 200);
  EXPECT_EQ(s->slots.size(), 7u);
  EXPECT_NEAR(s->busy, 0.425, 1e-9);
  EXPECT_EQ(s->slots[0].task, 1u);  // its deadline is nearer
  EXPECT_EQ(s->latency[0], 35);
  EXPECT_EQ(s->latency[1], 15);  // its run of 120 waits for the detector's second, from 100 to 130
}

TEST(Schedule, ARunIsNotInterrupted) {
  const auto s = schedule_tasks({{"long", 1000, 100}, {"short", 50, 5}});
  ASSERT_FALSE(s.ok());  // from 5 to 105 nobody else can run: the second run of `short` is late
  EXPECT_EQ(s.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(s.error().message.find("'short'"), std::string::npos) << s.error().message;
}

TEST(Schedule, NonsenseIsRefused) {
  EXPECT_EQ(schedule_tasks({{"a", 0, 1}}).error().code, ErrorCode::kUsage);
  EXPECT_EQ(schedule_tasks({{"a", 10, -1}}).error().code, ErrorCode::kUsage);
  EXPECT_EQ(schedule_tasks({{"a", 999'983, 1}, {"b", 1'000'003, 1}, {"c", 999'979, 1}}).error().code, ErrorCode::kUsage);
}

TEST(Schedule, ACascadeRunsTheOthersOnEachCrop) {
  const std::vector<Task> tasks = {{"detector", 100, 30}, {"classifier", 0, 5}, {"reader", 0, 2}};
  const auto s = schedule_cascade(tasks, 10);
  ASSERT_TRUE(s.ok()) << s.error().message;
  ASSERT_EQ(s->slots.size(), 21u);
  int64_t free = 0;
  for (size_t i = 0; i < s->slots.size(); ++i) {
    EXPECT_EQ(s->slots[i].task, i == 0 ? 0 : 2 - i % 2);
    EXPECT_EQ(s->slots[i].start, free);
    free = s->slots[i].end;
  }
  EXPECT_EQ(s->latency, (std::vector<int64_t>{30, 98, 100}));
  EXPECT_EQ(s->busy, 1);
  const auto late = schedule_cascade(tasks, 11);
  ASSERT_FALSE(late.ok());
  EXPECT_EQ(late.error().code, ErrorCode::kDoesNotFit);
  for (const char* part : {"'reader'", "7 us", "there is time for 10"}) EXPECT_NE(late.error().message.find(part), std::string::npos) << late.error().message;
  for (const int64_t crops : {-1, 0, 100'001}) EXPECT_EQ(schedule_cascade(tasks, crops).error().code, ErrorCode::kUsage);
  EXPECT_EQ(schedule_cascade({tasks[0]}, 1).error().code, ErrorCode::kUsage);
  EXPECT_EQ(schedule_cascade({tasks[1], tasks[2]}, 1).error().code, ErrorCode::kUsage);
}

TEST(Schedule, SlotsOfRandomTasksKeepTheirPromises) {
  Random random(5);
  int fits = 0;
  for (int round = 0; round < 300; ++round) {
    std::vector<Task> tasks;
    for (int64_t n = random.integer(1, 4); n > 0; --n) {
      const int64_t period = int64_t{10} << random.integer(0, 5);
      tasks.push_back({"t" + std::to_string(n), period, random.integer(1, period)});
    }
    const auto s = schedule_tasks(tasks);
    if (!s.ok()) continue;
    ++fits;
    std::vector<int64_t> runs(tasks.size(), 0);
    int64_t free = 0;
    for (const Slot& slot : s->slots) {
      const Task& t = tasks[slot.task];
      EXPECT_GE(slot.start, free);
      EXPECT_GE(slot.start, runs[slot.task] * t.period);
      EXPECT_LE(slot.end, (runs[slot.task] + 1) * t.period);
      EXPECT_EQ(slot.end - slot.start, t.time);
      ++runs[slot.task];
      free = slot.end;
    }
    for (size_t i = 0; i < tasks.size(); ++i) EXPECT_EQ(runs[i], s->round / tasks[i].period);
  }
  EXPECT_GT(fits, 50);
}

}  // namespace
}  // namespace pith
