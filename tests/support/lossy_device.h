// A network device that loses packets, for tests and measurements.
#pragma once

#include <string>

namespace doppler {

// As long as this lives, a part of the packets that arrive at the device, chosen by chance, is lost
// before anything looks at it. The device sends packets of an Ethernet's size from then on, so that
// one loss is as small as on a wire. For devices of a network of one's own: all that arrives is
// hit.
class LossyDevice {
 public:
  // `device` is of the network of the calling thread; `per_mille` is at most 1000. Throws Error
  // where the kernel (Linux 5.9) or the privileges for it are missing.
  LossyDevice(const std::string& device, unsigned per_mille);
  ~LossyDevice();
  LossyDevice(const LossyDevice&) = delete;
  LossyDevice& operator=(const LossyDevice&) = delete;

 private:
  int link_;
};

// How many TCP segments were sent again so far in the network of the calling thread.
unsigned long TcpSegmentsSentAgain();

}  // namespace doppler
