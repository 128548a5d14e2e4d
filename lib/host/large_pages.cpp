#include <proxycore/detail/label_tree.h>

#include <new>

#include <sys/mman.h>

namespace proxycore::detail {

void* LargePages::allocate(std::size_t bytes) {
  void* memory = ::operator new (bytes, std::align_val_t{size});
  (void)::madvise(memory, bytes, MADV_HUGEPAGE);  // a wish
  return memory;
}

}  // namespace proxycore::detail
