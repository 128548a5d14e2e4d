// What other sides say, made fit for errors and logs: one line, not too long, no credentials.
//
// Thread: any.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace proxycore::dns {

// At most 400 bytes and "..."; whatever is in `secrets` becomes "***".
std::string fit_for_people(std::string_view said, std::span<const std::string> secrets);

}  // namespace proxycore::dns
