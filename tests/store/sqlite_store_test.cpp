#include "store/backends.h"
#include "support/store_contract.h"
#include "support/temp_dir.h"
#include "support/told.h"
#include <proxycore/store.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <sqlite3.h>

using namespace proxycore;

namespace {

constexpr Millis patience{20'000};

Deadline soon() {
  return Deadline::in(patience);
}

// As somebody with SQLite's own shell could do it.
void run_sql(const std::string& path, const std::string& statements) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  CHECK(sqlite3_exec(db, statements.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK);
  sqlite3_close(db);
}

int count_rows(const std::string& path, const std::string& table) {
  sqlite3* db = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &db) == SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  REQUIRE(sqlite3_prepare_v2(db, ("SELECT count(*) FROM " + table).c_str(), -1, &statement,
                             nullptr) == SQLITE_OK);
  REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
  const int count = sqlite3_column_int(statement, 0);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  return count;
}

std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

unsigned mode_of(const std::string& path) {
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  return status.st_mode & 0777U;
}

std::string refusal(const std::string& path) {
  const auto opened = open_sqlite(path);
  return opened ? "opened" : opened.error().message();
}

// Root may do everything: where the tests run as root, they drop that for a while.
class Unprivileged {
 public:
  Unprivileged() {
    if (was_root_) REQUIRE(::seteuid(65534) == 0);
  }
  ~Unprivileged() {
    if (was_root_ && ::seteuid(0) != 0) std::abort();
  }
  Unprivileged(const Unprivileged&) = delete;
  Unprivileged& operator=(const Unprivileged&) = delete;

 private:
  const bool was_root_ = ::geteuid() == 0;
};

}  // namespace

TEST_CASE("sqlite store: keeps what every store promises") {
  test::TempDir dir;
  test::check_store_contract([&](test::TestClock& clock) {
    auto opened = store::make_sqlite(dir.file("x.db"), [&clock] { return clock.now; });
    REQUIRE(opened);
    return *std::move(opened);
  });
}

TEST_CASE("sqlite store: what was put is there after the store was closed and opened") {
  test::TempDir dir;
  const std::string path = dir.file("x.db");
  std::uint64_t token = 0;
  {
    const auto store = open_sqlite(path);
    REQUIRE(store);
    REQUIRE((*store)->put("k", {{"v", "1"}}, {}, soon()));
    token = (*(*store)->lock("l", Seconds{30}, soon()))->token();
  }
  const auto store = open_store("sqlite:" + path);
  REQUIRE(store);
  CHECK((*store)->get("k", soon())->at("v") == "1");
  CHECK((*(*store)->lock("l", Seconds{30}, soon()))->token() > token);
  CHECK((*store)->describe() == "sqlite:" + path);
}

TEST_CASE("sqlite store: only the owner may read its files, whatever the umask") {
  test::TempDir dir;
  const std::string path = dir.file("x.db");
  const ::mode_t before = ::umask(0);
  const auto store = open_sqlite(path);
  REQUIRE(store);
  REQUIRE((*store)->put("k", {{"v", "1"}}, {}, soon()));
  ::umask(before);
  CHECK(mode_of(path) == 0600);
  CHECK(mode_of(path + "-wal") == 0600);
  CHECK(mode_of(path + "-shm") == 0600);
}

TEST_CASE("sqlite store: names that SQLite gives a meaning are plain files") {
  test::TempDir dir;
  const std::string before = std::filesystem::current_path().string();
  std::filesystem::current_path(dir.path());
  for (const char* name : {":memory:", "file:x.db?mode=memory", "plain.db"}) {
    CAPTURE(name);
    {
      const auto store = open_sqlite(name);
      REQUIRE(store);
      REQUIRE((*store)->put("k", {{"v", "1"}}, {}, soon()));
    }
    CHECK(std::filesystem::file_size(dir.file(name)) > 0);
    CHECK((*open_sqlite(name))->get("k", soon()));
  }
  std::filesystem::current_path(before);
}

TEST_CASE("sqlite store: what cannot be opened is named, with what was expected") {
  test::TempDir dir;
  const std::string path = dir.file("x.db");
  const std::string at = "sqlite: '" + path + "': ";

  CHECK(refusal("") == "invalid: sqlite: expected a path");
  CHECK(refusal(dir.path()) == "io: sqlite: '" + dir.path() + "': expected a regular file");
  CHECK(refusal(dir.file("no/x.db")) == "io: sqlite: '" + dir.file("no/x.db") +
                                            "': expected an existing directory '" + dir.file("no") +
                                            "': No such file or directory");
  SUBCASE("a text file") {
    std::ofstream{path} << std::string(5000, 'x');
    CHECK(refusal(path) == "invalid: " + at + "not a database; expected a file made by proxycore");
    CHECK(bytes_of(path) == std::string(5000, 'x'));
  }
  SUBCASE("the database of another program, which stays as it is") {
    run_sql(path, "CREATE TABLE mine (x)");
    const std::string before = bytes_of(path);
    CHECK(refusal(path) == "invalid: " + at +
                               "holds the tables of another program; expected a file made by "
                               "proxycore");
    CHECK(bytes_of(path) == before);
  }
  SUBCASE("a newer layout") {
    REQUIRE(open_sqlite(path));
    run_sql(path, "PRAGMA user_version = 7");
    CHECK(refusal(path) ==
          "invalid: " + at + "has layout 7; this version of proxycore knows layout 1");
  }
  SUBCASE("a damaged file") {
    {
      const auto store = open_sqlite(path);
      REQUIRE(store);
      std::vector<std::pair<std::string, Record>> many;
      for (int i = 0; i < 1000; ++i) {
        many.emplace_back("k" + std::to_string(i), Record{{"v", std::string(100, 'x')}});
      }
      REQUIRE((*store)->put_all(many, {}, soon()));
    }
    {
      std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
      file.seekp(4096);
      file << std::string(20'000, '\xA5');
    }
    const auto store = open_sqlite(path);
    const Error error = store ? (*store)->keys("", soon()).error() : store.error();
    CHECK(error.message() == "invalid: " + at + "the database is damaged");
  }
  SUBCASE("a directory that may not be written") {
    std::filesystem::permissions(dir.path(), std::filesystem::perms{0555});
    const Unprivileged unprivileged;
    CHECK(refusal(path) == "io: " + at + "create: Permission denied");
  }
  SUBCASE("a file that may not be read") {
    REQUIRE(open_sqlite(path));
    std::filesystem::permissions(dir.path(), std::filesystem::perms{0755});
    std::filesystem::permissions(path, std::filesystem::perms{0});
    const Unprivileged unprivileged;
    CHECK(refusal(path) == "io: " + at + "unable to open database file: Permission denied");
  }
  SUBCASE("a file that may not be written") {
    REQUIRE(open_sqlite(path));
    std::filesystem::permissions(dir.path(), std::filesystem::perms{0755});
    std::filesystem::permissions(path, std::filesystem::perms{0444});
    const Unprivileged unprivileged;
    CHECK(refusal(path) == "io: " + at + "attempt to write a readonly database");
  }
}

TEST_CASE("sqlite store: an empty file becomes a store") {
  test::TempDir dir;
  std::ofstream{dir.file("x.db")}.flush();
  CHECK(open_sqlite(dir.file("x.db")));
}

TEST_CASE("sqlite store: several open a new file at once") {
  test::TempDir dir;
  std::atomic<int> good = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&, i] {
      const auto store = open_sqlite(dir.file("x.db"));
      if (store && (*store)->put("k" + std::to_string(i), {{"v", "1"}}, {}, soon())) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good == 4);
  CHECK((*open_sqlite(dir.file("x.db")))->keys("k", soon())->size() == 4);
}

TEST_CASE("sqlite store: a watch is told what another store on the same file writes") {
  test::TempDir dir;
  const auto here = open_sqlite(dir.file("x.db"));
  const auto there = open_sqlite(dir.file("x.db"));
  test::Told told;
  REQUIRE((*there)->put("a_0", {{"v", "1"}}, {}, soon()));
  const auto watch = (*here)->watch("a_", told.callback());
  REQUIRE(watch);
  REQUIRE((*there)->put("b_1", {{"v", "1"}}, {}, soon()));
  REQUIRE((*there)->put("a_1", {{"v", "1"}}, {}, soon()));
  CHECK(told.wait_for("a_1"));
  CHECK_FALSE(told.has("a_0"));
  CHECK_FALSE(told.has("b_1"));
  REQUIRE((*there)->erase("a_0", soon()));
  CHECK(told.wait_for("a_0"));

  SUBCASE("a great many changes are told as the prefix") {
    std::vector<std::pair<std::string, Record>> many;
    for (int i = 0; i < 5000; ++i) many.emplace_back("a_m" + std::to_string(i), Record{{"v", ""}});
    REQUIRE((*there)->put_all(many, {}, soon()));
    CHECK(told.wait_for("a_"));
  }
  SUBCASE("who looks when changes were forgotten already is told the prefix") {
    run_sql(dir.file("x.db"),
            "INSERT INTO changes (key, writer) SELECT 'a_gone', 1 FROM records;"
            "DELETE FROM changes WHERE sequence < (SELECT max(sequence) FROM changes)");
    REQUIRE((*there)->put("b_2", {{"v", "1"}}, {}, soon()));
    run_sql(dir.file("x.db"),
            "INSERT INTO changes (sequence, key, writer)"
            " SELECT max(sequence) + 100, 'b_3', 1 FROM changes");
    CHECK(told.wait_for("a_"));
  }
}

TEST_CASE("sqlite store: a lock holds between two stores on the same file") {
  test::TempDir dir;
  const auto here = open_sqlite(dir.file("x.db"));
  const auto there = open_sqlite(dir.file("x.db"));
  auto lease = (*here)->lock("l", Seconds{30}, soon());
  REQUIRE(lease);
  const std::uint64_t first = (*lease)->token();
  CHECK((*there)->lock("l", Seconds{30}, Deadline::in(Millis{0})).error().code == Errc::busy);
  lease->reset();
  const auto taken = (*there)->lock("l", Seconds{30}, soon());
  REQUIRE(taken);
  CHECK((*taken)->token() > first);
}

TEST_CASE("sqlite store: a writer that another process keeps waiting is busy at its deadline") {
  test::TempDir dir;
  const std::string path = dir.file("x.db");
  const auto store = open_sqlite(path);
  REQUIRE((*store)->put("k", {{"v", "1"}}, {}, soon()));
  sqlite3* other = nullptr;
  REQUIRE(sqlite3_open(path.c_str(), &other) == SQLITE_OK);
  REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK);
  CHECK((*store)->put("k", {{"v", "2"}}, {}, Deadline::in(Millis{20})).error().code == Errc::busy);
  CHECK((*store)->get("k", soon())->at("v") == "1");  // readers do not wait

  std::stop_source stop;
  std::thread stopper([&] { stop.request_stop(); });
  CHECK((*store)->put("k", {{"v", "2"}}, {}, Deadline::never(stop.get_token())).error().code ==
        Errc::cancelled);
  stopper.join();
  sqlite3_close(other);
  CHECK((*store)->put("k", {{"v", "2"}}, {}, soon()));
}

TEST_CASE("sqlite store: a scan past its deadline ends") {
  test::TempDir dir;
  const auto store = open_sqlite(dir.file("x.db"));
  std::vector<std::pair<std::string, Record>> many;
  for (int i = 0; i < 5000; ++i) many.emplace_back("k" + std::to_string(i), Record{{"v", ""}});
  REQUIRE((*store)->put_all(many, {}, soon()));
  const auto done = (*store)->scan(
      "", [](std::string_view, Record&&) {}, Deadline::in(Millis{0}));
  REQUIRE_FALSE(done);
  CHECK(done.error().code == Errc::timeout);
}

TEST_CASE("sqlite store: what has expired leaves the file, and old changes are forgotten") {
  test::TempDir dir;
  const std::string path = dir.file("x.db");
  test::TestClock clock;
  const auto store = store::make_sqlite(path, [&clock] { return clock.now; });
  std::vector<std::pair<std::string, Record>> many;
  for (int i = 0; i < 1000; ++i) many.emplace_back("k" + std::to_string(i), Record{{"v", ""}});
  REQUIRE((*store)->put_all(many, Seconds{10}, soon()));
  CHECK(count_rows(path, "records") == 1000);
  const auto lease = (*store)->lock("l", Seconds{10}, soon());
  clock.pass(Seconds{100});
  REQUIRE((*store)->put("k", {{"v", "1"}}, {}, soon()));
  CHECK(count_rows(path, "records") == 1);
  CHECK(count_rows(path, "locks") == 0);
  for (int i = 0; i < 11; ++i) REQUIRE((*store)->put_all(many, {}, soon()));
  CHECK(count_rows(path, "changes") == 10'000);
}

TEST_CASE("sqlite store: tells how large the file is") {
  test::TempDir dir;
  const auto store = open_sqlite(dir.file("x.db"));
  const auto empty = (*store)->used_bytes(soon());
  REQUIRE(empty);
  REQUIRE((*store)->put("k", {{"v", std::string(100'000, 'x')}}, {}, soon()));
  const auto more = (*store)->used_bytes(soon());
  REQUIRE(more);
  CHECK(**more >= **empty + 100'000);
  CHECK_FALSE(*open_memory()->used_bytes(soon()));
}
