#include "host/keys.h"
#include "plugin_paths.h"
#include "support/away_store.h"
#include "support/fake_ca.h"
#include "support/forward_proxy.h"
#include "support/http_server.h"
#include "support/temp_dir.h"
#include <proxycore/cert.h>
#include <proxycore/config.h>
#include <proxycore/host.h>
#include <proxycore/renew.h>
#include <proxycore/store.h>

#include <algorithm>
#include <atomic>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using test::FakeCa;
using test::TempDir;

namespace {

namespace fs = std::filesystem;

const std::string secret = "a-token-that-nobody-may-see";

Deadline soon() {
  return Deadline::in(Seconds{60});
}

template <class Value>
Value good(Result<Value> result) {
  REQUIRE_MESSAGE(result.has_value(), result.error().message());
  return *std::move(result);
}

struct Rig {
  TempDir dir;
  std::unique_ptr<Store> store = open_memory();
  FakeCa ca;
  Config config;
  std::int64_t now_ms = std::int64_t{std::time(nullptr)} * 1'000;

  Rig() {
    config.acme.enabled = true;
    config.acme.agree_tos = true;
    config.acme.directory = ca.url();
    config.renew.key_file = dir.file("key");
  }
  Renewer::Options options() {
    return {.now_ms = [this] { return now_ms; }, .lease = Seconds{5}, .pace = Millis{0}};
  }
  std::unique_ptr<Renewer> renewer() { return good(Renewer::create(config, *store, options())); }
  [[nodiscard]] Error refused() {
    const auto made = Renewer::create(config, *store, options());
    REQUIRE_FALSE(made);
    return made.error();
  }
  std::string file(const std::string& name, std::string_view text, fs::perms mode) {
    std::ofstream(dir.file(name)) << text;
    fs::permissions(dir.file(name), mode);
    return dir.file(name);
  }
  void host(const std::string& name) {
    const Host one{.host = name, .ip = "127.0.0.1", .target_port = 80};
    REQUIRE(save(*store, one, soon()));
  }
};

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

constexpr fs::perms ours = fs::perms::owner_read | fs::perms::owner_write;

}  // namespace

TEST_CASE("renewer: what it cannot be made with is named by its key, without what is in it") {
  Rig rig;
  SUBCASE("the CA's root is not there") {
    rig.config.acme.ca = rig.dir.file("none.pem");
    const Error error = rig.refused();
    CHECK(error.code == Errc::not_found);
    CHECK(error.detail.starts_with("acme.ca: "));
    CHECK(has(error.detail, "none.pem"));
  }
  SUBCASE("the external account's key is not there") {
    rig.config.acme.eab_kid = "kid";
    rig.config.acme.eab_key_file = rig.dir.file("none.key");
    CHECK(rig.refused().detail.starts_with("acme.eab_key_file: "));
  }
  SUBCASE("the sealing key is none") {
    rig.config.renew.key_file = rig.file("key", secret, ours);
    const Error error = rig.refused();
    CHECK(error.code == Errc::invalid);
    CHECK(has(error.detail, rig.config.renew.key_file));
    CHECK_FALSE(has(error.detail, secret));
  }
  SUBCASE("the sealing key can be read by others") {
    rig.config.renew.key_file =
        rig.file("key", std::string(64, 'a') + "\n", ours | fs::perms::others_read);
    CHECK(has(rig.refused().detail, "0600"));
  }
  SUBCASE("the sealing key cannot be made") {
    rig.config.renew.key_file = rig.dir.file("no/such/directory/key");
    CHECK(has(rig.refused().detail, rig.config.renew.key_file));
  }
  SUBCASE("there is no directory of plugins") {
    rig.config.renew.plugins = rig.dir.file("plugins");
    const Error error = rig.refused();
    CHECK(error.code == Errc::not_found);
    CHECK(error.detail.starts_with("renew.plugins: "));
  }
  SUBCASE("one of the plugins is none") {
    fs::create_directory(rig.dir.file("plugins"));
    rig.file("plugins/bad.so", "no library", ours);
    rig.config.renew.plugins = rig.dir.file("plugins");
    CHECK(has(rig.refused().detail, "bad.so"));
  }
  SUBCASE("the proxy is no address") {
    rig.config.renew.proxy = "http://" + secret + "@host/";
    const Error error = rig.refused();
    CHECK(error.detail.starts_with("renew.proxy: "));
    CHECK_FALSE(has(error.message(), secret));
  }
  SUBCASE("the webhook is no address") {
    rig.config.renew.webhook = "ftp://user:" + secret + "@host/";
    const Error error = rig.refused();
    CHECK(error.code == Errc::invalid);
    CHECK_FALSE(has(error.message(), secret));
  }
}

TEST_CASE("renewer: a plugin of the directory is one of the types of DNS providers") {
  Rig rig;
  fs::create_directory(rig.dir.file("plugins"));
  fs::permissions(rig.dir.file("plugins"), fs::perms::owner_all);
  fs::copy_file(TEST_PLUGIN, rig.dir.file("plugins/one.so"));
  fs::permissions(rig.dir.file("plugins/one.so"), ours);
  rig.file("plugins/README", "not a plugin", ours);
  rig.config.renew.plugins = rig.dir.file("plugins");
  const auto types = rig.renewer()->dns_types();
  const auto fields_of = [&](std::string_view type) {
    const auto found =
        std::find_if(types.begin(), types.end(), [&](const auto& one) { return one.type == type; });
    REQUIRE(found != types.end());
    return found->fields;
  };
  const auto fields = fields_of("challtestsrv");
  REQUIRE(fields.size() == 2);
  CHECK(fields[0].name == "url");
  CHECK(fields[1].name == "zones");
  const auto cloudflare = fields_of("Cloudflare");
  CHECK(std::any_of(cloudflare.begin(), cloudflare.end(),
                    [](const dns::Field& field) { return field.secret; }));
}

TEST_CASE("renewer: it gets what hosts want, and tells the story of each") {
  Rig rig;
  rig.host("app.example.test");
  rig.host("www.example.test");
  const auto renewer = rig.renewer();
  const Renewer::Summary summary = good(renewer->run_once(soon()));
  CHECK(summary.issued == 2);
  CHECK(summary.failed == 0);
  const auto stories = good(renewer->stories(soon()));
  REQUIRE(stories.size() == 2);
  CHECK(stories[0].name == "app.example.test");
  CHECK(stories[1].name == "www.example.test");
  const CertificateStory story = good(renewer->story("app.example.test", soon()));
  CHECK(story.state == CertificateState::valid);
  CHECK(story.serial == stories[0].serial);
  CHECK(has(json_of(story), R"("state":"valid")"));
  const auto none = renewer->story("none.example.test", soon());
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
  CHECK(has(none.error().detail, "none.example.test"));
  // Another process reads the same, without a runner.
  CHECK(good(certificate_stories(*rig.store, soon())).size() == 2);
  CHECK(has(renewer->metrics(), "proxycore_renew_attempts_total{result=\"issued\"} 2"));
}

TEST_CASE("renewer: CA and webhook are reached by the proxy, if there is one") {
  Rig rig;
  test::HttpServer webhook([](const test::Ask&) { return test::Reply{.status = 204}; });
  const test::ForwardProxy proxy({.credentials = "user:" + secret});
  rig.config.renew.proxy = proxy.url();
  rig.config.renew.webhook = webhook.url("/told");
  rig.host("app.example.test");
  CHECK(good(rig.renewer()->run_once(soon())).issued == 1);
  CHECK(webhook.requests() == 1);
  const auto asked = proxy.asked();
  const auto was = [&](const std::string& line) {
    return std::find(asked.begin(), asked.end(), line) != asked.end();
  };
  CHECK(was("GET " + rig.ca.url()));
  CHECK(was("POST " + rig.ca.url("/new-order")));
  CHECK(was("POST " + webhook.url("/told")));
}

TEST_CASE("renewer: one is got now, and revoked, by its name") {
  Rig rig;
  rig.host("app.example.test");
  const auto renewer = rig.renewer();
  const CertificateStory first = good(renewer->issue("app.example.test", soon()));
  const CertificateStory second = good(renewer->issue("app.example.test", soon()));
  CHECK(first.serial != second.serial);
  const auto nobodys = renewer->issue("nobody.test", soon());
  REQUIRE_FALSE(nobodys);
  CHECK(nobodys.error().code == Errc::not_found);
  REQUIRE(renewer->revoke("app.example.test", 4, soon()));
  CHECK(rig.ca.count("revoke") == 1);
  CHECK_FALSE(CertStore(*rig.store).find("app.example.test", soon()));
  const auto none = renewer->revoke("app.example.test", 4, soon());
  REQUIRE_FALSE(none);
  CHECK(none.error().code == Errc::not_found);
}

TEST_CASE("renewer: a CA that is not there, and what it would say, are told without secrets") {
  Rig rig;
  rig.host("app.example.test");
  rig.config.acme.eab_kid = "kid";
  rig.config.acme.eab_key_file = rig.file("eab", "bm90IGEga2V5IGZvciBwZW9wbGUgdG8gc2Vl\n", ours);
  rig.config.acme.directory = "http://127.0.0.1:9/directory";
  const auto renewer = rig.renewer();
  const auto refused = renewer->issue("app.example.test", soon());
  REQUIRE_FALSE(refused);
  const CertificateStory story = good(renewer->story("app.example.test", soon()));
  REQUIRE(story.attempts.size() == 1);
  CHECK_FALSE(story.attempts.front().ok);
  for (const std::string& text : {refused.error().message(), json_of(story)}) {
    CHECK_FALSE(has(text, "bm90IGEga2V5"));
    CHECK_FALSE(has(text, "PRIVATE KEY"));
    CHECK_FALSE(has(text, "sealed:"));
  }
}

TEST_CASE("renewer: a DNS account is kept once it is found good; its secret is never given back") {
  Rig rig;
  fs::create_directory(rig.dir.file("plugins"));
  fs::permissions(rig.dir.file("plugins"), fs::perms::owner_all);
  fs::copy_file(TEST_PLUGIN, rig.dir.file("plugins/one.so"));
  fs::permissions(rig.dir.file("plugins/one.so"), ours);
  rig.config.renew.plugins = rig.dir.file("plugins");
  const test::HttpServer vendor([](const test::Ask&) { return test::Reply{200, "{}"}; });
  const auto renewer = rig.renewer();
  const DnsAccount good_one{.id = {},
                            .name = "the test's",
                            .type = "challtestsrv",
                            .settings = {{"url", vendor.url()}, {"zones", "a.test,b.test"}}};
  const DnsAccount saved = good(renewer->save_dns(good_one, soon()));
  CHECK(saved.id.size() == 16);
  CHECK(saved.zones == std::vector<std::string>{"a.test", "b.test"});
  const auto accounts = good(renewer->dns_accounts(soon()));
  REQUIRE(accounts.size() == 1);
  CHECK(accounts.front().name == "the test's");
  CHECK(accounts.front().zones == saved.zones);

  // A zone is one account's.
  const auto taken = renewer->save_dns(good_one, soon());
  REQUIRE_FALSE(taken);
  CHECK(taken.error().code == Errc::conflict);

  const auto unknown = renewer->save_dns(
      {.id = {}, .name = "x", .type = "nobody's", .settings = {{"token", secret}}}, soon());
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == Errc::invalid);
  CHECK_FALSE(has(unknown.error().message(), secret));
  const auto lacking = renewer->save_dns(
      {.id = {}, .name = "x", .type = "PorkBun", .settings = {{"apiKey", secret}}}, soon());
  REQUIRE_FALSE(lacking);
  CHECK(lacking.error().code == Errc::invalid);
  CHECK_FALSE(has(lacking.error().message(), secret));

  CHECK(good(renewer->remove_dns(saved.id, soon())));
  CHECK_FALSE(good(renewer->remove_dns(saved.id, soon())));
  CHECK(good(renewer->dns_accounts(soon())).empty());
}

TEST_CASE("renewer: it runs once at a time, and stops in the middle of an order") {
  Rig rig;
  rig.host("app.example.test");
  std::atomic<bool> begun = false;
  Renewer::Options options = rig.options();
  options.progress = [&](std::string_view, std::string_view step, std::string_view) {
    if (step == "order") begun = true;
    begun.notify_all();
  };
  rig.ca.processing = 1'000'000;
  const auto renewer = good(Renewer::create(rig.config, *rig.store, std::move(options)));
  std::thread thread([&] { CHECK(renewer->run()); });
  begun.wait(false);
  const auto twice = renewer->run();
  REQUIRE_FALSE(twice);
  CHECK(twice.error().code == Errc::invalid);
  renewer->stop();
  thread.join();
  // What was stopped is nobody's failure, and is gone on with.
  CHECK(good(renewer->story("app.example.test", soon())).failures == 0);
}

TEST_CASE("renewer: a write that fails, whichever it is, costs no order and no account") {
  const std::string name = "app.example.test";
  bool reached = true;
  for (int failing = 0; reached; ++failing) {
    CAPTURE(failing);
    REQUIRE(failing < 100);
    Rig rig;
    auto made = std::make_unique<test::AwayStore>();
    test::AwayStore& store = *made;
    rig.store = std::move(made);
    rig.host(name);
    const auto renewer = rig.renewer();
    int writes = 0;
    reached = false;
    store.before_write = [&]() -> Result<void> {
      if (writes++ != failing) return {};
      reached = true;
      return Error{Errc::io, "sqlite: database or disk is full"};
    };
    // It is tried again unattended, until there is one.
    for (int turn = 0; turn < 3; ++turn) {
      REQUIRE(renewer->run_once(soon()));
      rig.now_ms += 600'000;
    }
    CHECK(CertStore(store).find(name, soon()));
    const CertificateStory story = good(renewer->story(name, soon()));
    CHECK(story.state == CertificateState::valid);
    CHECK(story.failures == 0);
    CHECK(rig.ca.count("new-order") <= 2);
    // With one key at the CA, whatever was lost.
    CHECK(good(store.keys(host::keys::acme_account_prefix, soon())).size() == 1);
    // What could not be erased ends by itself; there is at most that one.
    CHECK(good(store.keys(name + ":challenge:", soon())).size() <= 1);
  }
}
