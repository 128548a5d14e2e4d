#include "proxy/edge.h"

#include "base/text.h"

#include <algorithm>

#include <fmt/format.h>

namespace proxycore::proxy::edge {

namespace {

struct Page {
  std::uint16_t status;
  std::string_view reason;
  std::string_view detail;  // for the person in front of the browser
};

constexpr Page pages[] = {
    {400, "Bad Request", "The request is malformed."},
    {404, "Not Found", "No such host is served here."},
    {405, "Method Not Allowed", "The method is not allowed here."},
    {408, "Request Timeout", "The request did not arrive in time."},
    {413, "Content Too Large", "The request's content is larger than is accepted here."},
    {414, "URI Too Long", "The request's target is longer than is accepted here."},
    {421, "Misdirected Request", "This connection does not serve the requested host."},
    {431, "Request Header Fields Too Large", "The request's header is larger than is accepted."},
    {500, "Internal Server Error", "The request could not be answered."},
    {501, "Not Implemented", "The request asks for something that is not supported here."},
    {502, "Bad Gateway", "The server behind this host gave no usable response."},
    {503, "Service Unavailable", "The service is busy; please try again later."},
    {504, "Gateway Timeout", "The server behind this host did not respond in time."},
    {505, "HTTP Version Not Supported", "The request's HTTP version is not supported."},
    {508, "Loop Detected", "The request has passed this proxy too many times."},
};

const Page* page_of(std::uint16_t status) noexcept {
  for (const Page& page : pages) {
    if (page.status == status) return &page;
  }
  return nullptr;
}

constexpr std::string_view allowed = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

// The weight of a member of Accept, 0..1000 (RFC 9110 §12.4.2); 1000 when there is none.
int weight(std::string_view parameters) {
  while (!parameters.empty()) {
    const std::size_t semicolon = parameters.find(';');
    const std::string_view one = base::trim(parameters.substr(0, semicolon));
    parameters = semicolon == std::string_view::npos ? "" : parameters.substr(semicolon + 1);
    if (one.size() < 3 || !base::same(one.substr(0, 2), "q=")) continue;
    if (one[2] != '0') return 1000;
    int thousandths = 0;
    int digit = 100;
    for (std::size_t i = 4; i < one.size() && base::is_digit(one[i]) && digit > 0; digit /= 10) {
      thousandths += (one[i++] - '0') * digit;
    }
    return thousandths;
  }
  return 1000;
}

// Whether the request would rather have JSON than HTML; of two equal ones, the first.
bool wants_json(const http::Head& request) {
  int best = 0;
  bool json = false;
  for (const http::Fields::Field field : request.fields) {
    if (field.id != http::FieldId::accept) continue;
    std::string_view rest = field.value;
    while (!rest.empty()) {
      const std::string_view member = base::next_member(rest);
      const std::size_t semicolon = std::min(member.find(';'), member.size());
      const std::string_view type = base::trim(member.substr(0, semicolon));
      const bool is_json = base::same(type, "application/json") ||
                           (type.size() > 5 && base::same(type.substr(type.size() - 5), "+json"));
      if (!is_json && !base::same(type, "text/html") && !base::same(type, "*/*")) continue;
      const int rated = weight(member.substr(semicolon));
      if (rated <= best) continue;
      best = rated;
      json = is_json;
    }
  }
  return json;
}

}  // namespace

std::string_view reason(std::uint16_t status) noexcept {
  const Page* page = page_of(status);
  return page == nullptr ? std::string_view{} : page->reason;
}

void error(const http::Head& request, std::uint16_t status, std::string_view id,
           std::string_view date, http::Head& head, std::string& body) {
  const Page* page = page_of(status);
  const std::string_view title = page == nullptr ? "Error" : page->reason;
  const std::string_view detail = page == nullptr ? "" : page->detail;
  head.clear();
  head.status = status;
  head.reason = title;
  body.clear();
  // `id` is ours or was checked to be a token: nothing in it needs escaping.
  if (wants_json(request)) {
    head.fields.add(http::FieldId::content_type, "application/problem+json");
    fmt::format_to(std::back_inserter(body),
                   R"({{"title":"{}","status":{},"detail":"{}","request_id":"{}"}})"
                   "\n",
                   title, status, detail, id);
  } else {
    head.fields.add(http::FieldId::content_type, "text/html; charset=utf-8");
    fmt::format_to(std::back_inserter(body),
                   "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
                   "<title>{0} {1}</title></head>\n"
                   "<body><h1>{0} {1}</h1>\n<p>{2}</p>\n<p>Request id: <code>{3}</code></p>"
                   "</body></html>\n",
                   status, title, detail, id);
  }
  head.fields.add(http::FieldId::date, date);
  head.fields.add("Cache-Control", "no-store");
  head.fields.add(http::FieldId::x_request_id, id);
  if (status == 405) head.fields.add("Allow", allowed);
  if (status == 503) head.fields.add("Retry-After", "1");
  head.framing = http::Framing::length;
  head.content_length = body.size();
  if (request.method == "HEAD") body.clear();
}

void options(std::string_view id, std::string_view date, http::Head& head) {
  head.clear();
  head.status = 204;
  head.fields.add("Allow", allowed);
  head.fields.add(http::FieldId::date, date);
  head.fields.add(http::FieldId::x_request_id, id);
}

void to_tls(const http::Head& request, std::string_view host, std::uint16_t port,
            std::string_view id, std::string_view date, http::Head& head) {
  const bool may_change = request.method == "GET" || request.method == "HEAD";
  std::string location = "https://";
  location += host;
  if (port != 443) location.append(":").append(std::to_string(port));
  location += request.target.starts_with('/') ? std::string_view(request.target) : "/";
  head.clear();
  head.status = may_change ? 301 : 308;
  head.reason = may_change ? "Moved Permanently" : "Permanent Redirect";
  head.fields.add("Location", location);
  head.fields.add(http::FieldId::date, date);
  head.fields.add(http::FieldId::x_request_id, id);
  head.framing = http::Framing::length;
  head.content_length = 0;
}

}  // namespace proxycore::proxy::edge
