// Samples: what stands on a page of metrics in the Prometheus text format 0.0.4.
//
// For a page of our own proxyd: no exemplars, no escapes in the labels that are looked at.
// Thread: functions, any; a Sample lives as long as its page.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::admin {

struct Sample {
  std::string_view name;
  std::vector<std::pair<std::string_view, std::string_view>> labels = {};
  double value = 0;

  // "": it has no such label.
  [[nodiscard]] std::string_view label(std::string_view key) const noexcept;
};

// In the page's order, at most 10,000; what is no sample is passed over, and so are those of single
// hosts, of which there are many.
std::vector<Sample> samples_of(std::string_view page);

}  // namespace proxycore::admin
