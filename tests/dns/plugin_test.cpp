#include "dns/plugin.h"

#include "base/json.h"
#include "client/http_client.h"
#include "dns/resolver.h"
#include "plugin_paths.h"
#include "support/dns_server.h"
#include "support/http_server.h"
#include "support/pebble.h"
#include "support/provider_contract.h"
#include "support/temp_dir.h"
#include <proxycore/observe.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>

using namespace proxycore;

namespace {

const std::string example = TEST_PLUGIN;

std::string odd(std::string_view which) {
  return std::string{TEST_ODD_PLUGINS} + "/libodd_" + std::string{which} + ".so";
}

// The challenge test server that the example speaks to: DNS that is told over HTTP.
class ChallengeServer {
 public:
  [[nodiscard]] std::string url() const { return http_.url(); }
  [[nodiscard]] std::string dns() const { return dns_.text(); }
  [[nodiscard]] std::vector<std::string> values(std::string_view name) {
    const std::lock_guard lock(mutex_);
    return values_[std::string{name}];
  }

 private:
  test::Reply answer(const test::Ask& ask) {
    const auto body = base::json::parse(ask.body);
    const std::string host{body ? body->text("host").value_or("") : ""};
    if (ask.method != "POST" || !host.ends_with('.')) return {.status = 405};
    const std::lock_guard lock(mutex_);
    std::vector<std::string>& values = values_[host.substr(0, host.size() - 1)];
    if (ask.path() == "/set-txt") {
      values.emplace_back(body->text("value").value_or(""));
    } else if (ask.path() == "/clear-txt") {
      values.clear();
    } else {
      return {.status = 404};
    }
    dns_.set(host.substr(0, host.size() - 1), values);
    return {};
  }

  std::mutex mutex_;
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
  test::DnsServer dns_;
  test::HttpServer http_{[this](const test::Ask& ask) { return answer(ask); }};
};

struct Rig {
  ChallengeServer server;
  client::HttpClient http;
  dns::Resolver resolver{{.servers = {server.dns()}, .authoritative = {}}};
  dns::Services services{http, resolver};
  dns::Registry registry;
  const Deadline by = Deadline::in(Millis{30'000});

  std::unique_ptr<dns::Provider> make(std::string_view type, const dns::Settings& settings) {
    auto made = registry.make(type, settings, services);
    REQUIRE(made);
    return *std::move(made);
  }
};

// The odd plugin, set to some way.
struct OddRig : Rig {
  explicit OddRig(std::string way, std::string url = {}) {
    REQUIRE(dns::load_plugin(registry, odd("one")));
    provider = make("odd", {{"way", std::move(way)}, {"token", "tok-1"}, {"url", std::move(url)}});
  }
  std::unique_ptr<dns::Provider> provider;
};

std::string loading(const std::string& path) {
  dns::Registry registry;
  const auto loaded = dns::load_plugin(registry, path);
  return loaded ? std::string{"loaded"} : loaded.error().message();
}

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

}  // namespace

TEST_CASE("dns plugin: the example keeps the contract of providers") {
  Rig rig;
  REQUIRE(dns::load_plugin(rig.registry, example));
  const auto provider =
      rig.make("challtestsrv", {{"url", rig.server.url()}, {"zones", "example.com,example.org"}});
  CHECK(provider->info().title == "Challenge test server");
  CHECK(provider->info().several_values);
  CHECK(provider->info().propagation == Millis{10'000});
  test::check_provider_contract(
      *provider, {.zone = "example.org", .values = [&](std::string_view name, const Deadline&) {
                    return Result<std::vector<std::string>>{rig.server.values(name)};
                  }});
}

TEST_CASE("dns plugin: the example keeps it with the server that it is for") {
  test::Pebble pebble;
  client::HttpClient http;
  dns::Resolver resolver{{.servers = {pebble.dns()}, .authoritative = {pebble.dns()}}};
  dns::Registry registry;
  REQUIRE(dns::load_plugin(registry, example));
  const auto provider =
      registry.make("challtestsrv", {{"url", pebble.dns_api()}, {"zones", "example.com"}},
                    {.http = http, .resolver = resolver});
  REQUIRE(provider);
  test::check_provider_contract(**provider,
                                {.zone = "example.com", .values = dns::values_by(resolver)});
}

TEST_CASE("dns plugin: its settings are those of any provider") {
  Rig rig;
  REQUIRE(dns::load_plugin(rig.registry, example));
  const auto made = rig.registry.make("challtestsrv", {{"url", "x"}}, rig.services);
  REQUIRE_FALSE(made);
  CHECK(made.error().message() == "invalid: challtestsrv: field 'zones' (Zones): missing");

  OddRig odd("any");
  const std::vector<dns::Field>& fields = odd.provider->info().fields;
  REQUIRE(fields.size() == 3);
  CHECK(fields[0].required);
  CHECK_FALSE(fields[1].required);
  CHECK(fields[1].secret);
  CHECK(fields[1].label == "token");
  CHECK(fields[2].name == "url");
  CHECK(odd.provider->info().title == "odd");
  CHECK_FALSE(odd.provider->info().several_values);
  CHECK(odd.provider->info().propagation == Millis{120'000});
}

TEST_CASE("dns plugin: what is none is told apart") {
  CHECK(has(loading("nowhere.so"), "not_found: plugin 'nowhere.so': "));
  CHECK(has(loading(odd("no_symbol")), "it exports no proxycore_dns_plugin_v1"));
  CHECK(has(loading(odd("short")), "its description has 16 bytes; expected "));
  CHECK(has(loading(odd("lacking")), "it lacks one of its functions"));
  CHECK(has(loading(odd("declining")), "it serves no host of ABI 1"));
  CHECK(has(loading(odd("type")), "its type is no name"));
  const test::TempDir directory;
  std::filesystem::copy_file(TEST_DATA "/lookup_cases.tsv", directory.file("text.so"));
  CHECK(has(loading(directory.file("text.so")), "invalid: plugin '"));
}

TEST_CASE("dns plugin: one that is there already is a conflict") {
  dns::Registry registry;
  CHECK(dns::load_plugin(registry, example));
  const auto again = dns::load_plugin(registry, example);
  REQUIRE_FALSE(again);
  CHECK(again.error().code == Errc::conflict);
}

TEST_CASE("dns plugin: it is loaded only from where nobody else can put it") {
  const test::TempDir directory;
  const std::string inner = directory.file("inner");
  const std::string file = inner + "/plugin.so";
  std::filesystem::create_directory(inner);
  std::filesystem::copy_file(example, file);
  ::chmod(file.c_str(), 0644);
  REQUIRE(dns::trusted_file(file));

  const auto refused = [&] {
    const auto trusted = dns::trusted_file(file);
    REQUIRE_FALSE(trusted);
    CHECK(trusted.error().code == Errc::denied);
    return trusted.error().detail;
  };
  SUBCASE("a file that others can write") {
    ::chmod(file.c_str(), 0666);
    CHECK(has(refused(), "/inner/plugin.so can be written by others (mode 0666)"));
  }
  SUBCASE("a file that its group can write") {
    ::chmod(file.c_str(), 0664);
    CHECK(has(refused(), "(mode 0664)"));
  }
  SUBCASE("a directory that others can write") {
    ::chmod(inner.c_str(), 0777);
    CHECK(has(refused(), "/inner can be written by others (mode 0777)"));
  }
  SUBCASE("a sticky one, too") {
    ::chmod(inner.c_str(), 01777);
    CHECK(has(refused(), "/inner can be written by others (mode 1777)"));
  }
  SUBCASE("one further up") {
    ::chmod(directory.path().c_str(), 0770);
    CHECK(has(refused(), directory.path() + " can be written by others (mode 0770)"));
  }
  SUBCASE("somebody else's, if there is a way to make one") {
    if (::geteuid() == 0) {
      REQUIRE(::chown(file.c_str(), 65534, 65534) == 0);
      CHECK(has(refused(), "plugin.so belongs to user 65534; expected root or user 0"));
    }
  }
  SUBCASE("a link is as good as what it leads to") {
    const test::TempDir elsewhere;
    std::filesystem::create_symlink(file, elsewhere.file("link.so"));
    const auto trusted = dns::trusted_file(elsewhere.file("link.so"));
    REQUIRE(trusted);
    CHECK(*trusted == std::filesystem::canonical(file).string());
    ::chmod(file.c_str(), 0666);
    CHECK_FALSE(dns::trusted_file(elsewhere.file("link.so")));
  }
  SUBCASE("a directory is no file") {
    const auto trusted = dns::trusted_file(inner);
    REQUIRE_FALSE(trusted);
    CHECK(trusted.error().code == Errc::invalid);
  }
}

TEST_CASE("dns plugin: what it returns is taken with care") {
  OddRig status("unknown status");
  CHECK(status.provider->check(status.by).error().message() == "io: odd: check: no explanation");

  OddRig endless("message without end");
  const Error error = endless.provider->check(endless.by).error();
  CHECK(error.code == Errc::invalid);
  CHECK(error.detail.size() < 512);

  OddRig any("any");
  const auto id = any.provider->add({"example.com"}, {.name = "@", .value = "v"}, any.by);
  REQUIRE(id);
  CHECK(id->size() == 128);
  CHECK(
      any.provider->remove({"example.com"}, {.name = "@", .value = "v"}, {}, any.by).error().code ==
      Errc::conflict);
  const auto zones = any.provider->zones(any.by);
  REQUIRE(zones);
  REQUIRE(zones->size() == 1);
  CHECK(zones->front().name == "example.com");

  OddRig nameless("zone without name");
  CHECK(nameless.provider->zones(nameless.by).error().code == Errc::protocol);

  OddRig clock("clock");
  CHECK(clock.provider->check(clock.by));
}

TEST_CASE("dns plugin: secrets are in no error and no log line of it") {
  std::string lines;
  set_log_sink([&](LogLevel, std::string_view line) { lines.append(line).append("\n"); });
  OddRig rig("secret");
  const auto checked = rig.provider->check(rig.by);
  set_log_sink({});
  REQUIRE_FALSE(checked);
  CHECK(checked.error().message() == "denied: odd: check: ***");
  CHECK(has(lines, "dns.plugin"));
  CHECK(has(lines, "***"));
  CHECK_FALSE(has(lines, "tok-1"));
}

TEST_CASE("dns plugin: HTTP that it is lent obeys those who ask for patience") {
  test::Reply reply{.status = 418, .headers = {{"X-Answer", "short and stout"}}};
  test::HttpServer server([&](const test::Ask&) { return reply; });
  OddRig rig("http", server.url("/"));
  CHECK(rig.provider->check(rig.by).error().message() == "limit: odd: check: short and stout");

  reply = {.status = 429, .headers = {{"Retry-After", "120"}}};
  const Error busy = rig.provider->check(rig.by).error();
  CHECK(busy.code == Errc::busy);
  CHECK(busy.retry_after_s == 120);
  CHECK(busy.detail == "odd: check: http: 429: asks to wait");
}

TEST_CASE("dns plugin: HTTP is for calls with a deadline, and for structs of their size") {
  Rig rig;
  REQUIRE(dns::load_plugin(rig.registry, odd("one")));
  const auto made = rig.registry.make("odd", {{"way", "http while opening"}}, rig.services);
  REQUIRE_FALSE(made);
  CHECK(made.error().message() == "invalid: odd: open: http: not in a call that may take time");

  OddRig small("small structs");
  CHECK(small.provider->check(small.by).error().detail ==
        "odd: check: http: a struct of another size than promised");
}

TEST_CASE("dns plugin: no time left is a timeout, a stop is cancelled; it is not even called") {
  OddRig rig("unknown status");
  CHECK(rig.provider->check(Deadline::in(Millis{0})).error().code == Errc::timeout);
  std::stop_source stop;
  stop.request_stop();
  CHECK(rig.provider->check(Deadline::never(stop.get_token())).error().code == Errc::cancelled);
}
