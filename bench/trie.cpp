// bench_trie: HostTrie with a million patterns: how long it takes to build, how large it is, how
// long a match takes.
//
//   bench_trie [patterns]
//
// 80 % exact names, 15 % with one `*`, 5 % with `**` or a `*` in the middle. Every match is timed
// on its own, less the cost of reading the clock, on names in random order: on few, which stay in
// the caches (warm), and on ever more, which do not. What one cache miss costs here is printed too.

#include <proxycore/host_trie.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <malloc.h>

namespace {

using Clock = std::chrono::steady_clock;

std::size_t heap_in_use() {
  const auto info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

struct Names {
  std::vector<std::string> patterns;
  std::vector<std::string> exact, star, wide, missing;  // names to look up, by what they hit
};

Names make_names(std::size_t count) {
  static constexpr const char* services[] = {"www", "api", "app", "mail", "git", "shop", "cdn-3"};
  static constexpr const char* tops[] = {"com", "net", "org", "io", "example", "co.uk", "de"};
  std::mt19937_64 random(1);
  const auto pick = [&random](const auto& list) {
    return std::string(list[random() % std::size(list)]);
  };
  const auto word = [&random](std::size_t size) {
    std::string text;
    while (text.size() < size) text += static_cast<char>('a' + random() % 26);
    return text;
  };
  Names names;
  for (std::size_t i = 0; i < count; ++i) {
    // Unique by its number; 5 to 16 letters before it.
    const std::string domain = word(2 + random() % 10) + std::to_string(i) + "." + pick(tops);
    const unsigned kind = static_cast<unsigned>(random() % 100);
    if (kind < 80) {
      names.patterns.push_back(pick(services) + "." + domain);
      names.exact.push_back(names.patterns.back());
    } else if (kind < 95) {
      names.patterns.push_back("*." + domain);
      names.star.push_back(word(6) + "." + domain);
    } else if (kind < 98) {
      names.patterns.push_back("**." + domain);
      names.wide.push_back(word(4) + "." + word(5) + "." + domain);
    } else {
      names.patterns.push_back("api.*." + domain);
      names.wide.push_back("api." + word(5) + "." + domain);
    }
    if (i % 4 == 0) names.missing.push_back("www." + word(9) + "." + pick(tops));
  }
  std::shuffle(names.patterns.begin(), names.patterns.end(), random);
  for (auto* list : {&names.exact, &names.star, &names.wide, &names.missing}) {
    std::shuffle(list->begin(), list->end(), random);
  }
  return names;
}

double nanoseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::nano>(Clock::now() - start).count();
}

double median(std::vector<double>& samples) {
  std::sort(samples.begin(), samples.end());
  return samples[samples.size() / 2];
}

double clock_cost() {
  std::vector<double> samples(100'000);
  for (double& sample : samples) sample = nanoseconds_since(Clock::now());
  return median(samples);
}

// Follows pointers at random through 64 MiB.
double cache_miss_cost() {
  struct alignas(64) Line {
    std::size_t next;
  };
  std::vector<std::size_t> order(std::size_t{1} << 20);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(3));
  std::vector<Line> lines(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    lines[order[i]].next = order[(i + 1) % order.size()];
  }
  const auto start = Clock::now();
  std::size_t at = 0;
  for (std::size_t i = 0; i < order.size(); ++i) at = lines[at].next;
  const double cost = nanoseconds_since(start) / static_cast<double>(order.size());
  return at == 0 ? cost : 0;  // it is 0: that was the whole circle
}

// `most` of the names, again and again.
void measure(const char* what, const proxycore::HostTrie<std::uint32_t>& trie,
             const std::vector<std::string>& names, std::size_t most, bool expected) {
  static const double overhead = clock_cost();
  std::string text;  // one after the other in memory, so that reading the names costs little
  std::vector<std::pair<std::size_t, std::size_t>> spans;
  for (std::size_t i = 0; i < std::min(names.size(), most); ++i) {
    spans.emplace_back(text.size(), names[i].size());
    text += names[i];
  }
  std::vector<double> samples;
  for (int round = 0; round < 10; ++round) {
    if (round < 3) samples.clear();  // warming up
    for (const auto& [at, size] : spans) {
      const std::string_view name(text.data() + at, size);
      const auto start = Clock::now();
      const std::uint32_t* found = trie.match(name);
      samples.push_back(nanoseconds_since(start) - overhead);
      if ((found != nullptr) != expected) {
        std::fprintf(stderr, "bench_trie: %s: wrong answer for a name\n", what);
        std::exit(1);
      }
    }
  }
  const double middle = median(samples);
  std::printf("  %-26s median %4.0f ns, p99 %4.0f ns\n", what, middle,
              samples[samples.size() * 99 / 100]);
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 1'000'000;
  Names names = make_names(count);

  const std::size_t heap_before = heap_in_use();
  const auto start = Clock::now();
  proxycore::HostTrie<std::uint32_t> trie;
  for (std::uint32_t i = 0; i < names.patterns.size(); ++i) {
    if (auto done = trie.insert(names.patterns[i], i); !done) {
      std::fprintf(stderr, "bench_trie: %s\n", done.error().message().c_str());
      return 1;
    }
  }
  const std::chrono::duration<double> built = Clock::now() - start;
  const double per_pattern =
      static_cast<double>(heap_in_use() - heap_before) / static_cast<double>(count);
  std::size_t bytes = 0;
  for (const std::string& pattern : names.patterns) bytes += pattern.size();
  std::printf("%zu patterns of %.1f bytes: built in %.2f s, %.1f bytes each\n", count,
              static_cast<double>(bytes) / static_cast<double>(count), built.count(), per_pattern);

  std::vector<std::string> mixed = names.exact;
  mixed.insert(mixed.end(), names.star.begin(), names.star.end());
  mixed.insert(mixed.end(), names.wide.begin(), names.wide.end());
  std::shuffle(mixed.begin(), mixed.end(), std::mt19937_64(2));
  std::printf("a cache miss costs %.0f ns here\n", cache_miss_cost());
  for (const std::size_t most : {1'000U, 10'000U, 100'000U, 1'000'000U}) {
    std::printf("%zu names, again and again\n", most);
    measure("as the patterns are mixed", trie, mixed, most, true);
    measure("exact names", trie, names.exact, most, true);
    measure("one *", trie, names.star, most, true);
    measure("** or * in the middle", trie, names.wide, most, true);
    measure("no match", trie, names.missing, most, false);
  }
}
