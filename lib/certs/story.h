// Story: what a store keeps about the certificate of one name: what happened, what comes next.
//
// CertificateStory (renew.h) is the part for people; the rest is what the runner needs to go on
// after a crash: the order at the CA with its key, the CA's proposal for the renewal, and the
// fence, which refuses a holder of the name that was given up. One record a name.
// Not here: the certificate itself (cert_store), what to do next (renewal, runner).
// Thread: values and functions, any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace proxycore::certs {

struct Story : CertificateStory {
  bool wished = false;         // because somebody asked for the name, not because a host names it
  std::string order_url = {};  // the order that is not finished; empty: none
  std::string order_ca = {};   // whose it is; empty: not known
  std::string order_key = {};  // the private key of its certificate, sealed
  // The CA's proposal for the renewal of `serial`, milliseconds since 1970; 0: none.
  std::int64_t window_start_ms = 0;
  std::int64_t window_end_ms = 0;
  std::int64_t chosen_ms = 0;
  std::int64_t ask_ms = 0;  // when the CA is asked for its proposal again
  std::uint64_t fence = 0;  // of the last holder that wrote
};

// Errors: invalid (names the field).
Result<Story> story_from(std::string_view name, const Record& record);
Record record_of(const Story& story);

// Errors: not_found, invalid, those of Store::get.
Result<Story> load_story(Store& store, std::string_view name, const Deadline& by);
// Replaces the story if nobody with a later fence wrote meanwhile. Errors: conflict (somebody did),
// those of Store::update.
Result<void> save_story(Store& store, const Story& story, const Deadline& by);
// In the order of names; a broken record is passed over. Errors: those of Store::scan.
Result<void> for_each_story(Store& store, const std::function<void(Story&& story)>& each,
                            const Deadline& by);

// Puts `attempt` first and drops what is too much. Words are cut at 2000 bytes.
void add_attempt(Story& story, CertificateAttempt attempt);

}  // namespace proxycore::certs
