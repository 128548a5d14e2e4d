#include "certs/story.h"

#include "base/json.h"
#include "base/text.h"
#include "host/keys.h"
#include "host/record_fields.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace proxycore {

namespace {

constexpr std::array<std::string_view, 5> state_names{"waiting", "working", "valid", "failing",
                                                      "idle"};

}  // namespace

std::string_view name_of(CertificateState state) noexcept {
  return state_names[static_cast<std::size_t>(state)];
}

std::string json_of(const CertificateStory& story) {
  std::string text;
  base::json::Writer json(text);
  const auto time = [&](std::string_view name, std::int64_t ms) {
    if (ms != 0) json.field(name, base::iso_date(ms));
  };
  const auto words = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) json.field(name, value);
  };
  json.begin_object().field("name", story.name).field("state", name_of(story.state));
  json.key("identifiers").begin_array();
  for (const std::string& name : story.identifiers) json.value(name);
  json.end_array();
  words("host", story.host);
  time("next", story.next_ms);
  words("why", story.why);
  json.field("failures", story.failures);
  time("not_before", story.not_before * 1'000);
  time("not_after", story.not_after * 1'000);
  words("issuer", story.issuer);
  words("serial", story.serial);
  words("ca", story.ca);
  json.key("attempts").begin_array();
  for (const CertificateAttempt& attempt : story.attempts) {
    json.begin_object();
    time("at", attempt.at_ms);
    json.field("what", attempt.what).field("ok", attempt.ok).field("step", attempt.step);
    words("words", attempt.words);
    json.end_object();
  }
  json.end_array().end_object();
  return text;
}

Result<std::vector<CertificateStory>> certificate_stories(Store& store, const Deadline& by) {
  std::vector<CertificateStory> stories;
  PX_CHECK(certs::for_each_story(
      store, [&](certs::Story&& story) { stories.push_back(std::move(story)); }, by));
  return stories;
}

namespace certs {

namespace {

namespace fields = host::fields;

constexpr std::size_t max_words = 2'000;

std::string spelled(const std::vector<CertificateAttempt>& attempts) {
  std::string text;
  base::json::Writer json(text);
  json.begin_array();
  for (const CertificateAttempt& attempt : attempts) {
    json.begin_object()
        .field("at", attempt.at_ms)
        .field("what", attempt.what)
        .field("ok", attempt.ok)
        .field("step", attempt.step)
        .field("words", attempt.words)
        .end_object();
  }
  json.end_array();
  return text;
}

Result<std::vector<CertificateAttempt>> attempts_in(std::string_view text) {
  std::vector<CertificateAttempt> attempts;
  if (text.empty()) return attempts;
  PX_TRY(const base::json::Value list, base::json::parse(text));
  PX_TRY(const auto entries, list.array());
  for (const base::json::Value& entry :
       entries.first(std::min(entries.size(), CertificateStory::max_attempts))) {
    CertificateAttempt attempt;
    PX_TRY(attempt.at_ms, entry.integer("at"));
    PX_TRY(attempt.what, entry.text("what"));
    PX_TRY(attempt.ok, entry.boolean("ok"));
    PX_TRY(attempt.step, entry.text("step"));
    PX_TRY(attempt.words, entry.text("words"));
    attempts.push_back(std::move(attempt));
  }
  return attempts;
}

}  // namespace

Result<Story> story_from(std::string_view name, const Record& record) {
  Story story;
  story.name = name;
  PX_TRY(story.identifiers, fields::texts(record, "identifiers"));
  story.host = fields::text(record, "host");
  const std::string state = fields::text(record, "state");
  const auto known = std::find(state_names.begin(), state_names.end(), state);
  if (known == state_names.end()) {
    return fields::field_error("state", fmt::format("'{}' is no state", state));
  }
  story.state = static_cast<CertificateState>(std::distance(state_names.begin(), known));
  story.why = fields::text(record, "why");
  const auto whole = [&](std::string_view field) -> Result<std::int64_t> {
    PX_TRY(const auto number, fields::whole(record, field, 0, fields::max_time));
    return number.value_or(0);
  };
  PX_TRY(story.next_ms, whole("next_ms"));
  PX_TRY(const std::int64_t failures, whole("failures"));
  story.failures = static_cast<std::uint32_t>(std::min<std::int64_t>(failures, 1'000'000));
  PX_TRY(story.not_before, whole("not_before"));
  PX_TRY(story.not_after, whole("not_after"));
  story.issuer = fields::text(record, "issuer");
  story.serial = fields::text(record, "serial");
  story.ca = fields::text(record, "ca");
  auto attempts = attempts_in(fields::text(record, "attempts"));
  if (!attempts) return fields::field_error("attempts", attempts.error().detail);
  story.attempts = *std::move(attempts);
  story.wished = fields::boolean(record, "wished", false);
  story.order_url = fields::text(record, "order_url");
  story.order_ca = fields::text(record, "order_ca");
  story.order_key = fields::text(record, "order_key");
  PX_TRY(story.window_start_ms, whole("window_start_ms"));
  PX_TRY(story.window_end_ms, whole("window_end_ms"));
  PX_TRY(story.chosen_ms, whole("chosen_ms"));
  PX_TRY(story.ask_ms, whole("ask_ms"));
  PX_TRY(const std::int64_t fence, whole("fence"));
  story.fence = static_cast<std::uint64_t>(fence);
  return story;
}

Record record_of(const Story& story) {
  Record record;
  const auto set = [&](std::string_view field, std::string value) {
    record.emplace(field, std::move(value));
  };
  const auto set_text = [&](std::string_view field, const std::string& value) {
    if (!value.empty()) set(field, value);
  };
  const auto set_number = [&](std::string_view field, auto value) {
    if (value != 0) set(field, std::to_string(value));
  };
  set("name", story.name);
  set("identifiers", fields::spelled(story.identifiers));
  set_text("host", story.host);
  set("state", std::string(name_of(story.state)));
  set_number("next_ms", story.next_ms);
  set_text("why", story.why);
  set_number("failures", story.failures);
  set_number("not_before", story.not_before);
  set_number("not_after", story.not_after);
  set_text("issuer", story.issuer);
  set_text("serial", story.serial);
  set_text("ca", story.ca);
  set("attempts", spelled(story.attempts));
  if (story.wished) set("wished", fields::spelled(true));
  set_text("order_url", story.order_url);
  set_text("order_ca", story.order_ca);
  set_text("order_key", story.order_key);
  set_number("window_start_ms", story.window_start_ms);
  set_number("window_end_ms", story.window_end_ms);
  set_number("chosen_ms", story.chosen_ms);
  set_number("ask_ms", story.ask_ms);
  set_number("fence", story.fence);
  return record;
}

Result<Story> load_story(Store& store, std::string_view name, const Deadline& by) {
  PX_TRY(const Record record, store.get(host::keys::story(name), by));
  return story_from(name, record);
}

Result<void> save_story(Store& store, const Story& story, const Deadline& by) {
  const auto change = [&](const Record& before) -> Result<Record> {
    const auto fence = fields::whole(before, "fence", 0, fields::max_time);
    if (fence && static_cast<std::uint64_t>(fence->value_or(0)) > story.fence) {
      return Error{Errc::conflict,
                   fmt::format("{}: another runner has gone on with it meanwhile", story.name)};
    }
    return record_of(story);
  };
  return store.update(host::keys::story(story.name), change, Life::for_ever, by);
}

Result<void> for_each_story(Store& store, const std::function<void(Story&& story)>& each,
                            const Deadline& by) {
  return store.scan(
      host::keys::story_prefix,
      [&](std::string_view key, Record&& record) {
        auto story = story_from(key.substr(host::keys::story_prefix.size()), record);
        if (story) each(*std::move(story));
      },
      by);
}

void add_attempt(Story& story, CertificateAttempt attempt) {
  if (attempt.words.size() > max_words) {
    std::size_t end = max_words;
    // Not within a character.
    while (end > 0 && (static_cast<unsigned char>(attempt.words[end]) & 0xC0U) == 0x80U) --end;
    attempt.words.resize(end);
  }
  story.attempts.insert(story.attempts.begin(), std::move(attempt));
  if (story.attempts.size() > CertificateStory::max_attempts) {
    story.attempts.resize(CertificateStory::max_attempts);
  }
}

}  // namespace certs

}  // namespace proxycore
