// See state_dict.h.
#include "importers/onnx/state_dict.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "base/log.h"

namespace pith::importers {
namespace {

constexpr size_t kMostNamed = 8;  // names in a message

// Without what DataParallel, Lightning, compile() and the like put in front.
std::string plain_name(std::string name) {
  for (bool found = true; found;) {
    found = false;
    for (const char* prefix : {"module.", "model.", "_orig_mod.", "net.", "student."}) {
      if (!name.starts_with(prefix)) continue;
      name = name.substr(std::string(prefix).size());
      found = true;
    }
  }
  return name;
}

bool is_weight(const SourceTensor& t) { return t.refusal.empty() && t.tensor.dtype() == ir::DType::kF32; }

ir::Shape transposed(const ir::Shape& s) { return s.size() == 2 ? ir::Shape{s[1], s[0]} : ir::Shape{}; }

ir::Tensor transpose(const ir::Tensor& t) {
  const int64_t rows = t.shape()[0], columns = t.shape()[1];
  ir::Tensor out(t.dtype(), {columns, rows});
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < columns; ++k) out.set(k * rows + i, t.at(i * columns + k));
  return out;
}

std::string named(const std::vector<std::string>& names) {
  const std::vector<std::string> shown(names.begin(),
                                       names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kMostNamed)));
  return fmt::format("'{}'{}", fmt::join(shown, "', '"),
                     names.size() > kMostNamed ? fmt::format(" and {} more", names.size() - kMostNamed) : "");
}

std::string module_of(const std::string& name) { return name.substr(0, name.rfind('.') + 1); }

using Unused = std::map<std::string, const ir::Tensor*>;  // by plain name

// The only entry of the initializer's shape, as it is or transposed, if no other initializer waits for one like it.
Unused::iterator only_of_shape(Unused& unused, const SourceTensor& t, const std::vector<SourceTensor*>& waiting) {
  const auto fits = [](const ir::Shape& a, const ir::Shape& b) {
    return a == b || (b.size() == 2 && a == transposed(b));
  };
  const ir::Shape& shape = t.tensor.shape();
  if (std::count_if(waiting.begin(), waiting.end(),
                    [&](const SourceTensor* w) { return fits(w->tensor.shape(), shape); }) != 1)
    return unused.end();
  auto found = unused.end();
  for (auto it = unused.begin(); it != unused.end(); ++it) {
    if (!fits(it->second->shape(), shape)) continue;
    if (found != unused.end()) return unused.end();
    found = it;
  }
  // a square matrix may be either way round: only a name could tell
  return found != unused.end() && shape.size() == 2 && shape[0] == shape[1] ? unused.end() : found;
}

}  // namespace

Result<Weights> read_state_dict(const std::string& path) {
  Weights weights;
  PITH_CHECK_OK(path.ends_with(".safetensors") ? read_safetensors(path, weights) : read_torch_archive(path, weights));
  if (weights.all().empty()) return usage_error(fmt::format("'{}' holds no weights; save model.state_dict()", path));
  return weights;
}

Result<void> replace_weights(SourceModel& model, const Weights& weights, const std::string& path) {
  Unused unused;
  for (const auto& [name, tensor] : weights.all()) unused[plain_name(name)] = &tensor;
  std::vector<SourceTensor*> waiting;
  std::set<std::string> modules;  // that gave weights
  size_t by_name = 0, by_shape = 0;
  for (SourceTensor& t : model.graph.initializers) {
    if (!is_weight(t)) continue;
    const auto entry = unused.find(plain_name(t.name));
    if (entry == unused.end()) {
      waiting.push_back(&t);
      continue;
    }
    if (entry->second->shape() != t.tensor.shape())
      return usage_error(
          fmt::format("'{}': '{}' has the shape {}, the network wants {}; the file belongs to another network", path,
                      t.name, ir::to_string(entry->second->shape()), ir::to_string(t.tensor.shape())));
    t.tensor = *entry->second;
    modules.insert(module_of(entry->first));
    unused.erase(entry);
    ++by_name;
  }
  const std::vector<SourceTensor*> unnamed = waiting;
  for (SourceTensor* t : unnamed) {
    const auto entry = only_of_shape(unused, *t, unnamed);
    if (entry == unused.end()) continue;
    t->tensor = entry->second->shape() == t->tensor.shape() ? *entry->second : transpose(*entry->second);
    unused.erase(entry);
    waiting.erase(std::find(waiting.begin(), waiting.end(), t));
    ++by_shape;
  }
  std::vector<std::string> missing, left, torn;
  for (const SourceTensor* t : waiting)
    if (t->tensor.count() > 1) missing.push_back(t->name);
  for (const auto& [name, tensor] : unused) {
    left.push_back(name);
    if (modules.count(module_of(name)) != 0) torn.push_back(name);
  }
  if (by_name + by_shape == 0 || !missing.empty())
    return usage_error(
        fmt::format("'{}' has no weights for {}{}; export the network with do_constant_folding=False and "
                    "training=TrainingMode.PRESERVE, so that its weights keep their names",
                    path, missing.empty() ? "any part of the network" : named(missing),
                    left.empty() ? "" : fmt::format(", and the network no place for {}", named(left))));
  if (!torn.empty())  // exporters join equal initializers, those of a fresh normalisation for instance
    return usage_error(fmt::format(
        "'{}': the network has no place for {} of modules that it has; export it with the trained weights loaded", path,
        named(torn)));
  log_info(fmt::format("weights of '{}': {} by name, {} by shape", path, by_name, by_shape));
  if (!left.empty()) log_warning(fmt::format("'{}' holds weights that the network doesn't use: {}", path, named(left)));
  return {};
}

}  // namespace pith::importers
