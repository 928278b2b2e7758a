// Files of torch.save: a zip archive with one pickle and one record a storage.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/files.h"
#include "base/status.h"
#include "eplb_files/pickle.h"
#include "eplb_files/zip_archive.h"

namespace wingspan {

// The elements of a tensor, row-major, as the two number types that counts need.
struct TorchTensor {
  std::vector<int64_t> shape;
  bool is_real = false;
  std::vector<int64_t> whole;  // is_real: empty
  std::vector<double> real;
};

class TorchFile {
 public:
  // `bytes` is the whole file. Errors (kInvalidInput): not a zip archive (the legacy form
  // included), no or two data.pkl, an unknown byte order, what pickle.h refuses.
  static Expected<TorchFile> open(std::string bytes, const std::string& where);

  const Pickle& pickle() const { return pickle_; }
  const std::string& where() const { return where_; }
  // A number of the pickle, of a tensor or of lists of lists. `name` goes into the errors: a shape,
  // stride, offset or storage that does not fit, more than 3 dimensions, an element count above
  // what the file's size explains, ragged lists, entries that are no numbers.
  Expected<TorchTensor> numbers(PickleId id, const std::string& name) const;

 private:
  TorchFile(ZipArchive zip, Pickle pickle, std::string where)
      : zip_(std::move(zip)), pickle_(std::move(pickle)), where_(std::move(where)) {}
  Expected<TorchTensor> tensor(const PickleTensor& tensor, const std::string& name) const;
  Expected<std::string> storage_bytes(const PickleStorage& storage, size_t item,
                                      const std::string& name) const;
  Expected<TorchTensor> lists(PickleId id, const std::string& name) const;

  ZipArchive zip_;
  Pickle pickle_;
  std::string where_, prefix_;
  bool swap_bytes_ = false;
  uint64_t most_elements_ = 0;
};

}  // namespace wingspan
