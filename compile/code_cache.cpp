// See code_cache.h.
#include "compile/code_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "compile/rows.h"
#include "compile/stream.h"
#include "compile/used_tensors.h"
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

// The scale with which `most` is at most 127 steps.
int16_t level_scale(double most) { return static_cast<int16_t>(most > 0 ? numerics::scale_code_at_least(most / 127) : 0); }

void become_rows(ProgramTensor& t, int bits) {
  t.dtype = PITH_U8;
  t.affine = {};
  t.dims[3] = numerics::cache_row_bytes(t.dims[3], bits);
}

// What can be coded, keyed by the state's new value, and which of it are keys.
struct Caches {
  std::map<int32_t, Cache> all;
  std::set<int32_t> keys;
};

Caches coded_caches(const Program& p, const Users& users) {
  Caches c{find_caches(p, users), {}};
  keep_attention_only(p, users, c.all);
  for (const ProgramOp& op : p.ops)
    if (op.opcode == PITH_OPCODE_Attention && c.all.count(op.inputs[1])) c.keys.insert(op.inputs[1]);
  return c;
}

// The rotary turn that makes a key: rows of two tables by the token's position.
struct Turn {
  size_t op;
  int32_t before, cosines, sines, position;
};

std::optional<Turn> turn_of(const Program& p, const Users& users, int32_t key) {
  const auto writer = [&](int32_t id, int opcode) -> std::optional<size_t> {
    if (is_constant(id) || tensor(p, id).alias_of != kNone) return {};
    const std::vector<size_t>& all = users.writers[static_cast<size_t>(id)];
    const bool one = all.size() == 1 && p.ops[all[0]].opcode == opcode && p.ops[all[0]].activation == numerics::Unary::kIdentity;
    return one ? std::optional(all[0]) : std::nullopt;
  };
  const auto at = writer(key, PITH_OPCODE_Rotary);
  if (!at || users.uses[static_cast<size_t>(key)].size() != 1) return {};
  const ProgramOp& turn = p.ops[*at];
  if (!is_float(p, turn.inputs[0], 4) || tensor(p, turn.inputs[0]).dims != tensor(p, key).dims) return {};
  const auto cosines = writer(turn.inputs[1], PITH_OPCODE_Gather), sines = writer(turn.inputs[2], PITH_OPCODE_Gather);
  if (!cosines || !sines) return {};
  const ProgramOp &c = p.ops[*cosines], &s = p.ops[*sines];
  for (const ProgramOp* g : {&c, &s}) {
    if (!is_constant(g->inputs[0]) || is_constant(g->inputs[1]) || g->ints != std::vector<int32_t>{0, 0, 0}) return {};
    const ProgramConstant& table = p.constants[static_cast<size_t>(g->inputs[0] - kConstantBase)];
    if ((table.dtype != PITH_F32 && table.dtype != PITH_I8) || table.dims.size() != 2) return {};
  }
  const ProgramTensor& position = tensor(p, c.inputs[1]);
  if (s.inputs[1] != c.inputs[1] || position.dtype != PITH_I32 || tensor_bytes(position) != 4) return {};
  return Turn{*at, turn.inputs[0], c.inputs[0], s.inputs[0], c.inputs[1]};
}

int32_t key_of(const Program& p, const Users& users, const Cache& cache) {
  const int32_t key = p.ops[cache.renewal].inputs[1];
  const std::optional<Turn> turn = turn_of(p, users, key);
  return turn ? turn->before : key;
}

// Levels as a constant 2,H,D: powers of two and 8-bit integers.
int32_t add_levels(Program& p, const KeyLevels& levels, int32_t heads, int32_t depth) {
  double most = 0;
  for (float v : levels.levels) most = std::max(most, std::abs(static_cast<double>(v)));
  ProgramConstant k;
  k.name = "key_levels";
  k.dims = {2, heads, depth};
  k.scale_codes = {static_cast<int16_t>(-6 * numerics::kScaleStepsPerOctave), level_scale(most)};
  for (float f : levels.factors) k.integers.push_back(static_cast<int32_t>(std::lround(f * 64)));
  for (float v : levels.levels) k.integers.push_back(static_cast<int32_t>(std::lround(static_cast<double>(v) / numerics::scale_value(k.scale_codes[1]))));
  p.constants.push_back(std::move(k));
  return kConstantBase + static_cast<int32_t>(p.constants.size()) - 1;
}

// What takes the place of keys in 4 bits: rows about their levels, the positions of their tokens, attention that turns them.
class TurnedKeys {
 public:
  TurnedKeys(Program& p, const Users& users, const std::vector<KeyLevels>& levels) : p_(p), users_(users), levels_(levels) {}

  void code(const Cache& cache, size_t index) {
    ProgramOp& renewal = p_.ops[cache.renewal];
    const std::vector<int32_t> dims = tensor(p_, renewal.inputs[1]).dims;
    const KeyLevels plain{std::vector<float>(static_cast<size_t>(dims[1] * dims[3]), 1.0f), std::vector<float>(static_cast<size_t>(dims[1] * dims[3]), 0.0f)};
    const int32_t constant = add_levels(p_, index < levels_.size() ? levels_[index] : plain, dims[1], dims[3]);
    std::vector<int32_t> operands = {constant, kNone, kNone, kNone}, how = {0, 0};
    const std::optional<Turn> turn = turn_of(p_, users_, renewal.inputs[1]);
    if (turn) {
      operands = {constant, turn->cosines, turn->sines, positions(*turn, cache, renewal.inputs[0])};
      how = p_.ops[turn->op].ints;
      for (int32_t id : {p_.ops[turn->op].inputs[1], p_.ops[turn->op].inputs[2]}) gone_.insert(id);
      gone_.insert(renewal.inputs[1]);
      renewal.inputs[1] = turn->before;
    }
    renewal.opcode = PITH_OPCODE_RememberKeys;
    renewal.inputs = {cache.in, renewal.inputs[1], renewal.inputs[0], constant};
    renewal.ints = {4};
    for (size_t use : readers(p_, users_, cache.out)) {
      ProgramOp& attention = p_.ops[use];
      attention.opcode = PITH_OPCODE_TurnedAttention;
      attention.inputs.insert(attention.inputs.end(), operands.begin(), operands.end());
      attention.ints.insert(attention.ints.end(), how.begin(), how.end());
    }
  }

  // Puts the operators in that remember positions, and drops what made turned keys and isn't read any more.
  void finish() {
    std::vector<ProgramOp> ops;
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      for (const auto& [where, op] : inserted_)
        if (where == i) ops.push_back(op);
      ops.push_back(std::move(p_.ops[i]));
    }
    p_.ops = std::move(ops);
    for (bool changed = true; changed;) {
      changed = std::erase_if(p_.ops, [&](const ProgramOp& op) {
        return op.outputs.size() == 1 && gone_.count(op.outputs[0]) && std::none_of(p_.ops.begin(), p_.ops.end(), [&](const ProgramOp& other) {
          return std::count(other.inputs.begin(), other.inputs.end(), op.outputs[0]) > 0;
        });
      }) > 0;
    }
    keep_tensors(p_, used_tensors(p_));
  }

 private:
  // The state of the positions that turn keys by the same token and condition; one for all layers as a rule.
  int32_t positions(const Turn& turn, const Cache& cache, int32_t condition) {
    const auto [at, fresh] = positions_.try_emplace({turn.position, condition});
    if (!fresh) {
      size_t& where = inserted_[at->second.second].first;
      where = std::min(where, cache.renewal);
      return at->second.first;
    }
    ProgramTensor row{"positions", PITH_I32, {1, 1, tensor(p_, cache.out).dims[2], 1}, {}, 0, kNone, 0};
    const auto add = [&](ProgramTensor t) {
      p_.tensors.push_back(std::move(t));
      return static_cast<int32_t>(p_.tensors.size()) - 1;
    };
    ProgramTensor one = tensor(p_, turn.position);
    one.alias_of = root_of(p_, turn.position);
    one.dims = {1, 1, 1, 1};
    const int32_t past = add(row), next = add(row), position = add(one);
    p_.state.emplace_back(past, next);
    ProgramOp select;
    select.opcode = PITH_OPCODE_Where;
    select.inputs = {condition, position, past};
    select.outputs = {next};
    inserted_.emplace_back(cache.renewal, std::move(select));
    at->second = {next, inserted_.size() - 1};
    return next;
  }

  Program& p_;
  const Users& users_;
  const std::vector<KeyLevels>& levels_;
  std::map<std::pair<int32_t, int32_t>, std::pair<int32_t, size_t>> positions_;  // the state's new value, and which was inserted for it
  std::vector<std::pair<size_t, ProgramOp>> inserted_;                           // before which operator
  std::set<int32_t> gone_;
};

}  // namespace

int cache_bits(const Program& p) {
  for (const ProgramOp& op : p.ops)
    if (op.opcode == PITH_OPCODE_CachedAttention || op.opcode == PITH_OPCODE_TurnedAttention) return (op.ints[0] + op.ints[1]) / 2;
  return 0;
}

std::vector<int32_t> remembered_keys(const Program& p) {
  const Users users = users_of(p);
  const Caches caches = coded_caches(p, users);
  std::vector<int32_t> found;
  for (int32_t id : caches.keys) found.push_back(key_of(p, users, caches.all.at(id)));
  return found;
}

KeyLevels key_levels(const std::vector<float>& keys, int64_t heads, int64_t depth) {
  const auto channels = static_cast<size_t>(heads * depth), n = keys.size() / channels;
  std::vector<double> mean(channels, 0.0), spread(channels, 0.0);
  for (size_t i = 0; i < n * channels; ++i) mean[i % channels] += static_cast<double>(keys[i]) / static_cast<double>(n);
  for (size_t i = 0; i < n * channels; ++i) spread[i % channels] += std::pow(static_cast<double>(keys[i]) - mean[i % channels], 2);
  double most = 0;
  for (double m : mean) most = std::max(most, std::abs(m));
  const double step = numerics::scale_value(level_scale(most));
  KeyLevels found;
  for (size_t i = 0; i < channels; ++i) {
    const auto head = spread.begin() + static_cast<int64_t>(i / static_cast<size_t>(depth)) * depth;
    const double widest = *std::max_element(head, head + depth), own = std::max(spread[i], widest * 1e-9);
    const double octaves = widest > 0 ? std::clamp(std::round(std::log2(widest / own) / 2), 0.0, 6.0) : 0;
    found.factors.push_back(static_cast<float>(std::exp2(-octaves)));
    found.levels.push_back(static_cast<float>(std::round(mean[i] / step) * step));
  }
  return found;
}

Result<void> code_cache(Program& p, const CompileOptions& options) {
  const int bits = options.cache_bits;
  if (const int known = cache_bits(p); known > 0) {
    if (known == bits) return {};
    return usage_error(fmt::format(
        "its keys and values are remembered in {} bits already; give --cache-bits {} where the model is compressed",
        known, bits));
  }
  const Users users = users_of(p);
  const Caches caches = coded_caches(p, users);
  if (caches.all.empty())
    return usage_error(
        "--cache-bits is for models that remember keys and values from token to token, and this one has none; leave it "
        "off");
  const auto bits_of = [&](int32_t id) { return bits != 6 ? bits : caches.keys.count(id) ? 8 : 4; };
  for (ProgramOp& op : p.ops) {
    if (op.opcode != PITH_OPCODE_Attention || !caches.all.count(op.inputs[1]) || !caches.all.count(op.inputs[2])) continue;
    op.opcode = PITH_OPCODE_CachedAttention;
    op.inputs.resize(4);
    op.outputs.resize(1);
    op.ints = {bits_of(op.inputs[1]), bits_of(op.inputs[2])};
  }
  TurnedKeys turned(p, users, options.key_levels);
  size_t index = 0;
  for (const auto& [out, cache] : caches.all) {
    if (bits == 4 && caches.keys.count(out)) {
      turned.code(cache, index++);
    } else {
      ProgramOp& op = p.ops[cache.renewal];
      op.opcode = PITH_OPCODE_RememberRows;
      op.inputs = {cache.in, op.inputs[1], op.inputs[0]};
      op.ints = {bits_of(out)};
    }
    become_rows(p.tensors[static_cast<size_t>(cache.in)], bits_of(out));
    become_rows(p.tensors[static_cast<size_t>(out)], bits_of(out));
  }
  turned.finish();
  return {};
}

}  // namespace pith
