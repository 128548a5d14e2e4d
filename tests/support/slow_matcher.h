// SlowMatcher: the rule of HostTrie, slow and obvious, to compare with.
//
// Names and patterns are given as strings with a letter for each label, right to left, in which '*'
// and '#' stand for `*` and `**`. Lays the labels of each pattern over those of the name in every
// possible way, writes down for each label of the name what took it (0 exact, 1 `*`, 2 a `**`, 3
// the same `**` going on), and takes the pattern with the smallest of these words. Exponential.
// Thread: a value.
#pragma once

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

class SlowMatcher {
 public:
  explicit SlowMatcher(std::vector<std::string> patterns) : patterns_(std::move(patterns)) {}

  // Index of the best pattern, or -1; `word` becomes that of its match.
  int best(std::string_view host, std::string& word) const {
    int found = -1;
    word = none;
    for (std::size_t i = 0; i < patterns_.size(); ++i) {
      std::string way;
      std::string smallest = none;
      lay(patterns_[i], host, way, smallest);
      if (smallest < word) {
        word = smallest;
        found = static_cast<int>(i);
      }
    }
    return found;
  }

 private:
  static constexpr const char* none = "9";  // after every word

  static void lay(std::string_view pattern, std::string_view host, std::string& way,
                  std::string& smallest) {
    if (pattern.empty()) {
      if (host.empty() && way < smallest) smallest = way;
      return;
    }
    const char label = pattern[0];
    const std::size_t before = way.size();
    const std::size_t most = label == '#' ? host.size() : std::min<std::size_t>(host.size(), 1);
    for (std::size_t taken = 1; taken <= most; ++taken) {
      if (label != '#' && label != '*' && label != host[0]) break;
      way += label == '#' ? (taken == 1 ? '2' : '3') : label == '*' ? '1' : '0';
      lay(pattern.substr(1), host.substr(taken), way, smallest);
    }
    way.resize(before);
  }

  std::vector<std::string> patterns_;
};

}  // namespace proxycore::test
