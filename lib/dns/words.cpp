#include "dns/words.h"

#include <cstddef>

namespace proxycore::dns {

namespace {

constexpr std::size_t max_size = 400;

void blot_out(std::string& text, std::string_view secret) {
  constexpr std::string_view blot = "***";
  if (secret.empty()) return;
  for (std::size_t at = text.find(secret); at != std::string::npos;
       at = text.find(secret, at + blot.size())) {
    text.replace(at, secret.size(), blot);
  }
}

}  // namespace

std::string fit_for_people(std::string_view said, std::span<const std::string> secrets) {
  std::string text{said};
  for (const std::string& secret : secrets) blot_out(text, secret);
  std::string line;
  for (const char c : std::string_view{text}.substr(0, max_size)) {
    const bool blank = c == ' ' || (c >= '\t' && c <= '\r');
    if (!blank) {
      line += static_cast<unsigned char>(c) < 0x20 || c == 0x7F ? '?' : c;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  if (text.size() > max_size) line += "...";
  return line;
}

}  // namespace proxycore::dns
