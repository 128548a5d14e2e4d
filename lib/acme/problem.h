// Problem documents of a CA, and what they mean for who asked.
//
// The type of a problem says whose fault it is; texts are the CA's own, cut where they are long.
// Source: RFC 8555 §6.7, RFC 9457, RFC 9773 §5. Thread: pure functions, any.
#pragma once

#include "base/json.h"
#include <proxycore/acme.h>
#include <proxycore/result.h>

#include <cstdint>
#include <string_view>

namespace proxycore::acme {

// Whatever is missing or odd in it is left out; `status` where the document has none.
Problem read_problem(const base::json::Value& document, std::uint16_t status);
// The content of a response that is no success; anything but a problem document becomes one with
// the status alone.
Problem read_problem(std::string_view content, std::uint16_t status);

Error error_of(const Problem& problem, std::uint32_t retry_after_s);

}  // namespace proxycore::acme
