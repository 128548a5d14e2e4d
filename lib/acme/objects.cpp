#include "acme/objects.h"

#include "acme/problem.h"
#include "base/json.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <utility>

namespace proxycore::acme {

using base::json::Value;

namespace {
constexpr std::array<std::string_view, 8> statuses = {
    "pending", "processing", "ready", "valid", "invalid", "deactivated", "expired", "revoked"};
constexpr std::size_t max_names = 100;
constexpr std::size_t max_challenges = 20;
constexpr std::size_t max_profiles = 50;

Error nonsense(Error why, std::string_view what) {
  why.code = Errc::protocol;
  return std::move(why).within(what);
}

Error expected(std::string_view field, std::string_view what) {
  return {Errc::protocol, "field '" + std::string(field) + "': expected " + std::string(what)};
}

Result<Status> status_in(const Value& document) {
  PX_TRY(const std::string_view text, document.text("status"));
  const auto* const found = std::find(statuses.begin(), statuses.end(), text);
  if (found == statuses.end()) {
    return Error{Errc::invalid, "field 'status': unknown: " + base::shown(text)};
  }
  return static_cast<Status>(found - statuses.begin());
}

Result<std::string> url_in(const Value& document, std::string_view field) {
  PX_TRY(const std::string_view text, document.text(field));
  if (!is_url(text)) return expected(field, "a url");
  return std::string(text);
}

// Empty: it is not there.
Result<std::string> optional_url(const Value& document, std::string_view field) {
  if (document.find(field) == nullptr) return std::string();
  return url_in(document, field);
}

std::string optional_text(const Value& document, std::string_view field) {
  const auto text = document.text(field);
  return text ? std::string(*text) : std::string();
}

std::vector<std::string> texts_in(const Value& document, std::string_view field) {
  std::vector<std::string> all;
  const auto items = document.array(field);
  if (!items) return all;
  for (const Value& item : *items) {
    if (all.size() == max_names) break;
    if (const auto text = item.text()) all.emplace_back(*text);
  }
  return all;
}

Result<Challenge> challenge_in(const Value& document) {
  Challenge challenge;
  PX_TRY(const std::string_view type, document.text("type"));
  challenge.type = type;
  PX_TRY(challenge.url, url_in(document, "url"));
  PX_TRY(challenge.status, status_in(document));
  challenge.token = optional_text(document, "token");
  if (!challenge.token.empty() && !is_base64url(challenge.token)) {
    return expected("token", "base64url");
  }
  if (const Value* error = document.find("error")) challenge.error = read_problem(*error, 0);
  return challenge;
}

Result<Directory> directory_in(const Value& document) {
  Directory directory;
  PX_TRY(directory.new_nonce, url_in(document, "newNonce"));
  PX_TRY(directory.new_account, url_in(document, "newAccount"));
  PX_TRY(directory.new_order, url_in(document, "newOrder"));
  PX_TRY(directory.revoke_cert, optional_url(document, "revokeCert"));
  PX_TRY(directory.key_change, optional_url(document, "keyChange"));
  PX_TRY(directory.renewal_info, optional_url(document, "renewalInfo"));
  const Value* meta = document.find("meta");
  if (meta == nullptr) return directory;
  directory.terms_of_service = optional_text(*meta, "termsOfService");
  directory.website = optional_text(*meta, "website");
  directory.caa_identities = texts_in(*meta, "caaIdentities");
  directory.external_account_required = meta->boolean("externalAccountRequired").value_or(false);
  if (const Value* profiles = meta->find("profiles")) {
    const auto members = profiles->object();
    for (std::size_t i = 0; members && i < std::min(members->size(), max_profiles); ++i) {
      const Value::Member& member = (*members)[i];
      directory.profiles.push_back(
          {member.name, std::string(member.value.text().value_or(std::string_view()))});
    }
  }
  return directory;
}

Result<Account> account_in(const Value& document) {
  Account account;
  PX_TRY(account.status, status_in(document));
  account.contact = texts_in(document, "contact");
  return account;
}

Result<Order> order_in(const Value& document) {
  Order order;
  PX_TRY(order.status, status_in(document));
  PX_TRY(const auto identifiers, document.array("identifiers"));
  if (identifiers.empty() || identifiers.size() > max_names) {
    return expected("identifiers", "1 to 100 of them");
  }
  for (const Value& identifier : identifiers) {
    PX_TRY(const std::string_view name, identifier.text("value"));
    order.identifiers.emplace_back(name);
  }
  PX_TRY(const auto authorizations, document.array("authorizations"));
  if (authorizations.size() > max_names) return expected("authorizations", "100 at most");
  for (const Value& authorization : authorizations) {
    PX_TRY(const std::string_view url, authorization.text());
    if (!is_url(url)) return expected("authorizations", "urls");
    order.authorizations.emplace_back(url);
  }
  PX_TRY(order.finalize, url_in(document, "finalize"));
  PX_TRY(order.certificate, optional_url(document, "certificate"));
  if (order.status == Status::valid && order.certificate.empty()) {
    return expected("certificate", "a url");
  }
  if (const Value* error = document.find("error")) order.error = read_problem(*error, 0);
  return order;
}

Result<Authorization> authorization_in(const Value& document) {
  Authorization authorization;
  PX_TRY(authorization.status, status_in(document));
  const Value* identifier = document.find("identifier");
  if (identifier == nullptr) return expected("identifier", "an object");
  PX_TRY(const std::string_view name, identifier->text("value"));
  authorization.identifier = name;
  authorization.wildcard = document.boolean("wildcard").value_or(false);
  const auto challenges = document.array("challenges");
  if (!challenges) return authorization;  // one that is valid already may have none
  for (const Value& one : challenges->first(std::min(challenges->size(), max_challenges))) {
    PX_TRY(Challenge challenge, challenge_in(one));
    authorization.challenges.push_back(std::move(challenge));
  }
  return authorization;
}

Result<RenewalInfo> renewal_info_in(const Value& document) {
  const Value* window = document.find("suggestedWindow");
  if (window == nullptr) return expected("suggestedWindow", "an object");
  PX_TRY(const std::string_view start_text, window->text("start"));
  PX_TRY(const std::string_view end_text, window->text("end"));
  const auto start = base::parse_iso_date(start_text);
  const auto end = base::parse_iso_date(end_text);
  if (!start || !end) return expected("suggestedWindow", "dates");
  if (*end <= *start) return expected("suggestedWindow", "an end after its start");
  RenewalInfo info;
  info.start = *start;
  info.end = *end;
  info.explanation_url = optional_text(document, "explanationURL");
  if (!is_url(info.explanation_url)) info.explanation_url.clear();
  return info;
}

template <class Read>
auto read(std::string_view what, std::string_view content, Read&& from)
    -> decltype(from(std::declval<const Value&>())) {
  const auto document = base::json::parse(content);
  if (!document) return nonsense(document.error(), what);
  auto object = from(*document);
  if (!object) return nonsense(std::move(object).error(), what);
  return object;
}
}  // namespace

std::string_view name_of(Status status) noexcept {
  return statuses[static_cast<std::size_t>(status)];
}

bool is_base64url(std::string_view text) noexcept {
  constexpr std::size_t longest = 512;
  return !text.empty() && text.size() <= longest &&
         std::all_of(text.begin(), text.end(), [](char c) {
           const char low = base::lower(c);
           return base::is_digit(c) || (low >= 'a' && low <= 'z') || c == '-' || c == '_';
         });
}

bool is_url(std::string_view text) noexcept {
  constexpr std::size_t longest = 2048;
  const bool known = text.starts_with("https://") || text.starts_with("http://");
  return known && text.size() <= longest && std::all_of(text.begin(), text.end(), [](char c) {
           return static_cast<unsigned char>(c) > 0x20 && static_cast<unsigned char>(c) < 0x7F;
         });
}

Result<Directory> read_directory(std::string_view content) {
  return read("directory", content, directory_in);
}

Result<Account> read_account(std::string_view content, std::string url) {
  auto account = read("account", content, account_in);
  if (account) account->url = std::move(url);
  return account;
}

Result<Order> read_order(std::string_view content, std::string url) {
  auto order = read("order", content, order_in);
  if (order) order->url = std::move(url);
  return order;
}

Result<Authorization> read_authorization(std::string_view content, std::string url) {
  auto authorization = read("authorization", content, authorization_in);
  if (authorization) authorization->url = std::move(url);
  return authorization;
}

Result<RenewalInfo> read_renewal_info(std::string_view content) {
  return read("renewal information", content, renewal_info_in);
}

}  // namespace proxycore::acme
