// Events: what changes in the store, told to whoever listens, as server-sent events.
//
// A thread of its own learns from watches which records changed, whoever wrote them, brings the
// host index up to date and tells the readers who may see the record: {"topic":
// "model:Host:update:app.example.com","data":{...}}, without secrets. Readers are bounded; one that
// does not read is cut off and comes again. Their rights are looked at anew with each change of
// users, tokens or permissions, and with each heartbeat; who has none left is sent away.
// Source: HTML Living Standard §9.2 (text/event-stream). Thread: any, but where said.
#pragma once

#include "admin/endpoint.h"
#include "auth/access.h"
#include <proxycore/deadline.h>
#include <proxycore/handler.h>
#include <proxycore/result.h>
#include <proxycore/store.h>

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

namespace proxycore::admin {

class Events {
 public:
  static constexpr std::size_t max_readers = 256;
  static constexpr std::size_t max_of_user = 32;  // so that nobody keeps the others out
  static constexpr Millis heartbeat{15'000};

  // Who listens, looked at now; nullopt: the session has ended. Called on the thread of Events.
  using Who = std::function<std::optional<auth::Caller>()>;

  // Both outlive it.
  Events(Store& store, HostIndex& hosts) : store_(store), hosts_(hosts) {}
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;
  ~Events() { stop(); }

  // Loads the index and watches. Errors: those of the store.
  Result<void> start(const Deadline& by);
  // Ends all streams. Not from a callback.
  void stop();

  // Sends the head of a stream; what is told after that is in it.
  using Begin = base::UniqueFunction<std::unique_ptr<ResponseStream>()>;

  // Errors: busy (max_readers listen already, or max_of_user), cancelled (after stop()).
  Result<void> check_room(std::string_view user);
  // `begin` is called on the thread of Events; it dies uncalled after stop().
  void add(std::string user, Begin begin, Who who);

 private:
  struct Model;
  static const Model models[];
  struct Reader {
    std::string user;
    Begin begin;
    Who who;
    std::unique_ptr<ResponseStream> stream = {};
    std::optional<auth::Caller> caller = {};
  };

  void run(const std::stop_token& stop);
  // What has become of one record, or of all that a prefix stands for.
  Result<void> look_at(std::string_view key, const Deadline& by);
  Result<void> look_at_all(const Model& model, const Deadline& by);
  void note(const Model& model, std::string_view key, const Record& record);
  void tell(const Model& model, std::string_view name, std::string_view event,
            const Record& record);
  void look_at_readers();
  std::list<Reader>::iterator send_away(std::list<Reader>::iterator reader);
  void send(std::string_view text, const std::function<bool(const auth::Caller&)>& may_see);

  Store& store_;
  HostIndex& hosts_;

  // The thread's own, once it runs.
  std::list<Reader> readers_;
  std::map<std::string, std::string, std::less<>> tags_;  // of records, by key

  std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_;
  std::set<std::string, std::less<>> changed_;  // keys, or prefixes of which all may have
  bool rights_changed_ = false;
  std::vector<Reader> coming_;
  bool stopped_ = false;
  std::size_t readers_count_ = 0;
  std::map<std::string, std::size_t, std::less<>> readers_of_;  // by user

  std::vector<std::unique_ptr<Watch>> watches_;
  std::jthread thread_;
};

// GET /api/events.
Result<Reply> listen_to_events(Context& admin, const Call& call);

}  // namespace proxycore::admin
