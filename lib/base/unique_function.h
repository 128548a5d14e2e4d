// UniqueFunction: a move-only callable (std's comes with C++23).
//
// For tasks that are posted from one thread to another and own what they carry.
// Thread: a value; called on whichever thread runs it.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace proxycore::base {

template <class Signature>
class UniqueFunction;

template <class R, class... Args>
class UniqueFunction<R(Args...)> {
 public:
  UniqueFunction() = default;
  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, UniqueFunction> &&
           std::is_invocable_r_v<R, F&, Args...>)
      UniqueFunction(F&& callable)  // NOLINT: implicit, as std::function
      : held_(std::make_unique<Held<std::decay_t<F>>>(std::forward<F>(callable))) {}

  explicit operator bool() const noexcept { return held_ != nullptr; }
  R operator()(Args... args) { return held_->call(std::forward<Args>(args)...); }

 private:
  struct Callable {
    virtual ~Callable() = default;
    virtual R call(Args... args) = 0;
  };
  template <class F>
  struct Held final : Callable {
    explicit Held(F callable) : function(std::move(callable)) {}
    R call(Args... args) override { return function(std::forward<Args>(args)...); }
    F function;
  };
  std::unique_ptr<Callable> held_;
};

}  // namespace proxycore::base
