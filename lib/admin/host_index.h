// HostIndex: all hosts of the store in memory, sorted by name, for lists and searches.
//
// 100,000 hosts are about 70 MB: of each the JSON that is shown and the text that is searched. It
// is told of changes by Events, whoever made them, and by Changes at once, so that a list has what
// was written before it was asked for. Rows that are wildcard hits are left out. What is asked for
// by name comes from the store. Thread: any.
#pragma once

#include <proxycore/deadline.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::admin {

class HostIndex {
 public:
  static constexpr std::size_t max_page = 1'000;

  struct Entry {
    std::string name;    // as in its key
    std::string json;    // what is shown of the record (host_json)
    std::string needle;  // lower case: name and targets
    std::string tag;     // of the record
  };
  using Entries = std::vector<std::shared_ptr<const Entry>>;
  struct Page {
    Entries entries;
    std::size_t total = 0;  // of all pages
    bool more = false;
  };
  // Whether the caller may see it.
  using Sees = std::function<bool(std::string_view name)>;

  // Those after `after` whose names or targets have `search` in them, at most `limit`.
  [[nodiscard]] Page page(std::string_view after, std::size_t limit, std::string_view search,
                          const Sees& sees) const;
  [[nodiscard]] std::size_t size() const;

  // What happened to a host, as seen from here.
  enum class Seen : std::uint8_t { nothing, created, updated, removed };
  // Empty: the host is not there, or is none.
  Seen apply(std::string_view name, const Record& record);
  // All of them anew; `seen` is told of each difference. Errors: those of the store.
  Result<void> load(Store& store, const std::function<void(std::string_view name, Seen)>& seen,
                    const Deadline& by);

 private:
  mutable std::shared_mutex mutex_;
  std::map<std::string, std::shared_ptr<const Entry>, std::less<>> hosts_;
};

// The record of a host as the API shows it: {"host":...,"targetPort":80,"forcessl":true,...}: known
// fields with their types, others as texts, secrets as {"set":true}.
std::string host_json(const Record& record);

}  // namespace proxycore::admin
