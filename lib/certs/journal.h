// Journal: the TXT records that we have put into DNS zones, so that they go again whatever happens
// to us in between.
//
// An entry is written before its record is made and erased after that is gone: a process that dies
// in between leaves an entry, and sweep() of any runner takes the record away. At worst a record is
// removed twice, which is no error. Not here: getting certificates (acme/dns01).
// Source: RFC 8555 §8.4. Owner: the runner. Thread: any; sweep() as Providers.
#pragma once

#include "acme/dns01.h"
#include "certs/providers.h"
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>

namespace proxycore::certs {

class Journal {
 public:
  // Milliseconds since 1970.
  using Clock = std::function<std::int64_t()>;

  // How long whoever made a record may need it, unasked.
  static constexpr Millis young{10 * 60'000};
  // Between two tries for one record, at most; and for how long there are any.
  static constexpr Millis longest_pause{24 * 3'600'000};
  static constexpr Millis give_up_after{30LL * 24 * 3'600'000};
  static constexpr Millis one_removal{60'000};

  // The store outlives it.
  Journal(Store& store, Clock now_ms) : store_(store), now_ms_(std::move(now_ms)) {}

  // Before the record is made; `owner` is the certificate that it is for. Errors: those of the
  // store: without an entry no record may be made.
  Result<void> add(const acme::DnsRecord& record, std::string_view owner, const Deadline& by);
  // After the record is gone.
  Result<void> done(const acme::DnsRecord& record, const Deadline& by);

  struct Swept {
    std::size_t removed = 0;
    std::size_t waiting = 0;  // young, in use, or not removed yet
    std::size_t dropped = 0;  // given up
  };
  // Removes the records that are left over: not young, and nobody works on the certificate they
  // are for. What a provider refuses is tried again, ever more rarely. Errors: those of the store,
  // timeout, cancelled.
  Result<Swept> sweep(Providers& providers,
                      const std::function<bool(std::string_view owner)>& is_working,
                      const Deadline& by);

 private:
  Store& store_;
  const Clock now_ms_;
};

// The journal as Dns01 has it, for one certificate. An entry that cannot be erased now is swept
// later.
class JournalOf final : public acme::DnsJournal {
 public:
  JournalOf(Journal& journal, std::string owner) : journal_(journal), owner_(std::move(owner)) {}

  Result<void> add(const acme::DnsRecord& record, const Deadline& by) override {
    return journal_.add(record, owner_, by);
  }
  void done(const acme::DnsRecord& record) override;

 private:
  Journal& journal_;
  const std::string owner_;
};

}  // namespace proxycore::certs
