#include "dns/message.h"

#include "base/text.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace proxycore::dns {

namespace {

constexpr std::size_t max_name = 255;  // bytes on the wire
constexpr std::size_t max_label = 63;
constexpr std::size_t max_jumps = 127;   // as many as a name has labels
constexpr std::size_t max_string = 255;  // of TXT
constexpr std::uint8_t opcode_update = 5;

Error malformed(std::string_view what, std::size_t at) {
  return {Errc::protocol, fmt::format("dns message: {} at byte {}", what, at)};
}

// Goes through a message. What it takes has been checked to be there.
class Reader {
 public:
  Reader(std::string_view wire, std::size_t at, std::size_t end)
      : wire_(wire), at_(at), end_(end) {}
  explicit Reader(std::string_view wire) : Reader(wire, 0, wire.size()) {}

  [[nodiscard]] std::size_t at() const noexcept { return at_; }
  [[nodiscard]] bool done() const noexcept { return at_ == end_; }

  Result<std::string_view> bytes(std::size_t count) {
    if (end_ - at_ < count) return malformed("it ends too early", at_);
    const std::string_view part = wire_.substr(at_, count);
    at_ += count;
    return part;
  }
  Result<std::uint64_t> number(std::size_t count) {
    PX_TRY(const std::string_view part, bytes(count));
    std::uint64_t value = 0;
    for (const char c : part) value = value << 8U | static_cast<unsigned char>(c);
    return value;
  }
  Result<std::uint16_t> u16() {
    PX_TRY(const std::uint64_t value, number(2));
    return static_cast<std::uint16_t>(value);
  }
  Result<std::uint32_t> u32() {
    PX_TRY(const std::uint64_t value, number(4));
    return static_cast<std::uint32_t>(value);
  }
  Result<std::string_view> counted(std::size_t size_of_count) {
    PX_TRY(const std::uint64_t count, number(size_of_count));
    return bytes(static_cast<std::size_t>(count));
  }
  // Here, with what it points to elsewhere in the message.
  Result<std::string> name() {
    std::string text;
    std::size_t size = 1;
    Reader part = *this;
    std::size_t limit = at_;  // pointers lead before it, so they come to an end
    std::size_t jumps = 0;
    for (;;) {
      PX_TRY(const std::uint64_t mark, part.number(1));
      if (jumps == 0) at_ = part.at();
      if (mark == 0) return text;
      if (mark >= 0xC0) {
        PX_TRY(const std::uint64_t low, part.number(1));
        if (jumps == 0) at_ = part.at();
        const auto target = static_cast<std::size_t>((mark & 0x3FU) << 8U | low);
        if (target >= limit || ++jumps > max_jumps) {
          return malformed("a name that does not point backwards", part.at());
        }
        limit = target;
        part = Reader(wire_, target, wire_.size());
        continue;
      }
      if (mark > max_label) return malformed("a label of unknown kind", part.at());
      PX_TRY(const std::string_view label, part.bytes(static_cast<std::size_t>(mark)));
      if (jumps == 0) at_ = part.at();
      size += label.size() + 1;
      if (size > max_name) return malformed("a name of over 255 bytes", part.at());
      if (!text.empty()) text.push_back('.');
      append_label(text, label);
    }
  }
  // What follows, of that size, apart.
  Result<Reader> within(std::size_t count) {
    const std::size_t from = at_;
    PX_CHECK(bytes(count));
    return Reader(wire_, from, at_);
  }

 private:
  static void append_label(std::string& text, std::string_view label) {
    for (const char c : label) {
      if (c <= ' ' || c >= '\x7f' || c == '.' || c == '\\') {
        fmt::format_to(std::back_inserter(text), "\\{:03}", static_cast<unsigned char>(c));
      } else {
        text.push_back(base::lower(c));
      }
    }
  }

  std::string_view wire_;
  std::size_t at_;
  std::size_t end_;
};

Result<std::string> read_data(Reader& data, Type type, std::size_t size) {
  switch (type) {
    case Type::ns:
    case Type::cname:
      return data.name();
    case Type::soa: {
      PX_TRY(std::string primary, data.name());
      PX_CHECK(data.name());
      PX_CHECK(data.bytes(20));
      return primary;
    }
    case Type::txt: {
      std::string value;
      while (!data.done()) {
        PX_TRY(const std::string_view part, data.counted(1));
        value.append(part);
      }
      return value;
    }
    default: {
      PX_TRY(const std::string_view bytes, data.bytes(size));
      return std::string(bytes);
    }
  }
}

Result<Signature> read_signature(Reader& data, std::string key_name, std::size_t at) {
  Signature signature;
  signature.key_name = std::move(key_name);
  signature.at = at;
  PX_TRY(signature.algorithm, data.name());
  PX_TRY(signature.signed_s, data.number(6));
  PX_TRY(signature.fudge, data.u16());
  PX_TRY(signature.mac, data.counted(2));
  PX_TRY(signature.original_id, data.u16());
  PX_TRY(signature.error, data.u16());
  PX_TRY(signature.other, data.counted(2));
  return signature;
}

// One record; a signature goes to `message`.
Result<void> read_record(Reader& reader, std::vector<Record>& section, Message& message) {
  const std::size_t begin = reader.at();
  Record record;
  PX_TRY(record.name, reader.name());
  PX_TRY(const std::uint16_t type, reader.u16());
  PX_TRY(const std::uint16_t in, reader.u16());
  PX_TRY(record.ttl, reader.u32());
  PX_TRY(const std::uint16_t size, reader.u16());
  PX_TRY(Reader data, reader.within(size));
  record.type = static_cast<Type>(type);
  record.in = static_cast<Class>(in);
  if (message.signature) return malformed("a record behind the signature", begin);
  if (record.type == Type::tsig) {
    if (&section != &message.additional) return malformed("a signature out of place", begin);
    PX_TRY(message.signature, read_signature(data, std::move(record.name), begin));
  } else if (size > 0) {  // an update's answer may have records without data
    PX_TRY(record.data, read_data(data, record.type, size));
  }
  if (size > 0 && !data.done()) return malformed("a record longer than its data", begin);
  if (record.type != Type::tsig) section.push_back(std::move(record));
  return {};
}

std::string header(std::uint16_t id, std::uint16_t flags, std::array<std::uint16_t, 4> counts) {
  std::string wire;
  append_u16(wire, id);
  append_u16(wire, flags);
  for (const std::uint16_t count : counts) append_u16(wire, count);
  return wire;
}

void append_question(std::string& wire, std::string_view name, Type type, Class in) {
  wire.append(name);
  append_u16(wire, static_cast<std::uint16_t>(type));
  append_u16(wire, static_cast<std::uint16_t>(in));
}

}  // namespace

std::string name_of(Rcode code) {
  switch (code) {
    case Rcode::ok:
      return "NOERROR";
    case Rcode::format_error:
      return "FORMERR";
    case Rcode::server_failure:
      return "SERVFAIL";
    case Rcode::no_such_name:
      return "NXDOMAIN";
    case Rcode::not_implemented:
      return "NOTIMP";
    case Rcode::refused:
      return "REFUSED";
    case Rcode::not_authoritative:
      return "NOTAUTH";
    case Rcode::not_in_zone:
      return "NOTZONE";
  }
  return fmt::format("RCODE {}", static_cast<unsigned>(code));
}

Result<Message> Message::parse(std::string_view wire) {
  Reader reader(wire);
  Message message;
  PX_TRY(message.id, reader.u16());
  PX_TRY(const std::uint16_t flags, reader.u16());
  message.response = (flags & 0x8000U) != 0;
  message.opcode = static_cast<std::uint8_t>(flags >> 11U & 0xFU);
  message.authoritative = (flags & 0x0400U) != 0;
  message.truncated = (flags & 0x0200U) != 0;
  message.rcode = static_cast<Rcode>(flags & 0xFU);
  std::array<std::uint16_t, 4> counts{};
  for (std::uint16_t& count : counts) {
    PX_TRY(count, reader.u16());
  }
  for (unsigned i = 0; i < counts[0]; ++i) {
    Question question;
    PX_TRY(question.name, reader.name());
    PX_TRY(const std::uint16_t type, reader.u16());
    PX_TRY(const std::uint16_t in, reader.u16());
    question.type = static_cast<Type>(type);
    question.in = static_cast<Class>(in);
    message.questions.push_back(std::move(question));
  }
  if (message.truncated) return message;
  const std::array<std::vector<Record>*, 3> sections = {&message.answers, &message.authority,
                                                        &message.additional};
  for (std::size_t which = 0; which < sections.size(); ++which) {
    for (unsigned i = 0; i < counts[which + 1]; ++i) {
      PX_CHECK(read_record(reader, *sections[which], message));
    }
  }
  if (!reader.done()) return malformed("something behind the last record", reader.at());
  return message;
}

Result<std::string> make_query(std::uint16_t id, const Question& question, bool recurse) {
  PX_TRY(const std::string name, wire_name(question.name));
  std::string wire = header(id, recurse ? 0x0100 : 0, {1, 0, 0, 0});
  append_question(wire, name, question.type, question.in);
  return wire;
}

Result<std::string> make_update(std::uint16_t id, std::string_view zone,
                                const std::vector<Change>& changes) {
  PX_TRY(const std::string zone_name, wire_name(zone));
  std::string wire = header(id, static_cast<std::uint16_t>(opcode_update << 11U),
                            {1, 0, static_cast<std::uint16_t>(changes.size()), 0});
  append_question(wire, zone_name, Type::soa, Class::in);
  for (const Change& change : changes) {
    const bool add = change.what == Change::What::add;
    PX_TRY(const std::string name, wire_name(change.name));
    std::string data;
    std::string_view rest = change.value;
    do {
      const std::string_view part = rest.substr(0, max_string);
      data.push_back(static_cast<char>(part.size()));
      data.append(part);
      rest.remove_prefix(part.size());
    } while (!rest.empty());
    append_question(wire, name, Type::txt, add ? Class::in : Class::none);
    append_u32(wire, add ? change.ttl : 0);
    append_u16(wire, static_cast<std::uint16_t>(data.size()));
    wire.append(data);
    if (data.size() > max_message || wire.size() > max_message) {
      return Error{Errc::invalid, "dns update: it does not fit into a message"};
    }
  }
  return wire;
}

Result<std::string> wire_name(std::string_view name) {
  const auto wrong = [&](std::string_view why) {
    return Error{Errc::invalid, fmt::format("dns name {}: {}", base::shown(name), why)};
  };
  std::string wire;
  for (std::string_view rest = name; !rest.empty();) {
    const std::size_t dot = rest.find('.');
    const std::string_view label = rest.substr(0, dot);
    if (label.empty() || label.size() > max_label) return wrong("a label has 1 to 63 bytes");
    wire.push_back(static_cast<char>(label.size()));
    for (const char c : label) {
      if (c <= ' ' || c >= '\x7f' || c == '\\')
        return wrong("only printable ASCII can be asked for");
      wire.push_back(base::lower(c));
    }
    if (dot != std::string_view::npos && dot + 1 == rest.size()) return wrong("a dot at its end");
    rest.remove_prefix(dot == std::string_view::npos ? rest.size() : dot + 1);
  }
  wire.push_back('\0');
  if (wire.size() > max_name) return wrong("over 255 bytes");
  return wire;
}

void append_u16(std::string& to, std::uint16_t value) {
  to.push_back(static_cast<char>(value >> 8U));
  to.push_back(static_cast<char>(value & 0xFFU));
}

void append_u32(std::string& to, std::uint32_t value) {
  append_u16(to, static_cast<std::uint16_t>(value >> 16U));
  append_u16(to, static_cast<std::uint16_t>(value & 0xFFFFU));
}

std::string_view parent_of(std::string_view name) noexcept {
  const std::size_t dot = name.find('.');
  return dot == std::string_view::npos ? std::string_view{} : name.substr(dot + 1);
}

bool is_within(std::string_view name, std::string_view zone) noexcept {
  if (zone.empty() || name == zone) return true;
  return name.size() > zone.size() && name.ends_with(zone) &&
         name[name.size() - zone.size() - 1] == '.';
}

}  // namespace proxycore::dns
