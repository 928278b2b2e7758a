#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace wingspan {
namespace {

namespace fs = std::filesystem;

std::string errno_text() { return std::strerror(errno); }

// A file that is not there, or not for us, was named wrongly; anything else is the machine's fault.
Unexpected cannot_open(const std::string& path) {
  const bool wrong_path = errno == ENOENT || errno == ENOTDIR || errno == EACCES;
  const std::string what = "can't open the file: " + errno_text();
  return wrong_path ? invalid_input(what, path, "check the path") : io_error(what, path);
}

class PosixFile final : public RandomAccessFile {
 public:
  PosixFile(int fd, uint64_t size, std::string path)
      : fd_(fd), size_(size), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }
  PosixFile(const PosixFile&) = delete;
  PosixFile& operator=(const PosixFile&) = delete;

  uint64_t size() const override { return size_; }
  Status read_at(uint64_t offset, std::span<std::byte> out) const override {
    size_t done = 0;
    while (done < out.size()) {
      const ssize_t n =
          ::pread(fd_, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return io_error("reading failed: " + errno_text(), path_);
      if (n == 0) {
        return io_error(fmt::format("the file ends at byte {} of the {} asked for", offset + done,
                                    offset + out.size()),
                        path_, "it is truncated; fetch it again");
      }
      done += static_cast<size_t>(n);
    }
    return {};
  }

 private:
  int fd_;
  uint64_t size_;
  std::string path_;
};

class PosixSink final : public FileSink {
 public:
  PosixSink(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  Status write(std::span<const std::byte> bytes) override {
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) {
        return io_error("writing failed: " + errno_text(), path_,
                        "free some space or choose another place");
      }
      done += static_cast<size_t>(n);
    }
    return {};
  }

 private:
  int fd_;
  std::string path_;
};

class RealFiles final : public Files {
 public:
  bool exists(const std::string& path) const override {
    std::error_code ignored;
    return fs::exists(path, ignored);
  }
  bool is_directory(const std::string& path) const override {
    std::error_code ignored;
    return fs::is_directory(path, ignored);
  }
  Expected<std::vector<std::string>> list(const std::string& directory) const override {
    std::error_code error;
    std::vector<std::string> names;
    for (fs::directory_iterator it(directory, error), end; !error && it != end;
         it.increment(error)) {
      names.push_back(it->path().filename().string());
    }
    if (error) return io_error("can't list the directory: " + error.message(), directory);
    std::sort(names.begin(), names.end());
    return names;
  }

  Expected<std::shared_ptr<RandomAccessFile>> open(const std::string& path) const override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cannot_open(path);
    struct stat info {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      return invalid_input("not a regular file", path, "check the path");
    }
    return std::make_shared<PosixFile>(fd, static_cast<uint64_t>(info.st_size), path);
  }

  Status write_atomically(const std::string& path,
                          const std::function<Status(FileSink&)>& fill) const override {
    struct stat info {};
    if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) return write_into(path, fill);
    // A link stays a link: what it points at is replaced.
    std::error_code no_link;
    const fs::path target = fs::canonical(path, no_link);
    return replace(no_link ? path : target.string(), fill);
  }

 private:
  // A device or a pipe takes what is written to it; renaming over it would take it away.
  static Status write_into(const std::string& path, const std::function<Status(FileSink&)>& fill) {
    const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0) return io_error("can't open for writing: " + errno_text(), path);
    PosixSink sink(fd, path);
    Status status = fill(sink);
    if (::close(fd) != 0 && status) status = io_error("writing failed: " + errno_text(), path);
    return status;
  }

  static Status replace(const std::string& path, const std::function<Status(FileSink&)>& fill) {
    std::string temporary = path + ".tmp-XXXXXX";
    const int fd = ::mkstemp(temporary.data());
    if (fd < 0) {
      return io_error("can't create a file: " + errno_text(), path,
                      "check that the directory exists and may be written");
    }
    PosixSink sink(fd, path);
    Status status = fill(sink);
    const mode_t mask = ::umask(0);
    ::umask(mask);
    if (status && ::fchmod(fd, 0666 & ~mask) != 0) {
      status = io_error("can't set the mode: " + errno_text(), path);
    }
    if (status && ::fsync(fd) != 0 && errno != EINVAL) {
      status = io_error("writing failed: " + errno_text(), path, "free some space");
    }
    if (::close(fd) != 0 && status) status = io_error("writing failed: " + errno_text(), path);
    if (status && ::rename(temporary.c_str(), path.c_str()) != 0) {
      status = io_error("can't rename into place: " + errno_text(), path);
    }
    if (!status) ::unlink(temporary.c_str());
    return status;
  }
};

}  // namespace

Status FileSink::write(std::string_view text) {
  return write(std::as_bytes(std::span(text.data(), text.size())));
}

Expected<std::string> Files::read_text(const std::string& path, uint64_t max_bytes) const {
  WS_ASSIGN(auto file, open(path));
  if (file->size() > max_bytes) {
    return invalid_input(
        fmt::format("{} bytes, more than the limit of {}", file->size(), max_bytes), path);
  }
  std::string text(file->size(), '\0');
  WS_RETURN_IF_ERROR(file->read_at(0, std::as_writable_bytes(std::span(text.data(), text.size()))));
  return text;
}

Status Files::write_text(const std::string& path, std::string_view text) const {
  return write_atomically(path, [&](FileSink& sink) { return sink.write(text); });
}

const Files& real_files() {
  static const RealFiles files;
  return files;
}

}  // namespace wingspan
