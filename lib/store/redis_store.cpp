// The store on a Redis server that any number of processes share, those of the old software too.
//
// A record is one hash under its key, or one text where keys::is_text() says so; the set of its
// model lists its name. The two may lie in different hash slots, so each is written by itself: the
// record first, atomically, then the set. What is left between the two by somebody who died there
// is healed by the next who lists the model. Connections are used by one thread at a time.
#include "base/log.h"
#include "base/pause.h"
#include "base/text.h"
#include "host/keys.h"
#include "redis/sync_client.h"
#include "store/backends.h"
#include "store/redis_watch.h"
#include "store/watchers.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include <fmt/format.h>

namespace proxycore {
namespace store {
namespace {

namespace keys = host::keys;
using redis::Reply;
using redis::SyncClient;
using Names = std::vector<std::string_view>;

// Where leases keep who holds what; no records.
constexpr std::string_view lock_prefix = "proxycore_lock_";
constexpr std::string_view fence_prefix = "proxycore_fence_";

constexpr std::string_view page = "1000";  // elements that SCAN and SSCAN give at once, about

// KEYS: lock, fence. ARGV: milliseconds to live, microseconds since 1970. Tokens grow even when the
// fence was flushed away, as nobody takes a million locks in a second. 0: somebody holds it.
constexpr std::string_view take_lock = R"(
  if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
  local token = redis.call('INCR', KEYS[2])
  if token < tonumber(ARGV[2]) then
    token = tonumber(ARGV[2])
    redis.call('SET', KEYS[2], ARGV[2])
  end
  redis.call('SET', KEYS[1], string.format('%.0f', token), 'PX', ARGV[1])
  return token)";
// KEYS: lock. ARGV: token, milliseconds to live. 0: it is not ours any more.
constexpr std::string_view renew_lock = R"(
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call('PEXPIRE', KEYS[1], ARGV[2]))";
// KEYS: lock. ARGV: token.
constexpr std::string_view release_lock = R"(
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  return redis.call('DEL', KEYS[1]))";

// Lock and fence of one name are in one hash slot.
std::string tagged(std::string_view prefix, std::string_view name) {
  std::string key = fmt::format("{}{{", prefix);
  for (const char c : name) {
    if (c == '{' || c == '}' || c == '%') {
      key += fmt::format("%{:02X}", static_cast<unsigned>(c));
    } else {
      key.push_back(c);
    }
  }
  return key + "}";
}

std::string micros_now() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(now).count());
}

std::string millis_of(Seconds ttl) {
  return std::to_string(end_of(ttl, 0));
}

bool is_record(std::string_view key) {
  return !keys::is_index(key) && !key.starts_with(lock_prefix) && !key.starts_with(fence_prefix);
}

Error no_record(std::string_view key) {
  return {Errc::not_found, fmt::format("no record '{}'", key)};
}

// What Redis is to hold under a key. Errors: invalid, limit.
Result<void> check_record(std::string_view key, const Record& record, Ttl ttl) {
  PX_CHECK(check_write(key, record, ttl));
  if (!is_record(key)) {
    return Error{Errc::invalid, fmt::format("'{}' is no key of a record", key)};
  }
  if (keys::is_text(key)) {
    if (record.size() == 1 && record.begin()->first == text_field) return {};
    return Error{Errc::invalid,
                 fmt::format("record '{}': expected the field '{}' alone", key, text_field)};
  }
  // What is written must be readable again.
  constexpr std::size_t per_text = 16;  // bytes of its frame
  std::size_t size = 0;
  for (const auto& [field, value] : record) size += field.size() + value.size() + 2 * per_text;
  if (record.size() * 2 <= redis::Replies::max_items && size <= redis::Replies::max_reply) {
    return {};
  }
  return Error{Errc::limit, fmt::format("record '{}': {} fields are too many", key, record.size())};
}

std::array<std::string_view, 2> read_command(std::string_view key) {
  return {keys::is_text(key) ? "GET" : "HGETALL", key};
}

// The record in a reply to read_command(); empty: there is none.
Result<Record> record_from(std::string_view key, Reply&& reply) {
  const auto command = read_command(key);
  if (reply.is(Reply::Type::error)) return redis::error_of(command[0], key, reply);
  Record record;
  if (keys::is_text(key)) {
    if (reply.is(Reply::Type::nil)) return record;
    if (!reply.is(Reply::Type::bulk)) return redis::unexpected("GET", key, "a text", reply);
    record.emplace(text_field, std::move(reply.text));
    return record;
  }
  if (!reply.is(Reply::Type::array) || reply.items.size() % 2 != 0) {
    return redis::unexpected("HGETALL", key, "pairs of texts", reply);
  }
  for (std::size_t at = 0; at < reply.items.size(); at += 2) {
    record.insert_or_assign(std::move(reply.items[at].text), std::move(reply.items[at + 1].text));
  }
  return record;
}

// Walks with SCAN or SSCAN, whose cursor stands in the first empty place of `command`: `each` gets
// every element, some of them more than once. While it does, the server finds the next ones.
Result<void> walk(SyncClient& client, std::vector<std::string_view> command,
                  const std::function<void(std::string&& element)>& each, const Deadline& by) {
  std::string cursor = "0";
  const auto place = std::find(command.begin(), command.end(), std::string_view{});
  *place = cursor;
  client.send(command);
  for (bool more = true; more;) {
    PX_TRY(Reply reply, client.receive(by));
    if (reply.is(Reply::Type::error)) {
      return redis::error_of(command[0], {}, reply).within(client.url().describe());
    }
    if (reply.items.size() != 2) return redis::unexpected(command[0], {}, "two items", reply);
    cursor = std::move(reply.items[0].text);
    more = cursor != "0";
    *place = cursor;
    if (more) client.send(command);
    for (Reply& element : reply.items[1].items) each(std::move(element.text));
  }
  return {};
}

// Sorts texts that have the first `common` bytes in common. Mostly the next eight decide, and those
// are compared without going where the text lies.
void sort_behind(std::size_t common, std::vector<std::string>& texts) {
  struct Entry {
    std::uint64_t first;
    std::size_t at;
  };
  std::vector<Entry> entries;
  entries.reserve(texts.size());
  for (const std::string& text : texts) {
    std::uint64_t first = 0;
    for (std::size_t at = common; at < common + sizeof first; ++at) {
      first = first << 8 | (at < text.size() ? static_cast<unsigned char>(text[at]) : 0U);
    }
    entries.push_back({first, entries.size()});
  }
  std::sort(entries.begin(), entries.end(), [&](const Entry& a, const Entry& b) {
    return a.first != b.first ? a.first < b.first : texts[a.at] < texts[b.at];
  });
  std::vector<std::string> sorted;
  sorted.reserve(texts.size());
  for (const Entry& entry : entries) sorted.push_back(std::move(texts[entry.at]));
  texts = std::move(sorted);
}

class RedisStore final : public Store {
 public:
  RedisStore(const redis::Url& url, const RedisOptions& options)
      : url_(url), clock_(options.clock), watch_(url, backoff_, watchers_, options.poll) {}

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
  [[nodiscard]] std::string describe() const override { return url_.describe(); }
  [[nodiscard]] Health health() const override;
  Result<std::optional<std::uint64_t>> used_bytes(const Deadline& by) override;

 private:
  class Loan;
  class RedisLease;

  Result<Loan> borrow(const Deadline& by);
  void give_back(std::unique_ptr<SyncClient> client);

  // Who a write is told to, and the entry in its model's set.
  Result<void> announce(SyncClient& client, std::span<const std::string_view> changed,
                        std::string_view index_command, const Deadline& by);
  Result<std::vector<std::string>> list(SyncClient& client, std::string_view prefix,
                                        const Deadline& by);
  Result<void> read_all(SyncClient& client, std::span<const std::string> found,
                        const std::function<void(std::string_view key, Record&& record)>& each,
                        const Deadline& by);

  // Healing of a model's set; `names` are those that have a record, sorted.
  void heal(SyncClient& client, std::string_view prefix, std::span<const std::string> found,
            const Deadline& by);
  Result<void> heal_now(SyncClient& client, std::string_view prefix, const Names& names,
                        const Deadline& by);
  Result<void> remove_dangling(SyncClient& client, std::string_view prefix,
                               const std::vector<std::string>& dangling, const Deadline& by);
  Result<void> add_missing(SyncClient& client, std::string_view prefix,
                           const std::vector<std::string>& missing, const Deadline& by);

  Result<Reply> run_script(std::initializer_list<std::string_view> command, const Deadline& by);
  Result<void> renew(const std::string& name, const std::string& token, Seconds ttl,
                     const Deadline& by);
  void release(const std::string& name, const std::string& token);

  static constexpr std::size_t most_clients = 8;
  static constexpr std::size_t batch = 256;  // commands that are sent ahead of their replies
  static constexpr std::size_t most_unsent = std::size_t{1} << 20;  // bytes of them
  static constexpr Millis lock_interval{50};       // between two looks at a lock that is held
  static constexpr Seconds dangling_patience{10};  // the old software lists first, then writes
  static constexpr std::size_t most_dangling = 100'000;

  const redis::Url url_;
  const Clock clock_;
  redis::Backoff backoff_;

  std::mutex clients_mutex_;
  std::condition_variable_any client_free_;
  std::vector<std::unique_ptr<SyncClient>> idle_;
  std::size_t clients_ = 0;

  std::mutex healing_mutex_;
  std::map<std::string, std::int64_t, std::less<>> healed_;    // by prefix, the clock's time
  std::map<std::string, std::int64_t, std::less<>> dangling_;  // by key, when first seen so

  Watchers watchers_;
  RedisWatch watch_;  // last: its thread uses the others
};

// A connection, given back when destroyed.
class RedisStore::Loan {
 public:
  Loan(RedisStore& home, std::unique_ptr<SyncClient> client)
      : home_(home), client_(std::move(client)) {}
  Loan(Loan&&) = default;
  Loan& operator=(Loan&&) = delete;
  ~Loan() {
    if (client_) home_.give_back(std::move(client_));
  }
  SyncClient& operator*() const { return *client_; }
  SyncClient* operator->() const { return client_.get(); }

 private:
  RedisStore& home_;
  std::unique_ptr<SyncClient> client_;
};

class RedisStore::RedisLease final : public Lease {
 public:
  RedisLease(RedisStore& store, std::string name, Seconds ttl, std::uint64_t token)
      : store_(store), name_(std::move(name)), ttl_(ttl), token_(token) {}
  ~RedisLease() override { store_.release(name_, std::to_string(token_)); }
  RedisLease(const RedisLease&) = delete;
  RedisLease& operator=(const RedisLease&) = delete;

  Result<void> renew(const Deadline& by) override {
    return store_.renew(name_, std::to_string(token_), ttl_, by);
  }
  [[nodiscard]] std::uint64_t token() const noexcept override { return token_; }

 private:
  RedisStore& store_;
  const std::string name_;
  const Seconds ttl_;
  const std::uint64_t token_;
};

Result<RedisStore::Loan> RedisStore::borrow(const Deadline& by) {
  std::unique_lock lock(clients_mutex_);
  while (idle_.empty() && clients_ == most_clients) {
    if (by.cancelled()) return Error{Errc::cancelled};
    if (by.passed()) return Error{Errc::busy, "other threads use all connections to the store"};
    client_free_.wait_for(lock, by.stop(), by.left(), [this] { return !idle_.empty(); });
  }
  if (idle_.empty()) {
    ++clients_;
    idle_.push_back(std::make_unique<SyncClient>(url_, backoff_));
  }
  Loan loan(*this, std::move(idle_.back()));
  idle_.pop_back();
  lock.unlock();
  PX_CHECK(loan->connect(by));
  return loan;
}

void RedisStore::give_back(std::unique_ptr<SyncClient> client) {
  if (client->owed() != 0) client->drop();  // nobody is left to take the replies
  {
    const std::lock_guard lock(clients_mutex_);
    idle_.push_back(std::move(client));
  }
  client_free_.notify_one();
}

Result<Record> RedisStore::get(std::string_view key, const Deadline& by) {
  PX_TRY(const Loan client, borrow(by));
  PX_TRY(Reply reply, client->call(read_command(key), by));
  PX_TRY(Record record, record_from(key, std::move(reply)));
  if (record.empty()) return no_record(key);
  return record;
}

// One record's writing in one transaction on its key. Redis answers to every command of it first.
class Transaction {
 public:
  Transaction(SyncClient& client, std::string_view key) : client_(client), key_(key) {
    queue({"MULTI"});
  }
  void set(const Record& record, std::optional<std::string> millis) {
    if (keys::is_text(key_)) {
      queue({"SET", key_, record.begin()->second});
    } else {
      std::vector<std::string_view> command = {"HSET", key_};
      for (const auto& [field, value] : record) command.insert(command.end(), {field, value});
      queue({"DEL", key_});
      queue(command);
    }
    if (millis) queue({"PEXPIRE", key_, *millis});
  }
  void erase() { queue({"DEL", key_}); }
  // What is sent until then is part of it.
  void end() { queue({"EXEC"}); }
  // Takes the replies. false: a watched key changed meanwhile, and nothing was written.
  // Errors: those of SyncClient::receive() and error_of().
  Result<bool> done(const Deadline& by) {
    std::optional<Error> refused;
    const auto note = [&](std::string_view command, const Reply& reply) {
      if (refused || !reply.is(Reply::Type::error)) return;
      refused = redis::error_of(command, key_, reply).within(client_.url().describe());
    };
    Reply last;
    for (const std::string& command : commands_) {
      PX_TRY(last, client_.receive(by));
      note(command, last);
      for (const Reply& item : last.items) note("EXEC", item);
    }
    if (refused) return *refused;
    return last.is(Reply::Type::array);
  }

 private:
  void queue(std::span<const std::string_view> command) {
    client_.send(command);
    commands_.emplace_back(command.front());
  }
  void queue(std::initializer_list<std::string_view> command) {
    queue(std::span{command.begin(), command.size()});
  }

  SyncClient& client_;
  const std::string_view key_;
  std::vector<std::string> commands_;
};

std::optional<std::string> millis_of(Ttl ttl) {
  if (!ttl) return std::nullopt;
  return millis_of(*ttl);
}

Result<void> RedisStore::put(std::string_view key, const Record& record, Ttl ttl,
                             const Deadline& by) {
  PX_CHECK(check_record(key, record, ttl));
  PX_TRY(const Loan client, borrow(by));
  Transaction transaction(*client, key);
  transaction.set(record, millis_of(ttl));
  transaction.end();
  PX_TRY(const bool written, transaction.done(by));
  if (!written) return Error{Errc::busy, fmt::format("record '{}': not written", key)};
  return announce(*client, std::array{key}, "SADD", by);
}

Result<void> RedisStore::create(std::string_view key, const Record& record, Ttl ttl,
                                const Deadline& by) {
  PX_CHECK(check_record(key, record, ttl));
  PX_TRY(const Loan client, borrow(by));
  const Error exists{Errc::conflict, fmt::format("record '{}' exists already", key)};
  PX_CHECK(client->call({"WATCH", key}, by));
  PX_TRY(const Reply there, client->call({"EXISTS", key}, by));
  if (there.integer != 0) {
    PX_CHECK(client->call({"UNWATCH"}, by));
    return exists;
  }
  Transaction transaction(*client, key);
  transaction.set(record, millis_of(ttl));
  transaction.end();
  PX_TRY(const bool written, transaction.done(by));
  if (!written) return exists;  // somebody else was faster
  return announce(*client, std::array{key}, "SADD", by);
}

Result<void> RedisStore::update(std::string_view key, const Change& change, Life life,
                                const Deadline& by) {
  PX_TRY(const Loan client, borrow(by));
  for (;;) {
    PX_CHECK(client->call({"WATCH", key}, by));
    PX_TRY(Reply reply, client->call(read_command(key), by));
    PX_TRY(const Reply left, client->call({"PTTL", key}, by));
    const Result<Record> before = record_from(key, std::move(reply));
    const Result<Record> next = before ? change(*before) : before.error();
    Result<void> good = next ? check_record(key, *next, std::nullopt) : next.error();
    if (!good) {
      client->drop();  // and with it the watch
      return good;
    }
    Transaction transaction(*client, key);
    std::optional<std::string> millis;
    if (life == Life::as_before && left.integer >= 0) {  // negative: it does not end
      millis = std::to_string(std::max<std::int64_t>(left.integer, 1));
    }
    transaction.set(*next, std::move(millis));
    transaction.end();
    PX_TRY(const bool written, transaction.done(by));
    if (written) return announce(*client, std::array{key}, "SADD", by);
    if (by.passed()) {
      return Error{Errc::busy, fmt::format("record '{}': others keep changing it", key)};
    }
  }
}

// Each record is written by itself: those before an error stay.
Result<void> RedisStore::put_all(std::span<const std::pair<std::string, Record>> records, Ttl ttl,
                                 const Deadline& by) {
  for (const auto& [key, record] : records) PX_CHECK(check_record(key, record, ttl));
  PX_TRY(const Loan client, borrow(by));
  while (!records.empty()) {
    std::vector<Transaction> transactions;
    std::vector<std::string_view> changed;
    while (changed.size() < std::min(batch, records.size()) && client->unsent() < most_unsent) {
      const auto& [key, record] = records[changed.size()];
      transactions.emplace_back(*client, key).set(record, millis_of(ttl));
      transactions.back().end();
      changed.emplace_back(key);
    }
    std::optional<Error> refused;
    for (Transaction& transaction : transactions) {
      Result<bool> done = transaction.done(by);
      if (!done && !client->connected()) return done.error();
      if (!done && !refused) refused = done.error();
    }
    PX_CHECK(announce(*client, changed, "SADD", by));
    if (refused) return *refused;
    records = records.subspan(changed.size());
  }
  return {};
}

Result<bool> RedisStore::erase(std::string_view key, const Deadline& by) {
  if (!is_record(key)) return false;
  PX_TRY(const Loan client, borrow(by));
  PX_TRY(const Reply erased, client->call({"DEL", key}, by));
  if (erased.integer == 0) {
    // Its entry may have been left behind.
    if (const auto member = keys::member(key)) {
      PX_CHECK(client->call({"SREM", keys::index(member->prefix), member->name}, by));
    }
    return false;
  }
  PX_CHECK(announce(*client, std::array{key}, "SREM", by));
  return true;
}

Result<bool> RedisStore::erase_if(std::string_view key, const Condition& condition,
                                  const Deadline& by) {
  if (!is_record(key)) return false;
  PX_TRY(const Loan client, borrow(by));
  for (;;) {
    PX_CHECK(client->call({"WATCH", key}, by));
    PX_TRY(Reply reply, client->call(read_command(key), by));
    const Result<Record> record = record_from(key, std::move(reply));
    if (!record || record->empty() || !condition(*record)) {
      PX_CHECK(client->call({"UNWATCH"}, by));
      return record ? Result<bool>(false) : record.error();
    }
    Transaction transaction(*client, key);
    transaction.erase();
    transaction.end();
    PX_TRY(const bool erased, transaction.done(by));
    if (erased) {
      PX_CHECK(announce(*client, std::array{key}, "SREM", by));
      return true;
    }
    if (by.passed()) {
      return Error{Errc::busy, fmt::format("record '{}': others keep changing it", key)};
    }
  }
}

Result<void> RedisStore::announce(SyncClient& client, std::span<const std::string_view> changed,
                                  std::string_view index_command, const Deadline& by) {
  std::map<std::string_view, std::vector<std::string_view>> entries;
  for (const std::string_view key : changed) {
    if (const auto member = keys::member(key)) entries[member->prefix].push_back(member->name);
  }
  std::vector<std::string_view> sent;  // keys of the commands
  for (const auto& [prefix, names] : entries) {
    std::vector<std::string_view> command = {index_command, keys::index(prefix)};
    command.insert(command.end(), names.begin(), names.end());
    client.send(command);
    sent.push_back(command[1]);
  }
  const std::size_t entered = sent.size();
  for (const std::string_view key : changed) {
    client.send({"PUBLISH", RedisWatch::channel, key});
    sent.push_back(key);
  }
  std::optional<Error> refused;
  for (std::size_t at = 0; at < sent.size(); ++at) {
    PX_TRY(const Reply reply, client.receive(by));
    // Who may not publish is heard all the same, by those who look.
    if (at >= entered || refused || !reply.is(Reply::Type::error)) continue;
    refused = redis::error_of(index_command, sent[at], reply).within(url_.describe());
  }
  if (!watch_.hears_us()) {
    for (const std::string_view key : changed) watchers_.changed(key);
  }
  if (refused) return *refused;
  return {};
}

Result<std::vector<std::string>> RedisStore::keys(std::string_view prefix, const Deadline& by) {
  PX_TRY(const Loan client, borrow(by));
  PX_TRY(auto found, list(*client, prefix, by));
  heal(*client, prefix, found, by);
  return found;
}

Result<void> RedisStore::scan(
    std::string_view prefix, const std::function<void(std::string_view key, Record&& record)>& each,
    const Deadline& by) {
  PX_TRY(const Loan client, borrow(by));
  PX_TRY(const auto found, list(*client, prefix, by));
  PX_CHECK(read_all(*client, found, each, by));
  heal(*client, prefix, found, by);
  return {};
}

// Of the key space, not of the model's set: a hash that is not listed is used by the old software.
Result<std::vector<std::string>> RedisStore::list(SyncClient& client, std::string_view prefix,
                                                  const Deadline& by) {
  const std::string pattern = redis::glob_escaped(prefix) + "*";
  std::vector<std::string> found;
  const auto take = [&found](std::string&& key) {
    if (is_record(key)) found.push_back(std::move(key));
  };
  PX_CHECK(walk(client, {"SCAN", {}, "MATCH", pattern, "COUNT", page}, take, by));
  sort_behind(prefix.size(), found);
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

Result<void> RedisStore::read_all(
    SyncClient& client, std::span<const std::string> found,
    const std::function<void(std::string_view key, Record&& record)>& each, const Deadline& by) {
  static base::log::Throttle throttle;
  std::size_t asked = 0;
  for (std::size_t at = 0; at < found.size();) {
    if (!client.connected()) {  // a record that was too large cost the connection
      PX_CHECK(client.connect(by));
      asked = at;
    }
    // The next batch is on its way while this one is read.
    if (asked - at <= batch) {
      const std::size_t end = std::min(asked + batch, found.size());
      for (; asked < end; ++asked) client.send(read_command(found[asked]));
    }
    Result<Reply> reply = client.receive(by);
    const std::string& key = found[at++];
    if (!reply && reply.error().code != Errc::limit) return std::move(reply).error();
    Result<Record> record =
        reply ? record_from(key, *std::move(reply)) : std::move(reply).error().within(key);
    if (!record) {
      base::log::write(throttle, LogLevel::warning, "store.skipped",
                       {{"store", describe()}, {"key", key}, {"why", record.error().message()}});
    } else if (!record->empty()) {  // it may have gone meanwhile
      each(key, *std::move(record));
    }
  }
  return {};
}

// Never fails the read that it belongs to.
void RedisStore::heal(SyncClient& client, std::string_view prefix,
                      std::span<const std::string> found, const Deadline& by) {
  const auto& all = keys::model_prefixes;
  if (std::find(all.begin(), all.end(), prefix) == all.end()) return;
  {
    const std::lock_guard lock(healing_mutex_);
    const std::int64_t now = clock_();
    const auto last = healed_.find(prefix);
    if (last != healed_.end() && now - last->second < Millis{dangling_patience}.count()) return;
    healed_.insert_or_assign(std::string{prefix}, now);
  }
  Names names;
  names.reserve(found.size());
  for (const std::string& key : found) {
    if (key.size() > prefix.size()) names.push_back(std::string_view{key}.substr(prefix.size()));
  }
  Result<void> healed = client.connect(by);  // a record that was too large cost the connection
  if (healed) healed = heal_now(client, prefix, names, by);
  if (healed) return;
  base::log::debug("store.heal", {{"store", describe()},
                                  {"index", std::string{keys::index(prefix)}},
                                  {"why", healed.error().message()}});
}

Result<void> RedisStore::heal_now(SyncClient& client, std::string_view prefix, const Names& names,
                                  const Deadline& by) {
  const std::string_view index = keys::index(prefix);
  // Mostly there is nothing to do, and that is seen without sorting and searching.
  const std::hash<std::string_view> hash;
  std::size_t sum = 0;
  std::size_t listed_sum = 0;
  for (const std::string_view name : names) sum += hash(name);
  PX_CHECK(walk(
      client, {"SSCAN", index, {}, "COUNT", page},
      [&](const std::string& name) { listed_sum += hash(name); }, by));
  if (sum == listed_sum) return {};

  std::vector<bool> listed(names.size());
  std::vector<std::string> dangling;
  PX_CHECK(walk(
      client, {"SSCAN", index, {}, "COUNT", page},
      [&](std::string&& name) {
        const auto at = std::lower_bound(names.begin(), names.end(), std::string_view{name});
        if (at != names.end() && *at == name) {
          listed[static_cast<std::size_t>(at - names.begin())] = true;
        } else if (dangling.size() < most_dangling) {
          dangling.push_back(std::move(name));
        }
      },
      by));
  std::vector<std::string> missing;
  for (std::size_t at = 0; at < names.size(); ++at) {
    if (!listed[at]) missing.push_back(fmt::format("{}{}", prefix, names[at]));
  }
  PX_CHECK(remove_dangling(client, prefix, dangling, by));
  return add_missing(client, prefix, missing, by);
}

// The old software lists a name before it writes the record: what dangles now may be about to come.
Result<void> RedisStore::remove_dangling(SyncClient& client, std::string_view prefix,
                                         const std::vector<std::string>& dangling,
                                         const Deadline& by) {
  std::vector<std::string_view> old;
  {
    const std::lock_guard lock(healing_mutex_);
    const std::int64_t now = clock_();
    std::map<std::string, std::int64_t, std::less<>> seen;
    for (const std::string& name : dangling) {
      const std::string key = fmt::format("{}{}", prefix, name);
      const auto before = dangling_.find(key);
      const std::int64_t since = before != dangling_.end() ? before->second : now;
      if (now - since >= Millis{dangling_patience}.count()) old.emplace_back(name);
      seen.emplace(key, since);
    }
    std::erase_if(dangling_, [&](const auto& item) { return item.first.starts_with(prefix); });
    dangling_.merge(seen);
  }
  for (const std::string_view name : old) {
    PX_TRY(const Reply there, client.call({"EXISTS", fmt::format("{}{}", prefix, name)}, by));
    if (there.integer != 0) continue;
    PX_CHECK(client.call({"SREM", keys::index(prefix), name}, by));
    base::log::info("store.heal", {{"store", describe()},
                                   {"index", std::string{keys::index(prefix)}},
                                   {"removed", std::string{name}}});
  }
  return {};
}

// A hash that does not name itself is what the old software leaves behind when it renames.
Result<void> RedisStore::add_missing(SyncClient& client, std::string_view prefix,
                                     const std::vector<std::string>& missing, const Deadline& by) {
  std::vector<std::string> names;
  const auto take = [&](std::string_view key, Record&& record) {
    const std::string_view name = key.substr(prefix.size());
    const auto names_it = [name](const auto& field) { return field.second == name; };
    if (std::any_of(record.begin(), record.end(), names_it)) names.emplace_back(name);
  };
  PX_CHECK(read_all(client, missing, take, by));
  for (const std::string& name : names) {
    PX_CHECK(client.call({"SADD", keys::index(prefix), name}, by));
    base::log::info(
        "store.heal",
        {{"store", describe()}, {"index", std::string{keys::index(prefix)}}, {"added", name}});
  }
  return {};
}

Result<Reply> RedisStore::run_script(std::initializer_list<std::string_view> command,
                                     const Deadline& by) {
  PX_TRY(const Loan client, borrow(by));
  return client->call(command, by);
}

Result<std::unique_ptr<Lease>> RedisStore::lock(std::string_view name, Seconds ttl,
                                                const Deadline& by) {
  PX_CHECK(check_lock(name, ttl));
  constexpr Millis for_one_try{1'000};  // whatever the deadline: it may be free
  for (;;) {
    const Deadline soon{std::max(by.at(), Deadline::Clock::now() + for_one_try), by.stop()};
    PX_TRY(const Reply token, run_script({"EVAL", take_lock, "2", tagged(lock_prefix, name),
                                          tagged(fence_prefix, name), millis_of(ttl), micros_now()},
                                         soon));
    if (token.integer > 0) {
      return std::make_unique<RedisLease>(*this, std::string{name}, ttl,
                                          static_cast<std::uint64_t>(token.integer));
    }
    if (by.passed()) return Error{Errc::busy, fmt::format("lock '{}' is held", name)};
    static_cast<void>(base::pause(lock_interval, by));
  }
}

Result<void> RedisStore::renew(const std::string& name, const std::string& token, Seconds ttl,
                               const Deadline& by) {
  PX_TRY(
      const Reply renewed,
      run_script({"EVAL", renew_lock, "1", tagged(lock_prefix, name), token, millis_of(ttl)}, by));
  if (renewed.integer == 1) return {};
  return Error{Errc::conflict, fmt::format("lock '{}' ran out", name)};
}

void RedisStore::release(const std::string& name, const std::string& token) {
  constexpr Millis patience{1'000};  // what cannot be given back now ends with its ttl
  static_cast<void>(run_script({"EVAL", release_lock, "1", tagged(lock_prefix, name), token},
                               Deadline::in(patience)));
}

Result<std::unique_ptr<Watch>> RedisStore::watch(
    std::string_view prefix, std::function<void(std::string_view key)> changed) {
  auto watch = watchers_.add(prefix, std::move(changed));
  watch_.cover();
  return watch;
}

Result<std::optional<std::uint64_t>> RedisStore::used_bytes(const Deadline& by) {
  constexpr std::string_view field = "used_memory:";
  const std::array<std::string_view, 2> command = {"INFO", "memory"};
  PX_TRY(const Loan client, borrow(by));
  PX_TRY(const Reply reply, client->call(command, by));
  if (reply.is(Reply::Type::error)) return redis::error_of("INFO", "memory", reply);
  const std::size_t at = reply.text.find(field);
  if (at == std::string::npos) {
    return redis::unexpected("INFO", "memory", "the field used_memory", reply);
  }
  const std::string_view rest = std::string_view(reply.text).substr(at + field.size());
  return base::parse_decimal(rest.substr(0, rest.find('\r')), UINT64_MAX);
}

Store::Health RedisStore::health() const {
  const std::optional<std::string> failure = backoff_.failure();
  Health health = watch_.health().value_or(Health{});
  if (failure && health.reachable) {
    health.reachable = false;
    health.why = *failure;
  }
  return health;
}

}  // namespace

std::unique_ptr<Store> make_redis(const redis::Url& url, const RedisOptions& options) {
  return std::make_unique<RedisStore>(url, options);
}

}  // namespace store

Result<std::unique_ptr<Store>> open_redis(std::string_view url) {
  PX_TRY(const redis::Url parsed, redis::Url::parse(url));
  return store::make_redis(parsed, {});
}

}  // namespace proxycore
