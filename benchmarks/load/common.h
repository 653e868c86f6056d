// What the load generators share: clocks, other processes' CPU time and memory, sockets, options.
#ifndef BENCHMARKS_LOAD_COMMON_H
#define BENCHMARKS_LOAD_COMMON_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PIDS 64
#define HEAD_SIZE 4096           // bytes of a response head, at most
#define REQUEST_SIZE (1 << 16)   // bytes of our request, at most
#define CONNS_PER_ADDRESS 20000  // then the ports of one source address run short

// The servers to watch: one process, or a parent and its workers.
typedef struct {
    int count;
    pid_t ids[MAX_PIDS];
} pid_list;

// Prints why and ends the program: a half-measured figure is worse than none.
static inline void die(const char *what, const char *detail) {
    fprintf(stderr, "%s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    exit(1);
}

static inline void die_errno(const char *what) { die(what, strerror(errno)); }

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

// Seconds of CPU that the processes have used, user and system, all threads. By the process's own
// clock, which counts nanoseconds; /proc/PID/stat counts ticks of 10 ms.
static inline double cpu_seconds(const pid_list *pids) {
    double sum = 0;
    for (int i = 0; i < pids->count; i++) {
        clockid_t clock;
        struct timespec t;
        if (clock_getcpuclockid(pids->ids[i], &clock) || clock_gettime(clock, &t))
            die("the server's CPU clock cannot be read: did it end?", NULL);
        sum += t.tv_sec + t.tv_nsec * 1e-9;
    }
    return sum;
}

// Resident bytes of the processes.
static inline double resident_bytes(const pid_list *pids) {
    double sum = 0;
    for (int i = 0; i < pids->count; i++) {
        char path[64];
        long total, resident;
        snprintf(path, sizeof path, "/proc/%d/statm", (int)pids->ids[i]);
        FILE *file = fopen(path, "r");
        if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
            die("the server's memory cannot be read: did it end?", NULL);
        fclose(file);
        sum += (double)resident * (double)sysconf(_SC_PAGESIZE);
    }
    return sum;
}

// An option's number; anything else ends the program.
static inline double number(const char *name, const char *text, double least, double most) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !(value >= least && value <= most)) {
        fprintf(stderr, "--%s: expected a number from %g to %g, not %s\n", name, least, most, text);
        exit(2);
    }
    return value;
}

static inline void add_pid(pid_list *pids, const char *text) {
    if (pids->count == MAX_PIDS) die("too many --pid", NULL);
    pids->ids[pids->count++] = (pid_t)number("pid", text, 1, 1 << 30);
}

// As many descriptors as the system grants.
static inline void raise_descriptors(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

// The connection number `index` to the server. Source addresses change before ports run out.
static inline int open_tcp(const char *host, int port, int index) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) die("--host: expected an IPv4 address", host);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) die_errno("socket");
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (index >= CONNS_PER_ADDRESS) {
        struct sockaddr_in from = {.sin_family = AF_INET};
        from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(index / CONNS_PER_ADDRESS));
        if (bind(fd, (void *)&from, sizeof from)) die_errno("bind");
    }
    if (connect(fd, (void *)&to, sizeof to)) die_errno("connect");
    return fd;
}

static inline void set_nonblocking(int fd) {
    if (fcntl(fd, F_SETFL, O_NONBLOCK)) die_errno("fcntl");
}

#endif
