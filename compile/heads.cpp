// See heads.h. What is looked for: q, k and v are Dense, each followed by a Copy that puts heads first; MatMul, element-wise
// operators and Softmax, MatMul, or one Attention on 8-bit codes; a Copy that puts tokens first again. Copies are compared by
// what they do, element by element.
#include "compile/heads.h"

#include <algorithm>
#include <map>

#include "compile/used_tensors.h"
#include "program/schema.h"

namespace pith {
namespace {

using Dims = std::vector<int32_t>;

struct Projection {
  size_t dense = 0, copy = 0;
  std::optional<size_t> convert;  // between them
};
struct Heads {
  int32_t heads = 0, tokens = 0, depth = 0;
  Projection q, k, v;
  size_t scores = 0, mixture = 0, last = 0;  // operators
  std::vector<size_t> between;
  bool whole = false;  // one Attention is both scores and mixture
  std::optional<size_t> convert;  // of the mixture
};

class Splitter {
 public:
  explicit Splitter(const Program& p) : p_(p), makers_(p.tensors.size()), users_(p.tensors.size()) {
    for (size_t i = 0; i < p.ops.size(); ++i) {
      for (int32_t id : p.ops[i].inputs)
        if (id != kNone && !is_constant(id)) users_[root(id)].push_back(i);
      for (int32_t id : p.ops[i].outputs)
        if (id != kNone) makers_[root(id)].push_back(i);
    }
    for (const auto* ports : {&p.inputs, &p.outputs})
      for (const ProgramPort& port : *ports) users_[root(port.tensor)].push_back(p.ops.size());
    for (const auto& [in, out] : p.state)
      for (int32_t id : {in, out}) users_[root(id)].push_back(p.ops.size());
  }

  std::optional<Program> run() {
    std::map<size_t, Heads> at;  // by the place where the last projection stands
    std::vector<char> gone(p_.ops.size(), 0);
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      const std::optional<Heads> h = find(i);
      if (!h) continue;
      for (const Projection& x : {h->q, h->k, h->v}) {
        gone[x.dense] = gone[x.copy] = 1;
        if (x.convert) gone[*x.convert] = 1;
      }
      if (h->convert) gone[*h->convert] = 1;
      for (size_t op : h->between) gone[op] = 1;
      gone[h->scores] = gone[h->mixture] = gone[h->last] = 1;
      at[h->last] = *h;
    }
    if (at.empty()) return std::nullopt;
    out_ = p_;
    out_.ops.clear();
    for (size_t i = 0; i < p_.ops.size(); ++i) {
      if (!gone[i]) out_.ops.push_back(p_.ops[i]);
      if (const auto h = at.find(i); h != at.end()) flatten(h->second);
      if (const auto h = at.find(i); h != at.end())
        for (int32_t k = 0; k < h->second.heads; ++k) emit(h->second, k);
    }
    for (ProgramOp& op : out_.ops)
      for (int32_t& id : op.inputs)
        if (const auto to = flat_.find(id); to != flat_.end()) id = to->second;
    drop_unused();
    return std::move(out_);
  }

 private:
  // What the heads write is tokens x channels, whatever it was called before.
  void flatten(const Heads& h) {
    const int32_t joined = p_.ops[h.last].outputs[0];
    const Dims dims = {h.tokens, h.heads * h.depth};
    ProgramTensor old = tensor(joined);
    for (size_t t = 0; t < p_.tensors.size(); ++t)
      if (p_.tensors[t].alias_of == joined && p_.tensors[t].dims == dims && p_.tensors[t].alias_offset == 0) flat_[static_cast<int32_t>(t)] = joined;
    out_.tensors[static_cast<size_t>(joined)].dims = dims;
    const bool itself = std::any_of(users_[static_cast<size_t>(joined)].begin(), users_[static_cast<size_t>(joined)].end(), [&](size_t user) {
      return std::count(p_.ops[user].inputs.begin(), p_.ops[user].inputs.end(), joined) > 0;
    });
    if (!itself || old.dims == dims) return;  // those who read it under its old dimensions go on doing so
    old.alias_of = joined;
    out_.tensors.push_back(std::move(old));
    flat_[joined] = static_cast<int32_t>(out_.tensors.size() - 1);
  }

  size_t root(int32_t id) const { return static_cast<size_t>(root_of(p_, id)); }
  const ProgramTensor& tensor(int32_t id) const { return p_.tensors[static_cast<size_t>(id)]; }
  const ProgramConstant& constant(int32_t id) const { return p_.constants[static_cast<size_t>(id - kConstantBase)]; }
  // All of a tensor under other dimensions is that tensor.
  int32_t whole(int32_t id) const {
    const ProgramTensor& t = tensor(id);
    return t.alias_of != kNone && t.alias_offset == 0 && count(t.dims) == count(tensor(t.alias_of).dims) ? t.alias_of : id;
  }
  // The one operator that makes a tensor which `user` alone reads.
  std::optional<size_t> maker(int32_t id, size_t user) const {
    if (id == kNone || is_constant(id)) return std::nullopt;
    id = whole(id);
    if (tensor(id).alias_of != kNone) return std::nullopt;
    const auto &m = makers_[static_cast<size_t>(id)], &u = users_[static_cast<size_t>(id)];
    if (m.size() != 1 || u != std::vector<size_t>{user}) return std::nullopt;
    return m[0];
  }
  std::optional<size_t> user(int32_t id) const {
    if (tensor(id).alias_of != kNone) return std::nullopt;
    const auto& u = users_[static_cast<size_t>(id)];
    if (u.size() != 1 || u[0] >= p_.ops.size() || makers_[static_cast<size_t>(id)].size() != 1) return std::nullopt;
    return u[0];
  }

  // For each element of a Copy's target, the element of its source.
  std::vector<int64_t> sources(const ProgramOp& op) const {
    const auto& v = op.ints;
    std::vector<int64_t> all(count(tensor(op.outputs[0]).dims), -1);
    std::vector<int32_t> at(static_cast<size_t>(v[format::kCopyRank]), 0);
    for (bool more = true; more;) {
      int64_t from = v[format::kCopySourceOffset], to = v[format::kCopyTargetOffset];
      for (size_t i = 0; i < at.size(); ++i) {
        from += int64_t{at[i]} * v[format::kCopySourceStrides + i];
        to += int64_t{at[i]} * v[format::kCopyTargetStrides + i];
      }
      all[static_cast<size_t>(to)] = from;
      more = false;
      for (size_t i = at.size(); i-- > 0 && !more;) {
        more = ++at[i] < v[format::kCopyExtents + i];
        if (!more) at[i] = 0;
      }
    }
    return all;
  }
  static size_t count(const Dims& dims) {
    size_t n = 1;
    for (int32_t d : dims) n *= static_cast<size_t>(d);
    return n;
  }

  enum class Layout { kTokensDepth, kDepthTokens };
  // Dense on tokens x channels, then a Copy to heads x (tokens x depth or depth x tokens).
  std::optional<Projection> projection(int32_t id, size_t user, const Heads& h, Layout layout) const {
    const auto copy = maker(id, user);
    if (!copy || p_.ops[*copy].opcode != PITH_OPCODE_Copy) return std::nullopt;
    Projection found{0, *copy, std::nullopt};
    int32_t from = p_.ops[*copy].inputs[0];
    if (tensor(whole(from)).affine != tensor(id).affine || tensor(from).dtype != tensor(id).dtype) return std::nullopt;
    auto dense = maker(from, *copy);
    if (dense && p_.ops[*dense].opcode == PITH_OPCODE_Convert) {
      found.convert = *dense;
      from = p_.ops[*dense].inputs[0];
      dense = maker(from, *dense);
    }
    from = is_constant(from) ? from : whole(from);
    if (!dense || p_.ops[*dense].opcode != PITH_OPCODE_Dense || !is_constant(p_.ops[*dense].inputs[1])) return std::nullopt;
    const int32_t bias = p_.ops[*dense].inputs[2], wide = h.heads * h.depth;
    const Dims& made = tensor(from).dims;
    if ((bias != kNone && !is_constant(bias)) || made.back() != wide || count(made) != static_cast<size_t>(h.tokens) * static_cast<size_t>(wide)) return std::nullopt;
    if (constant(p_.ops[*dense].inputs[1]).dtype != PITH_I8 || root(p_.ops[*dense].inputs[0]) == root(from)) return std::nullopt;
    const std::vector<int64_t> source = sources(p_.ops[*copy]);
    size_t i = 0;
    for (int64_t head = 0; head < h.heads; ++head) {
      const int64_t rows = layout == Layout::kTokensDepth ? h.tokens : h.depth, columns = layout == Layout::kTokensDepth ? h.depth : h.tokens;
      for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < columns; ++c, ++i) {
          const int64_t token = layout == Layout::kTokensDepth ? r : c, channel = layout == Layout::kTokensDepth ? c : r;
          if (source[i] != token * wide + head * h.depth + channel) return std::nullopt;
        }
      }
    }
    found.dense = *dense;
    return found;
  }

  static bool plain(const ProgramOp& op) { return op.inputs[2] == kNone && op.ints[0] == 0 && op.ints[1] == 0; }

  // Operator i, an Attention whose heads see all keys.
  std::optional<Heads> find_whole(size_t i) const {
    const ProgramOp& op = p_.ops[i];
    const Dims& a = tensor(op.inputs[0]).dims;
    if (tensor(op.outputs[0]).dtype != PITH_U8 || a.size() != 4 || a[0] != 1 || a[1] < 2 || tensor(op.inputs[1]).dims != a || tensor(op.inputs[2]).dims != a || tensor(op.outputs[0]).dims != a) return std::nullopt;
    if (const int32_t mask = op.inputs[3]; mask != kNone) {
      const Dims& m = is_constant(mask) ? constant(mask).dims : tensor(mask).dims;
      if (m.size() >= 3 && m[m.size() - 3] != 1) return std::nullopt;
    }
    Heads h;
    h.heads = a[1], h.tokens = a[2], h.depth = a[3], h.scores = h.mixture = i, h.whole = true;
    const auto q = projection(op.inputs[0], i, h, Layout::kTokensDepth), k = projection(op.inputs[1], i, h, Layout::kTokensDepth), v = projection(op.inputs[2], i, h, Layout::kTokensDepth);
    if (!q || !k || !v) return std::nullopt;
    h.q = *q, h.k = *k, h.v = *v;
    return joined(h) ? std::optional(h) : std::nullopt;
  }

  // Finds the Copy that puts tokens first again; false where there is none.
  bool joined(Heads& h) const {
    const ProgramOp& mix = p_.ops[h.mixture];
    auto last = user(mix.outputs[0]);
    int32_t mixed = mix.outputs[0];
    if (last && p_.ops[*last].opcode == PITH_OPCODE_Convert) {
      h.convert = *last;
      mixed = p_.ops[*last].outputs[0];
      last = user(mixed);
    }
    if (!last || p_.ops[*last].opcode != PITH_OPCODE_Copy) return false;
    h.last = *last;
    const int32_t joined = p_.ops[h.last].outputs[0];
    const auto& readers = users_[static_cast<size_t>(joined)];
    if (tensor(joined).alias_of != kNone || (!readers.empty() && readers.back() == p_.ops.size()) || makers_[static_cast<size_t>(joined)].size() != 1 || tensor(joined).affine != tensor(mixed).affine) return false;
    if (count(tensor(joined).dims) != count(tensor(mix.outputs[0]).dims)) return false;
    const std::vector<int64_t> source = sources(p_.ops[h.last]);
    size_t e = 0;
    for (int64_t token = 0; token < h.tokens; ++token)
      for (int64_t head = 0; head < h.heads; ++head)
        for (int64_t c = 0; c < h.depth; ++c, ++e)
          if (source[e] != (head * h.tokens + token) * h.depth + c) return false;
    return true;
  }

  // The attention whose scores operator i makes.
  std::optional<Heads> find(size_t i) const {
    const ProgramOp& op = p_.ops[i];
    if (op.opcode == PITH_OPCODE_Attention) return find_whole(i);
    if (op.opcode != PITH_OPCODE_MatMul || !plain(op) || is_constant(op.inputs[0])) return std::nullopt;
    const Dims &a = tensor(op.inputs[0]).dims, &y = tensor(op.outputs[0]).dims;
    if (a.size() != 3 || a[0] < 2 || y != Dims{a[0], a[1], a[1]}) return std::nullopt;
    Heads h;
    h.heads = a[0], h.tokens = a[1], h.depth = a[2], h.scores = i;
    const auto q = projection(op.inputs[0], i, h, Layout::kTokensDepth), k = projection(op.inputs[1], i, h, Layout::kDepthTokens);
    if (!q || !k) return std::nullopt;
    h.q = *q, h.k = *k;
    bool softmax = false;
    auto next = user(op.outputs[0]);
    for (; next && p_.ops[*next].opcode != PITH_OPCODE_MatMul; next = user(p_.ops[*next].outputs[0])) {
      if (!element_wise(p_.ops[*next], y)) return std::nullopt;
      softmax = softmax || p_.ops[*next].opcode == PITH_OPCODE_Softmax;
      h.between.push_back(*next);
    }
    if (!next || !softmax) return std::nullopt;
    h.mixture = *next;
    const ProgramOp& mix = p_.ops[h.mixture];
    const int32_t probabilities = h.between.empty() ? op.outputs[0] : p_.ops[h.between.back()].outputs[0];
    if (!plain(mix) || mix.inputs[0] != probabilities || mix.inputs[1] == probabilities) return std::nullopt;
    const auto v = projection(mix.inputs[1], h.mixture, h, Layout::kTokensDepth);
    if (!v) return std::nullopt;
    h.v = *v;
    return joined(h) ? std::optional(h) : std::nullopt;
  }

  bool element_wise(const ProgramOp& op, const Dims& dims) const {
    if (tensor(op.outputs[0]).dims != dims || is_constant(op.inputs[0]) || tensor(op.inputs[0]).dims != dims) return false;
    if (op.opcode == PITH_OPCODE_Softmax) return op.ints[1] == 2;
    if (op.opcode == PITH_OPCODE_Binary) return is_constant(op.inputs[1]) && count(constant(op.inputs[1]).dims) == 1;
    return op.opcode == PITH_OPCODE_Convert || op.opcode == PITH_OPCODE_Unary;
  }

  int32_t new_tensor(const ProgramTensor& like, Dims dims, int32_t head) {
    ProgramTensor t = like;
    t.name += " head " + std::to_string(head);
    t.dims = std::move(dims);
    t.alias_of = kNone;
    t.alias_offset = 0;
    out_.tensors.push_back(std::move(t));
    return static_cast<int32_t>(out_.tensors.size() - 1);
  }
  int32_t new_constant(ProgramConstant k) {
    out_.constants.push_back(std::move(k));
    return kConstantBase + static_cast<int32_t>(out_.constants.size() - 1);
  }

  // Rows [first, first + rows) of a constant.
  int32_t rows_of(int32_t id, int32_t first, int32_t rows, int32_t head) {
    if (id == kNone) return kNone;
    const ProgramConstant& all = constant(id);
    ProgramConstant k = all;
    k.name += " head " + std::to_string(head);
    k.dims[0] = rows;
    const size_t row = count(all.dims) / static_cast<size_t>(all.dims[0]), from = static_cast<size_t>(first) * row, to = from + static_cast<size_t>(rows) * row;
    const auto part = [](auto& values, size_t begin, size_t end) {
      if (values.size() >= end) values = {values.begin() + static_cast<ptrdiff_t>(begin), values.begin() + static_cast<ptrdiff_t>(end)};
    };
    part(k.integers, from, to);
    part(k.reals, from, to);
    if (all.scale_codes.size() > 1) part(k.scale_codes, static_cast<size_t>(first), static_cast<size_t>(first + rows));
    return new_constant(std::move(k));
  }

  int32_t project(const Projection& x, const Heads& h, int32_t head) {
    ProgramOp op = p_.ops[x.dense];
    op.inputs[1] = rows_of(op.inputs[1], head * h.depth, h.depth, head);
    op.inputs[2] = rows_of(op.inputs[2], head * h.depth, h.depth, head);
    Dims dims = tensor(op.outputs[0]).dims;
    dims.back() = h.depth;
    op.outputs[0] = new_tensor(tensor(op.outputs[0]), std::move(dims), head);
    out_.ops.push_back(op);
    return x.convert ? converted(*x.convert, op.outputs[0], h, head) : op.outputs[0];
  }

  int32_t converted(size_t convert, int32_t from, const Heads& h, int32_t head) {
    ProgramOp op = p_.ops[convert];
    op.inputs[0] = from;
    op.outputs[0] = new_tensor(tensor(op.outputs[0]), {h.tokens, h.depth}, head);
    out_.ops.push_back(op);
    return op.outputs[0];
  }

  // One head of an Attention.
  int32_t attend(const Heads& h, int32_t head) {
    ProgramOp op = p_.ops[h.scores];
    const auto as_head = [&](int32_t id) {
      ProgramTensor t = out_.tensors[static_cast<size_t>(id)];
      t.dims = {1, 1, h.tokens, h.depth};
      t.alias_of = id;
      t.alias_offset = 0;
      out_.tensors.push_back(std::move(t));
      return static_cast<int32_t>(out_.tensors.size() - 1);
    };
    const int32_t q = project(h.q, h, head), k = project(h.k, h, head), v = project(h.v, h, head);
    op.inputs[0] = as_head(q), op.inputs[1] = as_head(k), op.inputs[2] = as_head(v);
    op.outputs[0] = new_tensor(tensor(op.outputs[0]), {1, 1, h.tokens, h.depth}, head);
    out_.ops.push_back(op);
    return op.outputs[0];
  }

  // One head of two products with what stands between them.
  int32_t multiply(const Heads& h, int32_t head) {
    ProgramOp op = p_.ops[h.scores];
    const int32_t q = project(h.q, h, head), k = project(h.k, h, head);
    op.inputs = {q, k, kNone};
    op.ints = {0, 1};
    op.outputs[0] = new_tensor(tensor(op.outputs[0]), {h.tokens, h.tokens}, head);
    out_.ops.push_back(op);
    int32_t x = op.outputs[0];
    for (size_t i : h.between) {
      ProgramOp each = p_.ops[i];
      each.inputs[0] = x;
      if (each.opcode == PITH_OPCODE_Softmax) each.ints[1] = 1;
      if (each.opcode == PITH_OPCODE_Binary) {
        ProgramConstant one = constant(each.inputs[1]);
        one.dims = {1, 1};
        each.inputs[1] = new_constant(std::move(one));
      }
      x = each.outputs[0] = new_tensor(tensor(each.outputs[0]), {h.tokens, h.tokens}, head);
      out_.ops.push_back(each);
    }
    ProgramOp mix = p_.ops[h.mixture];
    const int32_t v = project(h.v, h, head);
    mix.inputs = {x, v, kNone};
    mix.outputs[0] = new_tensor(tensor(mix.outputs[0]), {h.tokens, h.depth}, head);
    out_.ops.push_back(mix);
    return mix.outputs[0];
  }

  void emit(const Heads& h, int32_t head) {
    const int32_t mixed = h.whole ? attend(h, head) : multiply(h, head);
    ProgramOp copy = p_.ops[h.last];
    copy.inputs[0] = h.convert ? converted(*h.convert, mixed, h, head) : mixed;
    copy.ints.assign(21, 0);
    copy.ints[format::kCopyRank] = 2;
    for (size_t i = 0; i < PITH_MAX_RANK; ++i) copy.ints[format::kCopyExtents + i] = 1;
    copy.ints[format::kCopyExtents] = h.tokens, copy.ints[format::kCopyExtents + 1] = h.depth;
    copy.ints[format::kCopySourceStrides] = h.depth, copy.ints[format::kCopySourceStrides + 1] = 1;
    copy.ints[format::kCopyTargetOffset] = head * h.depth;
    copy.ints[format::kCopyTargetStrides] = h.heads * h.depth, copy.ints[format::kCopyTargetStrides + 1] = 1;
    out_.ops.push_back(copy);
  }

  // Constants and tensors that no operator names any more.
  void drop_unused() {
    keep_tensors(out_, used_tensors(out_));
    const auto each_constant = [&](const auto& f) {
      for (ProgramOp& op : out_.ops)
        for (int32_t& id : op.inputs)
          if (id != kNone && is_constant(id)) f(id);
    };
    std::vector<int32_t> number(out_.constants.size(), kNone);
    each_constant([&](int32_t id) { number[static_cast<size_t>(id - kConstantBase)] = 0; });
    std::vector<ProgramConstant> kept;
    for (size_t i = 0; i < number.size(); ++i) {
      if (number[i] == kNone) continue;
      number[i] = kConstantBase + static_cast<int32_t>(kept.size());
      kept.push_back(std::move(out_.constants[i]));
    }
    out_.constants = std::move(kept);
    each_constant([&](int32_t& id) { id = number[static_cast<size_t>(id - kConstantBase)]; });
  }

  const Program& p_;
  Program out_;
  std::map<int32_t, int32_t> flat_;  // operands to replace
  std::vector<std::vector<size_t>> makers_, users_;  // of each tensor that is no alias; the program's end: ops.size()
};

}  // namespace

std::optional<Program> split_heads(const Program& program) { return Splitter(program).run(); }

}  // namespace pith
