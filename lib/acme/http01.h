// Http01: meets http-01 challenges by putting the proof where any server of the names finds it.
//
// Where that is, is the caller's: a store that all proxies look into, or a table. Not here: who
// answers /.well-known/acme-challenge/ (proxy/edge).
// Source: RFC 8555 §8.3. Owner: who calls obtain(). Thread: that of obtain().
#pragma once

#include <proxycore/acme.h>

#include <functional>
#include <string_view>

namespace proxycore::acme {

class Http01 final : public Solver {
 public:
  struct Place {
    // From when it returns, a request for the token is answered with the key authorization.
    std::function<Result<void>(const Proof& proof, const Deadline& by)> put;
    std::function<void(const Proof& proof)> remove;
  };
  explicit Http01(Place place) : place_(std::move(place)) {}

  [[nodiscard]] std::string_view type() const noexcept override { return "http-01"; }
  Result<void> present(const Proof& proof, const Deadline& by) override;
  Result<void> await_visible(const Proof& proof, const Deadline& by) override;
  void clean_up(const Proof& proof) noexcept override;

 private:
  const Place place_;
};

}  // namespace proxycore::acme
