// Pieces of the pictures: a frame with a title, axes with a grid, text.
#pragma once

#include <string>

namespace pith::sim::svg {

inline constexpr double kLeft = 80, kTop = 64, kWidth = 920, kHeight = 470;
inline constexpr const char* kFill[] = {"#e0912f", "#3b78b8", "#b8465a", "#8b95a5"};
inline constexpr const char* kOwner[] = {"frame", "network", "CPU", "weights"};

std::string head(const std::string& title);
std::string text_at(double x, double y, const char* anchor, const std::string& text);
double nice_step(double range);  // of 4 to 10 steps over it
std::string axes(double x_most, double y_most, const std::string& x_name, const std::string& y_name);  // from 0

}  // namespace pith::sim::svg
