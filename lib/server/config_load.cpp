#include "server/config_load.h"

#include "base/file.h"
#include "base/text.h"
#include "server/config_keys.h"
#include "server/tiers.h"
#include <proxycore/config.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <toml++/toml.h>

namespace proxycore {

namespace {

using server::error_at;
using server::Given;
using server::last_part;
using server::Place;
using server::unknown_at;

// Fields of a record that the store keeps; in a file they would mean nothing.
constexpr std::string_view kept_by_store[] = {
    "created_by",  "created_on",      "updated_by",      "updated_on",      "is_cache",
    "is_wildcard", "wildcard_parent", "wildcard_status", "wildcard_issued", "wildcard_expires"};

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return node.is_array_of_tables() ? "an array of tables" : "an array";
    case toml::node_type::floating_point:
      return "a number with a fraction";
    case toml::node_type::string:
      return "a text";
    case toml::node_type::integer:
      return "a number";
    case toml::node_type::boolean:
      return "true or false";
    default:
      return "a date or time";
  }
}

std::vector<std::string_view> names_of(const auto& keys) {
  std::vector<std::string_view> names;
  for (const auto& key : keys) names.push_back(key.rule.name);
  return names;
}

class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  Result<Config> read(const toml::table& root) {
    for (const auto& [name, node, place] : in_file_order(root)) {
      if (name == "host") {
        PX_CHECK(read_hosts(*node, place));
      } else if (name == "certificate") {
        PX_CHECK(read_certificates(*node, place));
      } else if (name == "issuer") {
        PX_CHECK(read_issuers(*node, place));
      } else if (const auto* key = key_named(name)) {
        PX_CHECK(read_key(*key, *node, place));
      } else {
        PX_CHECK(read_table(name, *node, place));
      }
    }
    PX_CHECK(check_listeners());
    PX_CHECK(check_lookup());
    const TlsConfig& tls = config_.tls;
    PX_CHECK(
        check_pair("tls.fallback_chain", tls.fallback_chain, "tls.fallback_key", tls.fallback_key));
    PX_CHECK(check_acme());
    return std::move(config_);
  }

 private:
  struct Entry {
    std::string_view name;
    const toml::node* node;
    Place place;  // of the name
  };

  // toml++ keeps tables sorted by name.
  std::vector<Entry> in_file_order(const toml::table& table) const {
    std::vector<Entry> entries;
    entries.reserve(table.size());
    for (const auto& [key, node] : table) {
      entries.push_back({key.str(), &node, {file_, key.source().begin.line}});
    }
    std::stable_sort(entries.begin(), entries.end(), [](const Entry& one, const Entry& other) {
      return one.place.line < other.place.line;
    });
    return entries;
  }

  // Whatever is nested deeper than an array means nothing to any key.
  Given given(const toml::node& node, bool into_arrays = true) const {
    const Place place{file_, node.source().begin.line};
    if (const auto value = node.as_boolean()) return {value->get(), place};
    if (const auto value = node.as_integer()) return {value->get(), place};
    if (const auto value = node.as_string()) return {value->get(), place};
    const toml::array* array = node.as_array();
    if (array == nullptr || !into_arrays) return {Given::Other{kind_of(node)}, place};
    std::vector<Given> parts;
    parts.reserve(array->size());
    for (const toml::node& part : *array) parts.push_back(given(part, false));
    return {std::move(parts), place};
  }

  Result<void> read_table(std::string_view table, const toml::node& node, const Place& place) {
    const auto known = names_of(server::config_keys());
    const auto tables = server::tables();
    if (std::none_of(tables.begin(), tables.end(),
                     [&](const auto& one) { return one.name == table; })) {
      std::vector<std::string_view> names;
      for (const auto& one : tables) {
        if (!one.name.empty()) names.push_back(one.name);
      }
      names.push_back("certificate");
      names.push_back("issuer");
      names.push_back("host");
      return unknown_at(place, table, node.is_table() ? names : known, names);
    }
    if (!node.is_table()) {
      return error_at(place, table,
                      fmt::format("expected a table, [{}], found {}", table, kind_of(node)));
    }
    for (const auto& entry : in_file_order(*node.as_table())) {
      const std::string name = fmt::format("{}.{}", table, entry.name);
      const auto* key = key_named(name);
      if (key == nullptr) {
        std::vector<std::string_view> siblings;
        for (const std::string_view one : known) {
          if (one.starts_with(fmt::format("{}.", table))) siblings.push_back(last_part(one));
        }
        return unknown_at(entry.place, name, known, siblings);
      }
      PX_CHECK(read_key(*key, *entry.node, entry.place));
    }
    return {};
  }

  static const server::Key<Config>* key_named(std::string_view name) {
    for (const auto& key : server::config_keys()) {
      if (key.rule.name == name) return &key;
    }
    return nullptr;
  }
  Result<void> read_key(const server::Key<Config>& key, const toml::node& node,
                        const Place& place) {
    PX_CHECK(key.read(key.rule, given(node), config_));
    lines_[key.rule.name] = place.line;
    return {};
  }

  // The tables of [[name]].
  static Result<const toml::array*> tables_of(std::string_view name, const toml::node& node,
                                              const Place& place) {
    const toml::array* tables = node.as_array();
    const bool empty = tables != nullptr && tables->empty();
    if (empty || node.is_array_of_tables()) return tables;
    return error_at(
        place, name,
        fmt::format("expected [[{0}]], one for each {0}, found {1}", name, kind_of(node)));
  }

  // The keys of one of them. Errors: invalid (also if a required one is missing).
  template <class Of>
  Result<void> read_fields(std::string_view name, std::span<const server::Key<Of>> keys,
                           const toml::table& table, const Place& place, Of& to) const {
    for (const auto& entry : in_file_order(table)) {
      const std::string full = fmt::format("{}.{}", name, entry.name);
      const auto key = std::find_if(keys.begin(), keys.end(),
                                    [&](const auto& one) { return one.rule.name == full; });
      if (key == keys.end()) return unknown_field(entry.place, full, names_of(keys));
      PX_CHECK(key->read(key->rule, given(*entry.node), to));
    }
    for (const auto& key : keys) {
      if (key.rule.required && !table.contains(last_part(key.rule.name))) {
        return error_at(place, key.rule.name, "missing");
      }
    }
    return {};
  }

  Result<void> read_certificates(const toml::node& node, const Place& place) {
    PX_TRY(const toml::array* tables, tables_of("certificate", node, place));
    for (const toml::node& one : *tables) {
      const Place at{file_, one.source().begin.line};
      Config::CertificateFiles files;
      files.origin = at.text();
      PX_CHECK(read_fields("certificate", server::certificate_keys(), *one.as_table(), at, files));
      config_.certificates.push_back(std::move(files));
    }
    return {};
  }

  Result<void> read_issuers(const toml::node& node, const Place& place) {
    PX_TRY(const toml::array* tables, tables_of("issuer", node, place));
    for (const toml::node& one : *tables) {
      const Place at{file_, one.source().begin.line};
      Config::Issuer issuer;
      issuer.origin = at.text();
      PX_CHECK(read_fields("issuer", server::issuer_keys(), *one.as_table(), at, issuer));
      if (issuer.eab_kid.empty() != issuer.eab_key_file.empty()) {
        return error_at(at, "issuer.eab_kid", "expected together with issuer.eab_key_file");
      }
      config_.issuers.push_back(std::move(issuer));
    }
    return {};
  }

  Result<void> read_hosts(const toml::node& node, const Place& place) {
    PX_TRY(const toml::array* hosts, tables_of("host", node, place));
    config_.hosts.reserve(hosts->size());
    std::unordered_map<std::string, std::uint32_t> seen;
    for (const toml::node& one : *hosts) {
      const Place at{file_, one.source().begin.line};
      PX_TRY(Host host, read_host(*one.as_table(), at));
      const auto [first, added] = seen.try_emplace(host.host, at.line);
      if (!added) {
        return Error{Errc::conflict,
                     fmt::format("{}: host.host: {} is declared at {} already", at.text(),
                                 base::shown(host.host), Place{file_, first->second}.text())};
      }
      config_.hosts.push_back({std::move(host), at.text()});
    }
    return {};
  }

  Result<Host> read_host(const toml::table& table, const Place& place) const {
    Host host;
    PX_CHECK(read_fields("host", server::host_keys(), table, place, host));
    const auto entries = in_file_order(table);
    const auto line_of = [&](std::string_view field) {
      const auto entry = std::find_if(entries.begin(), entries.end(),
                                      [&](const Entry& one) { return one.name == field; });
      return entry == entries.end() ? place : entry->place;
    };
    auto valid = host.validate();
    if (valid) return host;
    // "field 'ip': why"
    std::string_view why = valid.error().detail;
    constexpr std::string_view opening = "field '";
    constexpr std::string_view closing = "': ";
    const std::size_t end = why.find(closing);
    if (!why.starts_with(opening) || end == std::string_view::npos) {
      return error_at(place, "host", why);
    }
    const std::string_view field = why.substr(opening.size(), end - opening.size());
    return error_at(line_of(field), fmt::format("host.{}", field),
                    why.substr(end + closing.size()));
  }

  static Error unknown_field(const Place& place, std::string_view full,
                             const std::vector<std::string_view>& known) {
    const auto kept =
        std::find(std::begin(kept_by_store), std::end(kept_by_store), last_part(full));
    if (full.starts_with("host.") && kept != std::end(kept_by_store)) {
      return error_at(place, full, "belongs to records of the store, not to a file");
    }
    std::vector<std::string_view> fields(known.size());
    std::transform(known.begin(), known.end(), fields.begin(), last_part);
    return unknown_at(place, full, known, fields);
  }

  Result<void> check_lookup() const {
    const auto tiers = server::lookup_tiers(config_, config_.store.url);
    if (tiers) return {};
    const auto line = lines_.find("lookup");
    return error_at({file_, line != lines_.end() ? line->second : 1}, "lookup",
                    tiers.error().detail);
  }

  // Both or none.
  Result<void> check_pair(std::string_view one, std::string_view its, std::string_view other,
                          std::string_view others) const {
    if (its.empty() == others.empty()) return {};
    const std::string_view given = its.empty() ? other : one;
    return error_at({file_, lines_.at(given)}, given,
                    fmt::format("expected together with {}", its.empty() ? one : other));
  }

  Result<void> check_acme() const {
    const Config::Acme& acme = config_.acme;
    PX_CHECK(check_pair("acme.eab_kid", acme.eab_kid, "acme.eab_key_file", acme.eab_key_file));
    if (acme.enabled && acme.challenge.empty()) {
      return error_at({file_, lines_.at("acme.challenge")}, "acme.challenge",
                      "expected at least one of 'http-01' and 'dns-01'");
    }
    if (!acme.enabled || acme.agree_tos) return {};
    return error_at({file_, lines_.at("acme.enabled")}, "acme.enabled",
                    "expected together with acme.agree_tos = true, once you have read the CA's "
                    "terms of service");
  }

  // The kernel would let us listen twice on one address and share the connections out between them.
  Result<void> check_listeners() const {
    std::unordered_map<std::string, std::string_view> seen;
    const auto& listen = config_.listen;
    for (const auto& [key, texts] :
         {std::pair<std::string_view, const std::vector<std::string>&>{"listen.http", listen.http},
          {"listen.https", listen.https},
          {"listen.admin", listen.admin},
          {"admin.listen", config_.admin.listen},
          {"admin.https", config_.admin.https}}) {
      for (const std::string& text : texts) {
        PX_TRY(const ListenAddress address, ListenAddress::parse(text));
        if (!address.is_unix && address.port == 0) continue;
        const auto [first, added] = seen.try_emplace(address.text(), key);
        if (added) continue;
        return error_at({file_, lines_.at(key)}, key,
                        fmt::format("expected each address once, {} is in {} already",
                                    base::shown(text), first->second));
      }
    }
    return {};
  }

  std::string_view file_;
  Config config_;
  std::unordered_map<std::string_view, std::uint32_t> lines_;  // by key
};

// Every name that a dot joins to the one before is a table in a table, and taking tables down is
// recursive. A text full of dots, or a comment, may be refused too: nothing that we know is so
// long.
Result<void> check_depth(std::string_view text, std::string_view file) {
  std::size_t dots = 0;
  std::uint32_t line = 1;
  for (const char c : text) {
    if (c == '\n') ++line;
    if (c == '.') ++dots;
    if (c == '\n' || c == '=' || c == ',' || c == '[' || c == '{') dots = 0;
    if (dots > server::max_config_depth) {
      return Error{Errc::limit, fmt::format("{}: expected at most {} names joined by dots",
                                            Place{file, line}.text(), server::max_config_depth)};
    }
  }
  return {};
}

// The table that a line stands in, from its nearest header above; empty: none.
std::string_view table_at(std::string_view text, std::uint32_t line) {
  std::string_view table;
  for (std::uint32_t at = 1; at <= line && !text.empty(); ++at) {
    const std::size_t end = text.find('\n');
    std::string_view now = base::trim(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (!now.starts_with('[')) continue;
    now.remove_prefix(now.find_first_not_of('['));
    table = base::trim(now.substr(0, now.find(']')));
  }
  return table;
}

Error not_toml(const toml::parse_error& error, std::string_view text, std::string_view file) {
  const Place place{file, error.source().begin.line};
  std::string_view what = error.description();
  // "Error while parsing key-value pair: cannot redefine existing string 'http'"
  constexpr std::string_view opening = "Error while parsing ";
  if (what.starts_with(opening)) what.remove_prefix(opening.size());
  const std::size_t quote = what.find('\'');
  if (what.find("cannot redefine existing ") != std::string_view::npos && what.ends_with('\'') &&
      quote + 1 < what.size()) {
    const std::string_view name = what.substr(quote + 1, what.size() - quote - 2);
    const std::string_view table = what.starts_with("key-value") ? table_at(text, place.line) : "";
    return error_at(place, fmt::format("{}{}{}", table, table.empty() ? "" : ".", name),
                    "expected once, found again");
  }
  std::string printable(what);
  std::replace_if(
      printable.begin(), printable.end(), [](char c) { return (c >= 0 && c < 0x20) || c == 0x7F; },
      '?');
  return {Errc::invalid, fmt::format("{}: not TOML: {}", place.text(), printable)};
}

Result<toml::table> parse_toml(std::string_view text, std::string_view file) {
  try {
    return toml::parse(text);
  } catch (const toml::parse_error& error) {
    return not_toml(error, text, file);
  }
}

}  // namespace

Result<Config> parse_config(std::string_view text, std::string_view name) {
  if (text.size() > server::max_config_size) {
    return Error{Errc::limit,
                 fmt::format("{}: expected at most {} MiB", name, server::max_config_size >> 20U)};
  }
  PX_CHECK(check_depth(text, name));
  PX_TRY(const toml::table root, parse_toml(text, name));
  return Reader(name).read(root);
}

Result<Config> load_config(const std::string& path) {
  PX_TRY(const std::string text, base::read_file(path, server::max_config_size));
  return parse_config(text, path);
}

}  // namespace proxycore
