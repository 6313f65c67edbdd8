// Which instruction sets this processor and its operating system offer, and the kernels of each.
#include "runtime/kernels/kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace pith::runtime {

namespace {

constexpr Kernels reference_kernels() {
  Kernels k;
#define PITH_KERNEL_TYPE(name, ...) k.name = name##_ref;
#include "runtime/kernels/kernels.inc"
#undef PITH_KERNEL_TYPE
  k.by_changes = true;
  return k;
}

// Rows of one set over the kernels of the set before.
enum class Suffix { avx2, avx512, neon, neondot };
constexpr Kernels with_rows(Kernels k, Suffix wanted) {
#define PITH_KERNEL(name, isa) \
  if (wanted == Suffix::isa) k.name = name##_##isa;
#include "runtime/kernels/kernels.inc"
#undef PITH_KERNEL
  k.by_changes = false;
  return k;
}
constexpr Kernels with_lanes(Kernels k, int32_t lanes) {
  k.depthwise_lanes = lanes;
  return k;
}

constexpr Kernels kReference = reference_kernels();
#if defined(__x86_64__)
constexpr Kernels kAvx2 = with_lanes(with_rows(kReference, Suffix::avx2), 2);
constexpr Kernels kAvx512 = with_lanes(with_rows(kAvx2, Suffix::avx512), 4);

struct Cpuid {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  explicit Cpuid(unsigned leaf) { __get_cpuid_count(leaf, 0, &eax, &ebx, &ecx, &edx); }
};
// The vector registers that the operating system saves.
unsigned enabled_state() {
  if (!(Cpuid(1).ecx >> 27 & 1)) return 0;
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
bool has_avx2() {
  const Cpuid one(1), seven(7);
  const bool fma = one.ecx >> 12 & 1, avx2 = seven.ebx >> 5 & 1;
  return fma && avx2 && (enabled_state() & 0x6) == 0x6;
}
bool has_avx512() {
  const Cpuid seven(7);
  const bool f = seven.ebx >> 16 & 1, dq = seven.ebx >> 17 & 1, bw = seven.ebx >> 30 & 1, vl = seven.ebx >> 31 & 1;
  const bool vbmi = seven.ecx >> 1 & 1, vnni = seven.ecx >> 11 & 1;
  return has_avx2() && f && dq && bw && vl && vbmi && vnni && (enabled_state() & 0xe6) == 0xe6;
}
#elif defined(__aarch64__)
constexpr Kernels kNeon = with_rows(kReference, Suffix::neon);
constexpr Kernels kNeonDot = with_rows(kNeon, Suffix::neondot);
bool has_dot_product() {
#if defined(__linux__)
  return (getauxval(AT_HWCAP) & (1ul << 20)) != 0;  // HWCAP_ASIMDDP
#else
  return false;
#endif
}
#endif

}  // namespace

const char* isa_name(Isa isa) {
  constexpr const char* kNames[kIsaCount] = {"reference", "avx2", "avx512", "neon", "neondot"};
  return kNames[static_cast<int>(isa)];
}

bool isa_available(Isa isa) {
  if (isa == Isa::kReference) return true;
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return has_avx2();
  if (isa == Isa::kAvx512) return has_avx512();
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return true;
  if (isa == Isa::kNeonDot) return has_dot_product();
#endif
  return false;
}

Isa best_isa() {
  Isa best = Isa::kReference;
  for (int i = 0; i < kIsaCount; ++i) {
    if (isa_available(static_cast<Isa>(i))) best = static_cast<Isa>(i);
  }
  return best;
}

const Kernels& kernels_of(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return kAvx2;
  if (isa == Isa::kAvx512) return kAvx512;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kNeon;
  if (isa == Isa::kNeonDot) return kNeonDot;
#endif
  (void)isa;
  return kReference;
}

}  // namespace pith::runtime
