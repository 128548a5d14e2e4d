// Registry: which types of DNS providers there are, and how one is made from its settings.
//
// Filled in plain sight: built_in() with what is linked, load_plugin() (plugin.h) and embedders
// with the rest. Owner: whoever runs renewals. Thread: add() before the others; those any.
#pragma once

#include <proxycore/dns_provider.h>
#include <proxycore/result.h>

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

namespace proxycore::client {
class HttpClient;
}

namespace proxycore::dns {

class Resolver;

// What providers are lent; they must be gone before it is.
struct Services {
  client::HttpClient& http;
  Resolver& resolver;
};

class Registry {
 public:
  // `settings` has every required field and no unknown one.
  using Factory = std::function<Result<std::unique_ptr<Provider>>(const Settings& settings,
                                                                  const Services& services)>;

  // Errors: conflict (the type is there), invalid (it has no name, or two fields of one name).
  Result<void> add(ProviderInfo info, Factory make);

  // In the order they were added.
  [[nodiscard]] std::vector<const ProviderInfo*> types() const;
  // Without regard to case; null: no such type.
  [[nodiscard]] const ProviderInfo* find(std::string_view type) const noexcept;

  // Blanks around settings are dropped. Errors: not_found (no such type), invalid (which field is
  // missing, unknown or malformed), those of the provider.
  Result<std::unique_ptr<Provider>> make(std::string_view type, const Settings& settings,
                                         const Services& services) const;

 private:
  struct Kind {
    ProviderInfo info;
    Factory make;
  };
  [[nodiscard]] const Kind* kind(std::string_view type) const noexcept;

  std::vector<std::unique_ptr<const Kind>> kinds_;  // their addresses stay
};

// Cloudflare, DigitalOcean, PorkBun, DuckDns and rfc2136.
Registry built_in();

}  // namespace proxycore::dns
