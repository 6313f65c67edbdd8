// The flags of retraining, the same with libtorch and without.
#include "cli/retrain.h"

namespace pith::cli {

void add_retrain_flags(CLI::App* verb, RetrainFlags& f) {
  const std::string group = "Retraining";
  verb->add_option("--ratio", f.ratio, "make the file so many times smaller than float32, by retraining unless --no-retrain is given")->group(group);
  verb->add_option("--lambda", f.lambda, "retrain with this price of a bit instead of a ratio")->group(group);
  verb->add_option("--time", f.time, "retrain so long: 90s, 30m, 2h")->group(group);
  verb->add_option("--steps", f.steps, "retrain so many steps instead; the same seed gives the same file")->group(group);
  verb->add_option("--batch", f.batch, "samples a step")->capture_default_str()->group(group);
  verb->add_option("--checkpoint", f.checkpoint, "file that the run is saved to, and resumed from when it exists")->group(group);
  verb->add_option("--shift", f.shift, "augment: move pictures by up to so many pixels")->capture_default_str()->group(group);
  verb->add_flag("--flip", f.flip, "augment: mirror pictures")->group(group);
  verb->add_option("--variants", f.variants, "augmented versions of each sample that the original answers once; new ones in every epoch where it answers at every step (--mix, --features); 1: none")->capture_default_str()->group(group);
  verb->add_option("--label-weight", f.label_weight, "weight of the samples' labels beside the original's answers")->capture_default_str()->group(group);
  verb->add_option("--temperature", f.temperature, "of the original's answers; 0: 2, of models that read text 1")->capture_default_str()->group(group);
  verb->add_flag("--per-channel", f.per_channel, "a step for each output channel instead of one for each tensor")->group(group);
  verb->add_option("--first-step", f.first_step, "first step of a weight, in standard deviations; 0: such that the weights take a little more than they may in the end")->capture_default_str()->group(group);
  verb->add_flag("--allocate", f.allocate, "begin with the weights and steps that --no-retrain ends with at this --ratio, and stay at its size; go gently (--rate 0.005)")->group(group);
  verb->add_option("--ramp", f.ramp, "share of the way after which the ratio is reached; the rest recovers quality")->capture_default_str()->group(group);
  verb->add_option("--settle", f.settle, "share of the way from which zeros stay zero and a moving average of the weights is taken")->capture_default_str()->group(group);
  verb->add_option("--layerwise", f.layerwise, "share of the way in which each layer learns for itself first")->capture_default_str()->group(group);
  verb->add_option("--features", f.features, "weight of the original's inner values beside its answers")->capture_default_str()->group(group);
  verb->add_option("--zoom", f.zoom, "augment: cut out down to so much less of a picture's sides, and enlarge it")->capture_default_str()->group(group);
  verb->add_option("--train-size", f.train_size, "retrain on pictures of this size, as in 320x320; the file keeps the network's own")->group(group);
  verb->add_option("--window", f.window, "tokens of a row that a model which continues text is retrained on")->capture_default_str()->group(group);
  verb->add_option("--mix", f.mix, "augment: share of the samples that are mixed with another")->capture_default_str()->group(group);
  verb->add_option("--gain", f.gain, "augment: factor on a sample, so many log-normal deviations")->capture_default_str()->group(group);
  verb->add_option("--noise", f.noise, "augment: noise, in a sample's own deviations")->capture_default_str()->group(group);
  verb->add_option("--rate", f.rate, "learning rate, in first steps")->capture_default_str()->group(group);
  verb->add_option("--step-rate", f.step_rate, "learning rate of the steps' logarithms")->capture_default_str()->group(group);
  verb->add_option("--train-threads", f.threads, "threads of libtorch; more than one is not reproducible")->capture_default_str()->group(group);
  verb->add_option("--device", f.device, "where retraining computes: cpu, or cuda or cuda:1 where the program was built with such a libtorch")->capture_default_str()->group(group);
}

}  // namespace pith::cli
