#include "certs/notice.h"

#include "support/eventually.h"
#include "support/http_server.h"
#include <proxycore/observe.h>

#include <atomic>
#include <mutex>
#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::test;
using certs::Notice;
using certs::Webhook;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{10});
}

// What a webhook's service got, answered as it is told to.
class Service {
 public:
  std::atomic<int> status = 204;
  std::atomic<int> failures = 0;  // so many are answered 503 first

  [[nodiscard]] std::vector<Ask> asks() const {
    const std::lock_guard lock(mutex_);
    return asks_;
  }
  [[nodiscard]] std::string url(std::string_view target) const { return server_.url(target); }

 private:
  Reply answer(const Ask& ask) {
    const std::lock_guard lock(mutex_);
    asks_.push_back(ask);
    if (failures > 0) {
      --failures;
      return {.status = 503};
    }
    return {.status = status};
  }

  mutable std::mutex mutex_;
  std::vector<Ask> asks_;
  HttpServer server_{[this](const Ask& ask) { return answer(ask); }};
};

Notice failed(std::string name) {
  return {.event = Notice::Event::failed, .name = std::move(name), .words = "caa: no"};
}

Webhook::Options quick(const Service& service) {
  return {.url = service.url("/hook/s3cret?key=t0ken"),
          .pauses = {Millis{1}, Millis{1}, Millis{1}}};
}

}  // namespace

TEST_CASE("webhook: a notice is JSON with what there is to tell") {
  CHECK(certs::json_of({.event = Notice::Event::failed,
                        .name = "*.a.test",
                        .words = "urn: \"no\"",
                        .failures = 3,
                        .next_ms = 1'000'000'000'000,
                        .not_after = 1'000'000'060,
                        .at_ms = 999'999'999'500}) ==
        R"({"event":"certificate.failed","name":"*.a.test","words":"urn: \"no\"","failures":3,)"
        R"("next":"2001-09-09T01:46:40.000Z","not_after":"2001-09-09T01:47:40.000Z",)"
        R"("at":"2001-09-09T01:46:39.500Z"})");
  CHECK(certs::json_of({.event = Notice::Event::issued, .name = "a.test"}) ==
        R"({"event":"certificate.issued","name":"a.test"})");
  CHECK(certs::json_of({.event = Notice::Event::revoked, .name = "a.test"}) ==
        R"({"event":"certificate.revoked","name":"a.test"})");
}

TEST_CASE("webhook: what is told is posted, in order") {
  Service service;
  const auto webhook = Webhook::create(quick(service)).value();
  webhook->tell(failed("a.test"));
  webhook->tell(failed("b.test"));
  REQUIRE(webhook->drain(soon()));
  const std::vector<Ask> asks = service.asks();
  REQUIRE(asks.size() == 2);
  CHECK(asks[0].method == "POST");
  CHECK(asks[0].target == "/hook/s3cret?key=t0ken");
  CHECK(asks[0].header("content-type") == "application/json");
  CHECK(asks[0].body == certs::json_of(failed("a.test")));
  CHECK(asks[1].body == certs::json_of(failed("b.test")));
  CHECK(webhook->counts().delivered == 2);
}

TEST_CASE("webhook: what the service cannot take now is tried again, and given up in the end") {
  Service service;
  service.failures = 3;
  const auto webhook = Webhook::create(quick(service)).value();
  webhook->tell(failed("a.test"));
  REQUIRE(webhook->drain(soon()));
  CHECK(service.asks().size() == 4);
  CHECK(webhook->counts().delivered == 1);
  service.failures = 100;
  webhook->tell(failed("b.test"));
  REQUIRE(webhook->drain(soon()));
  CHECK(service.asks().size() == 8);
  CHECK(webhook->counts().failed == 1);
}

TEST_CASE("webhook: what the service refuses is not sent again") {
  Service service;
  service.status = 404;
  const auto webhook = Webhook::create(quick(service)).value();
  webhook->tell(failed("a.test"));
  REQUIRE(webhook->drain(soon()));
  CHECK(service.asks().size() == 1);
  CHECK(webhook->counts().failed == 1);
}

TEST_CASE("webhook: a queue that is full loses its oldest, and nobody waits") {
  Service service;
  service.failures = 1;
  Webhook::Options options = quick(service);
  options.most_queued = 2;
  options.pauses = {Millis{3'600'000}};
  const auto webhook = Webhook::create(options).value();
  webhook->tell(failed("first.test"));
  REQUIRE(eventually([&] { return service.asks().size() == 1; }));
  for (int i = 0; i < 5; ++i) webhook->tell(failed(std::to_string(i) + ".test"));
  CHECK(webhook->counts().dropped == 3);
  CHECK_FALSE(webhook->drain(Deadline::in(Millis{0})));
  // Its end does not wait for the hour that the first one waits.
}

TEST_CASE("webhook: nothing of the url but its host is in a log") {
  std::mutex mutex;
  std::string lines;
  set_log_sink([&](LogLevel, std::string_view line) {
    const std::lock_guard lock(mutex);
    lines.append(line).append("\n");
  });
  std::string host;
  {
    Service service;
    service.status = 500;
    host = service.url("").substr(7);
    const auto webhook = Webhook::create(quick(service)).value();
    webhook->tell(failed("a.test"));
    REQUIRE(webhook->drain(soon()));
  }
  {
    // Nobody listens there any more.
    const auto webhook =
        Webhook::create({.url = "http://" + host + "/hook/s3cret?key=t0ken", .pauses = {}}).value();
    webhook->tell(failed("b.test"));
    REQUIRE(webhook->drain(soon()));
    CHECK(webhook->counts().failed == 1);
  }
  set_log_sink({});
  const std::lock_guard lock(mutex);
  CHECK(lines.find("webhook.failed") != std::string::npos);
  CHECK(lines.find(host) != std::string::npos);
  CHECK(lines.find("s3cret") == std::string::npos);
  CHECK(lines.find("t0ken") == std::string::npos);
}

TEST_CASE("webhook: an address that is none is refused, and not repeated") {
  for (const char* url : {"", "hooks.test/s3cret", "ftp://hooks.test/s3cret"}) {
    const auto webhook = Webhook::create({.url = url});
    REQUIRE_FALSE(webhook);
    CHECK(webhook.error().code == Errc::invalid);
    CHECK(webhook.error().detail.find("s3cret") == std::string::npos);
  }
}
