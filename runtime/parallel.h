// Sharing work over the caller's threads, or doing it here when there are none.
//
// Work is cut into at most `count` tasks, each with its own scratch; which task runs where never changes a result.
#pragma once

#include <stdint.h>

#include "runtime/include/pith/pith.h"

namespace pith::runtime {

struct Threads {
  pith_parallel_for function = nullptr;
  void* context = nullptr;
  int32_t count = 1;
};

// What a part must be worth, in multiply-accumulates, to be given away: handing over costs a microsecond or two.
inline constexpr int64_t kPartWork = 131072;
// So many items of `work` each are a part; at least `least`.
inline int64_t grain_of(int64_t work, int64_t least) {
  const int64_t items = work > 0 ? kPartWork / work + 1 : kPartWork;
  return items > least ? items : least;
}

// body(begin, end, task) over a partition of [0, count) into at most threads.count parts of at least `grain` each.
template <typename Body>
void parallel(const Threads& threads, int64_t count, int64_t grain, const Body& body) {
  int64_t parts = grain > 0 ? count / grain : count;
  if (parts > threads.count) parts = threads.count;
  if (parts <= 1 || threads.function == nullptr) {
    if (count > 0) body(int64_t{0}, count, 0);
    return;
  }
  struct Work {
    const Body& body;
    int64_t count, parts;
  } work{body, count, parts};
  threads.function(
      threads.context, static_cast<int32_t>(parts),
      [](void* context, int32_t task) {
        const Work& w = *static_cast<const Work*>(context);
        w.body(w.count * task / w.parts, w.count * (task + 1) / w.parts, task);
      },
      &work);
}

}  // namespace pith::runtime
