#include "admin/changes.h"

#include "admin/host_index.h"
#include "host/keys.h"
#include "support/away_store.h"

#include <doctest/doctest.h>

namespace proxycore::admin {

namespace {

namespace keys = host::keys;

struct Rig {
  std::unique_ptr<Store> store = open_memory();
  HostIndex hosts;
  std::int64_t now = 1'700'000'000'000;
  Changes changes{*store, hosts, [this] { return now; }};
  auth::Caller alice{.user = "alice", .how = auth::How::session};
  Deadline by = Deadline::in(Seconds{20});
};

}  // namespace

TEST_CASE("changes: who did what to what, and what became of which field, is on record") {
  Rig rig;
  rig.changes.record(rig.alice, "host.update", keys::host("a.test"),
                     {{"host", "a.test"}, {"ip", "10.0.0.1"}, {"targetssl", "true"}},
                     {{"host", "a.test"}, {"ip", "10.0.0.2"}, {"note", "x"}}, rig.by);
  const auto list = rig.changes.list("", 10, rig.by);
  REQUIRE(list);
  REQUIRE(list->size() == 1);
  const AuditEntry& entry = list->front();
  CHECK(entry.id == "1700000000000-000");
  CHECK(entry.at_ms == rig.now);
  CHECK(entry.who == "alice");
  CHECK(entry.how == "session");
  CHECK(entry.what == "host.update");
  CHECK(entry.key == "proxy_Host_a.test");
  CHECK(entry.changes ==
        R"({"ip":["10.0.0.1","10.0.0.2"],"targetssl":["true",null],"note":[null,"x"]})");
}

TEST_CASE("changes: the newest are listed first, page by page, several in one millisecond too") {
  Rig rig;
  for (int i = 0; i < 5; ++i) {
    rig.now += i % 2;
    rig.changes.record(rig.alice, "x." + std::to_string(i), "key", {}, {}, rig.by);
  }
  auto page = rig.changes.list("", 2, rig.by);
  REQUIRE(page);
  REQUIRE(page->size() == 2);
  CHECK(page->at(0).what == "x.4");
  CHECK(page->at(1).what == "x.3");
  page = rig.changes.list(page->at(1).id, 10, rig.by);
  REQUIRE(page);
  REQUIRE(page->size() == 3);
  CHECK(page->at(0).what == "x.2");
  CHECK(page->at(2).what == "x.0");
}

TEST_CASE("changes: what the store did not take is put on record once it does, and once") {
  test::AwayStore store;
  HostIndex hosts;
  std::int64_t now = 1'700'000'000'000;
  Changes changes(store, hosts, [&now] { return now; });
  const auth::Caller alice{.user = "alice", .how = auth::How::session};
  const Deadline by = Deadline::in(Seconds{20});
  const auto on_record = [&] {
    std::string all;
    const auto list = changes.list("", 10, by);
    REQUIRE(list);
    for (const AuditEntry& entry : *list) all += entry.what + "@" + entry.id + " ";
    return all;
  };
  store.before_write = [] { return Result<void>(Error{Errc::closed, "reset"}); };
  changes.record(alice, "one", "key", {}, {}, by);
  now += 5;
  changes.record(alice, "two", "key", {}, {}, by);
  CHECK(on_record().empty());
  // The answer to the first was lost, not the entry.
  store.before_write = {};
  const Record entry = {{"at", "1700000000000"}, {"who", "alice"}, {"how", "session"},
                        {"what", "one"},         {"key", "key"},   {"changes", "{}"}};
  REQUIRE(store.create("proxycore_audit_1700000000000-000", entry, Changes::kept, by));
  now += 5;
  changes.record(alice, "three", "key", {}, {}, by);
  CHECK(on_record() == "three@1700000000010-000 two@1700000000005-000 one@1700000000000-000 ");

  store.before_write = [] { return Result<void>(Error{Errc::closed, "reset"}); };
  for (std::size_t i = 0; i < Changes::max_owed + 10; ++i) {
    ++now;
    changes.record(alice, "many", "key", {}, {}, by);
  }
  store.before_write = {};
  const auto list = changes.list("", 2 * Changes::max_owed, by);
  REQUIRE(list);
  CHECK(list->size() == 3 + Changes::max_owed);
}

TEST_CASE("changes: no secret gets on record") {
  Rig rig;
  struct Case {
    std::string key;
    std::string field;
  };
  const Case cases[] = {
      {keys::user("bob"), "password"},
      {keys::auth_token("a-plain-token-of-old"), "token"},
      {keys::api_token("0123"), "secret_hash"},
      {keys::dns_provider("0123"), "token"},
      {keys::dns_provider("0123"), "whatever a plugin wants"},
      {keys::host("a.test"), "basicauth_users"},
  };
  for (const Case& one : cases) {
    rig.changes.record(rig.alice, "x", one.key, {{one.field, "s3cret-1"}},
                       {{one.field, "s3cret-2"}, {"name", "open"}}, rig.by);
    CHECK(without_secrets(one.key, {{one.field, "s3cret"}}).at(one.field) == "***");
  }
  const auto scanned = rig.store->scan(
      keys::audit_prefix,
      [](std::string_view, Record&& record) {
        for (const auto& [name, value] : record) {
          CHECK(value.find("s3cret") == std::string::npos);
          CHECK(value.find("a-plain-token") == std::string::npos);
        }
        CHECK(record.at("changes").find("***") != std::string::npos);
      },
      rig.by);
  CHECK(scanned);
}

TEST_CASE("changes: the host index has what was written before the write is answered") {
  Rig rig;
  const Record record = {{"host", "a.test"}, {"ip", "10.0.0.1"}, {"targetPort", "80"}};
  rig.changes.record(rig.alice, "host.create", keys::host("a.test"), {}, record, rig.by);
  CHECK(rig.hosts.find("a.test") != nullptr);
  rig.changes.record(rig.alice, "host.delete", keys::host("a.test"), record, {}, rig.by);
  CHECK(rig.hosts.find("a.test") == nullptr);
}

}  // namespace proxycore::admin
