#include "admin/replies.h"

#include "base/json.h"
#include "base/text.h"
#include "tls/digest.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace proxycore::admin {

namespace {

namespace json = base::json;

constexpr std::size_t largest_tagged = std::size_t{256} << 10;  // bytes of a body
constexpr std::string_view validation = "ObjectValidateError";

struct Row {
  Errc code;
  int status;
  std::string_view name;
};
constexpr Row table[] = {
    {Errc::cancelled, 503, "Unavailable"},   {Errc::timeout, 503, "Unavailable"},
    {Errc::closed, 503, "Unavailable"},      {Errc::refused, 503, "Unavailable"},
    {Errc::protocol, 500, "InternalError"},  {Errc::limit, 422, validation},
    {Errc::not_found, 404, "EntryNotFound"}, {Errc::conflict, 409, "EntryNameUsed"},
    {Errc::denied, 403, "Forbidden"},        {Errc::invalid, 422, validation},
    {Errc::busy, 503, "Unavailable"},        {Errc::io, 500, "InternalError"},
};

// The field that names a record of a model, as old clients know it.
std::string_view key_of(std::string_view model) {
  if (model == "Host") return "host";
  if (model == "User") return "username";
  if (model == "Domain") return "domain";
  return "id";
}

std::string_view phrase(int status) {
  switch (status) {
    case 400:
      return "Bad Request";
    case 401:
      return "Unauthorized";
    case 403:
      return "Forbidden";
    case 404:
      return "Not Found";
    case 409:
      return "Conflict";
    case 412:
      return "Precondition Failed";
    case 413:
      return "Content Too Large";
    case 415:
      return "Unsupported Media Type";
    case 421:
      return "Misdirected Request";
    case 422:
      return "Unprocessable Content";
    case 424:
      return "Failed Dependency";
    case 429:
      return "Too Many Requests";
    case 503:
      return "Service Unavailable";
    default:
      return "Internal Server Error";
  }
}

void write_fields(json::Writer& out, const std::vector<Problem::Field>& fields) {
  out.begin_array();
  for (const Problem::Field& field : fields) {
    out.begin_object().field("key", field.key).field("message", field.message).end_object();
  }
  out.end_array();
}

// Weak comparison (RFC 9110 §13.1.2).
bool has_it(const Request& request, std::string_view etag) {
  const std::string* known = request.field("if-none-match");
  if (known == nullptr) return false;
  std::string_view rest = *known;
  while (!rest.empty()) {
    std::string_view tag = base::next_member(rest);
    if (tag == "*") return true;
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag) return true;
  }
  return false;
}

std::string short_digest(std::string_view bytes) {
  const auto digest = tls::sha256(bytes);
  return base::base64url(std::string(digest.begin(), digest.begin() + 15));
}

}  // namespace

Problem login_failed() {
  return {.status = 401, .name = "LoginFailed", .message = "Invalid Credentials, login failed."};
}

Problem password_expired() {
  return {.status = 403,
          .name = "PasswordExpired",
          .type = "/api/openapi.json#PasswordExpired",
          .message =
              "This password was for one time only: set one of your own, with PUT "
              "/api/user/password."};
}

Problem changed_meanwhile() {
  return {.status = 412,
          .name = "PreconditionFailed",
          .message = "It has been changed meanwhile: If-Match names another state."};
}

Problem too_many(std::uint32_t retry_after_s) {
  return {.status = 429,
          .name = "TooManyRequests",
          .message = "Too many attempts, please try again later.",
          .retry_after_s = retry_after_s};
}

Problem others_failed(std::string_view name, std::string words) {
  return {.status = 424, .name = std::string(name), .message = std::move(words)};
}

Problem wrong_fields(std::vector<Problem::Field> fields) {
  return {.status = 422, .name = std::string(validation), .fields = std::move(fields)};
}

Problem page_not_found() {
  return {.status = 404, .name = "Error", .message = "Page not found"};
}

Problem problem_of(const Error& error) {
  const auto* row = std::find_if(std::begin(table), std::end(table),
                                 [&](const Row& each) { return each.code == error.code; });
  if (error.code == Errc::busy && error.retry_after_s != 0) return too_many(error.retry_after_s);
  Problem problem{.status = row->status, .name = std::string(row->name), .message = error.detail};
  if (row->status == 503) problem.retry_after_s = std::max(error.retry_after_s, 1U);
  // What failed inside is for the log.
  if (row->status == 500) problem.message = "Something failed here; the log says what.";
  if (row->status == 503) problem.message = "Not possible at present, please try again later.";
  if (row->status == 422) {
    constexpr std::string_view opening = "field '";
    constexpr std::string_view closing = "': ";
    const std::size_t begins = error.detail.find(opening);
    const std::size_t ends = error.detail.find(closing, begins);
    Problem::Field field{.key = {}, .message = error.detail};
    if (begins != std::string::npos && ends != std::string::npos) {
      const std::size_t name = begins + opening.size();
      field = {error.detail.substr(name, ends - name), error.detail.substr(ends + closing.size())};
    }
    problem.fields = {std::move(field)};
  }
  if (row->status == 409) {
    const std::string_view model = std::string_view(error.detail).substr(0, error.detail.find(':'));
    problem.fields = {{std::string(key_of(model)), error.detail}};
  }
  return problem;
}

Error does_not_exist(std::string_view model, std::string_view key) {
  return {Errc::not_found, std::string(model).append(":").append(key).append(" does not exists")};
}

Error exists_already(std::string_view model, std::string_view key) {
  return {Errc::conflict, std::string(model).append(":").append(key).append(" already exists")};
}

std::string tag_of(const Record& record) {
  std::string bytes;
  for (const auto& [name, value] : record) {
    bytes.append(name).push_back('\0');
    bytes.append(std::to_string(value.size())).push_back('\0');
    bytes.append(value);
  }
  return short_digest(bytes);
}

std::string tag_of(std::string_view text) {
  return short_digest(text);
}

Response response_of(const Problem& problem, const Request& request) {
  const std::string* accept = request.field("accept");
  const bool modern =
      accept != nullptr && accept->find("application/problem+json") != std::string::npos;
  Response response{.status = problem.status};
  json::Writer out(response.body);
  const bool is_list = problem.name == validation;
  out.begin_object();
  if (modern) {
    out.field("type", problem.type).field("title", phrase(problem.status));
    out.field("status", problem.status);
    std::string detail = problem.message;
    for (const Problem::Field& field : problem.fields) {
      if (!is_list) break;
      detail.append(detail.empty() ? "" : "; ");
      if (!field.key.empty()) detail.append(field.key).append(": ");
      detail.append(field.message);
    }
    out.field("detail", detail).field("name", problem.name);
    if (!problem.fields.empty()) write_fields(out.key("errors"), problem.fields);
  } else {
    out.field("name", problem.name).key("message");
    if (is_list) {
      write_fields(out, problem.fields);
    } else {
      out.value(problem.message);
      if (!problem.fields.empty()) write_fields(out.key("keys"), problem.fields);
    }
  }
  out.end_object();
  response.fields.emplace_back("Content-Type",
                               modern ? "application/problem+json" : "application/json");
  if (problem.retry_after_s != 0) {
    response.fields.emplace_back("Retry-After", std::to_string(problem.retry_after_s));
  }
  return response;
}

Response response_of(Reply reply, const Request& request) {
  if (reply.problem) {
    Response response = response_of(*reply.problem, request);
    std::move(reply.fields.begin(), reply.fields.end(), std::back_inserter(response.fields));
    return response;
  }
  Response response{.status = reply.status, .fields = std::move(reply.fields)};
  const bool reads = request.method == "GET" || request.method == "HEAD";
  if (reads && reply.etag.empty() && !reply.stream && reply.body.size() <= largest_tagged) {
    reply.etag = tag_of(reply.body);
  }
  if (!reply.etag.empty()) {
    const std::string quoted = "\"" + reply.etag + "\"";
    response.fields.emplace_back("ETag", quoted);
    if (reads && response.status == 200 && has_it(request, quoted)) {
      response.status = 304;
      return response;
    }
  }
  const bool has_type =
      std::any_of(response.fields.begin(), response.fields.end(),
                  [](const auto& field) { return base::same(field.first, "content-type"); });
  if (!has_type) response.fields.emplace_back("Content-Type", "application/json");
  response.body = std::move(reply.body);
  return response;
}

void add_security_fields(Response& response, const Request& request) {
  const auto add = [&response](std::string_view name, std::string_view value) {
    response.fields.emplace_back(name, value);
  };
  add("Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
      "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'");
  add("X-Content-Type-Options", "nosniff");
  add("Referrer-Policy", "no-referrer");
  add("Cross-Origin-Resource-Policy", "same-origin");
  if (base::same(request.path().substr(0, 4), "/api")) add("Cache-Control", "no-store");
}

}  // namespace proxycore::admin
