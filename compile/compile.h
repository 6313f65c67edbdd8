// compile: from a verified Graph to a Program with a fixed arena.
//
// pipeline.cpp reads as the table of contents. What happens here is what a compiler for a device does: choose physical
// layouts, replace data movement by views wherever the consumer can live with it, insert conversions where quantised and
// float parts meet, and pack everything that lives into one arena.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "program/program.h"

namespace pith {

// A tensor of a lowered program, and the bytes that each of its rows may take while it waits.
struct CodedTensor {
  int32_t tensor = kNone, row_bytes = 0;
  std::vector<uint8_t> lifting = {};  // what its channels look at (numerics/row_lifting.h); empty: nothing
};

// Which activations may be stored in coded form (code_rows.h).
struct ActivationCoding {
  double bits = 0;     // a value; 0: none
  bool all = false;    // all of them and for all their readers, whether that saves memory or not: to see what coding costs
  std::map<int32_t, double> bits_of;  // by tensor, where they differ; 8 and more: stays as it is
  bool lossless = false;              // in the bytes of row_bytes_of instead; what isn't there stays as it is
  std::map<int32_t, int32_t> row_bytes_of;
  std::map<int32_t, std::vector<uint8_t>> lifting_of;  // by tensor, where channels look at each other
  std::map<int32_t, int32_t> lifted_row_bytes_of;      // of these, lossless
  bool wanted() const { return bits > 0 || lossless; }
};

// Of each channel of each head of remembered keys (H x D): a key is row * factor + level (code_cache.h).
struct KeyLevels {
  std::vector<float> factors, levels;
};

struct CompileOptions {
  int64_t ram = 0;  // bytes that the arena may take, for which layers run in bands of rows where they must (stream.h); 0: no limit
  bool least = false;  // in as few bytes as bands of rows allow, whatever they cost
  bool row_ports = false;  // inputs may come and outputs may go row by row (pith_set_row_source), where that saves memory
  double macs_overhead = 0;  // share of the network's multiplications that may be done once more where that saves memory
  ActivationCoding coding = {};
  int cache_bits = 0;  // keys and values that attention remembers are coded in 4, 6 or 8 bits (code_cache.h); 0: they stay float
  std::vector<KeyLevels> key_levels = {};  // with 4 bits: of remembered_keys
  // Of several networks in one arena (share.h): its first bytes hold everybody's state, this network's from state_base on.
  int64_t state_bytes = 0, state_base = 0;
  bool rough = false;  // a first look: bands as they are chosen first, without a search for others that can be packed better
  int64_t planner_steps = 20'000;  // of the exact search over placements; a count, so that plans don't depend on the machine's speed
};

// Rows that two bands of a group both read are kept from the one to the other, or made again: what operators without a
// window make larger than what they read, for windows that go on by two rows; all that is larger; everything.
enum class Borders { kKept, kPointsAgain, kWideAgain, kAllAgain };

// Operators [first, last) of the program as lowered, run `bands` times on some rows of their results each (stream.h).
struct StreamGroup {
  size_t first = 0, last = 0;
  int32_t bands = 2;
  Borders borders = Borders::kKept;
  friend bool operator==(const StreamGroup&, const StreamGroup&) = default;
};

// What `pith info` shows of a layer, in order of execution.
struct LayerReport {
  std::string name, opcode;
  int64_t macs = 0, scratch = 0;
  std::vector<int32_t> output_dims;
};
// A group of layers in bands of rows: what is in use at most while it runs, against the same layers on whole tensors.
struct MemoryMove {
  std::string first, last;  // results of its first and last layer
  int32_t bands = 0;
  int64_t layers = 0;
  int64_t bytes_before = 0, bytes_after = 0;  // of the arena
  int64_t macs = 0, operators = 0;            // more than before
  std::string borders;                        // what is made again: "", "points", "wide rows", "all rows"
};
// A tensor that waits in coded form.
struct CodedActivation {
  std::string name;
  int64_t values = 0, bytes = 0;
  std::vector<uint8_t> lifting = {};
};
// A tensor that is made again by some operators before a late use, instead of waiting for it (remake.h).
struct RemadeTensor {
  std::string name;
  int64_t bytes = 0, macs = 0, operators = 0;  // that need not wait; more than before
};
struct MemoryReport {
  int64_t arena = 0, lower_bound = 0, float32_peak = 0;  // bytes; the last: layer by layer, every tensor in float32
  std::vector<LayerReport> layers;
  std::vector<StreamGroup> groups;
  std::vector<MemoryMove> moves;  // one per group
  std::vector<CodedActivation> coded;
  std::vector<RemadeTensor> remade;
  std::vector<int32_t> whole;  // by tensor: the one of the lowered program that it is, kNone for buffers of bands
};

// Error kUnsupported lists every node that has no machine form, kInternal names the pass that broke an invariant.
Result<Program> compile(const ir::Graph& graph, const CompileOptions& options, MemoryReport* report = nullptr);
// Its first part: a program whose order and offsets are not chosen yet.
Result<Program> lower_graph(const ir::Graph& graph);
// The part of it that places a lowered program in memory: order, bands, arena. A program read from a file may be placed
// again under other options.
Result<Program> place(Program program, const CompileOptions& options, MemoryReport* report = nullptr);

// Passes, in order.
Result<Program> lower(const ir::Graph& graph);     // views, layouts, machine operators (lower*.cpp)
Result<void> plan_arena(Program& program, const CompileOptions& options, MemoryReport* report);  // arena.cpp

// Bytes of the arena that a program's state takes.
int64_t state_bytes(const Program& program);

// Live intervals of the program's storage, for planning and for pictures: one entry per tensor with its own memory and
// per scratch region, steps counted as operators, inputs live from 0.
struct StorageInterval {
  std::string name, kind;  // kind: input, output, activation, state, scratch
  int64_t first = 0, last = 0, bytes = 0, offset = 0;
  int32_t tensor = kNone, op = -1;
};
std::vector<StorageInterval> storage_intervals(const Program& program);

}  // namespace pith
