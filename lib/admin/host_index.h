// HostIndex: all hosts of the store in memory, sorted by name, for lists and searches.
//
// 100,000 hosts are about 70 MB: of each the JSON that is shown and the text that is searched. It
// is told of changes by Events, whoever made them, and by Changes at once, so that a list has what
// was written before it was asked for. Rows that are wildcard hits are left out. What is asked for
// by name comes from the store. Thread: any.
#pragma once

#include <proxycore/host_trie.h>
#include <proxycore/store.h>

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <shared_mutex>
#include <string>
#include <string_view>
#include <vector>

namespace proxycore::admin {

class HostIndex {
 public:
  static constexpr std::size_t max_page = 1'000;

  struct Entry {
    std::string name;                  // as in its key
    std::string json;                  // what is shown of the record (host_json)
    std::string hay;                   // what is searched, lower case: name and targets
    std::vector<std::string> targets;  // "address:port"
    bool is_wildcard = false;          // has, or wants, a certificate of its own by DNS-01
  };
  using Entries = std::vector<std::shared_ptr<const Entry>>;
  struct Page {
    Entries entries;
    std::size_t total = 0;  // of all pages
    bool more = false;
  };
  // Which are meant; empty: all. It may not call the index.
  using Wanted = std::function<bool(const Entry& entry)>;

  // Those after `after` whose names or targets have `search` in them, at most `limit`.
  [[nodiscard]] Page page(std::string_view after, std::size_t limit, std::string_view search,
                          const Wanted& wanted) const;
  [[nodiscard]] std::size_t size() const;

  // All of them, in order.
  [[nodiscard]] Entries all(const Wanted& wanted) const;
  // The host that answers for a name (canonical), as the proxy finds it; nullptr: none.
  std::shared_ptr<const Entry> match(std::string_view name);
  // nullptr: there is none of that name.
  [[nodiscard]] std::shared_ptr<const Entry> find(std::string_view name) const;

  // `record` is that of the host now; empty: it is not there.
  void apply(std::string_view name, const Record& record);

  // What is known of the certificate of a name, or of the wildcard above it.
  struct Certificate {
    std::string json;  // the story without its attempts
    bool failing = false;
  };
  [[nodiscard]] std::shared_ptr<const Certificate> certificate(std::string_view name) const;
  // Those whose host, or wildcard above it, has a failing one.
  [[nodiscard]] Wanted with_failing_certificate() const;
  // `story`: a record; empty: there is none any more.
  void apply_story(std::string_view name, const Record& story);

 private:
  mutable std::shared_mutex mutex_;  // guards what follows
  std::map<std::string, std::shared_ptr<const Entry>, std::less<>> hosts_;
  std::map<std::string, std::shared_ptr<const Certificate>, std::less<>> certificates_;
  // Those that match more than their own name; made anew when it is asked for.
  HostTrie<std::shared_ptr<const Entry>> patterns_;
  bool patterns_changed_ = false;
};

}  // namespace proxycore::admin
