// RedisTier: asks Redis for the record of exactly that name: HGETALL proxy_Host_<name>.
//
// Wildcards are for later tiers; a wildcard hit that was written back is found here. What is no
// usable record fails, with one log line a minute for its key; a value that is too large is not
// asked for again for as long.
// Thread: its worker's.
#pragma once

#include "base/list.h"
#include "host/route_table.h"
#include "io/conversation.h"
#include "io/loop.h"
#include "lookup/lookup.h"
#include "lookup/record_answer.h"
#include "redis/async_client.h"
#include "redis/url.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace proxycore::lookup {

class RedisTier final : public Tier {
 public:
  // `ids` must live as long.
  RedisTier(io::Loop& loop, const redis::Url& url, const io::Conversation::Limits& limits,
            host::StatsIds& ids, io::Resolver::Query resolver = io::Resolver::system_query());
  RedisTier(const RedisTier&) = delete;
  RedisTier& operator=(const RedisTier&) = delete;
  ~RedisTier() override;

  [[nodiscard]] std::string_view name() const noexcept override { return "redis"; }
  [[nodiscard]] bool remote() const noexcept override { return true; }
  std::optional<Answer> find(std::string_view host, Waiter& later) override;
  void forget(std::span<const std::string> patterns) override;
  void forget_all() override { too_large_.clear(); }

 private:
  struct FreeTag;
  struct Query final : redis::AsyncClient::Call, base::ListNode<FreeTag> {
    explicit Query(RedisTier& owner) : tier(owner) {}
    ~Query() override = default;
    void on_result(Result<redis::Reply> result) override {
      tier.answered(*this, std::move(result));
    }

    RedisTier& tier;
    std::string host;
    base::List<Waiter> waiter;
  };

  void answered(Query& query, Result<redis::Reply> result);
  Answer answer(const Query& query, Result<redis::Reply> result);
  Error complain(std::string_view key, Error why);

  io::Loop& loop_;
  host::StatsIds& ids_;
  redis::AsyncClient client_;
  Complaints complaints_;
  std::unordered_map<std::string, std::int64_t, NameHash> too_large_;  // names, until milliseconds
  std::vector<std::unique_ptr<Query>> all_;                            // queries
  base::List<Query, FreeTag> free_;
};

}  // namespace proxycore::lookup
