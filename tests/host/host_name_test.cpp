#include "support/count_allocations.h"
#include <proxycore/host.h>
#include <proxycore/host_trie.h>

#include <fstream>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace std::string_view_literals;

namespace {

// The canonical form, or "-". Also checks that both functions agree and that the form is its own.
std::string form(std::string_view raw) {
  std::string scratch;
  std::string normal(HostName::normalize(raw, scratch));
  const auto canonical = HostName::canonical(raw);
  if (!canonical) {
    CHECK(canonical.error().code == Errc::invalid);
    CHECK(normal.empty());
    return "-";
  }
  CHECK(normal == *canonical);
  CHECK(HostName::canonical(normal).value_or("-") == normal);
  CHECK(HostName::normalize(normal, scratch).data() == normal.data());
  return normal;
}

std::string pattern(std::string_view raw) {
  const auto canonical = HostName::canonical_pattern(raw);
  return canonical ? *canonical : "-";
}

std::string refusal(std::string_view raw) {
  const auto canonical = HostName::canonical(raw);
  REQUIRE_FALSE(canonical);
  return canonical.error().detail;
}

}  // namespace

TEST_CASE("host name: lower case, without the trailing dot") {
  CHECK(form("example.com") == "example.com");
  CHECK(form("UPPER.Example.COM") == "upper.example.com");
  CHECK(form("trail.example.com.") == "trail.example.com");
  CHECK(form("LOCALHOST.") == "localhost");
  CHECK(form("_acme-challenge.example.com") == "_acme-challenge.example.com");
  CHECK(form("__proto__.example.com") == "__proto__.example.com");
  CHECK(form("constructor") == "constructor");
  CHECK(form("-a-.0") == "-a-.0");
}

TEST_CASE("host name: IDN becomes A-labels") {
  CHECK(form("bücher.example.com") == "xn--bcher-kva.example.com");
  CHECK(form("BÜCHER.Example.com.") == "xn--bcher-kva.example.com");
  CHECK(form("xn--bcher-kva.example.net") == "xn--bcher-kva.example.net");
  CHECK(form("faß.example") == "xn--fa-hia.example");
  CHECK(form("例え.テスト") == "xn--r8jz45g.xn--zckzah");
  CHECK(form("例え。テスト") == "xn--r8jz45g.xn--zckzah");  // an ideographic full stop
  CHECK(form("e\u0301.example") == "xn--9ca.example");      // composed: é
  CHECK(form("ｅｘａｍｐｌｅ.com") == "example.com");       // full width
  CHECK(form("_ü.example") == "xn--_-eha.example");
}

TEST_CASE("host name: addresses are names too") {
  CHECK(form("10.20.30.40") == "10.20.30.40");
  CHECK(form("[::1]") == "[::1]");
  CHECK(form("[2001:DB8:0:0:0:0:0:1]") == "[2001:db8::1]");
  CHECK(form("[::ffff:192.0.2.1]") == "[::ffff:192.0.2.1]");
  for (const auto bad : {"[]"sv, "["sv, "[::1"sv, "[::1]."sv, "[::1]x"sv, "[1.2.3.4]"sv, "::1"sv,
                         "[::g]"sv, "[fe80::1%eth0]"sv, "[::1\0]"sv, "[::1]]"sv, "[*]"sv,
                         "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]"sv}) {
    CHECK(form(bad) == "-");
  }
}

TEST_CASE("host name: what is none is refused, with the label and the reason") {
  for (const auto bad : {""sv,
                         "."sv,
                         ".."sv,
                         ".com"sv,
                         "a..b"sv,
                         "a.."sv,
                         "ü.."sv,
                         "..ü"sv,
                         " example.com"sv,
                         "example.com "sv,
                         "exa mple.com"sv,
                         "a\tb"sv,
                         "a\0b"sv,
                         "ü\0b"sv,
                         "ü b"sv,
                         "a/b"sv,
                         "a:80"sv,
                         "ü:80"sv,
                         "a@b"sv,
                         "*"sv,
                         "*.com"sv,
                         "**.com"sv,
                         "＊.com"sv,
                         "a%41.com"sv,
                         "\xff\xfe.com"sv,
                         "\xc3.com"sv,
                         "\u00ad.com"sv,
                         "a\u2044b.com"sv,
                         "\x7f.com"sv}) {
    CHECK(form(bad) == "-");
  }
  CHECK(refusal("") == "'' is no host name: it is empty");
  CHECK(refusal("a..b") == "'a..b' is no host name: it has an empty label");
  CHECK(refusal("a b.com") ==
        "'a b.com' is no host name: label 'a b' has other than letters, digits, '-' and '_'");
  CHECK(refusal("example.com:80") ==
        "'example.com:80' is no host name: it has a ':'; expected a name without port, or an IPv6 "
        "address in brackets");
  CHECK(refusal("a\nb") ==
        "'a?b' is no host name: label 'a?b' has other than letters, digits, '-' and '_'");
  CHECK(refusal(std::string(5000, 'a')).size() < 200);
}

TEST_CASE("host name: at most 253 bytes, labels at most 63") {
  const std::string label(63, 'a');
  const std::string longest = label + "." + label + "." + label + "." + std::string(61, 'b');
  CHECK(form(longest) == longest);
  CHECK(form(longest + ".") == longest);
  CHECK(form(longest + "b") == "-");
  CHECK(form("c." + longest.substr(3)) == "c." + longest.substr(3));
  CHECK(form(label + "a.com") == "-");
  CHECK(form("b." + label + "a") == "-");
  // More than 63 bytes of UTF-8 that fit an A-label, and some that do not.
  std::string wide;
  for (int i = 0; i < 40; ++i) wide += "ü";
  CHECK(form(wide + ".com").substr(0, 4) == "xn--");
  for (int i = 0; i < 40; ++i) wide += "ü";
  CHECK(form(wide + ".com") == "-");
  CHECK(form(std::string(100'000, 'a')) == "-");
  std::string endless;
  for (int i = 0; i < 50'000; ++i) endless += "ü";
  CHECK(form(endless) == "-");
}

TEST_CASE("host name: patterns have * and ** as whole labels") {
  CHECK(pattern("**.Example.COM.") == "**.example.com");
  CHECK(pattern("*.bücher.example") == "*.xn--bcher-kva.example");
  CHECK(pattern("a.*.**.b") == "a.*.**.b");
  CHECK(pattern("**") == "**");
  CHECK(pattern("[::1]") == "[::1]");
  for (const auto bad : {"***"sv, "a*.com"sv, "*a.com"sv, "*..com"sv, ""sv, "*ü.com"sv, "＊.com"sv,
                         "[*]"sv, "* .com"sv}) {
    CHECK(pattern(bad) == "-");
  }
}

TEST_CASE("host name: any bytes give the same by normalize and canonical") {
  const std::vector<std::string_view> parts = {"a", "B", "0", "-",    "_",     ".",    ".",
                                               "*", " ", "ü", "ß",    "。",    "\xc3", "\0"sv,
                                               "[", "]", ":", "xn--", "\u0301"};
  std::mt19937 random(5);
  for (int i = 0; i < 20'000; ++i) {
    std::string raw;
    for (std::size_t more = random() % 8; more > 0; --more) raw += parts[random() % parts.size()];
    form(raw);
    if (const auto canonical = HostName::canonical_pattern(raw)) {
      CHECK(pattern(*canonical) == *canonical);
      HostTrie<int> trie;
      CHECK(trie.insert(*canonical, 1));
    }
  }
}

TEST_CASE("host name: normalizing ASCII does not allocate") {
  std::string scratch;
  scratch.reserve(max_host_name);
  const std::string plain = "a-rather-long-name.of.a.host.example.com";
  const std::string mixed = "A-Rather-Long-Name.of.a.Host.example.com.";
  const std::size_t before = test::allocations();
  const auto first = HostName::normalize(plain, scratch);
  CHECK(first.data() == plain.data());
  CHECK(HostName::normalize(mixed, scratch) == plain);
  CHECK(HostName::normalize("no host name, and a long one at that", scratch).empty());
  CHECK(test::allocations() == before);
}

TEST_CASE("host name: every row of the lookup cases") {
  std::ifstream file(TEST_DATA "/lookup_cases.tsv");
  REQUIRE(file);
  std::size_t rows = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with('#')) continue;
    std::vector<std::string> columns(1);
    for (const char c : line)
      c == '\t' ? void(columns.emplace_back()) : columns.back().push_back(c);
    REQUIRE(columns.size() >= 3);
    HostTrie<int> trie;
    std::string_view rest = columns[0];
    while (!rest.empty()) {
      const std::size_t space = std::min(rest.find(' '), rest.size());
      const auto canonical = HostName::canonical_pattern(rest.substr(0, space));
      if (canonical) CHECK(trie.insert(*canonical, 1));
      rest.remove_prefix(std::min(space + 1, rest.size()));
    }
    std::string scratch;
    const std::string_view host = HostName::normalize(columns[1], scratch);
    const auto* found = host.empty() ? nullptr : trie.find(host);
    const std::string expected = columns[2] == "-" ? "-" : pattern(columns[2]);
    INFO(line);
    CHECK((found != nullptr ? found->pattern() : "-") == expected);
    ++rows;
  }
  CHECK(rows == 70);
}
