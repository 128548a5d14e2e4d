#include "admin/host_index.h"

#include "admin/host_fields.h"
#include "base/text.h"
#include "certs/plan.h"
#include "certs/story.h"
#include "host/host_record.h"
#include "host/record_fields.h"

#include <algorithm>
#include <iterator>
#include <mutex>
#include <set>
#include <utility>

namespace proxycore::admin {

namespace {

namespace fields = host::fields;

std::string lower(std::string text) {
  for (char& c : text) c = base::lower(c);
  return text;
}

std::vector<std::string> targets_of(const Record& record) {
  const std::string ip = fields::text(record, "ip");
  const bool ipv6 = ip.find(':') != std::string::npos && !ip.starts_with('[');
  std::vector<std::string> targets = {(ipv6 ? "[" + ip + "]" : ip) + ":" +
                                      fields::text(record, "targetPort")};
  if (auto further = fields::texts(record, "targets")) {
    std::move(further->begin(), further->end(), std::back_inserter(targets));
  }
  return targets;
}

// Whether it answers for more than what its key says, letter by letter.
bool is_pattern(std::string_view name) {
  for (const char c : name) {
    if (c == '*' || c != base::lower(c)) return true;
  }
  return false;
}

}  // namespace

HostIndex::Page HostIndex::page(std::string_view after, std::size_t limit, std::string_view search,
                                const Wanted& wanted) const {
  const std::string needle = lower(std::string(search));
  Page page;
  const auto take = [&](const auto& entry) {
    if (page.entries.size() < limit) {
      page.entries.push_back(entry);
    } else {
      page.more = true;
    }
  };
  const std::shared_lock lock(mutex_);
  if (needle.empty() && !wanted) {
    page.total = hosts_.size();
    for (auto at = hosts_.upper_bound(after); at != hosts_.end() && !page.more; ++at) {
      take(at->second);
    }
    return page;
  }
  for (const auto& [name, entry] : hosts_) {
    if (!needle.empty() && entry->hay.find(needle) == std::string::npos) continue;
    if (wanted && !wanted(*entry)) continue;
    ++page.total;
    if (name > after) take(entry);
  }
  return page;
}

std::size_t HostIndex::size() const {
  const std::shared_lock lock(mutex_);
  return hosts_.size();
}

HostIndex::Entries HostIndex::all(const Wanted& wanted) const {
  const std::shared_lock lock(mutex_);
  Entries entries;
  entries.reserve(hosts_.size());
  for (const auto& [name, entry] : hosts_) {
    if (!wanted || wanted(*entry)) entries.push_back(entry);
  }
  return entries;
}

std::shared_ptr<const HostIndex::Entry> HostIndex::match(std::string_view name) {
  const std::unique_lock lock(mutex_);
  if (const auto exact = hosts_.find(name); exact != hosts_.end()) return exact->second;
  if (std::exchange(patterns_changed_, false)) {
    patterns_ = {};
    for (const auto& [key, entry] : hosts_) {
      if (!is_pattern(key)) continue;
      // Two spellings of one name: the first counts, as everywhere.
      const auto canonical = HostName::canonical_pattern(key);
      if (canonical) (void)patterns_.insert(*canonical, entry);
    }
  }
  const auto* found = patterns_.match(name);
  return found != nullptr ? *found : nullptr;
}

std::shared_ptr<const HostIndex::Entry> HostIndex::find(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  const auto at = hosts_.find(name);
  return at != hosts_.end() ? at->second : nullptr;
}

void HostIndex::apply(std::string_view name, const Record& record) {
  // A ghost of an old rename, with a field or two, is no host.
  const bool is_host =
      !record.empty() && !host::is_cache_row(record) && fields::find(record, "ip") != nullptr;
  std::shared_ptr<const Entry> next;
  if (is_host) {
    auto targets = targets_of(record);
    std::string hay(name);
    for (const std::string& target : targets) hay.append("\n").append(target);
    next = std::make_shared<const Entry>(
        Entry{.name = std::string(name),
              .json = host_json(record),
              .hay = lower(std::move(hay)),
              .targets = std::move(targets),
              .is_wildcard = fields::boolean(record, "is_wildcard", false) ||
                             fields::text(record, "challengeType").starts_with("DNS-01")});
  }
  const std::unique_lock lock(mutex_);
  patterns_changed_ = patterns_changed_ || is_pattern(name);
  if (next) {
    hosts_.insert_or_assign(std::string(name), std::move(next));
  } else if (const auto at = hosts_.find(name); at != hosts_.end()) {
    hosts_.erase(at);
  }
}

std::shared_ptr<const HostIndex::Certificate> HostIndex::certificate(std::string_view name) const {
  const std::shared_lock lock(mutex_);
  auto at = certificates_.find(name);
  if (at == certificates_.end()) at = certificates_.find(certs::parent_wildcard(name));
  return at != certificates_.end() ? at->second : nullptr;
}

HostIndex::Wanted HostIndex::with_failing_certificate() const {
  std::set<std::string, std::less<>> failing;
  {
    const std::shared_lock lock(mutex_);
    for (const auto& [name, certificate] : certificates_) {
      if (certificate->failing) failing.insert(name);
    }
  }
  return [failing = std::move(failing)](const Entry& entry) {
    return failing.contains(entry.name) || failing.contains(certs::parent_wildcard(entry.name));
  };
}

void HostIndex::apply_story(std::string_view name, const Record& story) {
  std::shared_ptr<const Certificate> next;
  if (auto told = certs::story_from(name, story); !story.empty() && told) {
    told->attempts.clear();
    next = std::make_shared<const Certificate>(
        Certificate{.json = json_of(*told), .failing = told->state == CertificateState::failing});
  }
  const std::unique_lock lock(mutex_);
  if (next) {
    certificates_.insert_or_assign(std::string(name), std::move(next));
  } else if (const auto at = certificates_.find(name); at != certificates_.end()) {
    certificates_.erase(at);
  }
}

}  // namespace proxycore::admin
