// Errors as values.
//
// Why: library code of a tool must never exit or throw across its stages; a failure is one line that names the
// culprit and the mend, carries the exit code that the command line documents, and remembers where it arose so that
// internal bugs can be told from user errors. Method: a small sum type (std::expected is C++23).
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace pith {

// The kinds of failure; the values are the command line's exit codes.
enum class ErrorCode : int {
  kInternal = 1,     // a bug of ours
  kUsage = 2,        // wrong arguments, unreadable or malformed input
  kUnsupported = 3,  // an operator or feature that pith doesn't have
  kDoesNotFit = 4,   // a memory or size budget can't be met
  kQuality = 5,      // a quality gate (--max-drop) failed
  kMismatch = 6,     // two executions that must agree don't
};

// Where an error arose: std::source_location, which Clang 14 can't compile.
class SourceLocation {
 public:
  static constexpr SourceLocation current(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    SourceLocation here;
    here.file_ = file;
    here.line_ = line;
    return here;
  }
  constexpr const char* file_name() const { return file_; }
  constexpr int line() const { return line_; }

 private:
  const char* file_ = "";
  int line_ = 0;
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;  // one line: the culprit, then the mend
  SourceLocation where;
};

inline Error error(ErrorCode code, std::string message,
                   SourceLocation where = SourceLocation::current()) {
  return Error{code, std::move(message), where};
}
inline Error usage_error(std::string message, SourceLocation where = SourceLocation::current()) {
  return Error{ErrorCode::kUsage, std::move(message), where};
}
inline Error internal_error(std::string message, SourceLocation where = SourceLocation::current()) {
  return Error{ErrorCode::kInternal, std::move(message), where};
}

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error e) : state_(std::in_place_index<1>, std::move(e)) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *std::get_if<1>(&state_); }
  T& value() & { return check(), *std::get_if<0>(&state_); }
  const T& value() const& { return check(), *std::get_if<0>(&state_); }
  T&& value() && { return check(), std::move(*std::get_if<0>(&state_)); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  void check() const {
    if (!ok()) std::abort();  // reading the value of a failed result is a bug at the call site
  }
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error e) : error_(std::move(e)) {}
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const { return *error_; }

 private:
  std::optional<Error> error_;
};

// PITH_TRY(auto x, f());  binds the value or returns the error from the enclosing function.
#define PITH_CONCAT_INNER(a, b) a##b
#define PITH_CONCAT(a, b) PITH_CONCAT_INNER(a, b)
#define PITH_TRY(declaration, ...)                                         \
  auto PITH_CONCAT(pith_result_, __LINE__) = (__VA_ARGS__);                \
  if (!PITH_CONCAT(pith_result_, __LINE__).ok())                           \
    return PITH_CONCAT(pith_result_, __LINE__).error();                    \
  declaration = std::move(PITH_CONCAT(pith_result_, __LINE__)).value()
// PITH_CHECK_OK(f());  for Result<void> (or to drop a value).
#define PITH_CHECK_OK(...)                                                 \
  do {                                                                     \
    auto pith_result_inner = (__VA_ARGS__);                                \
    if (!pith_result_inner.ok()) return pith_result_inner.error();         \
  } while (0)

}  // namespace pith
