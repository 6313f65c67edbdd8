#include "sim/timing/copies.h"

#include <algorithm>

#include "program/schema.h"

namespace pith::sim {
namespace {

bool touches(const std::vector<Span>& spans, const Span& s) {
  return std::any_of(spans.begin(), spans.end(), [&](const Span& x) { return x.overlaps(s); });
}

class Rider {
 public:
  Rider(const Program& p, Work& w) : p_(p), w_(w) {}

  // The operator that made the copy's source, if the copy can ride on it; -1 otherwise.
  int producer(size_t copy) const {
    const ProgramOp& op = p_.ops[copy];
    if (op.opcode != PITH_OPCODE_Copy || is_constant(op.inputs[0]) || w_.ops[copy].jobs.empty()) return -1;
    const ProgramTensor &x = tensor(op.inputs[0]), &y = tensor(op.outputs[0]);
    if (op.activation != numerics::Unary::kIdentity || x.dtype != y.dtype || x.affine != y.affine) return -1;
    int64_t moved = x.dtype == PITH_U8 ? 1 : 4;
    for (int k = 0; k < op.ints[format::kCopyRank]; ++k)
      moved *= op.ints[static_cast<size_t>(format::kCopyExtents + k)];
    const Span source = w_.ops[copy].reads[0], target = w_.ops[copy].writes[0];
    if (moved != source.end - source.begin) return -1;
    for (size_t i = copy; i-- > 0;) {
      const OpWork& o = w_.ops[i];
      if (touches(o.writes, source)) {
        const bool makes = o.writes.size() == 1 && o.writes[0].begin == source.begin && o.writes[0].end == source.end;
        const bool able = o.unit == UnitKind::kCores || o.unit == UnitKind::kVector || o.unit == UnitKind::kMatmul ||
                          o.unit == UnitKind::kDma;
        return makes && able && o.opcode != PITH_OPCODE_Fill && !o.jobs.empty() && !touches(o.reads, target)
                   ? static_cast<int>(i)
                   : -1;
      }
      const bool same_concatenation =
          (o.opcode == PITH_OPCODE_Copy || o.opcode == PITH_OPCODE_Fill) && p_.ops[i].outputs == op.outputs;
      if (!same_concatenation && (touches(o.reads, target) || touches(o.writes, target))) return -1;
    }
    return -1;
  }

  // Does anything but the copy read what the producer made, or does it leave the network?
  bool read_elsewhere(size_t producer, size_t copy) const {
    const Span s = w_.ops[copy].reads[0];
    for (size_t i = producer + 1; i < w_.ops.size(); ++i) {
      if (i != copy && touches(w_.ops[i].reads, s)) return true;
      if (touches(w_.ops[i].writes, s)) return false;
    }
    return touches(w_.outputs, s);
  }

  void ride(size_t producer, size_t copy) {
    OpWork &from = w_.ops[producer], &o = w_.ops[copy];
    if (read_elsewhere(producer, copy)) {
      from.counts.toggled_bytes +=
          o.counts.write_bytes * o.counts.toggled_bytes / std::max(o.counts.read_bytes + o.counts.write_bytes, 1.0);
      const double share = o.counts.write_bytes / std::max(from.counts.write_bytes, 1.0);
      for (Job& j : from.jobs) j.write_bytes *= 1 + share;
      from.counts.write_bytes *= 1 + share;
      from.writes.push_back(o.writes[0]);
    } else {
      from.writes = o.writes;
    }
    o.jobs.clear(), o.reads.clear(), o.writes.clear();
    o.counts = {};
    o.mapping = "rides";
  }

 private:
  const ProgramTensor& tensor(int32_t id) const { return p_.tensors[static_cast<size_t>(id)]; }
  const Program& p_;
  Work& w_;
};

}  // namespace

int ride_copies(const Program& program, Work& work) {
  Rider rider(program, work);
  int rode = 0;
  for (size_t i = 0; i < work.ops.size(); ++i) {
    const int producer = rider.producer(i);
    if (producer < 0) continue;
    rider.ride(static_cast<size_t>(producer), i);
    ++rode;
  }
  return rode;
}

}  // namespace pith::sim
