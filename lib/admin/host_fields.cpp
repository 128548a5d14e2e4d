#include "admin/host_fields.h"

#include "host/record_fields.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>

namespace proxycore::admin {

namespace {

namespace json = base::json;
namespace fields = host::fields;

enum class Kind : std::uint8_t { text, number, boolean, list, json, secret };
enum class Set : std::uint8_t { no, yes, required };

struct Field {
  std::string_view name;
  Kind kind;
  Set set;
  std::string_view standard = {};  // JSON, where a record lacks it; empty: is not shown then
};

// In the order in which they are shown.
constexpr Field table[] = {
    {"host", Kind::text, Set::required},
    {"ip", Kind::text, Set::required},
    {"targetPort", Kind::number, Set::required},
    {"targets", Kind::list, Set::yes, "[]"},
    {"forcessl", Kind::boolean, Set::yes, "true"},
    {"hsts_enabled", Kind::boolean, Set::yes, "false"},
    {"targetssl", Kind::boolean, Set::yes, "false"},
    {"targetVerify", Kind::boolean, Set::yes},
    {"targetServerName", Kind::text, Set::yes},
    {"challengeType", Kind::text, Set::yes},
    {"host-pass-though", Kind::boolean, Set::yes, "true"},
    {"connectTimeout", Kind::number, Set::yes},
    {"firstByteTimeout", Kind::number, Set::yes},
    {"idleTimeout", Kind::number, Set::yes},
    {"is_cache", Kind::boolean, Set::no, "false"},
    {"is_wildcard", Kind::boolean, Set::yes, "false"},
    {"wildcard_parent", Kind::text, Set::yes},
    {"wildcard_status", Kind::text, Set::no},
    {"wildcard_expires", Kind::number, Set::no},
    {"wildcard_issued", Kind::number, Set::no},
    // Of later versions of the old software; kept and shown.
    {"wildcard_matchAny", Kind::boolean, Set::no},
    {"ratelimit_enabled", Kind::boolean, Set::no},
    {"ratelimit_rate", Kind::number, Set::no},
    {"ratelimit_burst", Kind::number, Set::no},
    {"respcache_enabled", Kind::boolean, Set::no},
    {"basicauth_enabled", Kind::boolean, Set::no},
    {"basicauth_users", Kind::secret, Set::no},
    {"sso_enabled", Kind::boolean, Set::no},
    {"sso_allow_users", Kind::json, Set::no},
    {"sso_allow_groups", Kind::json, Set::no},
    {"req_headers", Kind::json, Set::no},
    {"resp_headers", Kind::json, Set::no},
    {"ip_allow", Kind::json, Set::no},
    {"ip_deny", Kind::json, Set::no},
    {"domain", Kind::json, Set::no},
};

void write(json::Writer& out, const Field& field, const Record& record) {
  const std::string* text = fields::find(record, field.name);
  if (text == nullptr) {
    if (!field.standard.empty()) out.key(field.name).raw(field.standard);
    return;
  }
  out.key(field.name);
  switch (field.kind) {
    case Kind::text:
      out.value(*text);
      return;
    case Kind::boolean:
      out.value(*text != "false");
      return;
    case Kind::number: {
      const auto number = fields::whole(record, field.name, -fields::max_time, fields::max_time);
      if (number && *number) {
        out.value(**number);
      } else {
        out.null();
      }
      return;
    }
    case Kind::list: {
      const auto list = fields::texts(record, field.name);
      if (!list) return void(out.value(*text));
      out.begin_array();
      for (const std::string& entry : *list) out.value(entry);
      out.end_array();
      return;
    }
    case Kind::json:
      if (json::parse(*text)) return void(out.raw(*text));
      out.value(*text);
      return;
    case Kind::secret:
      out.begin_object().field("set", true).end_object();
      return;
  }
}

const Field* known(std::string_view name) {
  const auto* at = std::find_if(std::begin(table), std::end(table),
                                [name](const Field& field) { return field.name == name; });
  return at != std::end(table) ? at : nullptr;
}

std::string_view type_of(Kind kind) {
  switch (kind) {
    case Kind::number:
      return "number";
    case Kind::boolean:
      return "boolean";
    case Kind::list:
      return "array";
    default:
      return "string";
  }
}

// As a record has it; nullopt: it is of another type.
std::optional<std::string> spelled(const json::Value& value, Kind kind) {
  switch (kind) {
    case Kind::boolean: {
      const auto on = value.boolean();
      return on ? std::optional(fields::spelled(*on)) : std::nullopt;
    }
    case Kind::number: {
      if (const auto whole = value.integer()) return std::to_string(*whole);
      const auto number = value.number();
      return number ? std::optional(std::to_string(*number)) : std::nullopt;
    }
    case Kind::list: {
      // Later versions of the old software send it as JSON text as well.
      if (const auto text = value.text()) return std::string(*text);
      const auto items = value.array();
      if (!items) return std::nullopt;
      std::vector<std::string> texts;
      for (const json::Value& item : *items) {
        const auto text = item.text();
        if (!text) return std::nullopt;
        texts.emplace_back(*text);
      }
      return fields::spelled(texts);
    }
    default: {
      const auto text = value.text();
      return text ? std::optional(std::string(*text)) : std::nullopt;
    }
  }
}

}  // namespace

std::string host_members(const Record& record) {
  std::string text = host_json(record);
  return text.substr(1, text.size() - 2);
}

std::string host_json(const Record& record) {
  std::string text;
  json::Writer out(text);
  out.begin_object();
  for (const Field& field : table) write(out, field, record);
  for (const auto& [name, value] : record) {
    if (known(name) == nullptr) out.field(name, value);
  }
  out.end_object();
  return text;
}

ReadFields read_host_fields(const json::Value& body, Whole whole) {
  ReadFields read;
  const auto complain = [&read](std::string_view name, std::string_view why) {
    read.wrong.push_back({std::string(name), std::string(name).append(" ").append(why)});
  };
  for (const Field& field : table) {
    if (field.set == Set::no) continue;
    const json::Value* value = body.find(field.name);
    const bool required = field.set == Set::required;
    if (value == nullptr || value->kind() == json::Value::Kind::null) {
      if (required && (value != nullptr || whole == Whole::yes)) {
        complain(field.name, "is required.");
      } else if (value != nullptr) {
        read.edits.emplace_back(field.name, std::nullopt);
      }
      continue;
    }
    auto text = spelled(*value, field.kind);
    if (!text) {
      complain(field.name, std::string("is not ").append(type_of(field.kind)).append(" type."));
    } else if (text->empty() && required) {
      complain(field.name, "is required.");
    } else if (text->empty()) {
      read.edits.emplace_back(field.name, std::nullopt);
    } else {
      read.edits.emplace_back(field.name, std::move(text));
    }
  }
  return read;
}

void apply(const Edits& edits, Record& record) {
  for (const auto& [name, value] : edits) {
    if (value) {
      record.insert_or_assign(name, *value);
    } else {
      record.erase(name);
    }
  }
}

}  // namespace proxycore::admin
