// init: the only program of the guest besides those under test (static, process 1).
//
// It runs /job/0/program, /job/1/program, ... one after the other, with the NUL-separated strings of
// /job/<n>/arguments and /job/environment, and tells the host what comes of it. If /job/deny_amx
// exists, no program gets permission to use AMX tile data.
//
// Records to the host, by I/O port 0xe9, which Bochs copies to its stdout (host_tool.cpp reads them).
// Program output is counted, not quoted, so that no output can be taken for a record:
//
//   @boot INSTRUCTIONS                          of the boot
//   @output STREAM BYTES \n the bytes \n        1: stdout, 2: stderr
//   @exit PROGRAM CODE INSTRUCTIONS PEAK_KIB    128 + signal if a signal ended it
//   @done INSTRUCTIONS                          of the whole run
//
// "Instructions" are what rdtsc says: the emulated counter steps by one per instruction.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { debug_port = 0xe9, shutdown_port = 0x8900, arch_req_xcomp_perm = 0x1023 };

static unsigned long long instructions(void) { return __builtin_ia32_rdtsc(); }

// Port I/O by iopl rather than the serial console: a byte costs one instruction, not an interrupt.
static void send_bytes(const char* bytes, size_t count) {
  __asm__ volatile("rep outsb" : "+S"(bytes), "+c"(count) : "d"(debug_port) : "memory");
}

__attribute__((format(printf, 1, 2))) static void send_record(const char* format, ...) {
  char line[256];
  va_list values;
  va_start(values, format);
  const int length = vsnprintf(line, sizeof line, format, values);
  va_end(values);
  send_bytes(line, (size_t)length);
}

static void switch_off(void) {
  for (const char* letter = "Shutdown"; *letter != 0; ++letter) outb(*letter, shutdown_port);
  reboot(RB_POWER_OFF);  // not reached, unless port I/O is refused
  for (;;) pause();
}

static void prepare_system(void) {
  mkdir("/proc", 0755);
  mkdir("/sys", 0755);
  mkdir("/tmp", 01777);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  mkdir("/dev/shm", 01777);
  mount("tmpfs", "/dev/shm", "tmpfs", 0, NULL);
  if (iopl(3) != 0) {
    perror("init: iopl");  // to the kernel's console, which `run` shows when the guest fails
    reboot(RB_POWER_OFF);
  }
}

// The strings of a file of NUL-terminated strings, as execve wants them; `spare` free places follow.
static char** read_strings(const char* path, int spare) {
  char* bytes = NULL;
  size_t size = 0, strings = 0;
  FILE* file = fopen(path, "r");
  if (file != NULL) {
    size_t capacity = 1 << 20;
    bytes = malloc(capacity);
    while ((size += fread(bytes + size, 1, capacity - size, file)) == capacity) {
      bytes = realloc(bytes, capacity *= 2);
    }
    fclose(file);
  }
  for (size_t n = 0; n < size; ++n) strings += bytes[n] == 0;
  char** list = calloc(strings + (size_t)spare + 1, sizeof *list);
  char* next = bytes;
  for (size_t n = 0; n < strings; ++n, next += strlen(next) + 1) list[n] = next;
  return list;
}

// From here on arch_prctl(ARCH_REQ_XCOMP_PERM) fails with EPERM, as under a strict container. All other
// system calls work. (The programs are x86-64 only, so the filter need not look at the architecture.)
static int deny_amx(void) {
  struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_arch_prctl, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, arch_req_xcomp_perm, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof filter / sizeof filter[0], filter};
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void exec_program(const char* folder, int out, int err) {
  char path[64];
  snprintf(path, sizeof path, "%s/arguments", folder);
  char** arguments = read_strings(path, 0);
  char** environment = read_strings("/job/environment", 2);
  size_t last = 0;
  while (environment[last] != NULL) ++last;
  environment[last++] = "HOME=/tmp";
  environment[last++] = "PATH=/bin";

  iopl(0);  // the program must not reach the ports
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(out, 1);
  dup2(err, 2);
  if (chdir("/tmp") != 0) perror("init: /tmp");
  if (access("/job/deny_amx", F_OK) == 0 && deny_amx() != 0) {
    perror("init: seccomp");
    _exit(126);
  }
  snprintf(path, sizeof path, "%s/program", folder);
  execve(path, arguments, environment);
  fprintf(stderr, "init: exec %s: %s\n", arguments[0], strerror(errno));
  _exit(127);
}

// Passes on what the program writes until it, and all its children, have closed both pipes.
static void forward_output(const int pipes[2]) {
  static char bytes[65536];
  struct pollfd ends[2] = {{pipes[0], POLLIN, 0}, {pipes[1], POLLIN, 0}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (poll(ends, 2, -1) < 0) continue;
    for (int n = 0; n < 2; ++n) {
      if (ends[n].fd < 0 || ends[n].revents == 0) continue;
      const ssize_t count = read(ends[n].fd, bytes, sizeof bytes);
      if (count <= 0) {
        close(ends[n].fd);
        ends[n].fd = -1;  // poll skips it
        continue;
      }
      send_record("@output %d %zd\n", n + 1, count);
      send_bytes(bytes, (size_t)count);
      send_bytes("\n", 1);  // Bochs flushes its stdout at a newline
    }
  }
}

static void run_program(int number, const char* folder) {
  int out[2], err[2];
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    perror("init: pipe");
    switch_off();
  }
  const unsigned long long start = instructions();
  const pid_t child = fork();
  if (child == 0) exec_program(folder, out[1], err[1]);
  close(out[1]);
  close(err[1]);
  forward_output((const int[2]){out[0], err[0]});
  int status = 0;
  struct rusage usage = {0};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  send_record("@exit %d %d %llu %ld\n", number, code, instructions() - start, usage.ru_maxrss);
}

int main(void) {
  const unsigned long long booted = instructions();
  prepare_system();
  send_record("@boot %llu\n", booted);
  for (int number = 0;; ++number) {
    char folder[32];
    snprintf(folder, sizeof folder, "/job/%d", number);
    if (access(folder, F_OK) != 0) break;
    run_program(number, folder);
  }
  send_record("@done %llu\n", instructions());
  switch_off();
}
