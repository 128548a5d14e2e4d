// The store in one SQLite file, shared by every process of the machine.
//
// Records lie as rows (key, field, value, expires_at) clustered by key. One connection writes, a
// few read beside it (WAL: readers and the writer do not wait for each other), one looks for what
// other processes changed. Every connection is used by one thread at a time.
#include "base/log.h"
#include "base/pause.h"
#include "store/backends.h"
#include "store/sqlite_connection.h"
#include "store/watchers.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <random>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace proxycore {
namespace store {
namespace {

// In the file's header; "pxcs". A file with another one belongs to another program.
constexpr std::int64_t application_id = 0x70786373;
constexpr std::int64_t layout = 1;  // user_version; grows with every change of the tables

constexpr const char* tables = R"(
  CREATE TABLE records (
    key TEXT NOT NULL, field TEXT NOT NULL, value TEXT NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (key, field)) WITHOUT ROWID;
  CREATE INDEX records_expiring ON records (expires_at) WHERE expires_at IS NOT NULL;
  CREATE TABLE changes (sequence INTEGER PRIMARY KEY, key TEXT, writer INTEGER NOT NULL);
  CREATE TABLE locks (name TEXT PRIMARY KEY, token INTEGER NOT NULL, expires_at INTEGER NOT NULL)
    WITHOUT ROWID;
  CREATE TABLE tokens (last INTEGER NOT NULL);
  INSERT INTO tokens VALUES (0);
)";

constexpr std::int64_t rows_per_sweep = 10'000;  // the LIMIT in sql::sweep

// ?1 is the key or name, ?9 is now; times are milliseconds since 1970.
namespace sql {
constexpr const char* get =
    "SELECT field, value FROM records"
    " WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?9)";
constexpr const char* end =
    "SELECT expires_at FROM records"
    " WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?9) LIMIT 1";
constexpr const char* exists =
    "SELECT 1 FROM records WHERE key = ?1 AND (expires_at IS NULL OR expires_at > ?9) LIMIT 1";
constexpr const char* clear = "DELETE FROM records WHERE key = ?1";
constexpr const char* insert = "INSERT INTO records VALUES (?1, ?2, ?3, ?4)";
constexpr const char* used_bytes =
    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
// ?2 is where the prefix ends. Two statements each, because SQLite plans before it knows ?2.
constexpr const char* keys =
    "SELECT DISTINCT key FROM records"
    " WHERE key >= ?1 AND key < ?2 AND (expires_at IS NULL OR expires_at > ?9) ORDER BY key";
constexpr const char* all_keys =
    "SELECT DISTINCT key FROM records"
    " WHERE key >= ?1 AND (expires_at IS NULL OR expires_at > ?9) ORDER BY key";
constexpr const char* scan =
    "SELECT key, field, value FROM records WHERE key >= ?1 AND key < ?2"
    " AND (expires_at IS NULL OR expires_at > ?9) ORDER BY key, field";
constexpr const char* scan_all =
    "SELECT key, field, value FROM records WHERE key >= ?1"
    " AND (expires_at IS NULL OR expires_at > ?9) ORDER BY key, field";
// A record may go in two steps: no part of it is visible.
constexpr const char* sweep =
    "DELETE FROM records WHERE (key, field) IN"
    " (SELECT key, field FROM records WHERE expires_at <= ?9 LIMIT 10000)";

constexpr const char* note_change = "INSERT INTO changes (key, writer) VALUES (?1, ?2)";
constexpr const char* forget_changes = "DELETE FROM changes WHERE sequence <= ?1";
constexpr const char* last_change = "SELECT coalesce(max(sequence), 0) FROM changes";
constexpr const char* changes_after =
    "SELECT sequence, key, writer FROM changes WHERE sequence > ?1 ORDER BY sequence";
constexpr const char* data_version = "PRAGMA data_version";  // moves when others commit

constexpr const char* lock_holder = "SELECT 1 FROM locks WHERE name = ?1 AND expires_at > ?9";
constexpr const char* next_token = "UPDATE tokens SET last = last + 1 RETURNING last";
constexpr const char* take_lock = "INSERT OR REPLACE INTO locks VALUES (?1, ?2, ?3)";
constexpr const char* renew_lock =
    "UPDATE locks SET expires_at = ?3 WHERE name = ?1 AND token = ?2 AND expires_at > ?9";
constexpr const char* release_lock = "DELETE FROM locks WHERE name = ?1 AND token = ?2";
constexpr const char* sweep_locks = "DELETE FROM locks WHERE expires_at <= ?9";

constexpr const char* application_id = "PRAGMA application_id";
constexpr const char* user_version = "PRAGMA user_version";
constexpr const char* things = "SELECT count(*) FROM sqlite_schema";
constexpr const char* to_wal = "PRAGMA journal_mode = WAL";
}  // namespace sql

using sqlite::Connection;
using sqlite::Statement;

// Lets one thread in at a time; the others wait until their deadlines.
class Gate {
 public:
  class Turn {
   public:
    explicit Turn(Gate& gate) : gate_(&gate) {}
    Turn(Turn&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Turn& operator=(Turn&&) = delete;
    ~Turn() {
      if (gate_ != nullptr) gate_->leave();
    }

   private:
    Gate* gate_;
  };

  Result<Turn> enter(const Deadline& by) {
    std::unique_lock lock(mutex_);
    while (taken_) {
      if (by.cancelled()) return Error{Errc::cancelled};
      if (by.passed()) return Error{Errc::busy, "another thread is writing"};
      free_.wait_for(lock, by.stop(), by.left(), [this] { return !taken_; });
    }
    taken_ = true;
    return Turn{*this};
  }

 private:
  void leave() {
    {
      const std::lock_guard lock(mutex_);
      taken_ = false;
    }
    free_.notify_one();
  }

  std::mutex mutex_;
  std::condition_variable_any free_;
  bool taken_ = false;
};

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Makes an empty file that only its owner may read, where there is none: SQLite would use the
// umask, and gives its log and its shared memory the mode of the database.
Result<void> make_file(const std::string& path) {
  const auto failed = [&](std::string_view doing) {
    return Error{Errc::io, fmt::format("sqlite: '{}': {}: {}", path, doing, std::strerror(errno))};
  };
  struct stat there {};
  if (::stat(path.c_str(), &there) == 0) {
    if (S_ISREG(there.st_mode)) return {};
    return Error{Errc::io, fmt::format("sqlite: '{}': expected a regular file", path)};
  }
  const std::string folder = folder_of(path);
  if (::stat(folder.c_str(), &there) != 0) {
    return failed(fmt::format("expected an existing directory '{}'", folder));
  }
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) return errno == EEXIST ? Result<void>{} : failed("create");
  ::close(file);
  // The name must survive a power failure as well as the bytes.
  const int listing = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listing < 0) return failed("open its directory");
  const int synced = ::fsync(listing);
  ::close(listing);
  if (synced != 0) return failed("sync its directory");
  return {};
}

class SqliteStore final : public Store {
 public:
  SqliteStore(std::string path, Clock clock)
      : path_(std::move(path)),
        clock_(std::move(clock)),
        id_((std::int64_t{std::random_device{}()} << 31) ^ std::random_device{}()),
        writer_(path_) {}

  Result<void> open();

  Result<Record> get(std::string_view key, const Deadline& by) override;
  Result<void> put(std::string_view key, const Record& record, Ttl ttl,
                   const Deadline& by) override;
  Result<void> create(std::string_view key, const Record& record, Ttl ttl,
                      const Deadline& by) override;
  Result<void> update(std::string_view key, const Change& change, Life life,
                      const Deadline& by) override;
  Result<void> put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                       const Deadline& by) override;
  Result<bool> erase(std::string_view key, const Deadline& by) override;
  Result<bool> erase_if(std::string_view key, const Condition& condition,
                        const Deadline& by) override;
  Result<std::vector<std::string>> keys(std::string_view prefix, const Deadline& by) override;
  Result<void> scan(std::string_view prefix,
                    const std::function<void(std::string_view key, Record&& record)>& each,
                    const Deadline& by) override;
  Result<std::unique_ptr<Lease>> lock(std::string_view name, Seconds ttl,
                                      const Deadline& by) override;
  Result<std::unique_ptr<Watch>> watch(std::string_view prefix,
                                       std::function<void(std::string_view key)> changed) override;
  [[nodiscard]] std::string describe() const override { return "sqlite:" + path_; }
  Result<std::optional<std::uint64_t>> used_bytes(const Deadline& by) override;

 private:
  class Changes;
  class Reader;
  class SqliteLease;

  Result<void> lay_out();
  Result<void> to_wal(const Deadline& by);

  // `work` in a transaction; it adds to the Changes what it changes.
  template <class Work>
  Result<void> write_by(const Deadline& by, Work work);
  // Parts of a transaction.
  using End = std::optional<std::int64_t>;  // in the clock's milliseconds
  Result<void> set(Changes& changes, std::string_view key, const Record& record, End until);
  [[nodiscard]] End end_of(Ttl ttl) const;
  Result<Record> read(Connection& connection, std::string_view key);
  Result<End> end(std::string_view key);
  Result<bool> exists(std::string_view key);
  Result<void> note(const Changes& changes);
  Result<void> sweep();

  Result<Reader> read_by(const Deadline& by);
  void give_back(std::unique_ptr<Connection> connection);

  Result<std::uint64_t> try_lock(std::string_view name, Seconds ttl, const Deadline& by);
  Result<void> renew(const std::string& name, std::uint64_t token, Seconds ttl, const Deadline& by);
  void release(const std::string& name, std::uint64_t token);
  std::uint64_t count_releases();
  void wait_for_release(std::uint64_t releases, const Deadline& by);

  // These need look_mutex_.
  Result<void> begin_to_look();
  Result<void> look();
  void look_around();

  static constexpr std::int64_t kept_changes = 10'000;  // for processes that look late
  static constexpr Seconds sweep_interval{60};
  static constexpr std::size_t kept_readers = 4;
  static constexpr Millis lock_interval{50};
  static constexpr Millis look_patience{1'000};

  const std::string path_;
  const Clock clock_;
  const std::int64_t id_;  // of this object, among all that write to the file

  Gate gate_;  // for writer_ and next_sweep_
  Connection writer_;
  std::int64_t next_sweep_ = 0;

  std::mutex readers_mutex_;
  std::vector<std::unique_ptr<Connection>> readers_;  // idle

  std::mutex releases_mutex_;
  std::condition_variable_any released_;
  std::uint64_t releases_ = 0;  // of leases of this object

  std::mutex look_mutex_;
  std::unique_ptr<Connection> looker_;  // since the first watch
  std::int64_t seen_version_ = 0;
  std::int64_t seen_sequence_ = 0;
  bool blind_ = false;  // the last look failed: said once

  Watchers watchers_{[this] { look_around(); }};  // last: its thread uses the others
};

// What a transaction changes: told to our own watches when it is committed, and left in the file
// for those of other processes.
class SqliteStore::Changes {
 public:
  void add(std::string_view key) {
    if (many_) return;
    keys_.emplace_back(key);
    if (keys_.size() > Watchers::max_pending) {
      keys_.clear();
      many_ = true;
    }
  }
  [[nodiscard]] const std::vector<std::string>& keys() const { return keys_; }
  [[nodiscard]] bool many() const { return many_; }  // too many to name
  [[nodiscard]] bool none() const { return !many_ && keys_.empty(); }

 private:
  std::vector<std::string> keys_;
  bool many_ = false;
};

// A connection for reading, given back when destroyed.
class SqliteStore::Reader {
 public:
  Reader(SqliteStore& home, std::unique_ptr<Connection> connection)
      : home_(home), connection_(std::move(connection)) {}
  Reader(Reader&&) = default;
  Reader& operator=(Reader&&) = delete;
  ~Reader() {
    if (connection_) home_.give_back(std::move(connection_));
  }
  Connection& operator*() const { return *connection_; }
  Connection* operator->() const { return connection_.get(); }

 private:
  SqliteStore& home_;
  std::unique_ptr<Connection> connection_;
};

class SqliteStore::SqliteLease final : public Lease {
 public:
  SqliteLease(SqliteStore& store, std::string name, Seconds ttl, std::uint64_t token)
      : store_(store), name_(std::move(name)), ttl_(ttl), token_(token) {}
  ~SqliteLease() override { store_.release(name_, token_); }
  SqliteLease(const SqliteLease&) = delete;
  SqliteLease& operator=(const SqliteLease&) = delete;

  Result<void> renew(const Deadline& by) override { return store_.renew(name_, token_, ttl_, by); }
  [[nodiscard]] std::uint64_t token() const noexcept override { return token_; }

 private:
  SqliteStore& store_;
  const std::string name_;
  const Seconds ttl_;
  const std::uint64_t token_;
};

Result<void> SqliteStore::open() {
  constexpr Millis patience{10'000};  // another process may be doing the same
  const Deadline by = Deadline::in(patience);
  PX_CHECK(make_file(path_));
  writer_.work_by(by);
  PX_CHECK(writer_.open());
  PX_CHECK(writer_.begin());
  Result<void> ready = lay_out();
  if (ready) ready = writer_.commit();
  if (!ready) {
    writer_.rollback();
    return ready;
  }
  return to_wal(by);
}

Result<std::int64_t> only_number(Connection& connection, const char* query) {
  PX_TRY(Statement statement, connection.use(query));
  std::int64_t answer = 0;
  PX_CHECK(statement.rows([&](const Statement& row) { answer = row.number(0); }));
  return answer;
}

// Makes the tables in a new file; refuses one that is not ours.
Result<void> SqliteStore::lay_out() {
  PX_TRY(const std::int64_t id, only_number(writer_, sql::application_id));
  PX_TRY(const std::int64_t version, only_number(writer_, sql::user_version));
  PX_TRY(const std::int64_t things, only_number(writer_, sql::things));
  if (id == 0 && version == 0 && things == 0) {
    return writer_.execute(fmt::format("{} PRAGMA application_id = {}; PRAGMA user_version = {}",
                                       tables, application_id, layout));
  }
  if (id != application_id) {
    return Error{Errc::invalid, fmt::format("sqlite: '{}': holds the tables of another program; "
                                            "expected a file made by proxycore",
                                            path_)};
  }
  if (version != layout) {
    return Error{Errc::invalid, fmt::format("sqlite: '{}': has layout {}; this version of "
                                            "proxycore knows layout {}",
                                            path_, version, layout)};
  }
  return {};
}

// SQLite does not call the busy handler where two processes change the mode at once.
Result<void> SqliteStore::to_wal(const Deadline& by) {
  for (;;) {
    PX_TRY(Statement statement, writer_.use(sql::to_wal));
    std::string mode;
    Result<void> asked =
        statement.rows([&](const Statement& row) { mode = std::string{row.text(0)}; });
    if (asked && mode == "wal") return {};
    if (asked) {
      return Error{Errc::io, fmt::format("sqlite: '{}': no write-ahead log here ({}); expected a "
                                         "local file system with shared memory",
                                         path_, mode)};
    }
    if (asked.error().code != Errc::busy || by.passed()) return asked;
    static_cast<void>(base::pause(Millis{5}, by));
  }
}

template <class Work>
Result<void> SqliteStore::write_by(const Deadline& by, Work work) {
  if (by.cancelled()) return Error{Errc::cancelled};
  PX_TRY(const Gate::Turn turn, gate_.enter(by));
  writer_.work_by(by);
  PX_CHECK(writer_.begin());
  Changes changes;
  Result<void> done = sweep();
  if (done) done = work(changes);
  if (done) done = note(changes);
  if (done) done = writer_.commit();
  if (!done) {
    writer_.rollback();
    return done;
  }
  if (changes.many()) watchers_.all_changed();
  for (const std::string& key : changes.keys()) watchers_.changed(key);
  return {};
}

Result<void> SqliteStore::put(std::string_view key, const Record& record, Ttl ttl,
                              const Deadline& by) {
  PX_CHECK(check_write(key, record, ttl));
  return write_by(by, [&](Changes& changes) { return set(changes, key, record, end_of(ttl)); });
}

Result<void> SqliteStore::create(std::string_view key, const Record& record, Ttl ttl,
                                 const Deadline& by) {
  PX_CHECK(check_write(key, record, ttl));
  return write_by(by, [&](Changes& changes) -> Result<void> {
    PX_TRY(const bool there, exists(key));
    if (there) return Error{Errc::conflict, fmt::format("record '{}' exists already", key)};
    return set(changes, key, record, end_of(ttl));
  });
}

Result<void> SqliteStore::update(std::string_view key, const Change& change, Life life,
                                 const Deadline& by) {
  return write_by(by, [&](Changes& changes) -> Result<void> {
    PX_TRY(const Record before, read(writer_, key));
    PX_TRY(const Record next, change(before));
    PX_CHECK(check_write(key, next, std::nullopt));
    End until;
    if (life == Life::as_before) {
      PX_TRY(until, end(key));
    }
    return set(changes, key, next, until);
  });
}

Result<void> SqliteStore::put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                                  const Deadline& by) {
  for (const auto& item : records) PX_CHECK(check_write(item.first, item.second, ttl));
  return write_by(by, [&](Changes& changes) -> Result<void> {
    for (const auto& item : records) PX_CHECK(set(changes, item.first, item.second, end_of(ttl)));
    return {};
  });
}

Result<bool> SqliteStore::erase(std::string_view key, const Deadline& by) {
  bool was_there = false;
  const Result<void> erased = write_by(by, [&](Changes& changes) -> Result<void> {
    PX_TRY(was_there, exists(key));
    if (was_there) changes.add(key);
    PX_TRY(Statement clear, writer_.use(sql::clear));
    return clear.bind(1, key).run();
  });
  if (!erased) return erased.error();
  return was_there;
}

Result<bool> SqliteStore::erase_if(std::string_view key, const Condition& condition,
                                   const Deadline& by) {
  bool erased = false;
  const Result<void> done = write_by(by, [&](Changes& changes) -> Result<void> {
    PX_TRY(const Record record, read(writer_, key));
    erased = !record.empty() && condition(record);
    if (!erased) return {};
    changes.add(key);
    PX_TRY(Statement clear, writer_.use(sql::clear));
    return clear.bind(1, key).run();
  });
  if (!done) return done.error();
  return erased;
}

SqliteStore::End SqliteStore::end_of(Ttl ttl) const {
  if (!ttl) return std::nullopt;
  return store::end_of(*ttl, clock_());
}

Result<void> SqliteStore::set(Changes& changes, std::string_view key, const Record& record,
                              End until) {
  changes.add(key);
  PX_TRY(Statement clear, writer_.use(sql::clear));
  PX_CHECK(clear.bind(1, key).run());
  for (const auto& [field, value] : record) {
    PX_TRY(Statement insert, writer_.use(sql::insert));
    PX_CHECK(insert.bind(1, key).bind(2, field).bind(3, value).bind(4, until).run());
  }
  return {};
}

// Empty: there is none.
Result<Record> SqliteStore::read(Connection& connection, std::string_view key) {
  PX_TRY(Statement statement, connection.use(sql::get));
  Record record;
  PX_CHECK(statement.bind(1, key).bind(9, clock_()).rows([&](const Statement& row) {
    record.emplace(row.text(0), row.text(1));
  }));
  return record;
}

Result<SqliteStore::End> SqliteStore::end(std::string_view key) {
  PX_TRY(Statement statement, writer_.use(sql::end));
  End until;
  PX_CHECK(statement.bind(1, key).bind(9, clock_()).rows([&](const Statement& row) {
    if (!row.is_null(0)) until = row.number(0);
  }));
  return until;
}

Result<bool> SqliteStore::exists(std::string_view key) {
  PX_TRY(Statement statement, writer_.use(sql::exists));
  return statement.bind(1, key).bind(9, clock_()).step();
}

Result<void> SqliteStore::note(const Changes& changes) {
  if (changes.none()) return {};
  const auto insert = [&](const std::optional<std::string_view>& key) -> Result<void> {
    PX_TRY(Statement statement, writer_.use(sql::note_change));
    return statement.bind(1, key).bind(2, id_).run();
  };
  if (changes.many()) PX_CHECK(insert(std::nullopt));
  for (const std::string& key : changes.keys()) PX_CHECK(insert(key));
  PX_TRY(Statement forget, writer_.use(sql::forget_changes));
  return forget.bind(1, writer_.last_row() - kept_changes).run();
}

// Removes what has expired, now and then and a bounded number at once: nobody sees it any more, but
// it takes room.
Result<void> SqliteStore::sweep() {
  const std::int64_t now = clock_();
  if (now < next_sweep_) return {};
  PX_TRY(Statement records, writer_.use(sql::sweep));
  PX_CHECK(records.bind(9, now).run());
  const bool more = writer_.changed_rows() >= rows_per_sweep;
  PX_TRY(Statement locks, writer_.use(sql::sweep_locks));
  PX_CHECK(locks.bind(9, now).run());
  next_sweep_ = more ? now : now + Millis{sweep_interval}.count();
  return {};
}

Result<SqliteStore::Reader> SqliteStore::read_by(const Deadline& by) {
  if (by.cancelled()) return Error{Errc::cancelled};
  std::unique_ptr<Connection> connection;
  {
    const std::lock_guard lock(readers_mutex_);
    if (!readers_.empty()) {
      connection = std::move(readers_.back());
      readers_.pop_back();
    }
  }
  if (!connection) {
    connection = std::make_unique<Connection>(path_);
    connection->work_by(by);
    PX_CHECK(connection->open());
  }
  connection->work_by(by);
  return Reader{*this, std::move(connection)};
}

void SqliteStore::give_back(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(readers_mutex_);
  if (readers_.size() < kept_readers) readers_.push_back(std::move(connection));
}

Result<Record> SqliteStore::get(std::string_view key, const Deadline& by) {
  PX_TRY(const Reader reader, read_by(by));
  PX_TRY(Record record, read(*reader, key));
  if (record.empty()) return Error{Errc::not_found, fmt::format("no record '{}'", key)};
  return record;
}

Result<std::optional<std::uint64_t>> SqliteStore::used_bytes(const Deadline& by) {
  PX_TRY(const Reader reader, read_by(by));
  PX_TRY(Statement statement, reader->use(sql::used_bytes));
  PX_TRY(const bool row, statement.step());
  return row ? std::optional(static_cast<std::uint64_t>(statement.number(0))) : std::nullopt;
}

Result<std::vector<std::string>> SqliteStore::keys(std::string_view prefix, const Deadline& by) {
  PX_TRY(const Reader reader, read_by(by));
  const auto end = behind(prefix);
  PX_TRY(Statement statement, reader->use(end ? sql::keys : sql::all_keys));
  std::vector<std::string> found;
  PX_CHECK(statement.bind(1, prefix).bind(2, end).bind(9, clock_()).rows([&](const Statement& row) {
    found.emplace_back(row.text(0));
  }));
  return found;
}

Result<void> SqliteStore::scan(
    std::string_view prefix, const std::function<void(std::string_view key, Record&& record)>& each,
    const Deadline& by) {
  PX_TRY(const Reader reader, read_by(by));
  const auto end = behind(prefix);
  PX_TRY(Statement statement, reader->use(end ? sql::scan : sql::scan_all));
  std::string key;
  Record record;
  PX_CHECK(statement.bind(1, prefix).bind(2, end).bind(9, clock_()).rows([&](const Statement& row) {
    if (row.text(0) != key) {
      if (!record.empty()) each(key, std::exchange(record, {}));
      key = row.text(0);
    }
    record.emplace_hint(record.end(), row.text(1), row.text(2));  // fields come in order
  }));
  if (!record.empty()) each(key, std::move(record));
  return {};
}

Result<std::unique_ptr<Lease>> SqliteStore::lock(std::string_view name, Seconds ttl,
                                                 const Deadline& by) {
  PX_CHECK(check_lock(name, ttl));
  for (;;) {
    const std::uint64_t releases = count_releases();
    PX_TRY(const std::uint64_t token, try_lock(name, ttl, by));
    if (token != 0) return std::make_unique<SqliteLease>(*this, std::string{name}, ttl, token);
    if (by.passed()) return Error{Errc::busy, fmt::format("lock '{}' is held", name)};
    wait_for_release(releases, by);
  }
}

// 0: somebody holds it.
Result<std::uint64_t> SqliteStore::try_lock(std::string_view name, Seconds ttl,
                                            const Deadline& by) {
  std::int64_t token = 0;
  const Result<void> tried = write_by(by, [&](Changes&) -> Result<void> {
    const std::int64_t now = clock_();
    PX_TRY(Statement holder, writer_.use(sql::lock_holder));
    PX_TRY(const bool held, holder.bind(1, name).bind(9, now).step());
    if (held) return {};
    PX_TRY(token, only_number(writer_, sql::next_token));
    PX_TRY(Statement take, writer_.use(sql::take_lock));
    return take.bind(1, name).bind(2, token).bind(3, store::end_of(ttl, now)).run();
  });
  if (!tried) return tried.error();
  return static_cast<std::uint64_t>(token);
}

Result<void> SqliteStore::renew(const std::string& name, std::uint64_t token, Seconds ttl,
                                const Deadline& by) {
  return write_by(by, [&](Changes&) -> Result<void> {
    const std::int64_t now = clock_();
    PX_TRY(Statement renew, writer_.use(sql::renew_lock));
    renew.bind(1, name).bind(2, static_cast<std::int64_t>(token));
    PX_CHECK(renew.bind(3, store::end_of(ttl, now)).bind(9, now).run());
    if (writer_.changed_rows() != 0) return {};
    return Error{Errc::conflict, fmt::format("lock '{}' ran out", name)};
  });
}

void SqliteStore::release(const std::string& name, std::uint64_t token) {
  constexpr Millis patience{5'000};  // what cannot be given back now ends with its ttl
  static_cast<void>(write_by(Deadline::in(patience), [&](Changes&) -> Result<void> {
    PX_TRY(Statement release, writer_.use(sql::release_lock));
    return release.bind(1, name).bind(2, static_cast<std::int64_t>(token)).run();
  }));
  {
    const std::lock_guard lock(releases_mutex_);
    ++releases_;
  }
  released_.notify_all();
}

std::uint64_t SqliteStore::count_releases() {
  const std::lock_guard lock(releases_mutex_);
  return releases_;
}

// Until one of ours is given back, or so long that another process may have done it.
void SqliteStore::wait_for_release(std::uint64_t releases, const Deadline& by) {
  std::unique_lock lock(releases_mutex_);
  released_.wait_for(lock, by.stop(), std::min(by.left(), lock_interval),
                     [&] { return releases_ != releases; });
}

Result<std::unique_ptr<Watch>> SqliteStore::watch(
    std::string_view prefix, std::function<void(std::string_view key)> changed) {
  const std::lock_guard lock(look_mutex_);
  if (!looker_) PX_CHECK(begin_to_look());
  PX_CHECK(look());  // what came before is for those who watch already
  return watchers_.add(prefix, std::move(changed));
}

Result<void> SqliteStore::begin_to_look() {
  auto looker = std::make_unique<Connection>(path_);
  looker->work_by(Deadline::in(look_patience));
  PX_CHECK(looker->open());
  PX_TRY(seen_version_, only_number(*looker, sql::data_version));
  PX_TRY(seen_sequence_, only_number(*looker, sql::last_change));
  looker_ = std::move(looker);
  return {};
}

// Tells the watches what other processes have changed since the last look.
Result<void> SqliteStore::look() {
  looker_->work_by(Deadline::in(look_patience));
  PX_TRY(const std::int64_t version, only_number(*looker_, sql::data_version));
  if (version == seen_version_) return {};
  PX_TRY(Statement statement, looker_->use(sql::changes_after));
  PX_CHECK(statement.bind(1, seen_sequence_).rows([&](const Statement& row) {
    const bool missed_some = row.number(0) != seen_sequence_ + 1;  // forgotten meanwhile
    seen_sequence_ = row.number(0);
    if (missed_some) watchers_.all_changed();
    if (row.number(2) == id_) return;  // told when it was committed
    if (row.is_null(1)) {
      watchers_.all_changed();
    } else {
      watchers_.changed(row.text(1));
    }
  }));
  seen_version_ = version;
  return {};
}

void SqliteStore::look_around() {
  const std::lock_guard lock(look_mutex_);
  const Result<void> looked = look();
  if (!looked && !blind_) {
    base::log::error("store.watch", {{"store", describe()}, {"why", looked.error().message()}});
  }
  blind_ = !looked;
}

}  // namespace

Result<std::unique_ptr<Store>> make_sqlite(const std::string& path, Clock clock) {
  if (path.empty()) return Error{Errc::invalid, "sqlite: expected a path"};
  // Closing any descriptor of a file gives up this process's locks on it (fcntl(2)), and
  // make_file() does so.
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  auto made = std::make_unique<SqliteStore>(path, std::move(clock));
  PX_CHECK(made->open());
  return made;
}

}  // namespace store

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
  return store::make_sqlite(path, base::now_ms);
}

}  // namespace proxycore
