// plan: which certificates a set of hosts wants, under which names, proved how. Pure function.
//
// A plain host wants its own name; "*.x" wants x and "*.x" in one certificate, as installations
// have it; "**.x" wants "*.x", and what lies deeper is got when somebody asks for it; other
// patterns have nothing that one certificate could cover. A host that a wildcard's certificate
// covers, of which there is one, wants none of its own. Not here: when (renewal), who proves it
// (runner). Source: RFC 9525 §6.3. Thread: any.
#pragma once

#include <proxycore/host.h>

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::certs {

enum class Method : std::uint8_t { http01, dns01 };

struct Wanted {
  std::string name;  // what it is kept under: "app.example.com", "*.example.com"
  std::vector<std::string> identifiers = {};  // what it is for
  std::string host = {};                      // the host or pattern that wants it
  Method method = Method::http01;
  bool rsa = false;  // the one with an RSA key beside the other, for clients that know no ECDSA

  // What its story and whoever works on it are known by: of the one beside, "rsa:" and the name.
  [[nodiscard]] std::string id() const { return rsa ? std::string(rsa_mark) + name : name; }
  static constexpr std::string_view rsa_mark = "rsa:";

  friend bool operator==(const Wanted&, const Wanted&) = default;
};

struct Circumstances {
  Method preferred = Method::http01;  // for plain names
  // Whether a DNS provider has a zone that `name` lies in.
  std::function<bool(std::string_view name)> has_zone;
  // Whether there is a valid certificate for the pattern "*.x".
  std::function<bool(std::string_view pattern)> has_wildcard;
};

// What `host` wants; nullopt: nothing of its own, for the reason put into `why`.
std::optional<Wanted> wanted_by(const Host& host, const Circumstances& around, std::string& why);

// The certificate for a name that somebody asked for and no host names: that of its own.
// nullopt: `host`, which it was found by, wants none for it.
std::optional<Wanted> wanted_for(std::string_view name, const Host& host,
                                 const Circumstances& around);

// "*.example.com" of "app.example.com"; empty: there is nothing above it.
std::string parent_wildcard(std::string_view name);

// A name that a CA can vouch for: with a dot, and no address.
bool is_public_name(std::string_view name) noexcept;

}  // namespace proxycore::certs
