// Names, patterns and targets from outside, and the trie of them.
//
// Input: lines; the first is a host name, the others are patterns.
// Claims: a canonical form is its own, and is what the data plane makes of the same bytes; the trie
// takes every canonical pattern, matches as the slow matcher does and can explain it; a target that
// was read is written and read again as the same.

#include "support/slow_matcher.h"
#include <proxycore/host.h>
#include <proxycore/host_trie.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

using namespace proxycore;

namespace {

void require(bool holds, const char* claim) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", claim);
  std::abort();
}

// A letter for each label, right to left.
class Letters {
 public:
  std::string of(std::string_view name) {
    std::string text;
    for (bool last = false; !last;) {
      const std::size_t dot = name.rfind('.');
      last = dot == std::string_view::npos;
      const std::string_view label = last ? name : name.substr(dot + 1);
      name = last ? std::string_view() : name.substr(0, dot);
      const auto next = static_cast<char>('a' + known_.size());
      text += label == "*"    ? '*'
              : label == "**" ? '#'
                              : known_.try_emplace(std::string(label), next).first->second;
    }
    return text;
  }
  [[nodiscard]] bool full() const { return known_.size() > 20; }

 private:
  std::map<std::string, char> known_;
};

void check_name(std::string_view raw, std::string& scratch) {
  const auto canonical = HostName::canonical(raw);
  const std::string_view normal = HostName::normalize(raw, scratch);
  require(normal == (canonical ? *canonical : ""), "normalize() is canonical()");
  if (!canonical) return;
  require(canonical->size() <= max_host_name, "a canonical name is short");
  const auto again = HostName::canonical(*canonical);
  require(again && *again == *canonical, "a canonical name is its own");
}

void check_target(std::string_view text) {
  const auto target = Target::parse(text);
  if (!target) return;
  const auto again = Target::parse(target->text());
  require(again && *again == *target, "a target is read as it was written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  std::vector<std::string_view> lines;
  while (!rest.empty() && lines.size() < 12) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    lines.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (lines.empty()) return 0;

  std::string scratch;
  for (const std::string_view line : lines) {
    check_name(line, scratch);
    check_target(line);
  }

  HostTrie<std::size_t> trie;
  Letters letters;
  std::vector<std::string> patterns;
  bool small = true;  // enough for the slow matcher
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto pattern = HostName::canonical_pattern(lines[i]);
    if (!pattern) continue;
    const auto again = HostName::canonical_pattern(*pattern);
    require(again && *again == *pattern, "a canonical pattern is its own");
    const bool is_new =
        trie.find(*pattern) == nullptr || trie.find(*pattern)->pattern() != *pattern;
    const auto inserted = trie.insert(*pattern, patterns.size());
    require(inserted.has_value() == is_new, "the trie takes each canonical pattern once");
    if (!inserted) continue;
    patterns.push_back(letters.of(*pattern));
    small = small && std::count(patterns.back().begin(), patterns.back().end(), '#') <= 4;
  }

  static_cast<void>(trie.match(lines[0]));  // any bytes
  const std::string_view host = HostName::normalize(lines[0], scratch);
  if (host.empty()) return 0;
  const auto* found = trie.find(host);
  const std::string name = letters.of(host);
  if (small && name.size() <= 16 && !letters.full()) {
    std::string word;
    const int expected = test::SlowMatcher(patterns).best(name, word);
    require((found != nullptr ? static_cast<int>(found->value) : -1) == expected,
            "the trie matches as the slow matcher does");
  }
  const auto rows = trie.explain(host);
  const bool wins = !rows.empty() && rows[0].wins;
  require(wins == (found != nullptr), "explain() knows whether there is a match");
  require(!wins || rows[0].pattern == found->pattern(), "explain() knows which it is");
  return 0;
}
