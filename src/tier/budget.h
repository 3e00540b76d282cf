// Who may hold how many bytes of one memory tier.
//
//   MemoryBudget (limit) --Reserve("kv", n)--> Reservation (n bytes claimed until it ends)
//
// The budget counts claims; it allocates nothing. A full budget is an answer; who can do
// nothing with it asks for an exception.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace doppler {

class MemoryBudget;

// Bytes claimed for one purpose. Ends with the object.
class Reservation {
 public:
  Reservation() = default;
  ~Reservation() { Release(); }
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;

  Bytes size() const { return size_; }

 private:
  friend class MemoryBudget;
  Reservation(MemoryBudget* budget, Bytes size) : budget_(budget), size_(size) {}
  void Release();

  MemoryBudget* budget_ = nullptr;
  Bytes size_ = 0;
};

// Any thread. Outlives its reservations.
class MemoryBudget {
 public:
  explicit MemoryBudget(Bytes limit) : limit_(limit) {}
  MemoryBudget(const MemoryBudget&) = delete;
  MemoryBudget& operator=(const MemoryBudget&) = delete;

  // Nothing if less than `size` is left.
  std::optional<Reservation> Reserve(Bytes size);
  // Throws Error if less than `size` is left: how much `what`, in the plural, need, and `advice`.
  Reservation ReserveOrThrow(Bytes size, std::string_view what, std::string_view advice);

  Bytes limit() const { return limit_; }
  Bytes reserved() const;

 private:
  friend class Reservation;
  void Return(Bytes size);

  const Bytes limit_;
  mutable std::mutex mutex_;
  Bytes reserved_ = 0;
};

}  // namespace doppler
