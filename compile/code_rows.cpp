// See code_rows.h.
#include "compile/code_rows.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "compile/moves.h"
#include "compile/refusal.h"
#include "compile/rows.h"
#include "compile/stream.h"

namespace pith {
namespace {

constexpr size_t kTogether = 4;    // readers that follow each other so closely share what was decoded
constexpr int64_t kLeastRow = 64;  // bytes of a row that is worth coding

int32_t copy_of(Program& p, int32_t id, const char* suffix) {
  ProgramTensor t = tensor(p, id);
  t.name += suffix;
  p.tensors.push_back(std::move(t));
  return static_cast<int32_t>(p.tensors.size() - 1);
}

// One tensor's readers in order, by the copy that each reads.
struct Readers {
  int32_t coded = kNone, lifting = kNone;
  std::map<size_t, int32_t> decode_before;  // operator -> the copy that is decoded in front of it
  std::map<size_t, int32_t> reads;          // operator -> the copy that it reads
};

ProgramOp row_op(bool encode, const Readers& r, int32_t from, int32_t to) {
  ProgramOp op;
  op.opcode = encode ? PITH_OPCODE_EncodeRows : PITH_OPCODE_DecodeRows;
  op.inputs = {from};
  op.outputs = {to};
  if (r.lifting != kNone) {
    op.opcode = encode ? PITH_OPCODE_EncodeLiftedRows : PITH_OPCODE_DecodeLiftedRows;
    op.inputs.push_back(r.lifting);
  }
  return op;
}

// Is it linear in its input pixel by pixel, in integers? Then it can take rows in coded form.
bool takes_coded_rows(const Program& p, const ProgramOp& op) {
  if (op.opcode != PITH_OPCODE_Conv2d || !is_constant(op.inputs[1]) || tensor(p, op.outputs[0]).dtype != PITH_U8) return false;
  const ProgramConstant& w = p.constants[static_cast<size_t>(op.inputs[1] - kConstantBase)];
  return op.ints == std::vector<int32_t>{1, 1, 1, 1, 0, 0, 0, 0, 1} && w.dtype == PITH_I8 && w.dims[1] == 1 && w.dims[2] == 1;
}

ProgramOp on_coded_rows(ProgramOp op, int32_t coded) {
  op.opcode = PITH_OPCODE_CodedConv2d;
  op.ints.clear();
  op.inputs[0] = coded;
  return op;
}

}  // namespace

std::vector<int32_t> codable_tensors(const Program& p) {
  const Users users = users_of(p);
  std::vector<char> taken(p.tensors.size(), 0);
  for (const ProgramTensor& t : p.tensors)
    if (t.alias_of != kNone) taken[static_cast<size_t>(t.alias_of)] = 1;
  for (const ProgramPort& port : p.inputs) taken[static_cast<size_t>(root_of(p, port.tensor))] = 1;
  for (const ProgramPort& port : p.outputs) taken[static_cast<size_t>(root_of(p, port.tensor))] = 1;
  for (const auto& [in, out] : p.state) taken[static_cast<size_t>(root_of(p, in))] = taken[static_cast<size_t>(root_of(p, out))] = 1;
  for (const ProgramOp& op : p.ops) {
    if (op.opcode == PITH_OPCODE_EncodeRows || op.opcode == PITH_OPCODE_DecodeRows || op.opcode == PITH_OPCODE_EncodeLiftedRows || op.opcode == PITH_OPCODE_DecodeLiftedRows)
      for (int32_t id : {op.inputs[0], op.outputs[0]}) taken[static_cast<size_t>(root_of(p, id))] = 1;
  }
  std::vector<int32_t> all;
  for (size_t i = 0; i < p.tensors.size(); ++i) {
    const int32_t id = static_cast<int32_t>(i);
    const auto &uses = users.uses[i], &writers = users.writers[i];
    if (taken[i] || !is_picture(p, id) || tensor(p, id).dtype != PITH_U8 || row_bytes(tensor(p, id)) < kLeastRow) continue;
    if (!writers.empty() && !uses.empty() && uses.front() > writers.back()) all.push_back(id);
  }
  return all;
}

int32_t coded_row_bytes(const ProgramTensor& t, double bits) {
  const int64_t row = row_bytes(t), wanted = static_cast<int64_t>(bits * static_cast<double>(row) / 8);
  return static_cast<int32_t>(std::clamp<int64_t>(wanted / PITH_ARENA_ALIGNMENT * PITH_ARENA_ALIGNMENT, PITH_ARENA_ALIGNMENT, row));
}

CodedTensor wanted_form(const Program& p, int32_t id, const ActivationCoding& coding) {
  const ProgramTensor& t = tensor(p, id);
  const auto lifting = coding.lifting_of.find(id);
  CodedTensor form{id, 0};
  if (lifting != coding.lifting_of.end()) form.lifting = lifting->second;
  if (coding.lossless) {
    const auto& bytes_of = form.lifting.empty() ? coding.row_bytes_of : coding.lifted_row_bytes_of;
    const auto at = bytes_of.find(id);
    if (at != bytes_of.end() && at->second < row_bytes(t)) form.row_bytes = at->second;
    return form;
  }
  const auto at = coding.bits_of.find(id);
  const double bits = at == coding.bits_of.end() ? coding.bits : at->second;
  if (bits < 8) form.row_bytes = coded_row_bytes(t, bits);
  return form;
}

int32_t lifting_constant(Program& p, int32_t id, const std::vector<uint8_t>& lifting) {
  ProgramConstant k;
  k.name = tensor(p, id).name + ".lifting";
  k.dtype = PITH_U8;
  k.dims = {3, static_cast<int32_t>(lifting.size() / 3)};
  k.affine = tensor(p, id).affine;  // means nothing, and costs least
  k.integers.assign(lifting.begin(), lifting.end());
  p.constants.push_back(std::move(k));
  return kConstantBase + static_cast<int32_t>(p.constants.size() - 1);
}

Program code_rows(const Program& source, const std::vector<CodedTensor>& tensors, bool direct) {
  const Users users = users_of(source);
  Program p = source;
  p.ops.clear();
  std::map<size_t, std::vector<int32_t>> encode_behind;
  std::map<int32_t, Readers> readers;
  for (const CodedTensor& c : tensors) {
    const auto& uses = users.uses[static_cast<size_t>(c.tensor)];
    const size_t made = users.writers[static_cast<size_t>(c.tensor)].back();
    Readers r;
    if (!c.lifting.empty()) r.lifting = lifting_constant(p, c.tensor, c.lifting);
    size_t last = 0;
    int32_t copy = kNone;
    for (size_t use : uses) {
      if (r.reads.count(use) || (direct && r.lifting == kNone && use < source.ops.size() && takes_coded_rows(source, source.ops[use]))) continue;
      if (copy == kNone || use > last + kTogether) r.decode_before[use] = copy = copy_of(p, c.tensor, "");
      r.reads[use] = copy;
      last = use;
    }
    r.coded = copy_of(p, c.tensor, ".coded");
    ProgramTensor& coded = p.tensors[static_cast<size_t>(r.coded)];
    coded.dims[2] = 1;
    coded.dims[3] = c.row_bytes;
    encode_behind[made].push_back(c.tensor);
    readers[c.tensor] = std::move(r);
  }
  for (size_t i = 0; i < source.ops.size(); ++i) {
    ProgramOp op = source.ops[i];
    std::set<int32_t> fed;
    for (int32_t& id : op.inputs) {
      const auto r = readers.find(id);
      if (r == readers.end()) continue;
      if (!r->second.reads.count(i)) {
        if (direct && r->second.lifting == kNone && takes_coded_rows(source, source.ops[i])) {
          op = on_coded_rows(std::move(op), r->second.coded);
          break;
        }
        continue;
      }
      const auto decode = r->second.decode_before.find(i);
      if (decode != r->second.decode_before.end() && fed.insert(id).second) p.ops.push_back(row_op(false, r->second, r->second.coded, decode->second));
      id = r->second.reads.at(i);
    }
    p.ops.push_back(std::move(op));
    for (int32_t id : encode_behind[i]) p.ops.push_back(row_op(true, readers.at(id), id, readers.at(id).coded));
  }
  return p;
}

std::vector<CodedTensor> all_coded(const Program& p, const ActivationCoding& coding) {
  std::vector<CodedTensor> all;
  for (int32_t id : codable_tensors(p))
    if (CodedTensor form = wanted_form(p, id, coding); form.row_bytes > 0) all.push_back(std::move(form));
  return all;
}

std::vector<CodedActivation> describe_coded(const Program& p, const std::vector<CodedTensor>& tensors) {
  std::vector<CodedActivation> all;
  for (const CodedTensor& c : tensors) {
    const ProgramTensor& t = tensor(p, c.tensor);
    all.push_back({t.name, tensor_bytes(t), int64_t{rows_of(t)} * c.row_bytes, c.lifting});
  }
  return all;
}

namespace {

// Codable tensors that are whole in a placed program while most of the arena is in use. `whole` is MemoryReport's.
std::vector<int32_t> whole_at_peak(const Program& placed, const std::vector<int32_t>& whole) {
  const std::vector<int64_t> occupied = occupied_bytes(placed);
  const int64_t most = occupied.empty() ? 0 : *std::max_element(occupied.begin(), occupied.end());
  std::set<int32_t> found;
  for (const StorageInterval& s : storage_intervals(placed)) {
    if (s.tensor == kNone || static_cast<size_t>(s.tensor) >= whole.size() || whole[static_cast<size_t>(s.tensor)] == kNone) continue;
    for (int64_t step = s.first; step <= s.last; ++step) {
      if (occupied[static_cast<size_t>(step)] < most - most / 16) continue;
      found.insert(whole[static_cast<size_t>(s.tensor)]);
      break;
    }
  }
  return {found.begin(), found.end()};
}

// Tensors in coded form, whether products take them so, and the arena that a first look finds for them.
struct Tried {
  std::vector<CodedTensor> coded;
  bool direct = false;
  int64_t arena = 0;
};

// Codes what is whole at the peak, round by round, as long as that helps; by first looks at the least memory.
Result<std::vector<Tried>> code_peaks(const Program& program, const CompileOptions& options, bool direct) {
  constexpr int kPatience = 3;  // rounds without gain
  const std::vector<int32_t> codable = codable_tensors(program);
  CompileOptions look = options;
  look.least = look.rough = true;
  ActivationCoding coding = options.coding;
  if (direct) coding.lifting_of.clear();  // products take rows without one
  std::vector<Tried> all;
  std::vector<CodedTensor> coded;
  int64_t best = INT64_MAX;
  for (int idle = 0; idle < kPatience;) {
    Program placed = coded.empty() ? program : code_rows(program, coded, direct);
    MemoryReport report;
    PITH_CHECK_OK(fit_ram(placed, look, &report));
    all.push_back({coded, direct, placed.arena_bytes});
    idle = placed.arena_bytes < best ? 0 : idle + 1;
    best = std::min(best, placed.arena_bytes);
    bool more = false;
    for (int32_t id : whole_at_peak(placed, report.whole)) {
      const bool known = std::any_of(coded.begin(), coded.end(), [&](const CodedTensor& c) { return c.tensor == id; });
      if (known || std::find(codable.begin(), codable.end(), id) == codable.end()) continue;
      CodedTensor form = wanted_form(program, id, coding);
      if (form.row_bytes == 0) continue;
      coded.push_back(std::move(form));
      more = true;
    }
    if (!more) break;
  }
  return all;
}

}  // namespace

namespace {

// Tries sets of coded tensors until one fits, or for the least memory; keeps the best.
class CodedSearch {
 public:
  CodedSearch(const Program& program, const CompileOptions& options) : program_(program), options_(options) {}

  // As few in coded form as it takes; false: none fits.
  Result<bool> fit(bool direct) {
    PITH_TRY(const std::vector<Tried> tried, code_peaks(program_, options_, direct));
    for (const Tried& t : tried) {
      if (!hopeful(t, options_.ram)) continue;
      PITH_TRY(const bool fits, search(t, options_));
      if (fits) return true;
    }
    return false;
  }

  Result<void> least(bool direct) {
    CompileOptions least = options_;
    least.least = true;
    PITH_TRY(std::vector<Tried> tried, code_peaks(program_, options_, direct));
    PITH_CHECK_OK(search_best(tried, least));
    if (options_.macs_overhead > 0) {  // first looks with it may code other tensors, which isn't always better
      CompileOptions plain = least;
      plain.macs_overhead = 0;
      PITH_TRY(tried, code_peaks(program_, plain, direct));
      PITH_CHECK_OK(search_best(tried, plain));
      PITH_CHECK_OK(search_best(tried, least));
    }
    return {};
  }

  std::optional<Program> best;
  MemoryReport report;

 private:
  // May a search find a placement of so many bytes, from this first look?
  static bool hopeful(const Tried& t, int64_t bytes) {
    constexpr int64_t kHope = 10;  // percent that a search may gain on a first look
    return t.arena - t.arena * kHope / 100 <= bytes;
  }

  Result<void> search_best(std::vector<Tried>& of, const CompileOptions& how) {
    constexpr size_t kSearched = 2;  // of the most promising sets of tensors
    std::stable_sort(of.begin(), of.end(), [](const Tried& a, const Tried& b) { return a.arena < b.arena; });
    for (size_t i = 0; i < std::min(kSearched, of.size()); ++i)
      if (!of[i].direct || hopeful(of[i], best->arena_bytes)) PITH_CHECK_OK(search(of[i], how));
    return {};
  }

  Result<bool> search(const Tried& t, const CompileOptions& how) {
    Program placed = t.coded.empty() ? program_ : code_rows(program_, t.coded, t.direct);
    MemoryReport placed_report;
    if (const auto fitted = fit_ram(placed, how, &placed_report); !fitted.ok()) {
      if (fitted.error().code == ErrorCode::kDoesNotFit) return false;
      return fitted.error();
    }
    const auto cost = [](const Program& p) { return std::pair(p.arena_bytes, p.ops.size()); };
    if (best && cost(*best) <= cost(placed)) return true;
    best = std::move(placed);
    report = std::move(placed_report);
    report.coded = describe_coded(program_, t.coded);
    return true;
  }

  const Program& program_;
  const CompileOptions& options_;
};

}  // namespace

Result<void> fit_coded(Program& program, const CompileOptions& options, MemoryReport* report) {
  CodedSearch search(program, options);
  const bool products = std::any_of(program.ops.begin(), program.ops.end(), [&](const ProgramOp& op) { return takes_coded_rows(program, op); });
  bool fits = false;
  if (!options.least) {
    PITH_TRY(fits, search.fit(false));
  }
  if (!options.least && !fits && products) {
    PITH_TRY(fits, search.fit(true));
  }
  if (!fits) PITH_CHECK_OK(search.least(false));
  if (!fits && products) PITH_CHECK_OK(search.least(true));
  std::optional<Program>& best = search.best;
  if (!options.least && best->arena_bytes > options.ram)
    return refuse_ram(program, *best, options);
  program = std::move(*best);
  if (report) *report = std::move(search.report);
  return {};
}

}  // namespace pith
