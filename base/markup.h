// Text inside the pictures (SVG) that several parts draw.
#pragma once

#include <string>

namespace pith {

// Text or an attribute's value in XML.
inline std::string escape_xml(const std::string& text) {
  std::string out;
  for (char c : text) {
    if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '&') out += "&amp;";
    else if (c == '"') out += "&quot;";
    else out += c;
  }
  return out;
}

}  // namespace pith
