// Event streams, clients that leave, slow readers, and the server's own end.
#include <gtest/gtest.h>

#include <thread>

#include "serve/test_server.h"

namespace wingspan::serve {
namespace {

using test::get;
using test::post;
using test::RawClient;
using test::TestServer;

test::Held hold(TestServer& server, RawClient& client, const std::string& headers = "") {
  EXPECT_TRUE(client.send(post("/hold", "{}", headers)));
  auto held = server.take();
  EXPECT_TRUE(held);
  return held.value_or(test::Held{});
}

TEST(HttpStream, EventsAreLinesOfDataAndTheLastIsDone) {
  TestServer server;
  RawClient client = server.client();
  const test::Held held = hold(server, client);
  held.responder->begin_stream();
  held.responder->events({R"({"a":1})"});
  client.read_until("\"a\":1}\n\n");
  held.responder->events({R"({"a":2})", R"({"a":3})"});
  held.responder->end_stream();
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 200);
  EXPECT_TRUE(answer->header("content-type").starts_with("text/event-stream"));
  EXPECT_EQ(answer->header("cache-control"), "no-cache");
  EXPECT_EQ(answer->header("transfer-encoding"), "chunked");
  EXPECT_EQ(answer->header("content-encoding"), "");
  EXPECT_EQ(answer->body,
            "data: {\"a\":1}\n\ndata: {\"a\":2}\n\ndata: {\"a\":3}\n\ndata: [DONE]\n\n");
  // An event is never split over chunks, and those of one call share one.
  EXPECT_EQ(answer->chunks, (std::vector<std::string>{"data: {\"a\":1}\n\n",
                                                      "data: {\"a\":2}\n\ndata: {\"a\":3}\n\n",
                                                      "data: [DONE]\n\n"}));
  ASSERT_TRUE(client.send(get("/live")));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 200);
  EXPECT_EQ(held.gone->count(), 0);
}

TEST(HttpStream, TheHeaderComesWithTheFirstEvent) {
  TestServer server;
  RawClient client = server.client();
  const test::Held held = hold(server, client);
  held.responder->begin_stream();
  EXPECT_EQ(client.read_until("HTTP", 0.05), "");
  held.responder->events({"1"});
  EXPECT_NE(client.read_until("data: 1\n\n").find("HTTP/1.1 200 OK"), std::string::npos);
}

TEST(HttpStream, EachEventArrivesWhole) {
  TestServer server;
  RawClient client = server.client();
  const test::Held held = hold(server, client);
  held.responder->begin_stream();
  std::string before = client.read_until("", 0);
  for (int i = 0; i < 200; ++i) {
    held.responder->events({R"({"text":" )" + std::to_string(i) + " \"}"});
    // Whatever a read brings, it ends at the end of an event's chunk.
    const std::string bytes = client.read_until(std::to_string(i) + " \"}\n\n\r\n");
    ASSERT_TRUE(bytes.ends_with("\n\n\r\n")) << bytes.substr(bytes.size() - 40);
  }
}

TEST(HttpStream, AnErrorInMidStreamIsAnEventThenDone) {
  TestServer server;
  RawClient client = server.client();
  const test::Held held = hold(server, client);
  held.responder->begin_stream();
  held.responder->events({"1"});
  held.responder->events({error_event(500, "rank 3 is lost")});
  held.responder->end_stream();
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  ASSERT_EQ(answer->chunks.size(), 3U);
  const Json event = Json::parse(answer->chunks[1].substr(6));
  EXPECT_EQ(event["error"]["message"], "rank 3 is lost");
  EXPECT_EQ(event["error"]["code"], 500);
  EXPECT_EQ(answer->chunks[2], "data: [DONE]\n\n");
}

TEST(HttpStream, AHandlerThatForgetsItsStreamEndsIt) {
  TestServer server;
  RawClient client = server.client();
  {
    const test::Held held = hold(server, client);
    held.responder->begin_stream();
    held.responder->events({"1"});
  }
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_NE(answer->body.find("\"error\""), std::string::npos);
  EXPECT_TRUE(answer->body.ends_with("data: [DONE]\n\n"));
}

TEST(HttpStream, Http10StreamsEndWithTheConnection) {
  TestServer server;
  RawClient client = server.client();
  ASSERT_TRUE(client.send("POST /hold HTTP/1.0\r\nContent-Length: 2\r\n\r\n{}"));
  const auto held = server.take();
  ASSERT_TRUE(held);
  held->responder->begin_stream();
  held->responder->events({"1"});
  held->responder->end_stream();
  const auto bytes = client.read_to_end();
  ASSERT_TRUE(bytes);
  EXPECT_TRUE(bytes->ends_with("\r\n\r\ndata: 1\n\ndata: [DONE]\n\n")) << *bytes;
  EXPECT_EQ(bytes->find("chunked"), std::string::npos);
}

TEST(HttpStream, AResetIsNoticedThoughNothingIsWritten) {
  TestServer server;
  for (const bool streaming : {true, false}) {
    RawClient client = server.client();
    const test::Held held = hold(server, client);
    if (streaming) {
      held.responder->begin_stream();
      held.responder->events({"1"});
      client.read_until("data: 1\n\n");
    }
    client.reset();
    EXPECT_TRUE(held.gone->wait());
    held.responder->events({"2"});
    held.responder->end_stream();
    held.responder->reply({});
  }
  const auto log = server.log(2);
  ASSERT_EQ(log.size(), 2U);
  for (const AccessRecord& record : log) EXPECT_FALSE(record.complete);
  EXPECT_EQ(server.server->counters().clients_gone, 2);
  EXPECT_TRUE(server.server->wait_idle(5));
}

// close() looks like the end of sending until something is written; the reset that comes back is
// noticed at once.
TEST(HttpStream, AClosedClientIsGoneWithinTwoWrites) {
  TestServer server;
  RawClient client = server.client();
  const test::Held held = hold(server, client);
  held.responder->begin_stream();
  held.responder->events({"1"});
  client.read_until("data: 1\n\n");
  client.close();
  held.responder->events({"2"});
  if (!held.gone->wait(1, 0.5)) held.responder->events({"3"});
  EXPECT_TRUE(held.gone->wait());
  EXPECT_EQ(server.log(1).size(), 1U);
}

TEST(HttpStream, AHalfClosedClientIsNotGone) {
  TestServer server;
  for (const bool streaming : {true, false}) {
    RawClient client = server.client();
    ASSERT_TRUE(client.send(post("/hold", "{}")));
    client.finish_sending();
    const auto held = server.take();
    ASSERT_TRUE(held);
    EXPECT_FALSE(held->gone->wait(1, 0.05));
    if (streaming) {
      held->responder->begin_stream();
      for (int i = 0; i < 5; ++i) {
        held->responder->events({std::to_string(i)});
        client.read_until("data: " + std::to_string(i) + "\n\n");
      }
      EXPECT_EQ(held->gone->count(), 0);
      held->responder->end_stream();
    } else {
      held->responder->reply({});
    }
    EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 200);
    EXPECT_TRUE(client.ended());
  }
  EXPECT_EQ(server.server->counters().clients_gone, 0);
}

// A half-closed client that then dies.
TEST(HttpStream, AResetAfterAHalfCloseIsNoticed) {
  TestServer server;
  RawClient client = server.client();
  ASSERT_TRUE(client.send(post("/hold", "{}")));
  client.finish_sending();
  const auto held = server.take();
  ASSERT_TRUE(held);
  EXPECT_FALSE(held->gone->wait(1, 0.05));
  client.reset();
  EXPECT_TRUE(held->gone->wait());
}

TEST(HttpStream, AClientThatLeftBeforeTheHandlerRanIsTold) {
  const auto told = std::make_shared<test::Signal>();
  test::Signal started, left;
  std::vector<Route> routes;
  routes.push_back({"POST", "/late", [&](const auto&, const auto& responder) {
                      started.set();
                      left.wait();
                      responder->on_gone([told] { told->set(); });
                      told->wait();
                    }});
  HttpOptions options;
  options.port = 0;
  HttpHooks hooks;
  hooks.log = [&](const AccessRecord&) { left.set(); };
  const auto server = *HttpServer::start(options, std::move(routes), std::move(hooks));
  RawClient client(server->port());
  ASSERT_TRUE(client.send(post("/late", "x")));
  ASSERT_TRUE(started.wait());
  client.reset();
  EXPECT_TRUE(told->wait());
  server->stop();
  EXPECT_EQ(told->count(), 1);
}

TEST(HttpStream, ASlowReaderIsDroppedAndHoldsNobody) {
  HttpOptions options;
  options.output_bytes = 64 * 1024;
  options.kernel_send_bytes = 8 * 1024;
  TestServer server(options);
  RawClient slow = server.client(4096);
  RawClient quick = server.client();
  const test::Held slow_held = hold(server, slow);
  const test::Held quick_held = hold(server, quick);
  slow_held.responder->begin_stream();
  quick_held.responder->begin_stream();
  const std::string event(1000, 'x');
  double longest_s = 0;
  for (int i = 0; i < 400; ++i) {
    const int64_t begin_ns = system_clock().now_ns();
    slow_held.responder->events({event});
    quick_held.responder->events({std::to_string(i)});
    longest_s = std::max(longest_s, seconds(begin_ns, system_clock().now_ns()));
    quick.read_until("data: " + std::to_string(i) + "\n\n");
  }
  EXPECT_LT(longest_s, 1);  // a write never waits for a client
  EXPECT_TRUE(slow_held.gone->wait());
  EXPECT_EQ(quick_held.gone->count(), 0);
  quick_held.responder->end_stream();
  EXPECT_EQ(quick.answer().value_or(test::RawAnswer{}).status, 200);
  const auto log = server.log(2);
  ASSERT_EQ(log.size(), 2U);
  EXPECT_TRUE(log[0].overflow);
  EXPECT_LT(log[0].sent_bytes, 200'000);
  EXPECT_EQ(server.server->counters().overflows, 1);
}

TEST(HttpStream, AnAnswerThatNobodyReadsIsGivenUp) {
  HttpOptions options;
  options.kernel_send_bytes = 8 * 1024;
  options.stall_s = 0.3;
  TestServer server(options);
  RawClient client = server.client(4096);
  const test::Held held = hold(server, client);
  HttpResponse response;
  response.body = std::string(8 << 20, 'x');
  held.responder->reply(std::move(response));
  const auto log = server.log(1);
  ASSERT_EQ(log.size(), 1U);
  EXPECT_FALSE(log[0].complete);
  EXPECT_TRUE(server.eventually([&] { return server.server->counters().connections == 0; }));
}

TEST(HttpStream, ALargeAnswerReachesAReaderThatTakesItsTime) {
  HttpOptions options;
  options.kernel_send_bytes = 8 * 1024;
  TestServer server(options);
  RawClient client = server.client(8192);
  const test::Held held = hold(server, client);
  HttpResponse response;
  for (int i = 0; i < 300'000; ++i) response.body += std::to_string(i) + " ";
  const std::string expected = response.body;
  held.responder->reply(std::move(response));
  EXPECT_EQ(client.answer(20).value_or(test::RawAnswer{}).body, expected);
}

TEST(HttpStream, EventsFromManyThreadsKeepTheirOrder) {
  TestServer server;
  constexpr int kClients = 8, kEvents = 300;
  std::vector<RawClient> clients;
  std::vector<test::Held> held;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(server.client());
    held.push_back(hold(server, clients.back()));
  }
  std::vector<std::thread> writers;
  for (int i = 0; i < kClients; ++i) {
    writers.emplace_back([&responder = *held[static_cast<size_t>(i)].responder] {
      responder.begin_stream();
      for (int k = 0; k < kEvents; ++k) responder.events({std::to_string(k)});
      responder.end_stream();
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::string expected;
  for (int k = 0; k < kEvents; ++k) expected += "data: " + std::to_string(k) + "\n\n";
  for (RawClient& client : clients) {
    EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).body, expected + "data: [DONE]\n\n");
  }
}

TEST(HttpLife, HealthFollowsItsSourceAndLiveDoesNot) {
  TestServer server;
  RawClient client = server.client();
  const auto status = [&](const std::string& path) {
    client.send(get(path));
    return client.answer().value_or(test::RawAnswer{}).status;
  };
  EXPECT_EQ(status("/health"), 200);
  server.set_health({false, "the last step was 31 s ago"});
  ASSERT_TRUE(client.send(get("/health")));
  const auto answer = client.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 503);
  EXPECT_EQ(answer->reason, "the last step was 31 s ago");
  EXPECT_EQ(status("/live"), 200);
}

TEST(HttpLife, HealthIsQuickWhileHandlersAreBusy) {
  std::atomic<bool> go{false};
  std::vector<Route> routes = health_routes([] { return Health{true, ""}; });
  routes.push_back({"POST", "/slow", [&](const auto&, const auto& responder) {
                      while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
                      responder->reply({});
                    }});
  HttpOptions options;
  options.port = 0;
  options.max_queued = 10;
  const auto server = *HttpServer::start(options, std::move(routes), {});
  std::vector<RawClient> clients;
  int refused = 0;
  for (int i = 0; i < 30; ++i) {
    clients.emplace_back(server->port());
    ASSERT_TRUE(clients.back().send(post("/slow", "x")));
    RawClient probe(server->port());
    const int64_t begin_ns = system_clock().now_ns();
    ASSERT_TRUE(probe.send(get("/health")));
    EXPECT_EQ(probe.answer().value_or(test::RawAnswer{}).status, 200);
    EXPECT_LT(seconds(begin_ns, system_clock().now_ns()), 0.5);
  }
  go = true;
  for (RawClient& client : clients) {
    const int status = client.answer().value_or(test::RawAnswer{}).status;
    EXPECT_TRUE(status == 200 || status == 429) << status;
    refused += status == 429;
  }
  EXPECT_GE(refused, 30 - 10 - 2 - 2) << "the queue for threads is bounded";
}

TEST(HttpLife, DrainRefusesTheNewAndFinishesTheOld) {
  TestServer server;
  RawClient old = server.client(), idle = server.client();
  const test::Held held = hold(server, old);
  held.responder->begin_stream();
  held.responder->events({"1"});
  ASSERT_TRUE(idle.send(get("/key")));
  EXPECT_EQ(idle.answer().value_or(test::RawAnswer{}).status, 200);

  server.server->drain_begin();
  ASSERT_TRUE(idle.send(get("/key")));
  const auto refused = idle.answer();
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 503);
  EXPECT_NE(refused->header("retry-after"), "");
  EXPECT_EQ(refused->header("connection"), "close");
  RawClient probe = server.client();
  ASSERT_TRUE(probe.send(get("/live")));
  EXPECT_EQ(probe.answer().value_or(test::RawAnswer{}).status, 200);

  EXPECT_FALSE(server.server->wait_idle(0.05));
  held.responder->events({"2"});
  held.responder->end_stream();
  const auto answer = old.answer();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->body, "data: 1\n\ndata: 2\n\ndata: [DONE]\n\n");
  EXPECT_TRUE(old.ended());
  EXPECT_FALSE(old.was_reset());
  EXPECT_TRUE(server.server->wait_idle(5));
}

TEST(HttpLife, StopTellsEveryHandlerAndComesBack) {
  TestServer server;
  std::vector<RawClient> clients;
  std::vector<test::Held> held;
  for (int i = 0; i < 5; ++i) {
    clients.push_back(server.client());
    held.push_back(hold(server, clients.back()));
  }
  held[0].responder->begin_stream();
  held[0].responder->events({"1"});
  server.server->stop();
  for (const test::Held& one : held) EXPECT_EQ(one.gone->count(), 1);
  for (RawClient& client : clients) EXPECT_TRUE(client.ended());
  // A Responder may outlive its server.
  held[0].responder->events({"2"});
  held[1].responder->reply({});
  held[2].responder->on_gone([] {});
  server.server->stop();
  server.server->post([] { FAIL(); });
}

TEST(HttpLife, WorkThatIsPostedRunsInOrderOnOneThread) {
  TestServer server;
  std::vector<int> seen;
  test::Signal done;
  std::thread::id thread;
  for (int i = 0; i < 100; ++i) {
    server.server->post([&, i] {
      if (i == 0) thread = std::this_thread::get_id();
      EXPECT_EQ(thread, std::this_thread::get_id());
      seen.push_back(i);
      if (i == 99) done.set();
    });
  }
  ASSERT_TRUE(done.wait());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], i);
}

}  // namespace
}  // namespace wingspan::serve
