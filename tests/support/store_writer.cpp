// store_writer: writes to a store until it is killed, or shows what is in it, for the crash test.
//
//   store_writer write URL NUMBER    writes record after record; a line per write that is on the
//                                    disk: "record N", "batch N" (five records at once), "hot N"
//                                    (the one record that is replaced again and again)
//   store_writer show URL            a line "KEY N" per record, "KEY torn" for one that is not
//   whole
#include <proxycore/store.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using proxycore::Deadline;
using proxycore::Record;
using proxycore::Result;
using proxycore::Store;

constexpr std::array fields = {"a", "b", "c", "d", "e", "f", "g", "h"};
constexpr std::size_t long_enough = 3000;  // bytes; a record spans pages

// Every field tells the number, so that a record of two writes shows.
Record record_of(long number) {
  std::string value = std::to_string(number);
  value.append(long_enough, ' ');
  Record record;
  for (const char* field : fields) record.emplace(field, value);
  return record;
}

std::string number_in(const Record& record) {
  if (record.size() != fields.size()) return "torn";
  const std::string& first = record.begin()->second;
  for (const auto& [field, value] : record) {
    if (value != first) return "torn";
  }
  return first.substr(0, first.find(' '));
}

Result<void> write_one(Store& store, long number) {
  const Deadline by = Deadline::never();
  const std::string name = std::to_string(number);
  switch (number % 3) {
    case 0: {
      std::vector<std::pair<std::string, Record>> batch;
      for (int i = 0; i < 5; ++i) {
        batch.emplace_back("batch " + name + "." + std::to_string(i), record_of(number));
      }
      PX_CHECK(store.put_all(batch, {}, by));
      std::printf("batch %ld\n", number);
      break;
    }
    case 1:
      PX_CHECK(store.put("hot", record_of(number), {}, by));
      std::printf("hot %ld\n", number);
      break;
    default:
      PX_CHECK(store.put("record " + name, record_of(number), {}, by));
      std::printf("record %ld\n", number);
      break;
  }
  std::fflush(stdout);
  return {};
}

Result<void> show(Store& store) {
  return store.scan(
      "",
      [](std::string_view key, Record&& record) {
        std::printf("%.*s %s\n", static_cast<int>(key.size()), key.data(),
                    number_in(record).c_str());
      },
      Deadline::never());
}

Result<void> run(std::string_view verb, std::string_view url, long number) {
  PX_TRY(const auto store, proxycore::open_store(url));
  if (verb == "show") return show(*store);
  for (;; ++number) PX_CHECK(write_one(*store, number));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view verb = argc > 1 ? argv[1] : "";
  long number = 0;
  bool understood = verb == "show" && argc == 3;
  if (verb == "write" && argc == 4) {
    understood = std::from_chars(argv[3], argv[3] + std::strlen(argv[3]), number).ec == std::errc{};
  }
  if (!understood) {
    std::fprintf(stderr, "usage: store_writer write URL NUMBER | show URL\n");
    return 2;
  }
  if (const auto done = run(verb, argv[2], number); !done) {
    std::fprintf(stderr, "store_writer: %s\n", done.error().message().c_str());
    return 1;
  }
  return 0;
}
