#include "admin/host_routes.h"

#include "admin/changes.h"
#include "admin/host_fields.h"
#include "admin/host_index.h"
#include "admin/replies.h"
#include "admin/target_policy.h"
#include "base/json.h"
#include "base/log.h"
#include "base/text.h"
#include "certs/plan.h"
#include "client/url.h"
#include "host/host_record.h"
#include "host/keys.h"
#include "host/record_fields.h"
#include <proxycore/host.h>

#include <algorithm>
#include <cstddef>
#include <set>
#include <span>
#include <utility>

namespace proxycore::admin {

namespace {

namespace fields = host::fields;
namespace json = base::json;
namespace keys = host::keys;
namespace log = base::log;

constexpr std::string_view model = "Host";
constexpr Seconds wish_life{24 * 3600};
constexpr Millis per_question{2'000};  // to the proxyd
constexpr int most_attempts = 10;

struct Found {
  std::string key;
  Record record;
};

std::string_view name_of(const Found& found) {
  return std::string_view(found.key).substr(keys::host_prefix.size());
}

// A host of the store, by its name or by the very spelling that older software saved it under.
Result<Found> find_host(Context& admin, std::string_view name, const Deadline& by) {
  std::vector<std::string> candidates;
  if (const auto canonical = HostName::canonical_pattern(name)) {
    candidates.push_back(keys::host(*canonical));
  }
  if (candidates.empty() || candidates.front() != keys::host(name)) {
    candidates.push_back(keys::host(name));
  }
  for (std::string& key : candidates) {
    auto record = admin.store.get(key, by);
    if (record && host::is_cache_row(*record)) continue;
    if (record) return Found{std::move(key), *std::move(record)};
    if (record.error().code != Errc::not_found) return record.error();
  }
  return does_not_exist(model, name);
}

// {"message":...,<fields of the record>}
Reply said_of(std::string_view message, const Record& record, std::string_view requested = {}) {
  std::string text;
  json::Writer out(text);
  out.begin_object().field("message", message);
  if (!requested.empty()) out.field("__requestedHost", requested);
  text.append(",").append(host_members(record)).append("}");
  return ok(std::move(text));
}

Reply said(std::string_view message) {
  std::string text;
  json::Writer out(text);
  out.begin_object().field("message", message).end_object();
  return ok(std::move(text));
}

// Whether the caller has that role for the host that a path names, by what the name means: there
// are other full stops than '.', which make two labels of what looks like one.
Result<void> allow(const Call& call, auth::Role role) {
  const std::string& asked = call.path[0];
  return call.allow(role, HostName::canonical_pattern(asked).value_or(asked));
}

bool sees(const Call& call, std::string_view host) {
  return auth::role_for(call.caller, host) >= auth::Role::viewer;
}

std::string quoted(std::string_view name, std::string_view what) {
  return std::string("\"").append(name).append("\" ").append(what);
}

// What the caller may see, and has asked for.
HostIndex::Wanted seen_by(const Call& call) {
  if (auth::role_everywhere(call.caller) >= auth::Role::viewer) return {};
  return [&call](const HostIndex::Entry& entry) { return sees(call, entry.name); };
}

HostIndex::Wanted both(HostIndex::Wanted one, HostIndex::Wanted other) {
  if (!one) return other;
  return [one = std::move(one), other = std::move(other)](const HostIndex::Entry& entry) {
    return one(entry) && other(entry);
  };
}

// Those with a target that rests, as the proxyd says.
Result<HostIndex::Wanted> with_target_down(Context& admin) {
  PX_TRY(const auto page, admin.proxyd("/targets", Deadline::in(per_question)));
  PX_TRY(const auto parsed, json::parse(page.body));
  PX_TRY(const auto rows, parsed.array("targets"));
  std::set<std::string, std::less<>> down;
  for (const json::Value& row : rows) {
    const auto target = row.text("target");
    if (target && row.text("state").value_or("") == "resting") down.emplace(*target);
  }
  return HostIndex::Wanted([down = std::move(down)](const HostIndex::Entry& entry) {
    return std::any_of(entry.targets.begin(), entry.targets.end(),
                       [&](const std::string& target) { return down.contains(target); });
  });
}

Reply names_of(const HostIndex::Entries& entries) {
  std::string text;
  json::Writer out(text);
  out.begin_object().key("results").begin_array();
  for (const auto& entry : entries) out.value(entry->name);
  out.end_array().end_object();
  return ok(std::move(text));
}

// A page for people has beside each host what is known of its certificate.
std::string with_certificate(const HostIndex& hosts, const HostIndex::Entry& entry) {
  std::string text = entry.json;
  if (const auto certificate = hosts.certificate(entry.name)) {
    text.pop_back();
    text.append(",\"certificate\":").append(certificate->json).append("}");
  }
  return text;
}

// Forgets what wildcard hits have left of `parent`; that it failed undoes nothing.
Result<std::size_t> forget_hits(Store& store, std::string_view parent, const Deadline& by) {
  std::vector<std::string> names;
  PX_CHECK(store.scan(
      keys::cached_prefix,
      [&](std::string_view key, Record&& record) {
        if (parent.empty() || fields::text(record, "parent") == parent) {
          names.emplace_back(key.substr(keys::cached_prefix.size()));
        }
      },
      by));
  std::size_t count = 0;
  for (const std::string& name : names) {
    PX_TRY(const bool was_there, store.erase_if(keys::host(name), host::is_cache_row, by));
    count += was_there ? 1 : 0;
    PX_CHECK(store.erase(keys::cached(name), by));
  }
  return count;
}

void forget_hits_of(Context& admin, std::string_view host, const Deadline& by) {
  if (host.find('*') == std::string_view::npos) return;
  if (const auto forgotten = forget_hits(admin.store, host, by); !forgotten) {
    log::warning("admin.cached",
                 {{"parent", std::string(host)}, {"why", forgotten.error().message()}});
  }
}

bool has_zone(Context& admin, std::string_view name, const Deadline& by) {
  for (std::string_view zone = name; !zone.empty();) {
    if (admin.store.get(keys::domain(zone), by)) return true;
    const std::size_t dot = zone.find('.');
    zone = dot == std::string_view::npos ? std::string_view() : zone.substr(dot + 1);
  }
  return false;
}

// What a body that names a way to get a certificate asks for besides; as clients of old know it.
Result<void> settle_challenge(Context& admin, Record& next, const Deadline& by) {
  const std::string type = fields::text(next, "challengeType");
  const std::string name = fields::text(next, "host");
  if (type == "DNS-01-wildcard" || type == "DNS-01") {
    if (!has_zone(admin, name.starts_with("*.") ? name.substr(2) : name, by)) {
      return fields::field_error("challengeType", "No matching DNS provider registered");
    }
    if (type == "DNS-01-wildcard") next.insert_or_assign("is_wildcard", fields::spelled(true));
  }
  if (type == "wildcardChild") {
    const auto parent = admin.hosts.find(certs::parent_wildcard(name));
    if (!parent || !parent->is_wildcard) {
      return fields::field_error("challengeType", "No parent wild card for " + name);
    }
    next.insert_or_assign("wildcard_parent", parent->name);
  }
  return {};
}

// The record that `edits` make of `before`, with everything checked: the caller's rights before
// what would tell them of others' domains.
Result<Record> edited(Context& admin, const Call& call, const Record& before, const Edits& edits) {
  Record next = before;
  apply(edits, next);
  PX_TRY(Host host, host::host_from(next));
  PX_CHECK(call.allow(auth::Role::manager, host.host));
  const bool says_how = std::any_of(edits.begin(), edits.end(), [](const auto& edit) {
    return edit.first == "challengeType" || edit.first == "host";
  });
  if (says_how) {
    next.insert_or_assign("host", host.host);
    PX_CHECK(settle_challenge(admin, next, call.by));
    PX_TRY(host, host::host_from(next));
  }
  PX_CHECK(check_targets(admin.targets, host, call.by));
  host.updated_by = call.caller.user;
  if (before.empty()) host.created_by = call.caller.user;
  host.is_cache = false;
  return host::record_after(before, std::move(host), admin.now_ms());
}

// false: somebody else has changed it meanwhile.
Result<bool> replaced(Context& admin, const Found& found, const Record& after, const Deadline& by) {
  bool changed = false;
  const auto change = [&](const Record& before) -> Result<Record> {
    changed = before != found.record;
    if (changed) return Error{Errc::conflict, "changed meanwhile"};
    return after;
  };
  auto done = admin.store.update(found.key, change, Life::for_ever, by);
  if (!done && !changed) return std::move(done).error();
  return !changed;
}

// The same for another name. Certificates stay where they are: they are of names.
Result<bool> moved(Context& admin, const Found& found, const std::string& key, const Record& after,
                   const Deadline& by) {
  const auto change = [&](const Record& before) -> Result<Record> {
    if (before.empty() || host::is_cache_row(before)) return after;
    return exists_already(model, after.at("host"));
  };
  PX_CHECK(admin.store.update(key, change, Life::for_ever, by));
  const auto is_the_same = [&](const Record& record) { return record == found.record; };
  PX_TRY(const bool done, admin.store.erase_if(found.key, is_the_same, by));
  const auto is_ours = [&after](const Record& record) { return record == after; };
  if (!done) PX_CHECK(admin.store.erase_if(key, is_ours, by));
  return done;
}

// What the proxyd said, to who may not see every host: of those that they may not see nothing but
// that one answers.
std::string explanation_for(const Call& call, const json::Value& said) {
  const auto is_seen = [&call](const json::Value& one) {
    const auto pattern = one.text("pattern");
    return pattern && sees(call, *pattern);
  };
  const auto list = [&said](std::string_view name) {
    return said.array(name).value_or(std::span<const json::Value>());
  };
  std::string text;
  json::Writer out(text);
  out.begin_object().field("host", said.text("host").value_or(""));
  out.field("found", said.boolean("found").value_or(false));
  if (is_seen(said)) {
    out.field("pattern", *said.text("pattern")).key("targets").begin_array();
    for (const json::Value& target : list("targets")) out.value(target.text().value_or(""));
    out.end_array();
  }
  out.key("candidates").begin_array();
  for (const json::Value& one : list("candidates")) {
    if (!is_seen(one)) continue;
    out.begin_object().field("pattern", *one.text("pattern"));
    out.field("matches", one.boolean("matches").value_or(false));
    out.field("wins", one.boolean("wins").value_or(false));
    out.field("reason", one.text("reason").value_or("")).end_object();
  }
  out.end_array().end_object();
  return text;
}

// A host in the tree of names: its labels from the right.
struct Branch {
  std::vector<std::string_view> labels;
  std::shared_ptr<const HostIndex::Entry> entry;
};

std::vector<std::string_view> labels_of(std::string_view name) {
  std::vector<std::string_view> labels;
  while (true) {
    const std::size_t dot = name.rfind('.');
    if (dot == std::string_view::npos) break;
    labels.push_back(name.substr(dot + 1));
    name = name.substr(0, dot);
  }
  labels.push_back(name);
  return labels;
}

// {"com":{"example":{"#record":{...},"*":{...}}}}; `branches` are sorted and share `depth` labels.
void write_tree(json::Writer& out, std::span<const Branch> branches, std::size_t depth) {
  out.begin_object();
  if (!branches.empty() && branches.front().labels.size() == depth) {
    out.key("#record").raw(branches.front().entry->json);
    branches = branches.subspan(1);
  }
  while (!branches.empty()) {
    const std::string_view label = branches.front().labels[depth];
    const auto end = std::find_if(branches.begin(), branches.end(), [&](const Branch& branch) {
      return branch.labels[depth] != label;
    });
    const auto same = branches.first(static_cast<std::size_t>(end - branches.begin()));
    write_tree(out.key(label), same, depth + 1);
    branches = branches.subspan(same.size());
  }
  out.end_object();
}

}  // namespace

Result<Reply> list_hosts(Context& admin, const Call& call) {
  HostIndex::Wanted wanted = seen_by(call);
  const std::string* limit = call.query.find("limit");
  if (limit == nullptr) {
    const auto entries = admin.hosts.all(wanted);
    if (call.query.text("detail").empty()) return names_of(entries);
    std::string text = R"({"results":[)";
    for (const auto& entry : entries) {
      if (entry != entries.front()) text.append(",");
      text.append(entry->json);
    }
    return ok(text.append("]}"));
  }

  const auto number = base::parse_decimal(*limit, HostIndex::max_page);
  if (!number || *number == 0) {
    return fields::field_error("limit", "expected 1 to " + std::to_string(HostIndex::max_page));
  }
  const auto after = base::parse_base64(call.query.text("cursor"));
  if (!after) return fields::field_error("cursor", "is none that was given");
  const std::string_view show = call.query.text("show");
  if (show == "down") {
    PX_TRY(auto down, with_target_down(admin));
    wanted = both(std::move(wanted), std::move(down));
  } else if (show == "certificate") {
    wanted = both(std::move(wanted), admin.hosts.with_failing_certificate());
  } else if (!show.empty()) {
    return fields::field_error("show", "expected 'down' or 'certificate'");
  }
  const auto page = admin.hosts.page(*after, *number, call.query.text("q"), wanted);
  std::string text;
  json::Writer out(text);
  out.begin_object().key("results").begin_array();
  for (const auto& entry : page.entries) out.raw(with_certificate(admin.hosts, *entry));
  out.end_array().field("total", page.total).key("next");
  if (page.more) {
    out.value(base::base64url(page.entries.back()->name));
  } else {
    out.null();
  }
  out.end_object();
  return ok(std::move(text));
}

Result<Reply> add_host(Context& admin, const Call& call) {
  PX_TRY(const auto* body, call.content());
  const auto read = read_host_fields(*body, Whole::yes);
  if (!read.wrong.empty()) return refuse(wrong_fields(read.wrong));
  PX_TRY(const Record after, edited(admin, call, {}, read.edits));
  const std::string& name = after.at("host");
  const std::string key = keys::host(name);
  const auto change = [&](const Record& before) -> Result<Record> {
    // A wildcard hit that was written back gives way.
    if (!before.empty() && !host::is_cache_row(before)) return exists_already(model, name);
    return after;
  };
  PX_CHECK(admin.store.update(key, change, Life::for_ever, call.by));
  (void)admin.store.erase(keys::cached(name), call.by);
  forget_hits_of(admin, name, call.by);
  admin.changes.record(call.caller, "host.create", key, {}, after, call.by);
  Reply reply = said_of(quoted(name, "added."), after);
  reply.etag = tag_of(after);
  return reply;
}

Result<Reply> show_host(Context& admin, const Call& call) {
  PX_CHECK(allow(call, auth::Role::viewer));
  PX_TRY(const Found found, find_host(admin, call.path[0], call.by));
  std::string text;
  json::Writer out(text);
  out.begin_object().field("item", call.path[0]).key("results").raw(host_json(found.record));
  out.end_object();
  return Reply{.body = std::move(text), .etag = tag_of(found.record)};
}

Result<Reply> change_host(Context& admin, const Call& call) {
  const std::string& asked = call.path[0];
  PX_CHECK(allow(call, auth::Role::manager));
  PX_TRY(const auto* body, call.content());
  const auto read = read_host_fields(*body, Whole::no);
  for (int attempt = 0; attempt < most_attempts; ++attempt) {
    PX_TRY(const Found found, find_host(admin, asked, call.by));
    if (!read.wrong.empty()) return refuse(wrong_fields(read.wrong));
    if (!call.matches(tag_of(found.record))) return refuse(changed_meanwhile());
    PX_TRY(const Record after, edited(admin, call, found.record, read.edits));
    const std::string& name = after.at("host");
    const std::string key = keys::host(name);
    const bool moves = key != found.key;
    PX_TRY(const bool done, moves ? moved(admin, found, key, after, call.by)
                                  : replaced(admin, found, after, call.by));
    // Somebody else was faster: what they wrote is looked at.
    if (!done) continue;

    forget_hits_of(admin, name, call.by);
    if (moves) {
      forget_hits_of(admin, name_of(found), call.by);
      admin.hosts.apply(name_of(found), {});
    }
    admin.changes.record(call.caller, moves ? "host.rename" : "host.update", key, found.record,
                         after, call.by);
    Reply reply = said_of(quoted(name, "updated."), after, asked);
    reply.etag = tag_of(after);
    return reply;
  }
  return Error{Errc::busy, "others keep changing host " + base::shown(asked)};
}

Result<Reply> remove_host(Context& admin, const Call& call) {
  const std::string& asked = call.path[0];
  PX_CHECK(allow(call, auth::Role::manager));
  PX_TRY(const Found found, find_host(admin, asked, call.by));
  if (!call.matches(tag_of(found.record))) return refuse(changed_meanwhile());
  bool changed = false;
  const auto is_the_same = [&](const Record& record) {
    changed = !call.matches(tag_of(record));
    return !changed && !host::is_cache_row(record);
  };
  PX_TRY(const bool removed, admin.store.erase_if(found.key, is_the_same, call.by));
  if (changed) return refuse(changed_meanwhile());
  if (!removed) return does_not_exist(model, asked);
  forget_hits_of(admin, name_of(found), call.by);
  admin.changes.record(call.caller, "host.delete", found.key, found.record, {}, call.by);
  return said_of(std::string(asked).append(" deleted"), found.record);
}

Result<Reply> renew_host(Context& admin, const Call& call) {
  const std::string& asked = call.path[0];
  PX_CHECK(allow(call, auth::Role::manager));
  PX_TRY(const Found found, find_host(admin, asked, call.by));
  const std::string name = fields::text(found.record, "host");
  const Record wish = {
      {"name", name}, {"since", std::to_string(admin.now_ms())}, {"at_once", "true"}};
  PX_CHECK(admin.store.put(keys::wish(name), wish, wish_life, call.by));
  admin.changes.record(call.caller, "host.renew", keys::wish(name), {}, wish, call.by);
  const bool is_wildcard = fields::boolean(found.record, "is_wildcard", false);
  return said(std::string(is_wildcard ? "Requesting wildcard cert for " : "Requesting cert for ")
                  .append(asked));
}

Result<Reply> explain_host(Context& admin, const Call& call) {
  PX_CHECK(allow(call, auth::Role::viewer));
  const auto page = admin.proxyd("/explain?host=" + client::percent_encoded(call.path[0]), call.by);
  if (!page) {
    return refuse(
        others_failed("ProxyUnreachable", "The proxy did not say: " + page.error().message()));
  }
  const auto parsed = json::parse(page->body);
  if (page->status != 200 || !parsed) {
    return refuse(others_failed(
        "ProxyUnreachable",
        "The proxy answered " + std::to_string(page->status) + ": " + base::shown(page->body)));
  }
  const bool sees_all = auth::role_everywhere(call.caller) >= auth::Role::viewer;
  std::string text;
  json::Writer out(text);
  out.begin_object().field("string", call.path[0]).key("results");
  out.raw(sees_all ? page->body : explanation_for(call, *parsed)).end_object();
  return ok(std::move(text));
}

Result<Reply> look_up_host(Context& admin, const Call& call) {
  std::string text;
  json::Writer out(text);
  out.begin_object().field("string", call.path[0]);
  std::string scratch;
  const auto found = admin.hosts.match(HostName::normalize(call.path[0], scratch));
  if (found && sees(call, found->name)) {
    out.key("results").raw(found->json);
  }
  out.end_object();
  return ok(std::move(text));
}

Result<Reply> show_host_tree(Context& admin, const Call& /*call*/) {
  std::vector<Branch> branches;
  for (auto& entry : admin.hosts.all({})) branches.push_back({labels_of(entry->name), entry});
  std::sort(branches.begin(), branches.end(),
            [](const Branch& a, const Branch& b) { return a.labels < b.labels; });
  std::string text = R"({"results":)";
  json::Writer out(text);
  write_tree(out, branches, 0);
  return ok(text.append("}"));
}

Result<Reply> show_wildcard_parent(Context& admin, const Call& call) {
  PX_CHECK(allow(call, auth::Role::viewer));
  std::string scratch;
  const std::string parent = certs::parent_wildcard(HostName::normalize(call.path[0], scratch));
  const auto found = admin.hosts.find(parent);
  const bool tells = found && found->is_wildcard && sees(call, found->name);
  return ok(std::string(R"({"results":)").append(tells ? found->json : "null").append("}"));
}

Result<Reply> clear_host_cache(Context& admin, const Call& call) {
  PX_TRY(const std::size_t count, forget_hits(admin.store, {}, call.by));
  admin.changes.record(call.caller, "host.cache", keys::cached_prefix, {}, {}, call.by);
  std::string text;
  json::Writer out(text);
  out.begin_object();
  out.field("message", "Cleared " + std::to_string(count) + " cached hosts.");
  out.field("count", count).end_object();
  return ok(std::move(text));
}

}  // namespace proxycore::admin
