#include "tier/budget.h"

#include <utility>

#include "base/error.h"

namespace doppler {

Reservation::Reservation(Reservation&& other) noexcept
    : budget_(std::exchange(other.budget_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  std::swap(budget_, other.budget_);
  std::swap(size_, other.size_);
  return *this;
}

void Reservation::Release() {
  if (budget_ != nullptr) budget_->Return(size_);
  budget_ = nullptr;
}

std::optional<Reservation> MemoryBudget::Reserve(Bytes size) {
  const std::lock_guard lock(mutex_);
  if (size > limit_ - reserved_) return std::nullopt;
  reserved_ += size;
  return Reservation(this, size);
}

Reservation MemoryBudget::ReserveOrThrow(Bytes size, std::string_view what,
                                         std::string_view advice) {
  std::optional<Reservation> reservation = Reserve(size);
  if (!reservation) {
    Throw("{} need {} and {} of the budget is left; {}", what, FormatSize(size),
          FormatSize(limit_ - reserved()), advice);
  }
  return std::move(*reservation);
}

Bytes MemoryBudget::reserved() const {
  const std::lock_guard lock(mutex_);
  return reserved_;
}

void MemoryBudget::Return(Bytes size) {
  const std::lock_guard lock(mutex_);
  DOPPLER_CHECK(size <= reserved_);
  reserved_ -= size;
}

}  // namespace doppler
