#include "redis/async_client.h"

#include <optional>
#include <utility>

namespace proxycore::redis {

AsyncClient::AsyncClient(io::Loop& loop, const Url& url, const io::Conversation::Limits& limits,
                         io::Resolver::Query query)
    : greeting_(greeting(url)),
      conversation_(loop,
                    {.name = url.describe(), .path = url.path, .host = url.host, .port = url.port},
                    *this, limits, std::move(query)) {}

Result<void> AsyncClient::ask(Args command, Call& later) {
  std::string bytes;
  append_command(bytes, command);
  later.client_ = this;
  return conversation_.ask(std::move(bytes), later);
}

std::size_t AsyncClient::greet(base::Chain& out) {
  out.append(greeting_.bytes);
  return greeting_.steps.size();
}

Result<void> AsyncClient::greeted(std::size_t part) {
  return check_greeting(greeting_.steps[part], reply_);
}

Result<bool> AsyncClient::next() {
  PX_TRY(std::optional<Reply> reply, replies_.next());
  if (!reply) return false;
  reply_ = *std::move(reply);
  return true;
}

}  // namespace proxycore::redis
