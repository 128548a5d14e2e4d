#include "server/explain.h"

#include "base/json.h"
#include "base/text.h"

#include <utility>

namespace proxycore::server {

namespace {

constexpr std::size_t most_candidates = 50;

int hex(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char low = base::lower(c);
  return low >= 'a' && low <= 'f' ? low - 'a' + 10 : -1;
}

}  // namespace

std::string asked_host(std::string_view query) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), part.size() + 1));
    if (!part.starts_with("host=")) continue;
    std::string name;
    for (std::size_t i = 5; i < part.size(); ++i) {
      const bool is_escape =
          part[i] == '%' && i + 2 < part.size() && hex(part[i + 1]) >= 0 && hex(part[i + 2]) >= 0;
      if (is_escape) {
        name += static_cast<char>(hex(part[i + 1]) * 16 + hex(part[i + 2]));
        i += 2;
      } else {
        name += part[i] == '+' ? ' ' : part[i];
      }
    }
    return name;
  }
  return {};
}

Explanation::Explanation(std::string name, Tiers tiers,
                         std::shared_ptr<const host::RouteTable> table, Responder responder)
    : name_(std::move(name)),
      tiers_(tiers),
      table_(std::move(table)),
      responder_(std::move(responder)),
      decided_by_(tiers.size()) {}

void Explanation::go_on() {
  for (; asked_ < tiers_.size(); ++asked_) {
    const auto answer = tiers_[asked_]->find(name_, *this);
    if (!answer) return;
    if (take(*answer)) break;
  }
  respond();
}

void Explanation::on_answer(lookup::Answer answer) {
  if (take(answer)) return respond();
  ++asked_;
  go_on();
}

bool Explanation::take(const lookup::Answer& answer) {
  if (!rows_.empty()) rows_ += ',';
  base::json::Writer row(rows_);
  row.begin_object().field("tier", tiers_[asked_]->name());
  bool decides = true;
  if (answer && *answer) {
    route_ = *answer;
    row.field("answer", "found").field("pattern", route_->pattern);
  } else if (answer) {
    row.field("answer", "does not know");
    decides = false;
  } else if (answer.error().code == Errc::not_found) {
    row.field("answer", "no such host");
  } else {
    row.field("answer", "failed").field("why", answer.error().message());
    decides = false;
  }
  row.end_object();
  if (decides) decided_by_ = asked_;
  return decides;
}

void Explanation::respond() {
  done_ = true;
  Response response;
  response.fields = {{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}};
  base::json::Writer out(response.body);
  out.begin_object().field("host", name_).field("found", route_ != nullptr);
  out.key("answered_by");
  if (decided_by_ < tiers_.size()) {
    out.value(tiers_[decided_by_]->name());
  } else {
    out.null();
  }
  if (route_) {
    out.field("pattern", route_->pattern).key("targets").begin_array();
    for (const Target& target : route_->targets) out.value(target.text());
    out.end_array();
  }
  out.key("tiers").raw('[' + rows_ + ']');
  out.key("candidates").begin_array();
  if (table_) {
    for (const Candidate& one : table_->explain(name_, most_candidates)) {
      out.begin_object()
          .field("pattern", one.pattern)
          .field("matches", one.matches)
          .field("wins", one.wins)
          .field("reason", one.reason)
          .end_object();
    }
  }
  out.end_array().end_object();
  response.body += '\n';
  responder_.respond(std::move(response));
}

}  // namespace proxycore::server
