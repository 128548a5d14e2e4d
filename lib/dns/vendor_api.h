// VendorApi: the HTTP side of a DNS vendor: sends its calls and puts failures into words.
//
// What calls there are and what their answers mean is each vendor's (cloudflare, digitalocean,
// ...). Owner: a Provider. Thread: one call at a time; blocks.
#pragma once

#include "base/json.h"
#include "client/http_client.h"
#include <proxycore/deadline.h>
#include <proxycore/dns_provider.h>
#include <proxycore/result.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::dns {

class VendorApi {
 public:
  static constexpr std::size_t max_zones = 100'000;
  static constexpr int max_pages = 10'000;

  struct Options {
    std::string title;                         // begins errors: "Cloudflare"
    std::string base;                          // "https://api.example.com/v4"
    std::vector<client::Header> headers = {};  // of every call
    std::vector<std::string> secrets = {};     // blotted out in errors
    std::string reset_header = {};             // as send_patiently() has it
  };

  struct Call {
    std::string_view what;  // for errors: "list zones"
    std::string method = "GET";
    std::string path;       // after the base, with its query
    std::string body = {};  // JSON
  };

  struct Answer {
    std::uint16_t status = 0;
    std::string text;
    base::json::Value json = {};  // null where the text is no JSON

    [[nodiscard]] bool ok() const noexcept { return status >= 200 && status < 300; }
  };

  VendorApi(client::HttpClient& http, Options options);

  // An answer of any status but 429 and 503, which are waited for (patience). Errors: busy (that
  // would take too long), those of HttpClient.
  Result<Answer> send(const Call& call, const Deadline& by);

  // A call that failed, in the vendor's words; empty: what can be told from the answer alone.
  [[nodiscard]] Error failure(const Call& call, const Answer& answer, Errc code,
                              std::string_view words) const;
  // An answer that says it is good but is not what it should be, or is more than we take (limit).
  [[nodiscard]] Error nonsense(const Call& call, const Error& why) const;

  // What a status means that nothing better is known about.
  static Errc code_of(std::uint16_t status) noexcept;

 private:
  [[nodiscard]] Error worded(const Call& call, Errc code, std::string_view text) const;

  client::HttpClient& http_;
  const Options options_;
};

// An id that may come as a number or as a string; empty: it is neither.
std::string id_text(const base::json::Value* id);

// The canonical form of a name as a vendor gives it; empty: it has none.
std::string canonical_name(std::string_view given);

}  // namespace proxycore::dns
