#include "server/challenges.h"

#include "base/log.h"
#include "base/text.h"
#include "host/keys.h"
#include "proxy/edge.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace proxycore::server {

namespace {

namespace log = base::log;

constexpr std::size_t longest_token = 128;

// What tokens are made of (RFC 8555 §8.1: base64url).
bool is_token(std::string_view text) noexcept {
  const auto fits = [](char c) {
    return base::is_digit(c) || (base::lower(c) >= 'a' && base::lower(c) <= 'z') || c == '-' ||
           c == '_';
  };
  return !text.empty() && text.size() <= longest_token &&
         std::all_of(text.begin(), text.end(), fits);
}

Response plain(int status, std::string text) {
  return {status, {{"Content-Type", "text/plain"}, {"Cache-Control", "no-store"}}, std::move(text)};
}
Response unknown() {
  return plain(404, "No such challenge is open here.\n");
}
Response failed() {
  Response response = plain(503, "The challenge could not be looked up.\n");
  response.fields.emplace_back("Retry-After", "1");
  return response;
}

}  // namespace

Challenges::Challenges(Store& store, Millis limit)
    : store_(store), limit_(limit), thread_([this] { run(); }) {}

Challenges::~Challenges() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    wake_.notify_one();
  }
  stop_.request_stop();
  thread_.join();
}

void Challenges::handle(Request request, Responder responder) {
  if (request.method != "GET" && request.method != "HEAD") {
    Response refused = plain(405, "Challenges are asked for with GET.\n");
    refused.fields.emplace_back("Allow", "GET, HEAD");
    return responder.respond(std::move(refused));
  }
  std::string_view token = request.target;
  token.remove_prefix(std::min(token.size(), proxy::edge::challenge_path.size()));
  Response refused;
  {
    const std::lock_guard lock(mutex_);
    if (!is_token(token)) {
      counters_.unknown.add();
      refused = unknown();
    } else if (questions_.size() >= most_waiting) {
      counters_.failed.add();
      refused = failed();
    } else {
      questions_.push_back({host::keys::challenge(request.host, token),
                            Deadline::in(limit_, stop_.get_token()), std::move(responder)});
      wake_.notify_one();
      return;
    }
  }
  responder.respond(std::move(refused));
}

void Challenges::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return ending_ || !questions_.empty(); });
    if (ending_) return;
    Question question = std::move(questions_.front());
    questions_.pop_front();
    lock.unlock();
    Answer answered = answer(question);
    lock.lock();
    answered.outcome.add();
    lock.unlock();
    question.responder.respond(std::move(answered.response));
    lock.lock();
  }
}

Challenges::Answer Challenges::answer(const Question& question) {
  const auto record = store_.get(question.key, question.by);
  if (record) {
    const auto authorization = record->find(text_field);
    if (authorization == record->end()) return {unknown(), counters_.unknown};
    return {{200,
             {{"Content-Type", "application/octet-stream"}, {"Cache-Control", "no-store"}},
             authorization->second},
            counters_.answered};
  }
  if (record.error().code == Errc::not_found) return {unknown(), counters_.unknown};
  static log::Throttle throttle;
  log::write(throttle, LogLevel::warning, "challenge.read",
             {{"store", store_.describe()}, {"why", record.error().message()}});
  return {failed(), counters_.failed};
}

}  // namespace proxycore::server
