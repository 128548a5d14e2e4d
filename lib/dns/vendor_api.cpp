#include "dns/vendor_api.h"

#include "dns/patience.h"
#include "dns/words.h"
#include <proxycore/host.h>

#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::size_t max_body = std::size_t{4} << 20;

bool is_markup(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t\r\n");
  return first != std::string_view::npos && text[first] == '<';
}

}  // namespace

VendorApi::VendorApi(client::HttpClient& http, Options options)
    : http_(http), options_(std::move(options)) {}

Result<VendorApi::Answer> VendorApi::send(const Call& call, const Deadline& by) {
  client::Request request{.method = call.method, .url = options_.base + call.path};
  request.headers = options_.headers;
  request.headers.push_back({"Accept", "application/json"});
  if (!call.body.empty()) {
    request.headers.push_back({"Content-Type", "application/json"});
    request.body = call.body;
  }
  auto sent = send_patiently(http_, request, options_.reset_header, by);
  if (!sent) return worded(call, sent.error().code, sent.error().detail);
  Answer answer{.status = sent->response.status, .text = std::move(sent->response.body)};
  if (auto json = base::json::parse(answer.text, {.size = max_body})) {
    answer.json = *std::move(json);
  }
  if (!sent->busy) return answer;
  Error busy = failure(call, answer, Errc::busy,
                       sent->asked_s ? fmt::format("asks to wait {} s", *sent->asked_s) : "");
  busy.retry_after_s = sent->asked_s.value_or(0);
  return busy;
}

Error VendorApi::failure(const Call& call, const Answer& answer, Errc code,
                         std::string_view words) const {
  std::string_view said = words;
  if (said.empty()) {
    said = answer.text.empty()      ? "no explanation"
           : is_markup(answer.text) ? "an HTML page in place of an answer"
                                    : std::string_view{answer.text};
  }
  return worded(call, code, fmt::format("{}: {}", answer.status, said));
}

Error VendorApi::nonsense(const Call& call, const Error& why) const {
  return worded(call, why.code == Errc::limit ? Errc::limit : Errc::protocol, why.detail);
}

Error VendorApi::worded(const Call& call, Errc code, std::string_view text) const {
  return {code, fmt::format("{}: {}: {}", options_.title, call.what,
                            fit_for_people(text, options_.secrets))};
}

Errc VendorApi::code_of(std::uint16_t status) noexcept {
  switch (status) {
    case 401:
    case 403:
      return Errc::denied;
    case 402:
      return Errc::limit;
    case 404:
    case 410:
      return Errc::not_found;
    case 408:
    case 504:
      return Errc::timeout;
    case 409:
      return Errc::conflict;
    case 429:
    case 503:
      return Errc::busy;
    default:
      break;
  }
  if (status >= 400 && status < 500) return Errc::invalid;
  return status >= 500 ? Errc::io : Errc::protocol;
}

std::string id_text(const base::json::Value* id) {
  if (id == nullptr) return {};
  if (const auto number = id->integer()) return fmt::format("{}", *number);
  if (const auto text = id->text()) return std::string{*text};
  return {};
}

std::string canonical_name(std::string_view given) {
  auto name = HostName::canonical(given);
  return name ? *std::move(name) : std::string{};
}

}  // namespace proxycore::dns
