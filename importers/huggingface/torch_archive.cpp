// pytorch_model.bin: a zip archive of stored entries, one of them a pickle that says where the tensors are.
//
// A pickle is a program for a stack machine that may call anything; here it is only read. The opcodes that torch.save writes
// build values of our own (numbers, texts, tuples, dictionaries); of calls three are understood, collections.OrderedDict and
// torch's two ways to rebuild a tensor and a parameter, and any other name is an error. Opcodes: Python's pickletools;
// zip: PKWARE's APPNOTE, sections 4.3 and 4.5.
#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <string_view>

#include "base/file.h"
#include "importers/huggingface/floats.h"
#include "importers/huggingface/huggingface.h"

namespace pith::importers {
namespace {

using Bytes = std::span<const uint8_t>;

uint64_t little(Bytes b, size_t at, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value |= static_cast<uint64_t>(b[at + i]) << (8 * i);
  return value;
}

// The entries of the central directory; only stored ones, as torch writes them.
Result<std::map<std::string, Bytes>> zip_entries(Bytes file, const std::string& path) {
  const Error bad = usage_error(fmt::format("'{}' is no archive of torch.save, or damaged; fetch it again", path));
  size_t end = file.size() < 22 ? 0 : file.size() - 22;
  const size_t least = end > 65535 ? end - 65535 : 0;
  if (file.size() < 22) return bad;
  while (end > least && little(file, end, 4) != 0x06054b50) --end;
  if (little(file, end, 4) != 0x06054b50) return bad;
  uint64_t count = little(file, end + 10, 2), at = little(file, end + 16, 4);
  if ((count == 0xffff || at == 0xffffffff) && end >= 20 && little(file, end - 20, 4) == 0x07064b50) {  // zip64
    const uint64_t record = little(file, end - 12, 8);
    if (file.size() < 56 || record > file.size() - 56 || little(file, record, 4) != 0x06064b50) return bad;
    count = little(file, record + 32, 8);
    at = little(file, record + 48, 8);
  }
  std::map<std::string, Bytes> entries;
  for (uint64_t i = 0; i < count; ++i) {
    if (at > file.size() || file.size() - at < 46 || little(file, at, 4) != 0x02014b50) return bad;
    const uint64_t method = little(file, at + 10, 2), name = little(file, at + 28, 2), extra = little(file, at + 30, 2), comment = little(file, at + 32, 2);
    uint64_t size = little(file, at + 24, 4), offset = little(file, at + 42, 4);
    if (file.size() - at < 46 + name + extra + comment) return bad;
    const std::string key(reinterpret_cast<const char*>(file.data()) + at + 46, name);
    for (uint64_t e = at + 46 + name; e + 4 <= at + 46 + name + extra;) {
      const uint64_t id = little(file, e, 2), bytes = little(file, e + 2, 2);
      uint64_t field = e + 4;
      const uint64_t stop = field + bytes;
      if (stop > at + 46 + name + extra) break;
      if (id == 1) {  // sizes that need 64 bits, in this order, those that are all ones above
        if (size == 0xffffffff && field + 8 <= stop) size = little(file, field, 8), field += 8;
        if (little(file, at + 20, 4) == 0xffffffff && field + 8 <= stop) field += 8;
        if (offset == 0xffffffff && field + 8 <= stop) offset = little(file, field, 8);
      }
      e = stop;
    }
    if (method != 0 && key.find("/code/") != std::string::npos) {  // TorchScript's sources
      at += 46 + name + extra + comment;
      continue;
    }
    if (method != 0) return error(ErrorCode::kUnsupported, fmt::format("'{}': the entry '{}' is compressed, which torch.save doesn't do", path, key));
    if (offset > file.size() || file.size() - offset < 30) return bad;
    const uint64_t data = offset + 30 + little(file, offset + 26, 2) + little(file, offset + 28, 2);
    if (data > file.size() || size > file.size() - data) return bad;
    entries[key] = file.subspan(data, size);
    at += 46 + name + extra + comment;
  }
  return entries;
}

struct Value;
using Ref = std::shared_ptr<Value>;
struct Value {
  enum Kind { kNone, kMark, kInteger, kText, kName, kList, kDictionary, kStorage, kTensor } kind = kNone;
  int64_t integer = 0;
  std::string text;        // kText; kName: "module name"; kStorage: its key
  std::string type;        // kStorage: FloatStorage ...
  int depth = 0;           // of nested items
  std::vector<Ref> items;  // kList: tuples too; kDictionary: key, value, key, value; kTensor: storage, offset, shape, strides
};

class PickleReader {
 public:
  PickleReader(Bytes data, const std::string& path) : data_(data), path_(path) {}

  Result<Ref> read() {
    while (true) {
      const int op = byte();
      if (op < 0) return damaged();
      if (op == '.') return stack_.empty() ? Result<Ref>(damaged()) : Result<Ref>(stack_.back());
      PITH_CHECK_OK(step(op));
      if (failed_) return damaged();
    }
  }

 private:
  Error damaged() const { return usage_error(fmt::format("'{}': its pickle ends early or isn't well-formed; fetch it again", path_)); }
  int byte() { return at_ < data_.size() ? data_[at_++] : -1; }
  uint64_t number(size_t bytes) {
    if (data_.size() - at_ < bytes) {
      failed_ = true;
      return 0;
    }
    at_ += bytes;
    return little(data_, at_ - bytes, bytes);
  }
  std::string text(uint64_t length) {
    if (length > data_.size() - at_) {
      failed_ = true;
      return "";
    }
    at_ += length;
    return std::string(reinterpret_cast<const char*>(data_.data()) + at_ - length, length);
  }
  std::string line() {
    std::string s;
    for (int c = byte(); c >= 0 && c != '\n'; c = byte()) s += static_cast<char>(c);
    return s;
  }
  void push(Value v) {
    deepen(v, v.items);
    stack_.push_back(std::make_shared<Value>(std::move(v)));
  }
  void deepen(Value& v, const std::vector<Ref>& items) {  // values are freed recursively, so their depth is bounded
    for (const Ref& item : items) v.depth = std::max(v.depth, item->depth + 1);
    failed_ = failed_ || v.depth > 100;
  }
  void push_integer(int64_t x) {
    Value v;
    v.kind = Value::kInteger;
    v.integer = x;
    push(v);
  }
  void push_kind(Value::Kind kind, std::string text = "") {
    Value v;
    v.kind = kind;
    v.text = std::move(text);
    push(v);
  }
  Ref pop() {
    if (stack_.empty()) {
      failed_ = true;
      return std::make_shared<Value>();
    }
    Ref top = stack_.back();
    stack_.pop_back();
    return top;
  }
  std::vector<Ref> pop_to_mark() {
    std::vector<Ref> items;
    while (!stack_.empty() && stack_.back()->kind != Value::kMark) items.insert(items.begin(), pop());
    pop();  // the mark
    return items;
  }
  void tuple(size_t count) {
    Value v;
    v.kind = Value::kList;
    for (size_t i = 0; i < count; ++i) v.items.insert(v.items.begin(), pop());
    push(v);
  }
  void get(uint64_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) failed_ = true;
    else stack_.push_back(found->second);
  }
  void put(uint64_t index) {
    if (stack_.empty()) failed_ = true;
    else memo_[index] = stack_.back();
  }
  void extend(std::vector<Ref> items) {  // the list or dictionary on top
    if (stack_.empty()) {
      failed_ = true;
      return;
    }
    deepen(*stack_.back(), items);
    auto& to = stack_.back()->items;
    to.insert(to.end(), items.begin(), items.end());
    if (failed_) to.clear();  // an item may be the container itself
  }

  Result<void> step(int op) {
    switch (op) {
      case 0x80: number(1); break;                            // PROTO
      case 0x95: number(8); break;                            // FRAME
      case '(': push_kind(Value::kMark); break;               // MARK
      case '0': pop(); break;                                 // POP
      case 'N': push_kind(Value::kNone); break;               // NONE
      case 0x88: push_integer(1); break;                      // NEWTRUE
      case 0x89: push_integer(0); break;                      // NEWFALSE
      case 'J': push_integer(static_cast<int32_t>(number(4))); break;  // BININT
      case 'K': push_integer(static_cast<int64_t>(number(1))); break;  // BININT1
      case 'M': push_integer(static_cast<int64_t>(number(2))); break;  // BININT2
      case 0x8a: {                                            // LONG1
        const uint64_t bytes = number(1);
        if (bytes > 8) return damaged();
        push_integer(static_cast<int64_t>(number(bytes)));
        break;
      }
      case 'G': number(8), push_kind(Value::kNone); break;    // BINFLOAT: nothing here needs one
      case 'X': push_kind(Value::kText, text(number(4))); break;     // BINUNICODE
      case 0x8c: push_kind(Value::kText, text(number(1))); break;    // SHORT_BINUNICODE
      case '}': push_kind(Value::kDictionary); break;         // EMPTY_DICT
      case ']': case ')': push_kind(Value::kList); break;     // EMPTY_LIST, EMPTY_TUPLE
      case 't': {                                             // TUPLE
        Value v;
        v.kind = Value::kList;
        v.items = pop_to_mark();
        push(v);
        break;
      }
      case 0x85: tuple(1); break;
      case 0x86: tuple(2); break;
      case 0x87: tuple(3); break;
      case 'q': put(number(1)); break;                        // BINPUT
      case 'r': put(number(4)); break;                        // LONG_BINPUT
      case 0x94: put(memo_.size()); break;                    // MEMOIZE
      case 'h': get(number(1)); break;                        // BINGET
      case 'j': get(number(4)); break;                        // LONG_BINGET
      case 's': case 'a': {                                   // SETITEM, APPEND
        std::vector<Ref> items;
        if (op == 's') items.push_back(pop());
        items.insert(items.begin(), pop());
        extend(items);
        break;
      }
      case 'u': case 'e': extend(pop_to_mark()); break;       // SETITEMS, APPENDS
      case 'b': pop(); break;                                 // BUILD: an object's attributes (_metadata)
      case 'c': {                                             // GLOBAL
        const std::string module = line();
        push_kind(Value::kName, module + " " + line());
        break;
      }
      case 0x93: {                                            // STACK_GLOBAL
        const Ref name = pop(), module = pop();
        push_kind(Value::kName, module->text + " " + name->text);
        break;
      }
      case 'Q': return storage(*pop());                       // BINPERSID
      case 'R': {                                             // REDUCE
        const Ref arguments = pop(), name = pop();
        return call(*name, *arguments);
      }
      default:
        return error(ErrorCode::kUnsupported, fmt::format("'{}': its pickle has the opcode {:#x}, which weights don't need; save it with torch.save(model.state_dict())", path_, op));
    }
    return {};
  }

  // ("storage", torch FloatStorage, key, device, count)
  Result<void> storage(const Value& id) {
    if (id.items.size() < 3 || id.items[1]->kind != Value::kName || id.items[2]->kind != Value::kText) return damaged();
    Value v;
    v.kind = Value::kStorage;
    v.text = id.items[2]->text;
    v.type = id.items[1]->text.substr(id.items[1]->text.find(' ') + 1);
    push(v);
    return {};
  }

  Result<void> call(const Value& name, const Value& arguments) {
    const std::string& f = name.text;
    if (name.kind == Value::kName && f == "collections OrderedDict") {
      push_kind(Value::kDictionary);
    } else if (name.kind == Value::kName && f == "torch._utils _rebuild_tensor_v2" && arguments.items.size() >= 4) {
      Value v;
      v.kind = Value::kTensor;
      v.items.assign(arguments.items.begin(), arguments.items.begin() + 4);
      push(v);
    } else if (name.kind == Value::kName && f == "torch._utils _rebuild_parameter" && !arguments.items.empty()) {
      stack_.push_back(arguments.items[0]);
    } else {
      return error(ErrorCode::kUnsupported, fmt::format("'{}': its pickle calls '{}', which isn't done here; save it with torch.save(model.state_dict())", path_, f));
    }
    return {};
  }

  Bytes data_;
  const std::string& path_;
  size_t at_ = 0;
  bool failed_ = false;
  std::vector<Ref> stack_;
  std::map<uint64_t, Ref> memo_;
};

// A tensor's floats; only those that lie in order, as parameters do.
Result<ir::Tensor> tensor_of(const Value& v, const std::map<std::string, Bytes>& entries, const std::string& root, const std::string& what) {
  const Error bad = usage_error(what + " isn't a tensor as torch.save writes it");
  if (v.items[0]->kind != Value::kStorage || v.items[1]->kind != Value::kInteger) return bad;
  ir::Shape shape;
  int64_t expected = 1;
  for (const Ref& d : v.items[2]->items) shape.push_back(d->integer);
  for (size_t i = shape.size(); i-- > 0;) {
    if (i >= v.items[3]->items.size() || shape[i] < 0) return bad;
    if (shape[i] > 1 && v.items[3]->items[i]->integer != expected) return error(ErrorCode::kUnsupported, what + " isn't stored in order; call contiguous() before saving");
    expected *= std::max<int64_t>(shape[i], 1);
  }
  const std::optional<FloatKind> kind = float_kind(v.items[0]->type);
  const auto entry = entries.find(root + "data/" + v.items[0]->text);
  if (!kind) return error(ErrorCode::kUnsupported, fmt::format("{} has the type {}; floats of 16, 32 and 64 bits are supported", what, v.items[0]->type));
  const uint64_t width = float_bytes(*kind), first = static_cast<uint64_t>(v.items[1]->integer), count = static_cast<uint64_t>(ir::element_count(shape));
  if (entry == entries.end() || v.items[1]->integer < 0 || first > entry->second.size() / width || count > entry->second.size() / width - first) return bad;
  return floats(*kind, entry->second.subspan(first * width, count * width), shape, what);
}

bool holds_tensors(const Value& v) {
  if (v.kind != Value::kDictionary) return false;
  for (size_t i = 1; i < v.items.size(); i += 2)
    if (v.items[i]->kind == Value::kTensor) return true;
  return false;
}

// The dictionary of weights: all of the file, or what training loops keep it under.
Ref state_dict_of(const Ref& top) {
  if (holds_tensors(*top) || top->kind != Value::kDictionary) return top;
  for (const char* key : {"state_dict", "model_state_dict", "model", "ema", "net", "network", "weights"}) {
    for (size_t i = 0; i + 1 < top->items.size(); i += 2)
      if (top->items[i]->text == key && holds_tensors(*top->items[i + 1])) return top->items[i + 1];
  }
  return top;
}

}  // namespace

Result<void> read_torch_archive(const std::string& path, Weights& weights) {
  PITH_TRY(const std::vector<uint8_t> file, read_file(path));
  PITH_TRY(const auto entries, zip_entries(file, path));
  std::string root;
  Bytes pickle;
  for (const auto& [name, bytes] : entries) {
    if (!name.ends_with("data.pkl")) continue;
    root = name.substr(0, name.size() - 8);
    pickle = bytes;
  }
  if (pickle.empty()) return usage_error(fmt::format("'{}' has no data.pkl; it isn't made by torch.save", path));
  if (entries.count(root + "constants.pkl") != 0)
    return error(ErrorCode::kUnsupported, fmt::format("'{}' is a TorchScript file, a program and not a state dict; save model.state_dict()", path));
  PITH_TRY(const Ref whole, PickleReader(pickle, path).read());
  const Ref top = state_dict_of(whole);
  if (top->kind != Value::kDictionary) return usage_error(fmt::format("'{}' holds no dictionary of weights; save model.state_dict()", path));
  for (size_t i = 0; i + 1 < top->items.size(); i += 2) {
    const Value &key = *top->items[i], &value = *top->items[i + 1];
    if (key.kind != Value::kText || value.kind != Value::kTensor || value.items[0]->type == "LongStorage" || value.items[0]->type == "BoolStorage" || value.items[0]->type == "ByteStorage") continue;
    PITH_TRY(ir::Tensor t, tensor_of(value, entries, root, fmt::format("'{}': '{}'", path, key.text)));
    weights.add(key.text, std::move(t));
  }
  return {};
}

}  // namespace pith::importers
