#include "admin/samples.h"

#include "base/text.h"

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <optional>
#include <string>

namespace proxycore::admin {

namespace {

constexpr std::size_t max_samples = 10'000;
constexpr std::string_view of_hosts = "proxycore_host_";

// The text up to `end`, which goes as well; nullopt: it is not there.
std::optional<std::string_view> take_until(std::string_view& rest, std::string_view end) {
  const std::size_t at = rest.find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view taken = rest.substr(0, at);
  rest.remove_prefix(at + end.size());
  return taken;
}

std::optional<Sample> sample_of(std::string_view line) {
  Sample sample;
  if (line.empty() || line.front() == '#' || line.starts_with(of_hosts)) return std::nullopt;
  const std::size_t end = line.find_first_of("{ ");
  if (end == std::string_view::npos) return std::nullopt;
  sample.name = line.substr(0, end);
  const bool labelled = line[end] == '{';
  line.remove_prefix(end + 1);
  while (labelled && !line.starts_with('}')) {
    const auto key = take_until(line, "=\"");
    const auto value = key ? take_until(line, "\"") : std::nullopt;
    if (!value) return std::nullopt;
    sample.labels.emplace_back(*key, *value);
    if (line.starts_with(',')) line.remove_prefix(1);
  }
  if (labelled) line.remove_prefix(1);
  const std::string number(base::trim(line));
  char* behind = nullptr;
  sample.value = std::strtod(number.c_str(), &behind);
  if (number.empty() || behind != number.c_str() + number.size()) return std::nullopt;
  return sample;
}

}  // namespace

std::string_view Sample::label(std::string_view key) const noexcept {
  const auto at = std::find_if(labels.begin(), labels.end(),
                               [key](const auto& one) { return one.first == key; });
  return at != labels.end() ? at->second : std::string_view();
}

std::vector<Sample> samples_of(std::string_view page) {
  std::vector<Sample> all;
  while (!page.empty() && all.size() < max_samples) {
    const std::string_view line = page.substr(0, page.find('\n'));
    page.remove_prefix(std::min(page.size(), line.size() + 1));
    if (auto sample = sample_of(line)) all.push_back(*std::move(sample));
  }
  return all;
}

}  // namespace proxycore::admin
