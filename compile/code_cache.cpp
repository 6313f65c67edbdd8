// See code_cache.h.
#include "compile/code_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "compile/rows.h"
#include "compile/stream.h"
#include "numerics/cache_rows.h"
#include "program/schema.h"

namespace pith {
namespace {

// A state that could be coded: the Where that renews it, and the width of its rows.
struct Cache {
  size_t renewal = 0;
  int32_t in = kNone, out = kNone, depth = 0;
};

bool is_float(const Program& p, int32_t id, size_t rank) {
  return id != kNone && !is_constant(id) && tensor(p, id).dtype == PITH_F32 && tensor(p, id).dims.size() == rank;
}

// Is `id` memory of its own, under one name?
bool alone(const Program& p, int32_t id) {
  if (tensor(p, id).alias_of != kNone) return false;
  return std::none_of(p.tensors.begin(), p.tensors.end(), [&](const ProgramTensor& t) { return t.alias_of == id; });
}

// Operators that read the tensor.
std::vector<size_t> readers(const Program& p, const Users& users, int32_t id) {
  std::vector<size_t> all = users.uses[static_cast<size_t>(id)];
  std::erase(all, p.ops.size());  // ports and state
  return all;
}

// Keyed by the state's new value.
std::map<int32_t, Cache> find_caches(const Program& p, const Users& users) {
  std::map<int32_t, Cache> found;
  for (const auto& [in, out] : p.state) {
    const auto writers = users.writers[static_cast<size_t>(out)];
    if (writers.size() != 1 || in == out || !is_float(p, in, 4) || !is_float(p, out, 4) || !alone(p, in) ||
        !alone(p, out))
      continue;
    const ProgramOp& op = p.ops[writers[0]];
    if (op.opcode != PITH_OPCODE_Where || op.activation != numerics::Unary::kIdentity || op.inputs[2] != in ||
        !is_float(p, op.inputs[1], 4))
      continue;
    if (readers(p, users, in) != std::vector<size_t>{writers[0]} || is_constant(op.inputs[0])) continue;
    const std::vector<int32_t>&condition = tensor(p, op.inputs[0]).dims, &row = tensor(p, op.inputs[1]).dims,
          &all = tensor(p, out).dims;
    if (tensor(p, op.inputs[0]).dtype != PITH_I32 || condition != std::vector<int32_t>{1, 1, all[2], 1} ||
        all[0] != 1 || row != std::vector<int32_t>{1, all[1], 1, all[3]})
      continue;
    found[out] = {writers[0], in, out, all[3]};
  }
  for (const ProgramPort& o : p.outputs)
    std::erase_if(
        found, [&](const auto& c) { return root_of(p, o.tensor) == c.second.in || root_of(p, o.tensor) == c.first; });
  return found;
}

bool reads_only(const ProgramOp& op) {
  return op.opcode == PITH_OPCODE_Attention && op.inputs[4] == kNone && op.outputs[1] == kNone &&
         op.outputs[2] == kNone && op.ints[0] == 0;
}

// Drops what others than attention read, or attention together with what isn't coded, until nothing changes.
void keep_attention_only(const Program& p, const Users& users, std::map<int32_t, Cache>& caches) {
  for (bool changed = true; changed;) {
    changed = false;
    for (auto at = caches.begin(); at != caches.end();) {
      const std::vector<size_t> uses = readers(p, users, at->first);
      const bool fits = !uses.empty() && std::all_of(uses.begin(), uses.end(), [&](size_t use) {
        const ProgramOp& op = p.ops[use];
        const int32_t mask = reads_only(op) ? op.inputs[3] : kNone;
        return reads_only(op) && is_float(p, op.inputs[0], 4) && tensor(p, op.inputs[0]).dims[0] == 1 &&
               caches.count(op.inputs[1]) && caches.count(op.inputs[2]) &&
               (mask == kNone || is_constant(mask) || tensor(p, mask).dtype == PITH_F32);
      });
      changed = changed || !fits;
      at = fits ? std::next(at) : caches.erase(at);
    }
  }
}

void become_rows(ProgramTensor& t, int bits) {
  t.dtype = PITH_U8;
  t.affine = {};
  t.dims[3] = numerics::cache_row_bytes(t.dims[3], bits);
}

}  // namespace

int cache_bits(const Program& p) {
  for (const ProgramOp& op : p.ops)
    if (op.opcode == PITH_OPCODE_CachedAttention) return (op.ints[0] + op.ints[1]) / 2;
  return 0;
}

Result<void> code_cache(Program& p, int bits) {
  if (const int known = cache_bits(p); known > 0) {
    if (known == bits) return {};
    return usage_error(fmt::format(
        "its keys and values are remembered in {} bits already; give --cache-bits {} where the model is compressed",
        known, bits));
  }
  const Users users = users_of(p);
  std::map<int32_t, Cache> caches = find_caches(p, users);
  keep_attention_only(p, users, caches);
  if (caches.empty())
    return usage_error(
        "--cache-bits is for models that remember keys and values from token to token, and this one has none; leave it "
        "off");
  std::set<int32_t> keys;
  for (const ProgramOp& op : p.ops)
    if (op.opcode == PITH_OPCODE_Attention) keys.insert(op.inputs[1]);
  const auto bits_of = [&](int32_t id) { return bits != 6 ? bits : keys.count(id) ? 8 : 4; };
  for (ProgramOp& op : p.ops) {
    if (op.opcode != PITH_OPCODE_Attention || !caches.count(op.inputs[1]) || !caches.count(op.inputs[2])) continue;
    op.opcode = PITH_OPCODE_CachedAttention;
    op.inputs.resize(4);
    op.outputs.resize(1);
    op.ints = {bits_of(op.inputs[1]), bits_of(op.inputs[2])};
  }
  for (const auto& [out, cache] : caches) {
    ProgramOp& op = p.ops[cache.renewal];
    op.opcode = PITH_OPCODE_RememberRows;
    op.inputs = {cache.in, op.inputs[1], op.inputs[0]};
    op.ints = {bits_of(out)};
    become_rows(p.tensors[static_cast<size_t>(cache.in)], op.ints[0]);
    become_rows(p.tensors[static_cast<size_t>(out)], op.ints[0]);
  }
  return {};
}

}  // namespace pith
