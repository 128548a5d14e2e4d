#include "lookup/socket_tier.h"

#include "base/json.h"
#include "base/log.h"
#include "base/text.h"

#include <optional>
#include <utility>

namespace proxycore::lookup {

namespace {

io::Conversation::Limits one_at_a_time(io::Conversation::Limits limits) {
  limits.unanswered = 1;
  return limits;
}

// "a:1,b:2" as ["a:1","b:2"].
void mend_list(Record& record, std::string_view field) {
  const auto at = record.find(field);
  if (at == record.end() || at->second.empty() || at->second.starts_with('[')) return;
  std::string list;
  base::json::Writer writer(list);
  writer.begin_array();
  std::string_view rest = at->second;
  while (!rest.empty()) writer.value(base::next_member(rest));
  writer.end_array();
  at->second = std::move(list);
}

}  // namespace

SocketTier::SocketTier(io::Loop& loop, const std::string& path, io::Conversation::Limits limits,
                       host::StatsIds& ids)
    : loop_(loop),
      ids_(ids),
      conversation_(loop, {.name = "unix:" + path, .path = path}, *this, one_at_a_time(limits)) {}

SocketTier::~SocketTier() = default;

std::optional<Answer> SocketTier::find(std::string_view host, Waiter& later) {
  if (free_.empty()) free_.push_back(*all_.emplace_back(std::make_unique<Query>(*this)));
  Query& query = free_.front();
  std::string request;
  append_request(request, host);
  const auto asked = conversation_.ask(std::move(request), query);
  if (!asked) return asked.error();
  static_cast<base::ListNode<FreeTag>&>(query).unlink();
  query.host = host;
  query.waiter.push_back(later);
  return std::nullopt;
}

// A name that no host has: every service has an answer to that, which shows that it is alive.
std::size_t SocketTier::greet(base::Chain& out) {
  std::string request;
  append_request(request, "");
  out.append(request);
  return 1;
}

Result<void> SocketTier::greeted(std::size_t /*part*/) {
  PX_TRY([[maybe_unused]] const Record record, LookupReply::parse(reply_));
  return {};
}

Result<bool> SocketTier::next() {
  PX_TRY(const std::optional<std::string_view> reply, stream_.next());
  if (!reply) return false;
  reply_ = *reply;
  return true;
}

Answer SocketTier::answer(const Query& query) {
  auto record = LookupReply::parse(reply_);
  if (record && record->empty()) return Error{Errc::not_found};
  Answer found = unknown();
  if (record) {
    mend_list(*record, "targets");
    found = answer_of(query.host, *std::move(record), ids_);
  } else {
    found = std::move(record).error();
  }
  if (found) return found;
  Error why = std::move(found).error().within(conversation_.server() + ": " + query.host);
  if (why.code != Errc::busy && complaints_.admit(query.host, loop_.now())) {
    base::log::warning("lookup.record", {{"host", query.host}, {"why", why.detail}});
  }
  return why;
}

void SocketTier::answered(Query& query, Answer found) {
  base::List<Waiter> waiter;
  waiter.splice(query.waiter);
  static_cast<io::Conversation::Call&>(query).unlink();  // a late reply is of no use
  free_.push_front(query);
  if (!waiter.empty()) waiter.pop_front().on_answer(std::move(found));
}

}  // namespace proxycore::lookup
