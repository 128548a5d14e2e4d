#include "admin/credentials.h"

#include "auth/secret.h"
#include "auth/sessions.h"
#include "base/text.h"

#include <algorithm>

namespace proxycore::admin {

namespace {

// A name with this prefix is taken by browsers from TLS only, for the host itself alone.
std::string_view cookie_name(const Request& request) {
  return request.tls ? "__Host-session" : "session";
}

std::string_view cookie_of(const Request& request) {
  const std::string_view wanted = cookie_name(request);
  for (const auto& [name, value] : request.fields) {
    if (!base::same(name, "cookie")) continue;
    std::string_view rest = value;
    while (!rest.empty()) {
      const std::size_t end = std::min(rest.find(';'), rest.size());
      const std::string_view pair = base::trim(rest.substr(0, end));
      rest.remove_prefix(std::min(end + 1, rest.size()));
      const std::size_t equals = pair.find('=');
      if (equals != std::string_view::npos && pair.substr(0, equals) == wanted) {
        return pair.substr(equals + 1);
      }
    }
  }
  return {};
}

std::string cookie(const Request& request, std::string_view token, Seconds lives) {
  std::string text(cookie_name(request));
  text.append("=").append(token).append("; Path=/; HttpOnly; SameSite=Strict; Max-Age=");
  text.append(std::to_string(lives.count()));
  if (request.tls) text.append("; Secure");
  return text;
}

}  // namespace

std::optional<Credential> credential_of(const Request& request) {
  if (const std::string* token = request.field("auth-token")) {
    return Credential{auth::How::session, base::trim(*token)};
  }
  if (const std::string* authorization = request.field("authorization")) {
    constexpr std::string_view scheme = "bearer ";
    const std::string_view text = *authorization;
    if (text.size() > scheme.size() && base::same(text.substr(0, scheme.size()), scheme)) {
      return Credential{auth::How::session, base::trim(text.substr(scheme.size()))};
    }
  }
  if (const std::string_view token = cookie_of(request); !token.empty()) {
    return Credential{auth::How::cookie, token};
  }
  return std::nullopt;
}

bool passes_csrf(const Request& request, const Credential& credential) {
  if (credential.how != auth::How::cookie) return true;
  if (request.method == "GET" || request.method == "HEAD") return true;
  const std::string* shown = request.field("x-csrf-token");
  return shown != nullptr && auth::equal(*shown, auth::csrf_of(credential.token));
}

std::string session_cookie(const Request& request, std::string_view token, Seconds lives) {
  return cookie(request, token, lives);
}

std::string no_session_cookie(const Request& request) {
  return cookie(request, "", Seconds{0});
}

}  // namespace proxycore::admin
