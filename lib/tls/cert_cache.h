// CertCache: the certificates of the names that were asked for lately, of one worker.
//
// What is not here, or too old, is asked for elsewhere, once for however many handshakes; they wait
// so long, then get what the name had before, or the fallback. Bounded in names and in questions.
// Not here: where certificates come from and which is the best for a name (certs/directory).
// Source: RFC 6066 §3. Owner and thread: a worker's.
#pragma once

#include "base/list.h"
#include "base/metrics.h"
#include "base/unique_function.h"
#include "io/loop.h"
#include "io/timers.h"
#include "tls/credentials.h"
#include <proxycore/deadline.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace proxycore::tls {

// What is known of a name.
struct CertAnswer {
  // Null: it could not be found out.
  std::shared_ptr<const Credentials> credentials;
  Millis ttl{0};  // how long that is good
};

struct CertCacheCounters {
  base::Counter asked;      // names that had to be asked for
  base::Counter failures;   // of these, could not be found out
  base::Counter timeouts;   // handshakes that had waited long enough
  base::Counter fallbacks;  // handshakes that got the fallback
};

class CertCache final : public CredentialsSource {
 public:
  // Names that are asked for at the same time.
  static constexpr std::size_t max_flights = 2'048;

  // Asks for `name`. `answered` is called once, on any thread, also later than the cache lives.
  using Answered = base::UniqueFunction<void(CertAnswer answer)>;
  using Ask = std::function<void(const std::string& name, Answered answered)>;

  struct Limits {
    std::size_t names;  // at least 1
    Millis wait;        // of a handshake
  };

  CertCache(io::Loop& loop, const Limits& limits, Ask ask,
            std::shared_ptr<const Credentials> fallback, CertCacheCounters& counters);
  CertCache(const CertCache&) = delete;
  CertCache& operator=(const CertCache&) = delete;
  ~CertCache() override;

  std::shared_ptr<const Credentials> find(std::string_view name, CredentialsWaiter& later) override;
  // In place of the one before, for names that nothing better is known of. Answers that have the
  // one before stay until they are forgotten.
  void set_fallback(std::shared_ptr<const Credentials> fallback) {
    fallback_ = std::move(fallback);
  }
  // The certificates kept under these names or "*." patterns have changed; none: any may have.
  void forget(std::span<const std::string> names);
  [[nodiscard]] std::size_t size() const noexcept { return entries_.size(); }

 private:
  struct Entry;
  // A question, and who waits for its answer.
  struct Flight {
    Flight(CertCache& owner, Entry& of);
    CertCache& cache;
    Entry& entry;
    base::List<CredentialsWaiter, CredentialsTag> waiters;
    io::Timer timer;
    std::uint64_t number = 0;  // of the question whose answer counts
  };
  struct Entry : base::ListNode<> {
    std::string name;
    std::shared_ptr<const Credentials> credentials;  // null: nothing known so far
    std::int64_t expires = 0;                        // milliseconds of the loop's clock
    std::unique_ptr<Flight> flight;
  };
  struct Hash {
    std::size_t operator()(std::string_view name) const noexcept;
  };

  Entry& add(std::string_view name);
  void ask(Entry& entry);
  void answered(const std::string& name, std::uint64_t number, CertAnswer answer);
  void tell(Entry& entry);
  std::shared_ptr<const Credentials> best(const Entry& entry);

  io::Loop& loop_;
  const Limits limits_;
  Ask ask_;
  std::shared_ptr<const Credentials> fallback_;
  CertCacheCounters& counters_;
  // Keys view the names.
  std::unordered_map<std::string_view, std::unique_ptr<Entry>, Hash> entries_;
  base::List<Entry> used_;  // the last used first
  std::size_t flights_ = 0;
  std::uint64_t questions_ = 0;
};

// Whether the certificate kept under `kept`, a name or "*." pattern, may be that of `name`: its
// own, that of its parent's wildcard, or a wildcard right below it, which often covers it too.
bool may_serve(std::string_view kept, std::string_view name) noexcept;

}  // namespace proxycore::tls
