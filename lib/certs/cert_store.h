// The certificates of a store as records: gated before they are kept, the last one kept beside.
//
// What applications use of this is CertStore (cert.h). Source: the design's compatibility notes,
// 2.1. Thread: any.
#pragma once

#include "store/repo.h"
#include <proxycore/cert.h>
#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <string_view>

namespace proxycore::certs {

// A name has one certificate for all clients, and may have one with an RSA key beside it.
enum class Slot : std::uint8_t { usual, rsa };

// Errors: not_found, invalid, those of Store::get.
Result<store::Certificate> load(Store& store, Slot slot, std::string_view name, const Deadline& by);
// Whatever was there, without the gate. Errors: those of Store::put.
Result<void> save(Store& store, Slot slot, const store::Certificate& next, const Deadline& by);
// false: there was none. Errors: those of Store::erase.
Result<bool> erase(Store& store, Slot slot, std::string_view name, const Deadline& by);

// The record of `bundle`, once it has passed the gate for `name`. `now`: seconds since 1970.
// Errors: invalid (the name; what the gate found).
Result<store::Certificate> gated(std::string_view name, const CertBundle& bundle, std::int64_t now);

// Takes the place of the name's certificate, unless that has a later fence. What was there is kept
// under "proxycore_previous_" until it ends. Errors: conflict (the fence), those of Store::update.
Result<void> replace(Store& store, Slot slot, const store::Certificate& next, std::int64_t now,
                     const Deadline& by);
// Where it is kept then.
std::string previous_of(Slot slot, std::string_view name);

}  // namespace proxycore::certs
