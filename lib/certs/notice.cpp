#include "certs/notice.h"

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "client/url.h"

#include <string_view>
#include <utility>

#include <fmt/format.h>

namespace proxycore::certs {

namespace {

namespace log = base::log;

std::string_view name_of(Notice::Event event) noexcept {
  switch (event) {
    case Notice::Event::failed:
      return "certificate.failed";
    case Notice::Event::issued:
      return "certificate.issued";
    case Notice::Event::revoked:
      return "certificate.revoked";
  }
  return "certificate";
}

// Whether the same notice may be taken another time (RFC 9110 §15.5.9, RFC 6585 §4).
bool is_passing(std::uint16_t status) {
  return status >= 500 || status == 408 || status == 429;
}

}  // namespace

std::string json_of(const Notice& notice) {
  std::string text;
  base::json::Writer writer(text);
  writer.begin_object();
  writer.field("event", name_of(notice.event));
  writer.field("name", notice.name);
  if (!notice.words.empty()) writer.field("words", notice.words);
  if (notice.failures > 0) writer.field("failures", notice.failures);
  if (notice.next_ms > 0) writer.field("next", base::iso_date(notice.next_ms));
  if (notice.not_after > 0) writer.field("not_after", base::iso_date(notice.not_after * 1000));
  if (notice.at_ms > 0) writer.field("at", base::iso_date(notice.at_ms));
  writer.end_object();
  return text;
}

Result<std::unique_ptr<Webhook>> Webhook::create(Options options) {
  PX_TRY(const client::Url url, client::Url::parse(options.url));
  return std::unique_ptr<Webhook>(new Webhook(std::move(options), url.authority()));
}

Webhook::Webhook(Options options, std::string host)
    : options_(std::move(options)),
      host_(std::move(host)),
      client_(options_.http),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Webhook::~Webhook() {
  thread_.request_stop();
  thread_.join();
  if (queue_.empty()) return;
  log::warning("webhook.lost", {{"host", host_}, {"notices", std::to_string(queue_.size())}});
}

void Webhook::tell(Notice notice) {
  const std::lock_guard lock(mutex_);
  if (queue_.size() >= options_.most_queued) {
    queue_.pop_front();
    ++counts_.dropped;
  }
  queue_.push_back(std::move(notice));
  changed_.notify_all();
}

bool Webhook::drain(const Deadline& by) {
  std::unique_lock lock(mutex_);
  const auto drained = [this] { return queue_.empty() && !delivering_; };
  return changed_.wait_for(lock, by.stop(), by.left(), drained);
}

Webhook::Counts Webhook::counts() const {
  const std::lock_guard lock(mutex_);
  return counts_;
}

void Webhook::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return !queue_.empty(); }) && !stop.stop_requested()) {
    const Notice notice = std::move(queue_.front());
    queue_.pop_front();
    delivering_ = true;
    lock.unlock();
    const bool delivered = deliver(notice, stop);
    lock.lock();
    delivering_ = false;
    ++(delivered ? counts_.delivered : counts_.failed);
    changed_.notify_all();
  }
}

bool Webhook::deliver(const Notice& notice, const std::stop_token& stop) {
  const client::Request request{.method = "POST",
                                .url = options_.url,
                                .headers = {{"Content-Type", "application/json"}},
                                .body = json_of(notice)};
  for (std::size_t turn = 0;; ++turn) {
    const auto response = client_.send(request, Deadline::in(options_.one_try, stop));
    if (response && response->status >= 200 && response->status < 300) return true;
    if (stop.stop_requested()) return false;
    if (turn == options_.pauses.size() || (response && !is_passing(response->status))) {
      static log::Throttle throttle;
      log::write(throttle, LogLevel::warning, "webhook.failed",
                 {{"host", host_},
                  {"certificate", notice.name},
                  {"why", response ? fmt::format("status {}", response->status)
                                   : response.error().message()}});
      return false;
    }
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, stop, options_.pauses[turn], [] { return false; });
  }
}

}  // namespace proxycore::certs
