#include "backend/int8_rate.h"

namespace doppler {

Int8Kernel Int8Products(CpuPath) { return CompiledInt8Products(); }

}  // namespace doppler
