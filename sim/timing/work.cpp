#include "sim/timing/work.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "program/schema.h"
#include "sim/timing/copies.h"
#include "sim/timing/cores.h"

namespace pith::sim {
namespace {

constexpr double kDecodeOperations = 20;  // of a vector unit, for a value of a row in coded form

int64_t count(const std::vector<int32_t>& dims) {
  int64_t n = 1;
  for (int32_t d : dims) n *= d;
  return n;
}

struct View {
  const std::vector<int32_t>* dims = nullptr;
  int dtype = -1;
  int64_t elements() const { return dims ? count(*dims) : 0; }
  double bytes() const { return static_cast<double>(elements()) * (dtype == PITH_U8 || dtype == PITH_I8 ? 1 : 4); }
};

class Planner {
 public:
  Planner(const Program& p, const chip::Device& d, const WorkOptions& o) : p_(p), d_(d), o_(o), rows_(row_ports(p)), values_(p.tensors.size()) {}

  Result<Work> plan() {
    for (const ProgramOp& op : p_.ops) {
      OpWork w;
      w.opcode = op.opcode;
      w.name = format::kOpcodeNames[op.opcode];
      ranges(op, w);
      follow_values(op);
      shape(op, w);
      if (w.unit != UnitKind::kCores) {
        const double in = op.inputs.empty() ? 1 : activity(op.inputs[0]).inputs, out = op.outputs.empty() ? 1 : activity(op.outputs[0]).inputs;
        w.counts.toggled_bytes = w.counts.read_bytes * in + w.counts.write_bytes * out;
      }
      work_.ops.push_back(std::move(w));
      work_.memory.weight_of_op.push_back(weights_);
      const auto constant = std::find_if(op.inputs.begin(), op.inputs.end(), is_constant);
      weight_key_.push_back(weights_.end > 0 && constant != op.inputs.end() ? *constant : kNone);
    }
    if (!missing_.empty())
      return error(ErrorCode::kUnsupported, fmt::format("'{}' has no unit for {}; take a device with compute.matmul_macs above 0 (ergo2)", d_.name, fmt::join(missing_, ", ")));
    place_weights();
    for (size_t i = 0; i < p_.inputs.size(); ++i) {
      if (rows_.inputs[i] > 0) continue;
      work_.inputs.push_back(span(p_.inputs[i].tensor));
      work_.input_bytes += view(p_.inputs[i].tensor).bytes();
    }
    for (size_t i = 0; i < p_.outputs.size(); ++i) {
      if (rows_.outputs[i] > 0) continue;
      work_.outputs.push_back(span(p_.outputs[i].tensor));
      work_.output_elements += static_cast<double>(view(p_.outputs[i].tensor).elements());
    }
    if (o_.copies_ride) ride_copies(p_, work_);
    if (!d_.unified()) hand_over_outputs();
    return std::move(work_);
  }

 private:
  View view(int32_t id) const {
    if (id == kNone) return {};
    if (is_constant(id)) return {&p_.constants[static_cast<size_t>(id - kConstantBase)].dims, p_.constants[static_cast<size_t>(id - kConstantBase)].dtype};
    return {&p_.tensors[static_cast<size_t>(id)].dims, p_.tensors[static_cast<size_t>(id)].dtype};
  }

  Span span(int32_t id) const {
    const int64_t offset = p_.tensors[static_cast<size_t>(id)].offset;
    return {offset, offset + static_cast<int64_t>(view(id).bytes())};
  }

  // Values after ReLU are half zeros, after SiLU and its like small; what only moves or pools values keeps their kind.
  enum class Values : uint8_t { kAny, kRelu, kSmooth };
  int32_t root(int32_t id) const { return root_of(p_, id); }
  void follow_values(const ProgramOp& op) {
    const numerics::Unary f = op.activation;
    const bool moves = op.opcode == PITH_OPCODE_Copy || op.opcode == PITH_OPCODE_Pool2d || op.opcode == PITH_OPCODE_Resize2d || op.opcode == PITH_OPCODE_Convert;
    Values kind = Values::kAny;
    if (f == numerics::Unary::kRelu || (f == numerics::Unary::kClip && op.a >= 0)) {
      kind = Values::kRelu;
    } else if (f != numerics::Unary::kIdentity && f != numerics::Unary::kClip) {
      kind = Values::kSmooth;
    } else if (moves && !is_constant(op.inputs[0])) {
      kind = values_[static_cast<size_t>(root(op.inputs[0]))];
    }
    for (int32_t id : op.outputs) {
      if (id != kNone) values_[static_cast<size_t>(root(id))] = kind;
    }
  }
  Activity activity(int32_t id) const {
    if (id == kNone || is_constant(id)) return {};
    const Values kind = values_[static_cast<size_t>(root(id))];
    if (kind == Values::kRelu) return {d_.activity_relu_inputs, d_.activity_relu_adds};
    return kind == Values::kSmooth ? Activity{d_.activity_smooth_inputs, d_.activity_smooth_adds} : Activity{};
  }

  void ranges(const ProgramOp& op, OpWork& w) const {
    for (int32_t id : op.inputs) {
      if (id != kNone && !is_constant(id)) w.reads.push_back(span(id));
    }
    for (int32_t id : op.outputs) {
      if (id != kNone) w.writes.push_back(span(id));
    }
  }

  void shape(const ProgramOp& op, OpWork& w) {
    if (op.opcode == PITH_OPCODE_RowsIn || op.opcode == PITH_OPCODE_RowsOut) return hand_rows(op, w);
    const View x = op.inputs.empty() ? View{} : view(op.inputs[0]), y = view(op.outputs[0] != kNone ? op.outputs[0] : op.outputs.back());
    const bool codes = y.dtype == PITH_U8;
    const double in = x.bytes(), out = y.bytes();
    weights_ = {};
    w.macs = op_macs(p_, op);
    const auto elements = static_cast<double>(y.elements());
    switch (op.opcode) {
      case PITH_OPCODE_Conv2d: case PITH_OPCODE_ConvTranspose2d: case PITH_OPCODE_Dense:
        if (x.dtype == PITH_U8 && is_constant(op.inputs[1])) return on_cores(op, w);
        stored(op, 4);
        return spread(w, UnitKind::kFloat, 2 * static_cast<double>(w.macs), in, out);
      case PITH_OPCODE_MatMul:
      case PITH_OPCODE_Attention:
      case PITH_OPCODE_CachedAttention:
      case PITH_OPCODE_TurnedAttention:
        if (d_.compute_matmul_macs == 0) missing_.insert(w.name + " (activation x activation)");
        if (!codes) return spread(w, UnitKind::kFloat, 2 * static_cast<double>(w.macs), in + view(op.inputs[1]).bytes(), out);
        return spread(w, UnitKind::kMatmul, static_cast<double>(w.macs), matmul_reads(op), out);
      case PITH_OPCODE_Recurrent:
        stored(op, 1);
        return spread(w, UnitKind::kFloat, 2 * static_cast<double>(w.macs), in, out);
      case PITH_OPCODE_Pool2d: {
        const double taps = op.ints[0] == 0 ? op.ints[1] + op.ints[2] : static_cast<double>(op.ints[1]) * op.ints[2];
        return spread(w, codes ? UnitKind::kVector : UnitKind::kFloat, elements * taps, std::max(in, out), out);
      }
      case PITH_OPCODE_Reduce: case PITH_OPCODE_ArgReduce:
        return spread(w, x.dtype == PITH_U8 ? UnitKind::kVector : UnitKind::kFloat, static_cast<double>(x.elements()), in, out);
      case PITH_OPCODE_Copy: case PITH_OPCODE_Fill: case PITH_OPCODE_Gather:
        return moves(op, w, elements);
      case PITH_OPCODE_Resize2d:
        if (op.ints[0] == PITH_RESIZE_NEAREST) return moves(op, w, elements);
        return spread(w, codes ? UnitKind::kVector : UnitKind::kFloat, 3 * elements, 4 * out, out);
      case PITH_OPCODE_Unary: case PITH_OPCODE_Binary: case PITH_OPCODE_Where: {
        double all = 0;
        for (int32_t id : op.inputs) all += view(id).bytes();
        return spread(w, codes ? UnitKind::kVector : UnitKind::kFloat, (codes || op.opcode != PITH_OPCODE_Unary ? 1 : 10) * elements, all, out);
      }
      case PITH_OPCODE_Convert:
        return spread(w, codes && x.dtype == PITH_U8 ? UnitKind::kVector : UnitKind::kFloat, 2 * elements, in, out);
      // some twenty integer operations a value, and the writer walks a row five times to find its step
      case PITH_OPCODE_CodedConv2d: {
        on_cores(op, w);
        const double decoding = kDecodeOperations * static_cast<double>(y.elements() / (*y.dims)[3] * (*view(op.inputs[1]).dims)[3]);
        w.counts.vector_ops += decoding;
        for (Job& job : w.jobs) job.results += decoding / static_cast<double>(w.jobs.size());
        return;
      }
      case PITH_OPCODE_EncodeRows: case PITH_OPCODE_EncodeLiftedRows:
        return spread(w, UnitKind::kVector, 100 * static_cast<double>(x.elements()), 5 * in, out);
      case PITH_OPCODE_DecodeRows: case PITH_OPCODE_DecodeLiftedRows:
        return spread(w, UnitKind::kVector, kDecodeOperations * elements, in, out);
      case PITH_OPCODE_RememberRows:
      case PITH_OPCODE_RememberKeys:  // one row of each head; the others stay where they are
        return spread(w, UnitKind::kFloat, 20 * static_cast<double>(view(op.inputs[1]).elements()),
                      view(op.inputs[1]).bytes(), out / std::max(1, (*y.dims)[2]));
      case PITH_OPCODE_Softmax:
        return spread(w, UnitKind::kFloat, 14 * elements, in, out);
      default:  // normalisations and what is rare
        return spread(w, UnitKind::kFloat, 8 * elements, in, out);
    }
  }

  // Constant weights that no core takes: their bytes lie in memory all the same.
  void stored(const ProgramOp& op, int64_t bytes) {
    int64_t all = 0;
    for (int32_t id : op.inputs) {
      if (id != kNone && is_constant(id)) all += view(id).elements() * bytes;
    }
    weights_ = {0, all};
  }

  double matmul_reads(const ProgramOp& op) const {  // 16 rows of a meet every column of b
    const View a = view(op.inputs[0]), b = view(op.inputs[1]);
    const double rows = a.dims->size() >= 2 ? (*a.dims)[a.dims->size() - 2] : 1;
    return a.bytes() + b.bytes() * std::max(1.0, rows / 16);
  }

  // DMA moves bytes; a Copy moves only its extents.
  void moves(const ProgramOp& op, OpWork& w, double elements) {
    if (op.opcode == PITH_OPCODE_Copy) {
      elements = 1;
      for (int i = 0; i < op.ints[format::kCopyRank]; ++i) elements *= op.ints[static_cast<size_t>(format::kCopyExtents + i)];
    }
    if (op.opcode == PITH_OPCODE_Gather && is_constant(op.inputs[0])) stored(op, 1);
    const double bytes = elements * (view(op.outputs[0]).dtype == PITH_U8 ? 1 : 4);
    w.unit = UnitKind::kDma;
    w.jobs.push_back({-1, bytes / d_.dma_rate, op.opcode == PITH_OPCODE_Fill ? 0 : bytes, 0, bytes, 0});
    w.counts.dma_bytes = bytes;
    w.counts.read_bytes = w.jobs[0].read_bytes;
    w.counts.write_bytes = bytes;
  }

  // Rows of an input come through the camera's pipeline, at the camera's pace where one runs (a tenth of its period is
  // blanking) and at the pipeline's otherwise; rows of an output are looked at by the CPU before their memory is used again.
  void hand_rows(const ProgramOp& op, OpWork& w) {
    const bool in = op.opcode == PITH_OPCODE_RowsIn;
    const View part = view(in ? op.outputs[0] : op.inputs[0]);
    weights_ = {};
    Job job;
    if (in) {
      const std::vector<int32_t>& dims = *part.dims;
      const double all = rows_.inputs[static_cast<size_t>(op.ints[0])];
      w.unit = UnitKind::kCamera;
      job.cycles = static_cast<double>(part.elements()) / dims[3] / d_.camera_pixel_rate;
      job.write_bytes = w.counts.write_bytes = part.bytes();
      if (o_.camera_frames > 0) job.not_before = (op.ints[1] + dims[1]) / all * 0.9 / o_.camera_frames;
      work_.row_bytes += part.bytes();
    } else {
      w.unit = UnitKind::kCpu;
      job.cycles = w.counts.cpu_cycles = static_cast<double>(part.elements()) * d_.cpu_output_cycles;
      job.read_bytes = w.counts.read_bytes = part.bytes();
    }
    w.jobs.push_back(job);
  }

  // A CPU with a memory of its own gets the outputs through DMA, in parts where that memory is smaller.
  void hand_over_outputs() {
    OpWork w;
    w.name = "to the CPU's memory";
    w.opcode = PITH_OPCODE_Copy;
    w.unit = UnitKind::kDma;
    w.reads = work_.outputs;
    for (const Span& s : w.reads) w.counts.dma_bytes += static_cast<double>(s.end - s.begin);
    if (w.counts.dma_bytes == 0) return;
    w.counts.read_bytes = w.counts.write_bytes = w.counts.dma_bytes;
    w.counts.toggled_bytes = 2 * w.counts.dma_bytes;
    w.jobs.push_back({-1, w.counts.dma_bytes / d_.dma_rate, w.counts.dma_bytes, 0, 0, 0});
    work_.ops.push_back(std::move(w));
    work_.memory.weight_of_op.push_back({});
  }

  // Shares operations evenly over the clusters' units of a kind, or gives floats to the CPU where there are no lanes.
  void spread(OpWork& w, UnitKind kind, double operations, double read, double write) {
    double rate = d_.compute_vector_lanes;
    if (kind == UnitKind::kMatmul) rate = d_.compute_matmul_macs;
    if (kind == UnitKind::kFloat) rate = d_.compute_float_lanes;
    w.counts.read_bytes = read + static_cast<double>(weights_.end);
    w.counts.write_bytes = write;
    if (rate == 0) {
      w.unit = UnitKind::kCpu;
      const double cycles = operations * d_.cpu_float_cycles + (read + write) * d_.cpu_byte_cycles;
      w.counts.cpu_cycles = cycles;
      w.jobs.push_back({-1, cycles, w.counts.read_bytes, 0, write, 0});
      return;
    }
    w.unit = kind;
    const double clusters = d_.compute_clusters;
    for (int c = 0; c < static_cast<int>(clusters); ++c)
      w.jobs.push_back({c, operations / rate / clusters + d_.compute_fill_cycles, read / clusters, static_cast<double>(weights_.end) / clusters, write / clusters,
                        kind == UnitKind::kVector ? operations / clusters : 0});
    if (kind == UnitKind::kVector) w.counts.vector_ops = operations;
    if (kind == UnitKind::kMatmul) w.counts.matmul_macs = operations, w.counts.results = write;
    if (kind == UnitKind::kFloat) w.counts.float_ops = operations;
  }

  void on_cores(const ProgramOp& op, OpWork& w) {
    const ProgramConstant& k = p_.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)];
    const std::vector<int32_t>&x = *view(op.inputs[0]).dims, &y = *view(op.outputs[0]).dims;
    Layer layer;
    int64_t rows = k.dims[0], length = count(k.dims) / std::max<int64_t>(rows, 1), share = rows;
    layer.filters = rows;
    layer.positions = count(y) / rows;
    if (op.opcode == PITH_OPCODE_Conv2d) {
      layer.reuse = std::min(1.0, static_cast<double>(op.ints[1]) / k.dims[2]);
      share = rows / op.ints[8];
    } else if (op.opcode == PITH_OPCODE_ConvTranspose2d) {
      // each input position makes kernel x O results: weights are filters of I inputs for each tap
      layer.positions = count(x) / x[3];
      layer.transposed_writes = static_cast<double>(count(y));
    }
    const auto [cached, first_use] = plans_.try_emplace(op.inputs[1]);
    if (first_use) cached->second = plan_weights(k, rows, length, share, d_);
    layer.plan = cached->second;
    layer.slots = (o_.activation_bits + static_cast<int>(d_.compute_slot) - 1) / static_cast<int>(d_.compute_slot);
    layer.byte = o_.activation_bits / 8.0;
    layer.in = activity(op.inputs[0]), layer.out = activity(op.outputs[0]);
    weights_ = {0, layer.plan.stored_bytes() + 6 * rows};  // bias, factor
    w.unit = UnitKind::kCores;
    if (first_use) w.weight_count = layer.plan.weights, w.nonzero = layer.plan.nonzero, w.digits = layer.plan.all_digits;
    map_layer(layer, d_, w);
  }

  // Behind the arena, in order of use; bands of one layer share theirs.
  void place_weights() {
    MemoryMap& m = work_.memory;
    m.arena = (p_.arena_bytes + d_.bank_bytes() - 1) / d_.bank_bytes() * d_.bank_bytes();
    int64_t at = m.arena;
    std::map<int32_t, Span> placed;
    for (size_t i = 0; i < work_.ops.size(); ++i) {
      const int64_t bytes = m.weight_of_op[i].end;
      const auto known = placed.find(weight_key_[i]);
      if (known == placed.end()) {
        m.weight_of_op[i] = {at, at + bytes};
        at += bytes;
        if (weight_key_[i] != kNone) placed[weight_key_[i]] = m.weight_of_op[i];
      } else {
        m.weight_of_op[i] = known->second;
      }
      work_.ops[i].weights = m.weight_of_op[i];
    }
    m.weights = at - m.arena;
    m.total = at;
  }

  const Program& p_;
  const chip::Device& d_;
  const WorkOptions& o_;
  RowPorts rows_;
  std::vector<Values> values_;  // by tensor, of those that are no alias
  Work work_;
  Span weights_;
  std::vector<int32_t> weight_key_;        // of each operator: the constant that it computes with
  std::map<int32_t, WeightPlan> plans_;    // by constant
  std::set<std::string> missing_;
};

}  // namespace

const char* unit_kind_name(UnitKind k) {
  constexpr const char* names[] = {"cores", "vector", "matmul", "float", "dma", "cpu", "camera"};
  return names[static_cast<int>(k)];
}

Result<Work> plan_work(const Program& program, const chip::Device& device, const WorkOptions& options) { return Planner(program, device, options).plan(); }

}  // namespace pith::sim
