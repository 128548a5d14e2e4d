#include "admin/endpoint.h"

#include "base/text.h"
#include "client/url.h"

#include <algorithm>

namespace proxycore::admin {

namespace {

constexpr std::size_t max_pairs = 64;

std::string decoded(std::string_view text) {
  std::string spaced(text);
  std::replace(spaced.begin(), spaced.end(), '+', ' ');
  return client::percent_decoded(spaced).value_or(spaced);
}

}  // namespace

Query Query::parse(std::string_view query) {
  Query parsed;
  while (!query.empty() && parsed.pairs_.size() < max_pairs) {
    const std::size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    if (pair.empty()) continue;
    const std::size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
    parsed.pairs_.emplace_back(decoded(pair.substr(0, equals)), decoded(value));
  }
  return parsed;
}

const std::string* Query::find(std::string_view name) const noexcept {
  const auto at = std::find_if(pairs_.begin(), pairs_.end(),
                               [name](const auto& pair) { return pair.first == name; });
  return at != pairs_.end() ? &at->second : nullptr;
}

std::string_view Query::text(std::string_view name) const noexcept {
  const std::string* value = find(name);
  return value != nullptr ? std::string_view(*value) : std::string_view();
}

Result<const base::json::Value*> Call::content() const {
  if (body == nullptr) return Error{Errc::invalid, "expected a JSON object as the body"};
  return body;
}

Result<void> Call::allow(auth::Role role, std::string_view host) const {
  if (auth::role_for(caller, host) >= role) return {};
  if (role == auth::Role::admin) return Error{Errc::denied, "Administrator access required."};
  return Error{Errc::denied, std::string("You need '")
                                 .append(name_of(role))
                                 .append("' rights on ")
                                 .append(host)
                                 .append(".")};
}

bool Call::matches(std::string_view etag) const {
  const std::string* wanted = request.field("if-match");
  if (wanted == nullptr) return true;
  std::string_view rest = *wanted;
  while (!rest.empty()) {
    const std::string_view tag = base::next_member(rest);
    if (tag == "*" && !etag.empty()) return true;
    // Strong comparison: a weak tag matches nothing (RFC 9110 §8.8.3.2).
    if (tag.size() == etag.size() + 2 && tag.front() == '"' && tag.back() == '"' &&
        tag.substr(1, etag.size()) == etag) {
      return true;
    }
  }
  return false;
}

}  // namespace proxycore::admin
