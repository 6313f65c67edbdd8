// What moves elements: views, slices, concatenations, padding, resizing. All sizes are known, so a view is a Reshape to the
// shape of its result. Signatures: torch's native_functions.yaml.

#include "importers/torchscript/call.h"

namespace pith::importers {
namespace {

void view(Call& c) { c.give(c.reshaped(c.tensor(0), c.result().sizes())); }
void expand(Call& c) { c.give(c.script.add("Expand", {c.tensor(0), c.script.integers(c.result().sizes().vec())})); }

void transposed(Call& c, const std::vector<int64_t>& order) { c.give(c.script.add("Transpose", {c.tensor(0)}, {{"perm", order}})); }
std::vector<int64_t> counting(int64_t n) {
  std::vector<int64_t> all;
  for (int64_t i = 0; i < n; ++i) all.push_back(i);
  return all;
}
void permute(Call& c) {
  std::vector<int64_t> order = c.sizes(1);
  for (int64_t& d : order) d += d < 0 ? c.value(0).dim() : 0;
  transposed(c, order);
}
void swap(Call& c) {
  const int64_t n = c.value(0).dim();
  std::vector<int64_t> order = counting(n);
  std::swap(order[static_cast<size_t>(c.axis(1, n))], order[static_cast<size_t>(c.axis(2, n))]);
  transposed(c, order);
}
void reversed_axes(Call& c) {  // t, numpy_T
  const std::vector<int64_t> order = counting(c.value(0).dim());
  transposed(c, {order.rbegin(), order.rend()});
}

void join(Call& c) {  // tensors, dim; empty ones of rank 1 are left out, as torch does
  const std::vector<at::Tensor> values = c.in[0].toTensorVector();
  const std::vector<std::string> names = c.tensors(0);
  std::vector<std::string> kept;
  for (size_t i = 0; i < values.size(); ++i) {
    if (values[i].dim() != 1 || values[i].numel() != 0) kept.push_back(c.cast(names[i], values[i].scalar_type(), c.result().scalar_type()));
  }
  c.give(c.script.add("Concat", kept, {{"axis", c.axis(1, c.result().dim())}}));
}
void stack(Call& c) {
  const int64_t axis = c.axis(1, c.result().dim());
  std::vector<int64_t> shape = c.result().sizes().vec();
  shape[static_cast<size_t>(axis)] = 1;
  std::vector<std::string> parts;
  for (const std::string& name : c.tensors(0)) parts.push_back(c.reshaped(name, shape));
  c.give(c.script.add("Concat", parts, {{"axis", axis}}));
}

// Into the tensors of the result, whose sizes along the axis say where; `removes`: the axis goes.
void split(Call& c, size_t argument, bool removes) {
  const int64_t axis = c.axis(argument, c.value(0).dim());
  const std::vector<at::Tensor> parts = c.out[0].toTensorVector();
  std::vector<int64_t> sizes;
  for (const at::Tensor& p : parts) sizes.push_back(removes ? 1 : p.size(axis));
  std::vector<std::string> y = c.script.add_several(parts.size(), "Split", {c.tensor(0), c.script.integers(sizes)}, {{"axis", axis}});
  for (size_t i = 0; i < y.size() && removes; ++i) y[i] = c.reshaped(y[i], parts[i].sizes());
  c.y = {y};
}
void cut(Call& c, int64_t axis, int64_t begin, int64_t end, int64_t step) {
  c.give(c.script.add("Slice", {c.tensor(0), c.script.integers({begin}), c.script.integers({end}), c.script.integers({axis}), c.script.integers({step})}));
}
void slice(Call& c) {  // input, dim, start, end, step
  cut(c, c.axis(1, c.value(0).dim()), c.integer(2, 0), c.integer(3, std::numeric_limits<int64_t>::max()), c.integer(4, 1));
}
void narrow(Call& c) { cut(c, c.axis(1, c.value(0).dim()), c.integer(2), c.integer(2) + c.integer(3), 1); }  // input, dim, start, length
void select(Call& c) {  // input, dim, index
  const int64_t axis = c.axis(1, c.value(0).dim()), i = c.axis(2, c.value(0).size(axis));
  cut(c, axis, i, i + 1, 1);
  c.give(c.reshaped(c.y[0][0], c.result().sizes()));
}
void flip(Call& c) {
  const std::vector<int64_t> dims = c.sizes(1), n(dims.size(), 0);
  std::vector<int64_t> first(dims.size(), -1), end(dims.size(), std::numeric_limits<int64_t>::min()), back(dims.size(), -1);
  c.give(c.script.add("Slice", {c.tensor(0), c.script.integers(first), c.script.integers(end), c.script.integers(dims), c.script.integers(back)}));
}
void roll(Call& c) {  // input, shifts, dims
  const std::vector<int64_t> shifts = c.sizes(1), dims = c.sizes(2);
  std::string x = c.tensor(0);
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t axis = dims[i] < 0 ? dims[i] + c.value(0).dim() : dims[i], n = c.value(0).size(axis), shift = ((shifts[i] % n) + n) % n;
    if (shift == 0) continue;
    const auto halves = c.script.add_several(2, "Split", {x, c.script.integers({n - shift, shift})}, {{"axis", axis}});
    x = c.script.add("Concat", {halves[1], halves[0]}, {{"axis", axis}});
  }
  if (dims.empty()) c.why = "it rolls all elements as one";
  c.give(x);
}
void embedding(Call& c) { c.give(c.script.add("Gather", {c.tensor(0), c.tensor(1)}, {{"axis", int64_t{0}}})); }
void index_select(Call& c) { c.give(c.script.add("Gather", {c.tensor(0), c.tensor(2)}, {{"axis", c.axis(1, c.value(0).dim())}})); }
void gather(Call& c) { c.give(c.script.add("GatherElements", {c.tensor(0), c.tensor(2)}, {{"axis", c.axis(1, c.value(0).dim())}})); }
void repeat(Call& c) {
  const std::vector<int64_t> times = c.sizes(1);
  std::vector<int64_t> shape(times.size() - static_cast<size_t>(c.value(0).dim()), 1);
  for (int64_t d : c.value(0).sizes()) shape.push_back(d);
  c.give(c.script.add("Tile", {c.reshaped(c.tensor(0), shape), c.script.integers(times)}));
}

// torch counts pads from the last axis: before, after of each.
void padded(Call& c, const std::string& mode, double value) {
  const std::vector<int64_t> pads = c.sizes(1);
  const auto n = static_cast<size_t>(c.value(0).dim());
  std::vector<int64_t> all(2 * n, 0);
  for (size_t i = 0; i < pads.size() / 2; ++i) {
    all[n - 1 - i] = pads[2 * i];
    all[2 * n - 1 - i] = pads[2 * i + 1];
  }
  std::vector<std::string> in{c.tensor(0), c.script.integers(all)};
  if (mode == "constant") in.push_back(c.script.constant(at::scalar_tensor(value, c.result().scalar_type())));
  c.give(c.script.add("Pad", in, {{"mode", mode}}));
}
void pad(Call& c) {  // input, pad, mode, value
  const std::string mode = c.in[2].toStringRef();
  if (mode == "circular") {
    c.why = "circular padding isn't known";
    return;
  }
  padded(c, mode == "replicate" ? "edge" : mode, c.number(3, 0));
}

// Interpolation to the size of the result.
void resize(Call& c, const std::string& mode, bool corners) {
  const bool nearest = mode == "nearest";
  std::map<std::string, SourceAttribute> attributes{{"mode", mode}, {"coordinate_transformation_mode", std::string(nearest ? "asymmetric" : corners ? "align_corners" : "half_pixel")}};
  if (nearest) attributes["nearest_mode"] = std::string("floor");
  if (mode == "cubic") attributes["cubic_coeff_a"] = -0.75;
  c.give(c.script.add("Resize", {c.tensor(0), "", "", c.script.integers(c.result().sizes().vec())}, attributes));
}

void channel_shuffle(Call& c) {
  const at::Tensor x = c.value(0);
  const int64_t groups = c.integer(1);
  const std::string apart = c.reshaped(c.tensor(0), {x.size(0), groups, x.size(1) / groups, x.size(2), x.size(3)});
  c.give(c.reshaped(c.script.add("Transpose", {apart}, {{"perm", std::vector<int64_t>{0, 2, 1, 3, 4}}}), x.sizes()));
}
void pixel_unshuffle(Call& c) {
  const at::Tensor x = c.value(0);
  const int64_t r = c.integer(1);
  const std::string apart = c.reshaped(c.tensor(0), {x.size(0), x.size(1), x.size(2) / r, r, x.size(3) / r, r});
  c.give(c.reshaped(c.script.add("Transpose", {apart}, {{"perm", std::vector<int64_t>{0, 1, 3, 5, 2, 4}}}), c.result().sizes()));
}

}  // namespace

void add_movement_rules(Rules& rules) {
  for (const char* name : {"view", "reshape", "_unsafe_view", "flatten", "unflatten", "squeeze", "unsqueeze", "view_as", "reshape_as", "_reshape_alias"}) rules[name] = view;
  for (const char* name : {"expand", "expand_as", "broadcast_to"}) rules[name] = expand;
  rules["permute"] = permute;
  for (const char* name : {"transpose", "swapaxes", "swapdims"}) rules[name] = swap;
  for (const char* name : {"t", "numpy_T"}) rules[name] = reversed_axes;
  for (const char* name : {"cat", "concat", "concatenate"}) rules[name] = join;
  rules["stack"] = stack;
  for (const char* name : {"chunk", "split", "split_with_sizes", "tensor_split"}) rules[name] = [](Call& c) { split(c, 2, false); };
  rules["unbind"] = [](Call& c) { split(c, 1, true); };
  rules["slice"] = slice;
  rules["narrow"] = narrow;
  rules["select"] = select;
  rules["flip"] = flip;
  rules["roll"] = roll;
  rules["embedding"] = embedding;
  rules["index_select"] = index_select;
  rules["gather"] = gather;
  rules["repeat"] = repeat;
  rules["pad"] = pad;
  rules["constant_pad_nd"] = [](Call& c) { padded(c, "constant", c.number(2, 0)); };
  for (const char* name : {"reflection_pad1d", "reflection_pad2d"}) rules[name] = [](Call& c) { padded(c, "reflect", 0); };
  for (const char* name : {"replication_pad1d", "replication_pad2d"}) rules[name] = [](Call& c) { padded(c, "edge", 0); };
  for (const char* name : {"upsample_nearest1d", "upsample_nearest2d"}) rules[name] = [](Call& c) { resize(c, "nearest", false); };
  for (const char* name : {"upsample_linear1d", "upsample_bilinear2d"}) rules[name] = [](Call& c) { resize(c, "linear", c.flag(2)); };
  rules["upsample_bicubic2d"] = [](Call& c) { resize(c, "cubic", c.flag(2)); };
  rules["pixel_shuffle"] = [](Call& c) { c.give(c.script.add("DepthToSpace", {c.tensor(0)}, {{"blocksize", c.integer(1)}, {"mode", std::string("CRD")}})); };
  rules["pixel_unshuffle"] = pixel_unshuffle;
  rules["channel_shuffle"] = channel_shuffle;
}

}  // namespace pith::importers
