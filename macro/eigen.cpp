// See eigen.h. OpenBLAS carries LAPACK under its Fortran names, without a header of its own in Debian's package.
#include "macro/eigen.h"

extern "C" void dsyevd_(const char* jobz, const char* uplo, const int* n, double* a, const int* lda, double* w, double* work, const int* lwork, int* iwork, const int* liwork, int* info);
extern "C" void dpotrf_(const char* uplo, const int* n, double* a, const int* lda, int* info);
extern "C" void dpotri_(const char* uplo, const int* n, double* a, const int* lda, int* info);

namespace pith {

Result<Eigen> symmetric_eigen(std::vector<double> a, int64_t n) {
  const int size = static_cast<int>(n), ask = -1;
  std::vector<double> ascending(static_cast<size_t>(n)), work(1);
  std::vector<int> whole(1);
  int info = 0;
  dsyevd_("V", "L", &size, a.data(), &size, ascending.data(), work.data(), &ask, whole.data(), &ask, &info);
  const int reals = static_cast<int>(work[0]), integers = whole[0];
  work.resize(static_cast<size_t>(reals)), whole.resize(static_cast<size_t>(integers));
  dsyevd_("V", "L", &size, a.data(), &size, ascending.data(), work.data(), &reals, whole.data(), &integers, &info);
  if (info != 0) return usage_error("a layer's second moments have no eigenvectors: its weights or samples are too large, or not numbers");
  Eigen e{{ascending.rbegin(), ascending.rend()}, std::vector<double>(a.size())};
  for (int64_t r = 0; r < n; ++r) {  // column n - 1 - r of column-major `a`
    for (int64_t o = 0; o < n; ++o) e.vectors[static_cast<size_t>(o * n + r)] = a[static_cast<size_t>((n - 1 - r) * n + o)];
  }
  return e;
}

std::vector<double> symmetric_inverse(std::vector<double> a, int64_t n) {
  const int size = static_cast<int>(n);
  int info = 0;
  dpotrf_("U", &size, a.data(), &size, &info);  // row-major: the lower triangle
  if (info == 0) dpotri_("U", &size, a.data(), &size, &info);
  if (info != 0) return {};
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = i + 1; j < n; ++j) a[static_cast<size_t>(i * n + j)] = a[static_cast<size_t>(j * n + i)];
  }
  return a;
}

}  // namespace pith
