#include "admin/pages.h"

#include "base/text.h"

#include <algorithm>
#include <string>

namespace proxycore::admin {

namespace {

// The addresses of pages, by their first part; app.js knows which of them show one thing
// ("/hosts/NAME").
constexpr std::string_view shell_parts[] = {
    "",      "account",  "audit",  "certificates", "dns",   "hosts",
    "login", "new-host", "system", "tokens",       "users",
};

// Of a list of codings with weights (RFC 9110 §12.5.3).
bool takes_gzip(const std::string* accepted) {
  if (!accepted) return false;
  std::string_view rest = *accepted;
  while (!rest.empty()) {
    const std::string_view member = base::next_member(rest);
    const std::size_t semicolon = member.find(';');
    if (!base::same(base::trim(member.substr(0, semicolon)), "gzip")) continue;
    if (semicolon == std::string_view::npos) return true;
    const std::string_view weight = base::trim(member.substr(semicolon + 1));
    return weight.find_first_of("123456789") != std::string_view::npos;
  }
  return false;
}

// Weak comparison (RFC 9110 §13.1.2).
bool has_it_already(const std::string* known, std::string_view etag) {
  if (!known) return false;
  const auto opaque = [](std::string_view tag) {
    return tag.starts_with("W/") ? tag.substr(2) : tag;
  };
  std::string_view rest = *known;
  while (!rest.empty()) {
    const std::string_view tag = base::next_member(rest);
    if (tag == "*" || opaque(tag) == opaque(etag)) return true;
  }
  return false;
}

}  // namespace

const Page* page_for(std::string_view path) noexcept {
  if (!path.starts_with('/')) return nullptr;
  const std::string_view first = path.substr(1, path.find('/', 1) - 1);
  const bool is_shell = std::ranges::find(shell_parts, first) != std::end(shell_parts);
  const std::string_view wanted = is_shell ? "/" : path;
  const auto pages = embedded_pages();
  const auto found = std::ranges::find(pages, wanted, &Page::path);
  return found == pages.end() ? nullptr : &*found;
}

Response page_response(const Page& page, const Request& request) {
  if (request.method != "GET" && request.method != "HEAD") {
    return Response{.status = 405, .fields = {{"Allow", "GET, HEAD"}}};
  }
  // Asked for again each time, so that a newer program shows its own pages; mostly answered 304.
  Response response{.fields = {{"ETag", std::string(page.etag)},
                               {"Cache-Control", "no-cache"},
                               {"Vary", "Accept-Encoding"}}};
  if (has_it_already(request.field("if-none-match"), page.etag)) {
    response.status = 304;
    return response;
  }
  response.fields.emplace_back("Content-Type", page.type);
  if (takes_gzip(request.field("accept-encoding"))) {
    response.fields.emplace_back("Content-Encoding", "gzip");
    response.body = page.gzip;
  } else {
    response.body = page.plain;
  }
  return response;
}

}  // namespace proxycore::admin
