// faults_of(): whether a JSON value is what a schema says, for schemas as the OpenAPI document has
// them.
//
// Knows: $ref within the document, type, enum, const, properties, required, additionalProperties,
// items, allOf, oneOf, minimum, maximum, minLength, maxLength, maxItems, pattern. Any other keyword
// but words for people is a fault of the schema. Source: JSON Schema 2020-12. Thread: any.
#pragma once

#include "base/json.h"

#include <regex>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::test {

class JsonSchema {
 public:
  using Value = base::json::Value;

  // `document` outlives it.
  explicit JsonSchema(const Value& document) : document_(document) {}

  // What is wrong with `value`, each with its place; none: it fits.
  [[nodiscard]] std::vector<std::string> faults_of(const Value& value, const Value& schema,
                                                   const std::string& place = "$") const {
    std::vector<std::string> faults;
    check(value, schema, place, faults);
    return faults;
  }
  // "#/components/schemas/Host"; nullptr: there is none.
  [[nodiscard]] const Value* at(std::string_view pointer) const {
    const Value* here = &document_;
    pointer.remove_prefix(1);  // '#'
    while (!pointer.empty() && here != nullptr) {
      pointer.remove_prefix(1);  // '/'
      const std::string_view part = pointer.substr(0, pointer.find('/'));
      pointer.remove_prefix(part.size());
      here = here->find(part);
    }
    return here;
  }

 private:
  using Kind = Value::Kind;
  using Faults = std::vector<std::string>;

  static bool is_of(const Value& value, std::string_view type) {
    switch (value.kind()) {
      case Kind::null:
        return type == "null";
      case Kind::boolean:
        return type == "boolean";
      case Kind::integer:
        return type == "integer" || type == "number";
      case Kind::number:
        return type == "number";
      case Kind::text:
        return type == "string";
      case Kind::array:
        return type == "array";
      case Kind::object:
        return type == "object";
    }
    return false;
  }
  // Of those kinds that enum and const are used with.
  static bool same(const Value& a, const Value& b) {
    if (a.kind() != b.kind()) return false;
    if (a.kind() == Kind::text) return *a.text() == *b.text();
    if (a.kind() == Kind::boolean) return *a.boolean() == *b.boolean();
    if (a.kind() == Kind::integer) return *a.integer() == *b.integer();
    return a.kind() == Kind::null;
  }

  void check(const Value& value, const Value& schema, const std::string& place,
             Faults& faults) const {
    const auto members = schema.object();
    if (!members) return faults.push_back(place + ": the schema is no object");
    for (const Value::Member& member : *members) {
      check(value, schema, member.name, member.value, place, faults);
    }
  }

  void check(const Value& value, const Value& schema, std::string_view keyword, const Value& says,
             const std::string& place, Faults& faults) const {
    const auto fault = [&](const std::string& what) { faults.push_back(place + ": " + what); };
    static const std::set<std::string_view> for_people = {"description", "default"};
    if (for_people.contains(keyword)) return;
    if (keyword == "$ref") {
      const Value* target = at(*says.text());
      if (target == nullptr) return fault("no schema " + std::string(*says.text()));
      return check(value, *target, place, faults);
    }
    if (keyword == "type") {
      bool fits = false;
      if (const auto one = says.text()) {
        fits = is_of(value, *one);
      } else {
        for (const Value& type : std::span(*says.array()))
          fits = fits || is_of(value, *type.text());
      }
      if (!fits) fault("is of another type");
    } else if (keyword == "enum") {
      bool fits = false;
      for (const Value& each : std::span(*says.array())) fits = fits || same(value, each);
      if (!fits) fault("is none of the enumerated");
    } else if (keyword == "const") {
      if (!same(value, says)) fault("is not the constant");
    } else if (keyword == "allOf") {
      for (const Value& each : std::span(*says.array())) check(value, each, place, faults);
    } else if (keyword == "oneOf") {
      std::size_t fit = 0;
      for (const Value& each : std::span(*says.array()))
        fit += faults_of(value, each, place).empty() ? 1 : 0;
      if (fit != 1) fault("fits " + std::to_string(fit) + " of oneOf");
    } else if (keyword == "required") {
      if (value.kind() != Kind::object) return;
      for (const Value& name : std::span(*says.array())) {
        if (value.find(*name.text()) == nullptr) fault("lacks " + std::string(*name.text()));
      }
    } else if (keyword == "properties") {
      for (const Value::Member& property : std::span(*says.object())) {
        const Value* held = value.find(property.name);
        if (held != nullptr) check(*held, property.value, place + "." + property.name, faults);
      }
    } else if (keyword == "additionalProperties") {
      const auto members = value.object();
      if (!members) return;
      const Value* named = schema.find("properties");
      for (const Value::Member& member : *members) {
        if (named != nullptr && named->find(member.name) != nullptr) continue;
        check(member.value, says, place + "." + member.name, faults);
      }
    } else if (keyword == "items") {
      const auto items = value.array();
      if (!items) return;
      for (std::size_t i = 0; i < items->size(); ++i) {
        check((*items)[i], says, place + "[" + std::to_string(i) + "]", faults);
      }
    } else if (keyword == "maxItems") {
      const auto items = value.array();
      if (items && items->size() > static_cast<std::size_t>(*says.integer())) fault("is too long");
    } else if (keyword == "minimum" || keyword == "maximum") {
      const auto number = value.number();
      if (!number) return;
      const double bound = *says.number();
      if (keyword == "minimum" ? *number < bound : *number > bound) fault("is out of range");
    } else if (keyword == "minLength" || keyword == "maxLength") {
      const auto text = value.text();
      if (!text) return;
      const auto bound = static_cast<std::size_t>(*says.integer());
      if (keyword == "minLength" ? text->size() < bound : text->size() > bound) {
        fault("is too short or too long");
      }
    } else if (keyword == "pattern") {
      const auto text = value.text();
      const std::regex pattern{std::string(*says.text())};
      if (text && !std::regex_search(std::string(*text), pattern)) fault("has another form");
    } else {
      fault("the schema has an unknown keyword " + std::string(keyword));
    }
  }

  const Value& document_;
};

}  // namespace proxycore::test
