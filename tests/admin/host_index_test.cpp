#include "admin/host_index.h"

#include "certs/story.h"

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

Record host(const std::string& name, const std::string& ip = "10.0.0.1") {
  return {{"host", name}, {"ip", ip}, {"targetPort", "80"}};
}

std::vector<std::string> names(const HostIndex::Entries& entries) {
  std::vector<std::string> all;
  for (const auto& entry : entries) all.push_back(entry->name);
  return all;
}

using Names = std::vector<std::string>;

}  // namespace

TEST_CASE("host index: pages go through all hosts in order, each once") {
  HostIndex index;
  for (const char* name : {"c.test", "a.test", "e.test", "b.test", "d.test"}) {
    index.apply(name, host(name));
  }
  auto page = index.page("", 2, "", {});
  CHECK(names(page.entries) == Names{"a.test", "b.test"});
  CHECK(page.more);
  CHECK(page.total == 5);
  page = index.page("b.test", 2, "", {});
  CHECK(names(page.entries) == Names{"c.test", "d.test"});
  CHECK(page.more);
  page = index.page("d.test", 2, "", {});
  CHECK(names(page.entries) == Names{"e.test"});
  CHECK_FALSE(page.more);
  // A cursor whose host has gone.
  CHECK(names(index.page("bb", 1, "", {}).entries) == Names{"c.test"});
}

TEST_CASE("host index: a search looks at names and targets, letters of any case") {
  HostIndex index;
  index.apply("shop.test", host("shop.test"));
  index.apply("blog.test", host("blog.test", "shop-backend.internal"));
  index.apply("wiki.test", host("wiki.test", "2001:db8::1"));
  Record many = host("many.test");
  many["targets"] = "[\"10.9.9.9:81\"]";
  index.apply("many.test", many);
  CHECK(names(index.page("", 9, "SHOP", {}).entries) == Names{"blog.test", "shop.test"});
  CHECK(names(index.page("", 9, "10.9.9", {}).entries) == Names{"many.test"});
  CHECK(names(index.page("", 9, "[2001:db8::1]:80", {}).entries) == Names{"wiki.test"});
  const auto page = index.page("blog.test", 1, "test", {});
  CHECK(page.total == 4);
  CHECK(names(page.entries) == Names{"many.test"});
}

TEST_CASE("host index: who may not see a host does not see that it is there") {
  HostIndex index;
  index.apply("a.test", host("a.test"));
  index.apply("b.test", host("b.test"));
  const auto sees = [](const HostIndex::Entry& entry) { return entry.name == "b.test"; };
  const auto page = index.page("", 9, "", sees);
  CHECK(page.total == 1);
  CHECK(names(page.entries) == Names{"b.test"});
  CHECK(names(index.all(sees)) == Names{"b.test"});
}

TEST_CASE("host index: hits of wildcards, ghosts and what was removed are not in it") {
  HostIndex index;
  Record cached = host("x.test");
  cached["is_cache"] = "true";
  index.apply("x.test", cached);
  index.apply("ghost.test", {{"updated_by", "alice"}, {"updated_on", "1"}});
  index.apply("a.test", host("a.test"));
  CHECK(index.size() == 1);
  index.apply("a.test", {});
  CHECK(index.size() == 0);
  CHECK(index.find("a.test") == nullptr);
}

TEST_CASE("host index: a name is matched as the proxy does, as patterns come and go") {
  HostIndex index;
  index.apply("*.test", host("*.test"));
  index.apply("a.test", host("a.test"));
  index.apply("UPPER.test", host("UPPER.test"));
  CHECK(index.match("a.test")->name == "a.test");
  CHECK(index.match("b.test")->name == "*.test");
  CHECK(index.match("upper.test")->name == "UPPER.test");
  CHECK(index.match("a.b.test") == nullptr);
  index.apply("**.test", host("**.test"));
  CHECK(index.match("a.b.test")->name == "**.test");
  index.apply("*.test", {});
  CHECK(index.match("b.test")->name == "**.test");
}

TEST_CASE("host index: beside a host stands its certificate, or that of the wildcard above") {
  HostIndex index;
  certs::Story story;
  story.name = "*.test";
  story.state = CertificateState::failing;
  certs::add_attempt(story, {.at_ms = 1, .what = "issue", .words = "the CA's own words"});
  index.apply_story("*.test", record_of(story));
  const auto found = index.certificate("a.test");
  REQUIRE(found);
  CHECK(found->failing);
  CHECK(found->json.find("the CA's own") == std::string::npos);
  index.apply("a.test", host("a.test"));
  index.apply("a.b.test", host("a.b.test"));
  CHECK(names(index.all(index.with_failing_certificate())) == Names{"a.test"});
  index.apply_story("*.test", {});
  CHECK(index.certificate("a.test") == nullptr);
}

}  // namespace proxycore::admin
