// Two processes reach what one reaches: this program starts itself a second time as the other process.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "train/far_device.h"
#include "train/small_network.h"

namespace pith::train {
namespace {

TrainOptions half_batches(const Place& place, const char* device = "cpu") {
  TrainOptions o = small_options(40);
  o.place = place;
  o.batch = 32 / place.size;
  o.device = device;
  return o;
}

std::vector<float> weights_after(const TrainOptions& options) {
  const ir::Graph g = small_network();
  auto t = Trainer::create(g, start_model(g, true, 0.3), small_samples(200), options);
  EXPECT_TRUE(t.ok()) << t.error().message;
  if (!t.ok()) return {};
  EXPECT_TRUE((*t)->run(1, kGoOn, nullptr).ok());
  std::vector<float> all;
  const Model m = (*t)->model();
  for (const ir::Value& v : m.graph.values) {
    if (v.constant && m.steps.count(v.name)) all.insert(all.end(), v.constant->as<float>().begin(), v.constant->as<float>().end());
  }
  return all;
}

// Is the other process when it is told so, and nothing else.
TEST(Parallel, Other) {
  const auto place = place_from_environment();
  ASSERT_TRUE(place.ok());
  if (place->size == 1) return;
  EXPECT_FALSE(weights_after(half_batches(*place, std::getenv("PITH_TEST_DEVICE"))).empty());
}

#ifdef PITH_GLOO

class ParallelOn : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Devices, ParallelOn, testing::Values("cpu", kFarDevice));

TEST_P(ParallelOn, TwoProcessesReachWhatOneReaches) {
  const std::string port = std::to_string(20000 + getpid() % 20000);
  const pid_t other = fork();
  if (other == 0) {
    setenv("WORLD_SIZE", "2", 1), setenv("RANK", "1", 1), setenv("MASTER_ADDR", "127.0.0.1", 1), setenv("MASTER_PORT", port.c_str(), 1), setenv("PITH_TEST_DEVICE", GetParam(), 1);
    execl("/proc/self/exe", "train_test", "--gtest_filter=Parallel.Other", nullptr);
    _exit(127);
  }
  Place place{0, 2, std::atoi(port.c_str()), "127.0.0.1"};
  const std::vector<float> two = weights_after(half_batches(place, GetParam()));
  int status = 1;
  waitpid(other, &status, 0);
  EXPECT_EQ(status, 0);
  const std::vector<float> one = weights_after(half_batches({}));
  ASSERT_EQ(one.size(), two.size());
  double off = 0, size = 0;
  for (size_t i = 0; i < one.size(); ++i) off += std::pow(one[i] - two[i], 2.0), size += std::pow(one[i], 2.0);
  EXPECT_LT(off, 1e-4 * size);  // sums in another order
}

#else

TEST(Parallel, SaysWhatIsMissing) {
  const ir::Graph g = small_network();
  const auto t = Trainer::create(g, start_model(g, true, 0.3), small_samples(200), half_batches({0, 2, 29500, "127.0.0.1"}));
  ASSERT_FALSE(t.ok());
  EXPECT_NE(t.error().message.find("libgloo-dev"), std::string::npos);
}

#endif

TEST(Parallel, RefusesHalfAPlace) {
  setenv("WORLD_SIZE", "2", 1);
  unsetenv("RANK");
  const auto p = place_from_environment();
  unsetenv("WORLD_SIZE");
  ASSERT_FALSE(p.ok());
  EXPECT_NE(p.error().message.find("RANK"), std::string::npos);
}

TEST(Parallel, KnowsItsPlaceOnItsMachine) {
  const auto with = [](const char* local) {
    for (const auto& [name, value] : {std::pair{"WORLD_SIZE", "8"}, {"RANK", "5"}, {"MASTER_ADDR", "127.0.0.1"}, {"MASTER_PORT", "29500"}, {"LOCAL_RANK", local}}) setenv(name, value, 1);
    auto p = place_from_environment();
    for (const char* name : {"WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"}) unsetenv(name);
    return p;
  };
  const auto second = with("1");
  ASSERT_TRUE(second.ok()) << second.error().message;
  EXPECT_EQ(second->rank, 5);
  EXPECT_EQ(second->local_rank, 1);
  for (const char* wrong : {"6", "-1", "first", ""}) EXPECT_FALSE(with(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace pith::train
