#include "support/count_allocations.h"
#include "support/slow_matcher.h"
#include <proxycore/host_trie.h>

#include <atomic>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

HostTrie<std::string> trie_of(const std::vector<std::string>& patterns) {
  HostTrie<std::string> trie;
  for (const std::string& pattern : patterns) REQUIRE(trie.insert(pattern, pattern));
  return trie;
}

std::string match(const HostTrie<std::string>& trie, std::string_view host) {
  const std::string* found = trie.match(host);
  return found != nullptr ? *found : "-";
}

// Names of labels of one letter, as SlowMatcher has them.
std::string letters(std::string_view name) {
  std::string text;
  for (std::size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '.') continue;
    const bool twice = name.substr(i, 2) == "**";
    text.insert(text.begin(), twice ? '#' : name[i]);
    i += twice;
  }
  return text;
}

std::string word_of(const MatchTrace& trace) {
  std::string word;
  for (std::size_t i = 0; i < trace.labels; ++i) {
    word += static_cast<char>('0' + static_cast<int>(trace.fits[i]));
  }
  return word;
}

std::string random_name(std::mt19937& random, const std::vector<const char*>& labels,
                        std::size_t longest) {
  std::string name = labels[random() % labels.size()];
  for (std::size_t more = random() % longest; more > 0; --more) {
    name.append(".").append(labels[random() % labels.size()]);
  }
  return name;
}

// Nodes of the tree of labels: the ends of all patterns with wildcards, and the root.
std::size_t nodes_of(const std::vector<std::string>& patterns) {
  std::set<std::string> ends = {""};
  for (const std::string& pattern : patterns) {
    for (std::size_t at = pattern.size(); at > 0; --at) {
      if (at == 1 || pattern[at - 2] == '.') ends.insert(pattern.substr(at - 1));
    }
  }
  return ends.size();
}

}  // namespace

TEST_CASE("trie: exact beats *, * beats **") {
  const auto trie = trie_of({"**.example.com", "*.example.com", "a.example.com"});
  CHECK(match(trie, "a.example.com") == "a.example.com");
  CHECK(match(trie, "b.example.com") == "*.example.com");
  CHECK(match(trie, "c.b.example.com") == "**.example.com");
  CHECK(match(trie, "example.com") == "-");
  CHECK(match(trie, "com") == "-");
}

TEST_CASE("trie: the label further right decides") {
  const auto trie = trie_of({"**.example.com", "api.*.*.com"});
  CHECK(match(trie, "api.v1.example.com") == "**.example.com");
  CHECK(match(trie, "api.v1.other.com") == "api.*.*.com");
}

TEST_CASE("trie: a branch that leads nowhere is given up for the next best") {
  CHECK(match(trie_of({"api.*.example.com", "web.v1.example.com"}), "api.v1.example.com") ==
        "api.*.example.com");
  CHECK(match(trie_of({"**.example.com", "x.**.foo.example.com"}), "q.r.foo.example.com") ==
        "**.example.com");
  CHECK(match(trie_of({"x.*.*.com", "y.a.example.com"}), "x.a.example.com") == "x.*.*.com");
}

TEST_CASE("trie: neighbouring ** take at least a label each, and the longer pattern first") {
  const auto trie = trie_of({"**.com", "**.**.com", "a.**.**"});
  CHECK(match(trie, "x.com") == "**.com");
  CHECK(match(trie, "y.x.com") == "**.**.com");
  CHECK(match(trie, "z.y.x.com") == "**.**.com");
  CHECK(match(trie, "a.b.org") == "a.**.**");
  CHECK(match(trie, "a.org") == "-");
}

TEST_CASE("trie: an IPv6 literal is one name, an IPv4 one has labels") {
  const auto trie = trie_of({"[::1]", "*.0.0.1"});
  CHECK(match(trie, "[::1]") == "[::1]");
  CHECK(match(trie, "[::2]") == "-");
  CHECK(match(trie, "10.0.0.1") == "*.0.0.1");
}

TEST_CASE("trie: what is no pattern is refused with the reason") {
  HostTrie<int> trie;
  const auto refused = [&trie](std::string_view pattern) {
    const auto done = trie.insert(pattern, 1);
    REQUIRE_FALSE(done);
    CHECK(done.error().code == Errc::invalid);
    return done.error().detail;
  };
  CHECK(refused("") == "'' is no canonical pattern: expected 1 to 253 bytes");
  CHECK(refused("a..b") == "'a..b' is no canonical pattern: expected labels of 1 to 63 bytes");
  CHECK(refused("a*.b") ==
        "'a*.b' is no canonical pattern: expected a-z, 0-9, '-' and '_' in label 'a*'");
  refused(".a");
  refused("a.");
  refused(".");
  refused("***.a");
  refused("Example.com");
  refused("a b");
  refused(std::string("a\0b", 3));
  refused(std::string(64, 'a') + ".b");
  refused(std::string(254, 'a'));
  CHECK(trie.size() == 0);
}

TEST_CASE("trie: a pattern is there once") {
  HostTrie<int> trie;
  CHECK(trie.insert("*.example.com", 1));
  const auto again = trie.insert("*.example.com", 2);
  REQUIRE_FALSE(again);
  CHECK(again.error().message() == "conflict: '*.example.com' is there already");
  CHECK(*trie.match("a.example.com") == 1);
  CHECK(trie.size() == 1);
}

TEST_CASE("trie: texts that are no names match nothing") {
  const auto trie = trie_of({"**", "*.*", "a.b"});
  CHECK(match(trie, "") == "-");
  CHECK(match(trie, ".") == "-");
  CHECK(match(trie, ".a") == "-");
  CHECK(match(trie, "a.") == "-");
  CHECK(match(trie, "a..b") == "-");
  CHECK(match(trie, std::string(253, '.')) == "-");
  CHECK(match(trie, std::string(300, 'a')) == "-");
}

TEST_CASE("trie: the longest names have 127 labels") {
  std::string host = "a";
  for (int i = 1; i < 127; ++i) host += ".a";
  CHECK(match(trie_of({"**"}), host) == "**");
  CHECK(match(trie_of({"*.**"}), host) == "*.**");
  const auto whole = trie_of({host, "**"});
  CHECK(match(whole, host) == host);
  std::string stars = "*";
  for (int i = 1; i < 127; ++i) stars += ".*";
  CHECK(match(trie_of({stars}), host) == stars);
  CHECK(match(trie_of({stars}), host.substr(2)) == "-");
  CHECK(match(trie_of({"**"}), "." + host) == "-");
}

TEST_CASE("trie: values of any kind live as long as the trie") {
  const auto shared = std::make_shared<int>(7);
  {
    HostTrie<std::shared_ptr<int>> trie;
    for (int i = 0; i < 100; ++i) {
      REQUIRE(trie.insert("*.h" + std::to_string(i) + ".test", std::shared_ptr<int>(shared)));
    }
    CHECK(shared.use_count() == 101);
    HostTrie<std::shared_ptr<int>> moved = std::move(trie);
    CHECK(**moved.match("a.h5.test") == 7);
    CHECK(shared.use_count() == 101);
    moved = {};
    CHECK(shared.use_count() == 1);
    CHECK(moved.match("a.h5.test") == nullptr);
    REQUIRE(moved.insert("**", std::shared_ptr<int>(shared)));
  }
  CHECK(shared.use_count() == 1);
}

TEST_CASE("trie: find tells the pattern, for_each tells all of them") {
  const std::vector<std::string> patterns = {"**", "a.*.c", "a.b.c", "b"};
  const auto trie = trie_of(patterns);
  CHECK(trie.find("a.x.c")->pattern() == "a.*.c");
  CHECK(trie.find("a.b.c")->pattern() == "a.b.c");
  std::set<std::string> seen;
  trie.for_each([&seen](const auto& entry) {
    CHECK(entry.pattern() == entry.value);
    seen.insert(entry.value);
  });
  CHECK(seen == std::set<std::string>(patterns.begin(), patterns.end()));
}

TEST_CASE("trie: agrees with the slow matcher on random patterns") {
  std::vector<std::string> hosts = {"a", "b", "c"};  // then all of up to 4 labels
  for (std::size_t i = 0; hosts.size() < 3 + 9 + 27 + 81; ++i) {
    for (const char* label : {".a", ".b", ".c"}) hosts.push_back(hosts[i] + label);
  }
  for (std::size_t i = hosts.size() - 81, end = hosts.size(); i < end; ++i) {
    hosts.push_back(hosts[i] + ".a.b");
  }
  std::vector<std::string> host_letters;
  host_letters.reserve(hosts.size());
  for (const std::string& host : hosts) host_letters.push_back(letters(host));

  const std::vector<const char*> labels = {"a", "b", "c", "a", "b", "*", "*", "**", "**"};
  std::mt19937 random(20);
  std::size_t queries = 0;
  std::size_t hits = 0;
  for (int round = 0; round < 5000; ++round) {
    std::set<std::string> set;
    for (std::size_t more = 1 + random() % 9; more > 0; --more) {
      set.insert(random_name(random, labels, 6));
    }
    const std::vector<std::string> patterns(set.begin(), set.end());
    HostTrie<int> trie;
    for (std::size_t i = 0; i < patterns.size(); ++i) {
      REQUIRE(trie.insert(patterns[i], static_cast<int>(i)));
    }
    std::vector<std::string> pattern_letters;
    for (const std::string& pattern : patterns) pattern_letters.push_back(letters(pattern));
    const test::SlowMatcher slow(pattern_letters);
    for (std::size_t i = 0; i < hosts.size(); ++i) {
      std::string word;
      const int expected = slow.best(host_letters[i], word);
      MatchTrace trace;
      const auto* found = trie.find(hosts[i], trace);
      const int got = found != nullptr ? found->value : -1;
      ++queries;
      hits += got >= 0;
      // A CHECK for each would cost more than what is tested.
      if (got != expected || (got >= 0 && word_of(trace) != word)) {
        std::string all;
        for (const std::string& pattern : patterns) all += pattern + " ";
        FAIL_CHECK(hosts[i] << " in " << all << "gave " << got << " instead of " << expected);
      }
    }
  }
  CHECK(queries >= 1'000'000);
  CHECK(hits > queries / 4);
  CHECK(hits < queries);
}

TEST_CASE("trie: explain agrees with match, and gives each candidate a reason") {
  const std::vector<const char*> name_labels = {"a", "b"};
  const std::vector<const char*> pattern_labels = {"a", "b", "*", "**"};
  std::mt19937 random(21);
  for (int round = 0; round < 300; ++round) {
    std::set<std::string> patterns;
    for (int i = 0; i < 6; ++i) patterns.insert(random_name(random, pattern_labels, 4));
    const auto trie = trie_of({patterns.begin(), patterns.end()});
    const std::string host = random_name(random, name_labels, 5);
    const std::string best = match(trie, host);
    const auto rows = trie.explain(host);
    std::size_t fitting = 0;
    for (const Candidate& row : rows) {
      CHECK_FALSE(row.reason.empty());
      const bool fits = match(trie_of({row.pattern}), host) != "-";
      CHECK(row.matches == fits);
      CHECK(row.wins == (row.pattern == best));
      fitting += fits;
    }
    for (const std::string& pattern : patterns) {
      fitting -= match(trie_of({pattern}), host) != "-";
    }
    CHECK(fitting == 0);
    if (best != "-") CHECK(rows.at(0).pattern == best);
  }
}

TEST_CASE("trie: explain says why a pattern won or lost") {
  const auto trie = trie_of({"**.example.com", "*.example.com", "a.b.example.com", "example.com",
                             "a.*.example.com", "*.com", "*.other.net", "x.**"});
  const auto rows = trie.explain("a.c.example.com");
  const auto reason = [&rows](std::string_view pattern) -> std::string {
    for (const Candidate& row : rows) {
      if (row.pattern == pattern) return (row.wins ? "won: " : "lost: ") + row.reason;
    }
    return "not told";
  };
  CHECK(reason("a.*.example.com") ==
        "won: fits best: 'com' exact, 'example' exact, 'c' *, 'a' exact");
  CHECK(reason("**.example.com") == "lost: 'c' is ** here and * in 'a.*.example.com'");
  CHECK(reason("*.example.com") == "lost: what stands left of 'example.com' does not fit '*'");
  CHECK(reason("example.com") == "lost: is one name and does not cover those below it");
  CHECK(reason("*.com") == "lost: what stands left of 'com' does not fit '*'");
  CHECK(reason("x.**") == "lost: the name does not fit 'x.**'");
  CHECK(reason("a.b.example.com") == "not told");
  CHECK(reason("*.other.net") == "not told");
  CHECK(trie.explain("a.c.example.com", 2).size() == 2);

  const auto base = trie_of({"*.example.com"}).explain("example.com");
  REQUIRE(base.size() == 1);
  CHECK(base[0].reason == "nothing stands left of 'example.com' for '*'");
}

TEST_CASE("trie: match does not allocate") {
  const auto trie = trie_of({"**", "*.example.com", "a.**.b.**.c", "www.example.com"});
  const std::vector<std::string> hosts = {
      "www.example.com", "x.example.com", "a.x.y.b.z.c", "q.b.b.b.b.b.c", "x", "", "...."};
  std::size_t hits = 0;
  const std::size_t before = test::allocations();
  for (const std::string& host : hosts) hits += trie.match(host) != nullptr;
  CHECK(test::allocations() == before);
  CHECK(hits == 5);
}

TEST_CASE("trie: many ** cost at most a few steps per node and label") {
  std::string host = "a";
  for (int i = 1; i < 127; ++i) host += ".a";
  std::string mixed = "a";
  for (int i = 1; i < 127; ++i) mixed += i % 7 == 0 ? ".b" : ".a";
  const auto steps = [](const std::vector<std::string>& patterns, std::string_view name) {
    const auto trie = trie_of(patterns);
    MatchTrace trace;
    CHECK(trie.find(name, trace) == nullptr);
    return trace.steps;
  };
  const auto bound = [](const std::vector<std::string>& patterns) {
    return 5 * max_host_labels * nodes_of(patterns);
  };
  for (const std::string_view part : {"**.a.", "**.", "**.*.", "**.a.a.*.", "*.**.a.", "**.a.b."}) {
    std::string chain = "x.";
    while (chain.size() + part.size() < 240) chain += part;
    chain.pop_back();
    CHECK(steps({chain}, host) <= bound({chain}));
    CHECK(steps({chain}, mixed) <= bound({chain}));
  }
  // Hundreds of such patterns that share their right ends and all fail in their last label.
  std::mt19937 random(22);
  for (const auto& labels : std::vector<std::vector<const char*>>{
           {"a", "*", "**"}, {"**", "**", "a"}, {"**", "a", "b"}, {"**", "*", "**"}}) {
    std::set<std::string> set;
    for (int i = 0; i < 150; ++i) {
      std::string pattern = "x";
      for (int j = 0; j < 40; ++j) pattern.append(".").append(labels[random() % labels.size()]);
      set.insert(pattern);
    }
    const std::vector<std::string> patterns(set.begin(), set.end());
    CHECK(steps(patterns, host) <= bound(patterns));
    CHECK(steps(patterns, mixed) <= bound(patterns));
  }
}

TEST_CASE("trie: many threads match at once") {
  HostTrie<int> trie;
  for (int i = 0; i < 2000; ++i) {
    REQUIRE(trie.insert((i % 2 != 0 ? "*.h" : "h") + std::to_string(i) + ".test", i));
  }
  std::atomic<int> wrong = 0;
  std::vector<std::jthread> threads;
  threads.reserve(4);
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&trie, &wrong] {
      for (int i = 0; i < 2000; ++i) {
        const int* found = trie.match((i % 2 != 0 ? "x.h" : "h") + std::to_string(i) + ".test");
        if (found == nullptr || *found != i) ++wrong;
      }
    });
  }
  threads.clear();
  CHECK(wrong == 0);
}
