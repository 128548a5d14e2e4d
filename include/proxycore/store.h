// Store: where hosts, users, certificates and everything else that must survive is kept.
//
// A store maps keys to records; a record maps field names to texts. Keys and fields are those of
// the Redis layout that the design describes (lib/host/keys.h), whatever the backend. Writes are
// atomic per record: a reader sees the old record or the new one. All functions block and may be
// called from any control thread, never from a worker's loop.
// Not here: what the fields mean (host.h), the data plane's view (RouteTable).
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore {

// Field name -> value. Values are texts as the old software writes them ("true", "8080").
using Record = std::map<std::string, std::string, std::less<>>;

// The only field of a record that Redis keeps as one text rather than as a hash: certificates
// ("<name>:latest"), HTTP-01 challenges and the like.
inline constexpr std::string_view text_field = "value";

// How long a record lives, at least a second; nullopt: until erased.
using Ttl = std::optional<Seconds>;

// What becomes of a record's time when it is updated.
enum class Life : std::uint8_t {
  as_before,  // a record that was to end still ends then
  for_ever,   // until erased
};

// The new record in place of `before`, which is empty where there was none.
using Change = std::function<Result<Record>(const Record& before)>;

// Whether something is to be done to a record.
using Condition = std::function<bool(const Record& record)>;

// A named lock held by this process; destroying it gives it back. Must be gone before its store.
class Lease {
 public:
  virtual ~Lease() = default;
  // Lets it live for its whole ttl again. Errors: conflict (it ran out; somebody else may hold it).
  virtual Result<void> renew(const Deadline& by) = 0;
  // Grows with every holder of this name; a write guarded by a smaller token is stale.
  [[nodiscard]] virtual std::uint64_t token() const noexcept = 0;
};

// Cancels its watch when destroyed; no callback runs after that. Must be gone before its store.
class Watch {
 public:
  virtual ~Watch() = default;
};

class Store {
 public:
  // How it is, as far as is known without asking.
  struct Health {
    bool reachable = true;
    // How a watch learns of other processes' changes: "tracking", "keyspace", "channel", "poll";
    // empty: it needs nothing, or nobody watches.
    std::string events = {};
    Millis lag{0};         // behind which changes are told
    std::string why = {};  // the last failure, while it is not reachable
  };

  // Limits of every backend; beyond them put() fails with Errc::limit.
  static constexpr std::size_t max_key = 1024;  // bytes
  // Bytes, fields and values together.
  static constexpr std::size_t max_record = std::size_t{4} << 20;

  virtual ~Store() = default;

  // Every function below may fail with busy (other processes or threads kept it waiting until the
  // deadline), timeout (its own work took that long), cancelled and io; where a server keeps the
  // records also with refused, closed, denied and protocol.
  // Errors: not_found.
  virtual Result<Record> get(std::string_view key, const Deadline& by) = 0;
  // Replaces the whole record at once. Errors: invalid (empty key, empty record, ttl < 1 s),
  // limit.
  virtual Result<void> put(std::string_view key, const Record& record, Ttl ttl,
                           const Deadline& by) = 0;
  // Like put, only if no record has that key. Errors: conflict (it exists), as put.
  virtual Result<void> create(std::string_view key, const Record& record, Ttl ttl,
                              const Deadline& by) = 0;
  // Puts what `change` makes of the record, unless another writer changed it meanwhile: then
  // `change` is called again with what is there now, so that no write is lost. It must not call the
  // store. Errors: those of `change`, as put.
  virtual Result<void> update(std::string_view key, const Change& change, Life life,
                              const Deadline& by) = 0;
  // As put, for many records with far less work for each. Either all are written or, on an error,
  // none, except where a backend cannot promise that; a watch may be told the prefix alone.
  virtual Result<void> put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                               const Deadline& by) = 0;
  // false: was not there.
  virtual Result<bool> erase(std::string_view key, const Deadline& by) = 0;
  // As erase, if `condition` holds for what is there; asked again if another writer changed it
  // meanwhile, so that nobody else's record is erased. It must not call the store. false: it was
  // not there, or the condition did not hold.
  virtual Result<bool> erase_if(std::string_view key, const Condition& condition,
                                const Deadline& by) = 0;
  // Every live key that starts with `prefix`, sorted by bytes.
  virtual Result<std::vector<std::string>> keys(std::string_view prefix, const Deadline& by) = 0;
  // Calls `each` for every live record whose key starts with `prefix`, in key order, from one
  // consistent state where the backend can give it. `each` must not call the store.
  virtual Result<void> scan(std::string_view prefix,
                            const std::function<void(std::string_view key, Record&& record)>& each,
                            const Deadline& by) = 0;
  // Waits for whoever holds it. Errors: busy (somebody still does at the deadline), invalid (empty
  // name, ttl < 1 s).
  virtual Result<std::unique_ptr<Lease>> lock(std::string_view name, Seconds ttl,
                                              const Deadline& by) = 0;
  // `changed` is called on a thread of the store after a record under `prefix` changed, by this or
  // any other process; several changes may be told as one (with the prefix itself as the key when
  // it is not known which). It must not block. Records that expire are not told.
  virtual Result<std::unique_ptr<Watch>> watch(
      std::string_view prefix, std::function<void(std::string_view key)> changed) = 0;
  // "sqlite:./proxycore.db", "memory:": for logs; never carries a password.
  [[nodiscard]] virtual std::string describe() const = 0;
  [[nodiscard]] virtual Health health() const { return {}; }
  // What the server's records take of its memory, or the file on its disk, in bytes; nullopt: of no
  // use to anybody.
  virtual Result<std::optional<std::uint64_t>> used_bytes(const Deadline& by) {
    static_cast<void>(by);
    return std::optional<std::uint64_t>();
  }
};

// Lives in this process only.
std::unique_ptr<Store> open_memory();
// One file, shared by the processes of one machine (SQLite, WAL). Creates it with mode 0600.
// Errors: io (the path and what the system said), invalid (not such a store, or a newer layout);
// nothing is changed in a file that is not ours.
Result<std::unique_ptr<Store>> open_sqlite(const std::string& path);
// A Redis server, shared with any number of processes, also those of the old software:
// "redis://[user:password@]host:port/db", "redis+unix://[user:password@]/path?db=N". Connects when
// it is used. Errors: invalid (the url; a password in it is not shown).
Result<std::unique_ptr<Store>> open_redis(std::string_view url);
// By url: "memory:", "sqlite:PATH", "redis://..." and "redis+unix://...". Errors: invalid (names
// the schemes that are known), as above.
Result<std::unique_ptr<Store>> open_store(std::string_view url);

}  // namespace proxycore
