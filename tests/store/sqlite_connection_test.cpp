#include "store/sqlite_connection.h"

#include "support/temp_dir.h"

#include <fstream>
#include <thread>

#include <doctest/doctest.h>

using namespace proxycore;
using namespace proxycore::store::sqlite;

namespace {

constexpr const char* make = "CREATE TABLE t (a TEXT, b INTEGER)";
constexpr const char* insert = "INSERT INTO t VALUES (?1, ?2)";
constexpr const char* select_all = "SELECT a, b FROM t ORDER BY b";
constexpr const char* endless =
    "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";

struct Database {
  test::TempDir dir;
  std::string path = dir.file("x.db");
  Connection connection{path};

  Database() {
    std::ofstream{path}.flush();
    REQUIRE(connection.open());
    REQUIRE(connection.use(make)->run());
  }
};

}  // namespace

TEST_CASE("sqlite connection: bound texts, numbers and NULL come back") {
  Database db;
  REQUIRE(db.connection.use(insert)->bind(1, std::string_view{"x\0y", 3}).bind(2, 1).run());
  REQUIRE(db.connection.use(insert)->bind(1, std::string_view{}).bind(2, 2).run());
  REQUIRE(db.connection.use(insert)->bind(2, std::optional<std::int64_t>{3}).run());
  CHECK(db.connection.changed_rows() == 1);
  CHECK(db.connection.last_row() == 3);
  auto statement = db.connection.use(select_all);
  REQUIRE(statement);
  REQUIRE(*statement->step());
  CHECK(statement->text(0) == std::string_view{"x\0y", 3});
  CHECK(statement->number(1) == 1);
  REQUIRE(*statement->step());
  CHECK_FALSE(statement->is_null(0));
  CHECK(statement->text(0).empty());
  REQUIRE(*statement->step());
  CHECK(statement->is_null(0));
  CHECK_FALSE(*statement->step());
}

TEST_CASE("sqlite connection: a statement is fresh at every use") {
  Database db;
  REQUIRE(db.connection.use(insert)->bind(1, "x").bind(2, 1).run());
  REQUIRE(*db.connection.use(select_all)->step());  // left in the middle
  REQUIRE(db.connection.use(insert)->bind(2, 2).run());
  auto statement = db.connection.use(select_all);
  int rows = 0;
  REQUIRE(statement->rows([&](const Statement&) { ++rows; }));
  CHECK(rows == 2);
}

TEST_CASE("sqlite connection: rollback takes back what was not committed") {
  Database db;
  REQUIRE(db.connection.begin());
  REQUIRE(db.connection.use(insert)->bind(2, 1).run());
  db.connection.rollback();
  CHECK_FALSE(*db.connection.use(select_all)->step());
  db.connection.rollback();  // nothing to take back
  REQUIRE(db.connection.begin());
  REQUIRE(db.connection.use(insert)->bind(2, 1).run());
  REQUIRE(db.connection.commit());
  CHECK(*db.connection.use(select_all)->step());
}

TEST_CASE("sqlite connection: who waits for another writer is busy at the deadline") {
  Database db;
  Connection other{db.path};
  REQUIRE(other.open());
  REQUIRE(other.begin());
  db.connection.work_by(Deadline::in(Millis{20}));
  const auto begun = db.connection.begin();
  REQUIRE_FALSE(begun);
  CHECK(begun.error().message() == "busy: sqlite: '" + db.path + "': another process is writing");
  db.connection.work_by(Deadline::in(Millis{20'000}));
  std::thread unlocker([&] { other.rollback(); });
  CHECK(db.connection.begin());
  unlocker.join();
}

TEST_CASE("sqlite connection: long work ends at the deadline or when stopped") {
  Database db;
  db.connection.work_by(Deadline::in(Millis{20}));
  CHECK(db.connection.use(endless)->run().error().code == Errc::timeout);
  std::stop_source stop;
  db.connection.work_by(Deadline::never(stop.get_token()));
  std::thread stopper([&] { stop.request_stop(); });
  CHECK(db.connection.use(endless)->run().error().code == Errc::cancelled);
  stopper.join();
}

TEST_CASE("sqlite connection: an error names the file") {
  test::TempDir dir;
  Connection missing{dir.file("none.db")};
  const auto opened = missing.open();
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == Errc::io);
  CHECK(opened.error().detail.find(dir.file("none.db")) != std::string::npos);
}
