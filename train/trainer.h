// Retraining a compressed network towards its float original.
//
// One objective: D(teacher, student) + lambda R. D needs no labels: Kullback-Leibler divergence of the answers where they
// are distributions, relative squared error elsewhere (labels may be added), and beside it the relative error of values
// inside. R is an estimate of the bits that the weights' adaptive code will take (student.h).
//
// The way has three parts. Up to `ramp`, lambda (given, or steered so that R meets `target_bits`) makes the network
// smaller, geometrically from where it starts to the target; the first `layerwise` of the way, every layer learns for
// itself, from the original's inputs. Up to `settle`, lambda is steered ever more slowly, as the learning rate's cosine
// runs out. From there on lambda doesn't rise, weights that are zero stay zero, and an exponential moving average of the
// parameters is taken; the average is the result where it is better on samples that were held apart.
//
// Everything random comes from (seed, step), so a run of `steps` is reproducible, and a checkpoint resumes it bit for bit
// (one thread). A budget in seconds stretches the same schedule over the time that passes. A checkpoint that is loaded with a
// larger budget goes on at its share of that: the learning rate rises to what the schedule then says.
//
// This header knows no libtorch: who includes it compiles without.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "ir/graph.h"
#include "ir/recode.h"

namespace pith::train {

// The grid of a weight tensor: log2 of the step, one or one per index of `axis`.
struct Steps {
  int axis = 0;
  std::vector<float> log2;
};

// What becomes of `rows` rows (of width x channels values, channels innermost) that are stored in `row_bytes` bytes each and
// taken up again; `lifting` is what channels look at (numerics/row_lifting.h), or null. May read up to kRecodeSlack bytes beyond `x`, and `y` has as many to spare.
using Recode = std::function<void(const uint8_t* x, uint8_t* y, int64_t rows, int64_t width, int64_t channels, int64_t row_bytes, uint8_t zero, const uint8_t* lifting)>;
constexpr int64_t kRecodeSlack = 64;

// A student as a value: a canonical float graph (ir::canonicalize) whose weights may lie between grid points.
struct Model {
  ir::Graph graph;
  std::map<std::string, Steps> steps;               // by the weights' value name
  std::map<std::string, numerics::Affine> activations;  // by value name: rounded to 8 bits while training
  std::map<std::string, ir::CodedRows> coded;  // of these, pictures that wait in coded form
  Recode recode;                               // how they do; none: ir/recode.h, which is slow
  std::map<std::string, ir::Tensor> held;  // by the weights' value name, of their shape: 0 where a weight stays zero, 1 elsewhere
  std::vector<std::string> floats;  // constants that are trained without a grid: gains and shifts of normalisations
  bool dead_biases_vanish = true;   // where a row of weights is zero, as channels are then removed
  double least_unit = 0;            // of what the learning rate counts in, in deviations of a tensor: where steps are finer
};
// First grids for every weighted node: a step of `share` standard deviations (of the tensor, or of each output channel).
// Renames weights so that names are unique.
Model start_model(const ir::Graph& canonical, bool per_channel, double share);
// Grids of 8 bits by output channel, with room for weights to grow; they learn as fast as on coarse grids.
Model start_fine(const ir::Graph& canonical);
// The same for a transformer: embeddings and learned positions have grids too (one step each), normalisations are trained,
// and no channel is ever removed. Names stay, so that the result fits another form of the network.
Model start_transformer(const ir::Graph& canonical, bool per_channel, double share);

// Holds the weights of zero blocks (ir/blocks.h) of the graph as it is where they are.
void hold_zero_blocks(Model& model);

// Where a node's weights stand among its inputs and which axis counts its outputs; nothing for nodes without weights.
struct WeightSite {
  size_t slot = 1;
  int axis = 0;
};
std::optional<WeightSite> weight_site(const ir::Graph& graph, const ir::Node& node);
bool is_product(ir::Op op);
// A share with which the integers of start(share), each tensor's by their own frequencies, take about `bits`.
double share_for(const std::function<Model(double)>& start, double bits);
// The weights on their grids: integers times 2^(code/16), and biases of dead channels zero.
struct Rounded {
  ir::Graph graph;
  std::map<std::string, std::vector<int16_t>> codes;
};
Rounded round_model(const Model& model);

// One tensor for each input of the network, the batch first. Labels: one for each row of logits (kNoLabel: none), or empty.
struct DrawnBatch {
  std::vector<ir::Tensor> inputs;
  std::vector<int64_t> labels;
};
constexpr int64_t kNoLabel = -100;

// Unlabelled (or labelled) samples of a network with one input.
struct Dataset {
  ir::Shape shape;            // of one sample, first dimension 1
  std::vector<float> values;  // all samples, one after the other
  std::vector<int64_t> labels;  // empty, or one per sample
  int64_t count() const { return static_cast<int64_t>(values.size()) / std::max<int64_t>(1, ir::element_count(shape)); }
  // Instead of all these: makes batch `number` anew, from the number alone. Negative numbers: batches that are held apart.
  std::function<DrawnBatch(int64_t number)> draw;
};

// Which of several processes this is (parallel.h). Each takes `batch` samples a step, so that a step has size x batch.
struct Place {
  int rank = 0, size = 1, port = 0;
  std::string address;
  int local_rank = 0;
};
// From RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT, as torchrun sets them; alone where WORLD_SIZE is not set. LOCAL_RANK, where
// it is set, says which GPU of its machine is this process's.
Result<Place> place_from_environment();

struct TrainOptions {
  Place place;
  bool distribution = true;  // the last axis of the outputs holds logits of classes
  bool logistic = false;     // otherwise: every output goes through a sigmoid, and is compared after it and before it
  double temperature = 2;
  double label_weight = 0;   // of the cross-entropy with labels
  int64_t batch = 128, steps = 0;
  double seconds = 0;        // instead of steps
  double rate = 0.03;        // learning rate: in standard steps of a weight
  double step_rate = 0.004;  // of log2 of a step
  double lambda = 5e-7;      // of D per bit; the starting value where there is a target. 0: a third of the first step's D, shared out over its bits
  double target_bits = 0;    // of all weights; 0: lambda stays
  double ramp = 0.55, settle = 0.8;
  double layerwise = 0;      // share of the way in which each layer learns for itself
  double features = 0;       // weight of the relative error of values inside
  double average = 0.99;     // of the moving average, per step; 0: none
  int64_t validation = 0;    // of the samples, held apart to choose by; a tenth of them at most
  int shift = 0;             // augmentation: pictures move by up to so many pixels, their edge repeated
  bool flip = false;
  double zoom = 0;           // augmentation: a part of a picture, its sides shorter by up to this share, is enlarged to the whole
  double gain = 0, noise = 0;  // augmentation: log-normal factor; noise relative to a sample's own deviation
  double mix = 0;            // share of the samples of a batch that are mixed with another
  int variants = 8;          // augmented versions of a sample that the teacher answers once
  uint64_t seed = 1;
  int threads = 1;
  std::string device = "cpu";  // see use_device()
};

struct Status {
  int64_t step = 0;
  double share = 0;     // of the whole way, 0..1
  double distortion = 0, bits = 0, lambda = 0;  // running means; bits as estimated
  double nonzero = 0;   // share of the weights
  // Distortion on what was held apart, at the end: as trained, of the moving average, and of the better one with its biases moved
  // to the original's means; 0: not measured.
  double validation = 0, validation_average = 0, validation_recentred = 0;
};

class Trainer {
 public:
  virtual ~Trainer() = default;
  // Error kUnsupported names a node that can't be trained through.
  static Result<std::unique_ptr<Trainer>> create(const ir::Graph& teacher, const Model& student, Dataset data, const TrainOptions& options);

  // Trains until `share` of the way, or until `stop` is set. `observe` is called after every step.
  virtual Result<void> run(double share, const std::atomic<bool>& stop, const std::function<void(const Status&)>& observe) = 0;
  virtual void aim(double target_bits) = 0;  // a better known target
  virtual Status status() const = 0;
  // The student as it is; at the end of the way its moving average where that is better on the validation samples.
  virtual Model model() const = 0;
  // Goes on with a changed student (channels removed); the optimiser's memory starts afresh.
  virtual Result<void> replace(const Model& student) = 0;

  virtual Result<void> save(const std::string& path) const = 0;
  virtual Result<void> load(const std::string& path) = 0;
};

// Share of samples whose strongest answer is the teacher's, and the label's where there are labels; in percent.
struct Agreement {
  double same = 0, right = 0, teacher_right = 0;
};
Result<Agreement> agreement(const ir::Graph& teacher, const ir::Graph& student, const Dataset& data);

}  // namespace pith::train
