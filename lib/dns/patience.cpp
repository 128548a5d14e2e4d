#include "dns/patience.h"

#include "base/clock.h"
#include "base/pause.h"
#include "base/text.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace proxycore::dns {

namespace {

std::optional<std::uint32_t> asked_wait(const client::Response& response,
                                        std::string_view reset_header) {
  const std::int64_t now = base::now_s();
  if (const auto said = client::retry_after(response, now)) return said;
  if (reset_header.empty() || response.status != 429) return std::nullopt;
  const auto reset =
      base::parse_decimal(response.header(reset_header), std::numeric_limits<std::uint32_t>::max());
  if (!reset || static_cast<std::int64_t>(*reset) <= now) return std::nullopt;
  return static_cast<std::uint32_t>(static_cast<std::int64_t>(*reset) - now);
}

}  // namespace

Result<Sent> send_patiently(client::HttpClient& http, const client::Request& request,
                            std::string_view reset_header, const Deadline& by) {
  for (int tried = 1;; ++tried) {
    const Deadline soon{std::min(by.at(), Deadline::Clock::now() + one_answer), by.stop()};
    PX_TRY(client::Response response, http.send(request, soon));
    if (response.status != 429 && response.status != 503)
      return Sent{.response = std::move(response)};
    const auto asked = asked_wait(response, reset_header);
    const Millis wait = asked ? Seconds{*asked} : Seconds{1 << (tried - 1)};
    if (tried == tries || wait > longest_wait || wait >= by.left()) {
      return Sent{.response = std::move(response), .busy = true, .asked_s = asked};
    }
    PX_CHECK(base::pause(wait, by));
  }
}

}  // namespace proxycore::dns
