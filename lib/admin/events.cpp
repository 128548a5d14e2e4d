#include "admin/events.h"

#include "admin/changes.h"
#include "admin/host_fields.h"
#include "admin/host_index.h"
#include "admin/replies.h"
#include "auth/accounts.h"
#include "base/json.h"
#include "base/log.h"
#include "certs/story.h"
#include "host/host_record.h"
#include "host/keys.h"

#include <algorithm>
#include <array>
#include <utility>

namespace proxycore::admin {

namespace {

namespace keys = host::keys;

constexpr Millis per_look{5'000};
constexpr Millis again_in{1'000};  // where the store did not answer
constexpr std::size_t max_changed = 10'000;

constexpr std::string_view greeting = "retry: 3000\n\n";

// Records that say who may do what; who listens is looked at again when one changes.
constexpr std::array rights = {keys::user_prefix, keys::auth_token_prefix, keys::permission_prefix,
                               keys::api_token_prefix};

bool says_rights(std::string_view key) {
  for (const std::string_view prefix : rights) {
    if (key.starts_with(prefix)) return true;
  }
  return false;
}

std::string data_of_host(std::string_view /*name*/, const Record& record) {
  return host_json(record);
}

std::string data_of_story(std::string_view name, const Record& record) {
  const auto story = certs::story_from(name, record);
  return story ? json_of(*story) : "{}";
}

std::string data_of_record(std::string_view prefix, const Record& record) {
  std::string text;
  base::json::Writer out(text);
  out.begin_object();
  for (const auto& [name, value] : without_secrets(prefix, record)) out.field(name, value);
  out.end_object();
  return text;
}

}  // namespace

struct Events::Model {
  std::string_view name;
  std::string_view prefix;
  bool of_hosts;  // seen by who may see the host of that name; else by administrators
  std::string (*data)(std::string_view name, const Record& record);
};

const Events::Model Events::models[] = {
    {"Host", keys::host_prefix, true, data_of_host},
    {"Certificate", keys::story_prefix, true, data_of_story},
    {"User", keys::user_prefix, false,
     [](std::string_view, const Record& record) {
       return data_of_record(keys::user_prefix, record);
     }},
    {"Permission", keys::permission_prefix, false,
     [](std::string_view, const Record& record) {
       return data_of_record(keys::permission_prefix, record);
     }},
    {"ApiToken", keys::api_token_prefix, false,
     [](std::string_view, const Record& record) {
       return data_of_record(keys::api_token_prefix, record);
     }},
    {"DnsProvider", keys::dns_provider_prefix, false,
     [](std::string_view, const Record& record) {
       return data_of_record(keys::dns_provider_prefix, record);
     }},
    {"Domain", keys::domain_prefix, false,
     [](std::string_view, const Record& record) {
       return data_of_record(keys::domain_prefix, record);
     }},
};

Result<void> Events::start(const Deadline& by) {
  const auto changed = [this](std::string_view key) {
    const std::lock_guard lock(mutex_);
    rights_changed_ = rights_changed_ || says_rights(key);
    if (key.starts_with(keys::auth_token_prefix)) {
      // Nobody is told of sessions.
    } else if (changed_.size() < max_changed) {
      changed_.emplace(key);
    } else {
      changed_.clear();
      for (const Model& model : models) changed_.emplace(model.prefix);
    }
    wake_.notify_all();
  };
  // Watched first, so that nothing is missed in between.
  for (const Model& model : models) {
    PX_TRY(auto watch, store_.watch(model.prefix, changed));
    watches_.push_back(std::move(watch));
  }
  PX_TRY(auto watch, store_.watch(keys::auth_token_prefix, changed));
  watches_.push_back(std::move(watch));
  for (const Model& model : models) PX_CHECK(look_at_all(model, by));
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  return {};
}

void Events::stop() {
  std::vector<Reader> coming;
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
    coming.swap(coming_);
  }
  watches_.clear();
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  readers_.clear();
}

Result<void> Events::check_room(std::string_view user) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return Error{Errc::cancelled, "the manager is stopping"};
  const auto theirs = readers_of_.find(user);
  const bool has_room = theirs == readers_of_.end() || theirs->second < max_of_user;
  if (has_room && readers_count_ < max_readers) return {};
  return Error{Errc::busy, "so many listen already"};
}

void Events::add(std::string user, Begin begin, Who who) {
  const std::lock_guard lock(mutex_);
  if (stopped_) return;
  ++readers_count_;
  ++readers_of_[user];
  coming_.push_back({.user = std::move(user), .begin = std::move(begin), .who = std::move(who)});
  wake_.notify_all();
}

void Events::run(const std::stop_token& stop) {
  auto beat = Deadline::Clock::now() + heartbeat;
  auto retry = Deadline::Clock::time_point::max();
  std::set<std::string, std::less<>> failed;
  while (!stop.stop_requested()) {
    std::set<std::string, std::less<>> changed;
    std::vector<Reader> coming;
    bool look = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, stop, std::min(beat, retry),
                       [&] { return !changed_.empty() || !coming_.empty() || rights_changed_; });
      if (stop.stop_requested()) return;
      changed.swap(changed_);
      look = std::exchange(rights_changed_, false) || !coming_.empty();
      coming.swap(coming_);
    }
    for (Reader& reader : coming) {
      reader.stream = reader.begin();
      readers_.push_back(std::move(reader));
    }
    const auto now = Deadline::Clock::now();
    if (now >= beat) {
      beat = now + heartbeat;
      look = true;
      send(":\n\n", [](const auth::Caller&) { return true; });
    }
    if (look) look_at_readers();
    if (now >= retry) changed.merge(failed);
    for (const std::string& key : changed) {
      const auto looked = look_at(key, Deadline::in(per_look, stop));
      if (looked) {
        failed.erase(key);
        continue;
      }
      static base::log::Throttle throttle;
      base::log::write(throttle, LogLevel::warning, "admin.events",
                       {{"why", looked.error().message()}});
      failed.insert(key);
    }
    retry = failed.empty() ? Deadline::Clock::time_point::max() : now + again_in;
  }
}

Result<void> Events::look_at(std::string_view key, const Deadline& by) {
  for (const Model& model : models) {
    if (!key.starts_with(model.prefix)) continue;
    if (key.size() == model.prefix.size()) return look_at_all(model, by);
    auto record = store_.get(key, by);
    if (!record && record.error().code != Errc::not_found) return record.error();
    note(model, key, record ? *record : Record{});
    return {};
  }
  return {};
}

Result<void> Events::look_at_all(const Model& model, const Deadline& by) {
  std::set<std::string, std::less<>> gone;
  for (auto at = tags_.lower_bound(model.prefix);
       at != tags_.end() && at->first.starts_with(model.prefix); ++at) {
    gone.insert(at->first);
  }
  PX_CHECK(store_.scan(
      model.prefix,
      [&](std::string_view key, Record&& record) {
        if (const auto at = gone.find(key); at != gone.end()) gone.erase(at);
        note(model, key, record);
      },
      by));
  for (const std::string& key : gone) note(model, key, {});
  return {};
}

void Events::note(const Model& model, std::string_view key, const Record& record) {
  const std::string_view name = key.substr(model.prefix.size());
  const bool is_host = model.prefix == keys::host_prefix;
  if (is_host) hosts_.apply(name, record);
  if (model.prefix == keys::story_prefix) hosts_.apply_story(name, record);
  const bool is_there = !record.empty() && !(is_host && host::is_cache_row(record));
  const auto at = tags_.find(key);
  if (!is_there) {
    if (at == tags_.end()) return;
    tags_.erase(at);
    return tell(model, name, "remove", {});
  }
  std::string tag = tag_of(record);
  if (at == tags_.end()) {
    tags_.emplace(key, std::move(tag));
    return tell(model, name, "create", record);
  }
  if (at->second == tag) return;
  at->second = std::move(tag);
  tell(model, name, "update", record);
}

void Events::tell(const Model& model, std::string_view name, std::string_view event,
                  const Record& record) {
  if (readers_.empty()) return;
  std::string text = "data: ";
  base::json::Writer out(text);
  std::string topic("model:");
  topic.append(model.name).append(":").append(event).append(":").append(name);
  out.begin_object().field("topic", topic);
  out.key("data").raw(record.empty() ? "null" : model.data(name, record)).end_object();
  // What others wrote as JSON may have lines between its tokens; here one would end the event.
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == '\n' || c == '\r'; }, ' ');
  text.append("\n\n");
  send(text, [&](const auth::Caller& caller) {
    if (!model.of_hosts) return role_everywhere(caller) == auth::Role::admin;
    return role_for(caller, name) >= auth::Role::viewer;
  });
}

void Events::look_at_readers() {
  for (auto at = readers_.begin(); at != readers_.end();) {
    at->caller = at->who();
    if (at->caller) {
      ++at;
      continue;
    }
    at = send_away(at);
  }
}

std::list<Events::Reader>::iterator Events::send_away(std::list<Reader>::iterator reader) {
  {
    const std::lock_guard lock(mutex_);
    --readers_count_;
    const auto theirs = readers_of_.find(reader->user);
    if (--theirs->second == 0) readers_of_.erase(theirs);
  }
  return readers_.erase(reader);
}

void Events::send(std::string_view text, const std::function<bool(const auth::Caller&)>& may_see) {
  for (auto at = readers_.begin(); at != readers_.end();) {
    if (!at->caller || !may_see(*at->caller) || at->stream->write(std::string(text))) {
      ++at;
      continue;
    }
    at = send_away(at);
  }
}

Result<Reply> listen_to_events(Context& admin, const Call& call) {
  PX_CHECK(admin.events.check_room(call.caller.user));
  const auto who = [&accounts = admin.accounts, caller = call.caller,
                    credential = std::string(call.credential)]() -> std::optional<auth::Caller> {
    auto now = accounts.caller_of(credential, caller.how, Deadline::in(per_look));
    const bool may = now && !now->password_expired && role_anywhere(*now) >= auth::Role::viewer;
    if (now && !may) return std::nullopt;
    if (now) return *std::move(now);
    // Nobody is sent away because the store does not answer.
    return now.error().code == Errc::denied ? std::nullopt : std::optional(caller);
  };
  return Reply{.body = std::string(greeting),
               .fields = {{"Content-Type", "text/event-stream"}},
               .stream = [&events = admin.events, user = call.caller.user,
                          who](Events::Begin begin) { events.add(user, std::move(begin), who); }};
}

}  // namespace proxycore::admin
