// SocketTier: asks the lookup service on its Unix socket, ours or that of an older installation.
//
// The service knows all hosts and answers wildcards; what it does not know does not exist. One
// request at a time is on its way: older services are confused for good by a second that comes
// before they have answered the first. They also join lists with commas, which is undone here.
// Not here: the messages (socket_protocol), the service (socket_server).
// Thread: its worker's.
#pragma once

#include "base/list.h"
#include "host/route_table.h"
#include "io/conversation.h"
#include "io/loop.h"
#include "lookup/lookup.h"
#include "lookup/record_answer.h"
#include "lookup/socket_protocol.h"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::lookup {

class SocketTier final : public Tier, io::Conversation::Language {
 public:
  // `path`: of the socket; of `limits` the requests sent ahead do not count. `ids` must live as
  // long.
  SocketTier(io::Loop& loop, const std::string& path, io::Conversation::Limits limits,
             host::StatsIds& ids);
  SocketTier(const SocketTier&) = delete;
  SocketTier& operator=(const SocketTier&) = delete;
  ~SocketTier() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "socket"; }
  [[nodiscard]] bool remote() const noexcept override { return true; }
  std::optional<Answer> find(std::string_view host, Waiter& later) override;

 private:
  struct FreeTag;
  struct Query final : io::Conversation::Call, base::ListNode<FreeTag> {
    explicit Query(SocketTier& owner) : tier(owner) {}
    virtual ~Query() = default;
    void on_reply() override { tier.answered(*this, tier.answer(*this)); }
    void on_failure(const Error& why) override { tier.answered(*this, why); }

    SocketTier& tier;
    std::string host;
    base::List<Waiter> waiter;
  };

  std::size_t greet(base::Chain& out) override;
  Result<void> greeted(std::size_t part) override;
  void feed(std::string_view bytes) override { stream_.feed(bytes); }
  Result<bool> next() override;
  void clear() override { stream_.clear(); }

  Answer answer(const Query& query);
  void answered(Query& query, Answer found);

  io::Loop& loop_;
  host::StatsIds& ids_;
  JsonStream stream_{LookupReply::most};
  std::string_view reply_;  // the present one
  io::Conversation conversation_;
  Complaints complaints_;
  std::vector<std::unique_ptr<Query>> all_;  // queries
  base::List<Query, FreeTag> free_;
};

}  // namespace proxycore::lookup
