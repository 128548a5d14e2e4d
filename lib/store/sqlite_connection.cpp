#include "store/sqlite_connection.h"

#include "base/pause.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>
#include <sqlite3.h>

namespace proxycore::store::sqlite {

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      prepared_(std::exchange(other.prepared_, nullptr)),
      bound_(other.bound_) {}

Statement::~Statement() {
  if (prepared_ == nullptr) return;
  sqlite3_reset(prepared_);
  sqlite3_clear_bindings(prepared_);
}

Statement& Statement::bind(int at, std::string_view text) {
  const char* data = text.data() != nullptr ? text.data() : "";  // nullptr would be NULL
  const int code =
      sqlite3_bind_text64(prepared_, at, data, text.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (bound_ == SQLITE_OK) bound_ = code;
  return *this;
}

Statement& Statement::bind(int at, std::int64_t number) {
  const int code = sqlite3_bind_int64(prepared_, at, number);
  if (bound_ == SQLITE_OK) bound_ = code;
  return *this;
}

Result<bool> Statement::step() {
  const int code = bound_ == SQLITE_OK ? sqlite3_step(prepared_) : bound_;
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  return connection_->failed(code);
}

Result<void> Statement::run() {
  return rows([](const Statement&) {});
}

std::string_view Statement::text(int column) const {
  const auto* data = reinterpret_cast<const char*>(sqlite3_column_text(prepared_, column));
  if (data == nullptr) return {};
  return {data, static_cast<std::size_t>(sqlite3_column_bytes(prepared_, column))};
}

std::int64_t Statement::number(int column) const {
  return sqlite3_column_int64(prepared_, column);
}

bool Statement::is_null(int column) const {
  return sqlite3_column_type(prepared_, column) == SQLITE_NULL;
}

Connection::~Connection() {
  for (const auto& [sql, statement] : prepared_) sqlite3_finalize(statement);
  sqlite3_close(db_);
}

Result<void> Connection::open() {
  // SQLite gives names like ":memory:" a meaning of their own; ours are paths.
  const std::string file = path_.starts_with('/') ? path_ : "./" + path_;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  if (const int code = sqlite3_open_v2(file.c_str(), &db_, flags, nullptr); code != SQLITE_OK) {
    return failed(code);
  }
  sqlite3_extended_result_codes(db_, 1);
  sqlite3_busy_handler(db_, &Connection::on_busy, this);
  constexpr int operations_between_checks = 10'000;  // well under a millisecond
  sqlite3_progress_handler(db_, operations_between_checks, &Connection::on_progress, this);
  // FULL syncs the log at every commit. NORMAL would lose the last commits when the power fails: a
  // revoked token would be valid again, an account's key gone. Writes are rare here, and reads pay
  // nothing.
  return execute("PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864");
}

Result<Statement> Connection::use(const char* sql) {
  sqlite3_stmt*& statement = prepared_[sql];
  if (statement == nullptr) {
    const int code =
        sqlite3_prepare_v3(db_, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, nullptr);
    if (code != SQLITE_OK) return failed(code);
  }
  return Statement{*this, statement};
}

Result<void> Connection::execute(const std::string& statements) {
  const int code = sqlite3_exec(db_, statements.c_str(), nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return failed(code);
  return {};
}

Result<void> Connection::begin() {
  PX_TRY(Statement statement, use("BEGIN IMMEDIATE"));
  return statement.run();
}

Result<void> Connection::commit() {
  PX_TRY(Statement statement, use("COMMIT"));
  return statement.run();
}

void Connection::rollback() {
  if (sqlite3_get_autocommit(db_) != 0) return;  // SQLite has done so itself
  by_ = Deadline::never();                       // the way back must not be interrupted
  if (auto statement = use("ROLLBACK")) static_cast<void>(statement->run());
}

std::int64_t Connection::changed_rows() const {
  return sqlite3_changes64(db_);
}

std::int64_t Connection::last_row() const {
  return sqlite3_last_insert_rowid(db_);
}

Error Connection::failed(int code) const {
  const auto error = [this](Errc errc, std::string_view why) {
    return Error{errc, fmt::format("sqlite: '{}': {}", path_, why)};
  };
  if (by_.cancelled()) return error(Errc::cancelled, "given up");
  switch (code & 0xFF) {
    case SQLITE_BUSY:
      return error(Errc::busy, "another process is writing");
    case SQLITE_INTERRUPT:
      return error(Errc::timeout, "not finished in time");
    case SQLITE_NOTADB:
      return error(Errc::invalid, "not a database; expected a file made by proxycore");
    case SQLITE_CORRUPT:
      return error(Errc::invalid, "the database is damaged");
    default:
      break;
  }
  const int system = db_ != nullptr ? sqlite3_system_errno(db_) : 0;
  if (system == 0) return error(Errc::io, sqlite3_errstr(code));
  return error(Errc::io, fmt::format("{}: {}", sqlite3_errstr(code), std::strerror(system)));
}

// Another process holds the lock.
int Connection::on_busy(void* self, int times) {
  const Deadline& by = static_cast<Connection*>(self)->by_;
  if (by.cancelled() || by.passed()) return 0;
  // Whether the time is up is asked the next time.
  static_cast<void>(base::pause(Millis{std::min(times + 1, 10)}, by));
  return 1;
}

int Connection::on_progress(void* self) {
  const Deadline& by = static_cast<Connection*>(self)->by_;
  return by.cancelled() || by.passed() ? 1 : 0;
}

}  // namespace proxycore::store::sqlite
