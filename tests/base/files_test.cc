#include "base/files.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

namespace wingspan {
namespace {

namespace fs = std::filesystem;

class FilesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = fs::temp_directory_path() / ("wingspan_files_" + std::to_string(::getpid()));
    fs::create_directories(directory_);
  }
  void TearDown() override { fs::remove_all(directory_); }
  std::string in(const std::string& name) const { return (directory_ / name).string(); }
  size_t count() const {
    return static_cast<size_t>(std::distance(fs::directory_iterator(directory_), {}));
  }

  fs::path directory_;
};

TEST_F(FilesTest, AFullDeviceIsAnErrorAndStaysADevice) {
  fs::create_symlink("/dev/full", in("full"));
  const Status status = real_files().write_text(in("full"), "text");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().exit_code(), 1);
  EXPECT_TRUE(fs::is_character_file(in("full")));
  EXPECT_TRUE(fs::is_symlink(in("full")));
  EXPECT_EQ(count(), 1U);
}

TEST_F(FilesTest, ALinkStaysALink) {
  ASSERT_TRUE(real_files().write_text(in("target"), "old"));
  fs::create_symlink(in("target"), in("link"));
  ASSERT_TRUE(real_files().write_text(in("link"), "new"));
  EXPECT_TRUE(fs::is_symlink(in("link")));
  EXPECT_EQ(real_files().read_text(in("target"), 100).value(), "new");
}

TEST_F(FilesTest, NothingHalfWrittenStays) {
  ASSERT_TRUE(real_files().write_text(in("f"), "whole"));
  const Status status = real_files().write_atomically(in("f"), [](FileSink& sink) -> Status {
    WS_RETURN_IF_ERROR(sink.write(std::string_view("half")));
    return io_error("stopped", "f");
  });
  EXPECT_FALSE(status);
  EXPECT_EQ(real_files().read_text(in("f"), 100).value(), "whole");
  EXPECT_EQ(count(), 1U);
}

}  // namespace
}  // namespace wingspan
