// The same program as MPI processes: same bits, and lost processes named. Skipped without mpirun.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/json.h"
#include "comm/mpi.h"
#include "support/paths.h"
#include "support/process.h"

namespace wingspan::test {
namespace {

class Mpi : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!mpi_built_in() || !have_program("mpirun")) GTEST_SKIP() << "no MPI here";
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  }
  static Finished run(int processes, std::vector<std::string> arguments) {
    std::vector<std::string> all = {"mpirun", "--oversubscribe", "-n", std::to_string(processes),
                                    WINGSPAN_BINARY};
    all.insert(all.end(), arguments.begin(), arguments.end());
    return run_process(all, 120);
  }
};

const std::vector<std::string> kRun = {
    "generate", "--model",      wren(), "--prompt", "Es war einmal", "--prompt",
    "def f(x)", "--max-tokens", "10",   "--json",   "--logprobs"};

TEST_F(Mpi, AnyNumberOfProcessesGivesTheBitsOfOneRank) {
  const Finished one = run_wingspan(kRun);
  ASSERT_EQ(one.exit_code, 0) << one.err;
  const Json want = Json::parse(one.out)["results"];
  for (const int processes : {1, 2, 3, 4}) {
    const Finished f = run(processes, kRun);
    ASSERT_EQ(f.exit_code, 0) << f.err;
    const Json got = Json::parse(f.out);
    EXPECT_EQ(got["transport"], "mpi");
    EXPECT_EQ(got["ep"], processes);
    EXPECT_EQ(got["results"], want) << processes << " processes";
  }
}

TEST_F(Mpi, VerifyPasses) {
  const Finished f = run(
      3, {"verify", "--model", golden_path("models/deepseek_v3"), "--max-tokens", "4", "--json"});
  EXPECT_EQ(f.exit_code, 0) << f.err;
  EXPECT_EQ(Json::parse(f.out)["differing_bits"], 0);
}

TEST_F(Mpi, BadInputIsSaidOnce) {
  auto arguments = kRun;
  arguments.insert(arguments.end(), {"--ep", "5"});
  const Finished f = run(2, arguments);
  EXPECT_EQ(f.exit_code, 2);
  const size_t first = f.err.find("wingspan: error: ");
  ASSERT_NE(first, std::string::npos) << f.err;
  EXPECT_EQ(f.err.find("wingspan: error: ", first + 1), std::string::npos) << f.err;
}

// Signals rank 1, the newest process of the run, once the run has begun to write text.
std::string signalled(const char* signal) {
  return std::string("text=$(mktemp); mpirun --oversubscribe -n 2 ") + WINGSPAN_BINARY +
         " generate --model " + wren() +
         " --prompt a --prompt b --max-tokens 1000 --ignore-eos --kernel reference --threads 1 "
         ">$text & run=$!; "
         "for i in $(seq 300); do [ -s $text ] && break; sleep 0.1; done; "
         "victim=$(ps -o pid= --ppid $run | tail -1); kill -" +
         signal + " $victim; wait $run; echo code $?; rm $text";
}

TEST_F(Mpi, AStoppedProcessIsNamed) {
  if (!have_program("ps")) GTEST_SKIP() << "no ps here";
  const Finished f = run_process({"sh", "-c", signalled("STOP")}, 60);
  EXPECT_FALSE(f.timed_out);
  EXPECT_NE(f.err.find("stopped answering in "), std::string::npos) << f.err;
  EXPECT_NE(f.out.find("code 1\n"), std::string::npos) << f.out;
}

TEST_F(Mpi, ADeadProcessIsNamed) {
  if (!have_program("ps")) GTEST_SKIP() << "no ps here";
  const Finished f = run_process({"sh", "-c", signalled("KILL")}, 60);
  EXPECT_FALSE(f.timed_out);
  EXPECT_NE(f.err.find(" ended in "), std::string::npos) << f.err;
  EXPECT_EQ(f.out.find("code 0"), std::string::npos) << f.out;
}

}  // namespace
}  // namespace wingspan::test
