#include "host/host_record.h"

#include "host/keys.h"
#include "host/route_table.h"

#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <doctest/doctest.h>

using namespace proxycore;
using host::host_from;
using host::record_of;
using host::route_of;

namespace {

Deadline soon() {
  return Deadline::in(Seconds{5});
}

// A record as old software writes it.
Record old_record(std::string name = "app.example.com") {
  return {
      {"created_by", "alice"},         {"created_on", "1795390256641"}, {"updated_by", "__NONE__"},
      {"updated_on", "1795390256641"}, {"host", std::move(name)},       {"ip", "127.0.0.1"},
      {"targetPort", "18080"},         {"forcessl", "false"},           {"targetssl", "false"},
      {"is_cache", "false"},           {"is_wildcard", "false"}};
}

Record with(std::string_view field, std::string_view value) {
  Record record = old_record();
  record.insert_or_assign(std::string(field), std::string(value));
  return record;
}

std::string problem(const Record& record) {
  const auto host = host_from(record);
  if (host) return "";
  CHECK(host.error().code == Errc::invalid);
  return host.error().detail;
}

void put(Store& store, std::string_view name, const Record& record) {
  REQUIRE(store.put(host::keys::host(name), record, std::nullopt, soon()));
}

}  // namespace

TEST_CASE("host record: a record of the old software is read") {
  const auto host = host_from(old_record());
  REQUIRE(host);
  CHECK(host->host == "app.example.com");
  CHECK(host->ip == "127.0.0.1");
  CHECK(host->target_port == 18080);
  CHECK(host->targets.empty());
  CHECK_FALSE(host->forcessl);
  CHECK_FALSE(host->targetssl);
  CHECK(host->pass_host);
  CHECK_FALSE(host->connect_timeout);
  CHECK_FALSE(host->is_cache);
  CHECK(host->created_by == "alice");
  CHECK(host->updated_by.empty());
  CHECK(host->created_on == 1795390256641);
}

TEST_CASE("host record: what is not there has its default") {
  const auto host = host_from({{"host", "a.test"}, {"ip", "app"}, {"targetPort", "80"}});
  REQUIRE(host);
  CHECK(host->forcessl);
  CHECK_FALSE(host->targetssl);
  CHECK(host->pass_host);
  CHECK_FALSE(host->created_on);
}

TEST_CASE("host record: only the text false is false") {
  for (const char* text : {"true", "", "0", "TRUE", "False", "no", " false"}) {
    CHECK(host_from(with("targetssl", text))->targetssl);
    CHECK(host_from(with("host-pass-though", text))->pass_host);
  }
  CHECK_FALSE(host_from(with("targetssl", "false"))->targetssl);
  CHECK_FALSE(host_from(with("host-pass-though", "false"))->pass_host);
}

TEST_CASE("host record: numbers as JavaScript writes and reads them") {
  for (const char* text : {"80", "80.0", " 80 ", "8e1", "080"}) {
    CHECK(host_from(with("targetPort", text))->target_port == 80);
  }
  CHECK(problem(with("targetPort", "70000")) == "field 'targetPort': 70000 is over 65535");
  CHECK(problem(with("targetPort", "0")) == "field 'targetPort': 0 is under 1");
  CHECK(problem(with("targetPort", "-1")) == "field 'targetPort': -1 is under 1");
  CHECK(problem(with("targetPort", "80.5")) == "field 'targetPort': 80.5 is no whole number");
  CHECK(problem(with("targetPort", "http")) ==
        "field 'targetPort': expected a number, found 'http'");
  CHECK(problem(with("targetPort", "")) == "field 'targetPort': expected a number, found ''");
  CHECK(problem(with("targetPort", "nan")) == "field 'targetPort': expected a number, found 'nan'");
  CHECK(problem(with("targetPort", "1e999")) ==
        "field 'targetPort': expected a number, found '1e999'");
  CHECK(problem(with("connectTimeout", "600001")) ==
        "field 'connectTimeout': 600001 is over 600000");
  CHECK(host_from(with("connectTimeout", "250"))->connect_timeout == Millis{250});
  // Book-keeping that cannot be read does not take a host away.
  CHECK_FALSE(host_from(with("created_on", "NaN"))->created_on);
}

TEST_CASE("host record: targets are a JSON list of texts") {
  CHECK(host_from(with("targets", R"(["127.0.0.1:81","[::1]:82"])"))->targets ==
        std::vector<std::string>{"127.0.0.1:81", "[::1]:82"});
  CHECK(host_from(with("targets", "[]"))->targets.empty());
  CHECK(host_from(with("targets", ""))->targets.empty());
  CHECK(problem(with("targets", R"(["x"])")) ==
        "field 'targets': 'x' is no target: expected ADDRESS:PORT");
  for (const char* text : {"127.0.0.1:81", "{}", "[1]", "[", "null"}) {
    CHECK(problem(with("targets", text)).starts_with("field 'targets': "));
  }
}

TEST_CASE("host record: cache rows are read as such, with the domain they carry") {
  Record record = with("is_cache", "true");
  record["wildcard_parent"] = "*.example.com";
  record["domain"] = R"({"domain":"example.com","provider":{"name":"x"}})";
  const auto host = host_from(record);
  REQUIRE(host);
  CHECK(host->is_cache);
  CHECK(host->wildcard_parent == "*.example.com");
}

TEST_CASE("host record: a ghost of a rename is refused, and says what it lacks") {
  CHECK(problem({{"updated_by", "proxyadmin2"}, {"updated_on", "1795390268494"}}) ==
        "missing: field 'host', 'ip', 'targetPort'");
  Record record = old_record();
  record.erase("ip");
  CHECK(problem(record) == "missing: field 'ip'");
}

TEST_CASE("host record: names are canonical when read") {
  CHECK(host_from(old_record("UPPER.example.com"))->host == "upper.example.com");
  CHECK(host_from(old_record("trail.example.com."))->host == "trail.example.com");
  CHECK(host_from(old_record("bücher.example.com"))->host == "xn--bcher-kva.example.com");
  CHECK(problem(old_record("a b")).starts_with("field 'host': 'a b' is no host name"));
}

TEST_CASE("host record: a host is written as the old software would") {
  Host host{.host = "*.example.com", .ip = "10.0.0.1", .target_port = 80};
  CHECK(record_of(host) == Record{{"host", "*.example.com"},
                                  {"ip", "10.0.0.1"},
                                  {"targetPort", "80"},
                                  {"forcessl", "true"},
                                  {"targetssl", "false"},
                                  {"targetVerify", "true"},
                                  {"is_cache", "false"},
                                  {"is_wildcard", "false"},
                                  {"updated_by", "__NONE__"}});
  host.targets = {"a:1", "[::1]:2"};
  host.pass_host = false;
  host.hsts = true;
  host.target_verify = TargetVerify::no;
  host.target_server_name = "a.internal";
  host.idle_timeout = Millis{1500};
  host.created_on = 1795390256641;
  const Record record = record_of(host);
  CHECK(record.at("targets") == R"(["a:1","[::1]:2"])");
  CHECK(record.at("host-pass-though") == "false");
  CHECK(record.at("hsts_enabled") == "true");
  CHECK(record.at("targetVerify") == "false");
  CHECK(record.at("targetServerName") == "a.internal");
  CHECK(record.at("idleTimeout") == "1500");
  CHECK(record.at("created_on") == "1795390256641");
}

TEST_CASE("host record: one of older software does not say whether targets are verified") {
  Record record = old_record("a.test");
  record.insert_or_assign("targetssl", "true");
  const auto old = host_from(record);
  REQUIRE(old);
  CHECK(old->target_verify == TargetVerify::unset);
  CHECK_FALSE(record_of(*old).contains("targetVerify"));
  CHECK(route_of(*old)->tls->verify == TargetVerify::unset);
  record.insert_or_assign("targetVerify", "true");
  CHECK(host_from(record)->target_verify == TargetVerify::yes);
  record.insert_or_assign("targetServerName", "a b");
  CHECK(problem(record).starts_with("field 'targetServerName': 'a b'"));
}

TEST_CASE("host record: writing and reading gives the same host, for any host") {
  std::mt19937 random(9);
  const auto one_of = [&random](std::vector<std::string> list) {
    return list[random() % list.size()];
  };
  const auto maybe = [&random](std::int64_t most) {
    return random() % 2 != 0 ? std::optional<Millis>(1 + static_cast<std::int64_t>(random()) % most)
                             : std::nullopt;
  };
  for (int i = 0; i < 5000; ++i) {
    Host host{.host = one_of({"a.test", "**.a.test", "[::1]", "*.xn--bcher-kva.example"}),
              .ip = one_of({"127.0.0.1", "::1", "app.internal"}),
              .target_port = static_cast<std::uint16_t>(1 + random() % 65535)};
    for (std::size_t more = random() % 4; more > 0; --more) {
      host.targets.push_back(one_of({"127.0.0.1", "[::2]", "b"}) + ":" +
                             std::to_string(1 + random() % 9));
    }
    host.forcessl = random() % 2 != 0;
    host.targetssl = random() % 2 != 0;
    host.pass_host = random() % 2 != 0;
    host.hsts = random() % 2 != 0;
    host.target_verify = static_cast<TargetVerify>(random() % 3);
    host.target_server_name = one_of({"", "10.0.0.1", "app.internal"});
    host.connect_timeout = maybe(600'000);
    host.first_byte_timeout = maybe(86'400'000);
    host.idle_timeout = maybe(86'400'000);
    host.is_cache = random() % 2 != 0;
    host.is_wildcard = random() % 2 != 0;
    host.wildcard_parent = one_of({"", "*.a.test"});
    host.created_by = one_of({"", "alice", "\"bob\"\n"});
    host.updated_by = one_of({"", "alice"});
    if (random() % 2 != 0) host.created_on = static_cast<std::int64_t>(random()) * 1000;
    const Record record = record_of(host);
    const auto read = host_from(record);
    REQUIRE(read);
    CHECK(record_of(*read) == record);
    CHECK(read->targets == host.targets);
    CHECK(read->target_verify == host.target_verify);
    CHECK(read->created_by == host.created_by);
    CHECK(read->updated_by == host.updated_by);
    CHECK(read->idle_timeout == host.idle_timeout);
  }
}

TEST_CASE("host record: any texts give a host that is written the same again, or an error") {
  std::mt19937 random(10);
  const std::vector<std::string> names = {"host",     "ip",       "targetPort",  "targets",
                                          "forcessl", "is_cache", "idleTimeout", "created_on",
                                          "domain",   ""};
  const std::vector<std::string> values = {
      "a.test", "*.A.Test.", "127.0.0.1", "80",   "8e1",   "-1",    "[]",  R"(["A:1"])", R"({"a":)",
      "",       "false",     "null",      "\xff", "1e400", "[::1]", "::1", "ü.test"};
  std::size_t good = 0;
  for (int i = 0; i < 20'000; ++i) {
    Record record = old_record();
    for (int changes = 0; changes < 3; ++changes) {
      record[names[random() % names.size()]] = values[random() % values.size()];
    }
    const auto host = host_from(record);
    if (!host) continue;
    ++good;
    const Record again = record_of(*host);
    const auto second = host_from(again);
    REQUIRE(second);
    CHECK(record_of(*second) == again);
  }
  CHECK(good > 1000);
}

TEST_CASE("host record: save, load and remove go by the canonical name") {
  const auto store = open_memory();
  REQUIRE(save(*store, {.host = "App.Example.com.", .ip = "127.0.0.1", .target_port = 80}, soon()));
  const auto record = store->get("proxy_Host_app.example.com", soon());
  REQUIRE(record);
  CHECK(record->at("host") == "app.example.com");
  const auto loaded = load_host(*store, "APP.example.com", soon());
  REQUIRE(loaded);
  CHECK(loaded->target_port == 80);
  CHECK(loaded->created_on > 1'700'000'000'000);
  CHECK(loaded->updated_on == loaded->created_on);
  CHECK(remove_host(*store, "app.EXAMPLE.com", soon()).value());
  CHECK_FALSE(remove_host(*store, "app.example.com", soon()).value());
  CHECK(load_host(*store, "app.example.com", soon()).error().message() ==
        "not_found: no host 'app.example.com'");
  CHECK(load_host(*store, "a b", soon()).error().code == Errc::invalid);
  CHECK(remove_host(*store, "", soon()).error().code == Errc::invalid);
}

TEST_CASE("host record: saving keeps what is no field of ours, and who created the host") {
  const auto store = open_memory();
  Record record = old_record();
  record["ratelimit_enabled"] = "true";
  record["wildcard_status"] = "Done";
  record["connectTimeout"] = "100";
  record["targets"] = R"(["127.0.0.1:81"])";
  put(*store, "app.example.com", record);

  auto host = load_host(*store, "app.example.com", soon());
  REQUIRE(host);
  host->connect_timeout.reset();
  host->targets.clear();
  host->target_port = 9000;
  host->created_by.clear();
  host->created_on.reset();
  host->updated_by = "bob";
  REQUIRE(save(*store, *host, soon()));
  const auto saved = store->get("proxy_Host_app.example.com", soon());
  REQUIRE(saved);
  CHECK(saved->at("ratelimit_enabled") == "true");
  CHECK(saved->at("wildcard_status") == "Done");
  CHECK_FALSE(saved->contains("connectTimeout"));
  CHECK_FALSE(saved->contains("targets"));
  CHECK(saved->at("targetPort") == "9000");
  CHECK(saved->at("created_by") == "alice");
  CHECK(saved->at("created_on") == "1795390256641");
  CHECK(saved->at("updated_by") == "bob");
  CHECK(saved->at("updated_on") > "1795390256641");
}

TEST_CASE("host record: a host of its own replaces a cache row and all it carried") {
  const auto store = open_memory();
  Record row = with("is_cache", "true");
  row["domain"] = "{}";
  row["wildcard_parent"] = "*.example.com";
  put(*store, "app.example.com", row);
  REQUIRE(save(*store, {.host = "app.example.com", .ip = "10.0.0.9", .target_port = 80}, soon()));
  const auto saved = store->get("proxy_Host_app.example.com", soon());
  CHECK_FALSE(saved->contains("domain"));
  CHECK_FALSE(saved->contains("wildcard_parent"));
  CHECK_FALSE(saved->contains("created_by"));
  CHECK(saved->at("is_cache") == "false");
}

TEST_CASE("host record: a host that is not valid is not saved, a broken one names key and field") {
  const auto store = open_memory();
  const auto bad = save(*store, {.host = "a.test", .ip = "127.0.0.1", .target_port = 0}, soon());
  REQUIRE_FALSE(bad);
  CHECK(bad.error().message() == "invalid: field 'targetPort': 0 is under 1");
  CHECK(store->keys("", soon())->empty());

  put(*store, "port0.test", with("targetPort", "0"));
  CHECK(load_host(*store, "port0.test", soon()).error().message() ==
        "invalid: proxy_Host_port0.test: field 'targetPort': 0 is under 1");
}

TEST_CASE("host record: a name in another spelling is found, and removed, by that spelling") {
  const auto store = open_memory();
  put(*store, "UPPER.example.com", old_record("UPPER.example.com"));
  CHECK(load_host(*store, "UPPER.example.com", soon())->host == "upper.example.com");
  CHECK(load_host(*store, "upper.example.com", soon()).error().code == Errc::not_found);
  CHECK(remove_host(*store, "UPPER.example.com", soon()).value());
  CHECK(store->keys("", soon())->empty());
}

TEST_CASE("host record: all hosts of a store, each name once, whatever else is there") {
  const auto store = open_memory();
  put(*store, "app.example.com", old_record());
  put(*store, "**.lab.net", old_record("**.lab.net"));
  put(*store, "kid.example.com", [] {
    Record row = with("is_cache", "true");
    row["host"] = "kid.example.com";
    return row;
  }());
  put(*store, "localhost", {{"updated_by", "x"}});
  put(*store, "other.test", old_record("moved.test"));
  put(*store, "UPPER.test", old_record("UPPER.test"));
  put(*store, "bücher.test", old_record("bücher.test"));
  put(*store, "APP.example.com", old_record("APP.example.com"));
  put(*store, "Upper.test", old_record("Upper.test"));
  put(*store, "KID.example.com", old_record("KID.example.com"));
  REQUIRE(store->put("proxy_User_alice", {{"username", "alice"}}, std::nullopt, soon()));

  std::vector<std::string> hosts;
  std::vector<std::string> broken;
  REQUIRE(host::for_each_host(
      *store, [&](std::string_view, Host&& host) { hosts.push_back(host.host); },
      [&](std::string_view key, const Error& why) {
        broken.push_back(std::string(key) + ": " + why.detail);
      },
      soon()));
  CHECK(hosts == std::vector<std::string>{"**.lab.net", "app.example.com", "kid.example.com",
                                          "upper.test", "xn--bcher-kva.test"});
  CHECK(broken ==
        std::vector<std::string>{
            "proxy_Host_localhost: missing: field 'host', 'ip', 'targetPort'",
            "proxy_Host_other.test: field 'host': 'moved.test' is not its key's",
            "proxy_Host_APP.example.com: field 'host': 'app.example.com' has a record in another "
            "spelling",
            "proxy_Host_Upper.test: field 'host': 'upper.test' has a record in another spelling"});
}
