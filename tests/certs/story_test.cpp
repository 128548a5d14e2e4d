#include "certs/story.h"

#include "host/keys.h"
#include <proxycore/store.h>

#include <string>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::certs;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{5});
}

Story full() {
  Story story;
  story.name = "*.example.test";
  story.identifiers = {"example.test", "*.example.test"};
  story.host = "**.example.test";
  story.state = CertificateState::failing;
  story.next_ms = 1'800'000'000'123;
  story.why = "failed tries are repeated after longer and longer pauses";
  story.failures = 3;
  story.not_before = 1'700'000'000;
  story.not_after = 1'707'776'000;
  story.issuer = "CN=Test";
  story.serial = "0a0b";
  story.attempts = {
      {.at_ms = 5, .what = "renew", .ok = false, .step = "validate", .words = "a \"b\""},
      {.at_ms = 4, .what = "issue", .ok = true, .step = "done", .words = {}}};
  story.wished = true;
  story.order_url = "https://ca.example.test/order/1";
  story.ca = "ca.example.test";
  story.order_ca = "other.example.test";
  story.order_key = "sealed:1:abc";
  story.window_start_ms = 10;
  story.window_end_ms = 20;
  story.chosen_ms = 15;
  story.ask_ms = 12;
  story.fence = 7;
  return story;
}

}  // namespace

TEST_CASE("story: what is kept comes back") {
  const auto store = open_memory();
  REQUIRE(save_story(*store, full(), soon()));
  const auto kept = load_story(*store, "*.example.test", soon());
  REQUIRE(kept);
  CHECK(record_of(*kept) == record_of(full()));
  CHECK(kept->identifiers == full().identifiers);
  CHECK(kept->attempts.front().words == "a \"b\"");
  CHECK(kept->wished);
  CHECK(kept->fence == 7);
  const auto all = certificate_stories(*store, soon());
  REQUIRE(all);
  REQUIRE(all->size() == 1);
  CHECK(all->front().name == "*.example.test");
}

TEST_CASE("story: whoever lost the name changes nothing any more") {
  const auto store = open_memory();
  Story later = full();
  later.fence = 8;
  REQUIRE(save_story(*store, later, soon()));
  Story earlier = full();
  earlier.why = "stale";
  CHECK(save_story(*store, earlier, soon()).error().code == Errc::conflict);
  CHECK(load_story(*store, "*.example.test", soon())->why == later.why);
}

TEST_CASE("story: a broken record is told by its field, and stops no list") {
  const auto store = open_memory();
  REQUIRE(store->put(host::keys::story("a.test"), {{"state", "dreaming"}}, {}, soon()));
  REQUIRE(save_story(*store, full(), soon()));
  const auto broken = load_story(*store, "a.test", soon());
  REQUIRE_FALSE(broken);
  CHECK(broken.error().detail == "field 'state': 'dreaming' is no state");
  CHECK(certificate_stories(*store, soon())->size() == 1);
}

TEST_CASE("story: the last twenty attempts are kept, and no endless words") {
  Story story;
  for (int i = 0; i < 30; ++i) {
    add_attempt(story, {.at_ms = i, .what = "issue", .words = std::string(5'000, 'x')});
  }
  CHECK(story.attempts.size() == 20);
  CHECK(story.attempts.front().at_ms == 29);
  CHECK(story.attempts.front().words.size() == 2'000);
  // A character is kept whole or not at all.
  add_attempt(story, {.words = std::string(1'999, 'x') + "\xC3\xBC and more"});
  CHECK(story.attempts.front().words == std::string(1'999, 'x'));
}

TEST_CASE("story: as JSON it has times that people read") {
  const std::string text = json_of(full());
  CHECK(text.find("\"state\":\"failing\"") != std::string::npos);
  CHECK(text.find("\"not_after\":\"2024-02-12T22:13:20") != std::string::npos);
  CHECK(text.find("\"failures\":3") != std::string::npos);
  CHECK(text.find("sealed") == std::string::npos);
}
