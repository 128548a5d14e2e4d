// Mock DNS vendors, strict where the real ones are: page sizes, forms of names, shapes of errors,
// what a token may do. Written from the design's notes on vendors, 4.4 to 4.7.
//
// Thread: any.
#pragma once

#include "base/json.h"
#include "support/http_server.h"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace proxycore::test {

class MockVendor {
 public:
  struct Record {
    std::string id;
    std::string zone;  // its name
    std::string name;  // whole
    std::string value;
    std::uint64_t ttl = 0;
  };

  virtual ~MockVendor() = default;
  MockVendor(const MockVendor&) = delete;
  MockVendor& operator=(const MockVendor&) = delete;

  // What the next request gets in place of an answer; several: one after the other.
  void answer_next(Reply reply);
  // Puts a TXT record there.
  void put(std::string_view zone, std::string_view name, std::string_view value);
  [[nodiscard]] virtual std::vector<std::string> values(std::string_view name) const;
  [[nodiscard]] std::vector<Record> records() const;
  [[nodiscard]] std::vector<Ask> asks() const;
  [[nodiscard]] std::string url() const { return server_->url(); }

 protected:
  MockVendor() = default;
  // At the end of the constructor and the beginning of the destructor of what is derived.
  void start();
  void stop() { server_.reset(); }
  // Called with `mutex_` held.
  virtual Reply answer(const Ask& ask) = 0;
  Record& keep(std::string_view zone, std::string_view name, std::string_view value,
               std::uint64_t ttl);
  // false: there is none with that id in that zone.
  bool erase(std::string_view zone, std::string_view id);

  mutable std::mutex mutex_;
  std::vector<Record> records_;

 private:
  std::deque<Reply> next_;
  std::vector<Ask> asks_;
  std::uint64_t last_id_ = 106'926'000;
  std::unique_ptr<HttpServer> server_;
};

class MockCloudflare final : public MockVendor {
 public:
  static constexpr std::string_view token = "cf-token-0123456789";
  struct Zone {
    std::string name;
    std::string status = "active";
  };
  // Their ids are "zone-0", "zone-1", ...
  explicit MockCloudflare(std::vector<Zone> zones);
  ~MockCloudflare() override { stop(); }

 private:
  Reply answer(const Ask& ask) override;
  Reply list_zones(const Ask& ask) const;
  Reply list_records(const Ask& ask, const std::string& zone) const;
  Reply create(const Ask& ask, const std::string& zone);

  const std::vector<Zone> zones_;
};

class MockDigitalOcean final : public MockVendor {
 public:
  static constexpr std::string_view token = "dop_v1_0123456789";
  explicit MockDigitalOcean(std::vector<std::string> zones);
  ~MockDigitalOcean() override { stop(); }

 private:
  Reply answer(const Ask& ask) override;
  Reply list_domains(const Ask& ask) const;
  Reply list_records(const Ask& ask, const std::string& zone) const;
  Reply create(const Ask& ask, const std::string& zone);

  const std::vector<std::string> zones_;
};

class MockPorkbun final : public MockVendor {
 public:
  static constexpr std::string_view key = "pk1_0123456789";
  static constexpr std::string_view secret = "sk1_9876543210";
  // `page` domains at a time.
  explicit MockPorkbun(std::vector<std::string> zones, std::size_t page = 1000);
  ~MockPorkbun() override { stop(); }
  // An error that comes with status 200.
  static Reply error_200(std::string_view message);

 private:
  Reply answer(const Ask& ask) override;
  Reply list_domains(const base::json::Value& body) const;
  Reply retrieve(const std::string& zone) const;
  Reply create(const base::json::Value& body, const std::string& zone);

  const std::vector<std::string> zones_;
  const std::size_t page_;
};

class MockDuckDns final : public MockVendor {
 public:
  static constexpr std::string_view token = "7c4d0e5a-1111-2222-3333-444455556666";
  // Without ".duckdns.org".
  explicit MockDuckDns(std::vector<std::string> domains);
  ~MockDuckDns() override { stop(); }

  // The one value of the domain, whatever name in it is asked for.
  [[nodiscard]] std::vector<std::string> values(std::string_view name) const override;
  // How often a request set an address.
  [[nodiscard]] int addresses_changed() const;

 private:
  Reply answer(const Ask& ask) override;

  const std::vector<std::string> domains_;
  std::map<std::string, std::string, std::less<>> txt_;
  int addresses_changed_ = 0;
};

}  // namespace proxycore::test
