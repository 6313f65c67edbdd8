// Warnings that are said once when they arise and repeated in the closing summary.
//
// Why: a warning that scrolls away is a silent failure. Everything goes to stderr; stdout belongs to data.
#pragma once

#include <string>
#include <vector>

namespace pith {

enum class Verbosity { kQuiet, kNormal, kVerbose };
void set_verbosity(Verbosity v);

void log_info(const std::string& line);     // shown unless quiet
void log_verbose(const std::string& line);  // shown with -v
void log_warning(const std::string& line);  // always shown, and kept for the summary
std::vector<std::string> take_warnings();   // the kept ones, oldest first, duplicates dropped; clears them

// A progress bar on stderr, drawn only on a terminal, at most ten times a second.
//   Progress bar("calibrating", samples.size());  for (...) { ...; bar.step(); }
class Progress {
 public:
  Progress(std::string title, size_t total);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  void step(size_t n = 1);

 private:
  void draw(bool last);
  std::string title_;
  size_t total_, done_ = 0;
  double started_, drawn_ = 0;
  bool terminal_;
};

}  // namespace pith
