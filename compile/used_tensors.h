// Tensors that a pass leaves unnamed go, and the others get new numbers.
#pragma once

#include <vector>

#include "program/program.h"

namespace pith {

// f(id&) of every tensor that a port, a state or an operator names; not of constants.
template <typename F>
void each_tensor(Program& p, const F& f) {
  for (auto* ports : {&p.inputs, &p.outputs})
    for (ProgramPort& port : *ports) f(port.tensor);
  for (auto& [in, feeds] : p.state) f(in), f(feeds);
  for (ProgramOp& op : p.ops)
    for (auto* ids : {&op.inputs, &op.outputs})
      for (int32_t& id : *ids)
        if (id != kNone && !is_constant(id)) f(id);
}

// By tensor: it is named, or one that is named lies in its memory.
inline std::vector<char> used_tensors(Program& p) {
  std::vector<char> used(p.tensors.size(), 0);
  each_tensor(p, [&](int32_t id) { used[static_cast<size_t>(id)] = used[static_cast<size_t>(root_of(p, id))] = 1; });
  return used;
}

// What is named must be kept, and what it lies in. The new numbers by the old ones, kNone for what went.
inline std::vector<int32_t> keep_tensors(Program& p, const std::vector<char>& keep) {
  std::vector<int32_t> number(p.tensors.size(), kNone);
  std::vector<ProgramTensor> kept;
  for (size_t i = 0; i < p.tensors.size(); ++i) {
    if (!keep[i]) continue;
    number[i] = static_cast<int32_t>(kept.size());
    kept.push_back(std::move(p.tensors[i]));
  }
  p.tensors = std::move(kept);
  for (ProgramTensor& t : p.tensors)
    if (t.alias_of != kNone) t.alias_of = number[static_cast<size_t>(t.alias_of)];
  each_tensor(p, [&](int32_t& id) { id = number[static_cast<size_t>(id)]; });
  return number;
}

}  // namespace pith
