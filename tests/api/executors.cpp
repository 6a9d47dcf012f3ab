// Executors: serial, share, the thread pool and how it finds its size.
#include <tegula/gemm.hpp>
#include <tegula/thread_pool.hpp>

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <set>

#include "../support/catch.hpp"

namespace tg = tegula;

namespace {

// A folder of small files that goes away with the test.
class fake_files {
 public:
  fake_files() : root_(std::filesystem::temp_directory_path() / ("tegula-cgroup-" + std::to_string(getpid()))) {
    std::filesystem::create_directories(root_);
  }
  ~fake_files() { std::filesystem::remove_all(root_); }
  fake_files(const fake_files&) = delete;
  fake_files& operator=(const fake_files&) = delete;

  fake_files& put(const std::string& name, const std::string& text) {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text << '\n';
    return *this;
  }
  [[nodiscard]] std::string path(const std::string& name = "") const { return (root_ / name).string(); }
  [[nodiscard]] int cpus(const std::string& membership) {
    put("membership", membership);
    return tg::detail::cgroup_cpus(path("fs"), path("membership"));
  }

 private:
  std::filesystem::path root_;
};

constexpr int unlimited = 1 << 20;

// Runs serially, and tells how many tasks came.
struct counting_executor {
  tg::index_t most;
  tg::index_t came = 0;

  template <class F>
  void parallel_for(tg::index_t n, F&& f) {
    came = n;
    tg::serial_executor{}.parallel_for(n, f);
  }
  [[nodiscard]] tg::index_t max_tasks() const { return most; }
};

}  // namespace

TEST_CASE("the serial executor runs in order", "[executor]") {
  std::vector<tg::index_t> order;
  tg::serial_executor{}.parallel_for(4, [&](tg::index_t i) { order.push_back(i); });
  CHECK(order == std::vector<tg::index_t>{0, 1, 2, 3});
  tg::serial_executor{}.parallel_for(0, [](tg::index_t) { FAIL("no task was asked for"); });
}

TEST_CASE("a product comes in as many tasks as its executor has use for, and is the same", "[executor]") {
  constexpr tg::index_t M = 16, N = 128, K = 1024;  // 4 tasks' worth of products, in 4 pairs of panels
  std::vector<float> weights(static_cast<std::size_t>(N * K));
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(i % 251) - 125;
  const auto w = tg::pack<tg::f32>(weights.data(), {.N = N, .K = K});
  const std::vector<float> a(static_cast<std::size_t>(M * K), 0.25f);
  const auto product = [&](auto& executor) {
    std::vector<float> c(static_cast<std::size_t>(M * N));
    tg::gemm(tg::quantized_activations(tg::matrix_view<const float>(a.data(), M, K), w), w, tg::matrix_view<float>(c.data(), M, N),
             executor);
    return c;
  };
  tg::serial_executor serial;
  const std::vector<float> expected = product(serial);
  for (const tg::index_t most : {1, 2, 3, 1000}) {
    counting_executor counting{most};
    INFO("at most " << most << " tasks");
    CHECK(product(counting) == expected);
    CHECK(counting.came == std::min<tg::index_t>(most, 4));
  }
}

TEST_CASE("tasks are as many as the work is worth, and as the executor has use for", "[executor]") {
  for (const tg::index_t most : {1, 2, 3, 7, 1000}) {
    const auto tasks = [&](tg::index_t M) { return tg::detail::task_grid(M, 1024, 4096, most).size(); };
    INFO("at most " << most << " tasks");
    CHECK(tasks(1) == std::min<tg::index_t>(most, 8));
    CHECK(tasks(40) == std::min<tg::index_t>(most, 32));
    CHECK(tasks(600) == std::min<tg::index_t>(most, 64));
  }
  CHECK(tg::detail::max_tasks(tg::serial_executor{}) == 1);
  CHECK(tg::detail::max_tasks(tg::share(2, 5)) == 5);
  CHECK(tg::detail::max_tasks(tg::share(0, 5000)) == 512);
  CHECK(tg::detail::max_tasks(tg::thread_pool(3)) == 24);
}

TEST_CASE("shares cover every task once", "[executor]") {
  for (const tg::index_t n : {0, 1, 2, 5, 7, 64, 1000})
    for (const tg::index_t nth : {1, 2, 3, 7, 64, 100}) {
      std::vector<int> calls(static_cast<std::size_t>(n));
      tg::index_t most = 0, least = n;
      for (tg::index_t ith = 0; ith < nth; ++ith) {
        tg::index_t count = 0;
        tg::share(ith, nth).parallel_for(n, [&](tg::index_t i) { ++calls[static_cast<std::size_t>(i)], ++count; });
        most = std::max(most, count);
        least = std::min(least, count);
      }
      INFO(n << " tasks, " << nth << " shares");
      CHECK(std::count(calls.begin(), calls.end(), 1) == n);
      CHECK(most - least <= 1);
    }
}

TEST_CASE("a share outside its number is an error", "[executor][errors]") {
  using tests::check_names;
  using tests::message_of;
  check_names(message_of<std::invalid_argument>([] { tg::share(3, 3); }), {"share 3 of 3"});
  check_names(message_of<std::invalid_argument>([] { tg::share(-1, 3); }), {"share -1 of 3"});
  check_names(message_of<std::invalid_argument>([] { tg::share(0, 0); }), {"share 0 of 0"});
}

TEST_CASE("the pool runs every task once", "[pool]") {
  for (const int threads : {1, 2, 5}) {
    tg::thread_pool pool(threads);
    CHECK(pool.size() == threads);
    for (const tg::index_t n : {0, 1, 2, 3, 100, 3000}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(n));
      pool.parallel_for(n, [&](tg::index_t i) { ++calls[static_cast<std::size_t>(i)]; });
      INFO(threads << " threads, " << n << " tasks");
      CHECK(std::all_of(calls.begin(), calls.end(), [](const auto& c) { return c == 1; }));
    }
  }
}

TEST_CASE("the pool's threads work at the same time", "[pool]") {
  constexpr int threads = 4;
  tg::thread_pool pool(threads);
  std::atomic<int> here{0};
  pool.parallel_for(threads, [&](tg::index_t) {
    ++here;
    while (here < threads) std::this_thread::yield();  // ends only if all four are in a task
  });
  CHECK(here == threads);
}

TEST_CASE("calls follow at once, while threads look out for them and when they sleep", "[pool]") {
  for (const int threads : {2, 5}) {
    tg::thread_pool pool(threads);
    long sum = 0;
    for (int call = 0; call < 400; ++call) {
      std::atomic<long> part{0};
      pool.parallel_for(7, [&](tg::index_t i) { part += i + 1; });
      sum += part;
      if (call % 8 == 0) std::this_thread::sleep_for(std::chrono::microseconds(40 + call));  // shorter and longer than they look out
    }
    INFO(threads << " threads");
    CHECK(sum == 400 * 28);
  }
}

TEST_CASE("a nested call runs serially, in the task's thread", "[pool]") {
  tg::thread_pool pool(3), other(2);
  std::atomic<int> calls{0}, elsewhere{0};
  pool.parallel_for(8, [&](tg::index_t) {
    const auto self = std::this_thread::get_id();
    for (tg::thread_pool* inner : {&pool, &other})
      inner->parallel_for(10, [&](tg::index_t) { ++calls, elsewhere += std::this_thread::get_id() != self; });
  });
  CHECK(calls == 160);
  CHECK(elsewhere == 0);
}

TEST_CASE("an exception of a task reaches the caller, and the pool lives on", "[pool]") {
  tg::thread_pool pool(3);
  for (int round = 0; round < 20; ++round) {
    // Each thread leaves at its first exception, so few tasks run after that.
    std::atomic<int> calls{0};
    const auto task = [&](tg::index_t i) {
      ++calls;
      if (i >= round) throw std::domain_error("task");
    };
    CHECK_THROWS_AS(pool.parallel_for(1000, task), std::domain_error);
    CHECK(calls <= round + 3);
    CHECK_THROWS_AS(pool.parallel_for(3, [](tg::index_t) { throw std::domain_error("all"); }), std::domain_error);
    int one = 0;
    CHECK_THROWS_AS(pool.parallel_for(1, [&](tg::index_t) { throw std::domain_error("one"); }), std::domain_error);
    pool.parallel_for(1, [&](tg::index_t) { ++one; });
    CHECK(one == 1);
    std::atomic<int> after{0};
    pool.parallel_for(100, [&](tg::index_t) { ++after; });
    CHECK(after == 100);
  }
}

TEST_CASE("several threads may use one pool", "[pool]") {
  tg::thread_pool pool(3);
  std::atomic<int> calls{0};
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c)
    callers.emplace_back([&] {
      for (int i = 0; i < 50; ++i) pool.parallel_for(20, [&](tg::index_t) { ++calls; });
    });
  for (std::thread& caller : callers) caller.join();
  CHECK(calls == 4 * 50 * 20);
}

TEST_CASE("the default size is the affinity mask or the quota, whichever is less", "[pool]") {
  cpu_set_t mask;
  REQUIRE(sched_getaffinity(0, sizeof mask, &mask) == 0);
  CHECK(tg::detail::allowed_cpus() == CPU_COUNT(&mask));
  CHECK(tg::thread_pool::default_size() == std::max(1, std::min(tg::detail::allowed_cpus(), tg::detail::cgroup_cpus())));
  CHECK(tg::thread_pool().size() == tg::thread_pool::default_size());

  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &mask)) {
      CPU_SET(cpu, &one);
      break;
    }
  REQUIRE(sched_setaffinity(0, sizeof one, &one) == 0);
  CHECK(tg::thread_pool::default_size() == 1);
  CHECK(sched_setaffinity(0, sizeof mask, &mask) == 0);
}

TEST_CASE("quotas of cgroup v2", "[pool][cgroup]") {
  fake_files files;
  files.put("fs/cpu.max", "max 100000")
      .put("fs/a/cpu.max", "300000 100000")
      .put("fs/a/b/cpu.max", "150000 100000")
      .put("fs/a/c/cpu.max", "max 100000");
  CHECK(files.cpus("0::/a/b") == 2);  // 1.5 CPUs
  CHECK(files.cpus("0::/a/c") == 3);  // the group above pays
  CHECK(files.cpus("0::/a/c/absent") == 3);
  CHECK(files.cpus("0::/elsewhere") == unlimited);
  CHECK(files.cpus("0::/") == unlimited);
  files.put("fs/cpu.max", "10000 100000");  // inside a container the own group is mounted as the root
  CHECK(files.cpus("0::/") == 1);
  CHECK(files.cpus("0::/../../host/path") == 1);
}

TEST_CASE("quotas of cgroup v1", "[pool][cgroup]") {
  fake_files files;
  files.put("fs/cpu/job/cpu.cfs_quota_us", "250000").put("fs/cpu/job/cpu.cfs_period_us", "100000");
  files.put("fs/cpu/cpu.cfs_quota_us", "-1").put("fs/cpu/cpu.cfs_period_us", "100000");
  CHECK(files.cpus("12:memory:/job\n4:cpu,cpuacct:/job\n1:name=systemd:/x") == 3);
  CHECK(files.cpus("4:cpu,cpuacct:/") == unlimited);
  CHECK(files.cpus("12:memory:/job") == unlimited);
}

TEST_CASE("cgroup files that make no sense limit nothing", "[pool][cgroup]") {
  for (const char* text : {"", "max", "nonsense 100000", "100000", "0 100000", "-1 100000", "100000 0", "100000 -5", "100000 x"}) {
    fake_files files;
    files.put("fs/a/cpu.max", text);
    INFO("cpu.max: " << text);
    CHECK(files.cpus("0::/a") == unlimited);
  }
  fake_files files;
  for (const char* membership : {"", "nonsense", "::", "0:", "0::", ":::::"}) {
    INFO("membership: " << membership);
    CHECK(files.cpus(membership) == unlimited);
  }
  CHECK(tg::detail::cgroup_cpus(files.path("absent"), files.path("absent")) == unlimited);
}
