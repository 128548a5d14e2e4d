// sqlite::Connection: one connection to a database file, with the statements it has prepared, under
// a deadline; sqlite::Statement: one use of such a statement.
//
// Everything that knows SQLite's C interface is here. Not here: what is stored (sqlite_store).
// Thread: one at a time.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

struct sqlite3;
struct sqlite3_stmt;

namespace proxycore::store::sqlite {

class Connection;

// Ready for the next use when destroyed.
class Statement {
 public:
  Statement(Connection& connection, sqlite3_stmt* prepared) noexcept
      : connection_(&connection), prepared_(prepared) {}
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Parameters are numbered from 1; what is not bound is NULL. `text` must live as long as this.
  Statement& bind(int at, std::string_view text);
  Statement& bind(int at, std::int64_t number);
  template <class T>
  Statement& bind(int at, const std::optional<T>& value) {
    return value ? bind(at, *value) : *this;
  }

  // true: there is a row. Errors: as Connection.
  Result<bool> step();
  // Steps to the end; `each` gets this at every row.
  template <class Each>
  Result<void> rows(Each each) {
    for (;;) {
      PX_TRY(const bool row, step());
      if (!row) return {};
      each(*this);
    }
  }
  // Steps to the end.
  Result<void> run();

  // Columns of the row, numbered from 0. A text is valid until the next step.
  [[nodiscard]] std::string_view text(int column) const;
  [[nodiscard]] std::int64_t number(int column) const;
  [[nodiscard]] bool is_null(int column) const;

 private:
  Connection* connection_;
  sqlite3_stmt* prepared_;  // nullptr: moved from
  int bound_ = 0;           // the first error of bind()
};

// Its functions fail with: busy (another connection kept it waiting until the deadline), timeout,
// cancelled, invalid (no database, or damaged), io. The text names the file.
class Connection {
 public:
  explicit Connection(std::string path) : path_(std::move(path)) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The file must exist. A commit will be on the disk when it returns (synchronous=FULL).
  Result<void> open();
  // Holds for everything until the next call.
  void work_by(const Deadline& by) { by_ = by; }

  // `sql` must be a literal: the statement is kept under its address.
  Result<Statement> use(const char* sql);
  // Several statements without results; not kept.
  Result<void> execute(const std::string& statements);

  // Between begin() and commit() or rollback(), nobody else writes.
  Result<void> begin();
  Result<void> commit();
  void rollback();

  [[nodiscard]] std::int64_t changed_rows() const;  // by the last write
  [[nodiscard]] std::int64_t last_row() const;      // the rowid of the last insert
  [[nodiscard]] Error failed(int code) const;       // SQLite's code, in our words

 private:
  static int on_busy(void* self, int times);
  static int on_progress(void* self);

  const std::string path_;
  sqlite3* db_ = nullptr;
  std::unordered_map<const char*, sqlite3_stmt*> prepared_;
  Deadline by_ = Deadline::never();
};

}  // namespace proxycore::store::sqlite
