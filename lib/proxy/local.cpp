#include "proxy/local.h"

#include "base/text.h"
#include "proxy/exchange.h"

#include <utility>

namespace proxycore {

const std::string* Request::field(std::string_view name) const noexcept {
  for (const auto& [key, value] : fields) {
    if (base::same(key, name)) return &value;
  }
  return nullptr;
}

std::string_view Request::path() const noexcept {
  return std::string_view{target}.substr(0, target.find('?'));
}

std::string_view Request::query() const noexcept {
  const std::size_t mark = target.find('?');
  return mark == std::string::npos ? std::string_view{} : std::string_view{target}.substr(mark + 1);
}

Responder::~Responder() {
  if (sink_) sink_->respond({.status = 500, .fields = {}, .body = {}});
}

void Responder::respond(Response response) {
  if (const auto sink = std::exchange(sink_, nullptr)) sink->respond(std::move(response));
}

std::unique_ptr<ResponseStream> Responder::begin(Response head) {
  const auto sink = std::exchange(sink_, nullptr);
  return sink ? sink->begin(std::move(head)) : nullptr;
}

namespace proxy {
namespace {

class LoopStream final : public ResponseStream {
 public:
  LoopStream(std::shared_ptr<io::Inbox> inbox, std::shared_ptr<Ticket> ticket)
      : inbox_(std::move(inbox)), ticket_(std::move(ticket)) {}
  LoopStream(const LoopStream&) = delete;
  LoopStream& operator=(const LoopStream&) = delete;
  ~LoopStream() override {
    inbox_->post([ticket = std::move(ticket_)] {
      if (ticket->exchange != nullptr) ticket->exchange->on_local_end();
    });
  }
  bool write(std::string part) override {
    if (ticket_->gone) return false;
    const std::size_t size = part.size();
    if (ticket_->waiting.fetch_add(size) + size > max_waiting) {
      ticket_->gone = true;
      inbox_->post([ticket = ticket_] {
        if (ticket->exchange != nullptr) ticket->exchange->on_local_overflow();
      });
      return false;
    }
    return inbox_->post([ticket = ticket_, more = std::move(part)]() mutable {
      if (ticket->exchange != nullptr) ticket->exchange->on_local_part(std::move(more));
    });
  }

 private:
  std::shared_ptr<io::Inbox> inbox_;
  std::shared_ptr<Ticket> ticket_;
};

class LoopSink final : public Responder::Sink {
 public:
  LoopSink(std::shared_ptr<io::Inbox> inbox, std::shared_ptr<Ticket> ticket)
      : inbox_(std::move(inbox)), ticket_(std::move(ticket)) {}
  void respond(Response response) override {
    inbox_->post([ticket = std::move(ticket_), answer = std::move(response)]() mutable {
      if (ticket->exchange != nullptr) ticket->exchange->on_local_response(std::move(answer));
    });
  }
  std::unique_ptr<ResponseStream> begin(Response head) override {
    auto stream = std::make_unique<LoopStream>(inbox_, ticket_);
    inbox_->post([ticket = std::move(ticket_), begun = std::move(head)]() mutable {
      if (ticket->exchange != nullptr) ticket->exchange->on_local_begin(std::move(begun));
    });
    return stream;
  }

 private:
  std::shared_ptr<io::Inbox> inbox_;
  std::shared_ptr<Ticket> ticket_;
};

}  // namespace

std::unique_ptr<Responder::Sink> sink_for(std::shared_ptr<io::Inbox> inbox,
                                          std::shared_ptr<Ticket> ticket) {
  return std::make_unique<LoopSink>(std::move(inbox), std::move(ticket));
}

}  // namespace proxy
}  // namespace proxycore
