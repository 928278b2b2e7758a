// What no honest client sends, and a thousand clients at once.
#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "serve/http_head.h"
#include "serve/test_server.h"
#include "support/rounds.h"

namespace wingspan::serve {
namespace {

using test::get;
using test::post;
using test::RawClient;
using test::TestServer;

struct HostileCase {
  const char* name;
  std::string bytes;
  int status;
};

std::string chunked(const std::string& body) {
  return "POST /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + body;
}

std::string echo(const std::string& headers, const std::string& body = "") {
  return "POST /echo HTTP/1.1\r\nHost: h\r\n" + headers + "\r\n" + body;
}

// Each would let two readers disagree about where a request ends, or isn't HTTP.
std::vector<HostileCase> hostile_cases() {
  const std::string nul(1, '\0');
  return {
      {"both framings", echo("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
       400},
      {"both, other order", echo("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"), 400},
      {"two lengths", echo("Content-Length: 5\r\nContent-Length: 6\r\n", "hello"), 400},
      {"two equal lengths", echo("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"), 400},
      {"list of lengths", echo("Content-Length: 5, 5\r\n", "hello"), 400},
      {"length with sign", echo("Content-Length: +5\r\n", "hello"), 400},
      {"negative length", echo("Content-Length: -1\r\n"), 400},
      {"hexadecimal length", echo("Content-Length: 0x5\r\n", "hello"), 400},
      {"length with blank", echo("Content-Length: 5 5\r\n", "hello"), 400},
      {"empty length", echo("Content-Length: \r\n"), 400},
      {"length beyond 64 bits", echo("Content-Length: 18446744073709551617\r\n"), 400},
      {"huge length", echo("Content-Length: 18446744073709551615\r\n"), 413},
      {"unknown coding", echo("Transfer-Encoding: gzip\r\n"), 501},
      {"coding before chunked", echo("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"coding after chunked", echo("Transfer-Encoding: chunked, identity\r\n"), 501},
      {"disguised coding", echo("Transfer-Encoding: xchunked\r\n"), 501},
      {"coding with a tab",
       echo("Transfer-Encoding:\x0b"
            "chunked\r\n"),
       400},
      {"two codings", echo("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400},
      {"coding of 1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
      {"blank before colon", echo("Content-Length : 5\r\n", "hello"), 400},
      {"folded line", echo("X: a\r\n b\r\nContent-Length: 0\r\n"), 400},
      {"folded first line", "GET /live HTTP/1.1\r\n Host: h\r\n\r\n", 400},
      {"LF alone", "GET /live HTTP/1.1\nHost: h\n\r\n\r\n", 400},
      {"LF alone in a field", "GET /live HTTP/1.1\r\nHost: h\nX: y\r\n\r\n", 400},
      {"CR alone", "GET /live HTTP/1.1\r\nHost: h\rX: y\r\n\r\n", 400},
      {"zero byte in a field", "GET /live HTTP/1.1\r\nHost: h\r\nX: a" + nul + "\r\n\r\n", 400},
      {"zero byte in the target", "GET /live" + nul + " HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"field without name", "GET /live HTTP/1.1\r\nHost: h\r\n: x\r\n\r\n", 400},
      {"field without colon", "GET /live HTTP/1.1\r\nHost: h\r\nnonsense\r\n\r\n", 400},
      {"no host", "GET /live HTTP/1.1\r\n\r\n", 400},
      {"two hosts", "GET /live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400},
      {"two keys", get("/live", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"), 400},
      {"no version", "GET /live\r\n\r\n", 400},
      {"version 2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"version 9.9", "GET /live HTTP/9.9\r\nHost: h\r\n\r\n", 505},
      {"other protocol's version", "GET /live HTTQ/1.1\r\nHost: h\r\n\r\n", 505},
      {"blanks in the target", "GET /li ve HTTP/1.1\r\nHost: h\r\n\r\n", 505},
      {"TLS", "\x16\x03\x01\x02", 400},
      {"method with control character", "G\x01T / HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"CONNECT", "CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400},
      {"TRACE", "TRACE /live HTTP/1.1\r\nHost: h\r\n\r\n", 405},
      {"chunk size with sign", chunked("+5\r\nhello\r\n0\r\n\r\n"), 400},
      {"chunk size with prefix", chunked("0x5\r\nhello\r\n0\r\n\r\n"), 400},
      {"chunk size with blank", chunked(" 5\r\nhello\r\n0\r\n\r\n"), 400},
      {"blank after chunk size", chunked("5 \r\nhello\r\n0\r\n\r\n"), 400},
      {"no chunk size", chunked("\r\nhello\r\n0\r\n\r\n"), 400},
      {"chunk size is not a number", chunked("xyz\r\n"), 400},
      {"chunk size beyond 64 bits", chunked("10000000000000000\r\n"), 413},
      {"huge chunk", chunked("ffffffffffffffff\r\n"), 413},
      {"chunk sizes that wrap round", chunked("5\r\nhello\r\nfffffffffffffffb\r\n"), 413},
      {"chunk longer than its size", chunked("4\r\nhello\r\n0\r\n\r\n"), 400},
      {"chunk ends with LF", chunked("5\r\nhello\n0\r\n\r\n"), 400},
      {"chunk size ends with LF", chunked("5\nhello\r\n0\r\n\r\n"), 400},
      {"CR in an extension", chunked("5;a\rb\r\nhello\r\n0\r\n\r\n"), 400},
      {"long extension", chunked("5;" + std::string(2000, 'a') + "\r\nhello\r\n0\r\n\r\n"), 400},
      {"endless extension", chunked("5;" + std::string(2000, 'a')), 400},
      {"trailer is no field", chunked("5\r\nhello\r\n0\r\nnonsense\r\n\r\n"), 400},
      {"folded trailer", chunked("5\r\nhello\r\n0\r\nA: b\r\n c: d\r\n\r\n"), 400},
      {"endless trailer", chunked("0\r\nA: " + std::string(20000, 'a')), 431},
      {"GET with a large body", get("/live", "Content-Length: 70000\r\n"), 413},
  };
}

TEST(HttpHostile, EachIsRefusedAndEndsTheConnection) {
  const TestServer server;
  for (const HostileCase& c : hostile_cases()) {
    SCOPED_TRACE(c.name);
    RawClient client = server.client();
    // What follows must never be read as a request of its own.
    ASSERT_TRUE(client.send(c.bytes + get("/live")));
    client.finish_sending();
    const auto bytes = client.read_to_end();
    ASSERT_TRUE(bytes);
    EXPECT_EQ(bytes->substr(0, 13), "HTTP/1.1 " + std::to_string(c.status) + " ");
    if (c.status != 405) {
      EXPECT_EQ(bytes->find("}HTTP/1.1"), std::string::npos) << *bytes;
    }
  }
  RawClient client = server.client();
  ASSERT_TRUE(client.send(get("/live")));
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 200);
}

// The same bytes in other portions have the same end.
TEST(HttpHostile, PortionsChangeNothing) {
  const ReaderLimits limits;
  std::vector<HostileCase> cases = hostile_cases();
  cases.push_back({"good", chunked("5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nA: b\r\n\r\n"), 200});
  cases.push_back({"good", "\r\n" + post("/echo", "hello"), 200});
  for (const HostileCase& c : cases) {
    const auto run = [&](const auto& portion) {
      RequestReader reader(limits);
      std::string held;
      for (size_t at = 0; at < c.bytes.size();) {
        const size_t size = std::min(portion(), c.bytes.size() - at);
        held += c.bytes.substr(at, size);
        at += size;
        for (;;) {
          size_t used = 0;
          const auto state = reader.feed(held, used);
          held.erase(0, used);
          if (state == RequestReader::State::kHead) continue;
          if (state == RequestReader::State::kDone) return "done " + reader.take_body();
          if (state == RequestReader::State::kBad) return "bad " + reader.problem().message;
          break;
        }
      }
      return std::string("more");
    };
    const std::string whole = run([&] { return c.bytes.size(); });
    EXPECT_EQ(run([] { return size_t{1}; }), whole) << c.name;
    for (uint64_t seed = 0; seed < 20; ++seed) {
      Rng rng(seed);
      EXPECT_EQ(run([&] { return static_cast<size_t>(1 + rng.below(40)); }), whole)
          << c.name << ", seed " << seed;
    }
  }
}

TEST(HttpHostile, AHundredPipelinedRequestsAreAnsweredInOrder) {
  TestServer server;
  RawClient client = server.client();
  std::string all;
  for (int i = 0; i < 100; ++i) {
    all += i % 3 == 0   ? get("/deep/" + std::to_string(i))
           : i % 3 == 1 ? post("/echo", "/deep/" + std::to_string(i))
                        : post("/none", "a body that is skipped");
  }
  ASSERT_TRUE(client.send(all));
  for (int i = 0; i < 100; ++i) {
    const auto answer = client.answer();
    ASSERT_TRUE(answer) << i;
    if (i % 3 == 2) {
      EXPECT_EQ(answer->status, 404);
    } else {
      EXPECT_EQ(answer->body, "/deep/" + std::to_string(i));
    }
  }
}

TEST(HttpHostile, WhatIsSentAheadIsBounded) {
  HttpOptions options;
  options.input_ahead_bytes = 4096;
  TestServer server(options);
  RawClient client = server.client();
  ASSERT_TRUE(client.send(post("/hold", "{}")));
  const auto held = server.take();
  ASSERT_TRUE(held);
  std::string ahead;
  for (int i = 0; i < 1000; ++i) ahead += post("/echo", "number " + std::to_string(i));
  ASSERT_TRUE(client.send(ahead));
  EXPECT_FALSE(held->gone->wait(1, 0.05));
  held->responder->reply({});
  EXPECT_EQ(client.answer().value_or(test::RawAnswer{}).status, 200);
  for (int i = 0; i < 1000; ++i) {
    const auto answer = client.answer();
    ASSERT_TRUE(answer) << i;
    EXPECT_EQ(answer->body, "number " + std::to_string(i));
  }
  // A client that fills the buffer and resets is noticed all the same.
  RawClient second = server.client();
  ASSERT_TRUE(second.send(post("/hold", "{}")));
  const auto other = server.take();
  ASSERT_TRUE(other);
  ASSERT_TRUE(second.send(ahead));
  EXPECT_FALSE(other->gone->wait(1, 0.05));
  second.reset();
  EXPECT_TRUE(other->gone->wait());
}

TEST(HttpHostile, SlowSendersAreCutOff) {
  HttpOptions options;
  options.header_s = 0.3;
  options.body_s = 0.4;
  options.idle_s = 0.5;
  options.linger_s = 0.2;
  TestServer server(options);
  RawClient header = server.client(), body = server.client(), idle = server.client(),
            skipped = server.client();
  const int64_t begin_ns = system_clock().now_ns();
  ASSERT_TRUE(body.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"));
  ASSERT_TRUE(skipped.send("POST /no HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n"));
  EXPECT_EQ(skipped.answer().value_or(test::RawAnswer{}).status, 404);
  const std::string request = get("/live");
  // A byte now and then doesn't help.
  for (size_t i = 0; i < 20; ++i) {
    header.send(request.substr(i, 1));
    body.send("x");
    skipped.send("x");
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
  }
  for (RawClient* client : {&header, &body}) {
    const auto answer = client->answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 408);
    EXPECT_TRUE(client->ended());
  }
  EXPECT_TRUE(skipped.ended());
  const auto bytes = idle.read_to_end();
  ASSERT_TRUE(bytes);
  EXPECT_EQ(*bytes, "");
  EXPECT_GE(seconds(begin_ns, system_clock().now_ns()), 0.4);
  EXPECT_TRUE(server.eventually([&] { return server.server->counters().connections == 0; }));
}

TEST(HttpHostile, UnfinishedRequestsLeaveNothing) {
  TestServer server;
  Rng rng(1);
  const std::string whole = post("/echo", std::string(5000, 'x'));
  for (int i = 0; i < 200; ++i) {
    RawClient client = server.client();
    client.send(whole.substr(0, 1 + rng.below(whole.size() - 1)));
    if (i % 3 == 0) client.reset();
    if (i % 3 == 1) client.close();
    if (i % 3 == 2) {
      client.finish_sending();
      const auto bytes = client.read_to_end();
      ASSERT_TRUE(bytes);
      EXPECT_TRUE(bytes->starts_with("HTTP/1.1 400 ")) << *bytes;
    }
  }
  EXPECT_TRUE(server.eventually([&] {
    const HttpCounters now = server.server->counters();
    return now.connections == 0 && now.bodies_bytes == 0 && now.answering == 0;
  }));
}

TEST(HttpHostile, ConnectionsBeyondTheLimitMayStillProbe) {
  HttpOptions options;
  options.max_connections = 10;
  TestServer server(options);
  EXPECT_EQ(server.server->connection_limit(), 10);
  std::vector<RawClient> open;
  for (int i = 0; i < 10; ++i) {
    open.push_back(server.client());
    ASSERT_TRUE(open.back().send(get("/key")));
    EXPECT_EQ(open.back().answer().value_or(test::RawAnswer{}).status, 200);
  }
  RawClient surplus = server.client();
  ASSERT_TRUE(surplus.send(get("/key")));
  EXPECT_EQ(surplus.answer().value_or(test::RawAnswer{}).status, 503);
  RawClient probe = server.client();
  ASSERT_TRUE(probe.send(get("/health")));
  EXPECT_EQ(probe.answer().value_or(test::RawAnswer{}).status, 200);
  // Even probes have a bound.
  std::vector<RawClient> flood;
  for (int i = 0; i < 200; ++i) flood.push_back(server.client());
  EXPECT_TRUE(
      server.eventually([&] { return server.server->counters().refused_connections >= 100; }));
  EXPECT_LE(server.server->counters().connections, 10 + 64);
  flood.clear();
  open.clear();
  EXPECT_TRUE(server.eventually([&] { return server.server->counters().connections <= 2; }));
  RawClient again = server.client();
  ASSERT_TRUE(again.send(get("/key")));
  EXPECT_EQ(again.answer().value_or(test::RawAnswer{}).status, 200);
}

TEST(HttpHostile, AThousandConnectionsOfWhichManyVanish) {
  HttpOptions options;
  options.output_bytes = 32 * 1024;
  options.kernel_send_bytes = 8 * 1024;
  TestServer server(options);
  if (server.server->connection_limit() < 1100) GTEST_SKIP() << "too few files may be open";
  const int count = 1000;
  std::vector<RawClient> idle;
  idle.reserve(static_cast<size_t>(count));
  for (int i = 0; i < count; ++i) {
    idle.push_back(server.client());
    ASSERT_TRUE(idle.back().connected()) << i;
  }
  // 64 streams among them: a third reads, a third doesn't, a third vanishes.
  std::vector<RawClient> streams;
  std::vector<test::Held> held;
  for (int i = 0; i < 64; ++i) {
    streams.push_back(server.client(i % 3 == 1 ? 4096 : 0));
    ASSERT_TRUE(streams.back().send(post("/hold", "{}")));
    held.push_back(*server.take());
    held.back().responder->begin_stream();
  }
  std::vector<double> health_s;
  size_t bytes = 14;  // of the last event
  for (int step = 0; step < 150; ++step) {
    const std::string event = std::to_string(step) + ":" + std::string(1000, 'x');
    bytes += event.size() + 8;
    for (test::Held& one : held) one.responder->events({event});
    if (step == 20) {
      for (size_t i = 2; i < streams.size(); i += 3) streams[i].reset();
    }
    for (size_t i = 0; i < streams.size(); i += 3) streams[i].read_until(event);
    RawClient& probe = idle[static_cast<size_t>(step)];
    const int64_t begin_ns = system_clock().now_ns();
    ASSERT_TRUE(probe.send(get("/health")));
    ASSERT_TRUE(probe.answer());
    health_s.push_back(seconds(begin_ns, system_clock().now_ns()));
  }
  for (test::Held& one : held) one.responder->end_stream();
  for (size_t i = 0; i < streams.size(); ++i) {
    SCOPED_TRACE(i);
    EXPECT_EQ(held[i].gone->count(), i % 3 == 0 ? 0 : 1);
    if (i % 3 != 0) continue;
    const auto answer = streams[i].answer();
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->body.size(), bytes);
  }
  std::sort(health_s.begin(), health_s.end());
  EXPECT_LT(health_s[health_s.size() / 2], test::kSanitized ? 1.0 : 0.1);
  EXPECT_GE(server.server->counters().connections, count);
  for (RawClient& client : idle) client.close();
  streams.clear();
  EXPECT_TRUE(server.eventually([&] { return server.server->counters().connections == 0; }));
}

TEST(HttpHead, RequestIdsThatMayBeEchoed) {
  for (const char* good : {"a", "req-1", "A.b_c:d/e+f=g@h", "0123456789"}) {
    EXPECT_TRUE(good_request_id(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string(129, 'a'), std::string("a b"), std::string("a\"b"),
        std::string("\xc3\xb6"), std::string("a\n")}) {
    EXPECT_FALSE(good_request_id(bad)) << bad;
  }
}

}  // namespace
}  // namespace wingspan::serve
