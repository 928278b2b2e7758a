// Zip archives as torch.save writes them: every record stored, sizes in the central directory.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

namespace wingspan {

class ZipArchive {
 public:
  // `bytes` is the whole file; `where` goes into the errors. Errors (kInvalidInput): not a zip
  // archive, truncated, a record named twice, more records than kMostRecords.
  static Expected<ZipArchive> open(std::string bytes, std::string where);
  ZipArchive(ZipArchive&&) noexcept;
  ZipArchive& operator=(ZipArchive&&) noexcept;
  ~ZipArchive();

  const std::vector<std::string>& names() const { return names_; }
  bool has(const std::string& name) const;
  // Errors: missing, compressed or encrypted (torch does neither), larger than the file, CRC-32
  // mismatch (a CRC of 0 means that none was computed).
  Expected<std::string> read(const std::string& name) const;
  const std::string& where() const { return where_; }

 private:
  struct Handle;
  ZipArchive();
  std::unique_ptr<Handle> handle_;
  std::string where_;
  std::vector<std::string> names_;
};

}  // namespace wingspan
