// JSON from outside: whatever is read is bounded and written back with the same meaning; whatever
// bytes are written are valid JSON.
#include "base/json.h"

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

using proxycore::base::json::parse;
using proxycore::base::json::Value;
using proxycore::base::json::Writer;

namespace {

void write(Writer& writer, const Value& value) {
  switch (value.kind()) {
    case Value::Kind::null:
      writer.null();
      break;
    case Value::Kind::boolean:
      writer.value(*value.boolean());
      break;
    case Value::Kind::integer:
      writer.value(*value.integer());
      break;
    case Value::Kind::number:
      writer.value(*value.number());
      break;
    case Value::Kind::text:
      writer.value(*value.text());
      break;
    case Value::Kind::array: {
      const auto items = value.array();
      writer.begin_array();
      for (const Value& item : *items) write(writer, item);
      writer.end_array();
      break;
    }
    case Value::Kind::object: {
      const auto members = value.object();
      writer.begin_object();
      for (const Value::Member& member : *members) write(writer.key(member.name), member.value);
      writer.end_object();
      break;
    }
  }
}

std::string written(const Value& value) {
  std::string out;
  Writer writer{out};
  write(writer, value);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text{reinterpret_cast<const char*>(data), size};
  if (const auto value = parse(text)) {
    const std::string once = written(*value);
    const auto again = parse(once, {.size = 64 << 20});
    if (!again || written(*again) != once) std::abort();
  }
  std::string quoted;
  proxycore::base::json::append_quoted(quoted, text);
  const auto back = parse(quoted, {.size = 64 << 20});
  if (!back || back->kind() != Value::Kind::text) std::abort();
  return 0;
}
