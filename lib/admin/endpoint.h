// Endpoint: one operation of the manager's REST API, and what its function is given and gives.
//
// An endpoint is a plain function of a Context (the manager's parts) and a Call (one request,
// decoded and authenticated), tested without a loop. Which ones there are: endpoints.h. Not here:
// how requests become calls (service), how errors look (replies).
// Thread: functions run on the threads of their Lane and may block until Call::by.
#pragma once

#include "auth/access.h"
#include "base/json.h"
#include "base/unique_function.h"
#include <proxycore/config.h>
#include <proxycore/deadline.h>
#include <proxycore/handler.h>
#include <proxycore/renew.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::auth {
class Accounts;
}

namespace proxycore::host {
class TargetPolicy;
}

namespace proxycore::admin {

class Changes;
class Events;
class HostIndex;
class Query;
struct Reply;

enum class Method : std::uint8_t { get, post, put, del, options };

// Who may. Beyond `login`, a caller without rights is answered 403; from `login` on, one whose
// password was for one time only.
enum class Need : std::uint8_t {
  nothing,
  any_login,  // be it with a one-time password: what one needs to set another
  login,
  viewer_of_any,  // of the whole or of any domain; what is listed is what the caller may see
  viewer,         // of the host or domain that the path or body names: the endpoint asks
  manager,        // likewise  (Call::allow)
  admin,
};

// The threads that run it; each kind has its own, so that none waits for another.
enum class Lane : std::uint8_t {
  quick,     // the store only
  password,  // bcrypt
  others,    // CAs, DNS vendors, name servers, the proxyd: whoever may take seconds
};

// The decoded query of a target: "a=b&c".
class Query {
 public:
  Query() = default;
  // Pairs beyond 64 are dropped; what is no percent escape stays as it is.
  static Query parse(std::string_view query);

  // The first of that name; nullptr: there is none.
  [[nodiscard]] const std::string* find(std::string_view name) const noexcept;
  // "": there is none.
  [[nodiscard]] std::string_view text(std::string_view name) const noexcept;

 private:
  std::vector<std::pair<std::string, std::string>> pairs_;
};

// One request, decoded.
struct Call {
  const Request& request;
  std::span<const std::string> path;  // what stands for the ":x" of the path, percent-decoded
  const Query& query;
  const base::json::Value* body = nullptr;  // an object; nullptr: none was sent
  auth::Caller caller = {};                 // nobody, where nothing is needed and none came
  std::string_view credential = {};         // by which they came: a secret
  Deadline by;

  // The body, for who needs one. Errors: invalid.
  [[nodiscard]] Result<const base::json::Value*> content() const;
  // Errors: denied ("You need 'manager' rights on app.example.com.").
  [[nodiscard]] Result<void> allow(auth::Role role, std::string_view host) const;
  // Whether If-Match, if sent, names `etag` (RFC 9110 §13.1.1); "": of what is not there.
  [[nodiscard]] bool matches(std::string_view etag) const;
};

// What went wrong, as clients are told. Errors of endpoints become one (replies.h); endpoints
// return one themselves where no Errc says it.
struct Problem {
  struct Field {
    std::string key;
    std::string message;
  };
  int status = 500;
  std::string name = {};                  // "EntryNotFound"
  std::string_view type = "about:blank";  // a URI reference of its own, where `name` is no status
  std::string message = {};               // for people
  std::vector<Field> fields = {};         // of ObjectValidateError, in place of `message`
  std::uint32_t retry_after_s = 0;        // 0: is not said
};

struct Reply {
  int status = 200;
  std::string body = {};  // JSON; empty: none
  std::vector<std::pair<std::string, std::string>> fields = {};
  std::string etag = {};                // without quotes (tag_of); empty: for GET that of `body`
  std::optional<Problem> problem = {};  // in place of all of the above but `fields`
  // Takes over where the body comes bit by bit: `begin` sends the head.
  std::function<void(base::UniqueFunction<std::unique_ptr<ResponseStream>()> begin)> stream = {};
};

// The manager's parts, which endpoints work with.
struct Context {
  Store& store;
  const Config& config;
  auth::Accounts& accounts;
  Changes& changes;
  HostIndex& hosts;
  Events& events;
  const host::TargetPolicy& targets;
  Renewer& renewer;  // run() is never called
  // AdminService::Surroundings, never empty.
  std::function<Result<Response>(std::string_view target, const Deadline& by)> proxyd;
  std::function<std::int64_t()> now_ms;
};

using Run = Result<Reply> (*)(Context&, const Call&);

struct Endpoint {
  Method method;
  std::string_view path;  // "/api/host/:host"; fixed parts are lower case
  Need need;
  Run run;
  std::string_view summary;     // "Lists the hosts that the caller may see."
  std::string_view body = {};   // the schema of what it takes (schemas.h); empty: nothing
  std::string_view reply = {};  // the schema of what it answers with 200
  std::string_view query = {};  // names of parameters (schemas.h), between spaces
  Lane lane = Lane::quick;
};

}  // namespace proxycore::admin
