// The domain that somebody has registered, of a name below it: "example.co.uk" of
// "a.b.example.co.uk".
//
// By the list of public suffixes, which has more of them than those of registries: whoever hosts
// others below a name of theirs is on it. Source: publicsuffix.org. Thread: any.
#pragma once

#include <string>
#include <string_view>

namespace proxycore::host {

// `name`: canonical; of "*.example.com" what is below the star counts. A public suffix is its own.
std::string registered_domain(std::string_view name);

}  // namespace proxycore::host
