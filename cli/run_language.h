// `pith run` on text.
#pragma once

#include <CLI/CLI.hpp>

#include "cli/cli.h"
#include "cli/language.h"

namespace pith::cli {

struct LanguageFlags {
  std::vector<std::string> texts;
  std::string file, vocabulary;
  bool score = false;
  Sampling sampling;
  bool given() const { return !texts.empty() || !file.empty(); }
};

void add_language_flags(CLI::App* verb, LanguageFlags& flags);
Result<void> run_language(Engine& engine, const LanguageFlags& flags, const std::string& path, int top, const Global& global);

}  // namespace pith::cli
